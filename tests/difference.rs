//! Networks as differences of convex functions: every rule of the table on every kind of pair, both engines, what is
//! refused, and networks as people publish them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

use common::{dense, gpu, jets, mlp, random, random_rows};
use fenchel::Scalar;
use fenchel::data::{Dataset, ReadOptions};
use fenchel::difference::{AffinePieces, Agreement, Convexity, Difference, convexity};
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Engine, Window};
use fenchel::maso::Layers;
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::network::operators::{
    ArithmeticConstant, AveragePool, Branches, Concat, Convolution, ConvolutionTransposed, Dense, Expand,
    Fixed, Interpolate, MaxPool, PRelu, Pad, Permute, Product, Reduce, ReduceMax, Reshape, ScaleShift,
    Select, Softmax, Standardize,
};
use fenchel::network::{Builder, Constant, Network, NodeId, Op, Side, Slot};
use fenchel::tolerance::{APPROXIMATE, EXACT, relative_difference};
use ndarray::{Array2, Axis};

const IMAGE: [usize; 3] = [4, 5, 6];

/// Numbers of both signs.
fn constant(seed: u64, shape: &[usize]) -> Constant {
    let values = random(seed, shape.iter().product()).iter().map(|v| v - 0.4).collect();
    Constant::f64(shape, values).unwrap()
}

fn arithmetic(operation: Arithmetic, constant: Constant, reversed: bool) -> Op {
    ArithmeticConstant { operation, constant, reversed }.into()
}

/// Every operator of one input that has a rule, over images.
fn operators() -> Vec<(String, Op)> {
    let window = Window::new([2, 3]).with_strides([1, 2]).with_pads([1, 0, 0, 2]);
    let activations = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.1 },
        Activation::LeakyRelu { slope: -0.3 },
        Activation::LeakyRelu { slope: 1.5 },
        Activation::Clip { low: -0.3, high: 0.8 },
        Activation::Clip { low: f64::NEG_INFINITY, high: 0.2 },
        Activation::Clip { low: 0.1, high: f64::INFINITY },
        Activation::Abs,
        Activation::HardSigmoid { alpha: 0.3, beta: 0.4 },
        Activation::HardSigmoid { alpha: -0.7, beta: 0.4 },
        Activation::Power { exponent: 1.0 },
    ];
    let mut all: Vec<(String, Op)> = activations.iter().map(|&a| (format!("{a:?}"), a.into())).collect();
    let mut add = |name: &str, op: Op| all.push((name.to_owned(), op));
    add("dense", Dense::new(constant(1, &[6, 3]), Some(constant(2, &[3]))).unwrap().into());
    add("dense without a bias", Dense::new(constant(3, &[6, 2]), None).unwrap().into());
    for groups in [1, 2] {
        let filters = constant(4, &[6, 4 / groups, 2, 3]);
        let bias = Some(constant(5, &[6]));
        add("convolution", Convolution::new(filters, bias, window, groups).unwrap().into());
        let filters = constant(6, &[4, 6 / groups, 2, 3]);
        let bias = Some(constant(7, &[6]));
        let op = ConvolutionTransposed::new(filters, bias, window, groups, [5, 11]).unwrap();
        add("transposed convolution", op.into());
    }
    add("normalisation", ScaleShift::new(constant(8, &[4]), constant(9, &[4])).unwrap().into());
    add("max-pooling", MaxPool { window }.into());
    let dilated = Window::new([2, 2]).with_dilations([2, 3]).with_strides([2, 1]);
    add("dilated max-pooling", MaxPool { window: dilated }.into());
    add("average pooling", AveragePool { window, counted: [1, 0, 0, 2] }.into());
    for (axes, keep) in [(vec![0], true), (vec![1, 2], false), (vec![0, 1, 2], true)] {
        add("sum", Reduce { axes: axes.clone(), keep, mean: false }.into());
        add("mean", Reduce { axes: axes.clone(), keep, mean: true }.into());
        add("maximum", ReduceMax { axes, keep }.into());
    }
    // Slopes on both sides of 0 and of 1.
    let slopes = Constant::f64([4, 1, 1], vec![0.25, -0.5, 1.5, 1.0]).unwrap();
    add("PRelu", PRelu { slopes }.into());
    add("PRelu with one slope", PRelu { slopes: Constant::f64([1], vec![0.25]).unwrap() }.into());
    for reversed in [false, true] {
        for operation in [Arithmetic::Add, Arithmetic::Sub, Arithmetic::Mul, Arithmetic::Max, Arithmetic::Min]
        {
            let name = format!("{operation:?} of a constant, reversed: {reversed}");
            add(&name, arithmetic(operation, constant(10, &[5, 1]), reversed));
            add(&format!("{name}, wide"), arithmetic(operation, constant(11, &[2, 1, 1, 6]), reversed));
        }
    }
    add("division", arithmetic(Arithmetic::Div, constant(12, &[6]), false));
    add("pad", Pad { before: vec![0, 1, -1], after: vec![2, 0, 1], value: -0.7 }.into());
    add("reshape", Reshape { shape: vec![8, 15] }.into());
    add("permutation", Permute { order: vec![2, 0, 1] }.into());
    add("expansion", Expand { shape: vec![2, 4, 5, 6] }.into());
    add("selection", Select { axis: 1, indices: vec![3, 0, 3, 1] }.into());
    let (low, high, weight) = (vec![0, 1, 2, 4], vec![1, 2, 3, 4], vec![0.25, 0.5, 0.0, 1.0]);
    add("interpolation", Interpolate { axis: 2, low, high, weight }.into());
    all
}

/// A value over images: affine in the input, convex, concave, or neither.
fn value(builder: &mut Builder, x: NodeId, kind: &str, seed: u64, shape: &[usize]) -> NodeId {
    let length = shape.iter().product();
    let mut add = |name: &str, op: Op, below: NodeId| {
        builder.add(&format!("{name} {seed} of the value"), op, &[below]).unwrap()
    };
    let minus = arithmetic(Arithmetic::Mul, Constant::from(-1.0), false);
    let flat = match kind {
        "affine" => add("dense", dense(seed, 7, length).into(), x),
        "convex" | "concave" => {
            let below = add("dense", dense(seed, 7, length).into(), x);
            let relu = add("relu", Activation::Relu.into(), below);
            // Values on both sides of every kink.
            let shift = arithmetic(Arithmetic::Sub, Constant::from(0.4), false);
            let convex = add("shift", shift, relu);
            if kind == "convex" { convex } else { add("minus", minus, convex) }
        }
        _ => {
            let below = add("below", dense(seed, 7, 9).into(), x);
            let relu = add("relu", Activation::Relu.into(), below);
            add("dense", dense(seed + 5, 9, length).into(), relu)
        }
    };
    add("image", Reshape { shape: shape.to_vec() }.into(), flat)
}

/// What `f` adds on top of values of the kinds, under a layer that mixes, ReLU, and another one.
fn under(kinds: &[&str], shapes: &[&[usize]], f: impl FnOnce(&mut Builder, &[NodeId]) -> NodeId) -> Network {
    let mut builder = Network::builder();
    let x = builder.input("x", &[7]).unwrap();
    let values: Vec<NodeId> =
        (0..kinds.len()).map(|i| value(&mut builder, x, kinds[i], 30 + 100 * i as u64, shapes[i])).collect();
    let end = f(&mut builder, &values);
    let length: usize = builder.shape(end).iter().product();
    let flat = builder.add("flat", Reshape { shape: vec![length] }, &[end]).unwrap();
    let mix = builder.add("mix", dense(77, length, 5), &[flat]).unwrap();
    let relu = builder.add("relu", Activation::Relu, &[mix]).unwrap();
    let output = builder.add("output", dense(88, 5, 3), &[relu]).unwrap();
    builder.finish(&[output]).unwrap()
}

const KINDS: [&str; 4] = ["affine", "convex", "concave", "neither"];

/// Networks that are to be the difference of convex functions, by name.
fn table() -> Vec<(String, Network)> {
    let mut all = vec![];
    for (name, op) in operators() {
        for kind in KINDS {
            let network =
                under(&[kind], &[&IMAGE], |b, values| b.add("op", op.clone(), &[values[0]]).unwrap());
            all.push((format!("{name} of something {kind}"), network));
        }
    }
    let fixed = |b: &mut Builder, seed, shape: &[usize]| {
        // What does not depend on the input may be anything.
        let value = b.add("fixed", Fixed { value: constant(seed, shape) }, &[]).unwrap();
        b.add("tanh", Activation::Tanh, &[value]).unwrap()
    };
    for first in KINDS {
        for second in KINDS {
            let kinds = [first, second];
            for operation in [Arithmetic::Add, Arithmetic::Sub, Arithmetic::Max, Arithmetic::Min] {
                for shapes in [[&IMAGE[..], &[4, 5, 6]], [&[4, 1, 6], &[5, 1]]] {
                    let name = format!("{operation:?} of {kinds:?}, shapes {shapes:?}");
                    let network = under(&kinds, &shapes, |b, values| {
                        b.add("op", Branches { operation }, values).unwrap()
                    });
                    all.push((name, network));
                }
            }
            let network = under(&kinds, &[&[2, 3, 4], &[2, 1, 4]], |b, values| {
                let fixed = fixed(b, 20, &[2, 2, 4]);
                b.add("op", Concat { axis: 1 }, &[values[0], fixed, values[1]]).unwrap()
            });
            all.push((format!("{kinds:?} joined with a constant"), network));
        }
        let network = under(&[first], &[&[2, 3]], |b, values| {
            let fixed = fixed(b, 21, &[2, 1]);
            b.add("op", Branches { operation: Arithmetic::Max }, &[values[0], fixed]).unwrap()
        });
        all.push((format!("the larger of something {first} and a fixed value"), network));
    }
    all
}

fn dataset(rows: &Array2<f64>) -> Dataset {
    Dataset::from_array(rows.view()).unwrap()
}

/// Both parts, with pieces: values `[N, K]` of the network and of both parts, pieces, and how well they agree.
type Evaluation = ([Array2<f64>; 3], AffinePieces<f64>, Agreement);

fn evaluate<E: Engine>(
    engine: &E,
    network: &Network,
    difference: &Network,
    rows: &Array2<f64>,
) -> Evaluation {
    let parts = Difference::new(engine, network, difference).unwrap();
    let outputs: Vec<usize> = (0..parts.outputs()).collect();
    let mut values: [Vec<f64>; 3] = Default::default();
    let mut pieces: [Vec<f64>; 4] = Default::default();
    let wide = |into: &mut Vec<f64>, values: &[E::Scalar]| into.extend(values.iter().map(|v| v.f64()));
    let agreement = parts
        .evaluate(&dataset(rows), &outputs, true, &Context::default(), |chunk| {
            let found = chunk.pieces.unwrap();
            for (into, values) in values.iter_mut().zip([&chunk.value, &chunk.convex, &chunk.subtracted]) {
                wide(into, values);
            }
            let found = [
                &found.convex_slope,
                &found.subtracted_slope,
                &found.convex_offset,
                &found.subtracted_offset,
            ];
            pieces.iter_mut().zip(found).for_each(|(into, values)| wide(into, values));
            Ok(())
        })
        .unwrap();
    let values = values.map(|v| Array2::from_shape_vec((rows.nrows(), outputs.len()), v).unwrap());
    let [convex_slope, subtracted_slope, convex_offset, subtracted_offset] = pieces;
    let pieces = AffinePieces { convex_slope, subtracted_slope, convex_offset, subtracted_offset };
    (values, pieces, agreement)
}

fn segments<E: Engine>(
    engine: &E,
    network: &Network,
    difference: &Network,
    rows: &Array2<f64>,
    count: usize,
) -> Vec<Convexity> {
    let parts = Difference::new(engine, network, difference).unwrap();
    let k = parts.outputs();
    let halves = [(0..k).collect(), (k..2 * k).collect()];
    let context = Context::default().with_seed(3);
    convexity(parts.parts(), &halves, parts.roundings(), &dataset(rows), count, &context).unwrap()
}

/// Checks all that the parts of a network promise, in f64.
fn check(name: &str, network: &Network, rows: &Array2<f64>, count: usize) {
    let difference = network.convex_difference().unwrap_or_else(|e| panic!("{name}: {e}"));
    let engine = Cpu::<f64>::new();
    let (values, pieces, agreement) = evaluate(&engine, network, &difference, rows);
    assert!(agreement.holds(), "{name}: {agreement:?}");
    let slopes = agreement.slopes.as_ref().unwrap();
    assert_eq!(slopes.other_pieces, 0, "{name}: {agreement:?}");
    for half in segments(&engine, network, &difference, rows, count) {
        assert_eq!((half.segments, half.violations), (count, 0), "{name}: {half:?}");
    }
    // The active pieces hold the values where they are active, and support the parts elsewhere.
    let d = rows.ncols();
    let halves = [
        (&values[1], &pieces.convex_slope, &pieces.convex_offset),
        (&values[2], &pieces.subtracted_slope, &pieces.subtracted_offset),
    ];
    for (values, slopes, offsets) in halves {
        let k = values.ncols();
        let scale = values.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        for (piece, (slope, offset)) in slopes.chunks_exact(d).zip(offsets).enumerate() {
            let (at, output) = (piece / k, piece % k);
            for (row, x) in rows.rows().into_iter().enumerate() {
                let plane = offset + x.iter().zip(slope).map(|(x, s)| x * s).sum::<f64>();
                let above = (plane - values[[row, output]]) / scale;
                let bound = if row == at { above.abs() } else { above };
                assert!(
                    bound < EXACT,
                    "{name}: the piece at {at} is {above:e} above output {output} at {row}"
                );
            }
        }
    }
}

#[test]
fn every_rule_gives_convex_parts_and_the_same_network() {
    for (name, network) in table() {
        check(&name, &network, &random_rows(5, 12, 7), 40);
    }
}

#[test]
fn both_parts_of_every_node_are_there_to_be_cut_at() {
    let network = under(&["neither"], &[&IMAGE], |b, values| {
        let window = Window::new([2, 2]).with_strides([2, 2]);
        b.add("op", MaxPool { window }, &[values[0]]).unwrap()
    });
    let difference = network.convex_difference().unwrap();
    let rows = random_rows(6, 5, 7);
    let names: Vec<&str> = difference.outputs().map(|node| node.name()).collect();
    assert_eq!(names, ["output (convex)", "output (subtracted)"]);
    for node in &network.nodes()[1..] {
        let whole = jets(&network.cut(None, Some(node.name())).unwrap(), &rows);
        let [convex, subtracted] = Side::BOTH.map(|side| {
            let part = difference.find(&side.of(node.name())).ok()?;
            Some(jets(&difference.cut(None, Some(part.name())).unwrap(), &rows))
        });
        let (mut values, mut slopes) = convex.unwrap();
        if let Some((of_values, of_slopes)) = subtracted {
            values = values - of_values;
            slopes = slopes - of_slopes;
        }
        let values = relative_difference(values, whole.0.iter().copied());
        let slopes = relative_difference(slopes, whole.1.iter().copied());
        assert!(values < EXACT && slopes < EXACT, "{}: {values:e}, {slopes:e}", node.name());
    }
}

/// How many nodes of the network compute something with weights.
fn layers(network: &Network) -> usize {
    network.nodes().iter().filter(|node| matches!(node.op(), Some(Op::Dense(_)))).count()
}

#[test]
fn nothing_is_doubled_that_need_not_be() {
    let network = mlp(1, [7, 6, 3], Activation::Relu);
    let difference = network.convex_difference().unwrap();
    // The first layer as it is, the second on one part, the last on two.
    assert_eq!(layers(&difference), 1 + 2 + 4);
    assert!(difference.find("Relu2 (convex)").is_ok() && difference.find("Relu2 (subtracted)").is_err());
    assert_eq!(
        difference.find("Gemm3 (subtracted)").unwrap().value(),
        difference.find("Relu4 (subtracted)").unwrap().value(),
        "ReLU leaves what is subtracted as it is"
    );
    // Weights of one sign need one part.
    let mut builder = Network::builder();
    builder.input("x", &[7]).unwrap();
    builder.layer(dense(2, 7, 6)).unwrap();
    builder.layer(Activation::Relu).unwrap();
    let weights = constant(3, &[6, 3]).to::<f64>().iter().map(|w| w.abs()).collect();
    let weights = Constant::f64([6, 3], weights).unwrap();
    let end = builder.layer(Dense::new(weights, Some(constant(4, &[3]))).unwrap()).unwrap();
    let network = builder.finish(&[end]).unwrap();
    assert_eq!(layers(&network.convex_difference().unwrap()), 2);
    check("a convex network", &network, &random_rows(7, 9, 7), 50);
    // What is affine is all convex.
    let mut builder = Network::builder();
    builder.input("x", &[7]).unwrap();
    builder.layer(dense(5, 7, 6)).unwrap();
    let end = builder.layer(dense(6, 6, 3)).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let difference = network.convex_difference().unwrap();
    assert_eq!(difference.nodes().len(), network.nodes().len() + 1, "and zeros");
    check("an affine network", &network, &random_rows(8, 9, 7), 50);
    let ([_, _, subtracted], ..) = evaluate(&Cpu::<f64>::new(), &network, &difference, &random_rows(9, 4, 7));
    assert!(subtracted.iter().all(|&v| v == 0.0));
}

/// At kinks and ties, in numbers that do not round, values and slopes are the network's own to the bit.
#[test]
fn ties_go_where_the_network_lets_them_go() {
    let integers = |seed: u64, shape: &[usize]| {
        let values = random(seed, shape.iter().product()).iter().map(|v| (2.0 * v - 1.0).round()).collect();
        Constant::f64(shape, values).unwrap()
    };
    let layer = |seed, shape: [usize; 2]| Dense::new(integers(seed, &shape), None).unwrap();
    let rows = Array2::from_shape_vec((40, 5), integers(1, &[200]).to::<f64>()).unwrap();
    let ops: [(&str, Op); 8] = [
        ("ReLU", Activation::Relu.into()),
        ("the absolute value", Activation::Abs.into()),
        ("clipping", Activation::Clip { low: -1.0, high: 2.0 }.into()),
        ("PRelu", PRelu { slopes: Constant::f64([1], vec![-0.5]).unwrap() }.into()),
        ("max-pooling", MaxPool { window: Window::new([2, 2]) }.into()),
        ("a maximum over axes", ReduceMax { axes: vec![0, 2], keep: false }.into()),
        ("the larger of it and a constant", arithmetic(Arithmetic::Max, Constant::from(1.0), false)),
        ("the smaller of it and a constant", arithmetic(Arithmetic::Min, Constant::from(1.0), true)),
    ];
    let mut networks = vec![];
    for (name, op) in ops {
        for depth in [0, 1, 2] {
            let mut builder = Network::builder();
            let mut below = builder.input("x", &[5]).unwrap();
            let mut width = 5;
            for i in 0..depth {
                builder.layer(layer(10 + i, [width, 6])).unwrap();
                below = builder.layer(Activation::Relu).unwrap();
                width = 6;
            }
            below = builder.add("wide", layer(20, [width, 18]), &[below]).unwrap();
            below = builder.add("image", Reshape { shape: vec![2, 3, 3] }, &[below]).unwrap();
            let shifted = builder.add("other", Select { axis: 2, indices: vec![1, 0, 2] }, &[below]).unwrap();
            let mut both =
                |name: &str, operation, a, b| builder.add(name, Branches { operation }, &[a, b]).unwrap();
            let larger = both("larger", Arithmetic::Max, below, shifted);
            let smaller = both("smaller", Arithmetic::Min, below, larger);
            let sum = both("sum", Arithmetic::Sub, larger, smaller);
            let end = builder.add("op", op.clone(), &[sum]).unwrap();
            networks.push((format!("{name} at depth {depth}"), builder.finish(&[end]).unwrap()));
        }
    }
    for (name, network) in networks {
        let difference = network.convex_difference().unwrap();
        let (_, _, agreement) = evaluate(&Cpu::<f64>::new(), &network, &difference, &rows);
        let slopes = agreement.slopes.unwrap();
        let found = (agreement.difference, slopes.epsilons, slopes.other_pieces);
        assert_eq!(found, (0.0, 0.0, 0), "{name}");
    }
}

/// The checks themselves: they find functions that are not convex, and parts that are not the network's.
#[test]
fn broken_parts_are_found() {
    let network = mlp(1, [7, 12, 3], Activation::Relu);
    let rows = random_rows(2, 50, 7);
    let engine = Cpu::<f64>::new();
    // Weights not split by sign: the difference is right, the first part is not convex.
    let with_second = |second: &dyn Fn(&mut Builder, NodeId) -> NodeId| {
        let mut builder = Network::builder();
        let mut ids = vec![builder.input("x", &[7]).unwrap()];
        for node in &network.nodes()[1..] {
            let inputs: Vec<NodeId> = node.inputs().iter().map(|&i| ids[i]).collect();
            ids.push(builder.add(node.name(), node.op().unwrap().clone(), &inputs).unwrap());
        }
        let end = ids[ids.len() - 1];
        let second = second(&mut builder, end);
        builder.finish(&[end, second]).unwrap()
    };
    let zero = with_second(&|builder, end| {
        let nothing = arithmetic(Arithmetic::Mul, Constant::from(0.0), false);
        builder.add("nothing", nothing, &[end]).unwrap()
    });
    let (_, _, agreement) = evaluate(&engine, &network, &zero, &rows);
    assert!(agreement.holds());
    let halves = segments(&engine, &network, &zero, &rows, 1000);
    assert!(halves[0].violations > 100 && halves[0].excess > 1e-3, "{halves:?}");
    assert_eq!(halves[1].violations, 0, "zero is convex");
    // Parts that are off by a little.
    let little = with_second(&|builder, end| {
        let nothing = arithmetic(Arithmetic::Mul, Constant::from(0.0), false);
        let nothing = builder.add("nothing", nothing, &[end]).unwrap();
        let little = arithmetic(Arithmetic::Add, Constant::from(EXACT), false);
        builder.add("little", little, &[nothing]).unwrap()
    });
    let (_, _, agreement) = evaluate(&engine, &network, &little, &rows);
    assert!(!agreement.holds() && agreement.slopes.as_ref().unwrap().other_pieces == 0, "{agreement:?}");
    // A plane moved aside at one kink is another piece.
    let bent = with_second(&|builder, end| {
        let bent = builder.add("bent", Activation::Relu, &[end]).unwrap();
        let little = arithmetic(Arithmetic::Mul, Constant::from(1e-9), false);
        builder.add("little", little, &[bent]).unwrap()
    });
    let (_, _, agreement) = evaluate(&engine, &network, &bent, &rows);
    assert!(agreement.slopes.as_ref().unwrap().other_pieces > 0, "{agreement:?}");
    let wrong = Difference::new(&engine, &network, &network).err().unwrap().to_string();
    assert!(wrong.contains("have 6 outputs of 7 inputs, not 3 of 7"), "{wrong}");
}

#[test]
fn results_do_not_depend_on_memory() {
    let network = mlp(1, [7, 12, 3], Activation::Relu);
    let difference = network.convex_difference().unwrap();
    let parts = Difference::new(&Cpu::<f64>::new(), &network, &difference).unwrap();
    let data = dataset(&random_rows(2, 50, 7));
    let scratch = parts.parts().scratch_bytes();
    let found = [1 << 30, scratch + (20 << 10)].map(|memory| {
        let context = Context::default().with_memory(memory);
        let halves = [vec![0, 2], vec![4]];
        let convex = convexity(parts.parts(), &halves, 1, &data, 500, &context).unwrap();
        (convex, parts.growth(&data, &context).unwrap())
    });
    assert_eq!(found[0], found[1]);
    let context = Context::default();
    let one = dataset(&random_rows(2, 1, 7));
    let error = convexity(parts.parts(), &[vec![0]], 1, &one, 5, &context).unwrap_err().to_string();
    assert!(error.contains("two rows"), "{error}");
    assert!(convexity(parts.parts(), &[vec![6]], 1, &data, 5, &context).is_err());
}

#[test]
fn parts_grow_with_depth() {
    let mut builder = Network::builder();
    builder.input("x", &[7]).unwrap();
    for i in 0..5 {
        builder.layer(dense(10 * i, 7, 7)).unwrap();
        builder.layer(Activation::Relu).unwrap();
    }
    let end = builder.layer(dense(99, 7, 3)).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let difference = network.convex_difference().unwrap();
    let parts = Difference::new(&Cpu::<f64>::new(), &network, &difference).unwrap();
    let rows = random_rows(1, 30, 7);
    let growth = parts.growth(&dataset(&rows), &Context::default()).unwrap();
    let layers: Vec<f64> = growth.iter().filter(|row| row.operator == "Gemm").map(|row| row.growth).collect();
    assert_eq!((growth.len(), layers.len(), layers[0]), (11, 6, 1.0));
    assert!(layers.windows(2).all(|pair| pair[0] < pair[1]), "{layers:?}");
    // Against the values themselves.
    let (values, _) = jets(&network, &rows);
    let rms = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
    assert!((growth[10].value - rms).abs() < EXACT * growth[10].parts, "{:?}", growth[10]);
}

#[test]
fn engines_agree() {
    let window = Window::new([2, 2]).with_strides([2, 2]);
    let network = under(&["neither", "convex"], &[&IMAGE, &IMAGE], |b, values| {
        let filters = Convolution::new(constant(1, &[3, 4, 3, 3]), None, Window::new([3, 3]), 1).unwrap();
        let sum = b.add("residual", Branches { operation: Arithmetic::Sub }, values).unwrap();
        let conv = b.add("conv", filters, &[sum]).unwrap();
        let scale = ScaleShift::new(constant(2, &[3]), constant(3, &[3])).unwrap();
        let scaled = b.add("bn", scale, &[conv]).unwrap();
        let bent = b.add("leaky", Activation::LeakyRelu { slope: 0.1 }, &[scaled]).unwrap();
        let padded = Pad { before: vec![0, 0, 0], after: vec![0, 1, 0], value: 0.5 };
        let padded = b.add("pad", padded, &[bent]).unwrap();
        b.add("pool", MaxPool { window }, &[padded]).unwrap()
    });
    let rows = random_rows(4, 20, 7);
    let difference = network.convex_difference().unwrap();
    let (reference, pieces, _) = evaluate(&Cpu::<f64>::new(), &network, &difference, &rows);
    let compare = |(values, found, agreement): Evaluation, engine: &str| {
        assert!(agreement.holds(), "{engine}: {agreement:?}");
        for (values, reference) in values.iter().zip(&reference) {
            let difference = relative_difference(values.iter().copied(), reference.iter().copied());
            assert!(difference < APPROXIMATE, "{engine}: {difference:e}");
        }
        let all = [
            (found.convex_slope, &pieces.convex_slope),
            (found.subtracted_slope, &pieces.subtracted_slope),
            (found.convex_offset, &pieces.convex_offset),
            (found.subtracted_offset, &pieces.subtracted_offset),
        ];
        for (values, reference) in all {
            let difference = relative_difference(values, reference.iter().copied());
            assert!(difference < APPROXIMATE, "{engine}: {difference:e}");
        }
    };
    compare(evaluate(&Cpu::<f32>::new(), &network, &difference, &rows), "the CPU in f32");
    let convex = segments(&Cpu::<f32>::new(), &network, &difference, &rows, 200);
    assert!(convex.iter().all(|half| half.violations == 0), "{convex:?}");
    if let Some(gpu) = gpu() {
        compare(evaluate(&gpu, &network, &difference, &rows), "the GPU");
        let convex = segments(&gpu, &network, &difference, &rows, 200);
        assert!(convex.iter().all(|half| half.violations == 0), "{convex:?}");
        let growth = |of: Vec<fenchel::difference::Growth>| of.into_iter().map(|row| row.parts);
        let (data, context) = (dataset(&rows), Context::default());
        let on_gpu = Difference::new(&gpu, &network, &difference).unwrap().growth(&data, &context).unwrap();
        let on_cpu = Difference::new(&Cpu::<f64>::new(), &network, &difference).unwrap();
        let on_cpu = on_cpu.growth(&data, &context).unwrap();
        assert!(relative_difference(growth(on_gpu), growth(on_cpu)) < APPROXIMATE);
    }
}

#[test]
fn what_has_no_rule_is_refused_by_name() {
    let refusal = |op: Op| {
        let network = under(&["convex"], &[&IMAGE], |b, values| b.add("op", op, &[values[0]]).unwrap());
        network.convex_difference().unwrap_err().to_string()
    };
    let ops: [(&str, Op); 9] = [
        ("Sigmoid", Activation::Sigmoid.into()),
        ("Gelu", Activation::Gelu.into()),
        ("HardSwish", Activation::HardSwish.into()),
        ("Pow", Activation::Power { exponent: 2.0 }.into()),
        ("Softmax", Softmax { axis: 0, log: false }.into()),
        ("LogSoftmax", Softmax { axis: 0, log: true }.into()),
        ("MeanVarianceNormalization", Standardize { axes: vec![0], epsilon: 1.0 }.into()),
        ("Div", arithmetic(Arithmetic::Div, Constant::from(1.0), true)),
        ("GreaterOrEqual", arithmetic(Arithmetic::AtLeast, Constant::from(1.0), false)),
    ];
    for (name, op) in ops {
        let text = refusal(op);
        assert!(
            text.contains("affine or continuous piecewise affine")
                && text.contains(&format!("{name} ('op')")),
            "{text}"
        );
    }
    let network = mlp(1, [7, 6, 3], Activation::Tanh);
    assert!(network.require("a test", Slot::ConvexDifference).is_err());
    let two = |op: Op, shapes: &[&[usize]]| {
        let network = under(&["convex", "affine"], shapes, |b, values| b.add("op", op, values).unwrap());
        network.convex_difference().unwrap_err().to_string()
    };
    for (name, operation) in
        [("Mul", Arithmetic::Mul), ("Div", Arithmetic::Div), ("GreaterOrEqual", Arithmetic::AtLeast)]
    {
        let text = two(Branches { operation }.into(), &[&IMAGE, &IMAGE]);
        assert!(text.contains(&format!("{name} ('op')")), "{text}");
    }
    let text = two(Product.into(), &[&[2, 3], &[3, 4]]);
    assert!(text.contains("MatMul ('op')"), "{text}");
    let by_zero = arithmetic(Arithmetic::Div, Constant::from(0.0), false);
    assert!(refusal(by_zero).contains("infinity"));
}

/// The first rows of a golden file's inputs.
fn golden(path: &Path, rows: usize) -> Array2<f64> {
    let options = ReadOptions { key: Some("x".to_owned()), ..ReadOptions::default() };
    let data = Dataset::open(path, &options).unwrap();
    data.rows::<f64>(0..data.len().min(rows)).unwrap()
}

#[test]
fn shipped_networks_are_differences_of_convex_functions() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for name in ["digits_relu", "digits_cnn", "moons"] {
        let network = load(&assets.join(format!("{name}.onnx")), &LoadOptions::default()).unwrap().network;
        let rows = golden(&assets.join(format!("golden/{name}.npz")), 20);
        check(name, &network, &rows, 10_000);
    }
    let smooth = load(&assets.join("digits_gelu.onnx"), &LoadOptions::default()).unwrap().network;
    assert!(smooth.convex_difference().unwrap_err().to_string().contains("Gelu"));
}

#[test]
fn published_networks_are_differences_of_convex_functions() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.join("models").is_dir() {
        eprintln!("skipped: there is no folder {}", data.join("models").display());
        return;
    }
    let model = |name: &str| {
        load(&data.join(format!("models/{name}.onnx")), &LoadOptions::default()).unwrap().network
    };
    let names =
        ["ACASXU_run2a_1_1_batch_2000", "Convnet_maxpool", "mnist-net_256x4", "resnet_2b", "cifar10_medium"];
    for name in names {
        let rows = golden(&data.join(format!("golden/{name}.npz")), 6);
        check(name, &model(name), &rows, 300);
        assert_eq!(rows.len_of(Axis(0)), 6);
    }
    let refusal = model("ffnnSIGMOID__Point_6x200").convex_difference().unwrap_err().to_string();
    assert!(refusal.contains("Sigmoid"), "{refusal}");
}

/// Smooth networks have no such form; with splines in the place of their activations they do.
#[test]
fn splined_networks_are_differences_of_convex_ones() {
    let smooth = mlp(3, [4, 9, 3], Activation::Gelu);
    assert!(smooth.convex_difference().is_err());
    let rows = random_rows(5, 60, 4);
    let layers = Layers::measure(&smooth, &Cpu::<f64>::new(), &dataset(&rows), &Context::default()).unwrap();
    let splined = layers.splined(&layers.splines(6).unwrap()).unwrap();
    check("GELU, splined", &splined, &rows, 500);
}
