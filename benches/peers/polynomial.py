"""Polynomials: `fenchel polynomial` on the shared networks, against the published times of the C++ core of nn2poly and a
plain numpy program for the same, with a check of all coefficients; and errors over layers and seeds.

Run from the project's root:

    python benches/peers/polynomial.py [--fenchel target/release/fenchel] [--seeds 20]

The shared weights are tables in f64; they become ONNX files with DOUBLE tensors. Times are those of the composition alone,
without reading and writing files: each run of Fenchel is a process of its own, which repeats short compositions and reports the
fastest (the column "first" has those of the first ones). The numpy program does
what one would write first: a dictionary of monomials, and for each activation Horner's rule with a loop over pairs of terms,
all units of a layer at once; its tables of pairs are not timed.

The networks of the second table are random: `--seeds` networks of five inputs and layers of 50 units, weights normal and
scaled so that the weights of each unit, hidden or not, with its bias have L1 norm 1; inputs uniform in [-1, 1]. Printed is the
median over seeds of the mean squared error between network and polynomial at order 3, Taylor order 8. Weights of random signs
cancel, and signals shrink from layer to layer; with positive ones they shrink least.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Inputs, and seconds of the published C++ core, one thread.
NETWORKS = {"tanh_p5w50x3": (5, 3.3e-3), "tanh_p10w100x2": (10, 23e-3), "tanh_p54w32x2": (54, 1.18)}


def save(path, layers, activation):
    """Dense layers, each a table with the bias in its first row, as an ONNX file in f64."""
    nodes, weights, value = [], [], "x"
    for i, table in enumerate(layers):
        weights += [numpy_helper.from_array(table[1:].copy(), f"W{i}"), numpy_helper.from_array(table[0].copy(), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"W{i}", f"b{i}"], [f"u{i}"], name=f"dense{i}"))
        value = f"u{i}"
        if i + 1 < len(layers):
            nodes.append(helper.make_node(activation, [value], [f"a{i}"], name=f"{activation.lower()}{i}"))
            value = f"a{i}"
    info = lambda name, n: helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["batch", n])
    inputs, outputs = layers[0].shape[0] - 1, layers[-1].shape[1]
    graph = helper.make_graph(nodes, "network", [info("x", inputs)], [info(value, outputs)], weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def fenchel(binary, folder, *arguments):
    command = [binary, "polynomial", *map(str, arguments), "--device", "cpu", "--json", "-o", folder / "p.json"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(printed), json.loads((folder / "p.json").read_text())


class Numpy:
    """Polynomials `[terms, units]` in numpy."""

    def __init__(self, inputs, order):
        degrees = range(order + 1)
        monomials = [m for d in degrees for m in itertools.combinations_with_replacement(range(inputs), d)]
        number = {m: i for i, m in enumerate(monomials)}
        self.terms, self.inputs, self.order = len(monomials), inputs, order
        of_degree = [[m for m in monomials if len(m) == d] for d in degrees]
        self.pairs = {}
        for d, e in itertools.product(range(1, order), repeat=2):
            for a, b in itertools.product(of_degree[d], of_degree[e] if d + e <= order else []):
                self.pairs.setdefault(number[tuple(sorted(a + b))], []).append((number[a], number[b]))
        self.pairs = [(t, *map(list, zip(*pairs))) for t, pairs in self.pairs.items()]

    def product(self, a, b):
        """Of two polynomials without constant terms."""
        result = np.zeros_like(a)
        for t, i, j in self.pairs:
            result[t] = (a[i] * b[j]).sum(0)
        return result

    def run(self, layers, taylor):
        p = np.zeros((self.terms, self.inputs))
        p[1 : self.inputs + 1] = np.eye(self.inputs)
        for i, table in enumerate(layers):
            p = p @ table[1:]
            p[0] += table[0]
            if i + 1 < len(layers):
                # The Taylor polynomial about 0 at each unit's constant term.
                shifted = [np.polynomial.Polynomial(taylor).deriv(k)(p[0]) for k in range(self.order + 1)]
                scale = np.cumprod([1, *range(1, self.order + 1)])
                c = [s / f for s, f in zip(shifted, scale)]
                u = p.copy()
                u[0] = 0
                result = c[-1] * u
                for k in range(self.order - 1, 0, -1):
                    result = c[k] * u + self.product(u, result)
                result[0] = c[0]
                p = result
        return p


def taylor_of_tanh(order):
    """By the recurrence of its derivative, `1 - tanh^2`."""
    c = [0.0] * (order + 1)
    for n in range(order):
        square = sum(c[k] * c[n - k] for k in range(n + 1))
        c[n + 1] = ((n == 0) - square) / (n + 1)
    return c


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    print("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n", flush=True)


def speed(binary, data, folder, repeats):
    rows = []
    for name, (inputs, published) in NETWORKS.items():
        files = sorted(data.glob(f"{name}_W*.csv"))
        layers = [np.loadtxt(file, delimiter=",", ndmin=2) for file in files]
        save(folder / "m.onnx", layers, "Tanh")
        lines = (data / f"{name}_coef.csv").read_text().splitlines()[1:]
        expected = np.array([float(line.split(",")[1]) for line in lines])
        own, other, first = [], [], []
        peer = Numpy(inputs, 3)
        series = taylor_of_tanh(8)
        for _ in range(repeats):
            _, document = fenchel(binary, folder, folder / "m.onnx", "--order", 3, "--taylor", 8)
            own.append(document["seconds"])
            first.append(document["first_seconds"])
            start = time.perf_counter()
            found = peer.run(layers, series)[:, 0]
            other.append(time.perf_counter() - start)
        labels = ["-".join(map(str, term)) or "0" for term in document["terms"]]
        assert labels == [line.split(",")[0] for line in lines], name
        difference = lambda c: np.abs(c - expected).max() / np.abs(expected).max()
        off = difference(np.array(document["coefficients"])[:, 0])
        assert off <= 1e-12 and difference(found) <= 1e-12, (name, off, difference(found))
        middle = statistics.median(own)
        spread = f"{min(own):.2e} .. {max(own):.2e}"
        ratios = [f"{other / middle:.0f}" for other in (published, statistics.median(other))]
        rows.append([name, len(expected), f"{off:.1e}", f"{middle:.2e}", spread, f"{statistics.median(first):.2e}", f"{published:.1e}", *ratios])
    head = ["network", "terms", "off by", "seconds", "range", "first", "published", "published / ours", "numpy / ours"]
    table(head, rows)


def errors(binary, folder, seeds):
    rows = []
    for activation, depth in itertools.product(["Tanh", "Softplus", "Sigmoid"], range(1, 8)):
        row = [activation, depth]
        for positive in [False, True]:
            found = []
            for seed in range(seeds):
                generator = np.random.default_rng(seed)
                sizes = [5] + [50] * depth + [1]
                layers = [generator.normal(size=(a + 1, b)) for a, b in zip(sizes, sizes[1:])]
                layers = [(np.abs(layer) if positive else layer) / np.abs(layer).sum(0) for layer in layers]
                save(folder / "m.onnx", layers, activation)
                np.save(folder / "x.npy", generator.uniform(-1, 1, (500, 5)))
                arguments = [folder / "m.onnx", "--order", 3, "--taylor", 8, "--data", folder / "x.npy"]
                document, _ = fenchel(binary, folder, *arguments)
                found.append(document["diagnosis"]["outputs"]["mse"])
            row += [f"{statistics.median(found):.1e}", f"{min(found):.1e} .. {max(found):.1e}"]
        rows.append(row)
    head = ["activation", "hidden layers", "median MSE", "range over seeds", "positive weights", "range over seeds"]
    table(head, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fenchel", default="target/release/fenchel", type=Path)
    parser.add_argument("--data", default="../shared/data", type=Path)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    version = subprocess.check_output([arguments.fenchel, "--version"], text=True).strip()
    print(f"{version}; load average {', '.join(f'{x:.1f}' for x in os.getloadavg())}\n")
    with tempfile.TemporaryDirectory(prefix="fenchel-peers-") as folder:
        speed(arguments.fenchel, arguments.data / "polynomial", Path(folder), arguments.repeats)
        errors(arguments.fenchel, Path(folder), arguments.seeds)


if __name__ == "__main__":
    main()
