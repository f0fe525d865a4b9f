"""Pictures on the CPU: `fenchel render` against PyTorch at the same pixels.

Run from the project's root, on a machine with little else to do:

    python benches/peers/render.py [--size 4096] [--rows 512] [--pieces 8000] [--threads 2]

The classes of mnist-net_256x4 on the plane through three test digits, and the value of a spline of it. Fenchel is timed
as a whole: range of colours, pixels, colouring and the written PNG. PyTorch is timed without any of that, on `--rows` of
the picture's rows in the middle, and its time is multiplied up; its batch is the best of some.

Direct evaluation: PyTorch once evaluates the points themselves (784 numbers each, made from s and t), and once a network
whose first layer was projected onto the plane. Spline: planes of three coefficients, `addmm` and `max` over all of them,
in chunks, for both halves. Values written by Fenchel are checked against PyTorch's at all pixels of those rows.
"""

import argparse
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from common import Fenchel, Network, conditions, read_idx, table, workspace


def centres(n):
    """Of n pixels from -1 to 1."""
    return (2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1


def grid(size, rows):
    """s and t of the middle rows of a picture, row 0 at the top."""
    first = (size - rows) // 2
    s, t = centres(size), -centres(size)[first : first + rows]
    return torch.stack([s.repeat(rows), t.repeat_interleave(size)], 1).float(), slice(first, first + rows)


def least(job, points, chunks):
    """Results and seconds with the best size of a chunk; the sizes are tried on a part."""
    part = points[: len(points) // 8]
    run = lambda p, c: torch.cat([job(p[i : i + c]) for i in range(0, len(p), c)])
    timed = []
    for chunk in chunks:
        run(part[:chunk], chunk)
        start = time.perf_counter()
        run(part, chunk)
        timed.append((time.perf_counter() - start, chunk))
    chunk = min(timed)[1]
    start = time.perf_counter()
    result = run(points, chunk)
    return result, time.perf_counter() - start, chunk


def layers(network, origin, directions):
    """Weights and biases, those of the first layer on the plane."""
    known = {name: getattr(network, buffer) for name, buffer in network.names.items()}
    gemms = [node for node in network.graph.node if node.op_type == "Gemm"]
    pairs = []
    for node in gemms:
        weight, bias = known[node.input[1]], known[node.input[2]]
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        pairs.append((weight if transposed else weight.T, bias))
    weight, bias = (p.double() for p in pairs[0])
    return [((weight @ directions).float(), (weight @ origin + bias).float()), *pairs[1:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fenchel", default="target/release/fenchel")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--pieces", type=int, default=8000)
    parser.add_argument("--output", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    size, rows = arguments.size, arguments.rows
    pixels = size * size
    with workspace() as folder:
        folder = Path(folder)
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        print(conditions(fenchel, f"PyTorch {torch.__version__}"))
        model = arguments.data / "models" / "mnist-net_256x4.onnx"
        images = {kind: read_idx(arguments.data / "mnist" / name).reshape(-1, 784) / np.float32(255)
                  for kind, name in images_in(arguments.data / "mnist").items()}
        np.save(folder / "test.npy", images["test"][:64].astype(np.float32))
        np.save(folder / "train.npy", images["train"][: arguments.pieces].astype(np.float32))
        plane = folder / "plane.npz"
        fenchel("plane", model, "--data", folder / "test.npy", "--through", "0,1,2", "-o", plane)
        planes = np.load(plane)
        origin = torch.tensor(planes["origin"], dtype=torch.float64)
        directions = torch.tensor(np.stack([planes["u"], planes["v"]], 1), dtype=torch.float64)
        points, middle = grid(size, rows)
        scale = size / rows
        network = Network(model)

        def render(*what):
            command = ["render", model, "--plane", plane, "--size", f"{size}x{size}", "-o", folder / "i.png", "--npy", folder / "v.npy"]
            document = fenchel(*command, *what)
            return document["seconds"], np.load(folder / "v.npy", mmap_mode="r")[middle].reshape(-1)

        lines = []

        def line(what, program, seconds, own, note):
            lines.append([what, program, f"{seconds:.3g}", f"{pixels / seconds:.3g}", f"{seconds / own:.2f}", note])

        # Classes.
        own, classes = render("--what", "class")
        line("class", "fenchel", own, own, "")
        o32, d32 = origin.float(), directions.float()
        whole = lambda p: network(torch.addmm(o32, p, d32.T))
        first = layers(network, origin, directions)

        def projected(p):
            for i, (weight, bias) in enumerate(first):
                p = torch.addmm(bias, p, weight.T)
                p = torch.relu_(p) if i + 1 < len(first) else p
            return p

        for name, job in [("PyTorch, points", whole), ("PyTorch, first layer on the plane", projected)]:
            result, seconds, chunk = least(lambda p: job(p), points, [1024, 4096, 16384, 65536])
            differ = (result.argmax(1).numpy() != classes).mean()
            line("class", name, scale * seconds, own, f"batch {chunk}; {differ:.1e} of the pixels differ")

        # A spline.
        spline = folder / "s.safetensors"
        fenchel("fit", model, "--data", folder / "train.npy", "--outputs", arguments.output, "--curvature", 3, "-o", spline)
        own, values = render("--spline", spline, "--what", "value")
        line(f"spline, {arguments.pieces} pieces", "fenchel", own, own, "")
        halves = restrict(spline, origin, directions, 3.0)

        def brute(p):
            low, high = (torch.addmm(r, p, pq).max(1) for pq, r in halves)
            return (low.values - high.values) / 2

        few = points[: len(points) // 8]
        result, seconds, chunk = least(brute, few, [256, 1024, 4096])
        found = torch.tensor(values[: len(few)])
        difference = ((result - found).abs().max() / found.abs().max()).item()
        line(f"spline, {arguments.pieces} pieces", "PyTorch, addmm and max", 8 * scale * seconds, own,
             f"chunk {chunk}; largest difference {difference:.1e}")
        table(["picture", "program", "s", "pixels/s", "ratio", ""], lines)


def images_in(folder):
    """The files of training and test images."""
    files = sorted(path.name for path in folder.iterdir() if "images" in path.name)
    return {"train": next(n for n in files if n.startswith("train")), "test": next(n for n in files if n.startswith("t10k"))}


def restrict(path, origin, directions, c):
    """The planes of both halves of an isotropic spline on the plane, by its formula: [2, M] and [M], the upper negated."""
    from safetensors.torch import load_file

    tensors = {name: tensor.double() for name, tensor in load_file(path).items() if name.startswith("anchors")}
    steps = tensors["anchors.points"] - origin
    slopes, values = tensors["anchors.slopes"][:, 0], tensors["anchors.values"][:, 0]
    at_origin = values - (slopes * steps).sum(1)
    squares = (steps**2).sum(1)
    halves = []
    for sign in (1, -1):
        along = sign * slopes @ directions + c * steps @ directions
        halves.append((along.T.float().contiguous(), (sign * at_origin - c / 2 * squares).float()))
    return halves


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode)
