//! What the tests of regions share: networks by hand and out of the shared data, and codes by forward passes.

use std::path::Path;

use fenchel::data::{Dataset, read_array};
use fenchel::engine::{Activation, Context, Cpu};
use fenchel::maso::{Codes, LayerChoice};
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use fenchel::regions::CodeLayer;
use ndarray::Array2;

/// The numbers of all units at points, by the network's forward pass.
pub fn codes(network: &Network, points: &Array2<f64>) -> Vec<Vec<u32>> {
    let codes = Codes::new(&Cpu::<f64>::new(), network, &LayerChoice::All, "a test").unwrap();
    let packed = codes.of(&Dataset::from_array(points.view()).unwrap(), &Context::default()).unwrap();
    let numbers = |row: &[u32]| codes.layers().iter().flat_map(|layer| layer.unpack(row)).collect();
    (0..points.nrows()).map(|i| numbers(packed.row(i))).collect()
}

/// The numbers of all units in a code of a region.
pub fn numbers(layers: &[CodeLayer], code: &[u32]) -> Vec<u32> {
    layers.iter().flat_map(|layer| (0..layer.units).map(|unit| layer.get(code, unit))).collect()
}

fn array(path: &Path, name: &str) -> (Vec<usize>, Vec<f64>) {
    let array = read_array(path, Some(name)).unwrap();
    (array.shape().to_vec(), array.into_iter().collect())
}

/// Functions with a kink or more, and a seed for a network of each.
pub const KINKED: [(u64, Activation); 5] = [
    (1, Activation::Relu),
    (2, Activation::LeakyRelu { slope: 0.03 }),
    (3, Activation::Abs),
    (4, Activation::Clip { low: -0.2, high: 0.3 }),
    (5, Activation::HardSigmoid { alpha: 0.4, beta: 0.5 }),
];

/// All shared slices: names, networks and the exact numbers of regions. None where the shared data are not there.
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
pub fn shared_slices() -> impl Iterator<Item = (&'static str, Network, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/partition");
    let is_there = folder.is_dir();
    if !is_there {
        println!("skipped: '{}' is not there", folder.display());
    }
    let names = [
        "leaky_10-20x10-1",
        "leaky_10-20x10-1_wide",
        "mlp_2-32-32-1",
        "mlp_2-64-64-64-1",
        "mnist_784-256-256-10",
    ];
    names.into_iter().filter(move |_| is_there).map(move |name| {
        let (network, count) = shared(&folder.join(format!("{name}.npz")));
        (name, network, count)
    })
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

/// A layer of weights `[in][out]`.
pub fn layer<const N: usize, const M: usize>(weights: [[f64; M]; N], bias: [f64; M]) -> Dense {
    let weights = Constant::f64([N, M], weights.concat()).unwrap();
    Dense::new(weights, Some(Constant::f64([M], bias.to_vec()).unwrap())).unwrap()
}

/// Layers with ReLU between them.
pub fn relus<const N: usize>(layers: impl IntoIterator<Item = Dense>) -> Network {
    let mut builder = Network::builder();
    let mut last = builder.input("x", &[N]).unwrap();
    for (i, layer) in layers.into_iter().enumerate() {
        if i > 0 {
            builder.layer(Activation::Relu).unwrap();
        }
        last = builder.layer(layer).unwrap();
    }
    builder.finish(&[last]).unwrap()
}
