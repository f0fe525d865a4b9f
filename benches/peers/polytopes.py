"""Polytopes of points: `fenchel regions --at` against scipy's HiGHS on the same constraints in one run.

Fenchel writes the constraints of a region, its facets and the largest ball inside. HiGHS solves the linear program of the
ball again, and for constraints chosen at random the one that says whether the others imply it. Times of facets are for
each program: HiGHS begins each anew."""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.optimize import linprog

MODELS = ["mnist-net_256x4", "Convnet_maxpool", "cifar10_medium", "resnet_2b"]


def chebyshev(normals, offsets):
    """The radius of the largest ball."""
    lifted = np.hstack([normals, np.ones((len(offsets), 1))])
    cost = np.zeros(lifted.shape[1])
    cost[-1] = -1.0
    bounds = [(None, None)] * normals.shape[1] + [(0, None)]
    return linprog(cost, A_ub=lifted, b_ub=offsets, bounds=bounds, method="highs")


def least_slack(normals, offsets, i):
    """By how much constraint i can be violated inside the others, at most 1; below 0 where they imply it."""
    relaxed = offsets.copy()
    relaxed[i] += 1.0
    found = linprog(-normals[i], A_ub=normals, b_ub=relaxed, bounds=(None, None), method="highs")
    return -found.fun - offsets[i]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fenchel", default="target/release/fenchel", help="the program")
    parser.add_argument("--data", default="../shared/data", help="the folder of models/ and golden/")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--programs", type=int, help="as of fenchel regions [default: all]")
    parser.add_argument("--samples", type=int, default=5, help="constraints that HiGHS decides")
    parser.add_argument("--memory", default="8GiB")
    parser.add_argument("--no-highs", action="store_true", help="only run Fenchel")
    arguments = parser.parse_args()
    program = str(Path(arguments.fenchel).resolve())
    data = Path(arguments.data)
    print("| model | inputs | constraints | facets | undecided | Fenchel | HiGHS, ball | HiGHS, a facet | inradius |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            command = [program, "regions", data / "models" / f"{model}.onnx"]
            command += ["--data", data / "golden" / f"{model}.npz", "--key", "x", "--at", "0", "--json"]
            command += ["-o", f"{folder}/r.json", "--npz", f"{folder}/r.npz", "--memory", arguments.memory]
            if arguments.programs is not None:
                command += ["--programs", str(arguments.programs)]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            summary = json.loads(done.stdout)
            arrays = np.load(f"{folder}/r.npz")
            normals, offsets, facets = arrays["A"], arrays["b"], set(arrays["facet"].tolist())
        ball = each = float("nan")
        if not arguments.no_highs:
            start = time.perf_counter()
            found = chebyshev(normals, offsets)
            ball = time.perf_counter() - start
            if summary["inradius"] is not None:
                assert abs(found.x[-1] - summary["inradius"]) < 1e-6 * found.x[-1], (found.x[-1], summary)
            chosen = np.random.default_rng(0).permutation(len(offsets))[: arguments.samples]
            start = time.perf_counter()
            for i in chosen:
                violation = least_slack(normals, offsets, i)
                # HiGHS keeps constraints to within 1e-7.
                if abs(violation) > 1e-6:
                    undecided = summary["undecided"] > 0 and i not in facets
                    assert undecided or (i in facets) == (violation > 0), (i, violation)
            each = (time.perf_counter() - start) / max(len(chosen), 1)
        print(
            f"| {model} | {summary['dimension']} | {summary['constraints']} | {summary['facets']} "
            f"| {summary['undecided']} | {summary['seconds']:.2f} s | {ball:.2f} s | {each:.2f} s "
            f"| {summary['inradius']} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
