//! Splines in other metrics, soft, tuned, averaged and refined: against formulas in f64 and on both engines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{gpu, jets, mlp, random, random_rows};
use fenchel::data::{Dataset, Normalization, OutputFile, ReadOptions};
use fenchel::engine::{Activation, Context, Cpu, Curvature, Search, SplineEngine};
use fenchel::network::Network;
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::spline::metric::{Family, LowRank, Placed, diagonal, gradients, informed, principal};
use fenchel::spline::{
    Certificate, Choice, CurvatureChoice, Evaluated, Features, Form, Header, JetSource, Label, Method,
    Metric, MetricChoice, NetworkJets, Planes, Provenance, Recipe, Selection, SlopesChoice, Softness,
    SoftnessChoice, Spline, SplineFile, Subject, Tangents, Validation, evaluate, save, secant, values,
};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use fenchel::{Error, Scalar};
use ndarray::{Array2, s};

const D: usize = 6;
const K: usize = 3;

fn network() -> Network {
    mlp(5, [D, 17, K], Activation::Tanh)
}

fn with_source<E: SplineEngine, R>(
    engine: &E,
    anchors: &Array2<f64>,
    f: impl FnOnce(&NetworkJets<'_, E>) -> R,
) -> R {
    let program = network().compile(engine).unwrap();
    let anchors = Dataset::from_array(anchors.view()).unwrap();
    f(&NetworkJets::new(&program, anchors, (0..K).collect()).unwrap())
}

fn data(rows: &Array2<f64>) -> Dataset {
    Dataset::from_array(rows.view()).unwrap()
}

/// `x^T P x`, and `x` as the slopes see it: with no rest, along the basis alone.
fn form(metric: &Metric, x: &[f64]) -> (f64, Vec<f64>) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    match metric {
        Metric::Identity => (dot(x, x), x.to_vec()),
        Metric::Diagonal(weights) => (x.iter().zip(weights).map(|(x, w)| w * x * x).sum(), x.to_vec()),
        Metric::LowRank(LowRank { basis, weights, rest }) => {
            let along: Vec<f64> = basis.chunks_exact(x.len()).map(|q| dot(q, x)).collect();
            let inside: f64 = along.iter().map(|a| a * a).sum();
            let squared =
                along.iter().zip(weights).map(|(a, w)| w * a * a).sum::<f64>() + rest * (dot(x, x) - inside);
            let mut seen = vec![0.0; x.len()];
            for (q, a) in basis.chunks_exact(x.len()).zip(&along) {
                seen.iter_mut().zip(q).for_each(|(seen, q)| *seen += a * q);
            }
            (squared, if *rest == 0.0 { seen } else { x.to_vec() })
        }
    }
}

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

fn metrics() -> Vec<Metric> {
    let mut matrix = vec![0.0; D * D];
    let rows = random(8, D * D);
    for i in 0..D {
        for j in 0..D {
            matrix[i * D + j] = (0..D).map(|q| rows[q * D + i] * rows[q * D + j]).sum();
        }
    }
    let Metric::LowRank(LowRank { basis, weights, .. }) = Metric::full(&matrix, D).unwrap() else {
        panic!("a full matrix has directions")
    };
    let first = |rest: f64| {
        Metric::LowRank(LowRank { basis: basis[..2 * D].to_vec(), weights: weights[..2].to_vec(), rest })
    };
    vec![
        Metric::Identity,
        Metric::diagonal(vec![1.0, 0.2, 3.0, 0.7, 1.5, 0.4]).unwrap(),
        Metric::full(&matrix, D).unwrap(),
        first(0.3),
        first(0.0),
    ]
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

/// A network of the digits with its data, pixels 0..1.
fn digits(name: &str) -> (Network, Dataset) {
    let asset = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
    let model = load(&asset(name), &LoadOptions::default()).unwrap();
    let normalization = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
    let data = Dataset::open(&asset("digits.npz"), &ReadOptions { key: None, normalization }).unwrap();
    (model.network, data)
}

struct Outcome {
    validation: f64,
    before: Option<f64>,
    test: f64,
    spline: Spline,
}

/// Fits on digits 0..1200, chooses on 1200..1400, judges on the rest.
fn outcome<E: SplineEngine>(engine: &E, name: &str, recipe: &Recipe, context: &Context) -> Outcome {
    let (network, data) = digits(name);
    let program = network.compile(engine).unwrap();
    let outputs: Vec<usize> = (0..10).collect();
    let anchors = data.select_range(0..1200).unwrap();
    let validation = data.select_range(1200..1400).unwrap();
    let subject = Subject {
        network: &network,
        program: &program,
        outputs: &outputs,
        anchors: &anchors,
        validation: Some(&validation),
    };
    let fitted = subject.fit(recipe, context).unwrap();
    let source =
        NetworkJets::new(&program, anchors.select(&fitted.chosen).unwrap(), outputs.clone()).unwrap();
    let error = |points: &Dataset| {
        let found = values(&fitted.spline, &source, points, context).unwrap();
        Validation::new(&program, &outputs, points, context).unwrap().relative_rmse(&found)
    };
    // What fitting reports is what the spline does.
    let again = error(&validation);
    let reported = fitted.relative_rmse.unwrap_or(again);
    assert!((again - reported).abs() < 1e-3 * reported, "{again} and {reported}");
    let test = error(&data.select_range(1400..1797).unwrap());
    Outcome { validation: reported, before: fitted.before, test, spline: fitted.spline }
}

#[test]
fn what_is_chosen_on_validation_is_better_than_what_is_not() {
    let engine = Cpu::<f32>::new();
    let context = Context::default();
    let of = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe::new(100);
        change(&mut recipe);
        outcome(&engine, "digits_sigmoid.onnx", &recipe, &context)
    };
    let best = of(&|_| ());
    for c in [0.3, 1.0, 3.0, 10.0, 30.0] {
        let given = of(&|r| r.curvature = CurvatureChoice::Given(Curvature::isotropic(c)));
        assert!(
            best.validation <= given.validation * 1.02,
            "{} against {} at {c}",
            best.validation,
            given.validation
        );
    }
    // More to choose from is no worse on the points it is chosen on.
    let outputs = of(&|r| r.per_output = true);
    assert!(outputs.validation <= best.validation);
    assert!(outputs.spline.curvature.iter().any(|c| *c != outputs.spline.curvature[0]));
    let slopes = of(&|r| r.slopes = SlopesChoice::Chosen);
    assert!(slopes.validation <= best.validation);
    let nearest = of(&|r| r.slopes = SlopesChoice::Given(0.0));
    assert!(slopes.validation <= nearest.validation);
    let soft = of(&|r| r.softness = SoftnessChoice::Nearest);
    assert!(matches!(soft.spline.form, Form::Tangents(Tangents { softness: Softness::Nearest(_), .. })));
    assert!(soft.validation < best.validation);
    let halves = of(&|r| r.softness = SoftnessChoice::Halves);
    assert!(halves.validation < best.validation, "{} {}", halves.validation, best.validation);
    let clustered = of(&|r| r.selection = Choice { method: Method::KMeans, features: Features::Inputs });
    assert!(clustered.test < best.test);
    // The certificate keeps a valid curvature of its own.
    assert_eq!(best.spline.certificate.label, Label::Tested);
}

#[test]
fn every_metric_and_slope_fits() {
    let engine = Cpu::<f32>::new();
    let context = Context::default();
    for family in [Family::Diagonal, Family::Gradient, Family::Active, Family::Principal, Family::Informed] {
        let mut recipe = Recipe::new(100);
        recipe.metric =
            MetricChoice::Found { family, power: 0.5, rank: (family == Family::Active).then_some(20) };
        let found = outcome(&engine, "digits_cnn.onnx", &recipe, &context);
        assert!(found.test < 0.6, "{family:?}: {}", found.test);
        let rank = found.spline.metric.coordinates(64);
        assert_eq!(rank == 64, matches!(family, Family::Diagonal | Family::Gradient), "{family:?}: {rank}");
    }
    let mut recipe = Recipe::new(60);
    recipe.slopes = SlopesChoice::Averaged;
    let found = outcome(&engine, "digits_cnn.onnx", &recipe, &context);
    let Form::Planes(planes) = &found.spline.form else { panic!("averaged pieces are no tangents") };
    assert!(planes.pieces(10) == 60 && found.test < 0.3, "{}", found.test);
}

fn refined<E: SplineEngine>(engine: &E, context: &Context, steps: usize) -> Outcome {
    let mut recipe = Recipe::new(50);
    recipe.refine = steps;
    recipe.slopes = SlopesChoice::Chosen;
    outcome(engine, "digits_gelu.onnx", &recipe, context)
}

#[test]
fn refined_pieces_are_far_better_than_tangents() {
    let context = Context::default();
    let published = outcome(&Cpu::<f32>::new(), "digits_gelu.onnx", &Recipe::new(50), &context);
    let found = refined(&Cpu::<f32>::new(), &context, 600);
    assert!(found.validation < found.before.unwrap() / 2.0);
    assert!(found.test < published.test / 2.0, "{} against {}", found.test, published.test);
    let Form::Planes(planes) = &found.spline.form else { panic!("refined pieces are no tangents") };
    assert_eq!(planes.pieces(10), 50);

    // The same bits again, and in f64 as good a spline.
    let again = refined(&Cpu::<f32>::new(), &context, 600);
    assert!(again.spline == found.spline);
    let double = refined(&Cpu::<f64>::new(), &context, 600);
    assert!((double.test / found.test - 1.0).abs() < 0.3, "{} {}", double.test, found.test);
}

#[test]
fn outputs_are_refined_in_groups_where_memory_is_short() {
    let few = |memory: u64| refined(&Cpu::<f32>::new(), &Context::default().with_memory(memory), 20).spline;
    assert!(few(768 << 20) == few(12 << 20));
    let (network, data) = digits("digits_gelu.onnx");
    let program = network.compile(&Cpu::<f32>::new()).unwrap();
    let subject = Subject {
        network: &network,
        program: &program,
        outputs: &[0, 1],
        anchors: &data.select_range(0..100).unwrap(),
        validation: Some(&data.select_range(100..150).unwrap()),
    };
    let mut recipe = Recipe::new(40);
    recipe.refine = 3;
    let tiny = subject.fit(&recipe, &Context::default().with_memory(1 << 16)).unwrap_err();
    assert!(matches!(tiny, Error::Memory { .. }), "{tiny}");
    recipe.softness = SoftnessChoice::Nearest;
    assert!(subject.fit(&recipe, &Context::default()).unwrap_err().to_string().contains("hard"));
}

#[test]
fn refinement_runs_on_a_graphics_device() {
    let Some(gpu) = gpu() else { return };
    let mut recipe = Recipe::new(40);
    recipe.refine = 40;
    recipe.metric = MetricChoice::Found { family: Family::Informed, power: 0.75, rank: Some(24) };
    let found = outcome(&gpu, "digits_gelu.onnx", &recipe, &Context::default());
    assert!(found.validation < 0.9 * found.before.unwrap(), "{} {:?}", found.validation, found.before);
}

#[test]
fn images_may_be_warped_in_refinement() {
    let (context, engine) = (Context::default(), Cpu::<f32>::new());
    let mut recipe = Recipe::new(40);
    recipe.refine = 200;
    recipe.metric = MetricChoice::Found { family: Family::Informed, power: 0.75, rank: None };
    let plain = outcome(&engine, "digits_cnn.onnx", &recipe, &context);
    recipe.warp = Some(1.0);
    let warped = outcome(&engine, "digits_cnn.onnx", &recipe, &context);
    assert!(warped.validation < warped.before.unwrap() / 1.5, "{} {:?}", warped.validation, warped.before);
    assert!(warped.spline != plain.spline);
    assert!(outcome(&engine, "digits_cnn.onnx", &recipe, &context).spline == warped.spline);

    // Rows of 64 elements are no images, and nobody says how wide they are.
    let (network, data) = digits("digits_gelu.onnx");
    let program = network.compile(&engine).unwrap();
    let subject = Subject {
        network: &network,
        program: &program,
        outputs: &[0],
        anchors: &data.select_range(0..100).unwrap(),
        validation: Some(&data.select_range(100..150).unwrap()),
    };
    assert!(subject.fit(&recipe, &context).unwrap_err().to_string().contains("[H, W]"));
}

#[test]
fn files_hold_metrics_softness_and_planes() {
    let folder = tempfile::tempdir().unwrap();
    let (anchors, points) = (random_rows(32, 23, D), random_rows(33, 19, D));
    let curvature = vec![Curvature { a: 0.6, b: 1.1 }; K];
    with_source(&Cpu::<f32>::new(), &anchors, |source| {
        for (number, metric) in metrics().into_iter().enumerate() {
            let placed = Placed::new(source, &metric, 1.0).unwrap();
            let planes = Planes::of_tangents(&placed, &curvature, &Context::default()).unwrap();
            let soft = Tangents { slopes: 0.5, softness: Softness::Halves(0.3), ..Tangents::default() };
            let chosen = Tangents { lower: Selection::of(vec![7, 2], 23), ..Tangents::default() };
            for (i, form) in
                [Form::Tangents(soft), Form::Tangents(chosen), Form::Planes(planes)].into_iter().enumerate()
            {
                let certificate = Certificate { curvature: curvature.clone(), label: Label::Sampled };
                let spline =
                    Spline { metric: metric.clone(), curvature: curvature.clone(), form, certificate };
                let path = folder.path().join(format!("{number}{i}"));
                let header = Header::new(Provenance::default(), Normalization::default(), &spline);
                let indices: Vec<u64> = (0..23).collect();
                let output = OutputFile::create(&path).unwrap();
                save(output, &spline, &header, source, &indices, &Context::default()).unwrap();
                let file = SplineFile::open(&path).unwrap();
                assert!(*file.spline() == spline);
                let from_file = file.jets(&Cpu::<f32>::new());
                let both = [source as &dyn JetSource<_>, &from_file]
                    .map(|source| values(&spline, source, &data(&points), &Context::default()).unwrap());
                assert!(both[0] == both[1]);
            }
        }
    });
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (network, data) = digits("digits_cnn.onnx");
    let program = network.compile(&Cpu::<f32>::new()).unwrap();
    let (anchors, validation) = (data.select_range(0..60).unwrap(), data.select_range(60..90).unwrap());
    let fails = |validation: Option<&Dataset>, change: &dyn Fn(&mut Recipe), named: &str| {
        let subject =
            Subject { network: &network, program: &program, outputs: &[1, 4], anchors: &anchors, validation };
        let mut recipe = Recipe::new(20);
        change(&mut recipe);
        let error = subject.fit(&recipe, &Context::default()).unwrap_err().to_string();
        assert!(error.contains(named) && !error.contains('\n'), "{named}: {error}");
    };
    let given = |r: &mut Recipe| r.curvature = CurvatureChoice::Given(Curvature::isotropic(2.0));
    fails(None, &|_| (), "validation points");
    fails(
        None,
        &|r| {
            given(r);
            r.slopes = SlopesChoice::Chosen;
        },
        "validation points",
    );
    fails(Some(&validation), &|r| r.pieces = 61, "61");
    fails(Some(&validation), &|r| r.pieces = 0, "0");
    fails(Some(&validation), &|r| r.curvature = CurvatureChoice::Hessian, "secant");
    fails(Some(&validation), &|r| r.curvature = CurvatureChoice::Proved, "box");
    fails(Some(&validation), &|r| r.certificate = Some(CurvatureChoice::Chosen), "bounds nothing");
    fails(
        Some(&validation),
        &|r| {
            r.selection = Choice { method: Method::KMeans, features: Features::Pieces };
            r.softness = SoftnessChoice::Nearest;
        },
        "both halves",
    );
    fails(
        Some(&validation),
        &|r| {
            r.metric = MetricChoice::Found { family: Family::Gradient, power: 0.5, rank: Some(65) };
        },
        "rank 65",
    );
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
