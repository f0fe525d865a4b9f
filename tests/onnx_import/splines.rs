//! Files with splines in the place of activations: read back they are the splined network.

use fenchel::data::Dataset;
use fenchel::engine::{Context, Cpu};
use fenchel::maso::{Layers, SplinedActivation};
use fenchel::network::onnx::{
    LoadOptions, Model, SplinedNode, from_bytes, has_external_weights, with_splines,
};
use fenchel::network::{Kind, Network, Op};
use fenchel::tolerance::{CLOSE, relative_difference};
use ndarray::Array2;
use rten_onnx::onnx::{DataType, ModelProto};

use crate::model::{Graph, array, bare, graph, int, ints, numbers, tensor, value};

fn rows(network: &Network, count: usize) -> Array2<f64> {
    let dimension = network.inputs().map(|node| node.shape().iter().product::<usize>()).sum();
    Array2::from_shape_vec((count, dimension), numbers(count * dimension)).unwrap()
}

fn values(network: &Network, x: &Array2<f64>) -> Vec<f64> {
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    program.values(x.view(), &Context::default()).unwrap().into_iter().collect()
}

/// The layers of a model, and their splines.
fn splined(model: &Model, pieces: usize) -> (Layers, Vec<SplinedActivation>) {
    let x = rows(&model.network, 30);
    let data = Dataset::from_array(x.view()).unwrap();
    let layers = Layers::measure(&model.network, &Cpu::<f64>::new(), &data, &Context::default()).unwrap();
    let splines = layers.splines(pieces).unwrap();
    (layers, splines)
}

fn saved(bytes: &[u8], pieces: usize) -> fenchel::Result<(Vec<u8>, Network)> {
    let model = from_bytes(bytes, None, &LoadOptions::default())?;
    let (layers, splines) = splined(&model, pieces);
    let node = |i: usize| &layers.network.nodes()[i];
    let nodes = layers.layers.iter().zip(&splines).map(|(layer, spline)| SplinedNode {
        value: node(layer.node).value(),
        input: node(node(layer.node).inputs()[0]).value(),
        convex: spline.convex.pieces(),
        concave: spline.concave.pieces(),
    });
    let file = with_splines(bytes, &model.network, &nodes.collect::<Vec<_>>())?;
    Ok((file, layers.splined(&splines)?))
}

/// The file with splines is the splined network; the operators in it.
fn round_trip(graph: &Graph) -> Vec<String> {
    let mut operators = vec![];
    for pieces in [1, 6] {
        let (file, expected) = saved(&graph.bytes(), pieces).unwrap();
        assert_eq!(expected.kind(), if pieces == 1 { Kind::Affine } else { Kind::PiecewiseAffine });
        let model = from_bytes(&file, None, &LoadOptions::default()).unwrap();
        assert_eq!(model.network.kind(), expected.kind(), "{:?}", graph.proto.node);
        let maxima = model.network.nodes().iter().filter(|node| matches!(node.op(), Some(Op::ReduceMax(_))));
        assert_eq!(maxima.count(), 0, "splines are read as such");
        let x = rows(&expected, 40);
        let difference = relative_difference(values(&model.network, &x), values(&expected, &x));
        assert!(difference < CLOSE, "{difference:e} for {:?}", graph.proto.node);
        let proto = ModelProto::parse_buf(&file[..]).unwrap().graph.unwrap();
        operators = proto.node.into_iter().map(|node| node.op_type.unwrap()).collect();
    }
    operators
}

fn dense(graph: Graph, input: &str, output: &str) -> Graph {
    let weights: Vec<f32> = numbers(12).iter().map(|&w| w as f32).collect();
    let name = format!("{output}.weight");
    graph.weights(&name, &[3, 4], &weights).node("MatMul", &[input, &name], &[output], vec![])
}

#[test]
fn files_of_every_age_come_back() {
    for opset in [7, 9, 11, 13, 17, 18, 21, 24] {
        let graph = dense(graph(opset, &[3]), "x", "h").node("Sigmoid", &["h"], &["s"], vec![]);
        let graph = graph.node("Tanh", &["s"], &["y"], vec![]);
        let operators = round_trip(&graph);
        assert!(!operators.iter().any(|name| name == "Sigmoid" || name == "Tanh"), "{operators:?}");
        assert_eq!(operators.iter().filter(|name| *name == "ReduceMin").count(), 2);
    }
}

#[test]
fn images_and_fixed_batches_come_back() {
    round_trip(&graph(13, &[2, 3, 4]).last("Softplus", &["x"], vec![]));
    let fixed = bare(9).input(value("x", DataType::FLOAT, Some(&[1, 2, 5]))).output("y");
    round_trip(&fixed.last("Tanh", &["x"], vec![]));
    // The batch is not the first axis where the activation is.
    let moved = graph(13, &[3, 4]).node("Transpose", &["x"], &["t"], vec![ints("perm", &[1, 0, 2])]);
    let moved = moved.node("Sigmoid", &["t"], &["s"], vec![]);
    round_trip(&moved.last("Transpose", &["s"], vec![ints("perm", &[1, 0, 2])]));
}

#[test]
fn what_nobody_uses_any_more_is_left_out() {
    let silu = dense(graph(13, &[3]), "x", "h").node("Sigmoid", &["h"], &["s"], vec![]);
    let alone = silu.clone().last("Mul", &["h", "s"], vec![]);
    let operators = round_trip(&alone);
    assert!(!operators.iter().any(|name| name == "Sigmoid"), "{operators:?}");
    // Here the sigmoid is used by itself too.
    let both = silu.node("Mul", &["h", "s"], &["m"], vec![]).last("Add", &["m", "s"], vec![]);
    round_trip(&both);
    // A constant goes with the node that took it; one that others take stays.
    let two = array("", &[], &[3.0]);
    let power = graph(13, &[3]).node("Constant", &[], &["c"], vec![tensor("value", two)]);
    let power = power.node("Pow", &["x", "c"], &["p"], vec![]);
    let operators = round_trip(&power.clone().last("Identity", &["p"], vec![]));
    assert!(!operators.iter().any(|name| name == "Pow"), "{operators:?}");
    round_trip(&power.last("Add", &["p", "c"], vec![]));
}

/// As PyTorch exports it below opset 20, in both forms.
#[test]
fn gelu_as_a_product_comes_back() {
    let scalar = |graph: Graph, name: &str, value: f32| {
        graph.node("Constant", &[], &[name], vec![tensor("value", array("", &[], &[value]))])
    };
    let mut erf = dense(graph(13, &[3]), "x", "h");
    for (name, value) in [("root", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)] {
        erf = scalar(erf, name, value);
    }
    let erf = erf.node("Div", &["h", "root"], &["d"], vec![]).node("Erf", &["d"], &["e"], vec![]);
    let erf = erf.node("Add", &["e", "one"], &["a"], vec![]).node("Mul", &["h", "a"], &["m"], vec![]);
    let operators = round_trip(&erf.last("Mul", &["m", "half"], vec![]));
    assert!(!operators.iter().any(|name| name == "Erf"), "{operators:?}");

    let mut tanh = dense(graph(13, &[3]), "x", "h");
    for (name, value) in [("c", 0.044_715), ("root", 0.797_884_6), ("one", 1.0), ("half", 0.5)] {
        tanh = scalar(tanh, name, value);
    }
    let tanh = tanh.node("Mul", &["h", "h"], &["h2"], vec![]).node("Mul", &["h", "h2"], &["h3"], vec![]);
    let tanh = tanh.node("Mul", &["h3", "c"], &["c3"], vec![]).node("Add", &["h", "c3"], &["s"], vec![]);
    let tanh = tanh.node("Mul", &["s", "root"], &["r"], vec![]).node("Tanh", &["r"], &["t"], vec![]);
    let tanh = tanh.node("Add", &["t", "one"], &["a"], vec![]).node("Mul", &["h", "a"], &["m"], vec![]);
    let operators = round_trip(&tanh.last("Mul", &["m", "half"], vec![]));
    assert!(!operators.iter().any(|name| name == "Tanh"), "{operators:?}");
}

#[test]
fn names_do_not_collide() {
    let taken = dense(graph(20, &[3]), "x", "y/spline/shape");
    let taken = taken.node("Neg", &["y/spline/shape"], &["y/spline'"], vec![]);
    round_trip(&taken.last("Gelu", &["y/spline'"], vec![]));
}

#[test]
fn what_cannot_be_saved_is_refused() {
    let refused = |graph: &Graph| saved(&graph.bytes(), 4).unwrap_err().to_string();
    // The logarithm is of a sum that has no name in the file.
    let inner = graph(13, &[3]).node("Exp", &["x"], &["e"], vec![]);
    let inner = inner.last("ReduceLogSum", &["e"], vec![ints("axes", &[1])]);
    let message = refused(&inner);
    assert!(message.contains("'y' cannot be saved"), "{message}");
    let mixed = bare(13).input(value("x", DataType::DOUBLE, Some(&[1, 3]))).output("y");
    let mixed = mixed.node("Cast", &["x"], &["c"], vec![int("to", 1)]);
    let message = refused(&mixed.last("Tanh", &["c"], vec![]));
    assert!(message.contains("mixed types (DOUBLE, FLOAT)"), "{message}");
    let double = bare(13).input(value("x", DataType::DOUBLE, Some(&[1, 3]))).output("y");
    round_trip(&double.last("Tanh", &["x"], vec![]));
    assert!(!has_external_weights(&inner.bytes()).unwrap() && has_external_weights(b"\x0a\xff").is_err());
}
