"""Forward passes and input Jacobians in memory: `fenchel bench` beside ONNX Runtime and PyTorch.

Run from the project's root, on a machine with little else to do:

    python benches/peers/forward.py [--repeats 7] [--only resnet]

Everything is timed on arrays in memory, after a warm-up, files and start of the process apart. Each repetition runs
`fenchel bench` (a few passes in a row, least time taken) and then each peer as often in a row; ratios are taken within
repetitions, since other load of the machine comes and goes. The networks: two MLPs and a residual network on MNIST
and CIFAR-10 shapes, and a ResNet-18 of random weights at 224 x 224 (no file of it is kept).
"""

import argparse
import os
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from common import JETS, Fenchel, Network, conditions, read_idx, table, workspace

# Passes in a row, of which the fastest counts.
BURST = 3


def session(path, threads):
    """An ONNX Runtime session on the CPU that takes any batch, whatever the file says."""
    model = onnx.load(path)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def burst(job):
    """The least time of a few runs."""
    times = []
    for _ in range(BURST):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(name, path, network, x, outputs, arguments, fenchel, folder):
    """The lines of one network: forward passes, and jets of `outputs` (all, or one)."""
    runtime, tensor = session(path, arguments.threads), torch.from_numpy(x)
    rows_file, values_file, jets_file = (Path(folder) / f"{part}.npy" for part in "xyj")
    np.save(rows_file, x)
    source = runtime.get_inputs()[0].name
    chosen = [] if outputs is None else ["--outputs", outputs]
    settings = ["--data", rows_file, *chosen, "--memory", arguments.memory]

    def forward():
        with torch.no_grad():
            return network(tensor)

    def gradient():
        inputs = tensor.detach().requires_grad_()
        y = network(inputs)
        (result,) = torch.autograd.grad(y[:, outputs].sum(), inputs)
        return y.detach(), result.flatten(1)[None]

    ways = {f"PyTorch, {way}": lambda jets=jets: jets(network, tensor) for way, jets in JETS.items()}
    peers = {
        "forward": {"ONNX Runtime": lambda: runtime.run(None, {source: x})[0], "PyTorch": forward},
        "jets": ways if outputs is None else {"PyTorch, autograd": gradient},
    }
    found = {label: job() for jobs in peers.values() for label, job in jobs.items()}
    ours, theirs, gflops = {"forward": [], "jets": []}, {}, {}
    for _ in range(arguments.repeats):
        report = fenchel("bench", path, *settings, "--samples", len(x), "--repeats", BURST)
        for kind, jobs in peers.items():
            ours[kind].append(min(report[kind]["seconds"]))
            gflops[kind] = report[kind]["gflops"] * report[kind]["median"]
            for label, job in jobs.items():
                time.sleep(0.02)  # Threads of the last job have stopped spinning.
                theirs.setdefault((kind, label), []).append(burst(job))

    lines = []
    for kind, jobs in peers.items():
        base = statistics.median(ours[kind])
        lines.append([name, kind, "Fenchel", f"{base * 1e3:.2f}", f"{gflops[kind] / base:.0f}", ""])
        for label in jobs:
            times = theirs[kind, label]
            ratios = [a / b for a, b in zip(times, ours[kind])]
            median = statistics.median(times)
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"
            lines.append([name, kind, label, f"{median * 1e3:.2f}", f"{gflops[kind] / median:.0f}", ratio])

    fenchel("run", path, "--data", rows_file, *chosen, "-o", values_file, "--jacobian", jets_file)
    values, jacobians = np.load(values_file), np.load(jets_file)
    reference = found["ONNX Runtime"].reshape(len(x), -1)
    if outputs is not None:
        reference = reference[:, [outputs]]
    gradients = found[next(iter(peers["jets"]))][1].detach().transpose(0, 1).numpy()
    off = [np.abs(a - b).max() / np.abs(b).max() for a, b in ((values, reference), (jacobians, gradients))]
    note = f"{name}: outputs off ONNX Runtime's by {off[0]:.1e}, Jacobians off PyTorch's by {off[1]:.1e} (relative)"
    return lines, note


def mlp(folder):
    """A ReLU MLP 784-256-256-10 of random weights."""
    torch.manual_seed(1)
    layers = [torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU()]
    return export(torch.nn.Sequential(*layers, torch.nn.Linear(256, 10)), (784,), Path(folder) / "mlp.onnx")


def resnet18(folder):
    """ResNet-18 of random weights."""
    import torchvision

    torch.manual_seed(1)
    return export(torchvision.models.resnet18(weights=None), (3, 224, 224), Path(folder) / "resnet18.onnx")


def export(network, sample, path):
    network.eval().requires_grad_(False)
    batch = {"x": {0: "N"}, "y": {0: "N"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": batch}
    warnings.simplefilter("ignore", DeprecationWarning)  # Of the exporter, which is stable.
    torch.onnx.export(network, (torch.zeros(2, *sample),), path, dynamo=False, opset_version=17, **names)
    return path, network


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fenchel", type=Path, default=Path("target/release/fenchel"), help="the binary")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models/, mnist/, golden/")
    parser.add_argument("--only", default="", help="only networks whose name contains this")
    parser.add_argument("--memory", default="4GiB", help="Fenchel's budget; the peers have none")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models, generator = arguments.data / "models", np.random.default_rng(1)
    images = read_idx(arguments.data / "mnist" / "t10k-images-idx3-ubyte.gz")[:1000]
    images = images.reshape(-1, 784) / np.float32(255)
    golden = np.load(arguments.data / "golden" / "resnet_2b.npz")["x"]
    published = {
        "mnist-net_256x4": (images.reshape(-1, 784, 1), models / "mnist-net_256x4.onnx"),
        "resnet_2b": (np.tile(golden, (-(-100 // len(golden)), 1, 1, 1))[:100], models / "resnet_2b.onnx"),
    }
    jobs = {name: lambda folder, x=x, path=path: (path, Network(path), x, None) for name, (x, path) in published.items()}
    jobs["784-256-256-10"] = lambda folder: (*mlp(folder), images, None)
    large = generator.standard_normal((8, 3, 224, 224), dtype=np.float32)
    jobs["ResNet-18, 224 x 224"] = lambda folder: (*resnet18(folder), large, 3)
    with workspace() as folder:
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        versions = f"ONNX Runtime {onnxruntime.__version__}, PyTorch {torch.__version__}"
        print(conditions(fenchel, versions) + f"; {arguments.repeats} repetitions\n", flush=True)
        lines, notes = [], []
        for name, job in jobs.items():
            if arguments.only in name:
                path, network, x, outputs = job(folder)
                new, note = compare(name, path, network, x, outputs, arguments, fenchel, folder)
                lines += new
                notes.append(note)
        table(["network", "pass", "", "ms", "GFLOP/s in products", "time / Fenchel's"], lines)
        print("\n".join(notes))
        print("Load average at the end: " + ", ".join(f"{x:.1f}" for x in os.getloadavg()))


if __name__ == "__main__":
    main()
