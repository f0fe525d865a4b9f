"""What the scripts beside this file share: networks out of ONNX files in PyTorch, their jets, and timing."""

import gzip
import json
import os
import resource
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


class Network(torch.nn.Module):
    """An ONNX file as a PyTorch module of the same operators; the first axis is the batch, whatever the file says."""

    def __init__(self, path):
        super().__init__()
        self.graph = onnx.load(path).graph
        for i, tensor in enumerate(self.graph.initializer):
            self.register_buffer(f"weight{i}", torch.from_numpy(numpy_helper.to_array(tensor).copy()))
        constants = [node for node in self.graph.node if node.op_type == "Constant"]
        for i, node in enumerate(constants):
            value = numpy_helper.to_array(node.attribute[0].t)
            self.register_buffer(f"constant{i}", torch.from_numpy(value.copy()))
        self.names = {tensor.name: f"weight{i}" for i, tensor in enumerate(self.graph.initializer)}
        self.names |= {node.output[0]: f"constant{i}" for i, node in enumerate(constants)}
        (source,) = [i for i in self.graph.input if i.name not in self.names]
        self.source = source.name
        self.shape = [d.dim_value for d in source.type.tensor_type.shape.dim[1:]]

    def forward(self, x):
        known = {name: getattr(self, buffer) for name, buffer in self.names.items()}
        known[self.source] = x.reshape(-1, *self.shape)
        for node in self.graph.node:
            if node.op_type == "Constant":
                continue
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            known[node.output[0]] = operator(node.op_type, [known[i] for i in node.input], attributes)
        return known[self.graph.output[0].name]


def operator(kind, inputs, attributes):
    """One operator, with those attributes that the measured networks use; others are refused."""
    if kind == "Gemm" and set(attributes.items()) <= {("alpha", 1.0), ("beta", 1.0), ("transB", 1)}:
        return F.linear(*inputs) if attributes.get("transB") else torch.addmm(inputs[2], inputs[0], inputs[1])
    if kind == "Conv" and attributes.get("group", 1) == 1 and set(attributes.get("dilations", [1])) == {1}:
        top, left, bottom, right = attributes.get("pads", [0] * 4)
        if (top, left) == (bottom, right):
            return F.conv2d(*inputs, stride=attributes.get("strides", 1), padding=(top, left))
    if kind == "BatchNormalization" and not attributes.get("training_mode"):
        x, scale, shift, mean, variance = inputs
        return F.batch_norm(x, mean, variance, scale, shift, eps=attributes.get("epsilon", 1e-5))
    if kind == "MaxPool" and set(attributes.get("pads", [0])) == {0} and not attributes.get("ceil_mode"):
        return F.max_pool2d(inputs[0], attributes["kernel_shape"], attributes.get("strides", 1))
    if kind == "GlobalAveragePool":
        return inputs[0].mean(dim=(2, 3), keepdim=True)
    if kind == "Gelu":
        return F.gelu(inputs[0], approximate=attributes.get("approximate", b"none").decode())
    if kind == "Flatten" and attributes.get("axis", 1) == 1:
        return inputs[0].flatten(1)
    plain = {"Relu": torch.relu, "Sigmoid": torch.sigmoid, "Add": torch.add, "Sub": torch.sub, "Div": torch.div}
    if kind in plain:
        return plain[kind](*inputs)
    raise NotImplementedError(f"{kind} with {attributes}")


# Jets of all outputs, three ways. Each returns values [N, K] and Jacobians [K, N, D].


def jets_vmap(network, x):
    """`torch.func`: reverse mode over the outputs, vectorised over the samples."""

    def single(sample):
        y = network(sample[None])[0]
        return y, y

    jacobians, values = torch.func.vmap(torch.func.jacrev(single, has_aux=True))(x)
    return values, jacobians.flatten(2).transpose(0, 1)


def jets_batched(network, x):
    """One backward pass for all outputs at once (`is_grads_batched`)."""
    x = x.detach().requires_grad_()
    y = network(x)
    ones = torch.eye(y.shape[1], dtype=y.dtype)[:, None, :].expand(-1, len(x), -1)
    (jacobians,) = torch.autograd.grad(y, x, ones, is_grads_batched=True)
    return y.detach(), jacobians.flatten(2)


def jets_loop(network, x):
    """One backward pass for each output; the sum over samples separates, as no sample depends on another."""
    x = x.detach().requires_grad_()
    y = network(x)
    rows = [torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0] for k in range(y.shape[1])]
    return y.detach(), torch.stack(rows).flatten(2)


JETS = {"vmap(jacrev)": jets_vmap, "is_grads_batched": jets_batched, "a backward pass per output": jets_loop}


def jets_in_chunks(jets, network, x, chunk):
    """Jets of `chunk` samples at a time, so that the activations of one chunk stay near the cores."""
    values, jacobians = [], None
    for start in range(0, len(x), chunk):
        v, j = jets(network, x[start : start + chunk])
        if jacobians is None:
            jacobians = torch.empty(j.shape[0], len(x), j.shape[2], dtype=j.dtype)
        jacobians[:, start : start + len(v)] = j
        values.append(v)
    return torch.cat(values), jacobians


def read_idx(path):
    """An IDX file of bytes, gzipped, as an array."""
    with gzip.open(path) as file:
        data = file.read()
    dimensions = data[3]
    shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


class Clock:
    """Samples of named measurements: wall seconds and processor seconds (of all threads, children included)."""

    def __init__(self):
        self.wall, self.cpu = {}, {}

    def measure(self, name, job):
        """Runs `job`, adds its times under `name`, and returns what it returned."""
        cpu, wall = self._cpu(), time.perf_counter()
        result = job()
        self.add(name, time.perf_counter() - wall, self._cpu() - cpu)
        return result

    def add(self, name, wall, cpu):
        self.wall.setdefault(name, []).append(wall)
        self.cpu.setdefault(name, []).append(cpu)

    def sum(self, name, *parts):
        """A measurement that is the sum of others, repetition by repetition."""
        for i in range(len(self.wall[parts[0]])):
            self.add(name, sum(self.wall[p][i] for p in parts), sum(self.cpu[p][i] for p in parts))

    def median(self, name):
        return statistics.median(self.wall[name])

    def cells(self, name, base, times=1, gflop=None):
        """The cells of a line below `HEAD`: of a measurement, multiplied, with ratios to `base`."""
        wall, cpu = [[times * t for t in samples[name]] for samples in (self.wall, self.cpu)]
        ratios = [a / b for a, b in zip(wall, self.wall[base])]
        median, middle = statistics.median(wall), statistics.median(cpu)
        speed = [f"{times * gflop:.0f}", f"{times * gflop / median:.0f}"] if gflop else ["", ""]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"
        best = f"{min(wall) / min(self.wall[base]):.2f}"
        cores = statistics.median(c / w for c, w in zip(cpu, wall))
        seconds = [f"{median:.3g}", f"{min(wall):.3g}..{max(wall):.3g}", f"{middle:.3g}", f"{cores:.1f}"]
        return [*seconds, *speed, ratio, best, f"{middle / statistics.median(self.cpu[base]):.2f}"]

    @staticmethod
    def _cpu():
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in usages)


# Wall ratios are medians (ranges) of those within repetitions; then the ratio of the shortest walls, of median CPU.
HEAD = ["", "wall s, median", "range", "CPU s", "cores", "GFLOP in products", "GFLOP/s"]
HEAD += ["wall / ours", "best / best", "CPU / ours"]


class Fenchel:
    """The program under test: a copy of the binary, so that a build meanwhile does not change what is measured."""

    def __init__(self, binary, threads, folder):
        self.binary = shutil.copy2(binary, Path(folder) / "fenchel")
        self.environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
        self.version = subprocess.check_output([self.binary, "--version"], text=True).strip()

    def __call__(self, *arguments):
        """Runs a verb on the CPU and returns its JSON document."""
        command = [self.binary, *map(str, arguments), "--device", "cpu", "--json"]
        return json.loads(subprocess.check_output(command, env=self.environment))


def conditions(fenchel, versions):
    """A line on programs and load, to stand above the tables."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{fenchel.version}; {versions}; {torch.get_num_threads()} threads; load average {load}"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    print("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n", flush=True)


def workspace():
    """A folder that goes away with the `with` block."""
    return tempfile.TemporaryDirectory(prefix="fenchel-peers-")
