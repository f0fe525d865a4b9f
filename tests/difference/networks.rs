//! Networks as people publish them.

use std::path::Path;

use fenchel::data::{Dataset, ReadOptions};
use fenchel::engine::{Activation, Context, Cpu};
use fenchel::maso::Layers;
use fenchel::network::onnx::{LoadOptions, load};
use ndarray::{Array2, Axis};

use super::common::{mlp, random_rows};
use super::{check, dataset};

/// The first rows of a golden file's inputs.
fn golden(path: &Path, rows: usize) -> Array2<f64> {
    let options = ReadOptions { key: Some("x".to_owned()), ..ReadOptions::default() };
    let data = Dataset::open(path, &options).unwrap();
    data.rows::<f64>(0..data.len().min(rows)).unwrap()
}

#[test]
fn shipped_networks_are_differences_of_convex_functions() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for name in ["digits_relu", "digits_cnn", "moons"] {
        let network = load(&assets.join(format!("{name}.onnx")), &LoadOptions::default()).unwrap().network;
        let rows = golden(&assets.join(format!("golden/{name}.npz")), 20);
        check(name, &network, &rows, 10_000);
    }
    let smooth = load(&assets.join("digits_gelu.onnx"), &LoadOptions::default()).unwrap().network;
    assert!(smooth.convex_difference().unwrap_err().to_string().contains("Gelu"));
}

#[test]
fn published_networks_are_differences_of_convex_functions() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.join("models").is_dir() {
        eprintln!("skipped: there is no folder {}", data.join("models").display());
        return;
    }
    let model = |name: &str| {
        load(&data.join(format!("models/{name}.onnx")), &LoadOptions::default()).unwrap().network
    };
    let names =
        ["ACASXU_run2a_1_1_batch_2000", "Convnet_maxpool", "mnist-net_256x4", "resnet_2b", "cifar10_medium"];
    for name in names {
        let rows = golden(&data.join(format!("golden/{name}.npz")), 6);
        check(name, &model(name), &rows, 300);
        assert_eq!(rows.len_of(Axis(0)), 6);
    }
    let refusal = model("ffnnSIGMOID__Point_6x200").convex_difference().unwrap_err().to_string();
    assert!(refusal.contains("Sigmoid"), "{refusal}");
}

/// Smooth networks have no such form; with splines in the place of their activations they do.
#[test]
fn splined_networks_are_differences_of_convex_ones() {
    let smooth = mlp(3, [4, 9, 3], Activation::Gelu);
    assert!(smooth.convex_difference().is_err());
    let rows = random_rows(5, 60, 4);
    let layers = Layers::measure(&smooth, &Cpu::<f64>::new(), &dataset(&rows), &Context::default()).unwrap();
    let splined = layers.splined(&layers.splines(6).unwrap()).unwrap();
    check("GELU, splined", &splined, &rows, 500);
}
