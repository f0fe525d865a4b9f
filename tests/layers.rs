//! Activations as splines: knots, errors and tables against what is known of the best; networks of them on every
//! engine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{ACTIVATIONS, OF_POSITIVE};
use fenchel::activation::{Activation, ConvexSplit, PiecewiseAffine};
use fenchel::maso::SplinedActivation;

/// How far apart errors that should be equal may be.
const EQUAL: f64 = 1e-9;

fn spline(activation: Activation, range: [f64; 2], pieces: usize) -> SplinedActivation {
    SplinedActivation::new(activation, range, pieces).unwrap()
}

/// The largest distance from the activation on a fine grid.
fn on_a_grid(spline: &SplinedActivation) -> f64 {
    let [low, high] = spline.range;
    let at = |i: u32| low + (high - low) * f64::from(i) / 20_000.0;
    let error = |u: f64| (spline.sum.value(u) - spline.activation.derivative(0, u)).abs();
    (0..=20_000).map(|i| error(at(i))).fold(0.0, f64::max)
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
            let grid = on_a_grid(&spline);
            let least = 0.95 * grid - 1e-9 * scale;
            assert!(
                grid <= spline.error + 1e-10 * scale && spline.error >= least,
                "{activation:?}, {pieces} pieces: {} but {grid} on a grid",
                spline.error
            );
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
        assert!(on_a_grid(&spline(activation, range, 4)) < 1e-14, "{activation:?}");
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
}
