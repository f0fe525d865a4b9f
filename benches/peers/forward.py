"""Outputs and input Jacobians of `fenchel run` beside ONNX Runtime and PyTorch.

Run from the project's root, on a machine with little else to do:

    python benches/peers/forward.py [--repeats 15]

Peers are timed inside this process on arrays in memory, after a warm-up. `fenchel run` is timed as a whole process and
by the `seconds` that it reports: those hold computing, and reading and writing of the rows, but not the start of
the process and the loading of the model. Ratios are to those `seconds`, repetition by repetition, so they charge
Fenchel with files that the peers have in memory.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from common import JETS, Clock, Fenchel, Network, conditions, read_idx, table, workspace

REPORTED, WHOLE = "`fenchel run`, reported seconds", "`fenchel run`, whole process"


def session(path, threads):
    """An ONNX Runtime session on the CPU that takes any batch; the files fix it at 1."""
    model = onnx.load(path)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def compare(name, x, arguments, fenchel, folder):
    """Prints the table of one network."""
    path = arguments.data / "models" / f"{name}.onnx"
    network, runtime, clock = Network(path), session(path, arguments.threads), Clock()
    tensor, files = torch.from_numpy(x), {part: Path(folder) / f"{part}.npy" for part in "xyj"}
    np.save(files["x"], x)
    source = runtime.get_inputs()[0].name

    def ours(kind, *options):
        """Whole time and reported seconds."""
        report = clock.measure(f"{kind}: {WHOLE}", lambda: fenchel("run", path, "--data", files["x"], *options))
        clock.add(f"{kind}: {REPORTED}", report["seconds"], float("nan"))

    def forward():
        with torch.no_grad():
            return network(tensor)

    peers = {
        "forward": {"ONNX Runtime": lambda: runtime.run(None, {source: x})[0], "PyTorch": forward},
        "jets": {f"PyTorch, {way}": lambda jets=jets: jets(network, tensor) for way, jets in JETS.items()},
    }
    found = {}
    for jobs in peers.values():  # Warm up.
        found |= {label: job() for label, job in jobs.items()}
    for _ in range(arguments.repeats):
        for kind, jobs in peers.items():
            for label, job in jobs.items():
                time.sleep(0.02)  # Threads of the last job have stopped spinning.
                clock.measure(f"{kind}: {label}", job)
            time.sleep(0.02)
            ours(kind, "-o", files["y"], *(["--jacobian", files["j"]] if kind == "jets" else []))

    rows = []
    for kind, jobs in peers.items():
        for label in [REPORTED, WHOLE, *jobs]:
            wall, base = clock.wall[f"{kind}: {label}"], clock.wall[f"{kind}: {REPORTED}"]
            ratios = [a / b for a, b in zip(wall, base)]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"
            cpu = statistics.median(clock.cpu[f"{kind}: {label}"]) * 1e3
            times = [f"{statistics.median(wall) * 1e3:.1f}", f"{min(wall) * 1e3:.1f}..{max(wall) * 1e3:.1f}"]
            rows.append([kind, label, *times, "" if np.isnan(cpu) else f"{cpu:.1f}", ratio])
    print(f"### `{name}`, {len(x)} samples, {network(tensor[:1]).shape[1]} outputs\n")
    table(["", "", "wall ms, median", "range", "CPU ms", "wall / reported"], rows)
    values, jacobians = np.load(files["y"]), np.load(files["j"])
    theirs = found[f"PyTorch, {next(iter(JETS))}"][1].transpose(0, 1).numpy()
    print("Largest difference of the outputs from ONNX Runtime "
          f"{np.abs(values - found['ONNX Runtime']).max():.1e} (outputs up to {np.abs(values).max():.3g}), "
          f"of the Jacobians from PyTorch {np.abs(jacobians - theirs).max():.1e} "
          f"(up to {np.abs(jacobians).max():.3g})\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fenchel", type=Path, default=Path("target/release/fenchel"), help="the binary")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models/, mnist/, golden/")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = read_idx(arguments.data / "mnist" / "t10k-images-idx3-ubyte.gz")[:1000]
    golden = np.load(arguments.data / "golden" / "resnet_2b.npz")["x"]
    with workspace() as folder:
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        versions = f"ONNX Runtime {onnxruntime.__version__}, PyTorch {torch.__version__}"
        print(conditions(fenchel, versions) + f"; {arguments.repeats} repetitions\n", flush=True)
        compare("mnist-net_256x4", images.reshape(-1, 784, 1) / np.float32(255), arguments, fenchel, folder)
        tiled = np.tile(golden, (-(-100 // len(golden)), 1, 1, 1))[:100]
        compare("resnet_2b", tiled, arguments, fenchel, folder)
        print("Load average at the end: " + ", ".join(f"{x:.1f}" for x in os.getloadavg()))


if __name__ == "__main__":
    main()
