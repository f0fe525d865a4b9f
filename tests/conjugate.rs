//! Discrete conjugates against analytic pairs, and their properties.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use fenchel::activation::Activation;
use fenchel::conjugate::{
    Grid, GridFunction, LegendreSpline, biconjugate, concave_biconjugate, concave_conjugate, conjugate,
    conjugate_of_points, infimal_convolution, moreau_envelope,
};
use fenchel::engine::{Context, Cpu, Curvature, SplineEngine};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, ArrayView2};
use proptest::prelude::*;

fn context() -> Context {
    Context::default()
}

fn cpu() -> Cpu<f64> {
    Cpu::new()
}

/// The largest error of a conjugate on `n` points of `[low, high]` at slopes of `[from, to]`, their number prime to `n`.
fn error(
    f: impl Fn(f64) -> f64,
    exact: impl Fn(f64) -> f64,
    [low, high]: [f64; 2],
    [from, to]: [f64; 2],
    n: usize,
) -> f64 {
    let grid = Grid::uniform(&[(low, high, n)]).unwrap();
    let f = GridFunction::sampled(grid, |x| f(x[0])).unwrap();
    let slopes = Grid::uniform(&[(from, to, 1009)]).unwrap();
    let found = conjugate(&cpu(), &f, &slopes, &context()).unwrap().function;
    let errors = slopes.points().zip(found.values()).map(|(s, v)| exact(s[0]) - v);
    errors.fold(0.0, |most: f64, error| {
        // A maximum over some points never exceeds that over all.
        assert!(error > -1e-12, "{error:e}");
        most.max(error)
    })
}

/// Where the function is smooth and the maximisers lie inside, the error is the square of the spacing.
#[test]
fn errors_of_analytic_pairs_fall_with_the_square_of_the_spacing() {
    type Function = fn(f64) -> f64;
    // The function and its conjugate, the domain and the slopes.
    type Known = (&'static str, [Function; 2], [[f64; 2]; 2]);
    let pairs: [Known; 6] = [
        ("x^2/2", [|x| x * x / 2.0, |s| s * s / 2.0], [[-3.0, 3.0], [-2.5, 2.5]]),
        (
            "3x^2 - x + 2",
            [|x| 3.0 * x * x - x + 2.0, |s| (s + 1.0).powi(2) / 12.0 - 2.0],
            [[-3.0, 3.0], [-9.0, 9.0]],
        ),
        // |x|^p / p and |s|^q / q with 1/p + 1/q = 1.
        ("|x|^3/3", [|x| x.abs().powi(3) / 3.0, |s| s.abs().powf(1.5) / 1.5], [[-3.0, 3.0], [-4.0, 4.0]]),
        ("x^4/4", [|x| x.powi(4) / 4.0, |s| s.abs().powf(4.0 / 3.0) * 0.75], [[-2.0, 2.0], [-5.0, 5.0]]),
        ("exp", [f64::exp, |s| s * s.ln() - s], [[-6.0, 3.0], [0.01, 15.0]]),
        (
            "log(1 + exp x)",
            [|x| x.exp().ln_1p(), |s| s * s.ln() + (1.0 - s) * (1.0 - s).ln()],
            [[-9.0, 9.0], [0.001, 0.999]],
        ),
    ];
    for (name, [f, exact], [domain, slopes]) in pairs {
        let errors = [65, 257, 1025, 4097].map(|n| error(f, exact, domain, slopes, n));
        for pair in errors.windows(2) {
            let order = (pair[0] / pair[1]).log(4.0);
            assert!((1.8..2.2).contains(&order), "{name}: {errors:?}, order {order}");
        }
        let bent = |x: f64| (f(x + 1e-4) - 2.0 * f(x) + f(x - 1e-4)) / 1e-8;
        let most = (0..=1000).map(|i| bent(domain[0] + (domain[1] - domain[0]) * f64::from(i) / 1000.0));
        let spacing = (domain[1] - domain[0]) / 4096.0;
        let bound = spacing * spacing / 8.0 * most.fold(0.0, f64::max);
        assert!(errors[3] <= bound * 1.01, "{name}: {:e} above h^2 f''/8 = {bound:e}", errors[3]);
    }
}

/// Kinks at points of the grid, and functions that are 0 on their domain, have exact conjugates.
#[test]
fn conjugates_of_polyhedral_functions_are_exact() {
    let off = |low: f64, high: f64| move |x: f64| if (low..=high).contains(&x) { 0.0 } else { f64::INFINITY };
    // The conjugate of |x| is the indicator of [-1, 1]; on [-4, 4] it goes on with slope 4.
    let indicator = |s: f64| 4.0 * (s.abs() - 1.0).max(0.0);
    assert!(error(f64::abs, indicator, [-4.0, 4.0], [-3.0, 3.0], 129) < 1e-12);
    // That of an indicator is the support function.
    let support = |s: f64| if s > 0.0 { 1.5 * s } else { -0.5 * s };
    assert!(error(off(-0.5, 1.5), support, [-4.0, 4.0], [-3.0, 3.0], 129) < 1e-12);
    // Of a single point: a linear function.
    assert!(error(off(0.99, 1.01), |s| s, [0.0, 2.0], [-3.0, 3.0], 3) < 1e-12);
}

#[test]
fn log_sum_exp_and_entropy_are_a_pair() {
    let pair = |n: usize| {
        let grid = Grid::uniform(&[(-8.0, 8.0, n), (-8.0, 8.0, n)]).unwrap();
        let f = GridFunction::sampled(grid, |x| (1.0 + x[0].exp() + x[1].exp()).ln()).unwrap();
        // The three shares are at least 0.05.
        let slopes = Grid::uniform(&[(0.05, 0.45, 23), (0.05, 0.45, 19)]).unwrap();
        let found = conjugate(&cpu(), &f, &slopes, &context()).unwrap().function;
        let entropy = |s: &[f64]| {
            let shares = [s[0], s[1], 1.0 - s[0] - s[1]];
            shares.iter().map(|p| p * p.ln()).sum::<f64>()
        };
        slopes.points().zip(found.values()).map(|(s, v)| entropy(&s) - v).fold(0.0, f64::max)
    };
    let errors = [33, 129, 513].map(pair);
    let order = (errors[0] / errors[2]).log(16.0);
    assert!((1.8..2.2).contains(&order), "{errors:?}, order {order}");
}

/// In every dimension and on every engine, against the formula.
#[test]
fn quadratics_in_one_to_four_dimensions_on_both_engines() {
    fn check<E: SplineEngine>(engine: &E) {
        for dimension in 1..=4 {
            let n = [0, 401, 101, 41, 17][dimension];
            let axis = |i: usize| (-3.0 - i as f64, 3.5, n + i);
            let grid = Grid::uniform(&(0..dimension).map(axis).collect::<Vec<_>>()).unwrap();
            let weight = |i: usize| 1.0 + i as f64;
            let quadratic = |x: Vec<f64>| x.iter().enumerate().map(|(i, x)| weight(i) * x * x / 2.0).sum();
            let f = GridFunction::sampled(grid.clone(), quadratic).unwrap();
            let slopes =
                Grid::uniform(&(0..dimension).map(|i| (-2.0, 1.5, 9 + i)).collect::<Vec<_>>()).unwrap();
            let found = conjugate(engine, &f, &slopes, &context()).unwrap();
            for (position, s) in slopes.points().enumerate() {
                let exact: f64 = s.iter().enumerate().map(|(i, s)| s * s / weight(i) / 2.0).sum();
                let spacing = |i: usize| (6.5 + i as f64) / (n + i - 1) as f64;
                let lacking: f64 = (0..dimension).map(|i| spacing(i).powi(2) * weight(i) / 8.0).sum();
                let error = exact - found.function.values()[position];
                assert!((-1e-4..=lacking + 1e-4).contains(&error), "{dimension}: {error} of {lacking}");
                let x = grid.point(found.maximisers[position] as usize);
                for (i, x) in x.iter().enumerate() {
                    assert!((x - s[i] / weight(i)).abs() <= spacing(i) / 2.0 + 1e-4, "{dimension}: {x}");
                }
            }
        }
    }
    check(&cpu());
    check(&Cpu::<f32>::new());
    if let Some(gpu) = common::gpu() {
        check(&gpu);
    }
}

#[test]
fn points_that_form_no_grid_are_compared_with_all_slopes() {
    fn check<E: SplineEngine>(engine: &E, most: f64) {
        let points = common::random_rows(1, 300, 3);
        let mut values = common::random(2, 300);
        values[17] = f64::INFINITY;
        let slopes = common::random_rows(3, 70, 3);
        let (found, maximisers) =
            conjugate_of_points(engine, points.view(), &values, slopes.view(), &context()).unwrap();
        let score = |n: usize, i: usize| slopes.row(n).dot(&points.row(i)) - values[i];
        let best = |n: usize| (0..300).max_by(|&i, &j| score(n, i).total_cmp(&score(n, j))).unwrap();
        assert!(relative_difference(found, (0..70).map(|n| score(n, best(n)))) < most);
        assert!((0..70).all(|n| maximisers[n] as usize == best(n)));
    }
    check(&cpu(), EXACT);
    if let Some(gpu) = common::gpu() {
        check(&gpu, CLOSE);
    }
    let empty: ArrayView2<'_, f64> = ArrayView2::from_shape((0, 3), &[]).unwrap();
    let none = conjugate_of_points(&cpu(), empty, &[], empty, &context());
    assert!(none.unwrap_err().to_string().contains("domain is empty"));
    let rows = Array2::from_elem((2, 1), f64::NAN);
    let wrong = conjugate_of_points(&cpu(), rows.view(), &[0.0; 2], rows.view(), &context());
    assert!(wrong.unwrap_err().to_string().contains("points: row 0"));
}

#[test]
fn an_envelope_is_what_a_hull_of_all_segments_says() {
    // Whatever lies above a segment between two others is lifted down to the lowest of these.
    let n = 60;
    let values = common::random(5, n);
    let grid = Grid::new(vec![(0..n).map(|i| (i as f64).powf(1.3)).collect()]).unwrap();
    let axis = grid.axes()[0].clone();
    let brute = |at: usize| {
        let mut lowest = values[at];
        for i in 0..at {
            for j in at + 1..n {
                let share = (axis[at] - axis[i]) / (axis[j] - axis[i]);
                lowest = lowest.min(values[i] * (1.0 - share) + values[j] * share);
            }
        }
        lowest
    };
    let f = GridFunction::new(grid, values.clone()).unwrap();
    // All slopes that an envelope can have.
    let mut slopes: Vec<f64> = (0..n)
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .map(|(i, j)| (values[i] - values[j]) / (axis[i] - axis[j]))
        .collect();
    slopes.sort_by(f64::total_cmp);
    slopes.dedup();
    let slopes = Grid::new(vec![slopes]).unwrap();
    let envelope = biconjugate(&cpu(), &f, &slopes, &context()).unwrap().function;
    assert!(relative_difference(envelope.values().to_vec(), (0..n).map(brute)) < EXACT);
    let concave = f.values().iter().map(|v| -v).collect();
    let concave = GridFunction::new(f.grid().clone(), concave).unwrap();
    let mirrored = Grid::new(vec![slopes.axes()[0].iter().rev().map(|s| -s).collect()]).unwrap();
    let above = concave_biconjugate(&cpu(), &concave, &mirrored, &context()).unwrap().function;
    let negated: Vec<f64> = above.values().iter().map(|v| -v).collect();
    assert!(relative_difference(negated, envelope.values().to_vec()) < EXACT);
}

#[test]
fn moreau_envelopes_of_the_absolute_value_are_huber_functions() {
    let grid = Grid::uniform(&[(-4.0, 4.0, 4001)]).unwrap();
    let f = GridFunction::sampled(grid.clone(), |x| x[0].abs()).unwrap();
    let at = Grid::uniform(&[(-3.0, 3.0, 301)]).unwrap();
    for lambda in [0.25, 0.5, 1.0] {
        let found = moreau_envelope(&cpu(), &f, lambda, &at, &context()).unwrap();
        for (i, x) in at.axes()[0].iter().enumerate() {
            let huber = if x.abs() <= lambda { x * x / 2.0 / lambda } else { x.abs() - lambda / 2.0 };
            let error = found.function.values()[i] - huber;
            assert!((-1e-12..2e-6 / lambda).contains(&error), "{lambda} {x}: {error:e}");
            let soft = x.signum() * (x.abs() - lambda).max(0.0);
            assert!((grid.axes()[0][found.proximal[i] as usize] - soft).abs() <= 1.001e-3);
        }
    }
    for lambda in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(moreau_envelope(&cpu(), &f, lambda, &at, &context()).is_err());
    }
}

#[test]
fn infimal_convolutions_of_quadratics_add_their_inverse_curvatures() {
    let grid = Grid::uniform(&[(-4.0, 4.0, 1601), (-4.0, 4.0, 33)]).unwrap();
    let quadratic = |a: f64| {
        GridFunction::sampled(grid.clone(), |x| a / 2.0 * x[0] * x[0] + if x[1] == 0.0 { 0.0 } else { 9e9 })
            .unwrap()
    };
    let slopes = Grid::uniform(&[(-8.0, 8.0, 1601), (-1.0, 1.0, 3)]).unwrap();
    let at = Grid::uniform(&[(-2.0, 2.0, 41), (0.0, 0.0, 1)]).unwrap();
    let found =
        infimal_convolution(&cpu(), &quadratic(2.0), &quadratic(6.0), &slopes, &at, &context()).unwrap();
    // 1 / (1/2 + 1/6)
    let exact = at.points().map(|x| 1.5 / 2.0 * x[0] * x[0]);
    assert!(relative_difference(found.values().to_vec(), exact) < 1e-4);
}

/// Slopes at which tangents touch give the tangents themselves, as the grid is refined: with the square of its spacing.
#[test]
fn grid_conjugation_meets_tangents() {
    let sigmoid = Activation::Sigmoid;
    let f = |x: f64| sigmoid.derivative(0, x);
    // Valid: |s''| is at most 0.0963.
    let c = 0.1;
    let anchors: Vec<f64> = (0..41).map(|i| -6.0 + 12.0 * f64::from(i) / 40.0).collect();
    let slope = |x: f64, sign: f64| sigmoid.derivative(1, x) + sign * c * x;
    let tangents = |sign: f64| {
        let mut slopes: Vec<f64> = anchors.iter().map(|&x| slope(x, sign)).collect();
        slopes.sort_by(f64::total_cmp);
        Grid::new(vec![slopes]).unwrap()
    };
    let slopes = [tangents(1.0), tangents(-1.0)];
    let points: Vec<f64> = common::random(3, 500).iter().map(|x| 3.0 * x).collect();
    let half = |x: f64, sign: f64| {
        let scores = anchors.iter().map(|&a| {
            let d = x - a;
            sign * (f(a) + sigmoid.derivative(1, a) * d) - c / 2.0 * d * d
        });
        sign * scores.fold(f64::MIN, f64::max)
    };
    let errors = [101, 401, 1601].map(|n| {
        let grid = Grid::uniform(&[(-8.137, 8.391, n)]).unwrap();
        let sampled = GridFunction::sampled(grid, |x| f(x[0])).unwrap();
        let curvature = Curvature::isotropic(c);
        let slopes = [&slopes[0], &slopes[1]];
        let spline = LegendreSpline::at_slopes(&cpu(), &sampled, curvature, slopes, &context()).unwrap();
        assert_eq!([spline.convex.conjugates.len(), spline.concave.conjugates.len()], [41, 41]);
        let found = spline.values(&cpu(), &points, &context()).unwrap();
        let mut most = 0.0_f64;
        for (i, &x) in points.iter().enumerate() {
            let [lower, upper] = [1.0, -1.0].map(|sign| half(x, sign));
            let pairs = [(found.lower[i], lower), (found.upper[i], upper)];
            most = pairs.iter().fold(most, |most, (a, b)| most.max((a - b).abs()));
            most = most.max((found.value[i] - f64::midpoint(lower, upper)).abs());
        }
        most
    });
    let order = (errors[0] / errors[2]).log(16.0);
    assert!((1.7..2.3).contains(&order), "{errors:?}, order {order}");
}

/// On a slice of a network with six inputs: as both grids are refined, both halves close in on the network.
#[test]
fn a_slice_of_a_network_becomes_a_spline_without_gradients() {
    use fenchel::spline::slice::Slice;
    let network = common::mlp(3, [6, 9, 2], Activation::Tanh);
    let points = common::random_rows(7, 3, 6);
    let rows: Vec<Vec<f64>> = points.rows().into_iter().map(|row| row.to_vec()).collect();
    let slice = Slice::through([&rows[0], &rows[1], &rows[2]]).unwrap();
    let program = network.compile(&cpu()).unwrap();
    let values = |points: &[[f64; 2]]| -> Vec<f64> {
        let rows: Vec<f64> = points.iter().flat_map(|[s, t]| slice.point(*s, *t)).collect();
        let rows = Array2::from_shape_vec((points.len(), 6), rows).unwrap();
        program.values(rows.view(), &context()).unwrap().column(1).to_vec()
    };
    let test: Vec<[f64; 2]> =
        common::random(9, 400).chunks(2).map(|p| [p[0] / 2.0 - 0.2, p[1] / 2.0 - 0.3]).collect();
    let truth = values(&test);
    let error = |n: usize, m: usize| {
        let grid = Grid::uniform(&[(-1.0, 1.0, n), (-1.0, 1.0, n)]).unwrap();
        let at: Vec<[f64; 2]> = grid.points().map(|p| [p[0], p[1]]).collect();
        let f = GridFunction::new(grid, values(&at)).unwrap();
        let spline = LegendreSpline::new(&cpu(), &f, Curvature::isotropic(2.0), &[m, m], &context()).unwrap();
        let found = spline.values(&cpu(), &test.concat(), &context()).unwrap();
        found.value.iter().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let errors = [error(41, 10), error(81, 20), error(161, 40)];
    assert!(errors[0] > 3.0 * errors[1] && errors[1] > 3.0 * errors[2] && errors[2] < 5e-3, "{errors:?}");
}

fn function(values: Vec<f64>) -> GridFunction {
    let n = values.len();
    GridFunction::new(Grid::uniform(&[(-1.0, 2.0, n)]).unwrap(), values).unwrap()
}

fn any_values(n: usize) -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![8 => -5.0..5.0, 1 => Just(f64::INFINITY)];
    proptest::collection::vec(value, n)
        .prop_filter("the domain is not empty", |all: &Vec<f64>| all.iter().any(|v| v.is_finite()))
}

proptest! {
    #[test]
    fn order_is_reversed(f in any_values(40), lift in proptest::collection::vec(0.0..3.0, 40)) {
        let slopes = Grid::uniform(&[(-9.0, 9.0, 71)]).unwrap();
        let larger = function(f.iter().zip(&lift).map(|(v, l)| v + l).collect());
        let [low, high] = [function(f), larger].map(|f| conjugate(&cpu(), &f, &slopes, &context()).unwrap().function);
        prop_assert!(low.values().iter().zip(high.values()).all(|(of_low, of_high)| of_high <= of_low));
    }

    #[test]
    fn young_and_fenchel_hold(f in any_values(30)) {
        let f = function(f);
        let slopes = Grid::uniform(&[(-9.0, 9.0, 53)]).unwrap();
        let found = conjugate(&cpu(), &f, &slopes, &context()).unwrap();
        for (j, s) in slopes.axes()[0].iter().enumerate() {
            for (i, x) in f.grid().axes()[0].iter().enumerate() {
                let gap = f.values()[i] + found.function.values()[j] - s * x;
                prop_assert!(gap >= -1e-12, "{gap:e}");
                if found.maximisers[j] as usize == i {
                    prop_assert!(gap <= 1e-12, "equal where it is attained: {gap:e}");
                }
            }
        }
    }

    #[test]
    fn biconjugates_are_convex_and_below(f in any_values(50)) {
        let f = function(f);
        let slopes = f.slopes(&[200]).unwrap();
        let envelope = biconjugate(&cpu(), &f, &slopes, &context()).unwrap().function;
        prop_assert!(envelope.values().iter().zip(f.values()).all(|(e, v)| *e <= v + 1e-12));
        prop_assert!(envelope.values().windows(3).all(|w| w[0] - 2.0 * w[1] + w[2] >= -1e-11));
        // Once more changes nothing.
        let again = biconjugate(&cpu(), &envelope, &slopes, &context()).unwrap().function;
        prop_assert!(relative_difference(again.values().to_vec(), envelope.values().to_vec()) < EXACT);
    }

    #[test]
    fn convex_functions_are_their_own_biconjugates(steps in proptest::collection::vec(0.0..2.0, 39), start in -3.0..3.0) {
        // Slopes that ascend, and a grid that holds them.
        let mut slope = -9.0;
        let mut value: f64 = start;
        let (mut values, mut slopes) = (vec![value], vec![]);
        let spacing = 3.0 / 39.0;
        for step in steps {
            slope += step + 1e-3;
            slopes.push(slope);
            value += slope * spacing;
            values.push(value);
        }
        let f = function(values);
        let slopes = Grid::new(vec![slopes]).unwrap();
        let envelope = biconjugate(&cpu(), &f, &slopes, &context()).unwrap().function;
        prop_assert!(relative_difference(envelope.values().to_vec(), f.values().to_vec()) < EXACT);
    }

    #[test]
    fn concave_conjugates_mirror_convex_ones(values in proptest::collection::vec(-5.0..5.0, 12)) {
        let grid = Grid::new(vec![vec![-1.0, 0.5, 0.7], vec![0.0, 1.0, 2.5, 3.0]]).unwrap();
        let f = GridFunction::new(grid.clone(), values).unwrap();
        let slopes = Grid::uniform(&[(-3.0, 2.0, 5), (-1.0, 4.0, 7)]).unwrap();
        let found = concave_conjugate(&cpu(), &f, &slopes, &context()).unwrap();
        for (j, s) in slopes.points().enumerate() {
            let score = |x: Vec<f64>, v: f64| s[0] * x[0] + s[1] * x[1] - v;
            let least = grid.points().zip(f.values()).map(|(x, v)| score(x, *v)).fold(f64::MAX, f64::min);
            prop_assert!((found.function.values()[j] - least).abs() < 1e-12);
            let at = found.maximisers[j] as usize;
            prop_assert!((score(grid.point(at), f.values()[at]) - least).abs() < 1e-12);
        }
    }
}

#[test]
fn what_has_no_conjugate_is_refused() {
    let grid = Grid::uniform(&[(0.0, 1.0, 3)]).unwrap();
    let improper = GridFunction::new(grid.clone(), vec![0.0, f64::NEG_INFINITY, 0.0]).unwrap();
    let fault = |result: fenchel::Result<fenchel::conjugate::Conjugate>| result.unwrap_err().to_string();
    assert!(fault(conjugate(&cpu(), &improper, &grid, &context())).contains("[0.5] is minus infinity"));
    let outside = GridFunction::new(grid.clone(), vec![0.0, f64::INFINITY, 0.0]).unwrap();
    assert!(fault(concave_conjugate(&cpu(), &outside, &grid, &context())).contains("[0.5] is infinity"));
    let two = Grid::uniform(&[(0.0, 1.0, 3), (0.0, 1.0, 3)]).unwrap();
    assert!(fault(conjugate(&cpu(), &outside, &two, &context())).contains("slopes of 2 axes"));
    let huge = GridFunction::new(grid.clone(), vec![1e300, 0.0, 1.0]).unwrap();
    assert!(conjugate(&cpu(), &huge, &grid, &context()).is_ok());
    assert!(fault(conjugate(&Cpu::<f32>::new(), &huge, &grid, &context())).contains("does not fit f32"));
    let near = Grid::new(vec![vec![1.0, 1.0 + 1e-12, 2.0]]).unwrap();
    assert!(fault(conjugate(&Cpu::<f32>::new(), &outside, &near, &context())).contains("equal in f32"));
    let small = context().with_memory(50);
    assert!(fault(conjugate(&cpu(), &outside, &near, &small)).contains("--memory"));
}
