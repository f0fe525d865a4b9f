//! Networks as people publish them, against numbers that other programs computed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use fenchel::Scalar;
use fenchel::data::{array_names, read_array};
use fenchel::engine::{Cpu, Engine};
use fenchel::network::Network;
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::tolerance::{APPROXIMATE, CLOSE, relative_difference};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An array of a golden file, row-major, and its shape.
fn golden(path: &Path, key: &str) -> (Vec<f64>, Vec<usize>) {
    let array = read_array(path, Some(key)).unwrap();
    (array.iter().copied().collect(), array.shape().to_vec())
}

/// Compares outputs at all rows of `x`, and Jacobians at as many rows as there are.
fn compare<E: Engine>(engine: &E, network: &Network, path: &Path, [x, y]: [&str; 2], jacobian: Option<&str>) {
    let what = format!("{} {x} {y} on {}", path.display(), engine.describe());
    let program = network.compile(engine).unwrap();
    let upload = |values: &[f64], rows: usize| {
        let values: Vec<E::Scalar> = values.iter().map(|&value| E::Scalar::of(value)).collect();
        engine.upload(&values, &[rows, values.len() / rows]).unwrap()
    };
    let download = |tensor| -> Vec<f64> {
        engine.download(tensor).unwrap().into_iter().map(Scalar::f64).collect::<Vec<f64>>()
    };
    let (inputs, shape) = golden(path, x);
    let outputs = program.forward(&upload(&inputs, shape[0])).unwrap();
    let difference = relative_difference(download(&outputs), golden(path, y).0);
    assert!(difference < CLOSE, "{what}: outputs differ by {difference:e}");
    let Some(jacobian) = jacobian else { return };
    let (slopes, slopes_shape) = golden(path, jacobian);
    let (rows, dimension) = (slopes_shape[0], inputs.len() / shape[0]);
    let all: Vec<usize> = (0..program.outputs()).collect();
    let jets = program.jets(&upload(&inputs[..rows * dimension], rows), &all).unwrap();
    assert_eq!(jets.jacobians.shape(), [rows, program.outputs(), dimension], "{what}");
    let difference = relative_difference(download(&jets.jacobians), slopes);
    assert!(difference < APPROXIMATE, "{what}: Jacobians differ by {difference:e}");
}

/// Loads a model and compares it with its golden file on both precisions.
fn check(model: &Path, goldens: &Path) {
    let network = load(model, &LoadOptions::default()).unwrap().network;
    let names = array_names(goldens).unwrap();
    let has = |name: &str| names.iter().any(|other| other == name);
    let jacobian = has("jacobian").then_some("jacobian");
    let mut pairs = vec![(["x", "y"], jacobian)];
    if has("y64") {
        pairs.push((["x", "y64"], jacobian));
    }
    if has("tied_x") {
        pairs.push((["tied_x", "tied_y64"], Some("tied_jacobian")));
    }
    for (arrays, jacobian) in pairs {
        compare(&Cpu::<f32>::new(), &network, goldens, arrays, jacobian);
        compare(&Cpu::<f64>::new(), &network, goldens, arrays, jacobian);
    }
}

#[test]
fn assets_match_their_goldens() {
    for name in ["digits_cnn", "digits_gelu", "digits_relu", "digits_sigmoid", "moons"] {
        let assets = root().join("assets");
        check(&assets.join(format!("{name}.onnx")), &assets.join("golden").join(format!("{name}.npz")));
    }
}

#[test]
fn published_networks_match_their_goldens() {
    let data: PathBuf = root().join("../shared/data");
    let Ok(folder) = std::fs::read_dir(data.join("models")) else {
        eprintln!("skipped: there is no folder {}", data.join("models").display());
        return;
    };
    let models: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    let models = models.iter().filter(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    let mut count = 0;
    for model in models {
        let goldens = data.join("golden").join(model.with_extension("npz").file_name().unwrap());
        check(model, &goldens);
        count += 1;
    }
    assert!(count > 0, "{} holds no models", data.display());
}

#[test]
fn names_are_those_of_the_file() {
    let model = load(&root().join("assets/digits_cnn.onnx"), &LoadOptions::default()).unwrap();
    let names: Vec<&str> = model.network.nodes().iter().map(|node| node.name()).collect();
    let expected = [
        "image", "conv1", "bn1", "relu1", "pool1", "conv2", "bn2", "relu2", "conv3", "bn3", "add1", "relu3",
        "pool2", "flatten", "logits",
    ];
    assert_eq!(names, expected);
    let description = model.description;
    assert_eq!((description.opset, description.ir_version, description.batch), (17, Some(8), None));
    assert_eq!(description.producer_name, "fenchel assets/make.py");
}
