"""Distances between codes: `fenchel distance` beside SciPy and NumPy on the codes of the same network and inputs.

Run from the project's root, after `cargo build --release`:

    python benches/peers/hamming.py [--model MODEL] [--rows 4000]

Codes are which ReLUs are on, by ONNX Runtime's values in f32, so that units within rounding of 0 may differ: the largest
difference of the matrices is printed. NumPy counts the bits of exclusive ors of packed words, row by row (one thread), SciPy
compares bytes (`cdist`, one thread). Fenchel's times are those that it reports for the matrix, codes aside; writing the file
is within them.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import scipy
from common import HEAD, Clock, Fenchel, conditions, read_idx, table, workspace
from scipy.spatial.distance import cdist


def codes(path, x):
    """Which units of all ReLUs are on, `[rows, units]`."""
    model = onnx.load(path)
    names = [node.output[0] for node in model.graph.node if node.op_type == "Relu"]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    source = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in source.shape[1:]]
    whole = isinstance(source.shape[0], int)
    parts = np.split(x, len(x)) if whole else [x]
    values = [session.run(names, {source.name: part.reshape(len(part), *shape)}) for part in parts]
    return np.concatenate([np.concatenate([v.reshape(len(v), -1) > 0 for v in layers], axis=1) for layers in values])


def counted(packed):
    """Bits in which each row of words differs from each other."""
    return np.stack([np.bitwise_count(packed ^ row).sum(axis=1, dtype=np.uint32) for row in packed])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist-net_256x4.onnx", help="in the folder models/ of the data")
    parser.add_argument("--data", type=Path, default="../shared/data")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fenchel", default="target/release/fenchel")
    arguments = parser.parse_args()
    model = arguments.data / "models" / arguments.model
    images = read_idx(arguments.data / "mnist" / "train-18k-images-idx3-ubyte.gz")[: arguments.rows]
    x = (images.reshape(len(images), -1) / 255).astype(np.float32)
    clock = Clock()
    with workspace() as folder:
        folder = Path(folder)
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        np.save(folder / "x.npy", x)
        on = codes(model, x)
        units = on.shape[1]
        bits = np.packbits(on, axis=1)
        padded = np.pad(bits, [(0, 0), (0, -bits.shape[1] % 8)])
        packed = padded.view(np.uint64)
        for _ in range(arguments.repeats):
            document = fenchel("distance", model, "--data", folder / "x.npy", "-o", folder / "d.npy")
            clock.add("fenchel", document["seconds"] - document["seconds_of_codes"], 0)
            numpy = clock.measure("NumPy", lambda: counted(packed)) / units
            bytes_ = clock.measure("SciPy", lambda: cdist(on, on, "hamming"))
        ours = np.load(folder / "d.npy")
    print(conditions(fenchel, f"NumPy {np.__version__}, SciPy {scipy.__version__}") + "\n")
    print(f"{len(x)} x {len(x)} samples by {units} units; largest differences: "
          f"{abs(ours - numpy).max():.2e} from NumPy, {abs(ours - bytes_).max():.2e} from SciPy\n")
    walls = {name: clock.median(name) for name in ["fenchel", "NumPy", "SciPy"]}
    rows = [[name, f"{wall:.3g}", f"{len(x) ** 2 / wall / 1e6:.0f}", f"{wall / walls['fenchel']:.1f}"] for name, wall in walls.items()]
    table(["", HEAD[1], "10^6 pairs/s", HEAD[7]], rows)


if __name__ == "__main__":
    main()
