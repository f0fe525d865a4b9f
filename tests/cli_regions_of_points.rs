//! `fenchel regions`: boxes, points, paths and balls.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use fenchel::data::read_array;
use serde_json::Value;

fn place() -> Place {
    Place::with(&["moons.onnx", "moons.npz", "digits_relu.onnx", "digits_gelu.onnx", "digits.npz"])
}

fn read(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(place.path(name)).unwrap()).unwrap()
}

const DIGITS: &str = "regions digits_relu.onnx --data digits.npz --scale 0.0625";

#[test]
fn all_regions_of_a_box_agree_with_the_partition() {
    let place = place();
    place.npz(
        "plane.npz",
        &[("origin", &[2], &[0.5, 0.5]), ("u", &[2], &[1.5, 0.0]), ("v", &[2], &[0.0, 1.5])],
    );
    let partition = place.succeed("partition moons.onnx --plane plane.npz -o p.json");
    let summary = place.succeed("regions moons.onnx --box -1,2 -o r.json --npz r.npz");
    assert_eq!((&summary["label"], &summary["count"]), (&"exact".into(), &partition["count"]));
    assert_eq!(summary, read(&place, "r.json"));
    assert!(summary["seconds"].as_f64().unwrap() > 0.0 && summary["tiny"].is_u64());
    let count = summary["count"].as_u64().unwrap() as usize;
    let array = |name: &str| read_array(&place.path("r.npz"), Some(name)).unwrap();
    assert_eq!((array("centre").shape(), array("inradius").shape()), (&[count, 2][..], &[count][..]));
    assert!(
        array("centre").iter().all(|x| (-1.0..=2.0).contains(x))
            && array("inradius").iter().all(|r| *r > 0.0)
    );
    // In two goes.
    let capped = place.succeed("regions moons.onnx --box -1,2 --budget 5 --resume state.npz -o c.json");
    assert_eq!((&capped["label"], &capped["count"]), (&"capped".into(), &5.into()));
    assert!(capped["open_facets"].as_u64().unwrap() > 0);
    let resumed = place.succeed("regions moons.onnx --box -1,2 --resume state.npz -o c.json");
    assert_eq!(
        (&resumed["label"], &resumed["count"], &resumed["resumed"]),
        (&"exact".into(), &count.into(), &true.into())
    );
    let (_, text, _) = place.run("regions moons.onnx --box -1,2 -o r.json");
    assert!(text.contains(&format!("{count} regions (exact)")), "{text}");
}

#[test]
fn the_region_of_a_row() {
    let place = place();
    let summary = place.succeed(&format!("{DIGITS} --at 3 --towards 8 --box 0,1 -o r.json --npz r.npz"));
    let document = read(&place, "r.json");
    let facets = document["facets"].as_array().unwrap();
    assert_eq!(summary["facets"].as_u64(), Some(facets.len() as u64));
    let constraints = summary["constraints"].as_u64().unwrap() as usize;
    assert!(facets.len() > 64 && facets.len() <= constraints);
    assert!(
        facets.iter().any(|facet| facet["node"] == "relu1")
            && facets.iter().any(|facet| facet["input"].is_u64())
    );
    let array = |name: &str| read_array(&place.path("r.npz"), Some(name)).unwrap();
    let (a, b) = (array("A"), array("b"));
    assert_eq!((a.shape(), array("slope").shape()), (&[constraints, 64][..], &[10, 64][..]));
    // The centre is as far from its nearest wall as the inradius says.
    let centre: Vec<f64> = serde_json::from_value(document["centre"].clone()).unwrap();
    let dot = |i: usize| (0..64).map(|d| a[[i, d]] * centre[d]).sum::<f64>();
    let depth = (0..constraints).map(|i| b[i] - dot(i)).fold(f64::INFINITY, f64::min);
    assert!((depth - summary["inradius"].as_f64().unwrap()).abs() < 1e-11);
    // The ray's exit is the first breakpoint of the path: pixels do not leave the box.
    let path = place.succeed(&format!("{DIGITS} --path 3,8 -o p.json"));
    let document = read(&place, "p.json");
    let first = document["breakpoints"][0]["at"].as_f64().unwrap();
    let exit = summary["ray"]["exit"].as_f64().unwrap();
    assert!(exit <= first + 1e-11, "{exit} {first}");
    assert_eq!(path["regions"].as_u64(), Some(document["places"].as_array().unwrap().len() as u64 - 1));
    assert_eq!(document["values"].as_array().unwrap().len(), document["places"].as_array().unwrap().len());
    // Its classes are those of the network at both ends.
    let last = path["changes"].as_array().unwrap().last().map_or(&path["class"], |change| &change["to"]);
    let ends = document["values"].as_array().unwrap();
    let class = |row: &Value| {
        let row: Vec<f64> = serde_json::from_value(row.clone()).unwrap();
        (0..10).max_by(|&i, &j| row[i].total_cmp(&row[j])).unwrap()
    };
    assert_eq!(
        (&Value::from(class(&ends[0])), &Value::from(class(&ends[ends.len() - 1]))),
        (&path["class"], last)
    );
}

#[test]
fn arrays_of_paths_and_regions_of_balls() {
    let place = place();
    let path = place.succeed("regions moons.onnx --data moons.npz --key x --path 0,1 -o p.json --npz p.npz");
    let array = |name: &str| read_array(&place.path("p.npz"), Some(name)).unwrap();
    assert_eq!(array("at").len() as u64, path["count"].as_u64().unwrap());
    assert_eq!(array("values").shape()[0] as u64, path["regions"].as_u64().unwrap() + 1);
    let ball =
        |options: &str| place.succeed(&format!("{DIGITS} --at 3 --ball 2 --samples 500 {options} -o b.json"));
    let found = ball("");
    assert_eq!(
        (&found["label"], &found["samples"], &found["place"]),
        (&"visited".into(), &500.into(), &"ball".into())
    );
    assert!(found["count"].as_u64().unwrap() > 10);
    assert_eq!(ball("--memory 16MiB")["count"], found["count"]);
    assert_eq!(ball("--surface")["place"], "sphere");
}

#[test]
fn what_cannot_be_is_one_clear_line() {
    let place = place();
    let fail = |command: &str, code: i32| {
        let (found, _, text) = place.run(&format!("regions {command} -o x.json"));
        assert_eq!(found, Some(code), "{command}: {text}");
        assert!(text.starts_with("error: ") && !place.path("x.json").exists(), "{command}: {text}");
        text
    };
    let text = fail("digits_gelu.onnx --data digits.npz --at 0", 1);
    assert!(text.contains("Gelu ('gelu1')") && text.contains("fenchel layers --save"), "{text}");
    let text = fail("digits_gelu.onnx --box 0,1", 1);
    assert!(text.contains("Gelu ('gelu1')"), "{text}");
    fail("moons.onnx", 2);
    fail("moons.onnx --box 1,0", 2);
    fail("moons.onnx --box 0,1 --budget 0", 2);
    fail("moons.onnx --at 3", 2);
    fail("digits_relu.onnx --data digits.npz --path 3,3", 2);
    let text = fail("digits_relu.onnx --data digits.npz --at 100000", 2);
    assert!(text.contains("expected 0 to 1796"), "{text}");
    let text = fail("digits_relu.onnx --data digits.npz --at 0 --box 0,1", 2);
    assert!(text.contains("is not in [0, 1]"), "{text}");
    fail("moons.onnx --box 0,1 --npz x.json", 2);
    fail("digits_relu.onnx --data digits.npz --at 0 --ball -1", 2);
    fail("digits_relu.onnx --data digits.npz --at 0 --memory 300KiB", 1);
}
