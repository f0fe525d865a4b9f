"""Kernels on a GPU: `fenchel bench` beside PyTorch in f32 on the same device.

Run from the project's root, on a machine with an NVIDIA GPU and its Vulkan driver:

    python benches/peers/gpu.py [--seconds 4] [--resnet] [--device gpu]

PyTorch computes with TF32 off. The envelope of one output is `addmm` and `max` over blocks of anchors; that of several
outputs is measured twice: as published (for each output and either half a product of its own), and with our formula
(one product for distances, shared). Each PyTorch job runs at the shape that `fenchel bench` chose and reports.
`--resnet` adds forward passes and jets of one logit of a ResNet-18 of random weights at 224 x 224.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

# Anchors whose scores PyTorch holds at once.
BLOCK = 4096


def clock(job, repeats):
    """The least time of a few runs after one that does not count, the device idle before and after."""
    least = float("inf")
    for repeat in range(repeats + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        job()
        torch.cuda.synchronize()
        if repeat:
            least = min(least, time.perf_counter() - start)
    return least


def maxima(x, slopes, offsets):
    """Values and places of `max_i slopes_i . x + offsets_i`."""
    best = None
    for start in range(0, len(slopes), BLOCK):
        value, place = torch.addmm(offsets[start : start + BLOCK], x, slopes[start : start + BLOCK].T).max(1)
        if best is None:
            best = value, place
        else:
            better = value > best[0]
            best = torch.where(better, value, best[0]), torch.where(better, place + start, best[1])
    return best


def published(x, jacobians, anchors, offsets, curvature):
    """Both halves of each output by planes of their own: slopes `J + c x_i` and `J - c x_i`."""
    for k in range(jacobians.shape[1]):
        for sign in (1.0, -1.0):
            maxima(x, sign * jacobians[:, k] + curvature * anchors, offsets)


def shared(x, jacobians, anchors, curvature):
    """Both halves of each output from one product of its own and one of distances."""
    norms = (x * x).sum(1, keepdim=True)
    for start in range(0, len(anchors), BLOCK):
        a = anchors[start : start + BLOCK]
        squared = norms + (a * a).sum(1) - 2 * x @ a.T
        for k in range(jacobians.shape[1]):
            tangents = x @ jacobians[start : start + BLOCK, k].T
            (tangents - curvature / 2 * squared).max(1)
            (tangents + curvature / 2 * squared).min(1)


def envelope(shape, repeats):
    n, m, d, k = (int(v) for v in re.findall(r"\d+", shape))
    x, anchors = torch.randn(n, d, device="cuda"), torch.randn(m, d, device="cuda")
    offsets = torch.randn(m, device="cuda")
    jobs = {"addmm + max": lambda: maxima(x, anchors, offsets)} if k == 1 else {}
    # Jacobians of all anchors may be too many: those of a part are taken again and again.
    part = min(m, 2048)
    jacobians = torch.randn(part, k, d, device="cuda")

    def parts(job):
        for start in range(0, m, part):
            job(anchors[start : start + part], offsets[start : start + part])

    jobs["published formula"] = lambda: parts(lambda a, o: published(x, jacobians[: len(a)], a, o, 3.0))
    jobs["shared distances"] = lambda: parts(lambda a, o: shared(x, jacobians[: len(a)], a, 3.0))
    return {name: clock(job, repeats) for name, job in jobs.items()}


def matmul(shape, repeats):
    n = int(shape.split()[0])
    x, y = torch.randn(n, n, device="cuda"), torch.randn(n, n, device="cuda")
    return {"matmul": clock(lambda: x @ y, repeats)}


def convolution(shape, repeats):
    n, c, size = (int(v) for v in re.findall(r"\d+", shape)[:3])
    x, w = torch.randn(n, c, size, size, device="cuda"), torch.randn(c, c, 3, 3, device="cuda")
    b = torch.randn(c, device="cuda")
    return {"conv2d + relu": clock(lambda: torch.relu_(torch.nn.functional.conv2d(x, w, b, padding=1)), repeats)}


def jets(shape, repeats):
    samples = int(shape.split()[0])
    sizes = (784, 256, 256, 10)
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(a, b, device="cuda"), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1]).requires_grad_(False)
    jacobian = torch.func.vmap(torch.func.jacrev(network), chunk_size=1024)
    x = torch.randn(samples, 784, device="cuda")
    return {"vmap(jacrev)": clock(lambda: jacobian(x), repeats)}


def resnet(fenchel, device, repeats):
    """Lines for the ResNet-18 shape."""
    import torchvision

    torch.manual_seed(1)
    network = torchvision.models.resnet18(weights=None).eval().requires_grad_(False)
    images = 32
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet18.onnx"
        batch = {"x": {0: "N"}, "y": {0: "N"}}
        names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": batch}
        torch.onnx.export(network, (torch.zeros(2, 3, 224, 224),), path, dynamo=False, opset_version=17, **names)
        arguments = ["--samples", str(images), "--outputs", "3", "--repeats", str(repeats), "--memory", "8GiB"]
        report = run(fenchel, "bench", str(path), *arguments, "--device", device)
    network, x = network.cuda(), torch.randn(images, 3, 224, 224, device="cuda")

    def gradient():
        inputs = x.detach().requires_grad_()
        torch.autograd.grad(network(inputs)[:, 3].sum(), inputs)

    with torch.no_grad():
        forward = clock(lambda: network(x), repeats)
    theirs = {"forward": forward, "jets": clock(gradient, repeats)}
    for kind, seconds in theirs.items():
        ours = min(report[kind]["seconds"])
        yield f"| ResNet-18 {kind} | {images} x 3 x 224 x 224 | {ours:.4f} | PyTorch | {seconds:.4f} | {seconds / ours:.2f} |"


def run(fenchel, *arguments):
    return json.loads(subprocess.run([fenchel, *arguments, "--json"], check=True, capture_output=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fenchel", type=Path, default=Path("target/release/fenchel"), help="the binary")
    parser.add_argument("--device", default="gpu", help="as `fenchel --device` takes it")
    parser.add_argument("--seconds", default="4", help="how long one measurement of Fenchel's may take")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--resnet", action="store_true", help="the ResNet-18 shape too (needs torchvision)")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU: there is nothing to compare with")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    limits = ["--seconds", arguments.seconds, "--repeats", str(arguments.repeats), "--memory", "8GiB"]
    report = run(arguments.fenchel, "bench", *limits, "--device", arguments.device)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, f32 without TF32\n")
    for floor in report["floors"]:
        print(f"- {floor['device']}: {floor['gflops']:.0f} GFLOP/s in multiply-adds, {floor['gbytes']:.0f} GB/s copied")
    print("\n| kernel | shape | Fenchel's seconds | peer | seconds | time / Fenchel's | Fenchel's share of the floor |")
    print("|---|---|---:|---|---:|---:|---:|")
    peers = {"matmul": matmul, "convolution": convolution, "jets": jets, "envelope": envelope}
    device = report["floors"][-1]["device"]
    for row in (row for row in report["rows"] if row["device"] == device and row["kernel"] in peers):
        for name, seconds in peers[row["kernel"]](row["shape"], arguments.repeats).items():
            ours, share = row["seconds"], 100 * row["share_of_floor"]
            print(
                f"| {row['kernel']} | {row['shape']} | {ours:.4f} | {name} | {seconds:.4f} | {seconds / ours:.2f} "
                f"| {share:.0f} % |",
                flush=True,
            )
    if arguments.resnet:
        print(*resnet(arguments.fenchel, arguments.device, arguments.repeats), sep="\n")


if __name__ == "__main__":
    main()
