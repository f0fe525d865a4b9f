//! Networks as polynomials, against what is known: coefficients by hand, published ones, exact rational arithmetic, and
//! the networks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "activation/rational.rs"]
#[allow(dead_code, reason = "series of activations are another test's")]
mod rational;

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{dense, jets, mlp, random, random_rows};
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Gpu, SplineEngine, Window};
use fenchel::network::operators::{
    AveragePool, Branches, Convolution, Dense, MaxPool, Reshape, ScaleShift, Softmax,
};
use fenchel::network::{Constant, Network, NodeId};
use fenchel::polynomial::{Centre, Comparison, Composition, Polynomial, Settings, diagnose, weight_norms};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use ndarray::{Array2, s};
use rational::Fraction;

/// The published way: expanded about 0.
fn settings(order: usize, taylor: usize) -> Settings {
    Settings { order, taylor: vec![taylor], centre: Centre::At(vec![0.0]), smooth: None }
}

/// The network's own Taylor polynomial.
fn local(order: usize) -> Settings {
    Settings { centre: Centre::Own, ..settings(order, order) }
}

fn expand_on<E: SplineEngine>(engine: &E, network: &Network, settings: &Settings, at: &[f64]) -> Polynomial {
    let program = network.merged_layers().unwrap().compile_unfolded(engine).unwrap();
    let composition = Composition::new(&program, settings.clone(), at.to_vec()).unwrap();
    let variables: Vec<usize> = (0..at.len()).collect();
    let outputs: Vec<usize> = (0..program.outputs()).collect();
    composition.polynomial(&variables, &outputs, &Context::default()).unwrap()
}

fn expand(network: &Network, settings: &Settings, at: &[f64]) -> Polynomial {
    expand_on(&Cpu::<f64>::new(), network, settings, at)
}

fn refusal(network: &Network, settings: &Settings) -> String {
    let program = network.merged_layers().unwrap().compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let composition = Composition::new(&program, settings.clone(), vec![0.0; program.dimension()]);
    composition.err().unwrap().to_string()
}

fn layered(inputs: usize, layers: impl FnOnce(&mut fenchel::network::Builder) -> NodeId) -> Network {
    let mut builder = Network::builder();
    builder.input("x", &[inputs]).unwrap();
    let end = layers(&mut builder);
    builder.finish(&[end]).unwrap()
}

fn matrix(rows: &[&[f64]], bias: &[f64]) -> Dense {
    let weights = Constant::f64([rows.len(), bias.len()], rows.concat()).unwrap();
    Dense::new(weights, Some(Constant::f64([bias.len()], bias.to_vec()).unwrap())).unwrap()
}

/// Coefficients by the inputs of their terms.
fn by_term(polynomial: &Polynomial, output: usize) -> BTreeMap<Vec<usize>, f64> {
    let rows = polynomial.coefficients().chunks(polynomial.outputs()).map(|row| row[output]);
    polynomial.monomials().iter().map(|monomial| polynomial.term(&monomial)).zip(rows).collect()
}

#[test]
fn small_cases_are_as_by_hand() {
    // tanh u = u - u^3/3 + .., u = x1 + 2 x2; twice that and 1/2.
    let network = layered(2, |b| {
        b.layer(matrix(&[&[1.0], &[2.0]], &[0.0])).unwrap();
        b.layer(Activation::Tanh).unwrap();
        b.layer(matrix(&[&[2.0]], &[0.5])).unwrap()
    });
    let found = expand(&network, &settings(3, 3), &[0.0, 0.0]);
    let expected = [0.5, 2.0, 4.0, 0.0, 0.0, 0.0, -2.0 / 3.0, -4.0, -8.0, -16.0 / 3.0];
    assert!(relative_difference(found.coefficients().iter().copied(), expected) < EXACT);
    // exp about 0 to order 2, of a potential with the constant 1: (1 + u + u^2/2) at u = 1 + x.
    let network = layered(1, |b| {
        b.layer(matrix(&[&[1.0]], &[1.0])).unwrap();
        b.layer(Activation::Exp).unwrap()
    });
    let found = expand(&network, &settings(2, 2), &[0.0]);
    assert!(relative_difference(found.coefficients().iter().copied(), [2.5, 2.0, 0.5]) < EXACT);
    // Own centres: e (1 + x + x^2/2).
    let e = std::f64::consts::E;
    let found = expand(&network, &local(2), &[0.0]);
    assert!(relative_difference(found.coefficients().iter().copied(), [e, e, e / 2.0]) < EXACT);
    // An affine network, to every order.
    let network = layered(2, |b| b.layer(matrix(&[&[3.0], &[-1.0]], &[0.25])).unwrap());
    for order in 1..4 {
        let found = by_term(&expand(&network, &settings(order, 8), &[1.0, 1.0]), 0);
        let expected = [(vec![], 2.25), (vec![1], 3.0), (vec![2], -1.0)];
        assert!(expected.iter().all(|(term, c)| found[term] == *c));
        assert!(found.iter().all(|(term, &c)| term.len() < 2 || c == 0.0));
    }
}

/// The shared networks, where they are.
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/polynomial");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no ../shared/data/polynomial");
    None
}

/// A network of tanh layers out of its tables, in f64.
fn published(folder: &Path, name: &str) -> Network {
    let mut builder = Network::builder();
    let (mut layer, mut end) = (1, None);
    while let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}_W{layer}.csv"))) {
        let row = |line: &str| line.split(',').map(|v| v.trim().parse::<f64>().unwrap()).collect();
        let rows: Vec<Vec<f64>> = text.lines().map(row).collect();
        if layer == 1 {
            builder.input("x", &[rows.len() - 1]).unwrap();
        } else {
            builder.layer(Activation::Tanh).unwrap();
        }
        let weights: Vec<&[f64]> = rows[1..].iter().map(|row| &row[..]).collect();
        end = Some(builder.layer(matrix(&weights, &rows[0])).unwrap());
        layer += 1;
    }
    builder.finish(&[end.unwrap()]).unwrap()
}

/// How near published coefficients are asked for, of the largest one.
const PUBLISHED: f64 = 1e-12;

#[test]
fn published_coefficients_come_out() {
    let Some(folder) = shared() else { return };
    for (name, inputs) in [("tanh_p5w50x3", 5), ("tanh_p10w100x2", 10), ("tanh_p54w32x2", 54)] {
        let found = expand(&published(&folder, name), &settings(3, 8), &vec![0.0; inputs]);
        let text = std::fs::read_to_string(folder.join(format!("{name}_coef.csv"))).unwrap();
        let (mut lines, mut expected) = (text.lines().skip(1), vec![]);
        for monomial in found.monomials().iter() {
            let (label, value) = lines.next().unwrap().split_once(',').unwrap();
            let term: Vec<String> = found.term(&monomial).iter().map(ToString::to_string).collect();
            assert_eq!(label, if term.is_empty() { "0".to_owned() } else { term.join("-") });
            expected.push(value.trim().parse::<f64>().unwrap());
        }
        assert!(lines.next().is_none());
        let off = relative_difference(found.coefficients().iter().copied(), expected);
        assert!(off <= PUBLISHED, "{name}: {off:e}");
    }
}

/// A polynomial in exact arithmetic, by monomials of sorted inputs.
type Exact = BTreeMap<Vec<usize>, Fraction>;

fn product(a: &Exact, b: &Exact) -> Exact {
    let mut sum = Exact::new();
    for (one, &c) in a {
        for (other, &d) in b {
            let mut term = [&one[..], other].concat();
            term.sort_unstable();
            let entry = sum.entry(term).or_insert(Fraction::new(0, 1));
            *entry = *entry + c * d;
        }
    }
    sum
}

/// Sums of polynomials times eighths, and eighths.
fn affine(inputs: &[Exact], weights: &[i128], bias: i128) -> Exact {
    let mut sum = Exact::from([(vec![], Fraction::new(bias, 8))]);
    for (input, &w) in inputs.iter().zip(weights) {
        for (term, &c) in input {
            let entry = sum.entry(term.clone()).or_insert(Fraction::new(0, 1));
            *entry = *entry + c * Fraction::new(w, 8);
        }
    }
    sum
}

/// Every power of every unit multiplied out, nothing truncated before the end.
#[test]
fn coefficients_are_those_of_brute_force_in_fractions() {
    let weights: [[[i128; 3]; 3]; 3] = [
        [[3, -2, 1], [1, 4, -3], [-1, 2, 2]],
        [[2, 1, -3], [-2, 3, 1], [1, -1, 2]],
        [[1, -3, 2], [2, 2, -1], [-1, 1, 3]],
    ];
    let biases: [[i128; 3]; 3] = [[1, -2, 0], [0, 1, -1], [2, 0, -1]];
    for (layers, order, series, taylor) in [
        (2, 4, rational::tanh(3), Activation::Tanh),
        (3, 3, (0..3).map(|n| Fraction::new(1, rational::factorial(n))).collect(), Activation::Exp),
        (2, 2, (0..5).map(|n| rational::binomial(Fraction::new(n, 1), 0)).collect(), Activation::Tanh),
    ] {
        // Of the last case only the shape is another: its series is tanh's again, to a higher order than the total one.
        let series: Vec<Fraction> = if order == 2 { rational::tanh(3) } else { series };
        let mut polynomials: Vec<Exact> =
            (1..4).map(|i| Exact::from([(vec![i], Fraction::new(1, 1))])).collect();
        for layer in 0..layers {
            polynomials = (0..3)
                .map(|unit| {
                    let column: Vec<i128> = weights[layer].iter().map(|row| row[unit]).collect();
                    affine(&polynomials, &column, biases[layer][unit])
                })
                .collect();
            if layer + 1 == layers {
                break;
            }
            for polynomial in &mut polynomials {
                let (mut power, mut sum) = (Exact::from([(vec![], Fraction::new(1, 1))]), Exact::new());
                for &c in &series {
                    for (term, &d) in &power {
                        let entry = sum.entry(term.clone()).or_insert(Fraction::new(0, 1));
                        *entry = *entry + c * d;
                    }
                    power = product(&power, polynomial);
                }
                *polynomial = sum;
                // The highest terms would overflow; they do not come down again.
                polynomial.retain(|term, _| term.len() <= order);
            }
        }
        let network = layered(3, |b| {
            let mut end = None;
            for layer in 0..layers {
                if layer > 0 {
                    b.layer(taylor).unwrap();
                }
                let eighths = |row: &[i128; 3]| row.map(|w| w as f64 / 8.0);
                let rows = weights[layer].map(|row| eighths(&row));
                let rows: Vec<&[f64]> = rows.iter().map(|row| &row[..]).collect();
                end = Some(b.layer(matrix(&rows, &eighths(&biases[layer]))).unwrap());
            }
            end.unwrap()
        });
        let found = expand(&network, &settings(order, series.len() - 1), &[0.0; 3]);
        for (output, polynomial) in polynomials.iter().enumerate() {
            let found = by_term(&found, output);
            let exact = found.keys().map(|term| polynomial.get(term).map_or(0.0, |c| c.value()));
            let off = relative_difference(found.values().copied(), exact);
            assert!(off < EXACT, "{layers} layers, order {order}, output {output}: {off:e}");
        }
    }
}

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

#[test]
fn gradients_are_differences_of_values() {
    let polynomial =
        Polynomial::new(vec![0.1, -0.3, 0.7, 0.0], vec![0, 2, 3], 4, 2, random(1, 35 * 2)).unwrap();
    let x = random_rows(5, 6, 4);
    let gradients = polynomial.gradients(x.view()).unwrap();
    let step = 1e-5;
    for c in 0..4 {
        let moved = |by: f64| {
            let mut x = x.clone();
            x.column_mut(c).mapv_inplace(|v| v + by);
            polynomial.values(x.view()).unwrap()
        };
        let slopes = (moved(step) - moved(-step)) / (2.0 * step);
        if c == 1 {
            // No variable.
            assert!(gradients.slice(s![.., .., c]).iter().all(|&g| g == 0.0));
        } else {
            assert!(relative_difference(gradients.slice(s![.., .., c]).iter().copied(), slopes) < CLOSE);
        }
    }
    assert!(Polynomial::new(vec![0.0; 2], vec![1, 0], 1, 1, vec![0.0; 3]).is_err());
    assert!(Polynomial::new(vec![0.0; 2], vec![0, 1], 2, 1, vec![0.0; 5]).is_err());
    assert!(polynomial.values(random_rows(1, 2, 3).view()).is_err());
}

#[test]
fn some_inputs_and_some_outputs_are_those_of_all() {
    let network = mlp(23, [5, 7, 4], Activation::Sigmoid);
    let at = random(3, 5);
    let all = expand(&network, &local(3), &at);
    let program = network.merged_layers().unwrap().compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let composition = Composition::new(&program, local(3), at.clone()).unwrap();
    let some = composition.polynomial(&[1, 4], &[3, 0], &Context::default()).unwrap();
    for (output, number) in [(0, 3), (1, 0)] {
        let all = by_term(&all, number);
        let some = by_term(&some, output);
        assert_eq!(some.len(), 10);
        let expected = some.keys().map(|term| all[term]);
        assert!(relative_difference(some.values().copied(), expected) < EXACT);
    }
    for wrong in [&[][..], &[2, 1], &[0, 5], &[1, 1]] {
        assert!(composition.polynomial(wrong, &[0], &Context::default()).is_err());
    }
    assert!(composition.polynomial(&[0], &[4], &Context::default()).is_err());
}

/// Values along rays are those of the monomials; errors are those of the network.
#[test]
fn diagnoses_are_what_the_polynomial_and_the_network_say() {
    let network = mlp(31, [3, 6, 2], Activation::Tanh);
    let program = network.merged_layers().unwrap().compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let x = random_rows(11, 700, 3);
    for (settings, variables) in [
        (settings(3, 5), vec![0, 1, 2]),
        (local(2), vec![0, 2]),
        (Settings { taylor: vec![5, 2], centre: Centre::At(vec![0.1, -0.2]), ..settings(4, 5) }, vec![1]),
    ] {
        let composition = Composition::new(&program, settings, vec![0.2, 0.1, -0.1]).unwrap();
        let polynomial = composition.polynomial(&variables, &[0, 1], &Context::default()).unwrap();
        let mut seen = x.clone();
        (0..3).filter(|c| !variables.contains(c)).for_each(|c| seen.column_mut(c).fill([0.2, 0.1, -0.1][c]));
        let (values, truth) = (polynomial.values(seen.view()).unwrap(), jets(&network, &seen).0);
        let (mut along, mut compared) = (vec![], vec![]);
        let rows = |range: std::ops::Range<usize>| Ok(x.slice(s![range, ..]).to_owned());
        let context = Context::default();
        let comparison = Comparison { variables: &variables, outputs: &[0, 1], tolerance: 0.01 };
        let found = diagnose(&composition, comparison, 700, rows, &context, |_, polynomial, network| {
            along.extend_from_slice(polynomial);
            compared.extend_from_slice(network);
            Ok(())
        })
        .unwrap();
        assert!(relative_difference(along, values.iter().copied()) < EXACT);
        assert!(relative_difference(compared, truth.iter().copied()) < EXACT);
        let errors = (&values - &truth).mapv(f64::abs);
        let mse = errors.mapv(|e| e * e).mean().unwrap();
        assert!(relative_difference([found.outputs.mse], [mse]) < EXACT);
        let largest = errors.iter().copied().fold(0.0, f64::max);
        assert!(relative_difference([found.outputs.max_abs], [largest]) < EXACT);
        let deviation = (truth.mapv(|v| v * v).mean().unwrap() - truth.mean().unwrap().powi(2)).sqrt();
        let relative = found.outputs.relative_rmse.unwrap();
        assert!(relative_difference([relative], [mse.sqrt() / deviation]) < CLOSE);
        let same =
            values.rows().into_iter().zip(truth.rows()).filter(|(a, b)| (a[0] < a[1]) == (b[0] < b[1]));
        assert_eq!(found.agreement, Some(same.count() as f64 / 700.0));
        assert_eq!(found.layers.len(), 2);
    }
}

#[test]
fn layers_say_where_they_are_good() {
    // One unit with the potential 2 x: tanh about 0, radius pi/2.
    let network = layered(1, |b| {
        b.layer(matrix(&[&[2.0]], &[0.0])).unwrap();
        b.layer(Activation::Tanh).unwrap()
    });
    let program = network.merged_layers().unwrap().compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let composition = Composition::new(&program, settings(3, 3), vec![0.0]).unwrap();
    let x = Array2::from_shape_fn((1001, 1), |(i, _)| i as f64 / 1000.0);
    let rows = |range: std::ops::Range<usize>| Ok(x.slice(s![range, ..]).to_owned());
    let comparison = Comparison { variables: &[0], outputs: &[0], tolerance: 0.01 };
    let found =
        diagnose(&composition, comparison, 1001, rows, &Context::default(), |_, _, _| Ok(())).unwrap();
    let layer = &found.layers[0];
    assert_eq!(layer.radius, Some(std::f64::consts::FRAC_PI_2));
    assert_eq!(layer.potentials, [0.0, 0.02, 0.5, 1.0, 1.5, 1.98, 2.0]);
    // Beyond: 2 x >= pi/2.
    assert!((layer.beyond - (1000 - 785) as f64 / 1001.0).abs() < EXACT, "{}", layer.beyond);
    let taylor = |u: f64| u - u * u * u / 3.0;
    let good = (0..=1000).filter(|&i| {
        let u = f64::from(i) / 500.0;
        (taylor(u) - u.tanh()).abs() <= 0.01
    });
    assert_eq!(layer.inside, good.count() as f64 / 1001.0);
    let square = |i: i32| {
        let u = f64::from(i) / 500.0;
        (taylor(u) - u.tanh()).powi(2)
    };
    let mse = (0..=1000).map(square).sum::<f64>() / 1001.0;
    assert!(relative_difference([layer.taylor_mse, layer.errors.mse], [mse, mse]) < EXACT);
    assert!(layer.warning().unwrap().contains("radius of convergence 1.5708"));
}

#[test]
fn norms_are_sums_over_weights_and_bias() {
    let network = layered(2, |b| {
        b.layer(matrix(&[&[3.0, -1.0], &[0.0, 2.0]], &[-4.0, 0.5])).unwrap();
        b.layer(Activation::Tanh).unwrap();
        b.layer(matrix(&[&[0.5], &[-0.25]], &[0.0])).unwrap()
    });
    let norms = weight_norms(&network);
    assert_eq!(norms.len(), 2);
    assert_eq!((norms[0].units, norms[0].l1), (2, [7.0, 5.25]));
    assert!(relative_difference(norms[0].l2, [5.0, (5.0 + 5.25_f64.sqrt()) / 2.0]) < EXACT);
    let filters = Constant::f64([2, 1, 1, 2], vec![1.0, -2.0, 0.5, 0.25]).unwrap();
    let mut b = Network::builder();
    b.input("x", &[1, 1, 5]).unwrap();
    let bias = Some(Constant::f64([2], vec![1.0, -1.0]).unwrap());
    let end = b.layer(Convolution::new(filters, bias, Window::new([1, 2]), 1).unwrap()).unwrap();
    let norms = weight_norms(&b.finish(&[end]).unwrap());
    assert_eq!(norms[0].l1, [4.0, (4.0 + 1.75) / 2.0]);
}

#[test]
fn what_cannot_be_expanded_is_refused_with_the_reason() {
    let relu = mlp(1, [3, 4, 2], Activation::Relu);
    let text = refusal(&relu, &settings(3, 8));
    assert!(
        text.matches("Relu (").count() == 2 && text.contains("kink") && text.contains("--smooth"),
        "{text}"
    );
    let softmax = layered(3, |b| {
        b.layer(dense(1, 3, 4)).unwrap();
        b.layer(Softmax { axis: 0, log: false }).unwrap()
    });
    let text = refusal(&softmax, &settings(3, 8));
    assert!(text.contains("Softmax") && text.contains("a Taylor series"), "{text}");
    let mut b = Network::builder();
    b.input("x", &[1, 4, 4]).unwrap();
    let end = b.layer(MaxPool { window: Window::new([2, 2]) }).unwrap();
    let pool = b.finish(&[end]).unwrap();
    let text = refusal(&pool, &settings(3, 8));
    assert!(text.contains("MaxPool"), "{text}");
    let tanh = mlp(1, [3, 4, 2], Activation::Tanh);
    for (wrong, what) in [
        (settings(0, 8), "order of 0"),
        (settings(17, 8), "1 to 16"),
        (settings(3, 0), "Taylor order of 0"),
        (Settings { taylor: vec![8; 3], ..settings(3, 8) }, "3 Taylor orders for 2 layers"),
        (Settings { centre: Centre::At(vec![]), ..settings(3, 8) }, "0 centres for 2 layers"),
    ] {
        let text = refusal(&tanh, &wrong);
        assert!(text.contains(what), "{text}");
    }
    // What would not fit says so before it begins.
    let wide = mlp(1, [784, 4, 2], Activation::Tanh);
    let program = wide.merged_layers().unwrap().compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let variables: Vec<usize> = (0..784).collect();
    for order in [3, 6, 16] {
        let composition = Composition::new(&program, settings(order, 8), vec![0.0; 784]).unwrap();
        let text = composition.polynomial(&variables, &[0], &Context::default()).unwrap_err().to_string();
        assert!(text.contains("terms") && text.contains("--memory") && text.contains("--inputs"), "{text}");
    }
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

/// Blocks of terms and memory change no bit; f32 and graphics devices agree to their precision.
#[test]
fn engines_and_budgets_agree() {
    let network = mlp(41, [12, 20, 3], Activation::Tanh);
    let at = random(6, 12).iter().map(|v| 0.2 * v).collect::<Vec<_>>();
    let reference = expand(&network, &local(4), &at);
    let single = expand_on(&Cpu::<f32>::new(), &network, &local(4), &at);
    let coefficients = |polynomial: &Polynomial| polynomial.coefficients().to_vec();
    let off = relative_difference(coefficients(&single), coefficients(&reference));
    assert!(off < APPROXIMATE, "{off:e}");
    if let Some(gpu) = common::gpu() {
        let found: Polynomial = expand_on::<Gpu>(&gpu, &network, &local(4), &at);
        let off = relative_difference(coefficients(&found), coefficients(&reference));
        assert!(off < APPROXIMATE, "{off:e}");
    }
}
