//! Metrics, slopes and softness against their formulas in f64.

use fenchel::Scalar;
use fenchel::engine::{Context, Cpu, Curvature, Search, SplineEngine};
use fenchel::spline::metric::{LowRank, Placed, diagonal, gradients, informed, principal};
use fenchel::spline::{
    Certificate, Evaluated, Form, Label, Metric, Planes, Softness, Spline, Tangents, evaluate, secant, values,
};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, s};

use super::common::{gpu, jets, random_rows};
use super::{D, K, data, form, metrics, network, with_source};

/// The halves of a spline of tangents by its formula, all pairs, in f64: `[N, K]`.
fn by_formula(spline: &Spline, anchors: &Array2<f64>, points: &Array2<f64>) -> Vec<f64> {
    let Form::Tangents(tangents) = &spline.form else { panic!("the formula is that of tangents") };
    let (at, jacobians) = jets(&network(), anchors);
    let mut result = vec![];
    for x in points.rows() {
        for k in 0..K {
            let Curvature { a, b } = spline.curvature[k];
            let pairs: Vec<(f64, f64)> = (0..anchors.nrows())
                .map(|i| {
                    let step: Vec<f64> = x.iter().zip(anchors.row(i)).map(|(x, y)| x - y).collect();
                    let (squared, seen) = form(&spline.metric, &step);
                    let along: f64 = (0..D).map(|j| jacobians[[i, k, j]] * seen[j]).sum();
                    (at[[i, k]] + tangents.slopes * along, squared)
                })
                .collect();
            let soft = |sign: f64, bend: f64, t: f64| {
                let scores: Vec<f64> = pairs.iter().map(|(v, d)| (sign * v - bend / 2.0 * d) / t).collect();
                let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                sign * t * (largest + scores.iter().map(|s| (s - largest).exp()).sum::<f64>().ln())
            };
            let hard = |sign: f64, bend: f64| {
                sign * pairs.iter().map(|(v, d)| sign * v - bend / 2.0 * d).fold(f64::MIN, f64::max)
            };
            let [low, high] = spline.curvature[k].weights();
            result.push(match tangents.softness {
                Softness::Hard => low * hard(1.0, a) + high * hard(-1.0, b),
                Softness::Halves(t) => low * soft(1.0, a, t) + high * soft(-1.0, b, t),
                Softness::Nearest(tau) => {
                    let nearest = pairs.iter().map(|(_, d)| *d).fold(f64::MAX, f64::min);
                    let weigh = |d: f64| (-(d - nearest) / (2.0 * tau)).exp();
                    let all: f64 = pairs.iter().map(|(_, d)| weigh(*d)).sum();
                    pairs.iter().map(|(v, d)| v * weigh(*d)).sum::<f64>() / all
                }
            });
        }
    }
    result
}

fn check_formula<E: SplineEngine>(engine: &E, tolerance: f64) {
    let (anchors, points) = (random_rows(2, 41, D), random_rows(3, 67, D));
    let mut curvature = vec![Curvature { a: 0.8, b: 1.7 }; K];
    curvature[1] = Curvature { a: 2.0, b: 0.0 };
    with_source(engine, &anchors, |source| {
        let mut plain = vec![];
        for metric in metrics() {
            for (slopes, softness) in [
                (1.0, Softness::Hard),
                (0.25, Softness::Hard),
                (0.5, Softness::Nearest(0.3)),
                (1.0, Softness::Halves(0.2)),
            ] {
                let spline = Spline {
                    metric: metric.clone(),
                    curvature: curvature.clone(),
                    form: Form::Tangents(Tangents { slopes, softness, ..Tangents::default() }),
                    certificate: Certificate { curvature: curvature.clone(), label: Label::Given },
                };
                let found = values(&spline, source, &data(&points), &Context::default()).unwrap();
                let expected = by_formula(&spline, &anchors, &points);
                let difference = relative_difference(found.iter().map(|v| v.f64()), expected.iter().copied());
                assert!(
                    difference < tolerance,
                    "{} {slopes} {softness:?}: {difference:e}",
                    metric.describe()
                );
                // No two of them are the same spline.
                assert!(!plain.iter().any(|other| relative_difference(
                    expected.iter().copied(),
                    Vec::clone(other).into_iter()
                ) < 1e-3));
                plain.push(expected);

                // With error bars the values are the same, and the bars are those of unmodified tangents.
                let mut gathered: Vec<E::Scalar> = vec![];
                let mut bars: Vec<f64> = vec![];
                evaluate(&spline, source, &data(&points), Search::Pruned, &Context::default(), |block| {
                    let Evaluated { value, lower, convex_piece, .. } = block;
                    assert_eq!(convex_piece.contains(&u32::MAX), softness != Softness::Hard);
                    gathered.extend(value);
                    bars.extend(lower.iter().map(|l| l.f64()));
                    Ok(())
                })
                .unwrap();
                let same =
                    relative_difference(gathered.iter().map(|v| v.f64()), found.iter().map(|v| v.f64()));
                assert!(same < CLOSE, "{same:e}");
                let unmodified = Spline {
                    metric: Metric::Identity,
                    form: Form::Tangents(Tangents::default()),
                    ..spline.clone()
                };
                let mut plainly = vec![];
                evaluate(&unmodified, source, &data(&points), Search::Pruned, &Context::default(), |block| {
                    plainly.extend(block.lower.iter().map(|l| l.f64()));
                    Ok(())
                })
                .unwrap();
                assert!(relative_difference(bars.into_iter(), plainly.into_iter()) < CLOSE);
            }
        }
    });
}

#[test]
fn metrics_slopes_and_softness_follow_their_formulas() {
    check_formula(&Cpu::<f64>::new(), EXACT);
    check_formula(&Cpu::<f32>::new(), CLOSE);
    if let Some(gpu) = gpu() {
        check_formula(&gpu, CLOSE);
    }
}

#[test]
fn planes_of_tangents_are_the_same_spline() {
    let (anchors, points) = (random_rows(12, 29, D), random_rows(13, 83, D));
    let curvature: Vec<Curvature> = (0..K).map(|k| Curvature { a: 0.5 + k as f64, b: 1.0 }).collect();
    with_source(&Cpu::<f64>::new(), &anchors, |source| {
        for metric in metrics() {
            let placed = Placed::new(source, &metric, 0.5).unwrap();
            let planes = Planes::of_tangents(&placed, &curvature, &Context::default()).unwrap();
            let certificate = Certificate { curvature: curvature.clone(), label: Label::Given };
            let spline = |form| Spline {
                metric: metric.clone(),
                curvature: curvature.clone(),
                form,
                certificate: certificate.clone(),
            };
            let tangents = spline(Form::Tangents(Tangents { slopes: 0.5, ..Tangents::default() }));
            let both = [tangents, spline(Form::Planes(planes))]
                .map(|spline| values(&spline, source, &data(&points), &Context::default()).unwrap());
            let difference = relative_difference(both[0].iter().copied(), both[1].iter().copied());
            assert!(difference < CLOSE, "{}: {difference:e}", metric.describe());
        }
    });
}

#[test]
fn metrics_come_from_the_covariance_of_gradients() {
    let anchors = random_rows(22, 50, D);
    let (_, jacobians) = jets(&network(), &anchors);
    let mut covariance = Array2::<f64>::zeros((D, D));
    for i in 0..50 {
        for k in 0..K {
            for p in 0..D {
                for q in 0..D {
                    covariance[[p, q]] += jacobians[[i, k, p]] * jacobians[[i, k, q]];
                }
            }
        }
    }
    with_source(&Cpu::<f64>::new(), &anchors, |source| {
        let context = Context::default();
        let matrix = |metric: &Metric| {
            Array2::from_shape_fn((D, D), |(p, q)| {
                let unit = |i: usize| (0..D).map(|j| f64::from(u8::from(i == j))).collect::<Vec<_>>();
                let sum: Vec<f64> = unit(p).iter().zip(unit(q)).map(|(a, b)| a + b).collect();
                (form(metric, &sum).0 - form(metric, &unit(p)).0 - form(metric, &unit(q)).0) / 2.0
            })
        };
        // To the first power it is the covariance itself, with a mean weight of 1.
        let found = matrix(&gradients(source, 1.0, (None, true), &context).unwrap());
        let expected = &covariance * (D as f64 / covariance.diag().sum());
        assert!(relative_difference(found.iter().copied(), expected.iter().copied()) < 1e-9);
        // To the power 1/2 its square is.
        let root = matrix(&gradients(source, 0.5, (None, true), &context).unwrap());
        let squared = root.dot(&root);
        let squared = &squared * (D as f64 / squared.diag().sum());
        assert!(relative_difference(squared.iter().copied(), expected.iter().copied()) < 1e-9);
        // Of rank 2 the first two directions are as before, and the others have one weight.
        let Metric::LowRank(low) = gradients(source, 1.0, (Some(2), true), &context).unwrap() else {
            panic!()
        };
        let Metric::LowRank(all) = gradients(source, 1.0, (None, true), &context).unwrap() else { panic!() };
        assert!((low.weights[1] / low.weights[0] - all.weights[1] / all.weights[0]).abs() < 1e-9);
        let others = all.weights[2..].iter().sum::<f64>() / (D - 2) as f64;
        assert!((low.rest / low.weights[0] - others / all.weights[0]).abs() < 1e-9);
        let Metric::Diagonal(weights) = diagonal(source, 1.0, &context).unwrap() else { panic!() };
        assert!(relative_difference(weights.into_iter(), expected.diag().iter().copied()) < 1e-9);

        // The first principal components hold as much variance as any directions.
        let Metric::LowRank(LowRank { basis, weights, rest }) = principal(source, Some(3), &context).unwrap()
        else {
            panic!()
        };
        assert_eq!((weights, rest), (vec![1.0; 3], 0.0));
        let centred = &anchors - &anchors.mean_axis(ndarray::Axis(0)).unwrap();
        let held = |rows: &[f64]| {
            rows.chunks_exact(D).map(|q| centred.dot(&ndarray::aview1(q)).mapv(|x| x * x).sum()).sum::<f64>()
        };
        let units: Vec<f64> = (0..3 * D).map(|i| f64::from(u8::from(i / D == i % D))).collect();
        assert!(held(&basis) > held(&units));

        // What is informed lies between the inverse covariance of the anchors and that of the gradients, with P C P = G
        // in the middle.
        let variance = centred.t().dot(&centred);
        let proportional = |found: &Array2<f64>, expected: &Array2<f64>| {
            let scale = expected.diag().sum() / found.diag().sum();
            relative_difference(found.iter().map(|f| scale * f), expected.iter().copied())
        };
        let at = |power: f64| matrix(&informed(source, power, None, &context).unwrap());
        assert!(proportional(&at(1.0), &covariance) < 1e-9);
        assert!(proportional(&at(0.0).dot(&variance), &Array2::eye(D)) < 1e-9);
        let middle = at(0.5);
        assert!(proportional(&middle.dot(&variance).dot(&middle), &covariance) < 1e-9);
        let Metric::LowRank(few) = informed(source, 0.5, Some(2), &context).unwrap() else { panic!() };
        assert_eq!((few.weights.len(), few.rest), (2, 0.0));
        assert!(informed(source, 0.5, Some(0), &context).is_err());

        assert!(gradients(source, 1.0, (Some(0), true), &context).is_err());
        assert!(gradients(source, 1.0, (Some(D + 1), true), &context).is_err());
        assert!(gradients(source, f64::NAN, (None, true), &context).is_err());
    });
}

/// In the coordinates of a metric a secant curvature holds over its pairs as it does in the identity.
#[test]
fn secants_hold_in_any_metric() {
    let (anchors, points) = (random_rows(42, 31, D), random_rows(43, 57, D));
    let engine = Cpu::<f64>::new();
    let program = network().compile(&engine).unwrap();
    let (truth, _) = jets(&network(), &points);
    with_source(&engine, &anchors, |source| {
        for metric in metrics().into_iter().take(4) {
            let placed = Placed::new(source, &metric, 1.0).unwrap();
            let found = secant(&placed, &program, &[0, 1, 2], &data(&points), &Context::default()).unwrap();
            let hold = |factor: f64| {
                let curvature =
                    found.iter().map(|c| Curvature { a: factor * c.a, b: factor * c.b }).collect();
                let certificate = Certificate { curvature, label: Label::Tested };
                let spline = Spline {
                    metric: Metric::Identity,
                    curvature: certificate.curvature.clone(),
                    form: Form::Tangents(Tangents::default()),
                    certificate,
                };
                let mut outside = 0;
                evaluate(&spline, &placed, &data(&points), Search::Pruned, &Context::default(), |block| {
                    for (i, n) in block.range.clone().enumerate() {
                        for k in 0..K {
                            let g = truth.slice(s![n, k]).into_scalar();
                            let (l, u) = (block.lower[i * K + k], block.upper[i * K + k]);
                            outside += usize::from(*g < l - 1e-9 || *g > u + 1e-9);
                        }
                    }
                    Ok(())
                })
                .unwrap();
                outside
            };
            assert_eq!(hold(1.0), 0, "{}", metric.describe());
            assert!(hold(0.9) > 0, "{}", metric.describe());
        }
    });
}
