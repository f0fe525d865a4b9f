//! ONNX files of a few nodes with random operators, inputs and attributes: sound on the wire, and seldom sound otherwise.

use std::cell::RefCell;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor,
    ValueInfoProto,
};

/// All operators that are imported, and some that are not.
const OPERATORS: &str = "Split Gemm MatMul Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool \
    ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp \
    ReduceProd BatchNormalization LayerNormalization RMSNormalization InstanceNormalization GroupNormalization \
    MeanVarianceNormalization LRN Softmax LogSoftmax Add Sub Mul Div Sum Mean Min Max Where Concat Pad Transpose \
    Expand Tile DepthToSpace SpaceToDepth Slice Gather GatherND Resize Upsample Reshape Flatten Squeeze Unsqueeze \
    Shape Size Identity Dropout Cast CastLike Mod Range Equal Greater Less And Or Not Floor Ceil Round Sign Relu \
    Sigmoid Tanh Softplus Softsign Abs Exp Log Sqrt Sin Cos Erf HardSwish Mish LeakyRelu Elu Selu Celu HardSigmoid \
    ThresholdedRelu PRelu Clip Gelu Swish Neg Reciprocal Pow Constant ConstantOfShape LSTM If Loop QuantizeLinear";

/// Names of attributes with lists, numbers, floats and texts.
const LISTS: &str = "kernel_shape pads strides dilations perm axes output_padding output_shape split scales starts ends \
                     value_ints";
const INTEGERS: &str = "axis group ceil_mode keepdims transA transB to blocksize allowzero num_outputs batch_dims fmod \
                        start end storage_order count_include_pad noop_with_empty_axes num_groups size value_int";
const FLOATS: &str = "alpha beta epsilon gamma bias ratio min max lambd value_float cubic_coeff_a";
const TEXTS: &str =
    "mode auto_pad coordinate_transformation_mode nearest_mode approximate direction padding_mode";
const WORDS: &str = "SAME_UPPER SAME_LOWER VALID NOTSET linear nearest cubic DCR CRD half_pixel align_corners asymmetric \
                     floor ceil round_prefer_floor constant reflect edge wrap tanh none tf_crop_and_resize";

fn one<'a>(words: &'a str, rng: &mut ChaCha8Rng) -> &'a str {
    let words: Vec<&str> = words.split_whitespace().collect();
    words[rng.random_range(0..words.len())]
}

/// Mostly small numbers, now and then one that no size is.
fn number(rng: &mut ChaCha8Rng) -> i64 {
    const EXTREME: [i64; 10] =
        [-1, i64::MIN, i64::MAX, 1 << 31, 1 << 40, -(1 << 33), 65_536, 1 << 20, i64::MIN + 1, 1 << 62];
    match rng.random_range(0..12) {
        0 => EXTREME[rng.random_range(0..EXTREME.len())],
        1 | 2 => rng.random_range(-4..0),
        _ => rng.random_range(0..5),
    }
}

fn numbers(rng: &mut ChaCha8Rng) -> Vec<i64> {
    (0..rng.random_range(0..6)).map(|_| number(rng)).collect()
}

fn attribute(rng: &mut ChaCha8Rng) -> AttributeProto {
    let named = |name: &str, kind| AttributeProto {
        name: Some(name.into()),
        r#type: Some(kind),
        ..AttributeProto::default()
    };
    match rng.random_range(0..8) {
        0..3 => AttributeProto { ints: numbers(rng), ..named(one(LISTS, rng), AttributeType::INTS) },
        3..6 => AttributeProto { i: Some(number(rng)), ..named(one(INTEGERS, rng), AttributeType::INT) },
        6 => {
            let value = [0.0, 1.5, -1e30, f32::NAN, f32::INFINITY][rng.random_range(0..5)];
            AttributeProto { f: Some(value), ..named(one(FLOATS, rng), AttributeType::FLOAT) }
        }
        _ if rng.random_range(0..4) == 0 => {
            AttributeProto { t: Some(tensor("", rng)), ..named("value", AttributeType::TENSOR) }
        }
        _ => AttributeProto {
            s: Some(one(WORDS, rng).into()),
            ..named(one(TEXTS, rng), AttributeType::STRING)
        },
    }
}

/// A constant, mostly with as many bytes as its shape needs.
fn tensor(name: &str, rng: &mut ChaCha8Rng) -> TensorProto {
    let dims: Vec<i64> = match rng.random_range(0..8) {
        0 => numbers(rng),
        _ => (0..rng.random_range(0..5)).map(|_| rng.random_range(1..4)).collect(),
    };
    let elements = dims.iter().map(|&n| usize::try_from(n).unwrap_or(0).min(16)).product::<usize>();
    let (kind, bytes): (DataType, Vec<u8>) = match rng.random_range(0..8) {
        0..4 => {
            let mut value = || rng.random_range(-2.0_f32..2.0).to_le_bytes();
            (DataType::FLOAT, (0..elements).flat_map(|_| value()).collect())
        }
        4..7 => (DataType::INT64, (0..elements).flat_map(|_| number(rng).to_le_bytes()).collect()),
        _ => (DataType::BOOL, vec![1; elements]),
    };
    let mut tensor = TensorProto {
        name: Some(name.into()),
        dims,
        data_type: Some(kind),
        raw_data: Some(RefCell::new(bytes)),
        ..TensorProto::default()
    };
    if rng.random_range(0..60) == 0 {
        let place = ["../secret", "/etc/passwd", "w.bin", ""][rng.random_range(0..4)];
        tensor.data_location = Some(DataLocation::EXTERNAL);
        tensor.raw_data = None;
        tensor.external_data =
            vec![StringStringEntryProto { key: Some("location".into()), value: Some(place.into()) }];
    }
    tensor
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&n| Dimension { dim_value: Some(n), ..Dimension::default() }).collect();
    let shape = Some(TensorShapeProto { dim });
    let tensor_type = Some(TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape });
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type, sequence: None }) }
}

/// A model; nodes take the input, constants, what nodes before them made, now and then what nothing makes or what comes
/// later, so that there are cycles.
pub(crate) fn random(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut sample: Vec<i64> = (0..rng.random_range(0..4)).map(|_| rng.random_range(1..5)).collect();
    if rng.random_range(0..12) == 0 {
        sample.push(number(rng));
    }
    let batch = if rng.random() { 1 } else { -1 };
    let mut graph =
        GraphProto { input: vec![value("x", &[&[batch], &sample[..]].concat())], ..GraphProto::default() };
    let constants: Vec<String> = (0..rng.random_range(1..6)).map(|i| format!("c{i}")).collect();
    graph.initializer = constants.iter().map(|name| tensor(name, rng)).collect();
    let nodes = rng.random_range(1..5);
    for i in 0..nodes {
        let before = if i == 0 { "x".to_owned() } else { format!("n{}", i - 1) };
        let input = |position: usize, rng: &mut ChaCha8Rng| match rng.random_range(0..60) {
            0 => "nothing".to_owned(),
            1 => String::new(),
            2 => format!("n{}", rng.random_range(0..nodes)),
            3..8 => "x".to_owned(),
            8..24 => before.clone(),
            _ if position == 0 => before.clone(),
            _ => constants[rng.random_range(0..constants.len())].clone(),
        };
        graph.node.push(NodeProto {
            domain: None,
            name: Some(format!("node{i}")),
            input: (0..[1, 1, 2, 2, 2, 3, 4][rng.random_range(0..7)])
                .map(|position| input(position, rng))
                .collect(),
            output: vec![format!("n{i}")],
            op_type: Some(one(OPERATORS, rng).into()),
            attribute: (0..[0, 0, 0, 1, 1, 2, 3][rng.random_range(0..7)]).map(|_| attribute(rng)).collect(),
        });
    }
    graph.output = vec![value(&format!("n{}", nodes - 1), &[])];
    let version = [7, 9, 11, 13, 17, 18, 21][rng.random_range(0..7)];
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(version) }],
        ..ModelProto::default()
    };
    model.write_buf().expect("a model of plain fields is written")
}
