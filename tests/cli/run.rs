//! `fenchel run`: golden outputs, data of every kind, networks that are cut.

use std::fs;

use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT};
use ndarray::{Axis, Slice, s};

use super::common::place::Place;
use super::{difference, golden};

#[test]
fn run_gives_the_golden_outputs_and_jacobians() {
    for name in ["digits_sigmoid", "digits_relu", "digits_gelu", "digits_cnn", "moons"] {
        let place = Place::with(&[&format!("{name}.onnx")]);
        place.write("x.npy", &golden(name, "x"));
        place.done(&format!("run {name}.onnx --data x.npy -o y.npy --jacobian j.npy"));
        let (y, jacobian) = (place.array("y.npy", None), place.array("j.npy", None));
        assert!(difference(&y, &golden(name, "y")) < CLOSE, "{name}");
        let reference = golden(name, "jacobian");
        let (k, d) = (y.shape()[1], reference.shape()[2]);
        assert_eq!(jacobian.shape(), [y.shape()[0], k, d], "{name}");
        let first = jacobian.slice_axis(Axis(0), Slice::from(0..reference.shape()[0])).into_owned();
        assert!(difference(&first, &reference) < APPROXIMATE, "{name}");

        place.done(&format!("run {name}.onnx --data x.npy --precision f64 -o y64.npy --jacobian j64.npy"));
        let exact = difference(&place.array("y64.npy", None), &golden(name, "y64"));
        assert!(exact < EXACT, "{name}: {exact:e}");
        let jacobian = place.array("j64.npy", None);
        let first = jacobian.slice_axis(Axis(0), Slice::from(0..reference.shape()[0])).into_owned();
        let exact = difference(&first, &reference);
        assert!(exact < EXACT, "{name}: {exact:e}");
        assert!(place.read("y64.npy").len() > place.read("y.npy").len());
    }
}

#[test]
fn run_takes_some_outputs_in_the_order_given() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    let run = "run digits_sigmoid.onnx --data digits.npz --scale 0.0625";
    place.done(&format!("{run} -o all.npy --jacobian all_j.npy"));
    place.done(&format!("{run} --outputs 7,0,3..5 -o some.npy --jacobian some_j.npy"));
    let picked = [7, 0, 3, 4];
    let (all, some) = (place.array("all.npy", None), place.array("some.npy", None));
    assert_eq!(all.shape(), [1797, 10]);
    assert_eq!(some, all.select(Axis(1), &picked));
    let (all, some) = (place.array("all_j.npy", None), place.array("some_j.npy", None));
    assert_eq!(some.shape(), [1797, 4, 64]);
    assert!(difference(&some, &all.select(Axis(1), &picked)) < CLOSE);
    // Values alone, without Jacobians, are the same outputs by another road.
    place.done(&format!("{run} --outputs 7,0,3..5 -o alone.npy"));
    assert!(difference(&place.array("alone.npy", None), &place.array("some.npy", None)) < CLOSE);
    // Jacobians alone need no other file.
    let before = place.names();
    place.done(&format!("{run} --outputs 7,0,3..5 --jacobian alone_j.npy"));
    assert_eq!(place.read("alone_j.npy"), place.read("some_j.npy"));
    assert_eq!(place.names().difference(&before).collect::<Vec<_>>(), ["alone_j.npy"]);
}

#[test]
fn a_network_cut_in_two_is_the_network() {
    let place = Place::with(&["digits_cnn.onnx"]);
    place.write("x.npy", &golden("digits_cnn", "x"));
    place.done("run digits_cnn.onnx --data x.npy --node relu2 -o half.npy");
    assert_eq!(place.array("half.npy", None).shape(), [20, 256]);
    assert!(place.array("half.npy", None).iter().all(|&v| v >= 0.0));
    place.done("run digits_cnn.onnx --data x.npy --node pool2 -o pool.npy");
    place.done("run digits_cnn.onnx --data pool.npy --from pool2 -o y.npy");
    assert!(difference(&place.array("y.npy", None), &golden("digits_cnn", "y")) < CLOSE);
}

#[test]
fn run_reports_in_json() {
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    let report = place.json("run moons.onnx --data moons.npz --key x -o y.npy --device cpu");
    assert_eq!((&report["samples"], &report["outputs"]), (&1000.into(), &2.into()));
    assert_eq!(report["dimension"], 2);
    assert!(report["seconds"].as_f64().unwrap() >= 0.0);
    assert!(report["device"].as_str().unwrap().contains("CPU"));
}

#[test]
fn data_may_be_npy_idx_or_gzip_of_any_fitting_shape() {
    let place = Place::with(&["digits_cnn.onnx", "digits.npz"]);
    let x = place.array("digits.npz", Some("x")).slice(s![..9, ..]).into_owned().into_dyn();
    let bytes: Vec<u8> = x.iter().map(|&v| v as u8).collect();
    let idx = [&[0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8], &bytes[..]].concat();
    fs::write(place.path("x.idx"), &idx).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &idx).unwrap();
    fs::write(place.path("x.idx.gz"), gzip.finish().unwrap()).unwrap();
    place.write("flat.npy", &x);
    place.write("images.npy", &x.to_shape(vec![9, 1, 8, 8]).unwrap().into_owned());
    place.done("run digits_cnn.onnx --data flat.npy --scale 0.0625 -o reference.npy");
    for name in ["x.idx", "x.idx.gz", "images.npy"] {
        place.done(&format!("run digits_cnn.onnx --data {name} --scale 0.0625 -o y.npy"));
        assert_eq!(place.read("y.npy"), place.read("reference.npy"), "{name}");
    }
    place.done("run digits_cnn.onnx --data x.idx --scale 0.125 --mean 0.5 --std 2 -o y.npy");
    let scaled = x.mapv(|v| (v * 0.125 - 0.5) / 2.0);
    place.write("scaled.npy", &scaled);
    place.done("run digits_cnn.onnx --data scaled.npy -o reference.npy");
    assert_eq!(place.read("y.npy"), place.read("reference.npy"));
}
