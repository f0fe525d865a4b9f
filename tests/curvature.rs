//! Curvatures out of Hessians: the extremes against dense matrices, proofs against searches, bounds against networks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "says how loose bounds are, and why a test was skipped")]

mod common;

use std::path::Path;
use std::time::Instant;

use common::{dense, gpu, jets, mlp, random, random_rows};
use fenchel::Error;
use fenchel::data::{Dataset, Normalization, ReadOptions};
use fenchel::engine::{Activation, Arithmetic, Cancellation, Context, Cpu, Curvature, Dual, Engine, Window};
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::network::operators::{
    AveragePool, Branches, Convolution, Dense, MaxPool, Reshape, ScaleShift, Softmax,
};
use fenchel::network::{Constant, Network};
use fenchel::spline::curvature::{Extremes, Found, hessian, proved, proved_ball, search, worst};
use ndarray::{Array1, Array2, Array3, ArrayView1, Axis, s};

fn model(name: &str) -> Network {
    load(format!("assets/{name}.onnx").as_ref(), &LoadOptions::default()).unwrap().network
}

/// Rows of the digits, divided by 16.
fn digits(rows: std::ops::Range<usize>) -> Array2<f64> {
    let sixteenth = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
    let options = ReadOptions { key: None, normalization: sixteenth };
    Dataset::open("assets/digits.npz".as_ref(), &options).unwrap().rows::<f64>(rows).unwrap()
}

/// All of the Hessian of output `k` at `x`, by one product for each unit vector.
fn dense_hessian(network: &Network, x: &Array1<f64>, k: usize) -> Array2<f64> {
    let d = x.len();
    let engine = Dual::new(Cpu::<f64>::new());
    let program = network.compile(&engine).unwrap();
    let plain = |rows: Vec<f64>| engine.inner().upload(&rows, &[d, d]).unwrap();
    let x = plain(x.to_vec().repeat(d));
    let units = plain(Array2::<f64>::eye(d).into_raw_vec_and_offset().0);
    let jets = program.jets(&engine.dual(&x, Some(&units)).unwrap(), &[k]).unwrap();
    let hessian = engine.inner().download(&engine.tangent(&jets.jacobians).unwrap()).unwrap();
    Array2::from_shape_vec((d, d), hessian).unwrap()
}

/// Eigenvalues of a symmetric matrix by cyclic Jacobi rotations, ascending.
fn eigenvalues(matrix: &Array2<f64>) -> Vec<f64> {
    let n = matrix.nrows();
    let mut a = (matrix + &matrix.t()) / 2.0;
    for _ in 0..30 {
        for p in 0..n {
            for q in p + 1..n {
                if a[[p, q]] == 0.0 {
                    continue;
                }
                let theta = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
                let t = 1.0_f64.copysign(theta) / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for i in 0..n {
                    let (x, y) = (a[[i, p]], a[[i, q]]);
                    (a[[i, p]], a[[i, q]]) = (c * x - s * y, s * x + c * y);
                }
                for i in 0..n {
                    let (x, y) = (a[[p, i]], a[[q, i]]);
                    (a[[p, i]], a[[q, i]]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    let mut values = a.diag().to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn extremes_match<E: Engine>(engine: &E) {
    for name in ["digits_sigmoid", "digits_gelu"] {
        let network = model(name);
        let x = digits(0..12);
        let outputs = [0, 3, 9];
        let data = Dataset::from_array(x.view()).unwrap();
        let found = hessian(&network, engine, &outputs, &data, &Context::default()).unwrap();
        assert_eq!((found.len(), found[0].len()), (3, 12));
        for (k, found) in outputs.into_iter().zip(&found) {
            for (x, found) in x.rows().into_iter().zip(found) {
                let values = eigenvalues(&dense_hessian(&network, &x.to_owned(), k));
                let size = values[0].abs().max(values[63]);
                let error = (found.smallest - values[0]).abs().max((found.largest - values[63]).abs());
                assert!(
                    error < 1e-3 * size,
                    "{name}, output {k}: {found:?} for {} to {}",
                    values[0],
                    values[63]
                );
                assert!(found.residuals.iter().all(|r| *r <= 1e-4 * size * 1.001 || found.steps == 64));
            }
        }
        // With less memory, the same.
        let all = worst(&found);
        let small = Context::default().with_memory(1 << 20);
        let again = hessian(&network, engine, &outputs, &data, &small).unwrap();
        assert_eq!(worst(&again), all);
    }
}

#[test]
fn extremes_are_those_of_dense_hessians() {
    extremes_match(&Cpu::<f64>::new());
    extremes_match(&Cpu::<f32>::new());
}

#[test]
fn extremes_are_those_of_dense_hessians_on_the_gpu() {
    if let Some(gpu) = gpu() {
        extremes_match(&gpu);
    }
}

#[test]
fn extremes_are_those_of_differences() {
    let network = mlp(3, [6, 20, 2], Activation::Softplus);
    let x = random_rows(5, 1, 6);
    let step = 1e-5;
    let column = |j: usize| {
        let moved = |by: f64| {
            let mut x = x.clone();
            x[[0, j]] += by;
            jets(&network, &x).1.slice(s![0, 1, ..]).to_owned()
        };
        (moved(step) - moved(-step)) / (2.0 * step)
    };
    let columns: Vec<Array1<f64>> = (0..6).map(column).collect();
    let views: Vec<_> = columns.iter().map(|c| c.view()).collect();
    let values = eigenvalues(&ndarray::stack(Axis(1), &views).unwrap());
    let data = Dataset::from_array(x.view()).unwrap();
    let found = hessian(&network, &Cpu::<f64>::new(), &[1], &data, &Context::default()).unwrap()[0][0];
    assert!((found.smallest - values[0]).abs() < 1e-6 && (found.largest - values[5]).abs() < 1e-6);
    let curvature = found.curvature();
    assert_eq!(curvature, Curvature { a: (-found.smallest).max(0.0), b: found.largest.max(0.0) });
}

/// `x^T A x / 2 + ..` has one Hessian everywhere.
#[test]
fn a_quadratic_function_is_known_exactly() {
    let mut builder = Network::builder();
    builder.input("x", &[3]).unwrap();
    let weights = vec![1.0, 1.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, 2.0];
    builder.layer(Dense::new(Constant::f64([3, 3], weights).unwrap(), None).unwrap()).unwrap();
    builder.layer(Activation::Power { exponent: 2.0 }).unwrap();
    let signs = Constant::f64([3, 1], vec![1.0, -2.0, 0.5]).unwrap();
    let end = builder.layer(Dense::new(signs, None).unwrap()).unwrap();
    let network = builder.finish(&[end]).unwrap();
    // (x + y)^2 - 2 (x - y)^2 + 2 z^2: along (1, 1, 0) 4, along (1, -1, 0) -8, along z 4.
    let proof = proved(&network, &[0], &[-5.0; 3], &[9.0; 3], 1, &Context::default()).unwrap();
    let Curvature { a, b } = proof.curvature[0];
    assert!((8.0..8.0 + 1e-10).contains(&a) && (4.0..4.0 + 1e-10).contains(&b), "{a} {b}");
    assert_eq!(proof.boxes, 1);
    let ball = proved_ball(&network, &[0], &[1.0, 2.0, 3.0], 2.0, &Context::default()).unwrap();
    assert!((8.0..8.0 + 1e-10).contains(&ball.curvature[0].a));
}

/// The networks of the polynomial data, where present: tanh with a linear output.
fn polynomial(name: &str, layers: usize) -> Option<Network> {
    let mut builder = Network::builder();
    for layer in 1..=layers {
        let path = format!("../shared/data/polynomial/{name}_W{layer}.csv");
        if !Path::new(&path).exists() {
            println!("skipped: no {path}");
            return None;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let rows: Vec<Vec<f64>> =
            text.lines().map(|line| line.split(',').map(|v| v.trim().parse().unwrap()).collect()).collect();
        let (inputs, units) = (rows.len() - 1, rows[0].len());
        if layer == 1 {
            builder.input("x", &[inputs]).unwrap();
        } else {
            builder.layer(Activation::Tanh).unwrap();
        }
        let weights = Constant::f64([inputs, units], rows[1..].concat()).unwrap();
        let bias = Constant::f64([units], rows[0].clone()).unwrap();
        builder.layer(Dense::new(weights, Some(bias)).unwrap()).unwrap();
    }
    let end = builder.layer(Reshape { shape: vec![1] }).unwrap();
    Some(builder.finish(&[end]).unwrap())
}

/// Proved over found, the larger of both sides and all outputs; asserts that the order is right.
fn looseness(network: &Network, low: &[f64], high: &[f64], budget: usize) -> (f64, usize) {
    let context = Context::default();
    let outputs: Vec<usize> = (0..network.outputs().next().unwrap().shape().iter().product()).collect();
    let proof = proved(network, &outputs, low, high, budget, &context).unwrap();
    let found = search(network, &outputs, low, high, 200, &context).unwrap();
    let mut x = random_rows(9, 50, low.len()).mapv(|v| (v + 1.0) / 3.0);
    for mut row in x.rows_mut() {
        row.iter_mut().zip(low.iter().zip(high)).for_each(|(x, (l, h))| *x = l + (h - l) * *x);
    }
    let data = Dataset::from_array(x.view()).unwrap();
    let sampled = worst(&hessian(network, &Cpu::<f64>::new(), &outputs, &data, &context).unwrap());
    let mut loosest = 1.0_f64;
    for ((proved, reached), (found, sampled)) in
        proof.curvature.iter().zip(&proof.reached).zip(found.iter().zip(sampled))
    {
        let found_at = found.curvature;
        for (proved, reached, found, sampled) in
            [(proved.a, reached.a, found_at.a, sampled.a), (proved.b, reached.b, found_at.b, sampled.b)]
        {
            assert!(proved >= found && proved >= reached * (1.0 - 1e-9), "{proved} {reached} {found}");
            // The search may miss by a little what samples hit, never by much.
            assert!(found >= 0.98 * sampled, "found {found}, sampled {sampled}");
            let least = found.max(reached);
            if least > 1e-6 {
                loosest = loosest.max(proved / least);
            }
        }
    }
    (loosest, proof.boxes)
}

#[test]
fn what_is_proved_holds_what_is_found_and_little_more() {
    for (name, activation) in [
        ("tanh", Activation::Tanh),
        ("sigmoid", Activation::Sigmoid),
        ("gelu", Activation::Gelu),
        ("silu", Activation::Silu),
    ] {
        let network = mlp(40, [2, 16, 2], activation);
        let (one, _) = looseness(&network, &[-2.0, -1.0], &[1.0, 2.0], 1);
        let (many, boxes) = looseness(&network, &[-2.0, -1.0], &[1.0, 2.0], 4000);
        println!("{name}, 2 inputs: looseness {one:.3} with 1 box, {many:.4} with {boxes}");
        assert!(many - 1.0 < (one - 1.0) / 30.0, "{name}: {one} {many}");
        let network = mlp(50, [3, 12, 1], activation);
        let (one, _) = looseness(&network, &[-1.0; 3], &[1.0; 3], 1);
        let (many, boxes) = looseness(&network, &[-1.0; 3], &[1.0; 3], 4000);
        println!("{name}, 3 inputs: looseness {one:.3} with 1 box, {many:.4} with {boxes}");
        assert!(many - 1.0 < (one - 1.0) / 10.0, "{name}: {one} {many}");
    }
}

#[test]
fn many_inputs_have_looser_proofs_that_hold() {
    for (name, layers) in [("tanh_p5w50x3", 4), ("tanh_p10w100x2", 3)] {
        let Some(network) = polynomial(name, layers) else { continue };
        let d = network.inputs().next().unwrap().shape()[0];
        for radius in [0.01, 0.1, 1.0] {
            let (one, _) = looseness(&network, &vec![-radius; d], &vec![radius; d], 1);
            println!("{name}, half side {radius}: looseness {one:.3} with 1 box");
        }
    }
}

/// Networks that mix branches, on which each entry of the Hessian has bounds; and those of images.
#[test]
fn every_smooth_operator_has_proofs() {
    let mut builder = Network::builder();
    let x = builder.input("x", &[2]).unwrap();
    let left = builder.add("left", dense(60, 2, 6), &[x]).unwrap();
    let left = builder.add("tanh", Activation::Tanh, &[left]).unwrap();
    let right = builder.add("right", dense(61, 2, 6), &[x]).unwrap();
    let product = builder.add("product", Branches { operation: Arithmetic::Mul }, &[left, right]).unwrap();
    let shares = builder.add("shares", Softmax { axis: 0, log: false }, &[product]).unwrap();
    let end = builder.add("end", dense(62, 6, 2), &[shares]).unwrap();
    let mixed = builder.finish(&[end]).unwrap();
    let (one, _) = looseness(&mixed, &[-0.5; 2], &[0.5; 2], 1);
    let (many, boxes) = looseness(&mixed, &[-0.5; 2], &[0.5; 2], 3000);
    println!("products and softmax: looseness {one:.3} with 1 box, {many:.4} with {boxes}");
    assert!(many - 1.0 < (one - 1.0) / 50.0, "{one} {many}");

    let mut builder = Network::builder();
    let scaled = |seed, shape: &[usize], by: f64| {
        Constant::f64(shape, random(seed, shape.iter().product()).iter().map(|v| v * by).collect()).unwrap()
    };
    let constant = |seed, shape: &[usize]| scaled(seed, shape, 1.0);
    let x = builder.input("x", &[1, 4, 4]).unwrap();
    let window = Window::new([3, 3]).with_pads([1; 4]);
    let filters = scaled(63, &[2, 1, 3, 3], 0.2);
    let conv = Convolution::new(filters, Some(constant(64, &[2])), window, 1).unwrap();
    let h = builder.add("conv", conv, &[x]).unwrap();
    let norm = ScaleShift::new(constant(65, &[2]), constant(66, &[2])).unwrap();
    let h = builder.add("norm", norm, &[h]).unwrap();
    let h = builder.add("gelu", Activation::Gelu, &[h]).unwrap();
    let filters = scaled(67, &[2, 2, 3, 3], 0.1);
    let inner = Convolution::new(filters, None, window, 1).unwrap();
    let inner = builder.add("inner", inner, &[h]).unwrap();
    let inner = builder.add("sigmoid", Activation::Sigmoid, &[inner]).unwrap();
    let sum = builder.add("skip", Branches { operation: Arithmetic::Add }, &[inner, h]).unwrap();
    let pool = AveragePool { window: Window::new([2, 2]).with_strides([2, 2]), counted: [0; 4] };
    let pooled = builder.add("pool", pool, &[sum]).unwrap();
    let flat = builder.add("flat", Reshape { shape: vec![8] }, &[pooled]).unwrap();
    let end = builder.add("end", dense(68, 8, 2), &[flat]).unwrap();
    let images = builder.finish(&[end]).unwrap();
    for side in [0.05, 0.5] {
        let (one, _) = looseness(&images, &[-side; 16], &[side; 16], 1);
        println!("images with a skip, half side {side}: looseness {one:.3} with 1 box");
        assert!(one < if side < 0.1 { 2.5 } else { 100.0 });
    }
}

/// How many of `count` pairs of points and outputs leave the bounds of anchors: 50 random ones, and those at which the
/// largest curvatures were found. Half of the points are random, half near their anchors.
fn violations(
    network: &Network,
    [low, high]: [&[f64]; 2],
    found: &[Found],
    curvature: &[Curvature],
    count: usize,
) -> usize {
    let d = low.len();
    let place = |rows: Array2<f64>| {
        let mut rows = rows.mapv(|v| (v + 1.0) / 3.0);
        for mut row in rows.rows_mut() {
            row.iter_mut().zip(low.iter().zip(high)).for_each(|(x, (l, h))| *x = l + (h - l) * *x);
        }
        rows
    };
    let mut centers = place(random_rows(70, 50, d));
    for point in found.iter().flat_map(|found| &found.points) {
        centers.push_row(ArrayView1::from(point)).unwrap();
    }
    let anchors = centers.nrows();
    let (at, slopes): (Array2<f64>, Array3<f64>) = jets(network, &centers);
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    let mut wrong = 0;
    const CHUNK: usize = 50_000;
    for (chunk, start) in (0..count).step_by(CHUNK).enumerate() {
        let here = CHUNK.min(count - start);
        let mut points = place(random_rows(71 + 2 * chunk as u64, here, d));
        let shifts = random_rows(72 + 2 * chunk as u64, here, d).mapv(|v| v - 0.5);
        for (n, mut point) in points.rows_mut().into_iter().enumerate().filter(|(n, _)| n / anchors % 2 == 0)
        {
            let anchor = centers.row(n % anchors);
            let size = 10.0_f64.powi(-((n / anchors / 2 % 4) as i32));
            for i in 0..d {
                point[i] = (anchor[i] + shifts[[n, i]] * size * (high[i] - low[i])).clamp(low[i], high[i]);
            }
        }
        let values = program.values(points.view(), &Context::default()).unwrap();
        for (n, point) in points.rows().into_iter().enumerate() {
            let i = n % anchors;
            let way = &point - &centers.row(i);
            let square = way.dot(&way);
            for (k, c) in curvature.iter().enumerate() {
                let tangent = at[[i, k]] + slopes.slice(s![i, k, ..]).dot(&way);
                let rounding = 1e-13 * (1.0 + tangent.abs());
                let g = values[[n, k]];
                let holds = tangent - c.a / 2.0 * square <= g + rounding
                    && g <= tangent + c.b / 2.0 * square + rounding;
                wrong += usize::from(!holds);
            }
        }
    }
    wrong
}

#[test]
fn bounds_of_proved_curvatures_hold_and_of_half_the_found_do_not() {
    let context = Context::default();
    for (network, low, high, budget) in [
        (mlp(40, [2, 16, 2], Activation::Tanh), vec![-2.0, -1.0], vec![1.0, 2.0], 2000),
        (mlp(41, [3, 16, 2], Activation::Gelu), vec![-1.0; 3], vec![1.0; 3], 500),
        (model("digits_sigmoid").cut(None, None).unwrap(), vec![0.0; 64], vec![1.0; 64], 1),
        (model("digits_gelu").cut(None, None).unwrap(), vec![0.0; 64], vec![1.0; 64], 1),
    ] {
        let outputs: Vec<usize> = (0..network.outputs().next().unwrap().shape().iter().product()).collect();
        let proof = proved(&network, &outputs, &low, &high, budget, &context).unwrap();
        let found = search(&network, &outputs, &low, &high, 100, &context).unwrap();
        assert_eq!(violations(&network, [&low, &high], &found, &proof.curvature, 1_000_000), 0);
        // In many dimensions random steps hardly go along the one direction that bends most.
        if low.len() <= 3 {
            let half: Vec<Curvature> =
                found.iter().map(|f| Curvature { a: f.curvature.a / 2.0, b: f.curvature.b / 2.0 }).collect();
            let seen = violations(&network, [&low, &high], &found, &half, 50_000);
            assert!(seen > 0, "half the curvature does not show");
        }
    }
}

#[test]
fn a_ball_is_tighter_than_its_box() {
    let network = model("digits_sigmoid");
    let x = digits(1400..1401).row(0).to_vec();
    let outputs = [0, 1];
    let context = Context::default();
    let ball = proved_ball(&network, &outputs, &x, 0.1, &context).unwrap();
    let [low, high] = [-0.1, 0.1].map(|r| x.iter().map(|x| x + r).collect::<Vec<f64>>());
    let around = proved(&network, &outputs, &low, &high, 1, &context).unwrap();
    for (ball, around) in ball.curvature.iter().zip(&around.curvature) {
        assert!(ball.a < around.a && ball.b < around.b, "{ball:?} {around:?}");
    }
}

#[test]
fn the_same_proof_whatever_the_threads_and_the_memory() {
    let network = mlp(42, [2, 10, 2], Activation::Sigmoid);
    let prove = |context: &Context| proved(&network, &[1, 0], &[-1.0; 2], &[1.0; 2], 300, context).unwrap();
    let expected = prove(&Context::default());
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one.install(|| prove(&Context::default())), expected);
    assert_eq!(prove(&Context::default().with_memory(1 << 17)), expected);
}

fn line<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_cannot_be_had_is_refused() {
    let context = Context::default();
    let data = Dataset::from_array(random_rows(1, 2, 3).view()).unwrap();
    let engine = Cpu::<f32>::new();
    for (activation, name) in [(Activation::Relu, "Relu"), (Activation::Elu { alpha: 0.5 }, "Elu")] {
        let network = mlp(1, [3, 5, 2], activation);
        let all = [
            line(hessian(&network, &engine, &[0], &data, &context)),
            line(proved(&network, &[0], &[0.0; 3], &[1.0; 3], 9, &context)),
            line(proved_ball(&network, &[0], &[0.0; 3], 1.0, &context)),
            line(search(&network, &[0], &[0.0; 3], &[1.0; 3], 9, &context)),
        ];
        for message in all {
            assert!(message.starts_with(&format!("{name} ('{name}2') has kinks")), "{message}");
            assert!(message.ends_with("use a secant curvature"), "{message}");
        }
    }
    let mut builder = Network::builder();
    builder.input("x", &[1, 4, 4]).unwrap();
    builder.layer(Activation::Tanh).unwrap();
    let end = builder.layer(MaxPool { window: Window::new([2, 2]) }).unwrap();
    let message = line(proved(&builder.finish(&[end]).unwrap(), &[0], &[0.0; 16], &[1.0; 16], 9, &context));
    assert!(message.starts_with("MaxPool ('MaxPool2') has kinks"), "{message}");

    let network = mlp(1, [3, 5, 2], Activation::Tanh);
    let prove = |outputs: &[usize], low: &[f64], high: &[f64]| {
        line(proved(&network, outputs, low, high, 9, &context))
    };
    assert_eq!(prove(&[2], &[0.0; 3], &[1.0; 3]), "there is no output 2: expected 0 to 1");
    assert_eq!(prove(&[], &[0.0; 3], &[1.0; 3]), "at least one output is needed");
    let message = "a box with 2 lower and 3 upper ends does not fit the network's 3 inputs";
    assert_eq!(prove(&[0], &[0.0; 2], &[1.0; 3]), message);
    let message = "side 1 of the box goes from 2 to 1: two numbers in ascending order are needed";
    assert_eq!(prove(&[0], &[0.0, 2.0, 0.0], &[1.0; 3]), message);
    assert!(prove(&[0], &[f64::NAN; 3], &[1.0; 3]).starts_with("side 0 of the box goes from NaN to 1"));
    assert_eq!(
        line(proved_ball(&network, &[0], &[0.0; 3], -1.0, &context)),
        "a radius must be finite and at least 0, not -1"
    );
    let little = context.clone().with_memory(100);
    assert!(matches!(proved(&network, &[0], &[0.0; 3], &[1.0; 3], 1, &little), Err(Error::Memory { .. })));
    assert!(matches!(hessian(&network, &engine, &[0], &data, &little), Err(Error::Memory { .. })));
    let stopped = Cancellation::default();
    stopped.cancel();
    let stopped = context.clone().with_cancellation(stopped);
    assert!(matches!(proved(&network, &[0], &[0.0; 3], &[1.0; 3], 1, &stopped), Err(Error::Cancelled)));
    assert!(matches!(hessian(&network, &engine, &[0], &data, &stopped), Err(Error::Cancelled)));

    // The square root bends without bounds at 0.
    let mut builder = Network::builder();
    builder.input("x", &[1]).unwrap();
    let end = builder.layer(Activation::Sqrt).unwrap();
    let root = builder.finish(&[end]).unwrap();
    let message = line(proved(&root, &[0], &[0.0], &[1.0], 99, &context));
    assert!(
        message.starts_with("no finite curvature of output 0 could be proved within 99 boxes"),
        "{message}"
    );
    let proof = proved(&root, &[0], &[0.25], &[1.0], 99, &context).unwrap();
    // a = 1/4 x^(-3/2) at 1/4
    assert!((2.0..2.03).contains(&proof.curvature[0].a) && proof.curvature[0].b < 1e-10);
}

#[test]
fn an_affine_network_does_not_bend() {
    let mut builder = Network::builder();
    builder.input("x", &[3]).unwrap();
    let end = builder.layer(dense(1, 3, 2)).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let context = Context::default();
    let data = Dataset::from_array(random_rows(1, 2, 3).view()).unwrap();
    let found = hessian(&network, &Cpu::<f32>::new(), &[0, 1], &data, &context).unwrap();
    assert_eq!(worst(&found), [Curvature::default(); 2]);
    let proof = proved(&network, &[0, 1], &[-9.0; 3], &[9.0; 3], 100, &context).unwrap();
    assert!(proof.curvature.iter().all(|c| c.a < 1e-200 && c.b < 1e-200) && proof.boxes == 1);
}

/// Not a test: figures for whoever asks, `cargo test --release --test curvature -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn figures() {
    let context = Context::default();
    for name in ["digits_sigmoid", "digits_gelu"] {
        let network = model(name);
        let outputs: Vec<usize> = (0..10).collect();
        let x = digits(0..200);
        let data = Dataset::from_array(x.view()).unwrap();
        let run = |label: &str, f: &dyn Fn() -> Vec<Vec<Extremes>>| {
            let start = Instant::now();
            let found = f();
            let seconds = start.elapsed().as_secs_f64();
            let products: usize = found.iter().flatten().map(|e| e.steps).sum();
            println!(
                "{name} {label}: {products} products in {seconds:.2} s, {:.0} a second; {:.1} steps each",
                products as f64 / seconds,
                products as f64 / 2000.0
            );
        };
        run("f32", &|| hessian(&network, &Cpu::<f32>::new(), &outputs, &data, &context).unwrap());
        run("f64", &|| hessian(&network, &Cpu::<f64>::new(), &outputs, &data, &context).unwrap());
        let ratio = |proof: &fenchel::spline::curvature::Proof, low: &[f64], high: &[f64]| {
            let found = search(&network, &outputs, low, high, 100, &context).unwrap();
            let ratios = proof.curvature.iter().zip(&found).map(|(p, f)| {
                assert!(p.a >= f.curvature.a && p.b >= f.curvature.b);
                (p.a / f.curvature.a).max(p.b / f.curvature.b)
            });
            let mean = |c: &mut dyn Iterator<Item = f64>| c.sum::<f64>() / 10.0;
            let proved = mean(&mut proof.curvature.iter().map(|c| (c.a + c.b) / 2.0));
            let found = mean(&mut found.iter().map(|f| (f.curvature.a + f.curvature.b) / 2.0));
            (ratios.fold(0.0, f64::max), proved, found)
        };
        let mut domains = vec![("[0, 1]^64".to_owned(), vec![0.0; 64], vec![1.0; 64])];
        let center = digits(1400..1401).row(0).to_vec();
        for r in [0.01, 0.05, 0.1] {
            let [low, high] = [-r, r].map(|r| center.iter().map(|x| x + r).collect());
            domains.push((format!("box {r}"), low, high));
        }
        for (label, low, high) in domains {
            let start = Instant::now();
            let proof = proved(&network, &outputs, &low, &high, 1, &context).unwrap();
            let seconds = start.elapsed().as_secs_f64();
            let (worst, proved, found) = ratio(&proof, &low, &high);
            println!(
                "{name} {label}: at most {worst:.2}, mean {proved:.3} proved / {found:.3} found; {seconds:.2} s"
            );
        }
        for r in [0.01, 0.05, 0.1, 0.5] {
            let start = Instant::now();
            let proof = proved_ball(&network, &outputs, &center, r, &context).unwrap();
            let seconds = start.elapsed().as_secs_f64();
            // What a box inside the ball shows.
            let side = r / 8.0;
            let [low, high] = [-side, side].map(|r| center.iter().map(|x| x + r).collect::<Vec<f64>>());
            let (worst, proved, found) = ratio(&proof, &low, &high);
            println!(
                "{name} ball {r}: at most {worst:.2}, mean {proved:.3} proved / {found:.3} found; {seconds:.2} s"
            );
        }
    }
    for activation in [Activation::Tanh, Activation::Sigmoid, Activation::Gelu] {
        let network = mlp(40, [2, 32, 2], activation);
        for budget in [1, 10, 100, 1000, 10_000] {
            let start = Instant::now();
            let proof = proved(&network, &[0, 1], &[-2.0; 2], &[2.0; 2], budget, &context).unwrap();
            let seconds = start.elapsed().as_secs_f64();
            let (loose, boxes) = looseness(&network, &[-2.0; 2], &[2.0; 2], budget);
            println!("2-32-32-2 {activation:?}: {boxes} boxes, looseness {loose:.4}, {seconds:.3} s");
            assert_eq!(proof.boxes, boxes);
        }
    }
}
