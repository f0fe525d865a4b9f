//! What is drawn: slopes of networks, and splines, against the same point by point.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{gpu, mlp, random, random_rows};
use fenchel::Error;
use fenchel::data::Dataset;
use fenchel::engine::{Activation, Context, Cpu, Curvature, Search, SplineEngine};
use fenchel::network::Network;
use fenchel::render::{Band, Field, NetworkField, Quantity, Slope, SlopeField, SplineField, SplineQuantity};
use fenchel::spline::slice::{Slice, pixels};
use fenchel::spline::{Evaluated, Form, NetworkJets, Softness, Spline, Tangents, evaluate};
use fenchel::tolerance::{APPROXIMATE, CLOSE, relative_difference};
use ndarray::Array2;

const D: usize = 6;
const K: usize = 3;
const SIZE: [usize; 2] = [17, 23];

fn network() -> Network {
    mlp(4, [D, 19, K], Activation::Gelu)
}

/// Neither orthogonal nor of equal lengths.
fn slice() -> Slice {
    let [origin, u, v] = [1, 2, 3].map(|seed| random(seed, D));
    Slice { origin, u, v: v.into_iter().map(|x| 0.4 * x).collect() }
}

fn points(slice: &Slice) -> Array2<f64> {
    let [height, width] = SIZE;
    let centre = |i: usize, count: usize| (2 * i + 1) as f64 / count as f64 - 1.0;
    let rows =
        (0..height * width).flat_map(|i| slice.point(centre(i % width, width), -centre(i / width, height)));
    Array2::from_shape_vec((height * width, D), rows.collect()).unwrap()
}

fn draw<E: SplineEngine>(field: &dyn Field<E>, memory: u64) -> Band {
    let [across, up] = pixels::<E::Scalar>(SIZE);
    field.band(&across, &up, 0, &Context::default().with_memory(memory)).unwrap()
}

fn numbers<E: SplineEngine>(field: &dyn Field<E>) -> Vec<f64> {
    assert!(!field.is_categorical());
    let Band::Numbers(all) = draw(field, 1 << 28) else { panic!("not numbers") };
    all.into_iter().map(f64::from).collect()
}

fn categories<E: SplineEngine>(field: &dyn Field<E>) -> Vec<u32> {
    assert!(field.is_categorical());
    let Band::Categories(all) = draw(field, 1 << 28) else { panic!("not categories") };
    all
}

/// The part of a gradient along two directions by least squares, with its length.
fn along(gradient: &[f64], slice: &Slice) -> (Vec<f64>, f64) {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (u, v) = (&slice.u[..], &slice.v[..]);
    let ([uu, uv, vv], [gu, gv]) = ([dot(u, u), dot(u, v), dot(v, v)], [dot(gradient, u), dot(gradient, v)]);
    let det = uu * vv - uv * uv;
    let (p, q) = ((gu * vv - gv * uv) / det, (gv * uu - gu * uv) / det);
    let part: Vec<f64> = u.iter().zip(v).map(|(u, v)| p * u + q * v).collect();
    let length = dot(&part, &part).sqrt();
    (part, length)
}

#[test]
fn slopes_are_the_gradients_along_the_plane() {
    let (network, slice) = (network(), slice());
    let (rows, engine) = (points(&slice), Cpu::<f64>::new());
    let program = network.compile(&engine).unwrap();
    let jets = program.jets(&program.upload(rows.view()).unwrap(), &[2]).unwrap();
    let gradients = fenchel::engine::Engine::download(&engine, &jets.jacobians).unwrap();
    let unit = |x: &[f64]| {
        let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.iter().map(|x| x / length).collect::<Vec<_>>()
    };
    let e = unit(&slice.u);
    let (mut lengths, mut whole, mut turned) = (vec![], vec![], vec![]);
    for gradient in gradients.chunks_exact(D) {
        let (part, length) = along(gradient, &slice);
        // The angle from u, to the side of v.
        let cosine = unit(&part).iter().zip(&e).map(|(p, e)| p * e).sum::<f64>();
        let across_u = |x: &[f64]| {
            let along = x.iter().zip(&e).map(|(x, e)| x * e).sum::<f64>();
            x.iter().zip(&e).map(|(x, e)| x - along * e).collect::<Vec<_>>()
        };
        let side = across_u(&part).iter().zip(&across_u(&slice.v)).map(|(p, v)| p * v).sum::<f64>();
        turned.push(cosine.acos().to_degrees().copysign(side));
        lengths.push(length);
        whole.push(gradient.iter().map(|p| p * p).sum::<f64>().sqrt());
    }
    fn check<E: SplineEngine>(engine: &E, network: &Network, slice: &Slice, expected: [&[f64]; 3]) {
        for (slope, expected) in [Slope::Norm, Slope::Direction, Slope::Gradient].into_iter().zip(expected) {
            let field = SlopeField::new(engine, network, slice, slope, &[2]).unwrap();
            let found = numbers(&field);
            let Band::Numbers(again) = draw(&field, 1 << 16) else { panic!("not numbers") };
            assert!(again.into_iter().map(f64::from).eq(found.iter().copied()), "memory changes slopes");
            let difference = relative_difference(found, expected.iter().copied());
            assert!(difference < APPROXIMATE, "{slope:?}: {difference:e}");
        }
    }
    let expected = [&lengths[..], &turned, &whole];
    check(&engine, &network, &slice, expected);
    check(&Cpu::<f32>::new(), &network, &slice, expected);
    if let Some(gpu) = gpu() {
        check(&gpu, &network, &slice, expected);
    }
    // All four quarters are there, so that an exchanged sign would show.
    assert!(turned.iter().any(|&t| t > 0.0) && turned.iter().any(|&t| t < 0.0));
    assert!(SlopeField::new(&engine, &network, &slice, Slope::Norm, &[0, 1]).is_err());
    assert!(SlopeField::new(&engine, &network, &slice, Slope::Norm, &[K]).is_err());
}

#[test]
fn everything_of_a_spline_is_what_it_is_at_the_points() {
    let (network, slice) = (network(), slice());
    let rows = points(&slice);
    let at = Dataset::from_array(rows.view()).unwrap();
    let anchors = Dataset::from_array(random_rows(6, 40, D).view()).unwrap();
    let mut spline = Spline::isotropic(0.0, K).unwrap();
    spline.curvature = [(1.0, 0.4), (0.8, 0.9), (0.3, 0.5)].map(|(a, b)| Curvature { a, b }).to_vec();
    spline.certificate.curvature = vec![Curvature { a: 3.0, b: 2.0 }; K];
    let engine = Cpu::<f64>::new();
    let program = network.compile(&engine).unwrap();
    let source = NetworkJets::new(&program, anchors, vec![0, 1, 2]).unwrap();
    let context = Context::default();
    let mut all = None;
    evaluate(&spline, &source, &at, Search::Pruned, &context, |block| {
        assert!(all.replace(block).is_none(), "one block");
        Ok(())
    })
    .unwrap();
    let Evaluated { value, lower, upper, convex_piece, concave_piece, .. } = all.unwrap();
    let exact = program.values(rows.view(), &context).unwrap();
    let of = |values: &[f64], k: usize| values.iter().skip(k).step_by(K).copied().collect::<Vec<_>>();
    let field = |quantity, outputs: &[usize]| {
        SplineField::new(&spline, &source, &slice, quantity, outputs, &context).unwrap()
    };
    let value_field = field(Outputs(Quantity::Value), &[1]);
    assert!(draw(&value_field, 1 << 28) == draw(&value_field, 1 << 14), "memory changes a spline");
    let close = |found: Vec<f64>, expected: Vec<f64>| relative_difference(found, expected) < CLOSE;
    use SplineQuantity::{ConcavePiece, ConvexPiece, HalfWidth, Lower, Outputs, Upper};
    assert!(close(numbers(&field(Outputs(Quantity::Value), &[1])), of(&value, 1)));
    assert!(close(numbers(&field(Lower, &[1])), of(&lower, 1)));
    assert!(close(numbers(&field(Upper, &[1])), of(&upper, 1)));
    let width = of(&lower, 1).iter().zip(of(&upper, 1)).map(|(l, u)| (u - l) / 2.0).collect();
    assert!(close(numbers(&field(HalfWidth, &[1])), width));
    let error = SplineField::error(&spline, &source, &slice, 1, (&network, 1), &context).unwrap();
    let errors = of(&value, 1).iter().zip(exact.column(1)).map(|(s, g)| s - g).collect();
    assert!(close(numbers(&error), errors));
    let pieces = |all: &[u32]| all.iter().skip(2).step_by(K).copied().collect::<Vec<_>>();
    assert_eq!(categories(&field(ConvexPiece, &[2])), pieces(&convex_piece));
    assert_eq!(categories(&field(ConcavePiece, &[2])), pieces(&concave_piece));
    let class = |row: &[f64]| if row[2] > row[0] { 2 } else { 0 };
    let classes: Vec<u32> = value.chunks_exact(K).map(class).collect();
    assert_eq!(categories(&field(Outputs(Quantity::Class), &[0, 2])), classes);
    let margins = value.chunks_exact(K).map(|row| (row[2] - row[0]).abs()).collect();
    assert!(close(numbers(&field(Outputs(Quantity::Margin), &[0, 2])), margins));
    // The slope of a piece, from the values of two pixels that share both pieces.
    let slopes = numbers(&field(SplineQuantity::Slope(Slope::Norm), &[1]));
    let sliced = |i: usize| (of_pieces(&convex_piece, i), of_pieces(&concave_piece, i));
    let [height, width] = SIZE;
    let mut seen = 0;
    for (i, slope) in slopes.iter().enumerate().take((height - 1) * width) {
        if (i + 1) % width != 0 && sliced(i) == sliced(i + 1) && sliced(i) == sliced(i + width) {
            let at = |i: usize| value[i * K + 1];
            let derivatives =
                [(at(i + 1) - at(i)) * width as f64 / 2.0, (at(i) - at(i + width)) * height as f64 / 2.0];
            let [x, y] = slice.frame().along(derivatives);
            assert!((slope - x.hypot(y)).abs() < CLOSE * slope.max(1.0), "pixel {i}");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen} pixels with neighbours of the same pieces");

    // What cannot be is refused.
    let refused = |quantity, outputs: &[usize]| {
        let made = SplineField::new(&spline, &source, &slice, quantity, outputs, &context);
        made.err().map(|error| error.to_string()).unwrap()
    };
    assert!(refused(HalfWidth, &[0, 1]).contains("one output"));
    assert!(refused(Lower, &[K]).contains("output 3 of a network with 3"));
    assert!(refused(SplineQuantity::Slope(Slope::Gradient), &[0]).contains("gradient"));
    let soft = Tangents { softness: Softness::Nearest(1.0), ..Tangents::default() };
    let soft = Spline { form: Form::Tangents(soft), ..spline.clone() };
    let made = SplineField::new(&soft, &source, &slice, ConvexPiece, &[0], &context);
    assert!(matches!(made.err(), Some(Error::Argument(text)) if text.contains("soft")));
}

fn of_pieces(pieces: &[u32], i: usize) -> u32 {
    pieces[i * K + 1]
}

/// Pieces of both engines are the same but where the two best scores meet within rounding.
#[test]
fn pictures_are_equal_on_both_engines_but_for_ties() {
    let Some(gpu) = gpu() else { return };
    let (network, slice) = (network(), slice());
    let anchors = Dataset::from_array(random_rows(6, 300, D).view()).unwrap();
    let spline = Spline::isotropic(1.0, K).unwrap();
    fn pieces<E: SplineEngine>(
        engine: &E,
        network: &Network,
        anchors: &Dataset,
        spline: &Spline,
        slice: &Slice,
    ) -> (Vec<u32>, Vec<f64>, Vec<u32>) {
        let program = network.compile(engine).unwrap();
        let source = NetworkJets::new(&program, anchors.clone(), vec![0, 1, 2]).unwrap();
        let context = Context::default();
        let quantity = SplineQuantity::ConvexPiece;
        let piece = SplineField::new(spline, &source, slice, quantity, &[1], &context).unwrap();
        let value = SplineQuantity::Outputs(Quantity::Value);
        let value = SplineField::new(spline, &source, slice, value, &[1], &context).unwrap();
        let class = NetworkField::new(engine, network, slice, Quantity::Class, &[0, 1, 2]).unwrap();
        (categories(&piece), numbers(&value), categories(&class))
    }
    let cpu = pieces(&Cpu::<f32>::new(), &network, &anchors, &spline, &slice);
    let other = pieces(&gpu, &network, &anchors, &spline, &slice);
    assert!(relative_difference(other.1, cpu.1) < CLOSE);
    // How far the best two are apart decides; in f64, at each pixel where the engines differ.
    let rows = points(&slice);
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    let source = NetworkJets::new(&program, anchors.clone(), vec![0, 1, 2]).unwrap();
    let [width, _] = [SIZE[1], SIZE[0]];
    let planes =
        fenchel::spline::slice::planes(&source, &slice, 1, Curvature::isotropic(1.0), &Context::default());
    let [planes, _] = planes.unwrap();
    let [across, up] = pixels::<f64>(SIZE);
    let mut ties = 0;
    for (i, (a, b)) in cpu.0.iter().zip(&other.0).enumerate() {
        if a != b {
            let score = |piece: u32| {
                let plane = &planes[3 * piece as usize..][..3];
                plane[0] * across[i % width] + plane[1] * up[i / width] + plane[2]
            };
            assert!((score(*a) - score(*b)).abs() < CLOSE * score(*a).abs().max(1.0), "pixel {i}");
            ties += 1;
        }
    }
    assert!(ties * 50 <= cpu.0.len(), "{ties} ties of {} pixels", cpu.0.len());
    let exact = program.values(rows.view(), &Context::default()).unwrap();
    for (i, (a, b)) in cpu.2.iter().zip(&other.2).enumerate() {
        if a != b {
            let [a, b] = [*a, *b].map(|k| exact[[i, k as usize]]);
            assert!((a - b).abs() < CLOSE * a.abs().max(1.0), "pixel {i}");
        }
    }
}
