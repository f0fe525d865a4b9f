//! The table of operators, walked: values, both derivatives, second derivatives, bounds, factors of the parameters'
//! gradients; each against differences, or against what it must hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod derivatives;
mod parameters;

use common::{ACTIVATIONS, OF_POSITIVE, dense, gpu, jets, random, random_rows};
use fenchel::activation::{Piece, PiecewiseAffine};
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Dual, Engine, Window};
use fenchel::network::operators::{
    ArithmeticConstant, AveragePool, Branches, Concat, Convolution, ConvolutionTransposed, Expand, Fixed,
    Interpolate, MaxPool, PRelu, Pad, Permute, Product, Reduce, ReduceMax, Reshape, ScaleShift, Select,
    Softmax, Standardize,
};
use fenchel::network::{Builder, Constant, Kind, Network, NodeId, Op, Slot};
use fenchel::tolerance::{APPROXIMATE, CLOSE, relative_difference};
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
    let window = Window::new([2, 3]).with_strides([1, 2]).with_pads([1, 0, 0, 2]);
    let image = [4, 5, 6];
    let mut all: Vec<(String, Network)> =
        ACTIVATIONS.iter().map(|&a| (format!("{a:?}"), one(&[11], a))).collect();
    let mut add = |name: &str, network: Network| all.push((name.to_owned(), network));
    for activation in OF_POSITIVE {
        let network = network(&[11], |b, x| {
            let positive = b.add("positive", Activation::Softplus, &[x]).unwrap();
            b.add("op", activation, &[positive]).unwrap()
        });
        add(&format!("{activation:?}"), network);
    }
    let mut table = vec![Piece { at: -0.7, value: 0.3, slope: -0.2 }];
    for (i, at) in [-0.7, -0.1, 0.4, 1.3].into_iter().enumerate() {
        table.push(Piece { at, value: table[i].value_at(at), slope: 0.5 * i as f64 - 0.7 });
    }
    let function = PiecewiseAffine::new(vec![-0.7, -0.1, 0.4, 1.3], table).unwrap();
    add("a table of pieces", one(&[11], function));
    for (name, slopes) in [("one slope", vec![1]), ("a slope for each channel", vec![4, 1, 1])] {
        let slopes = constant(12, &slopes);
        add(&format!("PRelu with {name}"), one(&image, PRelu { slopes }));
    }
    for keep in [false, true] {
        for axes in [vec![0], vec![1, 2], vec![0, 2], vec![0, 1, 2]] {
            let name = format!("over {axes:?}, keeping them: {keep}");
            add(&format!("sum {name}"), one(&image, Reduce { axes: axes.clone(), keep, mean: false }));
            add(&format!("mean {name}"), one(&image, Reduce { axes: axes.clone(), keep, mean: true }));
            add(&format!("maximum {name}"), one(&image, ReduceMax { axes, keep }));
        }
    }
    for axis in 0..3 {
        add(&format!("softmax along {axis}"), one(&image, Softmax { axis, log: false }));
        add(&format!("log-softmax along {axis}"), one(&image, Softmax { axis, log: true }));
        let indices = vec![3, 0, 3, 1];
        add(&format!("selection along {axis}"), one(&image, Select { axis, indices }));
        let (low, high) = (vec![0, 1, 2, 3], vec![1, 2, 3, 3]);
        let weight = vec![0.25, 0.5, 0.0, 1.0];
        add(&format!("interpolation along {axis}"), one(&image, Interpolate { axis, low, high, weight }));
    }
    for axes in [vec![2], vec![1, 2], vec![0, 1, 2]] {
        add(&format!("standardisation over {axes:?}"), one(&image, Standardize { axes, epsilon: 1e-2 }));
    }
    add("expansion", one(&[4, 1, 6], Expand { shape: vec![2, 4, 5, 6] }));
    for (name, groups) in [("", 1), ("grouped ", 2)] {
        // Both fit the 5 x 6 image; the second leaves out a row that no window reaches.
        for (window, size) in [(window, [5, 11]), (Window::new([3, 2]).with_strides([2, 1]), [12, 7])] {
            let filters = constant(13, &[4, 6 / groups, window.kernel[0], window.kernel[1]]);
            let op =
                ConvolutionTransposed::new(filters, Some(constant(14, &[6])), window, groups, size).unwrap();
            add(&format!("{name}transposed convolution to {size:?}"), one(&image, op));
        }
    }
    for (name, left, right) in [
        ("", &[2, 3, 4][..], &[2, 4, 5][..]),
        (" that broadcast", &[2, 3, 4], &[1, 4, 5]),
        (" of unequal rank", &[3, 4], &[2, 4, 2]),
    ] {
        let length = |shape: &[usize]| shape.iter().product::<usize>();
        let network = network(&[7], |b, x| {
            let mut matrix = |name: &str, seed, shape: &[usize]| {
                let flat = b.add(name, dense(seed, 7, length(shape)), &[x]).unwrap();
                b.add(&format!("{name} matrix"), Reshape { shape: shape.to_vec() }, &[flat]).unwrap()
            };
            let (left, right) = (matrix("left", 15, left), matrix("right", 16, right));
            b.add("op", Product, &[left, right]).unwrap()
        });
        add(&format!("product of matrices{name}"), network);
    }
    add(
        "products with fixed matrices on either side",
        network(&[3, 4], |b, x| {
            let left = b.add("a", Fixed { value: constant(17, &[2, 3]) }, &[]).unwrap();
            let right = b.add("b", Fixed { value: constant(18, &[4, 5]) }, &[]).unwrap();
            let right = b.add("c", Activation::Tanh, &[right]).unwrap();
            let x = b.add("left", Product, &[left, x]).unwrap();
            b.add("right", Product, &[x, right]).unwrap()
        }),
    );
    add(
        "a fixed token joined to others",
        network(&[3, 4], |b, x| {
            let token = b.add("token", Fixed { value: constant(19, &[1, 4]) }, &[]).unwrap();
            let all = b.add("join", Concat { axis: 0 }, &[token, x]).unwrap();
            let shift = b.add("position", Fixed { value: constant(20, &[4, 4]) }, &[]).unwrap();
            let all = b.add("shift", Branches { operation: Arithmetic::Add }, &[shift, all]).unwrap();
            b.add("op", Softmax { axis: 1, log: false }, &[all]).unwrap()
        }),
    );
    add(
        "attention",
        network(&[3, 4], |b, x| {
            let mut project = |name: &str, seed| b.add(name, dense(seed, 4, 4), &[x]).unwrap();
            let (q, k, v) = (project("q", 21), project("k", 22), project("v", 23));
            let k = b.add("k^T", Permute { order: vec![1, 0] }, &[k]).unwrap();
            let scores = b.add("scores", Product, &[q, k]).unwrap();
            let shares = b.add("shares", Softmax { axis: 1, log: false }, &[scores]).unwrap();
            let mixed = b.add("mixed", Product, &[shares, v]).unwrap();
            let sum = b.add("sum", Branches { operation: Arithmetic::Add }, &[mixed, x]).unwrap();
            b.add("norm", Standardize { axes: vec![1], epsilon: 1e-5 }, &[sum]).unwrap()
        }),
    );
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
    for operation in
        [Arithmetic::Add, Arithmetic::Sub, Arithmetic::Mul, Arithmetic::Div, Arithmetic::Min, Arithmetic::Max]
    {
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
            // Folded into the convolution.
            let h = b.add("relu", Activation::LeakyRelu { slope: 0.2 }, &[h]).unwrap();
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

fn f32_equals_f64_and_no_row_sees_another<E: Engine<Scalar = f32>>(engine: &E) {
    for (name, network) in table() {
        let x = random_rows(40, 9, dimension(&network));
        let program = network.compile(engine).unwrap();
        let narrow = x.mapv(|v| v as f32);
        let together = program.values(narrow.view(), &Context::default()).unwrap();
        let reference = values(&network, &narrow.mapv(f64::from));
        let difference =
            relative_difference(together.iter().map(|&v| f64::from(v)), reference.iter().copied());
        assert!(difference < CLOSE, "{name}: {difference:e}");
        let budget = program.bytes_per_sample(None) * engine.in_flight() as u64 + program.scratch_bytes();
        let alone = program.values(narrow.view(), &Context::default().with_memory(budget)).unwrap();
        assert!(alone == together, "{name}: a row depends on its batch");
        let jacobians = |rows: ndarray::ArrayView2<'_, f32>| {
            let jets = program.jets(&program.upload(rows).unwrap(), &[0, 1, 2]).unwrap();
            engine.download(&jets.jacobians).unwrap()
        };
        let together = jacobians(narrow.view());
        let (_, reference) = jets(&network, &narrow.mapv(f64::from));
        let difference =
            relative_difference(together.iter().map(|&v| f64::from(v)), reference.iter().copied());
        assert!(difference < APPROXIMATE, "{name}: Jacobians differ by {difference:e}");
        let single: Vec<f32> = (0..9).flat_map(|n| jacobians(narrow.slice(ndarray::s![n..=n, ..]))).collect();
        assert!(single == together, "{name}: a Jacobian depends on its batch");
    }
}

#[test]
fn f32_equals_f64_and_no_row_sees_another_on_the_cpu() {
    f32_equals_f64_and_no_row_sees_another(&Cpu::<f32>::new());
}

#[test]
fn f32_equals_f64_and_no_row_sees_another_on_the_gpu() {
    if let Some(gpu) = gpu() {
        f32_equals_f64_and_no_row_sees_another(&gpu);
    }
}

/// Directions, one for each row.
fn directions(seed: u64, rows: usize, columns: usize) -> Array2<f64> {
    random_rows(seed, rows, columns).mapv(|v| v - 0.5)
}

/// Along the directions: values, their derivatives, and those of the Jacobians, `[N, K]`, `[N, K]` and `[N, K, D]`.
fn second(network: &Network, x: &Array2<f64>, u: &Array2<f64>) -> [Vec<f64>; 3] {
    let engine = Dual::new(Cpu::<f64>::new());
    let program = network.compile(&engine).unwrap();
    let plain = |rows: &Array2<f64>| engine.inner().upload(rows.as_slice().unwrap(), rows.shape()).unwrap();
    let outputs: Vec<usize> = (0..program.outputs()).collect();
    let jets = program.jets(&engine.dual(&plain(x), Some(&plain(u))).unwrap(), &outputs).unwrap();
    let read = |t: Option<fenchel::engine::TensorOf<Cpu<f64>>>, length: usize| {
        t.map_or(vec![0.0; length], |t| engine.inner().download(&t).unwrap())
    };
    [
        engine.download(&jets.values).unwrap(),
        read(engine.tangent(&jets.values), jets.values.len()),
        read(engine.tangent(&jets.jacobians), jets.jacobians.len()),
    ]
}

#[test]
fn slots_are_there_or_named() {
    for (name, network) in table() {
        for slot in [
            Slot::Forward,
            Slot::JacobianVector,
            Slot::VectorJacobian,
            Slot::SecondDerivative,
            Slot::IntervalBounds,
        ] {
            network.require("a test", slot).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
    let refusal = |op: Op, slot| one(&[4, 5, 6], op).require("the tool", slot).unwrap_err().to_string();
    let softmax = refusal(Softmax { axis: 0, log: false }.into(), Slot::AffinePieces);
    assert!(
        softmax.contains("the tool needs affine pieces") && softmax.contains("Softmax ('op')"),
        "{softmax}"
    );
    assert!(refusal(MaxPool { window: Window::new([2, 2]) }.into(), Slot::ConvexSplit).contains("convex"));
    assert!(
        refusal(Standardize { axes: vec![0], epsilon: 1.0 }.into(), Slot::TaylorSeries).contains("Taylor")
    );
    let divisor = Constant::from(2.0);
    let division = ArithmeticConstant { operation: Arithmetic::Div, constant: divisor, reversed: false };
    assert!(refusal(division.into(), Slot::ParameterFactors).contains("factors of the parameter gradient"));
}

#[test]
fn what_is_piecewise_affine_has_codes() {
    for (name, network) in table() {
        let program = network.compile(&Cpu::<f32>::new()).unwrap();
        let layers = program.coded_layers("the test");
        let kind = network.kind();
        assert_eq!(layers.is_ok(), kind != Kind::Smooth, "{name}");
        assert_eq!(layers.is_ok_and(|layers| !layers.is_empty()), kind == Kind::PiecewiseAffine, "{name}");
    }
}
