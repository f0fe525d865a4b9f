//! Curvatures out of Hessians: the extremes against dense matrices, proofs against searches, bounds against networks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "says how loose bounds are, and why a test was skipped")]

#[path = "../common/mod.rs"]
mod common;
mod extremes;
mod proofs;

use std::time::Instant;

use common::{mlp, random_rows};
use fenchel::Error;
use fenchel::data::{Dataset, Normalization, ReadOptions};
use fenchel::engine::{Activation, Cancellation, Context, Cpu, Window};
use fenchel::network::Network;
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::network::operators::MaxPool;
use fenchel::spline::curvature::{Extremes, hessian, proved, proved_ball, search, worst};
use ndarray::Array2;

fn model(name: &str) -> Network {
    load(format!("assets/{name}.onnx").as_ref(), &LoadOptions::default()).unwrap().network
}

/// Rows of the digits, divided by 16.
fn digits(rows: std::ops::Range<usize>) -> Array2<f64> {
    let sixteenth = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
    let options = ReadOptions { key: None, normalization: sixteenth };
    Dataset::open("assets/digits.npz".as_ref(), &options).unwrap().rows::<f64>(rows).unwrap()
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
