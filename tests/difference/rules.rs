//! Every rule of the table on every kind of pair.

use fenchel::difference::Difference;
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Window};
use fenchel::network::operators::{
    AveragePool, Branches, Concat, Convolution, ConvolutionTransposed, Dense, Expand, Fixed, Interpolate,
    MaxPool, PRelu, Pad, Permute, Product, Reduce, ReduceMax, Reshape, ScaleShift, Select, Softmax,
    Standardize,
};
use fenchel::network::{Builder, Constant, Network, NodeId, Op, Side, Slot};
use fenchel::tolerance::{APPROXIMATE, EXACT, relative_difference};

use super::common::{dense, gpu, jets, mlp, random_rows};
use super::{Evaluation, arithmetic, check, constant, dataset, evaluate, segments, value};

const IMAGE: [usize; 3] = [4, 5, 6];

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
