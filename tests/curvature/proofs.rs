//! What is proved, against what searches find and what networks do.

use std::path::Path;

use fenchel::data::Dataset;
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Curvature, Window};
use fenchel::network::operators::{AveragePool, Branches, Convolution, Dense, Reshape, ScaleShift, Softmax};
use fenchel::network::{Constant, Network};
use fenchel::spline::curvature::{Found, hessian, proved, proved_ball, search, worst};
use ndarray::{Array2, Array3, ArrayView1, s};

use super::common::{dense, jets, mlp, random, random_rows};
use super::{digits, looseness, model};

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
