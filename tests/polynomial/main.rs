//! Networks as polynomials, against what is known: coefficients by hand, published ones, exact rational arithmetic, and
//! the networks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../activation/rational.rs"]
#[allow(dead_code, reason = "series of activations are another test's")]
mod rational;

#[path = "../common/mod.rs"]
mod common;
mod diagnosis;
mod exact;
mod networks;

use std::collections::BTreeMap;

use common::{dense, mlp, random, random_rows};
use fenchel::engine::{Activation, Context, Cpu, Gpu, SplineEngine, Window};
use fenchel::network::operators::{Dense, MaxPool, Softmax};
use fenchel::network::{Constant, Network, NodeId};
use fenchel::polynomial::{Centre, Composition, Polynomial, Settings};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use ndarray::s;

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
