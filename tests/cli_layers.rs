//! `fenchel layers` from outside: what it writes, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::place::Place;
use fenchel::data::read_array;
use fenchel::tolerance::{CLOSE, relative_difference};
use serde_json::Value;

impl Place {
    fn names(&self, folder: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Refused with this exit code, in one line with these parts (usage errors say more), and nothing written.
    fn refused(&self, arguments: &str, code: i32, parts: &[&str]) {
        let before = self.names(".");
        let (found, _, error) = self.run(arguments);
        assert_eq!(found, Some(code), "fenchel {arguments}\n{error}");
        for part in parts {
            assert!(error.contains(part), "fenchel {arguments}\n'{part}' is missing: {error}");
        }
        assert!(error.starts_with("error: ") && !error.contains("panicked"), "{error}");
        assert_eq!(self.names("."), before, "fenchel {arguments}");
    }
}

const DIGITS: &str = "layers digits_gelu.onnx --data digits.npz --scale 0.0625 --device cpu";

#[test]
fn a_folder_of_results() {
    let place = Place::with(&["digits_gelu.onnx", "digits.npz"]);
    let arguments = format!("{DIGITS} --take 0..1000 --points 1000..1797 --pieces 16,4 --save -o out");
    let said = place.done(&arguments);
    assert!(said.contains("at 4 pieces gelu1 dominates") && said.contains("is piecewise affine"), "{said}");
    let files = [
        "activation-gelu1.svg",
        "activation-gelu2.svg",
        "error.svg",
        "rows.csv",
        "rows.json",
        "splined-16.onnx",
        "splined-4.onnx",
    ];
    assert_eq!(place.names("out"), files.iter().map(|name| (*name).to_owned()).collect());
    let document: Value = serde_json::from_slice(&fs::read(place.path("out/rows.json")).unwrap()).unwrap();
    let rows = document["rows"].as_array().unwrap();
    let key = |row: &Value| (row["pieces"].as_u64().unwrap(), row["layer"].as_str().unwrap().to_owned());
    let keys: Vec<(u64, String)> = rows.iter().map(key).collect();
    let expected = [(4, "gelu1"), (4, "gelu2"), (4, "all"), (16, "gelu1"), (16, "gelu2"), (16, "all")];
    assert_eq!(keys, expected.map(|(pieces, layer)| (pieces, layer.to_owned())));
    assert_eq!(rows[0]["points"], 797);
    assert!(rows[0]["low"].as_f64().unwrap() < -1.0 && rows[2]["low"].is_null());
    let csv = fs::read_to_string(place.path("out/rows.csv")).unwrap();
    assert_eq!(csv.lines().count(), 7);
    for picture in &files[..3] {
        assert!(fs::read_to_string(place.path("out").join(picture)).unwrap().contains("</svg>"));
    }

    // The saved network is one like any other: as far from the first as the row says, and piecewise affine.
    let run = |model: &str, to: &str| {
        place.done(&format!("run {model} --data digits.npz --scale 0.0625 --device cpu -o {to}"));
        read_array(&place.path(to), None).unwrap()
    };
    let (own, splined) = (run("digits_gelu.onnx", "y.npy"), run("out/splined-16.onnx", "s.npy"));
    let judged =
        |array: &ndarray::ArrayD<f64>| array.slice_axis(ndarray::Axis(0), (1000..1797).into()).to_owned();
    let (own, splined) = (judged(&own), judged(&splined));
    let rmse = (&splined - &own).mapv(|v| v * v).mean().unwrap().sqrt() / own.std(0.0);
    let said = rows[5]["relative_rmse"].as_f64().unwrap();
    assert!((rmse / said - 1.0).abs() < 1e-2, "{rmse} but {said}");
    assert!(relative_difference(splined.iter().copied(), own.iter().copied()) > CLOSE);
    assert!(place.done("inspect out/splined-16.onnx").contains("piecewise affine"));
}

#[test]
fn json_on_standard_output_and_labels() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    let labels = read_array(&place.path("digits.npz"), Some("y")).unwrap();
    let output = fenchel::data::OutputFile::create(&place.path("y.npy")).unwrap();
    let mut writer = fenchel::data::NpyWriter::<f32>::create(output, labels.shape()).unwrap();
    writer.write(&labels.iter().map(|&v| v as f32).collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let said = place.done(
        "layers digits_sigmoid.onnx --data digits.npz --scale 0.0625 --device cpu --labels y.npy --pieces 32 --json -o out",
    );
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["rows"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&document["kind"], document["smooth"].as_array().unwrap().len()),
        (&"piecewise-affine".into(), 0)
    );
    assert!(document["accuracy"].as_f64().unwrap() > 0.9);
    assert_eq!(document["dominant"][0]["pieces"], 32);
}

#[test]
fn bad_input_is_refused_in_one_line() {
    let place = Place::with(&["digits_gelu.onnx", "digits.npz", "moons.onnx", "moons.npz"]);
    fs::write(place.path("file"), "no folder").unwrap();
    let one_line = |arguments: &str, code: i32, parts: &[&str]| {
        place.refused(arguments, code, parts);
        let (_, _, error) = place.run(arguments);
        assert_eq!(error.lines().count(), 1, "{error}");
    };
    one_line("layers missing.onnx --data digits.npz -o out", 1, &["missing.onnx"]);
    one_line("layers digits_gelu.onnx --data missing.npy -o out", 1, &["missing.npy"]);
    one_line("layers moons.onnx --data moons.npz -o out", 1, &["no activation", "piecewise affine"]);
    one_line(&format!("{DIGITS} -o file"), 1, &["'file' is no folder"]);
    one_line(&format!("{DIGITS} --take 0..9999 -o out"), 2, &["--take 0..9999", "1797 rows"]);
    one_line(&format!("{DIGITS} --points 5..9999 -o out"), 2, &["--points 5..9999"]);
    one_line(&format!("{DIGITS} --points-data moons.npz -o out"), 1, &["moons.npz"]);
    one_line(&format!("{DIGITS} --labels moons.npz -o out"), 2, &["moons.npz", "1000 labels"]);
    one_line(&format!("{DIGITS} --memory 1KiB -o out"), 1, &["raise --memory"]);
    for pieces in ["0", "-1", "8,0", "some", "5000"] {
        place.refused(&format!("{DIGITS} --pieces {pieces} -o out"), 2, &["from 1 to 4096"]);
    }
    place.refused(&format!("{DIGITS} --save --node gelu2 -o out"), 2, &["--node"]);
    place.refused(DIGITS, 2, &["--output"]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with(&["digits_gelu.onnx", "digits.npz"]);
    fs::create_dir(place.path("locked")).unwrap();
    fs::set_permissions(place.path("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(place.path("locked/probe"), "").is_ok() {
        // Some users may write anywhere.
        return;
    }
    let (code, _, error) = place.run(&format!("{DIGITS} --pieces 4 -o locked"));
    assert!(code == Some(1) && error.contains("cannot write") && error.lines().count() == 1, "{error}");
    assert_eq!(place.names("locked").len(), 0);
}
