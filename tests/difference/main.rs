//! Networks as differences of convex functions: every rule of the table on every kind of pair, both engines, what is
//! refused, and networks as people publish them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod networks;
mod rules;

use common::{dense, jets, mlp, random, random_rows};
use fenchel::Scalar;
use fenchel::data::Dataset;
use fenchel::difference::{AffinePieces, Agreement, Convexity, Difference, convexity};
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Engine, Window};
use fenchel::network::operators::{
    ArithmeticConstant, Branches, Dense, MaxPool, PRelu, ReduceMax, Reshape, Select,
};
use fenchel::network::{Builder, Constant, Network, NodeId, Op};
use fenchel::tolerance::EXACT;
use ndarray::Array2;

/// Numbers of both signs.
fn constant(seed: u64, shape: &[usize]) -> Constant {
    let values = random(seed, shape.iter().product()).iter().map(|v| v - 0.4).collect();
    Constant::f64(shape, values).unwrap()
}

fn arithmetic(operation: Arithmetic, constant: Constant, reversed: bool) -> Op {
    ArithmeticConstant { operation, constant, reversed }.into()
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
