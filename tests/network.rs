//! What graphs allow: cuts, fixed inputs, several outputs, simplification, slots, memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{dense, jets, mlp, random, random_rows};
use fenchel::Error;
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Engine, Window};
use fenchel::network::operators::{
    ArithmeticConstant, Branches, Concat, Convolution, MaxPool, Reshape, ScaleShift,
};
use fenchel::network::{Constant, Network, NodeId, Slot};
use fenchel::tolerance::{EXACT, relative_difference};
use ndarray::Array2;

fn constant(seed: u64, shape: &[usize]) -> Constant {
    Constant::f64(shape, random(seed, shape.iter().product())).unwrap()
}

fn values(network: &Network, x: &Array2<f64>) -> Array2<f64> {
    network.compile(&Cpu::<f64>::new()).unwrap().values(x.view(), &Context::default()).unwrap()
}

#[test]
fn simplified_networks_compute_the_same() {
    let mut builder = Network::builder();
    let x = builder.input("x", &[2, 5, 5]).unwrap();
    let inner = Convolution::new(constant(1, &[3, 2, 3, 3]), None, Window::new([3, 3]), 1).unwrap();
    let conv = builder.add("conv", inner, &[x]).unwrap();
    let scale = ScaleShift::new(constant(2, &[3]), constant(3, &[3])).unwrap();
    let bn = builder.add("bn", scale, &[conv]).unwrap();
    let shift = |seed, shape: &[usize], operation| ArithmeticConstant {
        operation,
        constant: constant(seed, shape),
        reversed: false,
    };
    let shifted = builder.add("shift", shift(4, &[3, 1, 1], Arithmetic::Sub), &[bn]).unwrap();
    let gate = builder.add("gate", Activation::Sigmoid, &[shifted]).unwrap();
    let silu = builder.add("silu", Branches { operation: Arithmetic::Mul }, &[shifted, gate]).unwrap();
    let flat = builder.add("flat", Reshape { shape: vec![27] }, &[silu]).unwrap();
    let fc = builder.add("fc", dense(5, 27, 4), &[flat]).unwrap();
    let end = builder.add("bias", shift(6, &[1, 4], Arithmetic::Add), &[fc]).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let points = random_rows(7, 6, 50);

    // Step by step: each node from the one below, so that nothing can be folded.
    let mut value = points.clone();
    for pair in network.nodes().windows(2).filter(|pair| pair[1].name() != "silu" && pair[1].name() != "gate")
    {
        let below = if pair[0].name() == "silu" { "silu" } else { pair[0].name() };
        value = values(&network.cut(Some(below), Some(pair[1].name())).unwrap(), &value);
        if pair[1].name() == "shift" {
            value.mapv_inplace(|v| v / (1.0 + (-v).exp()));
        }
    }
    let folded = values(&network, &points);
    let difference = relative_difference(folded.iter().copied(), value.iter().copied());
    assert!(difference < EXACT, "{difference:e}");
    // Every node is still there to be cut at.
    for node in &network.nodes()[1..] {
        assert_eq!(
            network.cut(None, Some(node.name())).unwrap().outputs().next().unwrap().name(),
            node.name()
        );
    }
}

#[test]
fn a_network_is_the_composition_of_its_parts() {
    let network = mlp(50, [6, 9, 4], Activation::Tanh);
    let x = random_rows(51, 5, 6);
    let whole = values(&network, &x);
    let middle = network.nodes()[2].name();
    let first = values(&network.cut(None, Some(middle)).unwrap(), &x);
    let second = values(&network.cut(Some(middle), None).unwrap(), &first);
    assert!(relative_difference(second.iter().copied(), whole.iter().copied()) < EXACT);
}

#[test]
fn impossible_cuts_are_refused() {
    let mut builder = Network::builder();
    let x = builder.input("x", &[3]).unwrap();
    let a = builder.add("a", Activation::Tanh, &[x]).unwrap();
    let b = builder.add("b", Activation::Relu, &[x]).unwrap();
    let sum = builder.add("sum", Branches { operation: Arithmetic::Add }, &[a, b]).unwrap();
    let network = builder.finish(&[sum, b]).unwrap();
    let refusal = |input, output| network.cut(input, output).map(|_| ()).unwrap_err().to_string();
    assert!(refusal(None, Some("c")).contains("no node is called 'c'"));
    assert!(refusal(Some("a"), Some("b")).contains("does not depend on"));
    assert!(refusal(Some("a"), Some("sum")).contains("not only on 'a' but on 'x' too"));
    assert!(refusal(Some("a"), Some("a")).contains("does not depend on"));
    assert!(network.cut(Some("x"), Some("sum")).is_ok());
}

#[test]
fn several_outputs_come_side_by_side() {
    let mut builder = Network::builder();
    let x = builder.input("x", &[2, 3]).unwrap();
    let a = builder.add("a", Activation::Tanh, &[x]).unwrap();
    let b = builder.add("outputs", dense(1, 3, 2), &[a]).unwrap();
    let network = builder.finish(&[b, a]).unwrap();
    let rows = random_rows(2, 3, 6);
    let alone = |name| values(&network.cut(None, Some(name)).unwrap(), &rows);
    let together = values(&network, &rows);
    assert_eq!(together, ndarray::concatenate![ndarray::Axis(1), alone("outputs"), alone("a")]);
    let (_, jacobians) = jets(&network, &rows);
    assert_eq!(jacobians.dim(), (3, 10, 6));
}

#[test]
fn other_inputs_can_be_fixed() {
    let mut builder = Network::builder();
    let first = builder.input("first", &[3]).unwrap();
    let x = builder.input("x", &[2, 3]).unwrap();
    let scaled = builder.add("scaled", dense(1, 3, 3), &[first]).unwrap();
    let product = builder.add("product", Branches { operation: Arithmetic::Mul }, &[x, scaled]);
    let network = builder.finish(&[product.unwrap()]).unwrap();
    let error = network.cut(None, None).unwrap_err().to_string();
    assert!(error.contains("'first', 'x'") && error.contains("fixed"), "{error}");
    let value = constant(3, &[3]);
    let fixed = network.fix("first", &value).unwrap();
    let rows = random_rows(4, 2, 6);
    let factors = values(
        &network.cut(Some("first"), Some("scaled")).unwrap(),
        &Array2::from_shape_vec((1, 3), value.to::<f64>()).unwrap(),
    );
    let expected: Vec<f64> = rows.iter().enumerate().map(|(i, v)| v * factors[[0, i % 3]]).collect();
    assert!(relative_difference(values(&fixed, &rows).iter().copied(), expected) < EXACT);
    // What depends on fixed inputs alone is no output to study.
    assert!(fixed.cut(None, Some("scaled")).unwrap_err().to_string().contains("does not depend on"));
    assert!(fixed.cut(Some("scaled"), None).unwrap_err().to_string().contains("not only on"));
    assert!(fixed.fix("x", &constant(5, &[6])).unwrap().cut(None, None).is_err(), "nothing varies");
    assert!(network.fix("product", &value).is_err() && network.fix("first", &constant(6, &[4])).is_err());
}

#[test]
fn misfits_are_named_while_building() {
    let mut builder = Network::builder();
    assert!(builder.layer(Activation::Relu).is_err(), "a layer needs something below it");
    let x = builder.input("x", &[2, 5, 5]).unwrap();
    let named = |error: Error| error.to_string();
    let wrong = builder.add("fc", dense(1, 7, 2), &[x]).unwrap_err();
    assert!(named(wrong).contains("Gemm ('fc'): a dense layer of 7 inputs does not fit"));
    let far = MaxPool { window: Window::new([2, 2]).with_pads([3, 0, 0, 0]) };
    assert!(named(builder.add("pool", far, &[x]).unwrap_err()).contains("nothing but padding"));
    let large = MaxPool { window: Window::new([6, 2]) };
    assert!(builder.add("pool", large, &[x]).is_err());
    let zero = MaxPool { window: Window::new([2, 2]).with_strides([0, 1]) };
    assert!(builder.add("pool", zero, &[x]).is_err());
    let huge = MaxPool { window: Window::new([2, 2]).with_pads([usize::MAX, 0, 1, 0]) };
    assert!(builder.add("pool", huge, &[x]).is_err());
    builder.add("pool", MaxPool { window: Window::new([2, 2]) }, &[x]).unwrap();
    assert!(named(builder.input("pool", &[1]).unwrap_err()).contains("two nodes are called 'pool'"));
    assert!(builder.input("empty", &[0]).is_err());
    assert!(builder.add("join", Concat { axis: 1 }, &[x, NodeId::clone(&x)]).is_ok());
    assert!(Constant::f32([2], vec![1.0]).is_err() && Constant::f32([1], vec![f32::NAN]).is_err());
}

#[test]
fn absent_slots_are_refused_by_name() {
    let network = mlp(60, [2, 3, 1], Activation::Gelu);
    assert!(network.require("a test", Slot::VectorJacobian).is_ok());
    let error = network.require("the partition", Slot::AffinePieces).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the partition needs affine pieces") && text.contains("'Gelu2'"), "{text}");
}

#[test]
fn memory_follows_the_budget() {
    let network = mlp(70, [50, 300, 10], Activation::Relu);
    let program = network.compile(&Cpu::<f32>::new()).unwrap();
    let few = program.chunks(100_000, Some(10), 16 << 20).unwrap();
    let many = program.chunks(100_000, Some(10), 64 << 20).unwrap();
    assert!(few.size() < many.size() && few.size() as u64 * program.bytes_per_sample(Some(10)) <= 16 << 20);
    let error = program.chunks(1, Some(10), 1000).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    assert!(program.jets(&program.engine().upload(&[0.0; 50], &[1, 50]).unwrap(), &[10]).is_err());
}
