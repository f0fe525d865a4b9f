"""Networks of torchvision, exported by PyTorch in every way, through `fenchel run`.

Run from the project's root:

    python benches/peers/vision.py [--size 64] [--skip vgg11]

Weights are random with a fixed seed, as are the statistics of batch normalisation. Each network is exported by the
TorchScript exporter (where PyTorch still has it) and by the newer one, with a fixed batch of 1 and with an open one.
Outputs are compared with ONNX Runtime's and the gradient of one output with PyTorch's (in f64), both relative to the
largest magnitude. Prints a Markdown table; exits with 1 if a difference is above 1e-4 or something was refused.
"""

import argparse
import contextlib
import copy
import io
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision
from common import table, workspace

TOLERANCE = 1e-4
NAMES = ["resnet18", "vgg11", "mobilenet_v2", "densenet121", "efficientnet_b0", "squeezenet1_1", "vision transformer"]
# The output whose gradient is compared.
OUTPUT = 3


def network(name, size):
    """The network with random weights, and the size of its images."""
    torch.manual_seed(7)
    if name == "vision transformer":
        module = torchvision.models.VisionTransformer(
            image_size=64, patch_size=16, num_layers=4, num_heads=4, hidden_dim=96, mlp_dim=192, num_classes=10
        )
        # It starts with a head of zeros.
        torch.nn.init.normal_(module.heads.head.weight, std=0.2)
        size = 64
    else:
        module = getattr(torchvision.models, name)(weights=None)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.running_mean, std=0.1)
            torch.nn.init.uniform_(part.running_var, 0.8, 1.3)
            torch.nn.init.uniform_(part.weight, 0.8, 1.2)
            torch.nn.init.normal_(part.bias, std=0.1)
    return module.eval(), size


def export(module, x, path, dynamo, is_open):
    """Writes the module; the first axis of its input is open or 1."""
    x = x if is_open else x[:1]
    if dynamo:
        shapes = ({0: torch.export.Dim("N")},) if is_open else None
        torch.onnx.export(module, (x,), path, dynamo=True, verbose=False, dynamic_shapes=shapes)
    else:
        axes = {"x": {0: "N"}} if is_open else None
        torch.onnx.export(module, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=axes)


def gradients_at(module, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(module(x)[:, OUTPUT].sum(), x)[0].flatten(1)


def images(module, count, size):
    """Random images that are no closer to a kink of the network than rounding moves it, and gradients there.

    Where the argument of a ReLU is within rounding of 0, the gradient depends on the order of sums: PyTorch's own in
    f32 and f64 differ by percents. Such images are passed over.
    """
    double = copy.deepcopy(module).double()
    kept, gradients = [], []
    while len(kept) < count:
        x = torch.randn(1, 3, size, size)
        exact = gradients_at(double, x.double())
        others = [gradients_at(module, x).double()]
        others += [gradients_at(double, x.double() * (1 + 1e-6 * torch.randn(x.shape))) for _ in range(4)]
        if max(relative(other.numpy(), exact.numpy()) for other in others) < TOLERANCE / 4:
            kept.append(x)
            gradients.append(exact)
    return torch.cat(kept), torch.cat(gradients).numpy()


def relative(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def compare(fenchel, folder, path, x, gradients):
    """Differences of outputs and gradients, or a reason why there are none."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    if isinstance(source.shape[0], int):
        expected = np.concatenate([session.run(None, {source.name: row[None]})[0] for row in x])
    else:
        expected = session.run(None, {source.name: x})[0]
    files = {part: folder / f"{part}.npy" for part in "xyj"}
    np.save(files["x"], x)
    command = [fenchel, "run", path, "--data", files["x"], "--device", "cpu"]
    jacobian = ["--jacobian", files["j"], "--outputs", str(OUTPUT)]
    for options in (["-o", files["y"]], jacobian):
        done = subprocess.run([str(part) for part in [*command, *options]], capture_output=True, text=True)
        if done.returncode != 0:
            return done.stderr.strip()[-400:].replace("\n", " "), None
    values = relative(np.load(files["y"]), expected)
    return values, relative(np.load(files["j"])[:, 0], gradients)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fenchel", type=Path, default=Path("target/release/fenchel"), help="the binary")
    parser.add_argument("--size", type=int, default=64, help="rows and columns of the images")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--only", type=lambda names: names.split(","), default=NAMES, help="networks")
    parser.add_argument("--skip", type=lambda names: names.split(","), default=[], help="networks left out")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    fenchel, rows, failed = arguments.fenchel.resolve(), [], False
    for name in arguments.only:
        if name in arguments.skip:
            continue
        module, size = network(name, arguments.size)
        x, gradients = images(module, arguments.images, size)
        for dynamo in (False, True):
            for is_open in (False, True):
                way = ["newer exporter" if dynamo else "TorchScript", "open" if is_open else "1"]
                with workspace() as folder:
                    path = str(Path(folder) / "model.onnx")
                    try:
                        with contextlib.redirect_stdout(io.StringIO()):  # It prints graphs.
                            export(module, x, path, dynamo, is_open)
                    except Exception as error:  # What an exporter cannot do says nothing about Fenchel.
                        reason = [line for line in str(error).splitlines() if "nsupported" in line] or [type(error).__name__]
                        rows.append([name, *way, f"not exported: {reason[-1][:100]}", ""])
                        continue
                    values, gradient = compare(fenchel, Path(folder), path, x.numpy(), gradients)
                if gradient is None:
                    failed = True
                    rows.append([name, *way, values, ""])
                else:
                    failed |= not (values <= TOLERANCE and gradient <= TOLERANCE)
                    rows.append([name, *way, f"{values:.1e}", f"{gradient:.1e}"])
                print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, ONNX Runtime {onnxruntime.__version__}; ")
    print(f"{arguments.images} images of {arguments.size} x {arguments.size} (the vision transformer's: 64 x 64)\n")
    table(["network", "exporter", "batch", "outputs, relative", "gradient, relative"], rows)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
