//! Splines on slices: pictures against the splines at their pixels.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{gpu, random_rows};
use fenchel::data::{Dataset, ReadOptions};
use fenchel::engine::{Context, Cpu, Curvature, Search, SplineEngine};
use fenchel::network::Network;
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::spline::metric::{LowRank, Placed};
use fenchel::spline::slice::{Slice, SliceImage, Sliced, pixels, planes};
use fenchel::spline::{
    Form, Metric, NetworkJets, Planes, Selection, Softness, Spline, Tangents, evaluate, values,
};
use fenchel::tolerance::{APPROXIMATE, EXACT, relative_difference};
use fenchel::{Error, Scalar};
use ndarray::Array2;

fn digits() -> (Network, Dataset) {
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let network = load(&assets.join("digits_relu.onnx"), &LoadOptions::default()).unwrap().network;
    (network, Dataset::open(&assets.join("digits.npz"), &ReadOptions::default()).unwrap())
}

/// The slice through three rows of data.
fn through(data: &Dataset, rows: [usize; 3]) -> Slice {
    let points = data.gather::<f64>(&rows).unwrap();
    Slice::through([0, 1, 2].map(|i| points.row(i).to_slice().unwrap())).unwrap()
}

const SIZE: [usize; 2] = [38, 53];

/// The picture of output 1 of those chosen.
fn picture<E: SplineEngine>(
    engine: &E,
    network: &Network,
    anchors: &Dataset,
    slice: &Slice,
    spline: &Spline,
) -> SliceImage<f64> {
    let program = network.compile(engine).unwrap();
    let source = NetworkJets::new(&program, anchors.clone(), vec![2, 7, 5]).unwrap();
    let context = Context::default();
    let curvature = spline.curvature[1];
    let both = planes(&source, slice, 1, curvature, &context).unwrap();
    let little = context.clone().with_memory(600_000);
    assert!(planes(&source, slice, 1, curvature, &little).unwrap() == both, "memory changes the planes");
    let too_little = planes(&source, slice, 1, curvature, &context.clone().with_memory(1000)).unwrap_err();
    assert!(matches!(too_little, Error::Memory { .. }), "{too_little}");
    let [across, up] = pixels(SIZE);
    let sliced = Sliced::new(spline, &source, slice, 1, &context).unwrap();
    let image = sliced.image(&across, &up, &context).unwrap();
    let wide = |values: Vec<E::Scalar>| values.into_iter().map(Scalar::f64).collect();
    SliceImage {
        value: wide(image.value),
        lower: wide(image.lower),
        upper: wide(image.upper),
        convex_piece: image.convex_piece,
        concave_piece: image.concave_piece,
        scored: image.scored,
    }
}

/// The points at the centres of the pixels of a picture.
fn pixel_points(slice: &Slice) -> Dataset {
    let [height, width] = SIZE;
    let points = (0..height * width).flat_map(|pixel| {
        let s = (2 * (pixel % width) + 1) as f64 / width as f64 - 1.0;
        let t = 1.0 - (2 * (pixel / width) + 1) as f64 / height as f64;
        slice.point(s, t)
    });
    let points = Array2::from_shape_vec((height * width, slice.origin.len()), points.collect()).unwrap();
    Dataset::from_array(points.view()).unwrap()
}

/// The three ways to the same numbers: planes on a slice in f64 and in f32, and the spline at the pixels as points.
#[test]
fn a_picture_equals_the_spline_at_its_pixels() {
    let (network, data) = digits();
    let (anchors, slice) = (data.select_range(0..400).unwrap(), through(&data, [401, 17, 405]));
    let [height, width] = SIZE;
    let points = pixel_points(&slice);
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    let source = NetworkJets::new(&program, anchors.clone(), vec![2, 7, 5]).unwrap();
    for curvature in [Curvature { a: 1.5, b: 0.7 }, Curvature { a: 0.0, b: 0.0 }] {
        let mut spline = Spline::isotropic(0.0, 3).unwrap();
        spline.curvature[1] = curvature;
        spline.certificate.curvature[1] = curvature;
        let (mut numbers, mut pieces) = ([(); 3].map(|()| vec![]), [(); 2].map(|()| vec![]));
        evaluate(&spline, &source, &points, Search::Pruned, &Context::default(), |block| {
            for (all, part) in numbers.iter_mut().zip([block.value, block.lower, block.upper]) {
                all.extend(part.into_iter().skip(1).step_by(3));
            }
            for (all, part) in pieces.iter_mut().zip([block.convex_piece, block.concave_piece]) {
                all.extend(part.into_iter().skip(1).step_by(3));
            }
            Ok(())
        })
        .unwrap();
        let worst = |picture: &SliceImage<f64>| {
            let found = [&picture.value, &picture.lower, &picture.upper];
            let differences = found.into_iter().zip(&numbers).map(|(found, expected)| {
                relative_difference(found.iter().copied(), expected.iter().copied())
            });
            differences.fold(0.0, f64::max)
        };
        let double = picture(&Cpu::<f64>::new(), &network, &anchors, &slice, &spline);
        assert!(worst(&double) < EXACT, "{curvature:?}: {:e}", worst(&double));
        assert!(double.convex_piece == pieces[0] && double.concave_piece == pieces[1], "{curvature:?}");
        assert!(double.scored > 0 && double.scored <= 2 * (height * width * 400) as u64);
        if curvature.a > 0.0 {
            for half in &pieces {
                let active: std::collections::BTreeSet<u32> = half.iter().copied().collect();
                assert!(active.len() > 5, "{} pieces are too few for a test", active.len());
            }
        }
        let single = picture(&Cpu::<f32>::new(), &network, &anchors, &slice, &spline);
        assert!(worst(&single) < APPROXIMATE, "{curvature:?} in f32: {:e}", worst(&single));
        if let Some(gpu) = gpu() {
            let single = picture(&gpu, &network, &anchors, &slice, &spline);
            assert!(worst(&single) < APPROXIMATE, "{curvature:?} on the GPU: {:e}", worst(&single));
        }
        // The comparison must notice a slice that is a little elsewhere.
        let mut moved = slice.clone();
        moved.v[30] += 0.05;
        let other = picture(&Cpu::<f64>::new(), &network, &anchors, &moved, &spline);
        assert!(worst(&other) > APPROXIMATE, "{curvature:?}: another slice goes unnoticed");
    }
}

/// Every form of a spline, in every metric: on a slice it is what it is at the points.
#[test]
fn splines_of_all_forms_are_themselves_on_a_slice() {
    let (network, data) = digits();
    let (anchors, slice) = (data.select_range(0..150).unwrap(), through(&data, [401, 17, 405]));
    let points = pixel_points(&slice);
    let engine = Cpu::<f64>::new();
    let program = network.compile(&engine).unwrap();
    let source = NetworkJets::new(&program, anchors.clone(), vec![2, 7, 5]).unwrap();
    let context = Context::default();
    let mut base = Spline::isotropic(0.0, 3).unwrap();
    base.curvature = [(0.5, 0.2), (1.5, 0.7), (0.3, 0.3)].map(|(a, b)| Curvature { a, b }).to_vec();
    let weights: Vec<f64> = random_rows(8, 1, 64).iter().map(|w| 0.2 + w * w).collect();
    let LowRank { basis, .. } = match Metric::full(&diagonal_matrix(&weights), 64).unwrap() {
        Metric::LowRank(metric) => metric,
        _ => panic!("a full matrix has directions"),
    };
    let few = |rest| {
        Metric::LowRank(LowRank { basis: basis[..3 * 64].to_vec(), weights: vec![2.0, 0.5, 1.0], rest })
    };
    let tangents = Tangents::default();
    let chosen = Tangents {
        lower: Selection::Some((0..150).step_by(3).collect()),
        upper: Selection::Some((1..150).step_by(2).collect()),
        slopes: 0.5,
        ..Tangents::default()
    };
    let soft = |softness| Tangents { softness, ..tangents.clone() };
    let placed = Placed::new(&source, &few(0.0), 1.0).unwrap();
    let own = Planes::of_tangents(&placed, &base.curvature, &context).unwrap();
    let splines = [
        ("tangents", Metric::Identity, Form::Tangents(tangents.clone())),
        ("diagonal", Metric::diagonal(weights).unwrap(), Form::Tangents(chosen)),
        ("low rank", few(0.1), Form::Tangents(tangents.clone())),
        ("few coordinates", few(0.0), Form::Tangents(tangents.clone())),
        ("own pieces", few(0.0), Form::Planes(own)),
        ("soft tangents", few(0.1), Form::Tangents(soft(Softness::Nearest(3.0)))),
        ("soft halves", Metric::Identity, Form::Tangents(soft(Softness::Halves(0.2)))),
    ];
    let [across, up] = pixels(SIZE);
    for (name, metric, form) in splines {
        let spline = Spline { metric, form, ..base.clone() };
        let all = values(&spline, &source, &points, &context).unwrap();
        let sliced = Sliced::new(&spline, &source, &slice, 1, &context).unwrap();
        let image = sliced.image(&across, &up, &context).unwrap();
        let expected = all.iter().copied().skip(1).step_by(3);
        let difference = relative_difference(image.value.iter().copied(), expected);
        assert!(difference < EXACT, "{name}: {difference:e}");
        assert_eq!(sliced.has_pieces(), !name.starts_with("soft"), "{name}");
        if !sliced.has_pieces() {
            assert!(image.convex_piece.iter().all(|&piece| piece == u32::MAX));
            continue;
        }
        // Where a pixel and its right neighbour have the same pieces, the value moves with the slope.
        let step = across[1] - across[0];
        let (mut moved, mut expected) = (vec![], vec![]);
        for i in (0..image.value.len() - 1).filter(|i| (i + 1) % SIZE[1] != 0) {
            let pieces = |i: usize| (image.convex_piece[i], image.concave_piece[i]);
            if pieces(i) == pieces(i + 1) {
                let [along, _] = sliced.slope(image.convex_piece[i], image.concave_piece[i]);
                moved.push(image.value[i + 1] - image.value[i]);
                expected.push(step * along);
            }
        }
        assert!(moved.len() > 500, "{name}: {} pixels compared", moved.len());
        assert!(relative_difference(moved, expected) < EXACT, "{name}");
    }
    let certificate = Sliced::certificate(&base, &source, &slice, 1, &context).unwrap();
    let image = certificate.image(&across, &up, &context).unwrap();
    let (mut lower, mut upper) = (vec![], vec![]);
    evaluate(&base, &source, &points, Search::Pruned, &context, |block| {
        lower.extend(block.lower.into_iter().skip(1).step_by(3));
        upper.extend(block.upper.into_iter().skip(1).step_by(3));
        Ok(())
    })
    .unwrap();
    assert!(relative_difference(image.lower, lower) < EXACT);
    assert!(relative_difference(image.upper, upper) < EXACT);
}

fn diagonal_matrix(weights: &[f64]) -> Vec<f64> {
    let n = weights.len();
    (0..n * n).map(|i| if i % (n + 1) == 0 { weights[i / n] } else { 0.0 }).collect()
}

#[test]
fn slices_hold_their_points_without_shear() {
    for seed in [30, 31, 32] {
        let points = random_rows(seed, 3, 11);
        let [first, second, third] = [0, 1, 2].map(|i| points.row(i).to_slice().unwrap());
        let slice = Slice::through([first, second, third]).unwrap();
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let [uu, uv, vv] = [dot(&slice.u, &slice.u), dot(&slice.u, &slice.v), dot(&slice.v, &slice.v)];
        assert!(uv.abs() < EXACT * uu && (vv - uu).abs() < EXACT * uu);
        let coordinates = [first, second, third].map(|point| {
            let step: Vec<f64> = point.iter().zip(&slice.origin).map(|(x, o)| x - o).collect();
            let [s, t] = [dot(&step, &slice.u) / uu, dot(&step, &slice.v) / vv];
            assert!(relative_difference(slice.point(s, t), point.iter().copied()) < EXACT);
            [s, t]
        });
        let [[s0, t0], [s1, t1], [_, t2]] = coordinates;
        assert!(s1 > s0 && (t1 - t0).abs() < EXACT && t2 > t0, "{coordinates:?}");
        let farthest = coordinates.as_flattened().iter().fold(0.0, |m: f64, c| m.max(c.abs()));
        assert!((farthest - 0.8).abs() < EXACT, "{coordinates:?}");
    }
}

#[test]
fn points_that_span_no_slice_are_refused() {
    let refusal = |points: [&[f64]; 3]| Slice::through(points).unwrap_err().to_string();
    let (x, y, z) = ([1.0, 2.0, 0.3], [0.1, -0.7, 3.0], [0.55, 0.65, 1.65]);
    for (points, named) in [
        ([&x, &x, &y], "points 0 and 1 coincide"),
        ([&x, &y, &x], "points 0 and 2 coincide"),
        ([&y, &x, &x], "points 1 and 2 coincide"),
        ([&x, &y, &z], "points 0, 1 and 2 lie on one line"),
        ([&z, &x, &y], "points 0, 1 and 2 lie on one line"),
    ] {
        let text = refusal(points.map(|point| &point[..]));
        assert!(text.contains(named), "{text}");
    }
    assert!(refusal([&[1.0], &[2.0], &[4.0]]).contains("lie on one line"));
    assert!(refusal([&x, &y, &z[..2]]).contains("[3, 2] elements"));
    let error = Slice::through([&x, &[f64::NAN, 0.0, 0.0], &y]).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 1, .. }), "{error}");
}

#[test]
fn pictures_that_cannot_be_are_refused() {
    let (network, data) = digits();
    let (engine, context) = (Cpu::<f32>::new(), Context::default());
    let program = network.compile(&engine).unwrap();
    let source = NetworkJets::new(&program, data.select_range(0..20).unwrap(), vec![3]).unwrap();
    let (slice, curvature) = (through(&data, [0, 1, 2]), Curvature::isotropic(1.0));
    let refusal =
        |slice: &Slice, output, c| planes(&source, slice, output, c, &context).unwrap_err().to_string();
    assert!(refusal(&slice, 1, curvature).contains("there is no output 1"));
    assert!(refusal(&slice, 0, Curvature { a: 1.0, b: -2.0 }).contains("not -2"));
    let flat = Slice { u: vec![1.0], ..slice.clone() };
    assert!(refusal(&flat, 0, curvature).contains("[64, 1, 64] elements does not fit anchors of 64"));
    let far = Slice { origin: vec![1e30; 64], ..slice.clone() };
    assert!(refusal(&far, 0, curvature).contains("row 0 holds a NaN or an infinity"));
    let spline = Spline::isotropic(1.0, 1).unwrap();
    assert!(Sliced::new(&spline, &source, &flat, 0, &context).is_err());
    assert!(Sliced::new(&spline, &source, &slice, 1, &context).is_err());
    let sliced = Sliced::new(&spline, &source, &slice, 0, &context).unwrap();
    let many = vec![0.0; 1 << 20];
    let too_large = sliced.image(&many, &many, &context).unwrap_err();
    assert!(matches!(too_large, Error::Memory { .. }), "{too_large}");
    let empty = sliced.image(&many[..5], &[], &context).unwrap();
    assert!(empty.value.is_empty() && empty.convex_piece.is_empty() && empty.scored == 0);
}
