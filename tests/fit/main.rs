//! Splines in other metrics, soft, tuned, averaged and refined: against formulas in f64 and on both engines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod choices;
#[path = "../common/mod.rs"]
mod common;
mod formulas;

use common::{mlp, random, random_rows};
use fenchel::data::{Dataset, Normalization, OutputFile, ReadOptions};
use fenchel::engine::{Activation, Context, Cpu, Curvature, SplineEngine};
use fenchel::network::Network;
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::spline::metric::{Family, LowRank, Placed};
use fenchel::spline::{
    Certificate, Choice, CurvatureChoice, Features, Form, Header, JetSource, Label, Method, Metric,
    MetricChoice, NetworkJets, Planes, Provenance, Recipe, Selection, SlopesChoice, Softness, SoftnessChoice,
    Spline, SplineFile, Subject, Tangents, save, values,
};
use ndarray::Array2;

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

/// A network of the digits with its data, pixels 0..1.
fn digits(name: &str) -> (Network, Dataset) {
    let asset = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
    let model = load(&asset(name), &LoadOptions::default()).unwrap();
    let normalization = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
    let data = Dataset::open(&asset("digits.npz"), &ReadOptions { key: None, normalization }).unwrap();
    (model.network, data)
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
