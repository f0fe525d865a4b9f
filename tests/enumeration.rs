//! Regions found by walking across facets: against exact partitions of planes, known counts and dense sampling.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::{HashMap, HashSet};

use common::regions::{self, KINKED, codes, layer, relus, shared_slices};
use common::{dense, mlp};
use fenchel::engine::{Activation, Arithmetic, Cancellation, Context, Window};
use fenchel::network::operators::{Branches, Convolution, Dense, MaxPool, ReduceMax, Reshape};
use fenchel::network::{Constant, Network};
use fenchel::regions::{Enumeration, Label, Partition};
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

/// The numbers of all units in a region.
fn numbers(enumeration: &Enumeration, region: usize) -> Vec<u32> {
    regions::numbers(enumeration.layers(), enumeration.code(region))
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

#[test]
fn shared_slices_have_exactly_their_counts() {
    for (name, network, count) in shared_slices() {
        let enumeration = enumerate(&network, [-1.0, 1.0]);
        assert_eq!(enumeration.len(), count, "{name}");
    }
}

#[test]
fn planes_have_the_regions_of_their_partitions() {
    for (seed, activation) in KINKED {
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

#[test]
fn units_that_coincide_meet_at_the_centre_or_are_dead() {
    let end = |n: usize| Dense::new(Constant::f64([n, 1], vec![1.0; n]).unwrap(), None).unwrap();
    // Three lines through the centre, one of them thrice (once turned round), a constant and a dead unit.
    let first = layer(
        [[1.0, 0.0, 1.0, -2.0, 0.5, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]],
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    );
    assert_eq!(check_plane(&relus::<2>([first, end(7)])).len(), 6);
    // The second layer bends where the first does, on one side or on both.
    let first = layer([[1.0, -1.0], [0.0, 0.0]], [0.0, 0.0]);
    let second = layer([[1.0, -1.0, 1.0], [0.0, 0.0, -1.0]], [0.0, 0.0, 0.0]);
    assert_eq!(check_plane(&relus::<2>([first, second, end(3)])).len(), 2);
    // Nothing bends.
    let alone = enumerate(&relus::<2>([layer([[1.0], [2.0]], [0.5])]), [-1.0, 1.0]);
    assert_eq!((alone.len(), alone.words()), (1, 0));
    assert!((alone.inradius(0) - 1.0).abs() < 1e-14);
}

/// A convolution, max-pooling, a residual branch and a maximum, on a slice of three directions.
fn images(seed: u64) -> Network {
    let mut builder = Network::builder();
    let x = builder.input("x", &[1, 4, 4]).unwrap();
    let kernel = |seed: u64, from: usize| {
        let weights = common::random(seed, 2 * from * 9).iter().map(|w| 0.4 * (w - 0.5)).collect();
        let weights = Constant::f64([2, from, 3, 3], weights).unwrap();
        Convolution::new(weights, None, Window::new([3, 3]).with_pads([1; 4]), 1).unwrap()
    };
    let a = builder.add("conv1", kernel(seed, 1), &[x]).unwrap();
    let pool = MaxPool { window: Window::new([2, 2]).with_strides([2, 2]) };
    let a = builder.add("pool", pool, &[a]).unwrap();
    let b = builder.add("conv2", kernel(seed + 1, 2), &[a]).unwrap();
    let b = builder.add("relu2", Activation::Relu, &[b]).unwrap();
    let a = builder.add("sum", Branches { operation: Arithmetic::Add }, &[a, b]).unwrap();
    let a = builder.add("most", ReduceMax { axes: vec![1, 2], keep: true }, &[a]).unwrap();
    let a = builder.add("flat", Reshape { shape: vec![2] }, &[a]).unwrap();
    let end = builder.add("end", dense(seed + 2, 2, 1), &[a]).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let [origin, u, v, w] =
        [3, 4, 5, 6].map(|i| common::random(seed + i, 16).iter().map(|x| x - 0.5).collect::<Vec<f64>>());
    network.on_slice(&origin, &[&u, &v, &w]).unwrap()
}

#[test]
fn images_with_maxima_and_branches() {
    let network = images(60);
    let enumeration = enumerate(&network, [-1.0, 1.0]);
    let seen = check(&network, &enumeration, 20_000);
    assert!(seen > 100 && 3 * seen > enumeration.len(), "{seen} of {}", enumeration.len());
}

#[test]
fn budgets_files_and_threads_change_no_region() {
    let network = mlp(21, [3, 7, 2], Activation::Relu);
    let whole = enumerate(&network, [-1.0, 1.0]);
    let all: HashSet<&[u32]> = (0..whole.len()).map(|i| whole.code(i)).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.npz");
    let context = Context::default();
    let mut part = Enumeration::new(&network, [-1.0, 1.0], &context).unwrap();
    assert_eq!((part.len(), part.label()), (1, Label::Visited));
    part.run(20, &context).unwrap();
    assert_eq!((part.len(), part.label()), (20, Label::Capped));
    part.save(&path).unwrap();
    let mut on = Enumeration::resume(&network, [-1.0, 1.0], &path, &context).unwrap();
    assert_eq!((on.len(), on.open()), (20, part.open()));
    on.run(usize::MAX, &context).unwrap();
    assert_eq!(on.label(), Label::Exact);
    let found: HashSet<&[u32]> = (0..on.len()).map(|i| on.code(i)).collect();
    assert!(found == all && on.len() == whole.len());
    // Of another network, or box, or no such file.
    let refused = |network: &Network, limits: [f64; 2]| -> Result<Enumeration> {
        Enumeration::resume(network, limits, &path, &context)
    };
    assert!(matches!(refused(&network, [-1.0, 2.0]), Err(Error::File { .. })));
    assert!(matches!(refused(&mlp(22, [3, 7, 2], Activation::Relu), [-1.0, 1.0]), Err(Error::File { .. })));
    std::fs::write(&path, b"no archive").unwrap();
    assert!(refused(&network, [-1.0, 1.0]).is_err());
    // Cancelled, it keeps what it has and can go on.
    let cancellation = Cancellation::default();
    cancellation.cancel();
    let stopped = context.clone().with_cancellation(cancellation);
    assert!(matches!(part.run(usize::MAX, &stopped), Err(Error::Cancelled)));
    assert_eq!(part.len(), 20);
    // One thread finds the same, in the same order.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let alone = pool.install(|| enumerate(&network, [-1.0, 1.0]));
    assert!((0..whole.len()).all(|i| alone.code(i) == whole.code(i) && alone.centre(i) == whole.centre(i)));
    let small = context.with_memory(16 << 10);
    let mut bounded = Enumeration::new(&network, [-1.0, 1.0], &small).unwrap();
    assert!(matches!(bounded.run(usize::MAX, &small), Err(Error::Memory { .. })));
}

#[test]
fn what_cannot_be_enumerated_is_refused() {
    let new = |network: &Network, limits: [f64; 2]| Enumeration::new(network, limits, &Context::default());
    let refused = new(&mlp(1, [2, 4, 1], Activation::Gelu), [-1.0, 1.0]).err().unwrap().to_string();
    assert!(refused.contains("Gelu"), "{refused}");
    let network = mlp(1, [2, 4, 1], Activation::Relu);
    for limits in [[1.0, 1.0], [1.0, -1.0], [f64::NAN, 1.0], [0.0, f64::INFINITY]] {
        assert!(matches!(new(&network, limits), Err(Error::Argument(_))));
    }
}
