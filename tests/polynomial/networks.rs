//! Polynomials against the networks that they expand.

use fenchel::engine::{Activation, Arithmetic, Window};
use fenchel::network::operators::{AveragePool, Branches, Convolution, Dense, Reshape, ScaleShift};
use fenchel::network::{Constant, Network};
use fenchel::polynomial::{Centre, Polynomial, Settings};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use ndarray::Array2;

use super::common::{dense, jets, mlp, random, random_rows};
use super::{by_term, expand, layered, local, matrix, refusal, settings};

/// The largest error at some points near the centre.
fn error(network: &Network, polynomial: &Polynomial, radius: f64) -> f64 {
    let d = polynomial.at().len();
    let x = Array2::from_shape_fn((20, d), |(i, c)| {
        polynomial.at()[c] + radius * (random(7 + i as u64, d)[c] - 0.5) / 1.5
    });
    let (values, _) = jets(network, &x);
    (polynomial.values(x.view()).unwrap() - values).iter().fold(0.0, |most, e| e.abs().max(most))
}

/// Two layers of small weights, so that series converge fast.
fn small(seed: u64, activation: Activation) -> Network {
    let dense = |seed: u64, inputs: usize, outputs: usize| {
        let values = |seed, count| random(seed, count).iter().map(|w| 0.2 * (w - 0.5)).collect();
        let weights = Constant::f64([inputs, outputs], values(seed, inputs * outputs)).unwrap();
        Dense::new(weights, Some(Constant::f64([outputs], values(seed + 1, outputs)).unwrap())).unwrap()
    };
    layered(2, |b| {
        b.layer(dense(seed, 2, 4)).unwrap();
        b.layer(activation).unwrap();
        b.layer(dense(seed + 10, 4, 4)).unwrap();
        b.layer(activation).unwrap();
        b.layer(dense(seed + 20, 4, 3)).unwrap()
    })
}

const SMOOTH: [Activation; 10] = [
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Softplus,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Mish,
    Activation::Erf,
    Activation::Exp,
    Activation::Sin,
];

#[test]
fn polynomials_become_the_network_as_the_order_grows() {
    for (i, activation) in SMOOTH.into_iter().enumerate() {
        let network = small(100 * i as u64, activation);
        let at = [0.2, -0.1];
        let errors: Vec<f64> =
            (1..=11).map(|order| error(&network, &expand(&network, &local(order), &at), 0.4)).collect();
        assert!(errors[10] < EXACT && errors[0] > 1e7 * errors[10], "{activation:?}: {errors:?}");
        // Of order n + 1 in the radius.
        let third = expand(&network, &local(3), &at);
        let ratio = error(&network, &third, 0.1) / error(&network, &third, 0.05);
        assert!((11.0..22.0).contains(&ratio), "{activation:?}: {ratio}");
        // The published way, about 0, where the potentials are small.
        let far = error(&network, &expand(&network, &settings(9, 24), &at), 0.4);
        assert!(far < 1e-5, "{activation:?}: {far}");
    }
}

#[test]
fn functions_in_pieces_are_expanded_within_a_piece() {
    // All potentials stay positive near the point: softsign is u / (1 + u) there.
    let network = layered(2, |b| {
        b.layer(matrix(&[&[0.3, -0.2], &[0.1, 0.4]], &[1.0, 1.5])).unwrap();
        b.layer(Activation::Softsign).unwrap();
        b.layer(matrix(&[&[1.0], &[-2.0]], &[0.0])).unwrap()
    });
    assert!(error(&network, &expand(&network, &local(12), &[0.1, 0.2]), 0.3) < EXACT);
    let text = refusal(&network, &settings(3, 8));
    assert!(text.contains("Softsign") && text.contains("no Taylor series at 0"), "{text}");
    let about_one = Settings { centre: Centre::At(vec![1.2]), ..settings(12, 20) };
    assert!(error(&network, &expand(&network, &about_one, &[0.1, 0.2]), 0.3) < CLOSE);
}

/// Branches that join, products of branches with broadcasting, normalisation and convolutions.
#[test]
fn every_affine_operator_and_products_take_part() {
    let mut b = Network::builder();
    let x = b.input("x", &[2, 3, 4]).unwrap();
    let filters = |seed: u64, shape: [usize; 4]| {
        let values = random(seed, shape.iter().product()).iter().map(|v| 0.2 * (v - 0.4)).collect();
        Constant::f64(shape, values).unwrap()
    };
    let window = Window::new([3, 3]).with_pads([1; 4]);
    let bias = Constant::f64([3], vec![0.1, -0.2, 0.05]).unwrap();
    let conv = Convolution::new(filters(1, [3, 2, 3, 3]), Some(bias), window, 1).unwrap();
    let conv = b.add("conv", conv, &[x]).unwrap();
    let scale = Constant::f64([3], vec![1.2, 0.7, -0.5]).unwrap();
    let shift = Constant::f64([3], vec![0.1, 0.0, -0.1]).unwrap();
    let normal = b.add("norm", ScaleShift::new(scale, shift).unwrap(), &[conv]).unwrap();
    let tanh = b.add("tanh", Activation::Tanh, &[normal]).unwrap();
    let pool = AveragePool { window: Window::new([3, 4]), counted: [0; 4] };
    let pooled = b.add("pool", pool, &[tanh]).unwrap();
    let gate = b.add("gate", Activation::Sigmoid, &[pooled]).unwrap();
    // [3, 3, 4] times [3, 1, 1], as in squeeze and excitation.
    let excited = b.add("excite", Branches { operation: Arithmetic::Mul }, &[tanh, gate]).unwrap();
    let residual = b.add("sum", Branches { operation: Arithmetic::Sub }, &[excited, conv]).unwrap();
    let flat = b.add("flat", Reshape { shape: vec![36] }, &[residual]).unwrap();
    let end = b.add("end", dense(5, 36, 2), &[flat]).unwrap();
    let network = b.finish(&[end]).unwrap();
    let at = random(9, 24);
    for order in 1..4 {
        let polynomial = expand(&network, &local(order), &at);
        let ratio = error(&network, &polynomial, 0.1) / error(&network, &polynomial, 0.05);
        let expected = f64::from(1 << (order + 1));
        assert!((0.7 * expected..1.4 * expected).contains(&ratio), "order {order}: {ratio}");
    }
    // x sigmoid(x) written as a product is SiLU, about 0 too.
    let product = |merged: bool| {
        layered(3, |b| {
            let u = b.layer(dense(3, 3, 4)).unwrap();
            if merged {
                b.layer(Activation::Silu).unwrap();
            } else {
                let gate = b.add("gate", Activation::Sigmoid, &[u]).unwrap();
                // 0 + u, so that it is not recognised.
                let same = b.add("same", Branches { operation: Arithmetic::Add }, &[u, u]).unwrap();
                b.add("product", Branches { operation: Arithmetic::Mul }, &[same, gate]).unwrap();
            }
            b.layer(dense(8, 4, 2)).unwrap()
        })
    };
    let (merged, split) = (product(true), product(false));
    let (merged, split) = (expand(&merged, &local(5), &[0.3; 3]), expand(&split, &local(5), &[0.3; 3]));
    let bias = dense(8, 4, 2).bias().unwrap().to::<f64>();
    // Twice SiLU, beside the bias.
    let halved = split.coefficients().iter().enumerate().map(|(i, c)| {
        let bias = if i < 2 { bias[i] } else { 0.0 };
        (c - bias) / 2.0 + bias
    });
    assert!(relative_difference(halved, merged.coefficients().iter().copied()) < EXACT);
}

/// A network that is a polynomial is itself, wherever it is expanded.
#[test]
fn expansions_around_two_points_are_one_polynomial() {
    let network = mlp(3, [3, 4, 2], Activation::Power { exponent: 2.0 });
    let (one, other) =
        (expand(&network, &local(4), &[0.0; 3]), expand(&network, &settings(4, 2), &[0.4, -1.0, 2.0]));
    let x = random_rows(4, 30, 3);
    let (values, jacobians) = jets(&network, &x);
    for polynomial in [&one, &other] {
        assert!(relative_difference(polynomial.values(x.view()).unwrap(), values.clone()) < EXACT);
        assert!(relative_difference(polynomial.gradients(x.view()).unwrap(), jacobians.clone()) < EXACT);
    }
    // Twice the coefficients of squares and once those of products are second derivatives.
    let step = 1e-3;
    let along = |i: usize, by: f64| {
        let mut x = Array2::from_shape_vec((1, 3), other.at().to_vec()).unwrap();
        x[[0, i]] += by;
        jets(&network, &x).1
    };
    let terms = by_term(&other, 1);
    for (i, j) in [(0, 0), (0, 2), (1, 2), (2, 2)] {
        let slope = (along(i, step)[[0, 1, j]] - along(i, -step)[[0, 1, j]]) / (2.0 * step);
        let found = terms[&vec![i + 1, j + 1]] * if i == j { 2.0 } else { 1.0 };
        assert!((found - slope).abs() < APPROXIMATE * slope.abs().max(1.0), "{i} {j}: {found} {slope}");
    }
}

#[test]
fn local_expansions_have_the_value_and_the_slopes_of_the_network() {
    let network = mlp(17, [4, 6, 3], Activation::Tanh);
    let at = random(2, 4);
    let polynomial = expand(&network, &local(3), &at);
    let x = Array2::from_shape_vec((1, 4), at).unwrap();
    let (values, jacobians) = jets(&network, &x);
    assert!(relative_difference(polynomial.values(x.view()).unwrap(), values) < EXACT);
    assert!(relative_difference(polynomial.gradients(x.view()).unwrap(), jacobians) < EXACT);
}

/// ReLU smoothed comes near ReLU as it gets sharper.
#[test]
fn kinks_can_be_smoothed() {
    let network = mlp(5, [2, 6, 1], Activation::LeakyRelu { slope: 0.1 });
    let off = [4.0, 40.0, 400.0].map(|sharpness| {
        let smooth = Settings { smooth: Some(sharpness), ..local(2) };
        let polynomial = expand(&network, &smooth, &[0.3, 0.5]);
        let x = Array2::from_shape_vec((1, 2), vec![0.3, 0.5]).unwrap();
        let (values, jacobians) = jets(&network, &x);
        let value = (polynomial.values(x.view()).unwrap() - values)[[0, 0]].abs();
        let slopes = polynomial.gradients(x.view()).unwrap() - jacobians;
        (value, slopes.iter().fold(0.0_f64, |most, s| most.max(s.abs())))
    });
    assert!(off[1].0 < off[0].0 && off[2].0 < APPROXIMATE, "{off:?}");
    assert!(off[2].1 < off[0].1, "{off:?}");
}
