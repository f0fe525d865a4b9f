//! Splines against the published formula in f64, and what certificates promise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{gpu, jets, mlp, random, random_rows};
use fenchel::data::{Dataset, Normalization, OutputFile};
use fenchel::engine::gpu::Trial;
use fenchel::engine::{Activation, Context, Cpu, Curvature, Engine, Gpu, Search, SplineEngine};
use fenchel::network::Network;
use fenchel::spline::{
    Certificate, Evaluated, Form, Header, JetSource, Label, NetworkJets, Provenance, Selection, Spline,
    SplineFile, Tangents, evaluate, save, secant,
};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use fenchel::{Error, Scalar};
use ndarray::{Array2, ArrayView1};

const D: usize = 7;
const K: usize = 3;

/// The published construction, written down directly: planes of slope `p`, offset `-f*(p)`, their maximum or
/// minimum; `sign` is 1 for the convex half and -1 for the concave one.
fn half(
    network: &Network,
    anchors: &Array2<f64>,
    curvature: f64,
    sign: f64,
    x: ArrayView1<'_, f64>,
    k: usize,
) -> (f64, usize) {
    let (values, jacobians) = jets(network, anchors);
    let planes = anchors.rows().into_iter().enumerate().map(|(i, xi)| {
        let f = values[[i, k]] + sign * curvature / 2.0 * xi.dot(&xi);
        let p: Vec<f64> = (0..xi.len()).map(|j| jacobians[[i, k, j]] + sign * curvature * xi[j]).collect();
        let conjugate = p.iter().zip(xi).map(|(p, x)| p * x).sum::<f64>() - f;
        sign * (p.iter().zip(x).map(|(p, x)| p * x).sum::<f64>() - conjugate)
    });
    let best = planes.enumerate().fold((f64::MIN, 0), |best, (i, v)| if v > best.0 { (v, i) } else { best });
    (sign * best.0, best.1)
}

/// All of a spline's values, gathered.
fn gather<E: SplineEngine, J: JetSource<E>>(
    spline: &Spline,
    source: &J,
    points: &Array2<f64>,
    context: &Context,
) -> Evaluated<f64> {
    let data = Dataset::from_array(points.view()).unwrap();
    let mut all = Evaluated {
        range: 0..points.nrows(),
        value: vec![],
        lower: vec![],
        upper: vec![],
        convex_piece: vec![],
        concave_piece: vec![],
        skipped: 0.0,
    };
    evaluate(spline, source, &data, Search::Pruned, context, |block| {
        assert_eq!(block.range.start * K, all.value.len(), "chunks come in order");
        all.value.extend(block.value.iter().map(|v| v.f64()));
        all.lower.extend(block.lower.iter().map(|v| v.f64()));
        all.upper.extend(block.upper.iter().map(|v| v.f64()));
        all.convex_piece.extend(block.convex_piece);
        all.concave_piece.extend(block.concave_piece);
        Ok(())
    })
    .unwrap();
    all
}

fn with_source<E: SplineEngine, R>(
    engine: &E,
    network: &Network,
    anchors: &Array2<f64>,
    f: impl FnOnce(&NetworkJets<'_, E>) -> R,
) -> R {
    let program = network.compile(engine).unwrap();
    let anchors = Dataset::from_array(anchors.view()).unwrap();
    f(&NetworkJets::new(&program, anchors, (0..K).collect()).unwrap())
}

fn check_against_the_formula<E: SplineEngine>(engine: &E, tolerance: f64) {
    for (activation, curvature) in
        [(Activation::Sigmoid, 0.7), (Activation::Relu, 3.0), (Activation::Gelu, 0.0)]
    {
        let network = mlp(1, [D, 19, K], activation);
        let (anchors, points) = (random_rows(2, 37, D), random_rows(3, 301, D));
        let spline = Spline::isotropic(curvature, K).unwrap();
        let all =
            with_source(engine, &network, &anchors, |s| gather(&spline, s, &points, &Context::default()));
        let mut expected = vec![];
        for (n, x) in points.rows().into_iter().enumerate() {
            for k in 0..K {
                let (convex, i) = half(&network, &anchors, curvature, 1.0, x, k);
                let (concave, j) = half(&network, &anchors, curvature, -1.0, x, k);
                expected.push((convex + concave) / 2.0);
                if tolerance == EXACT {
                    assert_eq!(
                        all.convex_piece[n * K + k] as usize,
                        i,
                        "{activation:?}, point {n}, output {k}"
                    );
                    assert_eq!(
                        all.concave_piece[n * K + k] as usize,
                        j,
                        "{activation:?}, point {n}, output {k}"
                    );
                }
            }
        }
        let difference = relative_difference(all.value.iter().copied(), expected.iter().copied());
        assert!(difference < tolerance, "{activation:?} at {curvature}: {difference:e}");
        // The comparison must notice one wrong plane: the same with an anchor moved.
        let mut moved = anchors.clone();
        moved[[4, 0]] += 0.5;
        let other =
            with_source(engine, &network, &moved, |s| gather(&spline, s, &points, &Context::default()));
        let difference = relative_difference(other.value.iter().copied(), expected.iter().copied());
        assert!(difference > tolerance, "{activation:?}: a wrong anchor goes unnoticed");
    }
}

#[test]
fn equals_the_published_formula_in_f64() {
    check_against_the_formula(&Cpu::<f64>::new(), EXACT);
}

#[test]
fn equals_the_published_formula_in_f32() {
    check_against_the_formula(&Cpu::<f32>::new(), CLOSE);
}

#[test]
fn equals_the_published_formula_on_the_gpu() {
    if let Some(gpu) = gpu() {
        check_against_the_formula(&gpu, CLOSE);
    }
}

#[test]
fn asymmetric_curvatures_weigh_the_halves() {
    let network = mlp(4, [D, 11, K], Activation::Tanh);
    let (anchors, points) = (random_rows(5, 23, D), random_rows(6, 40, D));
    let mut spline = Spline::isotropic(0.0, K).unwrap();
    spline.curvature =
        vec![Curvature { a: 0.3, b: 1.1 }, Curvature { a: 0.0, b: 2.0 }, Curvature { a: 0.5, b: 0.0 }];
    let all = with_source(&Cpu::<f64>::new(), &network, &anchors, |s| {
        gather(&spline, s, &points, &Context::default())
    });
    let expected = points.rows().into_iter().flat_map(|x| {
        let (network, anchors, spline) = (&network, &anchors, &spline);
        (0..K).map(move |k| {
            let Curvature { a, b } = spline.curvature[k];
            let squared = x.dot(&x);
            let lower = half(network, anchors, a, 1.0, x, k).0 - a / 2.0 * squared;
            let upper = half(network, anchors, b, -1.0, x, k).0 + b / 2.0 * squared;
            (b * lower + a * upper) / (a + b)
        })
    });
    assert!(relative_difference(all.value.iter().copied(), expected) < EXACT);
}

#[test]
fn meets_a_smooth_network_at_its_anchors() {
    let network = mlp(7, [D, 13, K], Activation::Tanh);
    let anchors = random_rows(8, 50, D);
    let (values, _) = jets(&network, &anchors);
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    let data = Dataset::from_array(anchors.view()).unwrap();
    let source = NetworkJets::new(&program, data.clone(), (0..K).collect()).unwrap();
    let curvature = secant(&source, &program, &[0, 1, 2], &data, &Context::default()).unwrap();
    let mut spline = Spline::isotropic(0.0, K).unwrap();
    spline.curvature = curvature;
    let all = gather(&spline, &source, &anchors, &Context::default());
    assert!(relative_difference(all.value.iter().copied(), values.iter().copied()) < EXACT);
    // Each anchor is its own active piece, in both halves.
    let own: Vec<u32> = (0..50).flat_map(|i| [i; K]).collect();
    assert_eq!((all.convex_piece, all.concave_piece), (own.clone(), own));
    // With no curvature it does not: tangents alone cross the network.
    let flat = gather(&Spline::isotropic(0.0, K).unwrap(), &source, &anchors, &Context::default());
    assert!(relative_difference(flat.value.iter().copied(), values.iter().copied()) > APPROXIMATE);
}

#[test]
fn secant_curvatures_are_the_smallest_that_hold() {
    for activation in [Activation::Relu, Activation::Silu] {
        let network = mlp(9, [D, 13, K], activation);
        let (anchors, tested) = (random_rows(10, 60, D), random_rows(11, 90, D));
        let (values, jacobians) = jets(&network, &anchors);
        let (truth, _) = jets(&network, &tested);
        let mut expected = vec![Curvature::default(); K];
        for (n, x) in tested.rows().into_iter().enumerate() {
            for (i, xi) in anchors.rows().into_iter().enumerate() {
                let difference = &x - &xi;
                for k in 0..K {
                    let slope: f64 = (0..D).map(|j| jacobians[[i, k, j]] * difference[j]).sum();
                    let ratio = 2.0 * (values[[i, k]] + slope - truth[[n, k]]) / difference.dot(&difference);
                    expected[k] = Curvature { a: expected[k].a.max(ratio), b: expected[k].b.max(-ratio) };
                }
            }
        }
        let points = Dataset::from_array(tested.view()).unwrap();
        let anchor_rows = Dataset::from_array(anchors.view()).unwrap();
        let program = network.compile(&Cpu::<f32>::new()).unwrap();
        let source = NetworkJets::new(&program, anchor_rows, (0..K).collect()).unwrap();
        let found = secant(&source, &program, &[0, 1, 2], &points, &Context::default()).unwrap();
        let flat = |c: &[Curvature]| -> Vec<f64> { c.iter().flat_map(|c| [c.a, c.b]).collect() };
        let difference = relative_difference(flat(&found), flat(&expected));
        assert!(difference < APPROXIMATE, "{activation:?}: {found:?}, expected {expected:?}");

        // At them, every tested point lies within its bounds; at nine tenths of them, some do not.
        let outside = |factor: f64| {
            let mut spline = Spline::isotropic(0.0, K).unwrap();
            let scaled = found.iter().map(|c| Curvature { a: factor * c.a, b: factor * c.b }).collect();
            spline.certificate = Certificate { curvature: scaled, label: Label::Tested };
            let all = gather(&spline, &source, &tested, &Context::default());
            let bounds = all.lower.iter().zip(&all.upper).zip(&truth);
            bounds.filter(|((l, u), g)| **g < *l - CLOSE || **g > *u + CLOSE).count()
        };
        assert_eq!(outside(1.0), 0, "{activation:?}");
        assert!(outside(0.9) > 0, "{activation:?}");
    }
}

#[test]
fn repeated_points_and_anchors_do_no_harm() {
    let network = mlp(12, [D, 13, K], Activation::Tanh);
    let anchors = random_rows(13, 20, D);
    let doubled = ndarray::concatenate![ndarray::Axis(0), anchors, anchors];
    let program = network.compile(&Cpu::<f32>::new()).unwrap();
    let points = Dataset::from_array(doubled.view()).unwrap();
    let of = |rows: &Array2<f64>| {
        let source =
            NetworkJets::new(&program, Dataset::from_array(rows.view()).unwrap(), (0..K).collect()).unwrap();
        secant(&source, &program, &[0, 1, 2], &points, &Context::default()).unwrap()
    };
    assert_eq!(of(&anchors), of(&doubled));
    assert!(of(&anchors).iter().all(|c| c.a.is_finite() && c.a < 10.0));
    // Of two equal pieces the first is active.
    let spline = Spline::isotropic(1.0, K).unwrap();
    let all = with_source(&Cpu::<f32>::new(), &network, &doubled, |s| {
        gather(&spline, s, &anchors, &Context::default())
    });
    assert!(all.convex_piece.iter().chain(&all.concave_piece).all(|&piece| piece < 20));
}

fn memory_changes_no_bit<E: SplineEngine>(engine: &E, [anchors, points]: [usize; 2], memories: &[u64]) {
    let network = mlp(14, [D, 64, K], Activation::Sigmoid);
    let (anchors, points) = (random_rows(15, anchors, D), random_rows(16, points, D));
    let spline = Spline::isotropic(2.0, K).unwrap();
    with_source(engine, &network, &anchors, |source| {
        let whole = gather(&spline, source, &points, &Context::default());
        for &memory in memories {
            let parts = gather(&spline, source, &points, &Context::default().with_memory(memory));
            assert!(parts == whole, "{memory} bytes");
        }
        let too_little = Context::default().with_memory(1000);
        let data = Dataset::from_array(points.view()).unwrap();
        let error = evaluate(&spline, source, &data, Search::Pruned, &too_little, |_| Ok(())).unwrap_err();
        assert!(matches!(error, Error::Memory { .. }), "{error}");
    });
}

#[test]
fn memory_changes_no_bit_on_the_cpu() {
    memory_changes_no_bit(&Cpu::<f32>::new(), [1500, 2500], &[3 << 20, 300_000, 60_000]);
}

/// Plans for bindings of 64 KiB and dispatches of four workgroups.
#[test]
fn memory_and_limits_change_no_bit_on_the_gpu() {
    let Some(first) = gpu() else { return };
    let trial = Trial { tensor: Some(1 << 16), workgroups: Some(2), ..Trial::default() };
    let number = first.adapter().number;
    let tiny = Gpu::open_for_trial(number, 1 << 20, trial).unwrap();
    memory_changes_no_bit(&tiny, [300, 500], &[3 << 20, 600_000, 400_000]);
    let network = mlp(14, [D, 64, K], Activation::Sigmoid);
    let (anchors, points) = (random_rows(15, 300, D), random_rows(16, 500, D));
    let spline = Spline::isotropic(2.0, K).unwrap();
    let all = |gpu: &Gpu| {
        with_source(gpu, &network, &anchors, |source| gather(&spline, source, &points, &Context::default()))
    };
    assert!(all(&tiny) == all(&first), "limits change the result");
}

#[test]
fn halves_may_have_pieces_of_their_own() {
    let network = mlp(17, [D, 13, K], Activation::Tanh);
    let (anchors, points) = (random_rows(18, 30, D), random_rows(19, 25, D));
    let mut spline = Spline::isotropic(1.5, K).unwrap();
    let (lower, upper) = (Selection::Some(vec![1, 4, 5, 20]), Selection::Some(vec![0, 2, 29]));
    spline.form = Form::Tangents(Tangents { lower, upper, ..Tangents::default() });
    let all = with_source(&Cpu::<f64>::new(), &network, &anchors, |s| {
        gather(&spline, s, &points, &Context::default())
    });
    let pick = |rows: &[usize]| anchors.select(ndarray::Axis(0), rows);
    let expected = points.rows().into_iter().flat_map(|x| {
        let (network, low, high) = (&network, pick(&[1, 4, 5, 20]), pick(&[0, 2, 29]));
        (0..K).map(move |k| {
            (half(network, &low, 1.5, 1.0, x, k).0 + half(network, &high, 1.5, -1.0, x, k).0) / 2.0
        })
    });
    assert!(relative_difference(all.value.iter().copied(), expected) < EXACT);
    assert!(all.convex_piece.iter().all(|p| [1, 4, 5, 20].contains(p)));
    assert!(all.concave_piece.iter().all(|p| [0, 2, 29].contains(p)));
    // The certificate still comes from all anchors.
    let complete = Spline::isotropic(1.5, K).unwrap();
    let whole = with_source(&Cpu::<f64>::new(), &network, &anchors, |s| {
        gather(&complete, s, &points, &Context::default())
    });
    assert_eq!((all.lower, all.upper), (whole.lower, whole.upper));
}

/// A network of the assets on digits, with rows to take anchors from.
fn saved(folder: &std::path::Path) -> (std::path::PathBuf, Evaluated<f64>, Array2<f64>) {
    let network = mlp(20, [D, 13, K], Activation::Gelu);
    let (anchors, points) = (random_rows(21, 33, D), random_rows(22, 17, D));
    let mut spline = Spline::isotropic(0.8, K).unwrap();
    spline.form = Form::Tangents(Tangents { upper: Selection::Some(vec![3, 7, 31]), ..Tangents::default() });
    spline.certificate =
        Certificate { curvature: vec![Curvature { a: 1.0, b: 2.0 }; K], label: Label::Tested };
    let path = folder.join("s.safetensors");
    let evaluated = with_source(&Cpu::<f32>::new(), &network, &anchors, |source| {
        let header = Header::new(Provenance::default(), Normalization::default(), &spline);
        let indices: Vec<u64> = (100..133).collect();
        let context = Context::default().with_memory(100_000);
        save(OutputFile::create(&path).unwrap(), &spline, &header, source, &indices, &context).unwrap();
        gather(&spline, source, &points, &Context::default())
    });
    (path, evaluated, points)
}

#[test]
fn files_keep_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (path, evaluated, points) = saved(folder.path());
    let file = SplineFile::open(&path).unwrap();
    assert_eq!((file.lengths(), file.precision()), ([33, K, D], "f32"));
    assert_eq!(file.indices()[32], 132);
    assert_eq!(file.spline().certificate.label, Label::Tested);
    let source = file.jets(&Cpu::<f32>::new());
    assert!(gather(file.spline(), &source, &points, &Context::default()) == evaluated);
    let (jets, _) = source.block(5..9).unwrap();
    assert_eq!(source.engine().download(&jets.values).unwrap().len(), 4 * K);
}

#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _, _) = saved(folder.path());
    let whole = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged");
    let refusal = |bytes: &[u8]| {
        std::fs::write(&damaged, bytes).unwrap();
        SplineFile::open(&damaged).map(|_| ()).unwrap_err().to_string()
    };
    for length in (0..whole.len()).step_by(37) {
        refusal(&whole[..length]);
    }
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let found = whole.windows(from.len()).position(|bytes| bytes == from.as_bytes());
        let at = found.unwrap_or_else(|| panic!("{from} is in the header"));
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        refusal(&bytes)
    };
    let newer = replaced(r#"version\":2"#, r#"version\":9"#);
    assert!(newer.contains("format version 9"), "{newer}");
    replaced(r#""shape":[33,3,7]"#, r#""shape":[33,7,3]"#);
    replaced(r#"tangents"#, r#"tangentz"#);
    replaced("anchors.values", "anchors.volues");
    let mut bytes = whole.clone();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refusal(&bytes);
    assert!(SplineFile::open(folder.path()).is_err(), "a folder is no file");
    assert!(refusal(b"not a spline at all").contains("not a Fenchel spline"));
}

#[test]
fn values_that_are_no_numbers_are_named() {
    let network = mlp(23, [D, 13, K], Activation::Tanh);
    let mut anchors = random_rows(24, 10, D);
    anchors[[6, 2]] = f64::NAN;
    with_source(&Cpu::<f32>::new(), &network, &anchors, |source| {
        let error = source.block(0..10).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::NonFinite { row: 6, .. }), "{error}");
    });
    assert!(Spline::isotropic(f64::NAN, 1).is_err() && Spline::isotropic(-1.0, 1).is_err());
}

#[test]
fn a_job_can_be_stopped() {
    let network = mlp(25, [D, 13, K], Activation::Tanh);
    let cancellation = fenchel::engine::Cancellation::default();
    let context = Context::default().with_cancellation(cancellation.clone());
    let points = Dataset::from_array(random_rows(26, 5000, D).view()).unwrap();
    with_source(&Cpu::<f32>::new(), &network, &random_rows(27, 10, D), |source| {
        let mut chunks = 0;
        let error =
            evaluate(&Spline::isotropic(1.0, K).unwrap(), source, &points, Search::Pruned, &context, |_| {
                chunks += 1;
                cancellation.cancel();
                Ok(())
            });
        assert!(matches!(error, Err(Error::Cancelled)) && chunks == 1);
    });
    assert_eq!(random(1, 3).len(), 3);
}
