//! What is not supported, or contradicts itself: one line that says what and where.

use fenchel::Error;
use rten_onnx::onnx::{AttributeProto, DataType};

use crate::model::{Graph, OPEN, bare, float, floats, graph, int, ints, raw, string, tensor, value, weights};

#[test]
fn everything_that_is_not_supported_is_named_at_once() {
    let mut graph = graph(13, &[4]).weights("w", &[4, 4], &weights(16));
    graph = graph.node("LSTM", &["x"], &["a"], vec![]).node("Relu", &["a"], &["b"], vec![]);
    // Below a node that is not supported no shape is known, but attributes and operators can be judged.
    graph = graph.node("MaxPool", &["b"], &["c"], vec![int("colour", 1)]);
    graph = graph.node("Gemm", &["c", "w"], &["d"], vec![int("speed", 1)]);
    graph = graph.node("Gelu", &["x"], &["e"], vec![]).last("Add", &["d", "e"], vec![]);
    graph.proto.node[4].domain = Some("com.example".into());
    graph.proto.node[4].name = None;
    let Err(Error::Unsupported { operators }) = graph.load() else { panic!("must be refused") };
    let found: Vec<(&str, &str)> =
        operators.iter().map(|op| (op.operator.as_str(), op.node.as_str())).collect();
    assert_eq!(found, [("LSTM", "LSTM:a"), ("MaxPool", "MaxPool:c"), ("Gemm", "Gemm:d"), ("Gelu", "e")]);
    assert_eq!(operators[0].reason, "");
    assert!(operators[2].reason.contains("'speed'"));
    assert!(operators[3].reason.contains("'com.example'"));
    // The order is that of the file, not that of the import.
    graph.proto.node.reverse();
    let Err(Error::Unsupported { operators }) = graph.load() else { panic!("must be refused") };
    assert_eq!(operators[0].operator, "Gelu");
}

/// One node `operator(x, others..)`, with `others` as weights of these shapes.
fn one(
    opset: i64,
    sample: &[i64],
    operator: &str,
    others: &[&[i64]],
    attributes: Vec<AttributeProto>,
) -> Graph {
    let mut graph = graph(opset, sample);
    let names: Vec<String> = (0..others.len()).map(|i| format!("w{i}")).collect();
    for (name, dims) in names.iter().zip(others) {
        graph = graph.weights(name, dims, &weights(dims.iter().product::<i64>() as usize));
    }
    let inputs: Vec<&str> = std::iter::once("x").chain(names.iter().map(String::as_str)).collect();
    graph.last(operator, &inputs, attributes)
}

#[test]
fn products_and_normalisation() {
    one(13, &[3], "Gemm", &[&[3, 4]], vec![int("transA", 1)]).refused("runs over the batch");
    one(13, &[3], "Gemm", &[&[3, 4]], vec![int("transB", 2)]).refused("must be 0 or 1");
    one(13, &[3], "Gemm", &[&[4, 4]], vec![]).refused("does not fit");
    one(13, &[2, 3], "Gemm", &[&[3, 4]], vec![]).refused("must be a matrix");
    one(13, &[3], "Gemm", &[&[3, 4], &[2, 4]], vec![]).refused("differs along the batch");
    one(13, &[3], "Gemm", &[&[3, 4], &[5]], vec![]).refused("cannot be broadcast");
    one(13, &[3], "Gemm", &[&[3, 4]], vec![float("alpha", f32::NAN)]).refused("'alpha' is NaN");
    one(13, &[3], "Gemm", &[&[3]], vec![]).refused("must be a matrix");
    for operator in ["Gemm", "MatMul"] {
        let left = graph(13, &[3]).weights("w", &[2, 3], &weights(6)).last(operator, &["w", "x"], vec![]);
        left.refused("differs along the batch");
        graph(13, &[3]).last(operator, &["x", "x"], vec![]).refused("one of the axes that it multiplies");
    }
    one(13, &[3], "MatMul", &[&[1, 3, 2]], vec![]).refused("differs along the batch");
    one(13, &[2, 3], "MatMul", &[&[2, 3, 2]], vec![]).refused("differs along the batch");
    let normalise = |opset, lengths: [i64; 4], attributes| {
        let dims = lengths.map(|length| [length]);
        one(opset, &[2], "BatchNormalization", &dims.each_ref().map(|dims| &dims[..]), attributes)
    };
    normalise(14, [2; 4], vec![int("training_mode", 1)]).refused("training mode");
    normalise(7, [2; 4], vec![int("spatial", 0)]).refused("spatial=0");
    normalise(9, [2; 4], vec![int("spatial", 1)]).refused("'spatial' is not known");
    normalise(9, [2, 2, 2, 3], vec![]).refused("differ in length");
    normalise(9, [3; 4], vec![float("epsilon", 9.0)]).refused("does not fit");
    normalise(9, [2; 4], vec![]).refused("is not positive");
}

#[test]
fn functions_and_arithmetic() {
    one(13, &[3], "Celu", &[], vec![float("alpha", 0.0)]).refused("its alpha is 0");
    one(13, &[3], "Mish", &[], vec![]).refused("from opset 18");
    one(13, &[3], "Einsum", &[], vec![string("equation", "ij->ij")])
        .refused("not supported: Einsum ('Einsum:y')");
    one(13, &[3], "Pow", &[&[3]], vec![]).refused("exponents differ");
    one(13, &[3], "PRelu", &[&[2, 1]], vec![]).refused("differs along the batch");
    let base = graph(13, &[3]).weights("b", &[], &[-2.0]);
    base.last("Pow", &["b", "x"], vec![]).refused("only positive ones");
    graph(13, &[3]).last("Where", &["x", "x", "x"], vec![]).refused("neither constant nor a comparison");
    graph(13, &[3]).last("Equal", &["x", "x"], vec![]).refused("of computed values");
    one(13, &[3], "Gelu", &[], vec![]).refused("from opset 20");
    one(20, &[3], "Gelu", &[], vec![string("approximate", "half")]).refused("'half'");
    one(9, &[3], "LeakyRelu", &[], vec![int("alpha", 1)]).refused("must be a number, but is an integer");
    one(9, &[3], "Relu", &[], vec![floats("alpha", &[1.0])]).refused("'alpha' is not known to it in opset 9");
    one(13, &[3], "Clip", &[], vec![float("min", 0.0)]).refused("'min' is not known");
    one(9, &[3], "Clip", &[], vec![float("min", 2.0), float("max", 1.0)]).refused("above its upper limit");
    one(9, &[3], "Clip", &[], vec![float("min", f32::NAN)]).refused("NaN");
    one(13, &[3], "Clip", &[&[2]], vec![]).refused("is not one number");
    graph(13, &[3]).last("Clip", &["x", "x"], vec![]).refused("only a constant");
    let mixed = "would mix it with other axes";
    one(13, &[3], "Add", &[&[2, 3]], vec![]).refused(mixed);
    one(13, &[3], "Add", &[&[1, 1, 3]], vec![]).refused("the batch is not axis 0 of its output");
    one(13, &[3], "Add", &[&[4]], vec![]).refused("cannot be broadcast");
    one(13, &[3], "Add", &[], vec![]).refused("takes 2 inputs and has 1");
    let flat = graph(13, &[2, 3]).node("Flatten", &["x"], &["f"], vec![]);
    flat.last("Add", &["x", "f"], vec![]).refused("do not line up");
    let large =
        graph(13, &[3]).weights("a", &[5000, 1], &weights(5000)).weights("b", &[5000], &weights(5000));
    large.node("Add", &["a", "b"], &["c"], vec![]).last("Add", &["x", "c"], vec![]).refused("too large");
    let zero = graph(13, &[1]).weights("a", &[1], &[1.0]).weights("b", &[1], &[0.0]);
    zero.node("Div", &["a", "b"], &["c"], vec![]).last("Add", &["x", "c"], vec![]).refused("Div:c");
    one(13, &[3], "Cast", &[], vec![int("to", 7)]).refused("it converts computed values to INT64");
    one(13, &[3], "Cast", &[], vec![int("to", 10)]).refused("it converts computed values to FLOAT16");
    graph(13, &[3]).weights("a", &[3], &weights(3)).last("Relu", &["a"], vec![]).refused("is a constant");
}

#[test]
fn windows() {
    let conv = |dims: &[i64], attributes| one(13, &[2, 6, 6], "Conv", &[dims], attributes);
    conv(&[1, 2, 3], vec![]).refused("filters along 1 axes for positions along 2");
    conv(&[1, 2, 3, 3, 3], vec![]).refused("3-D convolution");
    conv(&[1, 2, 3, 3], vec![ints("kernel_shape", &[2, 3])]).refused("kernel_shape does not fit");
    conv(&[1, 2, 3, 3], vec![ints("strides", &[0, 1])]).refused("'strides' holds 0");
    conv(&[1, 2, 3, 3], vec![ints("strides", &[1, i64::MAX])]).refused("'strides' holds 9223372036854775807");
    conv(&[1, 2, 3, 3], vec![ints("pads", &[0, -1, 0, 0])]).refused("'pads' holds -1");
    conv(&[1, 2, 3, 3], vec![ints("pads", &[1, 1])]).refused("for windows along 2 axes");
    conv(&[1, 2, 3, 3], vec![ints("dilations", &[4, 1])]).refused("does not fit into an image");
    conv(&[1, 2, 3, 3], vec![int("group", 0)]).refused("at least 1");
    conv(&[1, 2, 3, 3], vec![int("group", i64::MAX)]).refused("groups");
    conv(&[1, 3, 3, 3], vec![]).refused("does not fit samples");
    conv(&[1, 2, 0, 3], vec![]).refused("its filters have the shape");
    conv(&[1, 2, 3, 3], vec![string("auto_pad", "FULL")]).refused("'auto_pad' is 'FULL'");
    let both = vec![string("auto_pad", "SAME_UPPER"), ints("pads", &[1, 1, 1, 1])];
    conv(&[1, 2, 3, 3], both).refused("both 'pads' and 'auto_pad'");
    let dilated = vec![string("auto_pad", "SAME_LOWER"), ints("dilations", &[2, 2])];
    conv(&[1, 2, 3, 3], dilated).refused("implementations disagree");
    one(13, &[2, 6], "Conv", &[&[1, 2, 3, 3]], vec![]).refused("filters along 2 axes for positions along 1");
    graph(13, &[2, 6, 6]).last("Conv", &["x", "x"], vec![]).refused("its filters 'x' is computed");
    let pool = |attributes| one(11, &[2, 6, 6], "MaxPool", &[], attributes);
    let kernel = || ints("kernel_shape", &[2, 2]);
    pool(vec![]).refused("'kernel_shape' is missing");
    pool(vec![kernel(), ints("pads", &[2, 0, 0, 0])]).refused("as wide as its kernel");
    pool(vec![kernel(), kernel()]).refused("is there twice");
    pool(vec![int("kernel_shape", 2)]).refused("must be a list of integers");
    one(11, &[2, 6, 6], "AveragePool", &[], vec![kernel(), ints("dilations", &[1, 1])]).refused("not known");
    let picked = graph(11, &[2, 6, 6]).node("MaxPool", &["x"], &["m", "at"], vec![kernel()]);
    picked.last("Add", &["m", "at"], vec![]).refused("its output 'at'");
    one(13, &[2], "GlobalAveragePool", &[], vec![]).refused("global pooling needs");
}

#[test]
fn axes_that_would_touch_the_batch() {
    let two = |opset, operator, attributes| one(opset, &[2, 3], operator, &[], attributes);
    two(13, "Transpose", vec![]).refused("the batch is not axis 0 of its output 'y'");
    two(13, "Transpose", vec![ints("perm", &[1, 0, 2])]).refused("the batch is not axis 0 of its output 'y'");
    for perm in [&[0, 1, 1][..], &[0, 0, 1], &[0, 1]] {
        two(13, "Transpose", vec![ints("perm", perm)]).refused("is no order of 3 axes");
    }
    two(13, "Concat", vec![int("axis", 0)]).refused("it joins along the batch");
    two(13, "Concat", vec![int("axis", 3)]).refused("no axis 3 among 3");
    two(13, "Concat", vec![]).refused("'axis' is missing");
    one(13, &[2], "Concat", &[&[2, 2]], vec![int("axis", 1)]).refused("differs along the batch");
    two(13, "Flatten", vec![int("axis", 0)]).refused("the batch is not axis 0 of its output");
    two(13, "Flatten", vec![int("axis", 2)]).refused("the batch is not axis 0 of its output");
    two(13, "Softmax", vec![int("axis", 0)]).refused("it runs over the batch");
    two(13, "ReduceMean", vec![]).refused("it runs over the batch");
    two(13, "Split", vec![]).refused("it splits the batch");
    two(9, "Slice", vec![ints("starts", &[1]), ints("ends", &[2])]).refused("it cuts the batch");
    two(13, "SpaceToDepth", vec![int("blocksize", 2)]).refused("are no images");
    two(13, "Flatten", vec![int("axis", i64::MIN)]).refused("no axis");
    two(11, "Squeeze", vec![]).refused("drops the batch");
    two(11, "Squeeze", vec![ints("axes", &[0])]).refused("drops the batch");
    two(11, "Squeeze", vec![ints("axes", &[1])]).refused("longer than 1");
    two(11, "Unsqueeze", vec![ints("axes", &[0])]).refused("the batch is not axis 0 of its output");
    two(11, "Unsqueeze", vec![ints("axes", &[1, -4])]).refused("is there twice");
    two(11, "Unsqueeze", vec![ints("axes", &(1..100).collect::<Vec<i64>>())]).refused("axes");
    two(10, "Pad", vec![ints("pads", &[1, 0, 0, 0, 0, 0])]).refused("pads the batch");
    two(10, "Pad", vec![ints("pads", &[0, 0, 0, 0])]).refused("4 widths do not fit 3 axes");
    two(10, "Pad", vec![ints("pads", &[0, i64::MIN, 0, 0, 0, i64::MAX])]).refused("too large");
    two(10, "Pad", vec![string("mode", "wrap"), ints("pads", &[0; 6])]).refused("'wrap'");
    two(13, "Pad", vec![ints("pads", &[0; 6])]).refused("'pads' is not known");
    for (target, words) in [
        (&[][..], "no axis for the batch"),
        (&[-1], "the batch is not axis 0 of its output"),
        (&[-1, 3], "the batch is not axis 0 of its output"),
        (&[4, 3], "mixes the batch"),
        (&[1, 5], "mixes the batch"),
        (&[0, 5], "mixes the batch"),
        (&[-1, -1], "more than one -1"),
        (&[0, -1, -1], "more than one -1"),
        (&[0, -2], "the length -2"),
        (&[0, 0, 0, 0], "where its input has none"),
        (&[0, 4, -1], "do not fill"),
        (&[0, i64::MAX, i64::MAX, -1], "do not fill"),
    ] {
        graph(13, &[2, 3]).integers("s", target).last("Reshape", &["x", "s"], vec![]).refused(words);
    }
    let zero = graph(14, &[2, 3]).integers("s", &[0, 6]);
    zero.last("Reshape", &["x", "s"], vec![int("allowzero", 1)]).refused("leaves no samples");
    one(13, &[2, 3], "Reshape", &[&[2]], vec![]).refused("is not a list of integers");
    graph(13, &[2, 3]).last("Reshape", &["x", "x"], vec![]).refused("is computed");
}

#[test]
fn constants_and_their_types() {
    let add = |tensor| graph(13, &[2]).initializer(tensor).last("Add", &["x", "c"], vec![]);
    for (kind, name) in
        [(DataType::FLOAT16, "FLOAT16"), (DataType::BFLOAT16, "BFLOAT16"), (DataType::INT8, "INT8")]
    {
        add(raw("c", &[2], kind, vec![0; 4])).refused(&format!("'c' has elements of type {name}"));
    }
    add(raw("c", &[2], DataType(999), vec![0; 4])).refused("type 999");
    add(raw("c", &[2], DataType::INT64, vec![0; 16])).refused("holds integers");
    for bad in [f32::NAN, f32::INFINITY] {
        let bytes = [1.0, bad].iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
        add(raw("c", &[2], DataType::FLOAT, bytes)).refused("the constant 'c' holds a NaN or an infinity");
    }
    add(raw("c", &[1], DataType::FLOAT, f32::INFINITY.to_le_bytes().to_vec())).refused("'c' holds");
    let constant = |attributes| {
        graph(13, &[2]).node("Constant", &[], &["c"], attributes).last("Add", &["x", "c"], vec![])
    };
    constant(vec![]).refused("exactly one value");
    constant(vec![float("value_float", 1.0), int("value_int", 1)]).refused("exactly one value");
    constant(vec![string("value_string", "a")]).refused("'value_string' is not known");
    constant(vec![tensor("value", raw("t", &[2], DataType::FLOAT16, vec![0; 4]))]).refused("FLOAT16");
    constant(vec![floats("value_floats", &[f32::NAN])]).refused("NaN");
    let train = graph(13, &[2]).initializer(raw("t", &[], DataType::BOOL, vec![1]));
    train.last("Dropout", &["x", "", "t"], vec![]).refused("training mode");
}

#[test]
fn inputs_outputs_and_versions() {
    let input = |kind, dims: Option<&[i64]>| {
        bare(13).input(value("x", kind, dims)).output("y").last("Relu", &["x"], vec![])
    };
    input(DataType::FLOAT, Some(&[5])).refused("needs the batch as axis 0");
    input(DataType::FLOAT, Some(&[])).refused("has no axes");
    input(DataType::FLOAT, None).refused("has no shape");
    input(DataType::FLOAT, Some(&[1, OPEN, 3]))
        .refused("axis 1 of the input 'x' has no fixed length ('open')");
    input(DataType::FLOAT, Some(&[1, 3, -1])).refused("axis 2 of the input 'x' has the length -1");
    input(DataType::FLOAT, Some(&[1, i64::MAX, i64::MAX])).refused("has samples of shape");
    input(DataType::FLOAT16, Some(&[1, 2])).refused("FLOAT16");
    input(DataType::INT64, Some(&[1, 2])).refused("INT64");
    let two = input(DataType::FLOAT, Some(&[4, 2])).input(value("z", DataType::FLOAT, Some(&[3, 2])));
    two.refused("the inputs 'x' and 'z' have batches");
    for opset in [6, 29, -1, i64::MAX] {
        graph(opset, &[2]).last("Relu", &["x"], vec![]).refused("7 to 28 are supported");
    }
    graph(13, &[2]).last("Identity", &["x"], vec![]).refused("with no layer between");
    bare(13).output("y").weights("y", &[1], &[1.0]).refused("is a constant");
    let constant = graph(13, &[2]).output("c").weights("c", &[1], &[1.0]);
    constant.last("Relu", &["x"], vec![]).refused("the output 'c' is a constant");
}

#[test]
fn graphs_that_contradict_themselves() {
    graph(13, &[2]).last("Relu", &["z"], vec![]).refused("Relu ('Relu:y') needs 'z'");
    graph(13, &[2]).node("Relu", &["x"], &["z"], vec![]).refused("nothing makes the output 'y'");
    graph(13, &[2]).last("Relu", &["y"], vec![]).refused("cycle: 'Relu:y' need each other");
    let cycle = graph(13, &[2]).node("Add", &["x", "b"], &["a"], vec![]).node("Relu", &["a"], &["b"], vec![]);
    cycle.last("Tanh", &["b"], vec![]).refused("cycle: 'Add:a', 'Relu:b' need each other");
    let twice = graph(13, &[2]).node("Relu", &["x"], &["y"], vec![]).last("Tanh", &["x"], vec![]);
    twice.refused("Tanh ('Tanh:y') makes 'y', which is made elsewhere too");
    graph(13, &[2])
        .last("Relu", &["x"], vec![])
        .node("Relu", &["y"], &["x"], vec![])
        .refused("made elsewhere");
    let weights = graph(13, &[2]).weights("c", &[1], &[1.0]).weights("c", &[1], &[2.0]);
    weights.last("Add", &["x", "c"], vec![]).refused("two initializers are called 'c'");
    graph(13, &[2]).input(value("x", DataType::FLOAT, Some(&[1, 2]))).refused("two inputs");
    graph(13, &[2]).output("y").last("Relu", &["x"], vec![]).refused("two outputs");
    bare(13).input(value("x", DataType::FLOAT, Some(&[1, 2]))).refused("has no outputs");
    graph(13, &[2]).node("Relu", &["x"], &[], vec![]).refused("makes no value");
    graph(13, &[2]).last("Relu", &[""], vec![]).refused("input 0 is missing");
    graph(13, &[2]).last("Relu", &["x", "x"], vec![]).refused("takes 1 inputs and has 2");
    graph(13, &[2]).last("Re\nlu", &["x"], vec![]).refused("the name 'Re\\nlu:y' holds a control character");
}
