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
then falls on both. Processor seconds are given beside wall seconds; their quotient, "cores", says how much of the
machine a measurement had. Where that is much below the number of threads, other programs were running, and the ratios
are not to be trusted (they came out in favour of Fenchel).
"""

import argparse
import json
import os
import struct
from pathlib import Path

import numpy as np
import torch
from common import HEAD, JETS, Clock, Fenchel, Network, conditions, jets_in_chunks, read_idx, table, workspace

ONE, ALL = "`fenchel sweep`, whole command, one row", "`fenchel sweep`, whole command"
STARTUP = "`fenchel sweep`, 1 anchor and 1 point"
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


def shared(points, anchors, values, jacobians, c, chunk, products=True, reduction=True):
    """The same halves from K + 1 products. Either part can be left out, to time the other; the result is void then."""
    rows, outputs = len(points), len(jacobians)
    halves = np.empty((2, 1, rows, outputs), jacobians.numpy().dtype)
    tangents, distances, scores = torch.zeros(3, chunk, len(anchors), dtype=points.dtype)
    squares = (points * points).sum(1) * (c / 2)
    if products:
        offsets = [values[:, k] - (jacobians[k] * anchors).sum(1) for k in range(outputs)]
        norms = (anchors * anchors).sum(1) / -2
    for start in range(0, rows, chunk):
        block = slice(start, min(start + chunk, rows))
        tangent, distance, score = [buffer[: block.stop - start] for buffer in (tangents, distances, scores)]
        if products:
            torch.addmm(norms, points[block], anchors.T, out=distance)  # (|x|^2 - d^2) / 2
        for k in range(outputs):
            if products:
                torch.addmm(offsets[k], points[block], jacobians[k].T, out=tangent)
            if reduction:
                halves[0, 0, block, k] = torch.add(tangent, distance, alpha=c, out=score).amax(1) - squares[block]
                halves[1, 0, block, k] = torch.sub(tangent, distance, alpha=c, out=score).amin(1) + squares[block]
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
        self.arguments, self.fenchel, self.folder = arguments, fenchel, Path(folder)
        self.model = arguments.data / "models" / f"{arguments.model}.onnx"
        self.images = [arguments.data / "mnist" / f"{part}-images-idx3-ubyte.gz" for part in ("train-18k", "t10k")]
        self.network = Network(self.model)
        self.anchors, self.points = self.rows(torch.float32)
        self.truth = self.network(self.points)
        self.outputs = self.truth.shape[1]

    def rows(self, dtype):
        """Anchors and points, pixels in 0..1."""
        counts = [self.arguments.anchors, self.arguments.points]
        pixels = [read_idx(path)[:n].reshape(n, -1) for path, n in zip(self.images, counts)]
        return [torch.tensor(rows, dtype=dtype) / 255 for rows in pixels]

    def jets(self, name, network, anchors):
        with torch.enable_grad():
            return jets_in_chunks(JETS[name], network, anchors, self.arguments.jet_chunk)

    def sweep(self, curvatures, pieces=("all",), seeds=1, anchors=None, points=None, precision="f32"):
        """The rows of `fenchel sweep`."""
        ranges = [0, anchors or len(self.anchors)], [0, points or len(self.points)]
        options = {
            "--points-data": self.images[1],
            "--anchors": "{}..{}".format(*ranges[0]),
            "--points": "{}..{}".format(*ranges[1]),
            "--pieces": ",".join(map(str, pieces)),
            "--curvature": ",".join(map(str, curvatures)),
            "--seeds": seeds,
            "--precision": precision,
            "-o": self.folder / "sweep",
        }
        return self._run("sweep", options)["rows"]

    def nested(self, cuts, seed):
        """The anchors in an order whose beginnings, up to each cut, are the subsets of a seed of `fenchel sweep`.

        They are read out of splines fitted with as many pieces; only one output, as the file's slopes do not matter.
        """
        order = np.empty(0, np.int64)
        for pieces in cuts:
            path = self.folder / "subset.safetensors"
            ranges = {"--take": f"0..{len(self.anchors)}", "--outputs": 0, "--curvature": 1}
            self._run("fit", ranges | {"--pieces": pieces, "--seed": seed, "-o": path})
            order = np.append(order, np.setdiff1d(safetensor(path, "anchors.indices", np.uint64), order))
        rest = np.setdiff1d(np.arange(len(self.anchors)), order)
        return torch.from_numpy(np.append(order, rest).astype(np.int64))

    def _run(self, verb, options):
        every = {"--data": self.images[0], "--scale": 1 / 255}
        return self.fenchel(verb, self.model, *[word for pair in (every | options).items() for word in pair])

    def gflop(self, products):
        """Counted work of so many products of all points with all anchors, in 1e9 flops."""
        (m, d), n = self.anchors.shape, len(self.points)
        return 2e-9 * n * m * d * products


def safetensor(path, name, dtype):
    """One array of a .safetensors file, flat."""
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    first, last = json.loads(data[8:start])[name]["data_offsets"]
    return np.frombuffer(data[start + first : start + last], dtype)


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
    parser.add_argument("--chunk", type=int, default=2048, help="points of a PyTorch product")
    parser.add_argument("--jet-chunk", type=int, default=2000, help="samples of a PyTorch Jacobian")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with workspace() as folder, torch.no_grad():
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        case = Case(arguments, fenchel, folder)
        versions = f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
        print(f"`{arguments.model}`, {len(case.anchors)} anchors, {len(case.points)} points, ", end="")
        print(f"{case.outputs} outputs, {arguments.repeats} repetitions")
        print(conditions(fenchel, versions) + "\n", flush=True)
        jets = single_row(case)
        whole_table(case, jets)
        print("Load average at the end: " + ", ".join(f"{x:.1f}" for x in os.getloadavg()))


def single_row(case):
    """The first table: one row, pieces all. Returns the jets."""
    arguments, clock, c = case.arguments, Clock(), case.arguments.curvature

    def peer(formula):
        return formula(case.points, case.anchors, *known, c, arguments.chunk)

    for name in JETS:  # Warm up on little.
        small = case.jets(name, case.network, case.anchors[:64])
    for formula in (published, shared):
        formula(case.points[:64], case.anchors[:64], *small, c, arguments.chunk)
    for _ in range(arguments.repeats):
        clock.measure(STARTUP, lambda: case.sweep([c], anchors=1, points=1))
        for name in JETS:
            known = clock.measure(f"jets, {name}", lambda: case.jets(name, case.network, case.anchors))
        first = clock.measure("published", lambda: peer(published))
        (ours,) = clock.measure(ONE, lambda: case.sweep([c]))
        second = clock.measure("shared", lambda: peer(shared))
    fastest = min(JETS, key=lambda name: clock.median(f"jets, {name}"))
    for name in ("published", "shared"):
        clock.sum(f"{name} and jets", name, f"jets, {fastest}")

    lines = [
        (ONE, ONE, case.outputs + 1),
        (STARTUP, STARTUP, 0),
        ("PyTorch published, evaluation only", "published", 2 * case.outputs),
        ("PyTorch published, evaluation and fastest jets", "published and jets", 2 * case.outputs),
        ("PyTorch shared, evaluation only", "shared", case.outputs + 1),
        ("PyTorch shared, evaluation and fastest jets", "shared and jets", case.outputs + 1),
        *[(f"PyTorch jets, {name}", f"jets, {name}", 0) for name in JETS],
    ]
    print(f"### One row: pieces all, curvature {c:g}\n")
    table(HEAD, [[label, *clock.cells(name, ONE, gflop=case.gflop(products))] for label, name, products in lines])

    (anchors, points), network = case.rows(torch.float64), Network(case.model).double()
    exact = shared(points, anchors, *case.jets(fastest, network, anchors), c, arguments.chunk)
    reference = statistics_of(exact[:, 0], network(points))
    (double,) = case.sweep([c], precision="f64")
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
    arguments, clock, found = case.arguments, Clock(), {}
    curvatures, seeds = arguments.curvatures, arguments.seeds
    cuts = [pieces for pieces in PIECES if pieces < len(case.anchors)]
    counts = [*cuts, len(case.anchors)]
    passes, size = len(curvatures) * seeds, len(curvatures) * seeds * len(counts)

    def peer(formula, **options):
        return formula(case.points, case.anchors, *jets, c, arguments.chunk, **options)

    for i in range(arguments.repeats):
        c, seed = curvatures[i % len(curvatures)], i % seeds
        order = case.nested(cuts, seed)
        ours = clock.measure(ALL, lambda: case.sweep(curvatures, counts, seeds))
        found[c, seed] = clock.measure("pass", lambda: peer(published, order=order, cuts=cuts))
        clock.measure(ONE, lambda: case.sweep([c]))
        clock.measure("shared", lambda: peer(shared))
        clock.measure("products", lambda: peer(shared, reduction=False))
        clock.measure("reduction", lambda: peer(shared, products=False))
    clock.sum("all shared", "products", *["reduction"] * passes)
    k = case.outputs
    published_pass = f"PyTorch published, one pass: one curvature and seed, {len(counts)} rows"
    lines = [
        (f"{ALL}, {size} rows", 1, ALL, k + 1),
        (ONE, 1, ONE, k + 1),
        (published_pass, 1, "pass", 2 * k),
        (f"PyTorch published, {size} rows: {passes} x that pass (not run)", passes, "pass", 2 * k),
        ("PyTorch shared, one row", 1, "shared", k + 1),
        (f"PyTorch shared, {size} rows: products once, {passes} x the reduction (not run)", 1, "all shared", k + 1),
        ("PyTorch shared, products alone", 1, "products", k + 1),
        ("PyTorch shared, reduction alone (one curvature and seed)", 1, "reduction", 0),
    ]
    print(f"### {len(curvatures)} curvatures x {seeds} seeds x {len(counts)} piece counts = {size} rows\n")
    print("PyTorch: evaluation only, its jets known. A pass gives all piece counts of its seed.\n")
    table(HEAD, [[label, *clock.cells(name, ALL, n, case.gflop(p))] for label, n, name, p in lines])

    rows, exact = [], case.sweep(curvatures, counts, seeds, precision="f64")
    for (c, seed), halves in sorted(found.items()):
        for pieces, theirs in zip(counts, halves.swapaxes(0, 1)):
            key = (c, seed, pieces)
            own, double = [find(rows_of, key) for rows_of in (ours, exact)]
            theirs = statistics_of(theirs, case.truth)
            cells = [f"{c:g}", seed, pieces]
            for field in ("relative_rmse", "agreement"):
                cells += [f"{own[field]:.7f}", f"{theirs[field]:.7f}"]
                cells += [f"{row[field] - double[field]:+.0e}" for row in (own, theirs)]
            rows.append(cells)
    print("Rows that both computed, from the same subsets; errors against `fenchel sweep --precision f64`:\n")
    head = [["ours", "PyTorch published", "error of ours", "of PyTorch"] for _ in range(2)]
    head[0][0], head[1][0] = "relative RMSE, ours", "agreement, ours"
    table(["curvature", "seed", "pieces", *head[0], *head[1]], rows)


def find(rows, key):
    """The row of a curvature, seed and number of pieces."""
    (row,) = [row for row in rows if (row["curvature"], row["seed"], row["pieces"]) == key]
    return row


if __name__ == "__main__":
    main()
