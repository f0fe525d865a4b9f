//! `fenchel bench` and `devices`, and every verb on a graphics device.

use std::collections::BTreeSet;

use fenchel::tolerance::{APPROXIMATE, relative_difference};
use serde_json::Value;

use super::common::place::Place;
use super::{difference, golden, text};

#[test]
fn bench_times_passes_in_memory() {
    let place = Place::with(&["moons.onnx"]);
    let report = place.json("bench moons.onnx --samples 50 --repeats 3 --outputs 1");
    assert_eq!((report["samples"].as_u64(), report["outputs"].as_u64()), (Some(50), Some(1)));
    for pass in ["forward", "jets"] {
        let seconds: Vec<f64> =
            report[pass]["seconds"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        assert_eq!(seconds.len(), 3);
        assert!(seconds.contains(&report[pass]["median"].as_f64().unwrap()));
        assert!(seconds.iter().all(|&s| s > 0.0) && report[pass]["gflops"].as_f64().unwrap() > 0.0);
    }
    let report = place.json("bench moons.onnx --samples 500 --repeats 2 --slice 300x200");
    let slice = &report["slice"];
    assert_eq!((slice["width"].as_u64(), slice["height"].as_u64()), (Some(300), Some(200)));
    assert_eq!(slice["pairs"].as_f64(), Some(300.0 * 200.0 * 500.0));
    assert!(slice["skipped"].as_f64().unwrap() > 0.5 && slice["active"].as_u64().unwrap() > 2, "{slice}");
    assert_eq!(place.names(), BTreeSet::from(["moons.onnx".to_owned()]), "nothing is written");
}

#[test]
fn bench_times_kernels_on_each_device() {
    let place = Place::with(&[]);
    let quick = "bench --seconds 0.02 --repeats 1";
    let report = place.json(&format!("{quick} --device cpu"));
    let rows = report["rows"].as_array().unwrap();
    let kernels: BTreeSet<&str> = rows.iter().map(|row| row["kernel"].as_str().unwrap()).collect();
    assert!(
        kernels.is_superset(&BTreeSet::from(["convolution", "envelope", "jets", "matmul"])),
        "{kernels:?}"
    );
    for row in rows {
        let number = |key: &str| row[key].as_f64().unwrap();
        assert!(number("seconds") > 0.0 && number("gflops") > 0.0 && number("share_of_floor") > 0.0, "{row}");
        let of_pairs = ["max-affine", "envelope", "slice", "hamming"]
            .iter()
            .any(|kernel| row["kernel"].as_str().unwrap().contains(kernel));
        assert_eq!(row["gpairs"].is_number(), of_pairs);
        assert!(row["ratio_to_cpu"].is_null() && row["device"].as_str().unwrap().starts_with("CPU"));
    }
    let floors = report["floors"].as_array().unwrap();
    assert!(floors.len() == 1 && floors[0]["gbytes"].as_f64().unwrap() > 0.0);
    assert!(place.done(&format!("{quick} --device cpu --only matmul")).contains("| matmul |"));
    let report = place.json("bench --device cpu --repeats 1 --shape 70,80,9,2");
    let row = &report["rows"][0];
    assert_eq!((&row["kernel"], &row["shape"]), (&"envelope".into(), &"N 70, M 80, D 9, K 2".into()));
    if !graphics(&place) {
        return;
    }
    let report = place.json(&format!("{quick} --device gpu --only matmul"));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!((rows.len(), rows[1]["ratio_to_cpu"].is_number()), (2, true));
}

/// Whether there is a graphics adapter; where one is required, there must be.
fn graphics(place: &Place) -> bool {
    let found = place.json("devices")["adapters"].as_array().is_some_and(|adapters| !adapters.is_empty());
    assert!(found || std::env::var_os("FENCHEL_REQUIRE_GPU").is_none(), "no graphics adapter was found");
    found
}

#[test]
fn every_verb_gives_the_same_on_a_graphics_device() {
    let place = Place::with(&["digits_cnn.onnx", "digits.npz", "moons.onnx", "moons.npz"]);
    if !graphics(&place) {
        return;
    }
    let data = "--data digits.npz --scale 0.0625";
    for device in ["cpu", "gpu"] {
        let end = format!("--device {device}");
        place.write("x.npy", &golden("digits_cnn", "x"));
        place.done(&format!(
            "run digits_cnn.onnx --data x.npy -o y_{device}.npy --jacobian j_{device}.npy {end}"
        ));
        place.done(&format!(
            "fit digits_cnn.onnx {data} --take 0..200 --curvature 3 -o s_{device}.safetensors {end}"
        ));
        place.done(&format!("eval s_{device}.safetensors --data x.npy -o e_{device}.npz {end}"));
        let sweep = "--key x --anchors 0..60 --points 500..900 --pieces 10,60 --curvature 1,secant --seeds 2";
        place.done(&format!("sweep moons.onnx --data moons.npz {sweep} -o sweep_{device} {end}"));
    }
    for name in ["y", "j"] {
        let [cpu, gpu] = ["cpu", "gpu"].map(|device| place.array(&format!("{name}_{device}.npy"), None));
        assert!(difference(&gpu, &cpu) < APPROXIMATE, "{name}");
    }
    for key in ["value", "lower", "upper", "convex_piece", "concave_piece"] {
        let [cpu, gpu] = ["cpu", "gpu"].map(|device| place.array(&format!("e_{device}.npz"), Some(key)));
        if key.ends_with("piece") {
            let other = cpu.iter().zip(&gpu).filter(|(a, b)| a != b).count();
            assert!(100 * other <= cpu.len(), "{key}: {other} others of {}", cpu.len());
        } else {
            assert!(difference(&gpu, &cpu) < APPROXIMATE, "{key}");
        }
    }
    let rows = |device: &str| -> Vec<f64> {
        let rows: Value = serde_json::from_slice(&place.read(&format!("sweep_{device}/rows.json"))).unwrap();
        let rows = rows["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["relative_rmse"].as_f64().unwrap()).collect()
    };
    assert!(relative_difference(rows("gpu"), rows("cpu")) < APPROXIMATE);
}

#[test]
fn devices_needs_no_graphics_adapter() {
    let place = Place::with(&[]);
    // Drivers write what they like to standard error, so only the document counts.
    let output = place.std_command("devices --json").output().unwrap();
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["cpu"]["threads"].as_u64().unwrap() >= 1);
    let simd = report["cpu"]["simd"].as_str().unwrap();
    assert!(!simd.is_empty() && !simd.contains('{'), "{simd}");
    assert!(report["adapters"].is_array());
    let output = place.std_command("devices").output().unwrap();
    assert!(output.status.success() && text(&output.stdout).starts_with("cpu "));
}
