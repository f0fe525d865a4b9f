//! `fenchel difference` from outside: what it writes and prints, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;

use common::place::Place;
use fenchel::data::{array_names, read_array};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{ArrayD, Axis};
use serde_json::Value;

impl Place {
    /// Networks, the inputs that are known of them as `NAME.npz` (key `x`), and older results.
    fn of(networks: &[&str]) -> Self {
        let files = networks.iter().flat_map(|name| [format!("{name}.onnx"), format!("golden/{name}.npz")]);
        let files: Vec<String> = files.collect();
        let place = Self::with(&files.iter().map(String::as_str).collect::<Vec<_>>());
        fs::write(place.path("old.npz"), b"an older result").unwrap();
        place
    }

    fn array(&self, name: &str, key: Option<&str>) -> ArrayD<f64> {
        read_array(&self.path(name), key).unwrap()
    }

    fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{arguments} --json"))).unwrap()
    }

    /// The program must refuse in one line, name all `parts`, and leave every file as it was.
    fn fails(&self, arguments: &str, code: i32, parts: &[&str]) {
        let names = || {
            let names = fs::read_dir(self.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        let before = names();
        let (found, _, errors) = self.run(arguments);
        assert_eq!(found, Some(code), "fenchel {arguments}\n{errors}");
        assert!(
            errors.starts_with("error: ") && errors.lines().count() == 1,
            "fenchel {arguments}\n{errors}"
        );
        for part in parts {
            assert!(errors.contains(part), "fenchel {arguments}\n'{part}' is missing: {errors}");
        }
        assert_eq!(before, names(), "fenchel {arguments}");
        assert_eq!(fs::read(self.path("old.npz")).unwrap(), b"an older result", "fenchel {arguments}");
    }
}

fn difference(values: &ArrayD<f64>, reference: &ArrayD<f64>) -> f64 {
    assert_eq!(values.shape(), reference.shape());
    relative_difference(values.iter().copied(), reference.iter().copied())
}

#[test]
fn parts_and_pieces_are_those_of_the_network() {
    let place = Place::of(&["digits_relu"]);
    let on = "digits_relu.onnx --data digits_relu.npz --key x";
    let document = place.json(&format!("difference {on} --jacobian --segments 500 --seed 7 -o d.npz"));
    place.done(&format!("run {on} -o y.npy --jacobian j.npy --precision f64"));
    let names =
        ["convex", "subtracted", "convex_slope", "subtracted_slope", "convex_offset", "subtracted_offset"];
    assert_eq!(array_names(&place.path("d.npz")).unwrap(), names);
    let [convex, subtracted, convex_slope, subtracted_slope, convex_offset, subtracted_offset] =
        names.map(|name| place.array("d.npz", Some(name)));
    let (y, j, x) = (place.array("y.npy", None), place.array("j.npy", None), golden_x(&place));
    assert!(difference(&(&convex - &subtracted), &y) < EXACT);
    assert!(difference(&(&convex_slope - &subtracted_slope), &j) < EXACT);
    for (values, slopes, offsets) in
        [(&convex, &convex_slope, &convex_offset), (&subtracted, &subtracted_slope, &subtracted_offset)]
    {
        let along = (slopes * &x.view().insert_axis(Axis(1))).sum_axis(Axis(2));
        assert!(difference(&(along + offsets), values) < EXACT);
    }
    // What is printed of them.
    let number = |pointer: &str| document.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert_eq!((number("/points"), number("/outputs"), number("/dimension")), (20.0, 10.0, 64.0));
    assert_eq!(document["holds"], true);
    assert!(number("/agreement/epsilons") <= number("/agreement/allowed"));
    assert!(number("/agreement/difference") < EXACT && number("/agreement/part") > 1.0);
    assert_eq!(number("/agreement/slopes/other_pieces"), 0.0);
    for half in ["convex", "subtracted"] {
        assert_eq!(number(&format!("/convexity/{half}/segments")), 500.0);
        assert_eq!(number(&format!("/convexity/{half}/violations")), 0.0);
        assert!(
            number(&format!("/convexity/{half}/excess")) <= number(&format!("/convexity/{half}/allowed"))
        );
        assert!(number(&format!("/agreement/slopes/{half}_growth")) > 1.0);
    }
    let growth = document["growth"].as_array().unwrap();
    let rows: Vec<(&str, &str)> =
        growth.iter().map(|row| (row["node"].as_str().unwrap(), row["operator"].as_str().unwrap())).collect();
    let expected =
        [("hidden1", "Gemm"), ("relu1", "Relu"), ("hidden2", "Gemm"), ("relu2", "Relu"), ("logits", "Gemm")];
    assert_eq!(rows, expected);
    assert!(number("/growth/0/growth") == 1.0 && number("/growth/4/growth") > 2.0);
    assert_eq!(number("/seed"), 7.0);
}

fn golden_x(place: &Place) -> ArrayD<f64> {
    let x = place.array("digits_relu.npz", Some("x"));
    let rows = x.shape()[0];
    let columns = x.len() / rows;
    x.into_shape_with_order(vec![rows, columns]).unwrap()
}

#[test]
fn parts_of_networks_rows_and_outputs_can_be_chosen() {
    let place = Place::of(&["digits_relu"]);
    let on = "digits_relu.onnx --data digits_relu.npz --key x";
    place.done(&format!("difference {on} --segments 10 -o all.npz"));
    assert_eq!(array_names(&place.path("all.npz")).unwrap(), ["convex", "subtracted"]);
    let said = place.done(&format!("difference {on} --take 3..8 --outputs 9,2..4 --segments 10 -o some.npz"));
    assert!(said.starts_with("5 points, 3 outputs, 6 nodes became 14") && said.contains(": equal"), "{said}");
    assert!(said.contains("convex: 0 of 10 segments violate convexity") && said.contains("logits"), "{said}");
    for part in ["convex", "subtracted"] {
        let all = place.array("all.npz", Some(part));
        let some = all.select(Axis(0), &[3, 4, 5, 6, 7]).select(Axis(1), &[9, 2, 3]);
        assert!(difference(&place.array("some.npz", Some(part)), &some) < EXACT);
    }
    // From one node to another.
    place.done(&format!("run {on} --node relu1 --precision f64 -o h.npy"));
    let document = place.json(
        "difference digits_relu.onnx --from relu1 --node relu2 --data h.npy --segments 0 --jacobian -o d.npz",
    );
    assert!(document.get("convexity").is_none() && document["holds"] == true, "{document}");
    assert_eq!(document["growth"].as_array().unwrap().len(), 2);
    place.done(&format!("run {on} --node relu2 --precision f64 -o y.npy"));
    let parts = place.array("d.npz", Some("convex")) - place.array("d.npz", Some("subtracted"));
    assert!(difference(&parts, &place.array("y.npy", None)) < EXACT);
    // In f32 with little memory, to the same rounding of its own.
    place.done(&format!(
        "difference {on} --precision f32 --device cpu --segments 10 --memory 8MiB -o single.npz"
    ));
    for part in ["convex", "subtracted"] {
        let single = place.array("single.npz", Some(part));
        assert!(difference(&single, &place.array("all.npz", Some(part))) < CLOSE);
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line() {
    let place = Place::of(&["digits_gelu", "moons"]);
    place.fails(
        "difference digits_gelu.onnx --data digits_gelu.npz --key x -o old.npz",
        1,
        &["affine or continuous piecewise affine form", "Gelu ('"],
    );
    let on = "difference moons.onnx --data moons.npz --key x";
    place.fails(&format!("{on} --take 0..5000 -o old.npz"), 2, &["--take 0..5000 goes beyond"]);
    place.fails(&format!("{on} --take 4..5 -o old.npz"), 2, &["two rows"]);
    place.fails(&format!("{on} --outputs 2 -o old.npz"), 2, &["there is no output 2"]);
    place.fails(&format!("{on} --node nothing -o old.npz"), 2, &["no node is called 'nothing'"]);
    place.fails(&format!("{on} --memory 1KiB -o old.npz"), 1, &["--memory"]);
    place.fails(&format!("{on} -o nowhere/d.npz"), 1, &["cannot write"]);
    place.fails("difference moons.onnx --data absent.npy -o old.npz", 1, &["cannot read 'absent.npy'"]);
    place.fails("difference absent.onnx --data moons.npz -o old.npz", 1, &["'absent.onnx'"]);
    place.fails(&format!("{on} --precision f64 --device gpu:99 -o old.npz"), 1, &["gpu:99"]);
    let wrong = "difference moons.onnx --data digits_gelu.npz --key x -o old.npz";
    place.fails(wrong, 1, &["64"]);
    let (code, _, errors) = place.run(&format!("{on} --segments -3 -o old.npz"));
    assert_eq!(code, Some(2), "{errors}");
    let (code, _, errors) = place.run(on);
    assert!(code == Some(2) && errors.contains("--output"), "{errors}");
}
