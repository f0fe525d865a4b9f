//! Exact partitions of planes: against counts, brute force and values computed point by point.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::{Path, PathBuf};

use fenchel::data::read_array;
use fenchel::engine::{Activation, Context};
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use fenchel::regions::Partition;

fn array(path: &Path, name: &str) -> (Vec<usize>, Vec<f64>) {
    let array = read_array(path, Some(name)).unwrap();
    (array.shape().to_vec(), array.into_iter().collect())
}

/// A network of the shared slices, on its square.
fn shared(path: &Path) -> (Network, usize) {
    let slope = array(path, "slope").1[0];
    let mut builder = Network::builder();
    let mut last = None;
    for layer in 0..array(path, "n_layers").1[0] as usize {
        let (shape, weights) = array(path, &format!("W{layer}"));
        let transposed: Vec<f64> =
            (0..weights.len()).map(|i| weights[i % shape[0] * shape[1] + i / shape[0]]).collect();
        if layer == 0 {
            builder.input("x", &[shape[1]]).unwrap();
        } else {
            let activation = if slope == 0.0 { Activation::Relu } else { Activation::LeakyRelu { slope } };
            builder.layer(activation).unwrap();
        }
        let bias = Constant::f64([shape[0]], array(path, &format!("b{layer}")).1).unwrap();
        let weights = Constant::f64([shape[1], shape[0]], transposed).unwrap();
        last = Some(builder.layer(Dense::new(weights, Some(bias)).unwrap()).unwrap());
    }
    let network = builder.finish(&[last.unwrap()]).unwrap();
    let (_, square) = array(path, "poly2d");
    let (shape, map) = array(path, "T");
    let at = |s: f64, t: f64| -> Vec<f64> {
        (0..shape[0]).map(|i| map[3 * i] * s + map[3 * i + 1] * t + map[3 * i + 2]).collect()
    };
    // Corners 0, 1, 3: lower left, lower right, upper left.
    let [a, b, d] = [0, 1, 3].map(|i| at(square[2 * i], square[2 * i + 1]));
    let half = |p: &[f64], q: &[f64]| -> Vec<f64> { p.iter().zip(q).map(|(p, q)| 0.5 * (q - p)).collect() };
    let (u, v) = (half(&a, &b), half(&a, &d));
    let origin: Vec<f64> = a.iter().zip(&u).zip(&v).map(|((a, u), v)| a + u + v).collect();
    (network.on_slice(&origin, &[&u, &v]).unwrap(), array(path, "regions").1[0] as usize)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/partition")
}

#[test]
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
fn shared_slices_have_exactly_their_counts() {
    if !folder().is_dir() {
        println!("skipped: '{}' is not there", folder().display());
        return;
    }
    for name in [
        "leaky_10-20x10-1",
        "leaky_10-20x10-1_wide",
        "mlp_2-32-32-1",
        "mlp_2-64-64-64-1",
        "mnist_784-256-256-10",
    ] {
        let start = std::time::Instant::now();
        let (network, count) = shared(&folder().join(format!("{name}.npz")));
        let load = start.elapsed();
        let start = std::time::Instant::now();
        let partition = Partition::new(&network, &Context::default()).unwrap();
        let took = start.elapsed();
        let mesh = partition.mesh();
        println!(
            "{name}: {} of {count}, area {:e}, tiny {}, open {}, V {} E {} euler {} load {load:?} took {took:?}",
            partition.len(),
            partition.area() - 4.0,
            partition.tiny(),
            mesh.open,
            partition.vertices().len(),
            mesh.edges.len(),
            partition.vertices().len() as i64 - mesh.edges.len() as i64 + partition.len() as i64
        );
        assert_eq!(partition.len(), count);
    }
}
