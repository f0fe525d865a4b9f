"""How close splines of equal pieces come to their networks: published, nearest anchor, refined.

Runs the program itself on the networks and images beside the project (../shared/data) and on the digits in assets/, and
prints one Markdown table. Protocol: anchors and refinement from training rows, choices on validation rows, figures on
test rows. `python benches/peers/approximation.py [--program target/release/fenchel] [--only mnist-net] [--most 2000]`
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MNIST = {
    "data": DATA / "mnist" / "train-18k-images-idx3-ubyte.gz",
    "scale": 1 / 255,
    "anchors": "0..16000",
    "validation": "16000..18000",
    "points": ["--points-data", DATA / "mnist" / "t10k-images-idx3-ubyte.gz"],
}
DIGITS = {
    "data": ROOT / "assets" / "digits.npz",
    "scale": 1 / 16,
    "anchors": "0..1200",
    "validation": "1200..1400",
    "points": ["--points", "1400..1797"],
}
# With what was chosen on validation rows for each.
NETWORKS = {
    "mnist-net_256x4": (DATA / "models" / "mnist-net_256x4.onnx", MNIST, [100, 1000, 16000], ["--warp", 1]),
    "ffnnSIGMOID__Point_6x200": (
        DATA / "models" / "ffnnSIGMOID__Point_6x200.onnx",
        MNIST,
        [100, 1000, 16000],
        ["--warp", 1, "--rate", 0.05],
    ),
    "Convnet_maxpool": (
        DATA / "models" / "Convnet_maxpool.onnx",
        MNIST,
        [100, 1000, 16000],
        ["--warp", 1, "--metric", "principal"],
    ),
    "digits_cnn": (ROOT / "assets" / "digits_cnn.onnx", DIGITS, [100, 400, 1000], []),
    "digits_gelu": (ROOT / "assets" / "digits_gelu.onnx", DIGITS, [100, 400, 1000], []),
}


def sweep(program, model, protocol, pieces, options):
    """The rows of a sweep, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "sweep", model, "--data", protocol["data"], "--scale", protocol["scale"]]
        command += ["--anchors", protocol["anchors"], "--validation", protocol["validation"], *protocol["points"]]
        command += ["--pieces", ",".join(map(str, pieces)), *options, "--json", "-o", Path(folder) / "sweep"]
        start = time.time()
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["rows"], time.time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default=ROOT / "target" / "release" / "fenchel")
    parser.add_argument("--only", default="")
    parser.add_argument("--steps", type=int, default=12, help="of refinement, for each piece")
    parser.add_argument("--fewest", type=int, default=4000, help="steps at least")
    parser.add_argument("--longest", type=int, default=32000, help="steps at most")
    parser.add_argument("--most", type=int, default=2000, help="pieces that are refined at most")
    arguments = parser.parse_args()

    def shown(row):
        return f"{row['relative_rmse']:.3f} / {100 * row['agreement']:.1f} %"

    print("| network | pieces | published | nearest anchor's value | refined | ratio | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    for name, (model, protocol, pieces, choices) in NETWORKS.items():
        if arguments.only not in name or not model.exists():
            continue
        published, _ = sweep(arguments.program, model, protocol, pieces, ["--curvature", "auto"])
        # So cold that nothing but the nearest anchor weighs.
        cold = ["--curvature", "1", "--slopes", "0", "--soft", "nearest:1e-6"]
        nearest, _ = sweep(arguments.program, model, protocol, pieces, cold)
        for row, near in zip(published, nearest):
            few = min(row["pieces"], arguments.most)
            steps = min(max(few * arguments.steps, arguments.fewest), arguments.longest)
            options = ["--refine", steps, "--certificate", "1", *choices]
            refined, seconds = sweep(arguments.program, model, protocol, [few], options)
            ratio = refined[0]["relative_rmse"] / row["relative_rmse"]
            used = shown(refined[0]) + (f" ({few} pieces)" if few < row["pieces"] else "")
            print(
                f"| {name} | {row['pieces']} | {shown(row)} | {shown(near)} | {used} | {ratio:.2f} | {seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
