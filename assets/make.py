#!/usr/bin/env python3
"""Re-makes every data set, network and golden value in this folder.

A developer's tool: the library and its tests only read what it wrote.

    pip install numpy scikit-learn torch onnx onnxruntime
    python assets/make.py

It trains five small networks with fixed seeds on one thread, writes their ONNX
graphs by hand (so that operators, opsets and names are exactly the ones below),
checks them against ONNX Runtime and PyTorch, and prints a table of accuracies.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits, make_moons
from torch import nn

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"

SEED = 20240
DIGITS_TRAIN = 1400  # rows before this one train (and serve as anchors), the rest test
MOONS_POINTS = 1000
MOONS_TRAIN = 750
GOLDEN_ROWS = 20
JACOBIAN_ROWS = 4
# A Jacobian row keeps this distance from every kink (a ReLU at zero, a tie in a
# max-pool window), so that f32 and f64 agree on the piece it lies in.
KINK_MARGIN = 1e-4
TIED_ROWS = 2
# A power of two: the same number as an f32 attribute and in f64 arithmetic.
BATCH_NORM_EPSILON = 2.0**-16


# ---------------------------------------------------------------- data


def make_digits():
    """Scikit-learn's digits in a fixed random order: x uint8 [1797, 64], y uint8 [1797]."""
    digits = load_digits()
    order = np.random.RandomState(SEED).permutation(len(digits.target))
    return digits.data[order].astype(np.uint8), digits.target[order].astype(np.uint8)


def make_two_moons():
    """Two interleaved half circles: x float32 [1000, 2], y uint8 [1000]."""
    x, y = make_moons(n_samples=MOONS_POINTS, noise=0.15, shuffle=True, random_state=SEED)
    return x.astype(np.float32), y.astype(np.uint8)


# ---------------------------------------------------------------- networks


class Mlp(nn.Module):
    """Two hidden layers of equal width and a linear head."""

    def __init__(self, inputs, width, outputs, activation):
        super().__init__()
        self.hidden1 = nn.Linear(inputs, width)
        self.activation1 = activation()
        self.hidden2 = nn.Linear(width, width)
        self.activation2 = activation()
        self.logits = nn.Linear(width, outputs)

    def forward(self, x):
        x = self.activation1(self.hidden1(x))
        x = self.activation2(self.hidden2(x))
        return self.logits(x)


class Cnn(nn.Module):
    """A stem with max-pooling, one residual block, global average pooling, a linear head."""

    def __init__(self, channels=16):
        super().__init__()

        def conv(inputs):
            return nn.Conv2d(inputs, channels, 3, padding=1, bias=False)

        def norm():
            return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON)

        self.conv1, self.bn1, self.relu1 = conv(1), norm(), nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2, self.bn2, self.relu2 = conv(channels), norm(), nn.ReLU()
        self.conv3, self.bn3 = conv(channels), norm()
        self.relu3 = nn.ReLU()
        self.logits = nn.Linear(channels, 10)

    def forward(self, x):
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        branch = self.relu2(self.bn2(self.conv2(x)))
        branch = self.bn3(self.conv3(branch))
        x = self.relu3(branch + x)
        return self.logits(x.mean(dim=(2, 3)))


def train(build, x, y, *, epochs, rate, decay, batch=100):
    """Trains with AdamW and a cosine schedule; returns the network in evaluation mode."""
    torch.manual_seed(SEED)
    network = build()
    x, y = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    order = torch.Generator().manual_seed(SEED)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(batch):
            optimizer.zero_grad()
            loss(network(x[rows]), y[rows]).backward()
            optimizer.step()
        schedule.step()
    return network.eval()


# ---------------------------------------------------------------- ONNX


class Graph:
    """Collects nodes and weights. A node and its output value share one name."""

    def __init__(self, network):
        self.parameters = {
            name: value.detach().numpy() for name, value in network.state_dict().items()
        }
        self.nodes, self.weights = [], []

    def weight(self, name):
        self.weights.append(numpy_helper.from_array(self.parameters[name], name))
        return name

    def node(self, operator, name, inputs, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def gemm(self, name, x):
        weights = [self.weight(f"{name}.weight"), self.weight(f"{name}.bias")]
        return self.node("Gemm", name, [x, *weights], transB=1)

    def conv(self, name, x):
        weight = self.weight(f"{name}.weight")
        return self.node(
            "Conv", name, [x, weight], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]
        )

    def batch_norm(self, name, x):
        fields = ["weight", "bias", "running_mean", "running_var"]
        weights = [self.weight(f"{name}.{field}") for field in fields]
        return self.node(
            "BatchNormalization", name, [x, *weights], epsilon=BATCH_NORM_EPSILON
        )

    def model(self, title, input_name, input_shape, outputs, opset):
        def value(name, shape):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

        graph = helper.make_graph(
            self.nodes,
            title,
            [value(input_name, input_shape)],
            [value("logits", [outputs])],
            self.weights,
        )
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="fenchel assets/make.py",
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def export_mlp(network, title, input_name, operator, opset, **attributes):
    graph = Graph(network)
    name = operator.lower()
    x = graph.gemm("hidden1", input_name)
    x = graph.node(operator, f"{name}1", [x], **attributes)
    x = graph.gemm("hidden2", x)
    x = graph.node(operator, f"{name}2", [x], **attributes)
    graph.gemm("logits", x)
    inputs, outputs = network.hidden1.in_features, network.logits.out_features
    return graph.model(title, input_name, [inputs], outputs, opset)


def export_cnn(network, title, opset):
    graph = Graph(network)
    x = graph.conv("conv1", "image")
    x = graph.batch_norm("bn1", x)
    x = graph.node("Relu", "relu1", [x])
    skip = graph.node("MaxPool", "pool1", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = graph.conv("conv2", skip)
    x = graph.batch_norm("bn2", x)
    x = graph.node("Relu", "relu2", [x])
    x = graph.conv("conv3", x)
    x = graph.batch_norm("bn3", x)
    x = graph.node("Add", "add1", [x, skip])
    x = graph.node("Relu", "relu3", [x])
    x = graph.node("GlobalAveragePool", "pool2", [x])
    x = graph.node("Flatten", "flatten", [x], axis=1)
    graph.gemm("logits", x)
    return graph.model(title, "image", [1, 8, 8], 10, opset)


def onnx_runtime(model, x):
    """Runs the graph as it is written: no fusion, one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(["logits"], {session.get_inputs()[0].name: x})[0]


# ---------------------------------------------------------------- golden values


def kink_distances(network, x, ties_allowed=False):
    """For each row of x, how near its activations come to a kink (infinite if smooth).

    With ties_allowed, exact ties in a max-pool window do not count.
    """
    distances = [torch.full((len(x),), torch.inf, dtype=x.dtype)]

    def at_relu(_, inputs, __):
        distances.append(inputs[0].abs().flatten(1).amin(1))

    def at_pool(_, inputs, __):
        windows = inputs[0].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
        best, second = windows.topk(2, dim=-1).values.unbind(-1)
        # The input is a ReLU's output: ties between inactive units carry no slope.
        gap = torch.where(best > 0, best - second, torch.inf)
        if ties_allowed:
            gap = torch.where(gap > 0, gap, torch.inf)
        distances.append(gap.flatten(1).amin(1))

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            hooks.append(module.register_forward_hook(at_relu))
        elif isinstance(module, nn.MaxPool2d):
            hooks.append(module.register_forward_hook(at_pool))
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return torch.stack(distances).amin(0).numpy()


def golden(network, model, x, first_test_row):
    """Twenty test rows, those with a Jacobian first. f64 values use the exact f32 weights."""
    exact = network.double()
    test = np.arange(first_test_row, len(x))
    points = torch.from_numpy(x[test]).double()
    clear = kink_distances(exact, points) > KINK_MARGIN
    with_jacobian = test[clear][:JACOBIAN_ROWS]
    assert len(with_jacobian) == JACOBIAN_ROWS, "too few rows away from kinks"
    others = test[~np.isin(test, with_jacobian)][: GOLDEN_ROWS - JACOBIAN_ROWS]
    rows = np.concatenate([with_jacobian, others])

    y, y64 = onnx_runtime(model, x[rows]), values(exact, x[rows])
    assert np.abs(y - y64).max() < 2e-5, "ONNX Runtime and f64 PyTorch disagree"
    slopes = jacobians(exact, x[with_jacobian])
    check_jacobians(exact, x[with_jacobian], slopes)
    arrays = {"rows": rows, "x": x[rows], "y": y, "y64": y64, "jacobian": slopes}

    # Blank image parts give equal windows, hence ties: there the first unit has the slope.
    tied = test[~clear & (kink_distances(exact, points, ties_allowed=True) > KINK_MARGIN)]
    if len(tied) >= TIED_ROWS:
        tied = tied[:TIED_ROWS]
        check_first_of_ties(exact, x[tied])
        arrays |= {
            "tied_rows": tied,
            "tied_x": x[tied],
            "tied_y64": values(exact, x[tied]),
            "tied_jacobian": jacobians(exact, x[tied]),
        }
    return arrays


def values(network, x):
    with torch.no_grad():
        return network(torch.from_numpy(x).double()).numpy()


def jacobians(network, x):
    """[rows, outputs, inputs], the inputs of one row flattened in row-major order."""
    return np.stack(
        [
            torch.autograd.functional.jacobian(lambda p: network(p[None])[0], point)
            .flatten(1)
            .numpy()
            for point in torch.from_numpy(x).double()
        ]
    )


def check_jacobians(network, x, expected, step=1e-6):
    """Central differences must agree; the rows lie away from kinks."""
    for row, slopes in zip(x, expected):
        moves = step * np.eye(row.size).reshape(-1, *row.shape)
        difference = values(network, row + moves) - values(network, row - moves)
        assert np.abs((difference / (2 * step)).T - slopes).max() < 1e-6, "wrong Jacobian"


def check_first_of_ties(network, x):
    """PyTorch must hand the slope to the first of equal units, in row-major order."""
    seen = []
    hook = network.pool1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    values(network, x)
    hook.remove()
    (units,) = seen
    best, chosen = nn.functional.max_pool2d(units, 2, return_indices=True)
    height, width = units.shape[2:]
    index = torch.arange(height * width).reshape(1, 1, height, width).expand_as(units)

    def windows(t):
        return t.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)

    equal = windows(units) == best[..., None]
    first = torch.where(equal, windows(index), height * width).amin(-1)
    assert (chosen == first).all(), "PyTorch did not take the first of equal units"
    assert ((equal.sum(-1) > 1) & (best > 0)).any(), "no tie"


# ---------------------------------------------------------------- all of it


def finish(name, network, model, x, y, first_test_row):
    """Checks one network against ONNX Runtime, writes its files, prints its line."""
    logits = onnx_runtime(model, x)
    with torch.no_grad():
        difference = np.abs(network(torch.from_numpy(x)).numpy() - logits).max()
    assert difference < 2e-5, f"{name}: ONNX Runtime and PyTorch disagree by {difference}"

    right = logits.argmax(1) == y
    fitted, generalised = right[:first_test_row].mean(), right[first_test_row:].mean()
    largest = max(p.detach().abs().max().item() for p in network.parameters())
    count = sum(p.numel() for p in network.parameters())

    path = HERE / f"{name}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    np.savez_compressed(GOLDEN / f"{name}.npz", **golden(network, model, x, first_test_row))
    print(
        f"{name:15} opset {model.opset_import[0].version}"
        f"  train {100 * fitted:6.2f} %  test {100 * generalised:6.2f} %"
        f"  parameters {count:5}  largest {largest:5.2f}  logits' deviation {logits.std():5.2f}"
        f"  PyTorch - ONNX Runtime {difference:.1e}  {path.stat().st_size:6} bytes"
    )


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    GOLDEN.mkdir(exist_ok=True)

    pixels, labels = make_digits()
    np.savez_compressed(HERE / "digits.npz", x=pixels, y=labels)
    images = pixels.astype(np.float32) / 16
    head = slice(0, DIGITS_TRAIN)

    for name, activation, operator, opset, attributes, settings in [
        ("digits_sigmoid", nn.Sigmoid, "Sigmoid", 18, {}, dict(epochs=150, rate=1e-2, decay=0.1)),
        ("digits_relu", nn.ReLU, "Relu", 18, {}, dict(epochs=60, rate=3e-3, decay=0.3)),
        ("digits_gelu", nn.GELU, "Gelu", 20, {"approximate": "none"},
         dict(epochs=60, rate=3e-3, decay=0.3)),
    ]:
        network = train(
            lambda: Mlp(64, 64, 10, activation), images[head], labels[head], **settings
        )
        model = export_mlp(network, name, "image", operator, opset, **attributes)
        finish(name, network, model, images, labels, DIGITS_TRAIN)

    squares = images.reshape(-1, 1, 8, 8)
    network = train(Cnn, squares[head], labels[head], epochs=40, rate=1e-2, decay=0.05)
    model = export_cnn(network, "digits_cnn", opset=17)
    finish("digits_cnn", network, model, squares, labels, DIGITS_TRAIN)

    points, classes = make_two_moons()
    np.savez_compressed(HERE / "moons.npz", x=points, y=classes)
    head = slice(0, MOONS_TRAIN)
    network = train(
        lambda: Mlp(2, 16, 2, nn.ReLU), points[head], classes[head],
        epochs=150, rate=1e-2, decay=0.01, batch=50,
    )
    model = export_mlp(network, "moons", "point", "Relu", opset=13)
    finish("moons", network, model, points, classes, MOONS_TRAIN)


if __name__ == "__main__":
    main()
