"""Gradient similarities against PyTorch: the numbers on every shipped and measured network in f64, and the time and the
memory of a Gram matrix of MNIST images, each in a process of its own."""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import common

# Networks with the row of data that they take, in this folder or in that of the data.
SHIPPED = ["digits_sigmoid", "digits_relu", "digits_gelu", "digits_cnn", "moons"]
MEASURED = ["mnist-net_256x4", "ffnnSIGMOID__Point_6x200", "Convnet_maxpool", "resnet_2b"]

# Which inputs of an operator are trained.
TRAINED = {"Gemm": (1, 2), "Conv": (1, 2), "BatchNormalization": (1, 2), "MatMul": (1,), "Add": (1,)}


def trained(network):
    """The names of a network's buffers that are trained."""
    names = []
    for node in network.graph.node:
        for i in TRAINED.get(node.op_type, ()):
            if i < len(node.input) and network.names.get(node.input[i], "").startswith("weight"):
                names.append(network.names[node.input[i]])
    return names


def gradients(network, x):
    """The gradients of the sum of the outputs by all trained parameters, `[N, P]`, by vmap(grad)."""
    buffers = dict(network.named_buffers())
    names = trained(network)
    parameters = {name: buffers.pop(name) for name in names}

    def total(parameters, sample):
        return torch.func.functional_call(network, {**parameters, **buffers}, (sample[None],)).sum()

    each = torch.func.vmap(torch.func.grad(total), in_dims=(None, 0))(parameters, x)
    return torch.cat([gradient.flatten(1) for gradient in each.values()], dim=1)


def samples(path, data, count):
    """Rows for a network: those of its golden values where it has some, else pixels."""
    for golden in (Path("assets/golden"), data / "golden"):
        if (golden / f"{path.stem}.npz").exists():
            return np.load(golden / f"{path.stem}.npz")["x"][:count]
    return mnist(data, count)


def mnist(data, count):
    (path,) = (data / "mnist").glob("*train*images*")
    return common.read_idx(path)[:count].reshape(count, -1).astype(np.float32) / 255


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(model, rows, count):
    """The Gram matrix in PyTorch, alone in this process: seconds and MiB."""
    network = common.Network(model)
    x = torch.from_numpy(np.load(rows)[:count])
    gradients(network, x[:4])
    before, start = peak(), time.perf_counter()
    g = gradients(network, x)
    middle = time.perf_counter()
    gram = g @ g.T
    end = time.perf_counter()
    np.save(rows + ".gram.npy", gram.numpy())
    print(json.dumps({"gradients": middle - start, "product": end - middle, "before": before, "peak": peak()}))


# A process begins with the peak of the one that started it: this small one starts what is measured.
LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
text = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, check=True).stdout
wall = time.perf_counter() - start
print(json.dumps([json.loads(text), wall, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
"""


def alone(command, environment=None):
    """A command's JSON, wall seconds and peak memory in MiB."""
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *map(str, command)]
    return json.loads(subprocess.check_output(launcher, env=environment))


def agreement(fenchel, data, folder):
    rows, failed = [], False
    paths = [Path("assets") / f"{name}.onnx" for name in SHIPPED]
    paths += [data / "models" / f"{name}.onnx" for name in MEASURED]
    for path in paths:
        x = samples(path, data, 20)
        np.save(folder / "x.npy", x)
        network = common.Network(path).double()
        g = gradients(network, torch.from_numpy(x.astype(np.float64)).flatten(1)).numpy()
        truth = g @ g.T
        cells = [path.stem, g.shape[1]]
        for precision in ("f32", "f64"):
            out = folder / "g.npy"
            fenchel("similarity", path, "--data", folder / "x.npy", "-o", out, "--precision", precision)
            error = np.abs(np.load(out) - truth).max() / np.abs(truth).max()
            failed |= error > 1e-5
            cells.append(f"{error:.1e}")
        rows.append(cells)
    common.table(["network", "parameters", "f32: largest difference / largest similarity", "f64"], rows)
    return failed


def measured(fenchel, data, folder, count, repeats, threads):
    model = data / "models" / "mnist-net_256x4.onnx"
    rows = folder / "mnist.npy"
    np.save(rows, mnist(data, count))
    out = folder / "gram.npy"
    ours, theirs = [], []
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    for _ in range(repeats):
        command = [fenchel.binary, "similarity", model, "--data", rows, "-o", out, "--device", "cpu", "--json"]
        document, wall, memory = alone(command, environment)
        seconds = document["seconds"]
        ours.append((wall, seconds, document["metrics"][0]["seconds_of_matrix"], memory))
        command = [sys.executable, __file__, "--child", model, rows, count]
        document, _, memory = alone(command, environment)
        theirs.append((document["gradients"] + document["product"], document["product"], memory, document["before"]))
    difference = np.abs(np.load(out) - np.load(f"{rows}.gram.npy")).max() / np.abs(np.load(out)).max()
    middle = lambda samples, i: statistics.median(sample[i] for sample in samples)
    seconds, product, memory, before = (middle(theirs, i) for i in range(4))
    head = ["", "seconds", "PyTorch / this", "peak MiB", "PyTorch / this"]
    lines = [["PyTorch, vmap(grad) and product, in memory", f"{seconds:.3f}", "", f"{memory:.0f}", ""]]
    lines.append(["of that the product", f"{product:.3f}", "", f"{memory - before:.0f} above import and data", ""])
    own = middle(ours, 3)
    for name, i in (("Fenchel, whole command", 0), ("its own seconds", 1), ("of these the matrix", 2)):
        spent = middle(ours, i)
        lines.append([name, f"{spent:.3f}", f"{seconds / spent:.1f}", f"{own:.0f}", f"{memory / own:.1f}"])
    print(f"{count} x {count} MNIST images on {model.stem}, largest difference {difference:.1e} of the largest\n")
    common.table(head, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fenchel", default="target/release/fenchel")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child:
        model, rows, count = arguments.child
        return child(model, rows, int(count))
    with tempfile.TemporaryDirectory(prefix="fenchel-peers-") as folder:
        folder = Path(folder)
        fenchel = common.Fenchel(arguments.fenchel, arguments.threads, folder)
        print(common.conditions(fenchel, f"PyTorch {torch.__version__}") + "\n")
        failed = agreement(fenchel, arguments.data, folder)
        measured(fenchel, arguments.data, folder, arguments.samples, arguments.repeats, arguments.threads)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
