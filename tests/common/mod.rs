//! What several test files share.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod browser;
pub mod place;
pub mod regions;

use std::path::{Path, PathBuf};

use fenchel::engine::Activation;
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network, onnx};
use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Every function, those with parameters at one choice of them.
pub const ACTIVATIONS: [Activation; 22] = [
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.1 },
    Activation::Clip { low: -0.3, high: 0.8 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Softplus,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Abs,
    Activation::Softsign,
    Activation::Elu { alpha: 0.7 },
    Activation::Selu { alpha: 1.67, gamma: 1.05 },
    Activation::Celu { alpha: 1.3 },
    Activation::HardSigmoid { alpha: 0.3, beta: 0.4 },
    Activation::HardSwish,
    Activation::Mish,
    Activation::Erf,
    Activation::Exp,
    Activation::Power { exponent: 3.0 },
    Activation::Sin,
    Activation::Cos,
];

/// Those that see positive numbers only.
pub const OF_POSITIVE: [Activation; 4] = [
    Activation::Log,
    Activation::Sqrt,
    Activation::Power { exponent: -1.0 },
    Activation::Power { exponent: 1.7 },
];

/// Numbers that are symmetric in nothing.
pub fn random(seed: u64, count: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..2.0)).collect()
}

pub fn random_rows(seed: u64, rows: usize, columns: usize) -> Array2<f64> {
    Array2::from_shape_vec((rows, columns), random(seed, rows * columns)).unwrap()
}

pub fn dense(seed: u64, inputs: usize, outputs: usize) -> Dense {
    let scale = 1.0 / (inputs as f64).sqrt();
    let weights = random(seed, inputs * outputs).iter().map(|w| (w - 0.5) * scale).collect();
    let bias = random(seed + 1, outputs).iter().map(|b| (b - 0.5) * 0.2).collect();
    let weights = Constant::f64([inputs, outputs], weights).unwrap();
    Dense::new(weights, Some(Constant::f64([outputs], bias).unwrap())).unwrap()
}

/// `inputs - hidden - hidden - outputs` with one activation.
pub fn mlp(seed: u64, [inputs, hidden, outputs]: [usize; 3], activation: Activation) -> Network {
    let mut builder = Network::builder();
    builder.input("x", &[inputs]).unwrap();
    builder.layer(dense(seed, inputs, hidden)).unwrap();
    builder.layer(activation).unwrap();
    builder.layer(dense(seed + 10, hidden, hidden)).unwrap();
    builder.layer(activation).unwrap();
    let end = builder.layer(dense(seed + 20, hidden, outputs)).unwrap();
    builder.finish(&[end]).unwrap()
}

/// Jets of a network in f64: values `[N, K]` and Jacobians `[N, K, D]`.
pub fn jets(network: &Network, x: &Array2<f64>) -> (Array2<f64>, Array3<f64>) {
    use fenchel::engine::{Cpu, Engine};
    let engine = Cpu::<f64>::new();
    let program = network.compile(&engine).unwrap();
    let outputs: Vec<usize> = (0..program.outputs()).collect();
    let jets = program.jets(&program.upload(x.view()).unwrap(), &outputs).unwrap();
    let (n, k, d) = (x.nrows(), outputs.len(), x.ncols());
    (
        Array2::from_shape_vec((n, k), engine.download(&jets.values).unwrap()).unwrap(),
        Array3::from_shape_vec((n, k, d), engine.download(&jets.jacobians).unwrap()).unwrap(),
    )
}

/// The best graphics adapter, shared by all tests of a file; `None` where there is none and none is required.
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
pub fn gpu() -> Option<fenchel::engine::Gpu> {
    use fenchel::engine::{DeviceChoice, Gpu, device};
    use std::sync::OnceLock;
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    let shared = GPU.get_or_init(|| {
        let found = DeviceChoice::Gpu(None).resolve(&device::adapters()).ok().flatten();
        found.map(|number| Gpu::open(number, 1 << 30).unwrap())
    });
    if shared.is_none() {
        let required = std::env::var_os("FENCHEL_REQUIRE_GPU").is_some();
        assert!(!required, "FENCHEL_REQUIRE_GPU is set and no graphics adapter was found");
        println!("skipped: no graphics adapter");
    }
    shared.clone()
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The network of an ONNX file, from its input to its output.
pub fn load(path: &Path) -> Network {
    onnx::load(path, &onnx::LoadOptions::default()).unwrap().network.cut(None, None).unwrap()
}

/// The published networks of the shared data, each with the arrays of its reference results; none where they are absent,
/// which is said.
pub fn published() -> Vec<[PathBuf; 2]> {
    let data = root().join("../shared/data");
    let Ok(files) = std::fs::read_dir(data.join("models")) else {
        eprintln!("skipped: '{}' is not there", data.display());
        return vec![];
    };
    let models = files.map(|file| file.unwrap().path());
    let models: Vec<PathBuf> =
        models.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    assert!(!models.is_empty(), "'{}' holds no models", data.display());
    let golden = |path: &Path| data.join("golden").join(path.with_extension("npz").file_name().unwrap());
    models.into_iter().map(|path| [path.clone(), golden(&path)]).collect()
}
