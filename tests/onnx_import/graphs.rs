//! Graphs as a whole: names, order, inputs and outputs, batches, and what is left out.

use fenchel::network::onnx::{LoadOptions, from_bytes};
use fenchel::network::{Kind, Network};
use rten_onnx::onnx::DataType;

use crate::model::{OPEN, array, bare, float, floats, graph, int, ints, numbers, raw, run, tensor, value};

fn names(network: &Network) -> Vec<(&str, &str)> {
    network.nodes().iter().map(|node| (node.name(), node.value())).collect()
}

#[test]
fn names_are_those_of_the_file() {
    let mut graph = graph(13, &[2]).node("Relu", &["x"], &["a"], vec![]).last("Tanh", &["a"], vec![]);
    graph.proto.node[1].name = None;
    let network = graph.load().unwrap().network;
    assert_eq!(names(&network), [("x", "x"), ("Relu:a", "a"), ("y", "y")]);
    assert_eq!(network.find("Relu:a").unwrap().name(), network.find("a").unwrap().name());
}

#[test]
fn nodes_that_do_nothing_are_further_names() {
    let x = numbers(4);
    for (opset, inputs, attributes) in [
        (7, &["r"][..], vec![float("ratio", 0.5)]),
        (13, &["r", "half"], vec![int("seed", 1)]),
        (13, &["r", "half", "no"], vec![]),
    ] {
        let graph = graph(opset, &[2]).weights("half", &[], &[0.5]);
        let graph = graph.initializer(raw("no", &[], DataType::BOOL, vec![0]));
        let graph = graph.node("Relu", &["x"], &["r"], vec![]);
        let graph = graph.node("Dropout", inputs, &["d", "mask"], attributes);
        let graph = graph.node("Identity", &["d"], &["i"], vec![]).last("Tanh", &["i"], vec![]);
        let network = graph.load().unwrap().network;
        assert_eq!(names(&network), [("x", "x"), ("Relu:r", "r"), ("Tanh:y", "y")]);
        for name in ["Dropout:d", "d", "Identity:i", "i"] {
            assert_eq!(network.find(name).unwrap().name(), "Relu:r");
        }
        graph.gives(&x, &[2], &x.iter().map(|x| x.max(0.0).tanh()).collect::<Vec<f64>>());
    }
    let last = graph(13, &[2]).node("Relu", &["x"], &["r"], vec![]).last("Identity", &["r"], vec![]);
    last.gives(&x, &[2], &x.iter().map(|x| x.max(0.0)).collect::<Vec<f64>>());
}

#[test]
fn constants_in_every_form() {
    let x = numbers(4);
    let forms = [
        (tensor("value", array("", &[2], &[1.5, -2.0])), [1.5, -2.0]),
        (floats("value_floats", &[3.0, 0.5]), [3.0, 0.5]),
        (float("value_float", 4.0), [4.0, 4.0]),
    ];
    for (attribute, added) in forms {
        let expected: Vec<f64> = x.iter().enumerate().map(|(i, x)| x + added[i % 2]).collect();
        let graph = graph(13, &[2]).node("Constant", &[], &["c"], vec![attribute]);
        graph.last("Add", &["c", "x"], vec![]).gives(&x, &[2], &expected);
    }
    let shape = graph(13, &[2]).node("Constant", &[], &["c"], vec![ints("value_ints", &[0, 2, 1])]);
    shape.last("Reshape", &["x", "c"], vec![]).gives(&x, &[2, 1], &x);
    let cast = graph(13, &[2]).node("Constant", &[], &["c"], vec![int("value_int", 3)]);
    let cast = cast.node("Cast", &["c"], &["f"], vec![int("to", 1)]).last("Mul", &["x", "f"], vec![]);
    cast.gives(&x, &[2], &x.iter().map(|x| 3.0 * x).collect::<Vec<f64>>());
}

#[test]
fn nodes_may_stand_in_any_order() {
    let x = numbers(4);
    let mut graph = graph(13, &[2]).node("Relu", &["x"], &["a"], vec![]);
    graph = graph.node("Sub", &["a", "x"], &["b"], vec![]).last("Tanh", &["b"], vec![]);
    let expected: Vec<f64> = x.iter().map(|x| (x.max(0.0) - x).tanh()).collect();
    graph.gives(&x, &[2], &expected);
    graph.proto.node.reverse();
    graph.gives(&x, &[2], &expected);
}

#[test]
fn the_batch_may_be_fixed_or_open() {
    let x = numbers(10);
    for (length, batch) in [(OPEN, None), (-1, None), (0, None), (1, Some(1)), (3, Some(3))] {
        let graph = bare(13).input(value("x", DataType::FLOAT, Some(&[length, 2]))).output("y");
        let graph = graph.last("Relu", &["x"], vec![]);
        assert_eq!(graph.load().unwrap().description.batch, batch);
        graph.gives(&x, &[2], &x.iter().map(|x| x.max(0.0)).collect::<Vec<f64>>());
    }
}

#[test]
fn several_inputs_and_outputs() {
    let graph = bare(13).input(value("a", DataType::FLOAT, Some(&[1, 2])));
    let graph = graph.input(value("b", DataType::DOUBLE, Some(&[OPEN, 2, 3]))).output("p").output("q");
    let graph = graph.node("Relu", &["a"], &["p"], vec![]).node("Tanh", &["b"], &["q"], vec![]);
    let network = graph.load().unwrap().network;
    assert_eq!(network.inputs().map(|node| node.shape().to_vec()).collect::<Vec<_>>(), [vec![2], vec![2, 3]]);
    assert_eq!(network.outputs().map(|node| node.value()).collect::<Vec<_>>(), ["p", "q"]);
    assert_eq!(network.cut(None, Some("p")).unwrap_err().to_string().lines().count(), 1);
}

#[test]
fn initializers_may_be_listed_as_inputs() {
    let graph =
        graph(8, &[2]).input(value("c", DataType::FLOAT, Some(&[1, 2]))).weights("c", &[1, 2], &[1.0, 2.0]);
    let graph = graph.last("Mul", &["x", "c"], vec![]);
    assert_eq!(graph.load().unwrap().network.inputs().count(), 1);
    graph.gives(&[3.0, 4.0], &[2], &[3.0, 8.0]);
}

#[test]
fn what_nobody_uses_need_not_be_supported() {
    let half = raw("half", &[2], DataType::FLOAT16, vec![0; 4]);
    graph(13, &[2]).initializer(half).last("Relu", &["x"], vec![]).gives(&[-1.0, 1.0], &[2], &[0.0, 1.0]);
}

#[test]
fn a_trailing_softmax_can_be_left_out() {
    for (operator, opset, axis) in
        [("Softmax", 11, None), ("Softmax", 13, Some(-1)), ("LogSoftmax", 9, Some(1))]
    {
        let attributes = axis.map(|axis| int("axis", axis)).into_iter().collect();
        let graph =
            graph(opset, &[2]).node("Relu", &["x"], &["r"], vec![]).last(operator, &["r"], attributes);
        let shares = [1.0, 2.0_f64.exp()].map(|power| power / (1.0 + 2.0_f64.exp()));
        let log = operator == "LogSoftmax";
        graph.gives(&[-1.0, 2.0], &[2], &shares.map(|share| if log { share.ln() } else { share }));
        let model = from_bytes(&graph.bytes(), None, &LoadOptions { logits: true }).unwrap();
        assert_eq!(names(&model.network), [("x", "x"), ("Relu:r", "r")]);
        assert_eq!(run(&model, &[-1.0, 2.0]).0, [0.0, 2.0]);
    }
    let graph = graph(13, &[2]).node("Softmax", &["x"], &["s"], vec![]).last("Relu", &["s"], vec![]);
    let model = from_bytes(&graph.bytes(), None, &LoadOptions { logits: true }).unwrap();
    assert_eq!(names(&model.network), [("x", "x"), ("Softmax:s", "s"), ("Relu:y", "y")]);
    let batch = graph_over_batch();
    let error = from_bytes(&batch.bytes(), None, &LoadOptions { logits: true }).unwrap_err();
    assert!(error.to_string().contains("it runs over the batch"), "{error}");
}

fn graph_over_batch() -> crate::model::Graph {
    let graph = graph(13, &[2]).node("Relu", &["x"], &["r"], vec![]);
    graph.last("Softmax", &["r"], vec![int("axis", 0)])
}

#[test]
fn a_model_is_described() {
    let graph = graph(13, &[2]).last("Relu", &["x"], vec![]);
    let model = graph.load().unwrap();
    assert_eq!((model.description.opset, model.description.ir_version), (13, Some(8)));
    assert_eq!((model.description.producer_name.as_str(), model.description.batch), ("test", None));
    assert_eq!(model.network.kind(), Kind::PiecewiseAffine);
    assert_eq!(model.fingerprint.len(), 64);
    assert_eq!(model.fingerprint, graph.load().unwrap().fingerprint);
    let other = graph.output("z").node("Tanh", &["x"], &["z"], vec![]);
    assert_ne!(model.fingerprint, other.load().unwrap().fingerprint);
}
