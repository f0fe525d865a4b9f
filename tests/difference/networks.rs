//! Networks as people publish them.

use std::path::Path;

use fenchel::data::{Dataset, ReadOptions};
use fenchel::engine::{Activation, Context, Cpu};
use fenchel::maso::Layers;
use ndarray::{Array2, Axis};

use super::common::{load, mlp, published, random_rows, root};
use super::{check, dataset};

/// The first rows of a golden file's inputs.
fn golden(path: &Path, rows: usize) -> Array2<f64> {
    let options = ReadOptions { key: Some("x".to_owned()), ..ReadOptions::default() };
    let data = Dataset::open(path, &options).unwrap();
    data.rows::<f64>(0..data.len().min(rows)).unwrap()
}

#[test]
fn shipped_networks_are_differences_of_convex_functions() {
    let assets = root().join("assets");
    for name in ["digits_relu", "digits_cnn", "moons"] {
        let network = load(&assets.join(format!("{name}.onnx")));
        let rows = golden(&assets.join(format!("golden/{name}.npz")), 20);
        check(name, &network, &rows, 10_000);
    }
    let smooth = load(&assets.join("digits_gelu.onnx"));
    assert!(smooth.convex_difference().unwrap_err().to_string().contains("Gelu"));
}

#[test]
fn published_networks_are_differences_of_convex_functions() {
    let names =
        ["ACASXU_run2a_1_1_batch_2000", "Convnet_maxpool", "mnist-net_256x4", "resnet_2b", "cifar10_medium"];
    let smooth = "ffnnSIGMOID__Point_6x200";
    let published = published();
    let mut seen = 0;
    for [model, results] in &published {
        let name = model.file_stem().unwrap().to_str().unwrap();
        if names.contains(&name) {
            let rows = golden(results, 6);
            check(name, &load(model), &rows, 300);
            assert_eq!(rows.len_of(Axis(0)), 6);
        } else if name == smooth {
            let refusal = load(model).convex_difference().unwrap_err().to_string();
            assert!(refusal.contains("Sigmoid"), "{refusal}");
        } else {
            continue;
        }
        seen += 1;
    }
    assert_eq!(seen, if published.is_empty() { 0 } else { names.len() + 1 });
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
