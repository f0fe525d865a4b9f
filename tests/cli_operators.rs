//! `fenchel operators` and `fenchel templates --alone` from outside, and what asks for affine pieces on splined networks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use fenchel::data::{array_names, read_array};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, ArrayD, Axis};

const ROWS: &str = "--data digits.npz --key x --scale 0.0625";
const DATA: &str = "--data digits.npz --key x --scale 0.0625 --take 0..6";

fn digits() -> Place {
    Place::with(&["digits_relu.onnx", "digits_cnn.onnx", "digits_sigmoid.onnx", "digits.npz"])
}

fn read(place: &Place, file: &str, name: &str) -> ArrayD<f64> {
    read_array(&place.path(file), Some(name)).unwrap()
}

/// The first rows.
fn rows(place: &Place, file: &str) -> Array2<f64> {
    let values = read_array(&place.path(file), None).unwrap();
    let width = values.len() / values.shape()[0];
    Array2::from_shape_vec((6, width), values.iter().copied().take(6 * width).collect()).unwrap()
}

fn fail(place: &Place, command: &str, code: i32) -> String {
    let (found, _, text) = place.run(command);
    assert_eq!(found, Some(code), "{command}: {text}");
    assert!(text.starts_with("error: ") && !place.path("o.npz").exists(), "{command}: {text}");
    text
}

#[test]
fn rows_and_pieces_make_the_layers_values() {
    let place = digits();
    let told = place.succeed("operators digits_relu.onnx -o o.npz");
    let layers = told["layers"].as_array().unwrap();
    let names: Vec<&str> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    let last = layers.len() - 1;
    assert_eq!(
        (layers[0]["form"].as_str(), layers[last]["form"].as_str()),
        (Some("max-affine"), Some("affine"))
    );
    assert_eq!((layers[0]["dimension"].as_u64(), layers[0]["pieces"].as_u64()), (Some(64), Some(2)));
    assert_eq!(layers[1]["inputs"][0]["name"].as_str(), Some(names[0]));
    // y = the largest piece of u = W z + b, layer after layer.
    let x = read(&place, "digits.npz", "x");
    let mut z = Array2::from_shape_fn((6, 64), |(i, j)| x.as_slice().unwrap()[i * 64 + j] * 0.0625);
    for (i, layer) in layers.iter().enumerate() {
        let array = |name: &str| read(&place, "o.npz", &format!("{i}.{name}"));
        let w = array("W").into_dimensionality::<ndarray::Ix2>().unwrap();
        let (b, slope, offset) = (array("b"), array("slope"), array("offset"));
        let (k, r) = (layer["units"].as_u64().unwrap() as usize, layer["pieces"].as_u64().unwrap() as usize);
        assert_eq!((w.nrows(), slope.shape(), array("knots").shape()), (k, &[k, r][..], &[k, r - 1][..]));
        assert!(array("rows").iter().copied().eq((0..k).map(|i| i as f64)));
        let u = z.dot(&w.t());
        z = Array2::from_shape_fn((6, k), |(n, k)| {
            let u = u[[n, k]] + b[k];
            (0..r).map(|r| slope[[k, r]] * u + offset[[k, r]]).fold(f64::NEG_INFINITY, f64::max)
        });
    }
    place.done(&format!("run digits_relu.onnx --precision f64 {ROWS} -o y.npy"));
    assert!(relative_difference(z, rows(&place, "y.npy").iter().copied()) < EXACT);
    let text = place.done("operators digits_relu.onnx");
    assert!(text.contains("max-affine") && text.contains(names[0]), "{text}");
}

#[test]
fn all_pieces_of_some_units_of_a_pool() {
    let place = digits();
    let told = place.succeed("operators digits_cnn.onnx");
    let layers = told["layers"].as_array().unwrap();
    let pool = layers.iter().find(|layer| layer["operator"].as_str() == Some("MaxPool")).unwrap();
    let (number, name) = (pool["number"].as_u64().unwrap(), pool["name"].as_str().unwrap());
    let before = pool["inputs"][0]["name"].as_str().unwrap();
    place.succeed(&format!("operators digits_cnn.onnx --layer {name} --units 3..9 --full -o o.npz"));
    let same = place.succeed(&format!("operators digits_cnn.onnx --layer {name} --units 3..9 -o c.npz"));
    assert!(same["bytes"].as_u64().unwrap() < 1000);
    let [elements, rows_of, columns] =
        ["elements", "rows", "columns"].map(|array| read(&place, "c.npz", &format!("{number}.{array}")));
    let mut names = array_names(&place.path("o.npz")).unwrap();
    names.sort();
    assert_eq!(names, [format!("{number}.A"), format!("{number}.B")]);
    let a = read(&place, "o.npz", &names[0]);
    let b = read(&place, "o.npz", &names[1]);
    let r = pool["pieces"].as_u64().unwrap() as usize;
    assert_eq!((a.shape()[0], a.shape()[1], b.shape()), (6, r, &[6, r][..]));
    for node in [name, before] {
        place.done(&format!("run digits_cnn.onnx --node {node} --precision f64 {ROWS} -o {node}.npy"));
    }
    let (z, y) = (rows(&place, &format!("{before}.npy")), rows(&place, &format!("{name}.npy")));
    for (z, y) in z.outer_iter().zip(y.outer_iter()) {
        for unit in 0..6 {
            let score = |r: usize| {
                let row = a.index_axis(Axis(0), unit);
                row.index_axis(Axis(0), r).iter().zip(z).map(|(a, z)| a * z).sum::<f64>() + b[[unit, r]]
            };
            for r in 0..r {
                let row = rows_of.iter().position(|&row| row == elements[[unit, r]]).unwrap();
                assert_eq!(score(r), z[columns[row] as usize]);
            }
            assert_eq!((0..r).map(score).fold(f64::NEG_INFINITY, f64::max), y[3 + unit]);
        }
    }
}

#[test]
fn smooth_layers_are_operators_once_splined() {
    let place = digits();
    let text = fail(&place, "operators digits_sigmoid.onnx -o o.npz", 2);
    assert!(text.contains("smooth at") && text.contains("--pieces"), "{text}");
    let told = place.succeed(&format!("operators digits_sigmoid.onnx --pieces 4 {DATA} -o o.npz"));
    let first = &told["layers"][0];
    assert_eq!(first["form"].as_str(), Some("difference"));
    let array = |name: &str| read(&place, "o.npz", &format!("0.{name}"));
    let [slope, offset, knots] = ["slope", "offset", "knots"].map(array);
    let [up, up_offset, down, down_offset] =
        ["convex_slope", "convex_offset", "concave_slope", "concave_offset"].map(array);
    assert!(up.shape()[1] > 1 && down.shape()[1] > 1 && slope.shape()[1] > 3);
    for i in -40..40 {
        let u = f64::from(i) * 0.2;
        let piece = (0..knots.shape()[1]).filter(|&i| knots[[0, i]] < u).count();
        let value = slope[[0, piece]] * u + offset[[0, piece]];
        let lines = |slope: &ArrayD<f64>, offset: &ArrayD<f64>| -> Vec<f64> {
            (0..slope.shape()[1]).map(|r| slope[[0, r]] * u + offset[[0, r]]).collect()
        };
        let largest = lines(&up, &up_offset).into_iter().fold(f64::NEG_INFINITY, f64::max);
        let smallest = lines(&down, &down_offset).into_iter().fold(f64::INFINITY, f64::min);
        assert!((largest + smallest - value).abs() < EXACT, "{u}: {largest} {smallest} {value}");
    }
}

#[test]
fn a_layer_alone_is_affine_in_what_it_takes() {
    let place = digits();
    let told = place.succeed("operators digits_cnn.onnx");
    for layer in told["layers"].as_array().unwrap() {
        let name = layer["name"].as_str().unwrap();
        place.done(&format!("templates digits_cnn.onnx --layer {name} --alone {DATA} -o t.npz"));
        place.done(&format!("run digits_cnn.onnx --node {name} --precision f64 {ROWS} -o y.npy"));
        let value = |input: &serde_json::Value| {
            let from = input["name"].as_str().unwrap();
            if from == "image" {
                let x = read(&place, "digits.npz", "x");
                return Array2::from_shape_fn((6, 64), |(i, j)| x.as_slice().unwrap()[i * 64 + j] * 0.0625);
            }
            place.done(&format!("run digits_cnn.onnx --node {from} --precision f64 {ROWS} -o z.npy"));
            rows(&place, "z.npy")
        };
        let values: Vec<Array2<f64>> = layer["inputs"].as_array().unwrap().iter().map(value).collect();
        let views: Vec<_> = values.iter().map(|value| value.view()).collect();
        let z = ndarray::concatenate(Axis(1), &views).unwrap();
        let (a, b) = (read(&place, "t.npz", "A"), read(&place, "t.npz", "b"));
        assert_eq!(a.shape(), [6, layer["units"].as_u64().unwrap() as usize, z.ncols()]);
        let found = b.indexed_iter().map(|(at, b)| {
            let row = a.index_axis(Axis(0), at[0]);
            row.index_axis(Axis(0), at[1]).iter().zip(z.row(at[0])).map(|(a, z)| a * z).sum::<f64>() + b
        });
        let off = relative_difference(found, rows(&place, "y.npy").iter().copied());
        assert!(off < EXACT, "{name}: {off:e}");
    }
    let text = fail(&place, &format!("templates digits_cnn.onnx --layer nowhere --alone {DATA} -o o.npz"), 2);
    assert!(text.contains("no node is called 'nowhere'"), "{text}");
}

/// What `layers --save` writes is read by all that asks for affine pieces.
#[test]
fn saved_splines_are_read_without_detour() {
    let place = digits();
    place.done(&format!("layers digits_sigmoid.onnx {DATA} --points 0..6 --pieces 4 --save -o out"));
    let model = "out/splined-4.onnx";
    place.done(&format!("templates {model} {DATA} --precision f64 -o t.npz"));
    place.done(&format!("run {model} --precision f64 {ROWS} -o y.npy"));
    let x = read(&place, "digits.npz", "x");
    let (a, b) = (read(&place, "t.npz", "A"), read(&place, "t.npz", "b"));
    let found = b.indexed_iter().map(|(at, b)| {
        let row = a.index_axis(Axis(0), at[0]);
        let x = x.as_slice().unwrap()[at[0] * 64..][..64].iter().map(|x| x * 0.0625);
        row.index_axis(Axis(0), at[1]).iter().zip(x).map(|(a, x)| a * x).sum::<f64>() + b
    });
    assert!(relative_difference(found, rows(&place, "y.npy").iter().copied()) < EXACT);
    let told = place.succeed(&format!("distance {model} {DATA} -o d.npy"));
    assert!(told["units"].as_u64().unwrap() > 0 && told["mean"].as_f64().unwrap() > 0.0);
    let listed = place.succeed(&format!("operators {model}"));
    let direct = place.succeed(&format!("operators digits_sigmoid.onnx --pieces 4 {DATA}"));
    let bends = |told: &serde_json::Value| {
        let layers = told["layers"].as_array().unwrap();
        layers.iter().filter(|layer| layer["form"] != "affine").count()
    };
    assert_eq!(bends(&listed), bends(&direct));
    let relu = place.succeed(&format!("distance digits_relu.onnx {DATA} -o d.npy"));
    assert_eq!(told["units"], relu["units"]);
    place.done(
        "plane out/splined-4.onnx --data digits.npz --key x --scale 0.0625 --through 0,1,2 -o plane.npz",
    );
    let told = place.succeed(&format!("partition {model} --plane plane.npz -o p.json"));
    assert!(told["count"].as_u64().unwrap() > 10 && (told["area"].as_f64().unwrap() - 4.0).abs() < CLOSE);
    place.done(&format!("regions {model} --data digits.npz --key x --scale 0.0625 --at 0 -o r.json"));
}

#[test]
fn wrong_choices_are_refused() {
    let place = digits();
    let told = place.succeed("operators digits_relu.onnx");
    let name = told["layers"][0]["name"].as_str().unwrap();
    let units = told["layers"][0]["units"].as_u64().unwrap();
    let text = fail(
        &place,
        &format!("operators digits_relu.onnx --layer {name} --units 0..{} -o o.npz", units + 1),
        2,
    );
    assert!(text.contains(&format!("has {units} units")), "{text}");
    fail(&place, "operators digits_relu.onnx --units 0..3 -o o.npz", 2);
    fail(&place, "operators digits_relu.onnx --full", 2);
    fail(&place, "operators digits_relu.onnx --pieces 4 -o o.npz", 2);
    let text = fail(&place, "operators digits_relu.onnx --limit 1KiB -o o.npz", 2);
    assert!(text.contains("--limit") && text.contains("--layer"), "{text}");
    let text = fail(&place, "operators digits_relu.onnx --layer nothing -o o.npz", 2);
    assert!(text.contains("no node is called 'nothing'"), "{text}");
    let text = fail(&place, "operators digits_relu.onnx -o .", 1);
    assert!(text.contains("folder"), "{text}");
}
