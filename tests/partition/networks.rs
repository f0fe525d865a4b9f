//! Partitions of networks with layers of every kind.

use std::path::Path;

use fenchel::activation::{Piece, PiecewiseAffine};
use fenchel::data::{Dataset, read_array};
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Window};
use fenchel::maso::{self, LayerChoice};
use fenchel::network::operators::{
    ArithmeticConstant, AveragePool, Branches, Convolution, MaxPool, PRelu, ReduceMax, Reshape, ScaleShift,
};
use fenchel::network::{Constant, Network, onnx};
use fenchel::spline::slice::Slice;
use ndarray::Array2;

use super::common::regions::{KINKED, relus, shared_slices};
use super::common::{dense, mlp, random};
use super::{check, check_against_grid, on};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(path: &Path) -> Network {
    onnx::load(path, &onnx::LoadOptions::default()).unwrap().network.cut(None, None).unwrap()
}

#[test]
fn shared_slices_have_exactly_their_counts() {
    for (name, network, count) in shared_slices() {
        let partition = check(&network, 1);
        assert_eq!(partition.len(), count, "{name}");
    }
}

#[test]
fn maps_are_the_network_at_100_points_of_each_polygon() {
    for (seed, activation) in KINKED {
        let network = mlp(seed, [2, 12, 3], activation);
        let partition = check(&network, 100);
        assert!(partition.len() > 9, "{activation:?}: {}", partition.len());
        let seen = check_against_grid(&network, &partition, 100);
        assert!(3 * seen > partition.len(), "{activation:?}: the grid sees {seen} of {}", partition.len());
    }
}

#[test]
fn networks_that_only_look_affine() {
    let network = relus::<2>([dense(3, 2, 2)]);
    let partition = check(&network, 100);
    assert_eq!((partition.len(), partition.words(), partition.mesh().edges.len()), (1, 0, 4));
    // Ending in what bends.
    let mut builder = Network::builder();
    builder.input("x", &[2]).unwrap();
    builder.layer(dense(3, 2, 4)).unwrap();
    let end = builder.layer(Activation::Relu).unwrap();
    check(&builder.finish(&[end]).unwrap(), 100);
}

/// Convolution, batch normalisation, leaky ReLU, max-pool, a residual block, average pool, dense: on a plane.
fn images(seed: u64) -> Network {
    let mut builder = Network::builder();
    let x = builder.input("x", &[1, 6, 6]).unwrap();
    let filters = |seed: u64, shape: [usize; 4]| {
        let values = random(seed, shape.iter().product()).iter().map(|w| 0.4 * (w - 0.5)).collect();
        Constant::f64(shape, values).unwrap()
    };
    let same = Window::new([3, 3]).with_pads([1; 4]);
    let conv = Convolution::new(filters(seed, [3, 1, 3, 3]), None, same, 1).unwrap();
    let a = builder.add("conv1", conv, &[x]).unwrap();
    let numbers = |values: [f64; 3]| Constant::f64([3], values.to_vec()).unwrap();
    let norm = ScaleShift::new(numbers([1.2, -0.8, 1.0]), numbers([0.1, 0.2, -0.1])).unwrap();
    let a = builder.add("bn1", norm, &[a]).unwrap();
    let a = builder.add("leaky", Activation::LeakyRelu { slope: 0.1 }, &[a]).unwrap();
    let pool = MaxPool { window: Window::new([2, 2]).with_strides([2, 2]) };
    let a = builder.add("pool", pool, &[a]).unwrap();
    let conv = Convolution::new(filters(seed + 1, [3, 3, 3, 3]), Some(numbers([0.1, 0.0, -0.1])), same, 1);
    let b = builder.add("conv2", conv.unwrap(), &[a]).unwrap();
    let b = builder.add("relu2", Activation::Relu, &[b]).unwrap();
    let a = builder.add("add", Branches { operation: Arithmetic::Add }, &[a, b]).unwrap();
    let prelu = PRelu { slopes: Constant::f64([3, 1, 1], vec![0.3, -0.2, 0.1]).unwrap() };
    let a = builder.add("prelu", prelu, &[a]).unwrap();
    let mean = AveragePool { window: Window::new([3, 3]).with_strides([3, 3]), counted: [0; 4] };
    let b = builder.add("mean", mean, &[a]).unwrap();
    let c = builder.add("most", ReduceMax { axes: vec![1, 2], keep: true }, &[a]).unwrap();
    let smaller = Branches { operation: Arithmetic::Min };
    let shift = ArithmeticConstant { operation: Arithmetic::Add, constant: 0.2.into(), reversed: false };
    let b = builder.add("shift", shift, &[b]).unwrap();
    let a = builder.add("smaller", smaller, &[b, c]).unwrap();
    let floor = ArithmeticConstant {
        operation: Arithmetic::Max,
        constant: Constant::f64([3, 1, 1], vec![-0.1, 0.05, 0.1]).unwrap(),
        reversed: false,
    };
    let a = builder.add("floor", floor, &[a]).unwrap();
    let a = builder.add("flat", Reshape { shape: vec![3] }, &[a]).unwrap();
    let end = builder.add("end", dense(seed + 2, 3, 4), &[a]).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let [origin, u, v] = [3, 4, 5].map(|i| random(seed + i, 36).iter().map(|x| x - 0.5).collect());
    on(&network, &Slice { origin, u, v })
}

#[test]
fn images_with_every_kind_of_layer() {
    for seed in [20, 31] {
        let network = images(seed);
        let partition = check(&network, 4);
        assert!(partition.len() > 100, "{}", partition.len());
        let seen = check_against_grid(&network, &partition, 60);
        assert!(4 * seen > partition.len(), "the grid sees {seen} of {}", partition.len());
        assert_eq!(partition.layers().len(), 7);
    }
}

#[test]
fn a_trained_convolution_network_through_three_digits() {
    let network = load(&root().join("assets/digits_cnn.onnx"));
    let digits = read_array(&root().join("assets/digits.npz"), Some("x")).unwrap();
    let digit = |i: usize| -> Vec<f64> { digits.iter().skip(64 * i).take(64).map(|x| x / 16.0).collect() };
    let mut slice = Slice::through([&digit(0), &digit(1), &digit(2)]).unwrap();
    // The middle of the plane: all of it has 700,000 regions.
    slice.u.iter_mut().chain(&mut slice.v).for_each(|x| *x *= 0.1);
    let network = on(&network, &slice);
    let partition = check(&network, 2);
    assert!(partition.len() > 300, "{}", partition.len());
    check_against_grid(&network, &partition, 40);
}

#[test]
fn functions_with_many_knots() {
    let piece = |at, value, slope| Piece { at, value, slope };
    let table = [
        piece(-1.0, 0.3, -0.5),
        piece(-1.0, 0.3, 0.2),
        piece(-0.25, 0.45, 1.0),
        piece(0.0, 0.7, -0.7),
        piece(0.5, 0.35, 2.0),
    ];
    let function = PiecewiseAffine::new(vec![-1.0, -0.25, 0.0, 0.5], table.to_vec()).unwrap();
    let mut builder = Network::builder();
    builder.input("x", &[2]).unwrap();
    builder.layer(dense(5, 2, 5)).unwrap();
    builder.layer(function.clone()).unwrap();
    builder.layer(dense(6, 5, 4)).unwrap();
    builder.layer(function).unwrap();
    let end = builder.layer(dense(7, 4, 2)).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let partition = check(&network, 100);
    assert_eq!(partition.layers()[0].bits(), 3);
    // Codes of regions are packed as those of points are, word for word.
    let middles: Vec<f64> = (0..partition.len()).flat_map(|i| partition.middle(i)).collect();
    let middles = Array2::from_shape_vec((partition.len(), 2), middles).unwrap();
    let data = Dataset::from_array(middles.view()).unwrap();
    let codes = maso::Codes::new(&Cpu::<f64>::new(), &network, &LayerChoice::All, "a test").unwrap();
    let packed = codes.of(&data, &Context::default()).unwrap();
    assert!((0..partition.len()).all(|i| packed.row(i) == partition.region(i).code));
    let seen = check_against_grid(&network, &partition, 120);
    assert!(3 * seen > partition.len(), "the grid sees {seen} of {}", partition.len());
}
