//! Networks as people publish them, against numbers that other programs computed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

use common::{gpu, published, root};
use fenchel::Scalar;
use fenchel::data::{Dataset, array_names, read_array};
use fenchel::engine::{Context, Cpu, Engine, Search, SplineEngine};
use fenchel::network::Network;
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::spline::{Evaluated, NetworkJets, Spline, evaluate};
use fenchel::tolerance::{APPROXIMATE, CLOSE, relative_difference};
use ndarray::Array2;

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

/// Loads a model and compares it with its golden file on both precisions of the CPU, and on the GPU.
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
        if let Some(gpu) = gpu() {
            compare(&gpu, &network, goldens, arrays, jacobian);
        }
    }
    check_spline(&network, goldens);
}

/// The spline of every other row of `x` at the rows between, on an engine.
fn spline<E: SplineEngine>(engine: &E, network: &Network, x: &Array2<f64>) -> Vec<Evaluated<f64>> {
    let program = network.compile(engine).unwrap();
    let every_second = |first: usize| {
        let rows: Vec<usize> = (first..x.nrows()).step_by(2).collect();
        Dataset::from_array(x.select(ndarray::Axis(0), &rows).view()).unwrap()
    };
    let source = NetworkJets::new(&program, every_second(0), (0..program.outputs()).collect()).unwrap();
    let spline = Spline::isotropic(3.0, program.outputs()).unwrap();
    let mut all = vec![];
    evaluate(&spline, &source, &every_second(1), Search::Pruned, &Context::default(), |block| {
        let wide = |values: Vec<E::Scalar>| values.into_iter().map(Scalar::f64).collect();
        all.push(Evaluated {
            range: block.range,
            value: wide(block.value),
            lower: wide(block.lower),
            upper: wide(block.upper),
            convex_piece: block.convex_piece,
            concave_piece: block.concave_piece,
            skipped: block.skipped,
        });
        Ok(())
    })
    .unwrap();
    all
}

/// Splines on both engines against f64: values, bounds and active pieces.
fn check_spline(network: &Network, goldens: &Path) {
    let (x, shape) = golden(goldens, "x");
    let rows = shape[0].min(64);
    let dimension = x.len() / shape[0];
    let x = Array2::from_shape_vec((rows, dimension), x[..rows * dimension].to_vec()).unwrap();
    let reference = spline(&Cpu::<f64>::new(), network, &x);
    let check = |found: Vec<Evaluated<f64>>, engine: &str| {
        // Values at a distance are slopes times it.
        let numbers = |blocks: &[Evaluated<f64>]| -> Vec<f64> {
            blocks.iter().flat_map(|b| [&b.value[..], &b.lower, &b.upper].concat()).collect()
        };
        let difference = relative_difference(numbers(&found), numbers(&reference));
        assert!(difference < APPROXIMATE, "{} on {engine}: {difference:e}", goldens.display());
        // Pieces differ only where the two best are as good as equal: their values agree, as was just seen.
        let pieces = |blocks: &[Evaluated<f64>]| -> Vec<u32> {
            blocks.iter().flat_map(|b| [&b.convex_piece[..], &b.concave_piece].concat()).collect()
        };
        let (found, reference) = (pieces(&found), pieces(&reference));
        let other = found.iter().zip(&reference).filter(|(a, b)| a != b).count();
        assert!(other * 1000 <= found.len(), "{}: {other} other pieces on {engine}", goldens.display());
    };
    check(spline(&Cpu::<f32>::new(), network, &x), "the CPU");
    if let Some(gpu) = gpu() {
        check(spline(&gpu, network, &x), "the GPU");
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
    for [model, goldens] in published() {
        check(&model, &goldens);
    }
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
