"""What a row of `fenchel sweep` costs beside the published formula in PyTorch, and whether both say the same.

Run from the project's root, on a machine with little else to do:

    python benches/peers/sweep.py [--model mnist-net_256x4] [--repeats 5]

For a network g with K outputs, its jets (x_i, v_i, J_i) at M anchors and a curvature c, two formulas of the spline:

published   the convex half has planes of slope p_i = J_i + c x_i and offset v_i + c/2 |x_i|^2 - p_i.x_i, the concave
            half those of -c; the spline is (max over the first + min over the second) / 2. A product for each
            output and half: 2 K products of 2 N M D flops.
shared      tangents T_i(x) = v_i + J_i (x - x_i) of an output, one product, serve both halves; with distances
            from one product for all outputs, max T - c/2 d^2 and min T + c/2 d^2 are the same halves less
            c/2 |x|^2, which cancels: K + 1 products. (What `fenchel sweep` computes, in PyTorch.)

Measurements of a repetition follow each other, and ratios are taken within repetitions: other load of the machine
then falls on both. Processor seconds are given beside wall seconds; their quotient says how much of the machine a
measurement had.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from common import JETS, Clock, Fenchel, Network, conditions, jets_in_chunks, read_idx, table, workspace

OURS, ONE, STARTUP = "`fenchel sweep`, whole command", "`fenchel sweep`, one row", "`fenchel sweep`, 1 anchor and 1 point"
PIECES = [100, 300, 1000, 2000, 4000]
FIELDS = ["relative_rmse", "mean_abs", "max_abs", "agreement", "certificate", "violations"]


def published(points, anchors, values, jacobians, c, chunk, order=None, cuts=()):
    """The halves by the published formula, less the quadratic term: lower and upper [cuts, N, K].

    With an `order` of the anchors and `cuts` in it, also the halves of the nested subsets that end there.
    """
    rows, outputs = len(points), len(jacobians)
    halves = np.empty((2, len(cuts) + 1, rows, outputs), jacobians.numpy().dtype)
    scores = torch.empty(chunk, len(anchors), dtype=points.dtype)
    squares = (points * points).sum(1) * (c / 2)
    if order is not None:
        anchors, values = anchors[order], values[order]
    for k in range(outputs):
        slopes = jacobians[k] if order is None else jacobians[k][order]
        for side, sign in enumerate([1, -1]):
            planes = slopes + sign * c * anchors
            offsets = values[:, k] + sign * c / 2 * (anchors * anchors).sum(1) - (planes * anchors).sum(1)
            for start in range(0, rows, chunk):
                block = slice(start, min(start + chunk, rows))
                product = torch.addmm(offsets, points[block], planes.T, out=scores[: block.stop - start])
                for i, best in enumerate(prefix_best(product, side, cuts)):
                    halves[side, i, block, k] = best - sign * squares[block]
    return halves


def shared(points, anchors, values, jacobians, c, chunk, reduce=True):
    """The same halves from K + 1 products; `reduce=False` leaves the products alone, to time them."""
    rows, outputs = len(points), len(jacobians)
    halves = np.empty((2, 1, rows, outputs), jacobians.numpy().dtype)
    tangents, distances, scores = torch.empty(3, chunk, len(anchors), dtype=points.dtype)
    squares = (points * points).sum(1) * (c / 2)
    offsets = [values[:, k] - (jacobians[k] * anchors).sum(1) for k in range(outputs)]
    norms = (anchors * anchors).sum(1) / -2
    for start in range(0, rows, chunk):
        block = slice(start, min(start + chunk, rows))
        size = block.stop - start
        distance = torch.addmm(norms, points[block], anchors.T, out=distances[:size])  # (|x|^2 - d^2) / 2
        for k in range(outputs):
            tangent = torch.addmm(offsets[k], points[block], jacobians[k].T, out=tangents[:size])
            if reduce:
                low = torch.add(tangent, distance, alpha=c, out=scores[:size]).amax(1)
                halves[0, 0, block, k] = low - squares[block]
                high = torch.sub(tangent, distance, alpha=c, out=scores[:size]).amin(1)
                halves[1, 0, block, k] = high + squares[block]
    return halves


def prefix_best(scores, side, cuts):
    """The maximum (minimum for side 1) of each row up to each cut and to the end."""
    best, start = None, 0
    for stop in [*cuts, scores.shape[1]]:
        part = scores[:, start:stop]
        found = part.amin(1) if side else part.amax(1)
        best = found if best is None else (torch.minimum if side else torch.maximum)(best, found)
        start = stop
        yield best


def statistics_of(halves, truth):
    """The statistics of a row as `fenchel sweep` defines them, from halves [2, N, K], in f64."""
    low, high = halves.astype(np.float64)
    truth = truth.numpy().astype(np.float64)
    error = np.abs((low + high) / 2 - truth)
    rounding = 1e-5 * np.maximum(np.maximum(np.abs(low), np.abs(high)), np.abs(truth))
    return {
        "relative_rmse": np.sqrt((error**2).mean()) / truth.std(),
        "mean_abs": error.mean(),
        "max_abs": error.max(),
        "agreement": ((low + high).argmax(1) == truth.argmax(1)).mean(),
        "certificate": ((high - low) / 2).mean(),
        "violations": ((truth < low - rounding) | (truth > high + rounding)).mean(),
    }


class Case:
    """A network, its anchors and points, for both programs."""

    def __init__(self, arguments, fenchel, folder):
        self.arguments, self.fenchel, self.folder = arguments, fenchel, folder
        self.model = arguments.data / "models" / f"{arguments.model}.onnx"
        self.images = [arguments.data / "mnist" / f"{part}-images-idx3-ubyte.gz" for part in ("train-18k", "t10k")]
        rows = zip(self.images, [arguments.anchors, arguments.points])
        read = [read_idx(path)[:n].reshape(n, -1) for path, n in rows]
        self.anchors, self.points = [torch.from_numpy(pixels / np.float32(255)) for pixels in read]
        self.network = Network(self.model)
        self.truth = self.network(self.points)

    def sweep(self, anchors, points, curvatures, pieces=("all",), seeds=1, precision="f32"):
        """The rows of `fenchel sweep`."""
        lists = {"--pieces": pieces, "--curvature": curvatures}
        options = [f(x) for name, items in lists.items() for f, x in [(str, name), (lambda l: ",".join(map(str, l)), items)]]
        data = ["--data", self.images[0], "--points-data", self.images[1], "--scale", 1 / 255]
        ranges = ["--anchors", f"0..{anchors}", "--points", f"0..{points}", "--seeds", seeds]
        goal = ["--precision", precision, "-o", Path(self.folder) / "sweep"]
        return self.fenchel("sweep", self.model, *data, *ranges, *options, *goal)["rows"]

    def counted(self, products):
        """Flops in products."""
        (m, d), n = self.anchors.shape, len(self.points)
        return 2 * n * m * d * products


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fenchel", type=Path, default=Path("target/release/fenchel"), help="the binary")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models/ and mnist/")
    parser.add_argument("--model", default="mnist-net_256x4", help="an MNIST network in models/")
    parser.add_argument("--anchors", type=int, default=8000)
    parser.add_argument("--points", type=int, default=2048)
    parser.add_argument("--curvature", type=float, default=10.0, help="of the single row")
    parser.add_argument("--curvatures", type=float, nargs="+", default=[1.0, 3.0, 10.0, 30.0], help="of the table")
    parser.add_argument("--seeds", type=int, default=5, help="of the table")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=512, help="points of a PyTorch product")
    parser.add_argument("--jet-chunk", type=int, default=4000, help="samples of a PyTorch Jacobian")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with workspace() as folder, torch.no_grad():
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        case = Case(arguments, fenchel, folder)
        versions = f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
        print(f"`{arguments.model}`, {len(case.anchors)} anchors, {len(case.points)} points, ", end="")
        print(f"{case.truth.shape[1]} outputs, {arguments.repeats} repetitions")
        print(conditions(fenchel, versions) + "\n", flush=True)
        jets = single_row(case)
        whole_table(case, jets)
        print("Load average at the end: " + ", ".join(f"{x:.1f}" for x in os.getloadavg()))


def single_row(case):
    """The first table: one row, pieces all. Returns the jets."""
    arguments, clock, c = case.arguments, Clock(), case.arguments.curvature
    outputs, chunk = case.truth.shape[1], arguments.chunk

    def peer(formula, jets, **options):
        return formula(case.points, case.anchors, *jets, c, chunk, **options)

    for jets in JETS.values():  # Warm up on little.
        with torch.enable_grad():
            small = jets(case.network, case.anchors[:64])
    for formula in (published, shared):
        formula(case.points[:64], case.anchors[:64], *small, c, chunk)
    for _ in range(arguments.repeats):
        clock.measure(STARTUP, lambda: case.sweep(1, 1, [c]))
        for name, jets in JETS.items():
            with torch.enable_grad():
                run = lambda: jets_in_chunks(jets, case.network, case.anchors, arguments.jet_chunk)
                known = clock.measure(f"jets, {name}", run)
        first = clock.measure("published", lambda: peer(published, known))
        (ours,) = clock.measure(OURS, lambda: case.sweep(len(case.anchors), len(case.points), [c]))
        second = clock.measure("shared", lambda: peer(shared, known))
    fastest = min((f"jets, {name}" for name in JETS), key=clock.median)
    for name in ("published", "shared"):
        clock.sum(f"{name} and jets", name, fastest)

    lines = [
        (OURS, outputs + 1, OURS),
        (STARTUP, None, STARTUP),
        ("PyTorch published, evaluation only", 2 * outputs, "published"),
        ("PyTorch published, evaluation + fastest jets", 2 * outputs, "published and jets"),
        ("PyTorch shared, evaluation only", outputs + 1, "shared"),
        ("PyTorch shared, evaluation + fastest jets", outputs + 1, "shared and jets"),
        *[(f"PyTorch {name}", None, name) for name in clock.wall if name.startswith("jets, ")],
    ]
    head = ["", "wall s, median", "range", "CPU s", "GFLOP in envelope products", "GFLOP/s", "wall / ours (range)", "CPU / ours (range)"]
    rows = []
    for label, products, name in lines:
        flops = case.counted(products) / 1e9 if products else None
        speed = [f"{flops:.0f}", f"{flops / clock.median(name):.0f}"] if products else ["", ""]
        rows.append([label, *clock.seconds(name), *speed, clock.ratio(name, OURS), clock.ratio(name, OURS, clock="cpu")])
    print(f"### One row: pieces all, curvature {c:g}\n")
    table(head, rows)

    network = case.network.double()
    with torch.enable_grad():
        jets = jets_in_chunks(JETS[fastest.removeprefix("jets, ")], network, case.anchors.double(), arguments.jet_chunk)
    exact = shared(case.points.double(), case.anchors.double(), *jets, c, chunk)
    reference = statistics_of(exact[:, 0], network(case.points.double()))
    (double,) = case.sweep(len(case.anchors), len(case.points), [c], precision="f64")
    case.network.float()
    found = {
        "`fenchel sweep`, f32": ours,
        "PyTorch published, f32": statistics_of(first[:, 0], case.truth),
        "PyTorch shared, f32": statistics_of(second[:, 0], case.truth),
        "`fenchel sweep`, f64": double,
    }
    rows = [["PyTorch shared, f64", *(f"{reference[f]:.9g}" for f in FIELDS)]]
    for name, row in found.items():
        rows.append([name, *(f"{row[f]:.9g} ({row[f] - reference[f]:+.0e})" for f in FIELDS)])
    print("Its numbers (in brackets the difference from PyTorch in f64):\n")
    table(["", *FIELDS], rows)
    return known


def whole_table(case, jets):
    """The second table: all curvatures, seeds and piece counts."""
    arguments, clock = case.arguments, Clock()
    outputs, chunk = case.truth.shape[1], arguments.chunk
    curvatures, cuts = arguments.curvatures, [p for p in PIECES if p < len(case.anchors)]
    count, whole = len(curvatures) * arguments.seeds, (len(case.anchors), len(case.points))
    size = count * (len(cuts) + 1)
    found = {}
    for i in range(arguments.repeats):
        c = curvatures[i % len(curvatures)]
        order = torch.randperm(len(case.anchors), generator=torch.Generator().manual_seed(i))
        known = lambda formula, **options: formula(case.points, case.anchors, *jets, c, chunk, **options)
        ours = clock.measure(OURS, lambda: case.sweep(*whole, curvatures, [*cuts, "all"], arguments.seeds))
        halves = clock.measure("pass", lambda: known(published, order=order, cuts=cuts))
        clock.measure(ONE, lambda: case.sweep(*whole, [c]))
        clock.measure("shared", lambda: known(shared))
        clock.measure("products", lambda: known(shared, reduce=False))
        found[c] = halves
    for i in range(arguments.repeats):
        # The least that PyTorch could take: products once, then a reduction for each curvature and seed.
        once, row = [[s[name][i] for s in (clock.wall, clock.cpu)] for name in ("products", "shared")]
        clock.add("floor", *(p + count * max(r - p, 0) for p, r in zip(once, row)))
    lines = [
        (f"{OURS}, {size} rows", 1, OURS, outputs + 1),
        (f"{ONE}", 1, ONE, outputs + 1),
        (f"PyTorch published, one pass (one curvature and seed, {len(cuts) + 1} rows)", 1, "pass", 2 * outputs),
        (f"PyTorch published, {size} rows: {count} x that pass (not run)", count, "pass", 2 * outputs),
        ("PyTorch shared, one row", 1, "shared", outputs + 1),
        (f"PyTorch shared, {size} rows, at least: products + {count} x (row - products) (not run)", 1, "floor", outputs + 1),
    ]
    rows = []
    for label, times, name, products in lines:
        wall, cpu = [np.array(samples[name]) * times for samples in (clock.wall, clock.cpu)]
        flops = case.counted(products) * times / 1e9
        cells = [f"{np.median(wall):.3g}", f"{wall.min():.3g}..{wall.max():.3g}", f"{np.median(cpu):.3g}"]
        speed = [f"{flops:.0f}", f"{flops / np.median(wall):.0f}"]
        ratios = [clock.ratio(name, OURS, times, clock=of) for of in ("wall", "cpu")]
        rows.append([label, *cells, *speed, *ratios])
    print(f"### {len(curvatures)} curvatures x {arguments.seeds} seeds x {len(cuts) + 1} piece counts = {size} rows\n")
    print("PyTorch: evaluation only, its jets known. A pass gives all piece counts of its seed.\n")
    table(["", "wall s, median", "range", "CPU s", "GFLOP in envelope products", "GFLOP/s", "wall / ours (range)", "CPU / ours (range)"], rows)

    rows = []
    for c, halves in sorted(found.items()):
        theirs = statistics_of(halves[:, -1], case.truth)
        same = [row for row in ours if row["curvature"] == c and row["pieces"] == len(case.anchors)]
        for field in ("relative_rmse", "agreement"):
            values = {row[field] for row in same}
            own = same[0][field]
            difference = f"{own - theirs[field]:+.1e}"
            rows.append([f"{c:g}", field, f"{own:.9g}", f"{theirs[field]:.9g}", difference, "yes" if len(values) == 1 else "no"])
    print("Pieces all (the rows that both can be compared on; subsets depend on the random generator):\n")
    table(["curvature", "", "`fenchel sweep`", "PyTorch published", "difference", "same for all seeds"], rows)


if __name__ == "__main__":
    main()
