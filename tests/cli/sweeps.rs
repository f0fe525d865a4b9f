//! `fenchel sweep`: rows that fit and eval confirm, checkpoints, axes, presets.

use std::collections::BTreeSet;
use std::fs;

use fenchel::tolerance::{CLOSE, relative_difference};
use ndarray::{ArrayD, Axis, Slice};
use serde_json::Value;

use super::common::place::Place;
use super::text;

const SWEEP: &str = "sweep digits_sigmoid.onnx --data digits.npz --labels digits.npz --scale 0.0625 \
                     --anchors 0..400 --points 1300..1797 --pieces 50,200 --curvature 1,3 --seeds 2 --seed 4";

#[test]
fn a_sweep_says_what_fit_and_eval_give() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    let printed = place.json(&format!("{SWEEP} -o sweep"));
    let stored: Value = serde_json::from_slice(&place.read("sweep/rows.json")).unwrap();
    assert_eq!(printed, stored);
    let rows = stored["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    let table = text(&place.read("sweep/rows.csv"));
    assert_eq!(table.lines().count(), 9);
    assert!(place.read("sweep/sweep.svg").starts_with(b"<svg"));
    for row in rows {
        for key in ["pieces", "curvature", "seed", "relative_rmse", "mean_abs", "max_abs"] {
            assert!(row[key].is_number(), "{key} of {row}");
            assert!(table.lines().next().unwrap().split(',').any(|name| name == key), "{key}");
        }
        for key in ["agreement", "accuracy", "violations"] {
            assert!((0.0..=1.0).contains(&row[key].as_f64().unwrap()), "{key} of {row}");
        }
        assert!(row["certificate"].is_number() && row["points"] == 497);
    }

    // The row of 50 pieces, curvature 3 and seed 5, again.
    let fit = "fit digits_sigmoid.onnx --data digits.npz --scale 0.0625 --take 0..400 --pieces 50";
    place.done(&format!("{fit} --curvature 3 --seed 5 -o s"));
    let tail = |array: ArrayD<f64>| array.slice_axis(Axis(0), Slice::from(1300..)).into_owned();
    place.write("points.npy", &tail(place.array("digits.npz", Some("x"))));
    place.done("eval s --data points.npy -o e.npz");
    place.done("run digits_sigmoid.onnx --data points.npy --scale 0.0625 -o y.npy");
    let (truth, value) = (place.array("y.npy", None), place.array("e.npz", Some("value")));
    let labels = tail(place.array("digits.npz", Some("y")));
    let error = &value - &truth;
    let squares = |array: &ArrayD<f64>| array.iter().map(|v| v * v).sum::<f64>() / array.len() as f64;
    let deviation = (squares(&truth) - truth.mean().unwrap().powi(2)).sqrt();
    let best = |array: &ArrayD<f64>| -> Vec<usize> {
        let largest =
            |row: &[f64]| (1..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        array.outer_iter().map(|row| largest(&row.iter().copied().collect::<Vec<_>>())).collect()
    };
    let share = |hits: usize| hits as f64 / 497.0;
    let agreement = share(best(&value).iter().zip(best(&truth)).filter(|(a, b)| *a == b).count());
    let accuracy = share(best(&value).iter().zip(&labels).filter(|(a, b)| **a as f64 == **b).count());
    let [lower, upper] = ["lower", "upper"].map(|name| place.array("e.npz", Some(name)));
    let expected = [
        ("relative_rmse", squares(&error).sqrt() / deviation),
        ("mean_abs", error.mapv(f64::abs).mean().unwrap()),
        ("max_abs", error.iter().fold(0.0_f64, |m, v| m.max(v.abs()))),
        ("agreement", agreement),
        ("accuracy", accuracy),
        ("certificate", ((&upper - &lower) / 2.0).mean().unwrap()),
        ("relative_certificate", ((&upper - &lower) / 2.0).mean().unwrap() / deviation),
    ];
    let row = rows.iter().find(|r| r["pieces"] == 50 && r["curvature"] == 3.0 && r["seed"] == 5).unwrap();
    for (key, expected) in expected {
        let found = row[key].as_f64().unwrap();
        assert!(relative_difference([found], [expected]) < CLOSE, "{key}: {found}, not {expected}");
    }
    let outside = (0..truth.len())
        .filter(|&i| {
            let [g, l, u] = [&truth, &lower, &upper].map(|array| array[[i / 10, i % 10]]);
            g < l || g > u
        })
        .count();
    // Within rounding of the bound counts as inside.
    let (found, most) = (row["violations"].as_f64().unwrap(), outside as f64 / truth.len() as f64);
    assert!(found <= most && most - found < 0.01, "{found}, not {most}");
}

#[test]
fn neither_memory_nor_resume_changes_a_bit() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    place.done(&format!("{SWEEP} -o one"));
    place.done(&format!("{SWEEP} --memory 20MiB -o two"));
    place.done(&format!("{SWEEP} --memory 300KiB -o three"));
    for name in ["rows.json", "rows.csv", "sweep.svg"] {
        for other in ["two", "three"] {
            place.same(&format!("{other}/{name}"), &place, &format!("one/{name}"));
        }
    }
    let (names, rows) = (place.names(), place.read("one/rows.json"));
    fs::remove_file(place.path("one/sweep.svg")).unwrap();
    let printed = place.done(&format!("{SWEEP} --resume --json -o one"));
    assert_eq!(place.read("one/rows.json"), rows);
    assert_eq!(
        serde_json::from_str::<Value>(&printed).unwrap(),
        serde_json::from_slice::<Value>(&rows).unwrap()
    );
    assert_eq!(place.names(), names);
    // A folder that has no checkpoint yet is a sweep at its beginning.
    place.done(&format!("{SWEEP} --resume -o four"));
    assert_eq!(place.read("four/rows.json"), rows);
}

#[test]
fn points_may_come_from_another_file() {
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    let x = place.array("moons.npz", Some("x"));
    place.write("test.npy", &x.slice_axis(Axis(0), Slice::from(750..)).into_owned());
    let sweep = "sweep moons.onnx --data moons.npz --anchors 0..500 --pieces 20,all --curvature 0,secant \
                 --curvature-points 500..700";
    let one = place.json(&format!("{sweep} --points 750..1000 -o one"));
    let other = place.json(&format!("{sweep} --points-data test.npy -o other"));
    assert_eq!(one, other);
    let rows = one["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row["accuracy"].is_null() && row["points"] == 250));
    assert_eq!(rows[3]["pieces"], 500);
}

#[test]
fn a_sweep_has_an_axis_for_everything() {
    let place = Place::with(&["digits_cnn.onnx", "digits.npz"]);
    let sweep = "sweep digits_cnn.onnx --data digits.npz --labels digits.npz --scale 0.0625 --anchors 0..400 \
                 --points 1400..1797 --pieces 30,60 --select random,k-means --metric identity,principal \
                 --curvature 3,auto --slopes 1,auto --refine 0 --seeds 1";
    let printed = place.json(&format!("{sweep} -o one"));
    let rows = printed["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 16);
    let named: BTreeSet<String> = rows
        .iter()
        .map(|row| {
            let keys = ["selection", "metric", "curvature_choice", "slopes", "softness", "refine", "pieces"];
            assert!(row["relative_rmse"].as_f64().unwrap() < 2.0, "{row}");
            assert_eq!(row["points"], 397);
            keys.map(|key| row[key].to_string()).join(" ")
        })
        .collect();
    assert_eq!(named.len(), rows.len(), "no two rows are alike");
    let table = text(&place.read("one/rows.csv"));
    assert_eq!(table.lines().count(), 33);

    // A row is what fit and eval give, and what a plain sweep gives.
    let plain = place.json(
        "sweep digits_cnn.onnx --data digits.npz --labels digits.npz --scale 0.0625 --anchors 0..400 --points 1400..1797 \
         --pieces 30,60 --curvature 3 -o plain",
    );
    assert_eq!(plain["rows"][1], rows[1]);

    // Interrupted after any row it goes on from there.
    let mut checkpoint: Value = serde_json::from_slice(&place.read("one/checkpoint.json")).unwrap();
    checkpoint["rows"].as_array_mut().unwrap().truncate(5);
    fs::create_dir(place.path("two")).unwrap();
    fs::write(place.path("two/checkpoint.json"), serde_json::to_vec(&checkpoint).unwrap()).unwrap();
    place.done(&format!("{sweep} --resume -o two"));
    place.same("two/rows.csv", &place, "one/rows.csv");
    place.same("two/rows.json", &place, "one/rows.json");
    place.fails(&format!("{} --resume -o two", sweep.replace("30,60", "30,61")), 2, "another");
}

#[test]
fn a_preset_makes_the_published_figure() {
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    let sweep = "sweep moons.onnx --data moons.npz --labels moons.npz --anchors 0..60 --points 500..900 --preset published";
    let printed = place.json(&format!("{sweep} --curvature 1 -o figure"));
    let rows = printed["rows"].as_array().unwrap();
    let pieces: BTreeSet<u64> = rows.iter().map(|row| row["pieces"].as_u64().unwrap()).collect();
    assert_eq!(pieces.into_iter().collect::<Vec<_>>(), [10, 20, 50, 60]);
    assert_eq!(rows.len(), 40);
    let picture = text(&place.read("figure/sweep.svg"));
    for axis in ["relative RMSE", "agreement", "accuracy"] {
        assert!(picture.contains(axis), "{axis}");
    }
    place.fails(&format!("{sweep} --pieces 10 -o other"), 2, "--pieces");
}
