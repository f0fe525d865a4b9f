//! Activations as splines: knots, errors and tables against what is known of the best; networks of them on every
//! engine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::{Path, PathBuf};

use common::{ACTIVATIONS, OF_POSITIVE, gpu, jets, mlp, random, random_rows};
use fenchel::activation::{Activation, ConvexSplit, PiecewiseAffine};
use fenchel::data::{Dataset, Normalization, ReadOptions};
use fenchel::engine::{Arithmetic, Context, Cpu, Engine};
use fenchel::maso::{Layers, SplinedActivation};
use fenchel::network::onnx::{self, LoadOptions};
use fenchel::network::operators::{ArithmeticConstant, Branches};
use fenchel::network::{Constant, Kind, Network, Slot};
use fenchel::report::{LayerRow, LayerSweep, dominant};
use fenchel::tolerance::{CLOSE, relative_difference};

/// How far apart errors that should be equal may be.
const EQUAL: f64 = 1e-9;

fn spline(activation: Activation, range: [f64; 2], pieces: usize) -> SplinedActivation {
    SplinedActivation::new(activation, range, pieces).unwrap()
}

/// The largest distance from the activation on a fine grid.
fn on_a_grid(spline: &SplinedActivation, steps: u32) -> f64 {
    let [low, high] = spline.range;
    let at = |i: u32| low + (high - low) * f64::from(i) / f64::from(steps);
    let error = |u: f64| (spline.sum.value(u) - spline.activation.derivative(0, u)).abs();
    (0..=steps).map(|i| error(at(i))).fold(0.0, f64::max)
}

/// A part's errors at knots and at the farthest points between them, ascending.
fn extremes(split: &ConvexSplit, part: &PiecewiseAffine, convex: bool, [low, high]: [f64; 2]) -> Vec<f64> {
    let value = |u: f64| if convex { split.values(u).0 } else { split.values(u).1 };
    let ends: Vec<f64> = [&[low], part.knots(), &[high]].concat();
    let mut found = vec![part.value(low) - value(low)];
    for pair in ends.windows(2) {
        let line = part.table()[part.piece(pair[1])];
        let distance = |u: f64| line.value_at(u) - value(u);
        // The part bends one way: its distance from a line has one extreme.
        let sign = if convex { 1.0 } else { -1.0 };
        let (mut from, mut to) = (pair[0], pair[1]);
        for _ in 0..200 {
            let (a, b) = (from + (to - from) / 3.0, to - (to - from) / 3.0);
            if sign * distance(a) < sign * distance(b) { from = a } else { to = b }
        }
        found.push(distance(f64::midpoint(from, to)));
        found.push(distance(pair[1]));
    }
    found
}

#[test]
fn a_square_has_the_known_error() {
    let square = Activation::Power { exponent: 2.0 };
    for pieces in [1, 2, 3, 7, 50] {
        let spline = spline(square, [0.0, 1.0], pieces);
        let known = 1.0 / (8.0 * (pieces * pieces) as f64);
        assert!((spline.error - known).abs() < 1e-12, "{pieces} pieces: {} is not {known}", spline.error);
        assert_eq!(spline.convex.table().len(), pieces);
        for (i, knot) in spline.sum.knots().iter().enumerate() {
            assert!((knot - (i + 1) as f64 / pieces as f64).abs() < EQUAL, "{knot}");
        }
    }
}

#[test]
fn errors_alternate_and_are_equal() {
    for (activation, range) in [
        (Activation::Sigmoid, [-9.0, 6.0]),
        (Activation::Tanh, [-2.0, 5.0]),
        (Activation::Softplus, [-7.0, 8.0]),
        (Activation::Exp, [-1.0, 3.0]),
        (Activation::Elu { alpha: 0.7 }, [-6.0, 2.0]),
        (Activation::Log, [0.01, 5.0]),
        (Activation::Sqrt, [0.0, 3.0]),
    ] {
        for pieces in [3, 8, 33] {
            let spline = spline(activation, range, pieces);
            let split = spline.split.as_ref().unwrap();
            let mut worst = 0.0_f64;
            for (part, convex) in [(&spline.convex, true), (&spline.concave, false)] {
                let found = extremes(split, part, convex, range);
                let largest = found.iter().fold(0.0_f64, |m, e| m.max(e.abs()));
                let scale = 1.0 + range[1].abs();
                worst = worst.max(largest);
                if largest < EQUAL {
                    continue;
                }
                // What is kept exactly has no error; all else has the same, with alternating signs.
                let bends: Vec<f64> = found.into_iter().filter(|e| e.abs() > 0.5 * largest).collect();
                assert!(bends.len() >= 2 * (pieces - 1), "{activation:?} {pieces}: {bends:?}");
                assert!(part.table().len() == pieces, "{activation:?}: {} pieces", part.table().len());
                for (i, error) in bends.iter().enumerate() {
                    assert!(
                        (error.abs() - largest).abs() < EQUAL * scale,
                        "{activation:?} {pieces}: {bends:?}"
                    );
                    assert!(i == 0 || error.signum() != bends[i - 1].signum(), "{activation:?}: {bends:?}");
                }
            }
            assert!((worst - spline.error).abs() < EQUAL, "{activation:?} {pieces}: {worst}");
        }
    }
}

/// Every activation, over a range with all that is special about it.
fn everywhere() -> impl Iterator<Item = (Activation, [f64; 2])> {
    let of_all = ACTIVATIONS.into_iter().map(|activation| (activation, [-7.5, 6.0]));
    of_all.chain(OF_POSITIVE.into_iter().map(|activation| (activation, [0.05, 4.0])))
}

#[test]
fn splines_are_continuous_and_their_errors_are_what_they_say() {
    for (activation, range) in everywhere() {
        for pieces in [1, 2, 3, 5, 16] {
            let spline = spline(activation, range, pieces);
            let scale = (0..=20).map(|i| range[0] + f64::from(i) * (range[1] - range[0]) / 20.0);
            let scale = scale.map(|u| activation.derivative(0, u).abs()).fold(1.0, f64::max);
            for (which, part) in [&spline.convex, &spline.concave, &spline.sum].into_iter().enumerate() {
                assert!(which == 2 || part.table().len() <= pieces, "{activation:?}");
                for (i, &knot) in part.knots().iter().enumerate() {
                    let [below, above] = [part.table()[i], part.table()[i + 1]];
                    let gap = (below.value_at(knot) - above.value_at(knot)).abs();
                    assert!(gap < 1e-10 * scale, "{activation:?} {pieces}: a gap of {gap} at {knot}");
                    let turn = above.slope - below.slope;
                    let turned = if which == 0 { turn } else { -turn };
                    assert!(which == 2 || turned > -1e-9 * scale, "{activation:?} {pieces}: turns at {knot}");
                }
            }
            let grid = on_a_grid(&spline, 20_000);
            let least = 0.95 * grid - 1e-9 * scale;
            assert!(
                grid <= spline.error + 1e-10 * scale && spline.error >= least,
                "{activation:?}, {pieces} pieces: {} but {grid} on a grid",
                spline.error
            );
        }
    }
}

/// Narrow, wide, far and one-sided ranges: nothing panics, what is said of the error is true, and more pieces are no
/// worse, once there are enough for the lines.
#[test]
fn any_range_has_a_spline() {
    let numbers = random(17, 2000);
    let all: Vec<Activation> = everywhere().map(|(activation, _)| activation).collect();
    for (case, &activation) in all.iter().cycle().take(1000).enumerate() {
        let positive = OF_POSITIVE.contains(&activation);
        let [center, width] = [numbers[2 * case], numbers[2 * case + 1]];
        let width = 10_f64.powf(3.0 * (width - 1.0));
        let low = if positive { 10_f64.powf(2.0 * center - 3.0) } else { 6.0 * (center - 0.5) - width / 2.0 };
        let range = [low, low + width];
        if matches!(activation, Activation::Sin | Activation::Cos) && width > 20.0 {
            continue;
        }
        let mut last = f64::INFINITY;
        for pieces in [1, 2, 5, 9, 24] {
            let spline = spline(activation, range, pieces);
            let values = (0..=50).map(|i| activation.derivative(0, low + width * f64::from(i) / 50.0).abs());
            let scale = values.fold(1e-3, f64::max) + range.iter().fold(0.0_f64, |m, u| m.max(u.abs()));
            let grid = on_a_grid(&spline, 500);
            let name = format!("{activation:?} on {range:?}, {pieces} pieces");
            assert!(grid <= spline.error + 1e-11 * scale, "{name}: {} but {grid} on a grid", spline.error);
            assert!(
                pieces < 9 || spline.error <= 1.01 * last + 1e-11 * scale,
                "{name}: {} after {last}",
                spline.error
            );
            last = spline.error;
        }
    }
}

#[test]
fn twice_the_pieces_have_a_quarter_of_the_error() {
    for activation in [
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Mish,
        Activation::Erf,
        Activation::Softplus,
    ] {
        let errors: Vec<f64> =
            [16, 32, 64, 128].iter().map(|&p| spline(activation, [-6.0, 7.0], p).error).collect();
        for pair in errors.windows(2) {
            let ratio = pair[0] / pair[1];
            assert!((3.7..4.7).contains(&ratio), "{activation:?}: {errors:?}");
        }
    }
}

#[test]
fn no_knots_nearby_are_better() {
    // The best interior knots of three free pieces of exp on [0, 2], by trying them all.
    let found = spline(Activation::Exp, [0.0, 2.0], 3);
    let sag = |a: f64, b: f64| {
        let slope = (b.exp() - a.exp()) / (b - a);
        a.exp() + slope * (slope.ln() - a) - slope
    };
    let mut best = f64::INFINITY;
    for i in 1..400 {
        for j in i + 1..400 {
            let [k, l] = [i, j].map(|i| f64::from(i) / 200.0);
            best = best.min(sag(0.0, k).max(sag(k, l)).max(sag(l, 2.0)) / 2.0);
        }
    }
    assert!(found.error <= best && found.error > 0.98 * best, "{} and {best}", found.error);
}

#[test]
fn what_is_piecewise_affine_stays_as_it_is() {
    for (activation, range) in [
        (Activation::Relu, [-3.0, 4.0]),
        (Activation::LeakyRelu { slope: 0.1 }, [-3.0, 4.0]),
        (Activation::Clip { low: -1.0, high: 2.0 }, [-3.0, 4.0]),
        (Activation::Abs, [-3.0, 4.0]),
        (Activation::HardSigmoid { alpha: 0.3, beta: 0.4 }, [-3.0, 4.0]),
    ] {
        assert!(on_a_grid(&spline(activation, range, 4), 20_000) < 1e-14, "{activation:?}");
    }
    // Outside the bend HardSwish is two lines.
    let swish = spline(Activation::HardSwish, [-10.0, 10.0], 6);
    assert_eq!([swish.sum.value(-8.0), swish.sum.value(9.0)], [0.0, 9.0]);
}

#[test]
fn ranges_of_one_point_and_of_hardly_more() {
    let point = spline(Activation::Sigmoid, [0.3, 0.3], 5);
    assert_eq!((point.sum.table().len(), point.error), (1, 0.0));
    assert_eq!(point.sum.value(0.3), Activation::Sigmoid.derivative(0, 0.3));
    assert_eq!(point.sum.slope(0.3), Activation::Sigmoid.derivative(1, 0.3));
    let narrow = spline(Activation::Gelu, [0.3, 0.3 + 1e-9], 64);
    assert!(narrow.error < 1e-15 && narrow.sum.table().len() < 4, "{}", narrow.error);
    let tail = spline(Activation::Sigmoid, [-900.0, 900.0], 64);
    assert!(tail.error < 1e-3 && tail.error > 1e-5, "{}", tail.error);
}

#[test]
fn impossible_splines_are_refused() {
    let refused = |activation, range, pieces| {
        SplinedActivation::new(activation, range, pieces).unwrap_err().to_string()
    };
    assert!(refused(Activation::Tanh, [0.0, 1.0], 0).contains("at least one piece"));
    assert!(refused(Activation::Tanh, [1.0, 0.0], 4).contains("no range"));
    assert!(refused(Activation::Tanh, [f64::NAN, 0.0], 4).contains("no range"));
    assert!(refused(Activation::Power { exponent: -1.0 }, [-1.0, 2.0], 4).contains("a pole"));
    assert!(refused(Activation::Log, [-1.0, 2.0], 4).contains("no finite value at -1"));
    assert!(refused(Activation::Log, [0.0, 2.0], 4).contains("no finite value at 0"));
    assert!(refused(Activation::Exp, [0.0, 1e4], 4).contains("no finite value"));
    assert!(refused(Activation::Sin, [0.0, 1e9], 4).contains("inflections"));
    assert!(refused(Activation::Sin, [0.1, 100.0], 15).contains("31 times between 0.1 and 100"));
    assert!(spline(Activation::Sin, [0.1, 100.0], 200).error < 0.02);
}

fn measured<E: Engine>(engine: &E, network: &Network, data: &Dataset) -> Layers {
    Layers::measure(network, engine, data, &Context::default()).unwrap()
}

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

fn digits() -> Dataset {
    let normalization = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
    Dataset::open(&asset("digits.npz"), &ReadOptions { key: None, normalization }).unwrap()
}

#[test]
fn splined_networks_are_affine_in_each_piece() {
    let smooth = mlp(3, [4, 9, 3], Activation::Gelu);
    let x = random_rows(5, 200, 4);
    let data = Dataset::from_array(x.view()).unwrap();
    let layers = measured(&Cpu::<f64>::new(), &smooth, &data);
    assert_eq!(layers.layers.len(), 2);
    assert_eq!(layers.smooth(), Vec::<String>::new());
    let splined = layers.splined(&layers.splines(6).unwrap()).unwrap();
    assert_eq!((smooth.kind(), splined.kind()), (Kind::Smooth, Kind::PiecewiseAffine));
    splined.require("a test", Slot::AffinePieces).unwrap();
    let step = random_rows(6, 200, 4).mapv(|v| 1e-5 * v);
    // How many points are no farther from their tangent than rounding.
    let exact = |network: &Network| {
        let (value, jacobian) = jets(network, &x);
        let (moved, _) = jets(network, &(&x + &step));
        let is_exact = |n: usize| {
            let along = jacobian.index_axis(ndarray::Axis(0), n).dot(&step.row(n));
            (0..3).all(|k| (moved[[n, k]] - value[[n, k]] - along[k]).abs() < 1e-14)
        };
        (0..200).filter(|&n| is_exact(n)).count()
    };
    assert!(exact(&splined) > 190 && exact(&smooth) < 10, "{} and {}", exact(&splined), exact(&smooth));
}

#[test]
fn ranges_are_those_of_the_inputs_whatever_the_memory() {
    let network = mlp(7, [4, 9, 3], Activation::Tanh);
    let x = random_rows(8, 77, 4);
    let data = Dataset::from_array(x.view()).unwrap();
    let engine = Cpu::<f64>::new();
    let layers = measured(&engine, &network, &data);
    for layer in &layers.layers {
        let input = layers.network.nodes()[layers.network.nodes()[layer.node].inputs()[0]].name();
        let program = network.cut(None, Some(input)).unwrap().compile(&engine).unwrap();
        let values = program.values(x.view(), &Context::default()).unwrap();
        let ends = [f64::min, f64::max].map(|f| values.iter().copied().reduce(f).unwrap());
        assert_eq!(layer.range, ends, "{}", layer.name);
    }
    let program = network.compile(&engine).unwrap();
    let little = Context::default().with_memory(program.scratch_bytes() + 5 * program.bytes_per_sample(None));
    let again = Layers::measure(&network, &engine, &data, &little).unwrap();
    assert_eq!(again.layers, layers.layers);
}

#[test]
fn gated_inputs_are_one_activation_and_products_stay_smooth() {
    let mut builder = Network::builder();
    let x = builder.input("x", &[3]).unwrap();
    let gate = builder.add("gate", Activation::Sigmoid, &[x]).unwrap();
    let product = Branches { operation: Arithmetic::Mul };
    let silu = builder.add("silu", product.clone(), &[x, gate]).unwrap();
    let silu_alone = builder.add("other", Activation::Tanh, &[silu]).unwrap();
    let mixed = builder.add("mixed", product, &[silu, silu_alone]).unwrap();
    let network = builder.finish(&[mixed]).unwrap();
    let data = Dataset::from_array(random_rows(9, 20, 3).view()).unwrap();
    let layers = measured(&Cpu::<f64>::new(), &network, &data);
    let found: Vec<_> = layers.layers.iter().map(|layer| (&layer.name[..], layer.activation)).collect();
    assert_eq!(found, [("silu", Activation::Silu), ("other", Activation::Tanh)]);
    assert_eq!(layers.smooth(), ["mixed"]);
    assert_eq!(layers.splined(&layers.splines(4).unwrap()).unwrap().kind(), Kind::Smooth);
    let relu = mlp(3, [4, 9, 3], Activation::Relu);
    let data = Dataset::from_array(random_rows(9, 20, 4).view()).unwrap();
    let refused = Layers::measure(&relu, &Cpu::<f64>::new(), &data, &Context::default()).unwrap_err();
    assert!(refused.to_string().contains("piecewise affine as it stands"), "{refused}");
}

/// As exporters write it: the half behind the product, or at either factor.
#[test]
fn gelu_as_a_product_is_one_activation() {
    let number = |value: f64| Constant::f32([1], vec![value as f32]).unwrap();
    let with = |operation, value| ArithmeticConstant { operation, constant: number(value), reversed: false };
    let product = Branches { operation: Arithmetic::Mul };
    for form in 0..3 {
        for sqrt in [std::f64::consts::SQRT_2, 1.4] {
            let mut builder = Network::builder();
            let x = builder.input("x", &[3]).unwrap();
            let scaled = builder.add("scaled", with(Arithmetic::Div, sqrt), &[x]).unwrap();
            let erf = builder.add("erf", Activation::Erf, &[scaled]).unwrap();
            let mut gate = builder.add("gate", with(Arithmetic::Add, 1.0), &[erf]).unwrap();
            let mut factor = x;
            match form {
                0 => gate = builder.add("half", with(Arithmetic::Mul, 0.5), &[gate]).unwrap(),
                1 => factor = builder.add("half", with(Arithmetic::Div, 2.0), &[x]).unwrap(),
                _ => {}
            }
            let mut end = builder.add("product", product.clone(), &[gate, factor]).unwrap();
            if form == 2 {
                end = builder.add("end", with(Arithmetic::Mul, 0.5), &[end]).unwrap();
            }
            let network = builder.finish(&[end]).unwrap();
            let x = random_rows(9, 20, 3);
            let layers = measured(&Cpu::<f64>::new(), &network, &Dataset::from_array(x.view()).unwrap());
            let found: Vec<Activation> = layers.layers.iter().map(|layer| layer.activation).collect();
            if sqrt == 1.4 {
                assert_eq!((found, layers.smooth()), (vec![Activation::Erf], vec!["product".to_owned()]));
                continue;
            }
            assert_eq!((found, layers.smooth()), (vec![Activation::Gelu], vec![]), "form {form}");
            let (values, _) = jets(&network, &x);
            let (merged, _) = jets(&layers.network, &x);
            let difference = relative_difference(merged.iter().copied(), values.iter().copied());
            assert!(difference < 1e-7, "form {form}: {difference:e}");
        }
    }
}

#[test]
fn layers_are_refused_by_name() {
    let mut builder = Network::builder();
    builder.input("x", &[2]).unwrap();
    let end = builder.layer(Activation::Power { exponent: -1.0 }).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let data = Dataset::from_array(ndarray::arr2(&[[-1.0, 2.0], [0.5, 1.0]]).view()).unwrap();
    let layers = measured(&Cpu::<f64>::new(), &network, &data);
    let refused = layers.splines(4).unwrap_err().to_string();
    assert!(refused.contains("Pow ('Pow1')") && refused.contains("between -1 and 2"), "{refused}");
    assert!(layers.replaced(&[(1, &spline(Activation::Tanh, [0.0, 1.0], 2).sum)]).is_err());
}

/// The rows of all layers together, and every row.
fn rows<E: Engine>(
    engine: &E,
    network: &Network,
    (data, points): (&Dataset, &Dataset),
    pieces: &[usize],
) -> (Vec<LayerRow>, Vec<LayerRow>) {
    let context = Context::default();
    let layers = measured(engine, network, data);
    let outputs: Vec<usize> = (0..10).collect();
    let sweep = LayerSweep { engine, layers: &layers, outputs: &outputs, points, labels: None };
    let truth = sweep.truth(&context).unwrap();
    let rows = pieces.iter().flat_map(|&pieces| {
        let splines = layers.splines(pieces).unwrap();
        sweep.rows(pieces, &splines, &truth, &context).unwrap()
    });
    let rows: Vec<LayerRow> = rows.collect();
    (rows.iter().filter(|row| row.is_of_all()).cloned().collect(), rows)
}

fn digits_agree<E: Engine>(engine: &E) {
    let model = onnx::load(&asset("digits_gelu.onnx"), &LoadOptions::default()).unwrap();
    let (train, test) = (digits().select_range(0..600).unwrap(), digits().select_range(1400..1797).unwrap());
    let (all, every) = rows(engine, &model.network, (&train, &test), &[8, 16, 32, 64]);
    for pair in all.windows(2) {
        let ratio = pair[0].relative_rmse / pair[1].relative_rmse;
        assert!((3.5..5.5).contains(&ratio), "{all:?}");
    }
    assert_eq!(all[3].agreement, Some(1.0));
    assert!(all[3].relative_rmse < 1e-4, "{all:?}");
    assert_eq!(every.len(), 12);
    let (reference, _) = rows(&Cpu::<f64>::new(), &model.network, (&train, &test), &[8, 16, 32, 64]);
    for (row, reference) in all.iter().zip(&reference) {
        let difference = (row.relative_rmse - reference.relative_rmse).abs();
        assert!(difference < CLOSE, "{row:?} but {reference:?}");
    }
    let dominant: Vec<&str> = dominant(&every).iter().map(|row| &row.layer[..]).collect();
    assert_eq!(dominant, ["gelu1"; 4]);
}

#[test]
fn errors_of_digits_fall_by_four_on_the_cpu() {
    digits_agree(&Cpu::<f32>::new());
}

#[test]
fn errors_of_digits_fall_by_four_on_the_gpu() {
    if let Some(gpu) = gpu() {
        digits_agree(&gpu);
    }
}

#[test]
fn a_deep_sigmoid_network_is_splined() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let model = data.join("models/ffnnSIGMOID__Point_6x200.onnx");
    if !model.exists() {
        eprintln!("skipped: there is no {}", model.display());
        return;
    }
    let network = onnx::load(&model, &LoadOptions::default()).unwrap().network;
    let normalization = Normalization { scale: Some(1.0 / 255.0), ..Normalization::default() };
    let options = ReadOptions { key: None, normalization };
    let open = |name: &str, count| {
        let all = Dataset::open(&data.join("mnist").join(name), &options).unwrap();
        all.select_range(0..count).unwrap()
    };
    let train = open("train-18k-images-idx3-ubyte.gz", 2000);
    let test = open("t10k-images-idx3-ubyte.gz", 500);
    let (all, _) = rows(&Cpu::<f32>::new(), &network, (&train, &test), &[8, 16, 32, 64]);
    for pair in all.windows(2) {
        let ratio = pair[0].relative_rmse / pair[1].relative_rmse;
        assert!((3.3..5.5).contains(&ratio), "{all:?}");
    }
    assert!(all[3].agreement == Some(1.0) && all[3].relative_rmse < 5e-4, "{all:?}");
}
