"""Writes the seed corpora of the fuzz targets: small valid files of every kind, made here or out of ../assets.

python seeds.py FENCHEL (needs numpy, onnx and pillow; FENCHEL is the program, which writes the splines and planes)
"""

import gzip
import io
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

HERE = pathlib.Path(__file__).parent
ASSETS = HERE.parent / "assets"
rng = np.random.default_rng(7)


def put(kind, name, data):
    folder = HERE / "corpus" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def saved(save, *arguments, **more):
    buffer = io.BytesIO()
    save(buffer, *arguments, **more)
    return buffer.getvalue()


def idx(code, array):
    header = bytes([0, 0, code, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.tobytes()


def weights(name, *shape):
    return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)


def integers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def model(name, shape, nodes, initializers=(), opset=17):
    last = nodes[-1].output[0]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        list(initializers),
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    put("onnx", name, made.SerializeToString())


def models():
    node = helper.make_node
    put("onnx", "moons", (ASSETS / "moons.onnx").read_bytes())
    model(
        "convolution",
        [1, 6, 6],
        [
            node("Conv", ["x", "w", "b"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["a", "s", "h", "m", "v"], ["c"]),
            node("Relu", ["c"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["p"], ["f"]),
            node("Gemm", ["f", "g"], ["y"], transB=1),
        ],
        [weights("w", 2, 1, 3, 3), weights("b", 2), weights("s", 2), weights("h", 2), weights("m", 2)]
        + [numpy_helper.from_array(np.ones(2, np.float32), "v"), weights("g", 3, 18)],
    )
    model(
        "attention",
        [3, 4],
        [
            node("MatMul", ["x", "q"], ["a"]),
            node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["a", "t"], ["s"]),
            node("Softmax", ["s"], ["p"], axis=-1),
            node("MatMul", ["p", "x"], ["o"]),
            node("LayerNormalization", ["o", "g", "h"], ["l"], axis=-1),
            node("ReduceMean", ["l"], ["y"], axes=[1], keepdims=0),
        ],
        [weights("q", 4, 4), weights("g", 4), weights("h", 4)],
    )
    model(
        "shapes",
        [2, 4],
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"], axis=0),
            node("Concat", ["n", "rest"], ["t"], axis=0),
            node("Reshape", ["x", "t"], ["r"]),
            node("Slice", ["r", "start", "end", "axis", "step"], ["c"]),
            node("Concat", ["c", "c"], ["d"], axis=1),
            node("Split", ["d"], ["e", "f"], axis=1),
            node("Sub", ["e", "f"], ["h"]),
            node("Unsqueeze", ["h", "axis"], ["u"]),
            node("Squeeze", ["u", "axis"], ["v"]),
            node("Pad", ["v", "pads"], ["y"]),
        ],
        [integers("zero", 0), integers("rest", 8), integers("start", 1), integers("end", -1)]
        + [integers("axis", 1), integers("step", 2), integers("pads", 0, 1, 0, 1)],
    )
    model(
        "pictures",
        [1, 4, 4],
        [
            node("Resize", ["x", "", "k"], ["a"], mode="linear", coordinate_transformation_mode="half_pixel"),
            node("ConvTranspose", ["a", "w"], ["b"], strides=[2, 2]),
            node("AveragePool", ["b"], ["c"], kernel_shape=[3, 3], ceil_mode=1),
            node("GlobalAveragePool", ["c"], ["d"]),
            node("Flatten", ["d"], ["y"]),
        ],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "k"), weights("w", 1, 2, 2, 2)],
    )
    arithmetic = ["Sigmoid", "Tanh", "Softplus", "Erf", "Exp", "Abs", "Elu", "Selu", "HardSigmoid", "Sin", "Clip", "LeakyRelu"]
    chain = ["x"] + [f"a{i}" for i in range(len(arithmetic))]
    nodes = [node(kind, [a], [b]) for kind, a, b in zip(arithmetic, chain, chain[1:])]
    nodes += [
        node("Mul", [chain[-1], "x"], ["m"]),
        node("Pow", ["m", "two"], ["p"]),
        node("Div", ["p", "c"], ["d"]),
        node("PRelu", ["d", "c"], ["y"]),
    ]
    two = numpy_helper.from_array(np.array(2, np.float32), "two")
    model("activations", [3], nodes, [two, weights("c", 3)])
    external = weights("c", 2)
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    entry = external.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    model("external", [2], [node("Add", ["x", "c"], ["y"])], [external])


def arrays():
    for kind in ["<f4", ">f8", "|u1", "<i8", "|b1", ">u2"]:
        array = (10 * rng.normal(size=(3, 4))).astype(kind)
        put("npy", f"plain{kind[1:]}", saved(np.save, array))
    put("npy", "columns", saved(np.save, np.asfortranarray(rng.normal(size=(3, 2, 4)))))
    put("npy", "labels", saved(np.save, np.arange(5)))
    put("npy", "empty", saved(np.save, np.zeros((0, 3))))
    put("npy", "record", saved(np.save, np.zeros(2, [("a", "<f4"), ("b", "<i2")])))
    put("npz", "stored", saved(np.savez, x=rng.normal(size=(3, 4)), y=np.arange(3)))
    put("npz", "deflated", saved(np.savez_compressed, X=np.arange(60, dtype=np.uint8).reshape(5, 12)))
    put("npz", "columns", saved(np.savez_compressed, a=np.asfortranarray(rng.normal(size=(4, 3)))))
    pixels = rng.integers(0, 256, size=(3, 4, 4), dtype=np.uint8)
    put("idx", "bytes", idx(8, pixels))
    put("idx", "labels", idx(8, np.arange(4, dtype=np.uint8)))
    put("idx", "floats", idx(13, rng.normal(size=(2, 3)).astype(">f4")))
    put("idx", "shorts", idx(11, np.arange(6).reshape(2, 3).astype(">i2")))
    put("idx", "zipped", gzip.compress(idx(8, pixels), mtime=0))
    put("idx", "doubles", gzip.compress(idx(14, rng.normal(size=(2, 2)).astype(">f8")), mtime=0))


def images():
    colour = Image.fromarray(rng.integers(0, 256, size=(9, 7, 3), dtype=np.uint8))
    for name, image in {
        "colour": colour,
        "grey": colour.convert("L"),
        "palette": colour.convert("P"),
        "bits": colour.convert("1"),
        "alpha": colour.convert("RGBA"),
        "deep": Image.fromarray(np.arange(30, dtype=np.uint16).reshape(5, 6)),
    }.items():
        put("images", f"{name}.png", saved(lambda to, image=image: image.save(to, "PNG")))
    smooth = Image.radial_gradient("L").resize((24, 16))
    for name, image, more in [
        ("grey", smooth, {}),
        ("colour", colour, {"subsampling": 2}),
        ("progressive", colour, {"progressive": True}),
        ("restarts", smooth, {"restart_marker_blocks": 2}),
    ]:
        put("images", f"{name}.jpg", saved(lambda to, image=image, more=more: image.save(to, "JPEG", **more)))


def results(program):
    with tempfile.TemporaryDirectory() as folder:
        def run(arguments, name):
            path = pathlib.Path(folder) / name
            subprocess.run([program, *arguments.split(), "-o", path], cwd=ASSETS, check=True, capture_output=True)
            return path.read_bytes()

        fit = "fit moons.onnx --data moons.npz --curvature 3 --take"
        for name, more in {
            "plain": "0..20",
            "selected": "0..200 --pieces 12 --select farthest",
            "double": "0..9 --precision f64",
            "diagonal": "0..20 --metric diagonal",
            "soft": "0..20 --soft nearest:0.1",
            "refined": "0..60 --pieces 8 --refine 3 --validation 60..120",
        }.items():
            put("splines", name, run(f"{fit} {more}", name))
        put("planes", "through", run("plane moons.onnx --data moons.npz --through 0,1,2", "p.npz"))
        put("planes", "digits", run("plane none --data digits.npz --through 0,1,2", "d.npz"))
        regions = f"regions moons.onnx --box -1,1 --resume {folder}/state --budget"
        for name, budget in [("some", 12), ("all", 1000)]:
            run(f"{regions} {budget}", "r.json")
            put("enumerations", name, (pathlib.Path(folder) / "state").read_bytes())
    sums = dict(squared=1.5, absolute=2.25, largest=0.75, agree=1, correct=0, width=3.5, violated=1)
    state = dict(points=2, outputs=dict(sum=0.5, squares=1.25), rows=[sums, sums])
    put("checkpoints", "two", json.dumps(state).encode())
    put("checkpoints", "none", json.dumps(dict(points=0, outputs=dict(sum=0.0, squares=0.0), rows=[])).encode())


models()
arrays()
images()
results(sys.argv[1])
