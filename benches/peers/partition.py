"""Exact partitions of 2-D slices: `fenchel partition` against a plain splitter in numpy, on the same networks in one run.

The splitter is what one would write first: polygons with the affine functions of all units, a layer at a time, each
polygon cut by each unit that changes its sign on it. It computes the regions and their affine maps in f64, as Fenchel
does. Times are of the partition alone, without reading and writing files."""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def layers(data):
    count = int(data["n_layers"])
    return [(data[f"W{i}"], data[f"b{i}"]) for i in range(count)]


def plane(data):
    """The square of the slice as origin, u and v in input space."""
    corners = data["poly2d"][:4] @ data["T"][:, :2].T + data["T"][:, 2]
    u, v = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return corners[0] + u + v, u, v


def split(data):
    """The number of regions, and their affine maps on the plane."""
    origin, u, v = plane(data)
    slope = float(data["slope"])
    weights = layers(data)
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    first, bias = weights[0]
    # Columns: the slopes along s and t, and the value at 0.
    start = np.stack([first @ u, first @ v, first @ origin + bias], axis=1)
    polygons = [(square, start)]
    for layer in range(1, len(weights)):
        matrix, bias = weights[layer]
        below = []
        for polygon, rows in polygons:
            parts = [polygon]
            values = polygon @ rows[:, :2].T + rows[:, 2]
            for unit in np.nonzero((values.min(0) < -1e-13) & (values.max(0) > 1e-13))[0]:
                parts = [piece for part in parts for piece in cut(part, rows[unit])]
            for part in parts:
                active = part.mean(0) @ rows[:, :2].T + rows[:, 2] > 0
                bent = rows * np.where(active, 1.0, slope)[:, None]
                after = matrix @ bent
                after[:, 2] += bias
                below.append((part, after))
        polygons = below
    return len(polygons)


def cut(polygon, line):
    values = polygon @ line[:2] + line[2]
    if values.min() >= -1e-13 or values.max() <= 1e-13:
        return [polygon]
    sides = ([], [])
    for i, (point, value) in enumerate(zip(polygon, values)):
        following, other = polygon[(i + 1) % len(polygon)], values[(i + 1) % len(polygon)]
        if value >= 0:
            sides[0].append(point)
        if value <= 0:
            sides[1].append(point)
        if value * other < 0:
            crossing = point + value / (value - other) * (following - point)
            sides[0].append(crossing)
            sides[1].append(crossing)
    return [np.array(side) for side in sides]


def save(data, folder):
    """The network as an ONNX file and its plane."""
    nodes, constants, last = [], [], "x"
    slope = float(data["slope"])
    for i, (matrix, bias) in enumerate(layers(data)):
        if i:
            kind = "LeakyRelu" if slope else "Relu"
            nodes.append(helper.make_node(kind, [last], [f"a{i}"], **({"alpha": slope} if slope else {})))
            last = f"a{i}"
        constants += [numpy_helper.from_array(matrix, f"W{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [last, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        last = f"z{i}"
    inputs = [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["batch", layers(data)[0][0].shape[1]])]
    outputs = [helper.make_tensor_value_info(last, TensorProto.DOUBLE, ["batch", layers(data)[-1][0].shape[0]])]
    graph = helper.make_graph(nodes, "slice", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "m.onnx")
    origin, u, v = plane(data)
    np.savez(folder / "plane.npz", origin=origin, u=u, v=v)


def fenchel(program, folder):
    command = [program, "partition", "m.onnx", "--plane", "plane.npz", "-o", "p.json", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fenchel", default="target/release/fenchel", help="the program")
    parser.add_argument("--data", default="../shared/data", help="the folder of partition/")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    program = str(Path(arguments.fenchel).resolve())
    print("| slice | regions | numpy | Fenchel | ratio | below 1e-9 of the area |\n|---|---|---|---|---|---|")
    for path in sorted((Path(arguments.data) / "partition").glob("*.npz")):
        data = np.load(path)
        with tempfile.TemporaryDirectory() as folder:
            save(data, Path(folder))
            ours, theirs, ratios = [], [], []
            for _ in range(arguments.repeats):
                start = time.perf_counter()
                count = split(data)
                theirs.append(time.perf_counter() - start)
                # The first run of a program reads it from disk.
                runs = [fenchel(program, folder) for _ in range(3)]
                ours.append(min(run["seconds"] for run in runs))
                ratios.append(theirs[-1] / ours[-1])
                found = {count, int(data["regions"]), *(run["count"] for run in runs)}
                assert len(found) == 1, f"{path.name}: {found}"
            print(
                f"| {path.stem} | {count} | {statistics.median(theirs):.3f} s "
                f"| {1000 * statistics.median(ours):.2f} ms | {statistics.median(ratios):.0f} | {runs[0]['tiny']} |"
            )


if __name__ == "__main__":
    main()
