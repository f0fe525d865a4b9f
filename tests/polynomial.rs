//! Networks as polynomials, against what is known: published coefficients, exact rational arithmetic, the networks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::{Path, PathBuf};

use fenchel::engine::{Activation, Context, Cpu};
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use fenchel::polynomial::{Centre, Composition, Polynomial, Settings};

fn settings(order: usize, taylor: usize) -> Settings {
    Settings { order, taylor: vec![taylor], centre: Centre::At(vec![0.0]), smooth: None }
}

fn expand(network: &Network, settings: &Settings, at: &[f64]) -> Polynomial {
    let program = network.merged_layers().unwrap().compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let composition = Composition::new(&program, settings.clone(), at.to_vec()).unwrap();
    let variables: Vec<usize> = (0..at.len()).collect();
    let outputs: Vec<usize> = (0..program.outputs()).collect();
    composition.polynomial(&variables, &outputs, &Context::default()).unwrap()
}

/// The shared networks, where they are.
fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/polynomial");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no ../shared/data/polynomial");
    None
}

fn published(folder: &Path, name: &str) -> Network {
    let mut builder = Network::builder();
    let mut layer = 1;
    let mut end = None;
    while let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}_W{layer}.csv"))) {
        let rows: Vec<Vec<f64>> =
            text.lines().map(|line| line.split(',').map(|v| v.trim().parse().unwrap()).collect()).collect();
        let (inputs, outputs) = (rows.len() - 1, rows[0].len());
        if layer == 1 {
            builder.input("x", &[inputs]).unwrap();
        } else {
            builder.layer(Activation::Tanh).unwrap();
        }
        let weights = Constant::f64([inputs, outputs], rows[1..].concat()).unwrap();
        let bias = Constant::f64([outputs], rows[0].clone()).unwrap();
        end = Some(builder.layer(Dense::new(weights, Some(bias)).unwrap()).unwrap());
        layer += 1;
    }
    builder.finish(&[end.unwrap()]).unwrap()
}

#[test]
fn published_coefficients_come_out() {
    let Some(folder) = shared() else { return };
    for (name, inputs) in [("tanh_p5w50x3", 5), ("tanh_p10w100x2", 10), ("tanh_p54w32x2", 54)] {
        let network = published(&folder, name);
        let polynomial = expand(&network, &settings(3, 8), &vec![0.0; inputs]);
        println!("{name} {}", polynomial.seconds());
        for _ in 0..8 {
            println!("{name} {}", expand(&network, &settings(3, 8), &vec![0.0; inputs]).seconds());
        }
        let text = std::fs::read_to_string(folder.join(format!("{name}_coef.csv"))).unwrap();
        let mut lines = text.lines().skip(1);
        let (mut largest, mut off) = (0.0_f64, 0.0_f64);
        for (monomial, found) in polynomial.monomials().iter().zip(polynomial.coefficients()) {
            let (label, value) = lines.next().unwrap().split_once(',').unwrap();
            let term: Vec<String> = polynomial.term(&monomial).iter().map(ToString::to_string).collect();
            assert_eq!(label, if term.is_empty() { "0".to_owned() } else { term.join("-") });
            let value: f64 = value.trim().parse().unwrap();
            largest = largest.max(value.abs());
            off = off.max((found - value).abs());
        }
        assert!(lines.next().is_none());
        assert!(off <= 1e-12 * largest, "{name}: {off} of {largest}");
    }
}
