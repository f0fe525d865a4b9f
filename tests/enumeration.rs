//! Regions found by walking across facets: against exact partitions of planes, known counts and dense sampling.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use common::{dense, mlp};
use fenchel::data::{Dataset, read_array};
use fenchel::engine::{Activation, Arithmetic, Cancellation, Context, Cpu, Window};
use fenchel::maso::{Codes, LayerChoice};
use fenchel::network::operators::{Branches, Convolution, Dense, MaxPool, ReduceMax, Reshape};
use fenchel::network::{Constant, Network};
use fenchel::regions::{CodeLayer, Enumeration, Label, Partition};
use fenchel::{Error, Result};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn enumerate(network: &Network, limits: [f64; 2]) -> Enumeration {
    let mut enumeration = Enumeration::new(network, limits, &Context::default()).unwrap();
    enumeration.run(usize::MAX, &Context::default()).unwrap();
    assert_eq!((enumeration.label(), enumeration.open()), (Label::Exact, 0));
    let different: HashSet<&[u32]> = (0..enumeration.len()).map(|i| enumeration.code(i)).collect();
    assert_eq!(different.len(), enumeration.len());
    enumeration
}

/// The numbers of all units at points, by the network's forward pass.
fn codes(network: &Network, points: &Array2<f64>) -> Vec<Vec<u32>> {
    let codes = Codes::new(&Cpu::<f64>::new(), network, &LayerChoice::All, "a test").unwrap();
    let packed = codes.of(&Dataset::from_array(points.view()).unwrap(), &Context::default()).unwrap();
    let numbers = |words: &[u32]| {
        let mut numbers = vec![];
        for layer in codes.layers() {
            let (bits, per_word) = (layer.packing.bits, layer.packing.per_word());
            let words = &words[codes.words_of(layer)];
            numbers.extend((0..layer.units).map(|unit| {
                let shifted = words[unit / per_word] >> ((unit % per_word) as u32 * bits);
                shifted & ((1_u64 << bits) - 1) as u32
            }));
        }
        numbers
    };
    (0..points.nrows()).map(|i| numbers(packed.row(i))).collect()
}

/// The numbers of all units in a region.
fn numbers(enumeration: &Enumeration, region: usize) -> Vec<u32> {
    let layers = enumeration.layers().iter();
    let of = |layer: &CodeLayer| {
        (0..layer.units).map(|unit| layer.get(enumeration.code(region), unit)).collect::<Vec<_>>()
    };
    layers.flat_map(of).collect()
}

/// Every region's centre has its code, and no code at `count` random points of the box is missing; gives how many were seen.
fn check(network: &Network, enumeration: &Enumeration, count: usize) -> usize {
    let d = enumeration.dimension();
    let centres: Vec<f64> = (0..enumeration.len()).flat_map(|i| enumeration.centre(i)).collect();
    let centres = Array2::from_shape_vec((enumeration.len(), d), centres).unwrap();
    for (i, code) in codes(network, &centres).iter().enumerate() {
        // Where the ball is no larger than rounding the forward pass may say anything.
        assert!(enumeration.inradius(i) < 1e-11 || *code == numbers(enumeration, i), "region {i}");
    }
    let [low, high] = enumeration.limits();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let points = Array2::from_shape_fn((count, d), |_| rng.random_range(low..high));
    let known: HashMap<Vec<u32>, usize> =
        (0..enumeration.len()).map(|i| (numbers(enumeration, i), i)).collect();
    let mut seen = HashSet::new();
    for (i, code) in codes(network, &points).iter().enumerate() {
        let region = known.get(code);
        seen.insert(*region.unwrap_or_else(|| panic!("the region of {} is missing", points.row(i))));
    }
    seen.len()
}

/// The partition of `[-1, 1]^2` has the same codes.
fn check_plane(network: &Network) -> Enumeration {
    let enumeration = enumerate(network, [-1.0, 1.0]);
    let partition = Partition::new(network, &Context::default()).unwrap();
    let expected: HashSet<&[u32]> = partition.regions().map(|region| region.code).collect();
    let found: HashSet<&[u32]> = (0..enumeration.len()).map(|i| enumeration.code(i)).collect();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected);
    assert_eq!(enumeration.unresolved(), 0);
    enumeration
}

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

#[test]
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
fn shared_slices_have_exactly_their_counts() {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/partition");
    if !folder.is_dir() {
        println!("skipped: '{}' is not there", folder.display());
        return;
    }
    for name in [
        "leaky_10-20x10-1",
        "leaky_10-20x10-1_wide",
        "mlp_2-32-32-1",
        "mlp_2-64-64-64-1",
        "mnist_784-256-256-10",
    ] {
        let (network, count) = shared(&folder.join(format!("{name}.npz")));
        let start = std::time::Instant::now();
        let enumeration = enumerate(&network, [-1.0, 1.0]);
        println!(
            "{name}: {} of {count}, {:.3} s, {} unresolved",
            enumeration.len(),
            start.elapsed().as_secs_f64(),
            enumeration.unresolved()
        );
        assert_eq!(enumeration.len(), count, "{name}");
    }
}

#[test]
fn planes_have_the_regions_of_their_partitions() {
    for (seed, activation) in [
        (1, Activation::Relu),
        (2, Activation::LeakyRelu { slope: 0.03 }),
        (3, Activation::Abs),
        (4, Activation::Clip { low: -0.2, high: 0.3 }),
        (5, Activation::HardSigmoid { alpha: 0.4, beta: 0.5 }),
    ] {
        let network = mlp(seed, [2, 12, 3], activation);
        let enumeration = check_plane(&network);
        assert!(enumeration.len() > 9, "{activation:?}: {}", enumeration.len());
        check(&network, &enumeration, 2000);
    }
}

#[test]
fn sampling_in_three_and_four_dimensions_misses_nothing() {
    for (network, most) in [
        (mlp(11, [3, 7, 2], Activation::Relu), 1000),
        (mlp(12, [3, 6, 2], Activation::LeakyRelu { slope: 0.1 }), 1000),
        (mlp(13, [4, 5, 1], Activation::Clip { low: -0.2, high: 0.3 }), 10_000),
    ] {
        let enumeration = enumerate(&network, [-1.5, 2.0]);
        let seen = check(&network, &enumeration, 40_000);
        let count = enumeration.len();
        assert!(2 * seen > count && count > 30 && count < most, "{seen} of {count}");
        assert_eq!(enumeration.unresolved(), 0);
    }
}
