//! Every operator of the table: values, both derivatives, and what graphs allow.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{dense, jets, mlp, random, random_rows};
use fenchel::Error;
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Engine, Window};
use fenchel::network::operators::{
    ArithmeticConstant, AveragePool, Branches, Concat, Convolution, MaxPool, Pad, Permute, Reduce, Reshape,
    ScaleShift,
};
use fenchel::network::{Builder, Constant, Network, NodeId, Op, Slot};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::Array2;

fn constant(seed: u64, shape: &[usize]) -> Constant {
    Constant::f64(shape, random(seed, shape.iter().product())).unwrap()
}

fn convolution(seed: u64, shape: [usize; 4], window: Window, groups: usize) -> Convolution {
    Convolution::new(constant(seed, &shape), Some(constant(seed + 1, &shape[..1])), window, groups).unwrap()
}

/// A network of an input, the nodes that `f` adds, and a dense layer on top that mixes all elements.
fn network(shape: &[usize], f: impl FnOnce(&mut Builder, NodeId) -> NodeId) -> Network {
    let mut builder = Network::builder();
    let input = builder.input("x", shape).unwrap();
    let end = f(&mut builder, input);
    let length: usize = builder.shape(end).iter().product();
    let flat = builder.add("flat", Reshape { shape: vec![length] }, &[end]).unwrap();
    let output = builder.add("mix", dense(77, length, 3), &[flat]).unwrap();
    builder.finish(&[output]).unwrap()
}

fn one(shape: &[usize], op: impl Into<Op>) -> Network {
    network(shape, |b, x| b.add("op", op, &[x]).unwrap())
}

fn global_average() -> Reduce {
    Reduce { axes: vec![1, 2], keep: true, mean: true }
}

/// One network for each way through the table.
fn table() -> Vec<(String, Network)> {
    let activations = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Clip { low: -0.3, high: 0.8 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
    ];
    let window = Window::new([2, 3]).with_strides([1, 2]).with_pads([1, 0, 0, 2]);
    let image = [4, 5, 6];
    let mut all: Vec<(String, Network)> =
        activations.iter().map(|&a| (format!("{a:?}"), one(&[11], a))).collect();
    let mut add = |name: &str, network: Network| all.push((name.to_owned(), network));
    add("dense", one(&[11], dense(1, 11, 5)));
    add("dense over the last axis", one(&[3, 4], dense(2, 4, 5)));
    add("convolution", one(&image, convolution(3, [6, 4, 2, 3], window, 1)));
    add("grouped convolution", one(&image, convolution(4, [6, 2, 2, 3], window.with_dilations([2, 1]), 2)));
    add("depthwise convolution", one(&image, convolution(5, [4, 1, 2, 3], window, 4)));
    add("scale and shift", one(&image, ScaleShift::new(constant(6, &[4]), constant(7, &[4])).unwrap()));
    add("max-pooling", one(&image, MaxPool { window }));
    add("average pooling", one(&image, AveragePool { window, counted: [0; 4] }));
    add("average pooling with padding", one(&image, AveragePool { window, counted: window.pads }));
    add("global average pooling", one(&image, global_average()));
    add("permutation", one(&image, Permute { order: vec![2, 0, 1] }));
    add("padding", one(&image, Pad { before: vec![0, 1, -1], after: vec![2, 0, 1], value: 0.5 }));
    for operation in [Arithmetic::Add, Arithmetic::Sub, Arithmetic::Mul, Arithmetic::Div] {
        for reversed in [false, true] {
            let shapes: [&[usize]; 4] = [&[], &[6], &[5, 1], &[2, 1, 5, 6]];
            for (i, shape) in shapes.into_iter().enumerate() {
                // Dividing by something near 0 has no derivative that differences could find.
                let away = random(8, shape.iter().product()).iter().map(|v| v.abs() + 0.5).collect();
                let constant = Constant::f64(shape, away).unwrap();
                let input: &[usize] = if i == 3 { &[3, 1, 1, 6] } else { &image };
                if i == 3 && operation == Arithmetic::Div && reversed {
                    continue;
                }
                let input: Vec<usize> = if i == 3 { vec![1, 5, 6] } else { input.to_vec() };
                add(
                    &format!("{operation:?} with a constant {shape:?}, reversed: {reversed}"),
                    network(&input, |b, x| {
                        let positive = b.add("positive", Activation::Softplus, &[x]).unwrap();
                        b.add("op", ArithmeticConstant { operation, constant, reversed }, &[positive])
                            .unwrap()
                    }),
                );
            }
        }
        let branches = |small: bool| {
            network(&image, |b, x| {
                let positive = b.add("positive", Activation::Softplus, &[x]).unwrap();
                let mut other = b.add("other", Activation::Sigmoid, &[x]).unwrap();
                if small {
                    other = b.add("pool", global_average(), &[other]).unwrap();
                }
                b.add("op", Branches { operation }, &[positive, other]).unwrap()
            })
        };
        add(&format!("{operation:?} of branches"), branches(false));
        add(&format!("{operation:?} of branches that broadcast"), branches(true));
    }
    add(
        "joined branches",
        network(&image, |b, x| {
            let left = b.add("left", Activation::Tanh, &[x]).unwrap();
            let right = b.add("right", MaxPool { window: Window::new([1, 2]).with_pads([0, 1, 0, 0]) }, &[x]);
            b.add("op", Concat { axis: 0 }, &[left, right.unwrap(), x]).unwrap()
        }),
    );
    add(
        "a block with a skip",
        network(&image, |b, x| {
            let inner = convolution(9, [4, 4, 3, 3], Window::new([3, 3]).with_pads([1; 4]), 1);
            let h = b.add("conv", inner, &[x]).unwrap();
            let scale = ScaleShift::new(constant(10, &[4]), constant(11, &[4])).unwrap();
            let h = b.add("bn", scale, &[h]).unwrap();
            let h = b.add("act", Activation::Tanh, &[h]).unwrap();
            b.add("skip", Branches { operation: Arithmetic::Add }, &[h, x]).unwrap()
        }),
    );
    all
}

fn dimension(network: &Network) -> usize {
    network.inputs().map(|node| node.shape().iter().product::<usize>()).sum()
}

fn values(network: &Network, x: &Array2<f64>) -> Array2<f64> {
    network.compile(&Cpu::<f64>::new()).unwrap().values(x.view(), &Context::default()).unwrap()
}

#[test]
fn derivatives_equal_central_differences_backward_and_forward() {
    let step = 1e-6;
    for (name, network) in table() {
        let d = dimension(&network);
        let x = random_rows(20, 2, d);
        let (_, backward) = jets(&network, &x);
        for j in 0..d {
            let moved = |by: f64| {
                let mut x = x.clone();
                x.column_mut(j).mapv_inplace(|v| v + by);
                values(&network, &x)
            };
            let difference = (&moved(step) - &moved(-step)) / (2.0 * step);
            let column = backward.slice(ndarray::s![.., .., j]);
            let largest = backward.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
            let error = (&difference - &column).iter().fold(0.0_f64, |m, v| m.max(v.abs())) / largest;
            assert!(error < CLOSE, "{name}, input {j}: {error:e}");
        }
        // The same network behind a narrow input has fewer inputs than outputs: it runs forward.
        let mut narrow = Network::builder();
        let t = narrow.input("t", &[2]).unwrap();
        let mut last = narrow.add("embed", dense(30, 2, d), &[t]).unwrap();
        let shape = network.inputs().next().unwrap().shape().to_vec();
        last = narrow.add("shape", Reshape { shape }, &[last]).unwrap();
        let mut ids = vec![last];
        for node in &network.nodes()[1..] {
            let inputs: Vec<NodeId> = node.inputs().iter().map(|&i| ids[i]).collect();
            ids.push(narrow.add(node.name(), node.op().unwrap().clone(), &inputs).unwrap());
        }
        let narrow = narrow.finish(&ids[ids.len() - 1..]).unwrap();
        let t = random_rows(31, 3, 2);
        let (_, forward) = jets(&narrow, &t);
        let embedded = values(&narrow.cut(None, Some("embed")).unwrap(), &t);
        let (_, embedding) = jets(&narrow.cut(None, Some("embed")).unwrap(), &t);
        let (_, whole) = jets(&network, &embedded);
        let mut expected = vec![];
        for (n, k, i) in (0..3).flat_map(|n| (0..3).flat_map(move |k| (0..2).map(move |i| (n, k, i)))) {
            expected.push((0..d).map(|j| whole[[n, k, j]] * embedding[[n, j, i]]).sum::<f64>());
        }
        let difference = relative_difference(forward.iter().copied(), expected);
        assert!(difference < EXACT, "{name}, forward: {difference:e}");
    }
}

#[test]
fn f32_equals_f64_and_no_row_sees_another() {
    for (name, network) in table() {
        let x = random_rows(40, 9, dimension(&network));
        let program = network.compile(&Cpu::<f32>::new()).unwrap();
        let narrow = x.mapv(|v| v as f32);
        let together = program.values(narrow.view(), &Context::default()).unwrap();
        let reference = values(&network, &narrow.mapv(f64::from));
        let difference =
            relative_difference(together.iter().map(|&v| f64::from(v)), reference.iter().copied());
        assert!(difference < CLOSE, "{name}: {difference:e}");
        let budget = program.bytes_per_sample(None) + program.scratch_bytes();
        let alone = program.values(narrow.view(), &Context::default().with_memory(budget)).unwrap();
        assert!(alone == together, "{name}: a row depends on its batch");
        let engine = program.engine();
        let jacobians = |rows: ndarray::ArrayView2<'_, f32>| {
            let jets = program.jets(&program.upload(rows).unwrap(), &[0, 1, 2]).unwrap();
            engine.download(&jets.jacobians).unwrap()
        };
        let single: Vec<f32> = (0..9).flat_map(|n| jacobians(narrow.slice(ndarray::s![n..=n, ..]))).collect();
        assert!(single == jacobians(narrow.view()), "{name}: a Jacobian depends on its batch");
    }
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
    assert!(refusal(None, None).contains("several outputs"));
    assert!(refusal(None, Some("c")).contains("no node is called 'c'"));
    assert!(refusal(Some("a"), Some("b")).contains("does not depend on"));
    assert!(refusal(Some("a"), Some("sum")).contains("not only on 'a' but on 'x' too"));
    assert!(refusal(Some("a"), Some("a")).contains("does not depend on"));
    assert!(network.cut(Some("x"), Some("sum")).is_ok());
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
    assert!(network.require("a test", Slot::SecondDerivative).is_err(), "nothing computes it yet");
    let error = network.require("the partition", Slot::AffinePieces).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the partition needs affine pieces") && text.contains("'Gemm1'"), "{text}");
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
