"""The node tests of the ONNX project through `fenchel run`.

Run from the project's root:

    python benches/peers/onnx_nodes.py [--only Conv,Pad] [--verbose]

A case is a model with inputs and expected outputs, out of the installed `onnx` package. Weights are inputs of the graph
there; here every input but one is made an initializer, and each floating-point input is the computed one in turn. Axis 0
of that is the batch. Where a case gives axis 0 another part, a second attempt puts an axis of length 1 in front of the
input, and a Squeeze behind it: then the file is one for a batch of 1, in which every axis of the case is one of a
sample. A case has passed where some attempt gives the expected numbers and none gives others; it is refused where all
attempts end with a reason. Prints a Markdown table; exits with 1 if anything failed.
"""

import argparse
import collections
import concurrent.futures
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from common import table, workspace
from onnx import TensorProto, helper, numpy_helper

OPERATORS = """Gemm MatMul BatchNormalization Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool LRN
LayerNormalization InstanceNormalization GroupNormalization MeanVarianceNormalization RMSNormalization Relu Sigmoid Tanh
Softplus LeakyRelu Clip Gelu PRelu Abs Neg Softsign Elu Selu Celu Swish HardSwish HardSigmoid Mish ThresholdedRelu Erf Exp
Log Sqrt Reciprocal Pow Sin Cos Min Max Add Sub Mul Div Sum Mean ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2
ReduceSumSquare ReduceLogSum ReduceLogSumExp Slice Split Gather GatherND Upsample Resize DepthToSpace SpaceToDepth Softmax
LogSoftmax Einsum Expand Tile Pad Where Greater GreaterOrEqual Less LessOrEqual Concat Unsqueeze Squeeze Cast CastLike Reshape Transpose Identity Dropout
Flatten""".split()

FLOATS = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}
TOLERANCE = 1e-4

# Its expected output is written with four digits.
COARSE = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-3}


def cases(only):
    """Cases of the operators above, as (operator, case); those of a function's body count for the function."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {case.name: case for case in collect_testcases(None)}
    for name, case in sorted(found.items()):
        origin = found.get(re.sub(r"(_ver\d+)?_expanded(_ver\d+|_function)?(_ver\d+)?$", "", name), case)
        nodes = origin.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in only and nodes[0].domain == "":
            yield nodes[0].op_type, case


def attempts(case):
    """Models with one computed input and one output, as (name, input array, model, output array)."""
    graph = case.model.graph
    inputs, outputs = case.data_sets[0]
    if any(isinstance(value, (list, dict)) for value in [*inputs, *outputs]):
        return  # Sequences and maps.
    arrays = [value if isinstance(value, TensorProto) else np.asarray(value) for value in inputs]
    compared = [j for j, output in enumerate(graph.output) if output.type.tensor_type.elem_type in FLOATS]
    for i, source in enumerate(graph.input):
        kind = source.type.tensor_type.elem_type
        if kind not in FLOATS or i >= len(arrays) or isinstance(arrays[i], TensorProto) or arrays[i].size == 0:
            continue
        for wrapped in (False, True):
            if arrays[i].ndim < 2 and not wrapped:
                continue
            model = onnx.ModelProto()
            model.CopyFrom(case.model)
            del model.graph.input[:], model.graph.output[:]
            for j, (other, array) in enumerate(zip(graph.input, arrays)):
                if j != i and isinstance(array, TensorProto):  # Types that NumPy does not have.
                    model.graph.initializer.append(array)
                    model.graph.initializer[-1].name = other.name
                elif j != i:
                    model.graph.initializer.append(numpy_helper.from_array(np.asarray(array, order="C"), other.name))
            x = arrays[i]
            if wrapped:
                x = x[None]
                version = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
                name, front = source.name + " with a batch", source.name + " axis"
                if version >= 13:
                    model.graph.initializer.append(numpy_helper.from_array(np.array([0]), front))
                    squeeze = helper.make_node("Squeeze", [name, front], [source.name])
                else:
                    squeeze = helper.make_node("Squeeze", [name], [source.name], axes=[0])
                model.graph.node.insert(0, squeeze)
            else:
                name = source.name
            model.graph.input.append(helper.make_tensor_value_info(name, kind, x.shape))
            for j in compared:
                del model.graph.output[:]
                model.graph.output.append(graph.output[j])
                label = f"output {j} by input {i}{' with a batch of 1' if wrapped else ''}"
                yield label, x, model, np.asarray(outputs[j])


def run(fenchel, base, x, model, expected, tolerance):
    """The relative difference of an attempt, or the reason why there is none, and whether that is a failure."""
    onnx.save(model, f"{base}.onnx")
    np.save(f"{base}-x.npy", x)
    command = [fenchel, "run", f"{base}.onnx", "--data", f"{base}-x.npy", "-o", f"{base}-y.npy", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 1:
        return done.stderr.strip().splitlines()[-1].replace(str(base), "MODEL"), False
    if done.returncode != 0:
        return f"exit {done.returncode}: {done.stderr.strip()[-300:]}", True
    y = np.load(f"{base}-y.npy").astype(np.float64).ravel()
    expected = expected.astype(np.float64).ravel()
    if y.shape != expected.shape:
        return f"{y.size} numbers in the place of {expected.size}", True
    if not np.isfinite(expected).all():
        return "numbers where NaN or infinity was expected", True
    difference = np.abs(y - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30)
    return difference, difference > tolerance


def judge(fenchel, folder, number, case):
    """What came of a case: a verdict and its reasons or differences."""
    results = []
    for k, (label, x, model, expected) in enumerate(attempts(case)):
        base, tolerance = Path(folder) / f"case{number}-{k}", COARSE.get(case.name, TOLERANCE)
        outcome, failed = run(fenchel, base, x, model, expected, tolerance)
        results.append((label, outcome, failed))
    if not results:
        return "none", []
    if any(failed for _, _, failed in results):
        return "failed", [f"{case.name}, {label}: {outcome}" for label, outcome, failed in results if failed]
    passed = [outcome for _, outcome, _ in results if not isinstance(outcome, str)]
    return ("passed", passed) if passed else ("refused", [outcome for _, outcome, _ in results])


def reason(message):
    """What a message says, without names and numbers of the case."""
    message = re.sub(r"^.*?(not supported: |cannot be imported: )", "", message)
    message = re.sub(r"^(\S+) \('[^']*'[:)]* ?", r"\1: ", message)
    message = re.sub(r"'[^']*'", "..", message)
    return re.sub(r"\[[-\d, ]*\]", "[..]", message)[:110]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fenchel", type=Path, default=Path("target/release/fenchel"), help="the binary")
    parser.add_argument("--only", type=lambda names: names.split(","), default=OPERATORS, help="operators")
    parser.add_argument("--verbose", action="store_true", help="name every case that is refused, and why")
    arguments = parser.parse_args()
    fenchel = arguments.fenchel.resolve()
    rows = collections.defaultdict(lambda: collections.defaultdict(list))
    with workspace() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [
            (operator, case.name, pool.submit(judge, fenchel, folder, i, case))
            for i, (operator, case) in enumerate(cases(arguments.only))
        ]
        for operator, name, job in jobs:
            verdict, details = job.result()
            rows[operator][verdict].append((name, details))
    lines, total = [], collections.Counter()
    for operator, found in sorted(rows.items()):
        counts = [len(found[verdict]) for verdict in ("passed", "refused", "failed")]
        total.update(dict(zip(("passed", "refused", "failed"), counts)))
        worst = max((max(details) for _, details in found["passed"]), default=None)
        reasons = collections.Counter(reason(details[0]) for _, details in found["refused"])
        told = "; ".join(f"{text} ({count})" for text, count in reasons.most_common())
        lines.append([operator, *counts, "" if worst is None else f"{worst:.1e}", told])
        if arguments.verbose:
            for name, details in found["refused"]:
                print(f"{operator}: {name}: {details}")
    table(["operator", "passed", "refused", "failed", "largest difference", "reasons"], lines)
    print(f"onnx {onnx.__version__}: {total['passed']} passed, {total['refused']} refused, {total['failed']} failed\n")
    for found in rows.values():
        for _, details in found["failed"]:
            print("\n".join(details))
    sys.exit(1 if total["failed"] else 0)


if __name__ == "__main__":
    main()
