//! `fenchel partition` from outside: what it writes, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use fenchel::data::read_array;
use fenchel::engine::{Context, Cpu};
use fenchel::network::onnx;
use fenchel::render::read_plane;
use fenchel::tolerance::{EXACT, relative_difference};
use ndarray::Array2;
use serde_json::Value;

fn place() -> Place {
    let place =
        Place::with(&["moons.onnx", "moons.npz", "digits_gelu.onnx", "digits_relu.onnx", "digits.npz"]);
    place.succeed("plane moons.onnx --data moons.npz --domain -o plane.npz");
    let through = "--data digits.npz --key x --scale 0.0625 --through 0,1,2";
    place.succeed(&format!("plane digits_relu.onnx {through} -o digits_plane.npz"));
    place
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn read(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(place.path(name)).unwrap()).unwrap()
}

/// The outputs of a network at points of input space, in f64.
fn outputs(place: &Place, model: &str, points: Array2<f64>) -> Array2<f64> {
    let network = onnx::load(&place.path(model), &onnx::LoadOptions::default()).unwrap().network;
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    program.values(points.view(), &Context::default()).unwrap()
}

#[test]
fn regions_with_their_affine_maps() {
    let place = place();
    let summary = place.succeed("partition moons.onnx --plane plane.npz -o p.json");
    let document = read(&place, "p.json");
    let regions = document["regions"].as_array().unwrap();
    assert!(regions.len() > 20, "{}", regions.len());
    for of in [&summary, &document] {
        assert_eq!((of["label"].as_str(), of["count"].as_u64()), (Some("exact"), Some(regions.len() as u64)));
        assert!((of["area"].as_f64().unwrap() - 4.0).abs() < 1e-9 && of["seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(of["open_edges"], 0);
    }
    assert!(summary["regions"].is_null());
    let slice = read_plane(&place.path("plane.npz")).unwrap();
    let (mut points, mut maps, mut area) = (vec![], vec![], 0.0);
    for region in regions {
        let polygon: Vec<Vec<f64>> = region["polygon"].as_array().unwrap().iter().map(numbers).collect();
        let middle = [0, 1].map(|i| polygon.iter().map(|p| p[i]).sum::<f64>() / polygon.len() as f64);
        let (slope, offset) = (numbers(&region["slope"]), numbers(&region["offset"]));
        assert_eq!((slope.len(), offset.len()), (4, 2));
        for point in polygon.iter().map(|p| [p[0], p[1]]).chain([middle]) {
            points.extend(slice.point(point[0], point[1]));
            maps.extend([0, 1].map(|k| offset[k] + slope[2 * k] * point[0] + slope[2 * k + 1] * point[1]));
        }
        let cross = |i: usize| {
            let (a, b) = (&polygon[i], &polygon[(i + 1) % polygon.len()]);
            a[0] * b[1] - a[1] * b[0]
        };
        let own = 0.5 * (0..polygon.len()).map(cross).sum::<f64>();
        assert!((own - region["area"].as_f64().unwrap()).abs() < 1e-14);
        area += own;
    }
    assert!((area - 4.0).abs() < 1e-9);
    let exact = outputs(&place, "moons.onnx", Array2::from_shape_vec((points.len() / 2, 2), points).unwrap());
    assert!(relative_difference(maps, exact.iter().copied()) < EXACT);
    // The decision boundary: both outputs are equal on it.
    let boundary = document["boundary"].as_array().unwrap();
    assert_eq!(summary["decision"]["segments"].as_u64(), Some(boundary.len() as u64));
    assert!(boundary.len() > 3);
    let ends: Vec<f64> = boundary
        .iter()
        .flat_map(|segment| [numbers(&segment["from"]), numbers(&segment["to"])])
        .flat_map(|end| slice.point(end[0], end[1]))
        .collect();
    let at = outputs(&place, "moons.onnx", Array2::from_shape_vec((ends.len() / 2, 2), ends).unwrap());
    assert!(at.rows().into_iter().all(|row| (row[0] - row[1]).abs() < 1e-11));
    let shares = &summary["decision"]["shares"];
    assert!((numbers(&shares["0"])[0] + numbers(&shares["1"])[0] - 1.0).abs() < 1e-9);
}

#[test]
fn arrays_with_slopes_in_input_space_and_codes() {
    let place = place();
    let run = "partition digits_relu.onnx --plane digits_plane.npz --outputs 7,2 -o p.json --npz p.npz";
    let summary = place.succeed(run);
    let count = summary["count"].as_u64().unwrap() as usize;
    let array = |name: &str| read_array(&place.path("p.npz"), Some(name)).unwrap();
    let shapes: Vec<Vec<usize>> = ["area", "slope", "offset", "code", "A", "b", "ends"]
        .iter()
        .map(|name| array(name).shape().to_vec())
        .collect();
    assert_eq!(
        shapes,
        [
            vec![count],
            vec![count, 2, 2],
            vec![count, 2],
            vec![count, 4],
            vec![count, 2, 64],
            vec![count, 2],
            vec![count]
        ]
    );
    assert_eq!(summary["layers"][1]["node"], "relu2");
    assert_eq!((&summary["layers"][1]["first_word"], &summary["layers"][1]["bits"]), (&2.into(), &1.into()));
    // Slopes along the plane are those of input space times its directions.
    let slice = read_plane(&place.path("digits_plane.npz")).unwrap();
    let (full, shifts) = (array("A"), array("b"));
    let (slope, offset) = (array("slope"), array("offset"));
    let mut seen = vec![];
    let mut own = vec![];
    for i in 0..count {
        for k in 0..2 {
            let dot = |x: &[f64]| x.iter().enumerate().map(|(d, x)| full[[i, k, d]] * x).sum::<f64>();
            seen.extend([dot(&slice.u), dot(&slice.v), dot(&slice.origin) + shifts[[i, k]]]);
            own.extend([slope[[i, k, 0]], slope[[i, k, 1]], offset[[i, k]]]);
        }
    }
    assert!(relative_difference(seen, own) < EXACT);
    let corners = array("corners");
    assert_eq!(array("ends")[[count - 1]], corners.len() as f64);
    assert_eq!(corners.iter().copied().fold(0.0, f64::max), (array("vertices").shape()[0] - 1) as f64);
}

#[test]
fn memory_changes_no_byte() {
    let place = place();
    let run = |memory: &str, to: &str| {
        let files = format!("-o {to}.json --npz {to}.npz --svg {to}.svg");
        place.succeed(&format!(
            "partition digits_relu.onnx --plane digits_plane.npz {files} --memory {memory}"
        ));
        let whole = |end: &str| std::fs::read(place.path(&format!("{to}.{end}"))).unwrap();
        let mut document = read(&place, &format!("{to}.json"));
        document["seconds"] = 0.into();
        (document, whole("npz"), whole("svg"))
    };
    assert!(run("768MiB", "a") == run("8MiB", "b"));
    let (code, _, text) =
        place.run("partition digits_relu.onnx --plane digits_plane.npz -o c.json --memory 300KiB");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("raise --memory") && !place.path("c.json").exists(), "{text}");
}

#[test]
fn drawings_have_a_path_for_each_colour() {
    let place = place();
    let draw = |options: &str| {
        place.succeed(&format!("partition moons.onnx --plane plane.npz -o p.json --svg p.svg {options}"));
        std::fs::read_to_string(place.path("p.svg")).unwrap()
    };
    let classes = draw("");
    // Two classes, thin edges, the thick boundary.
    assert_eq!(classes.matches("<path").count(), 4);
    assert!(classes.starts_with("<svg") && classes.ends_with("</svg>\n"));
    let count = read(&place, "p.json")["count"].as_u64().unwrap() as usize;
    assert!(classes.contains(&format!("moons.onnx: {count} regions")));
    let regions = draw("--colour region");
    assert_eq!(regions.matches("<path").count(), 1 + count.min(256));
    let one = draw("--outputs 1");
    assert_eq!(one.matches("<path").count(), 1 + count.min(256));
}

#[test]
fn what_cannot_be_partitioned_is_one_clear_line() {
    let place = place();
    let fail = |command: &str, code: i32| {
        let (found, _, text) = place.run(&format!("partition {command}"));
        assert_eq!(found, Some(code), "{command}: {text}");
        assert!(text.starts_with("error: ") && !place.path("x.json").exists(), "{command}: {text}");
        text
    };
    let text = fail("digits_gelu.onnx --plane digits_plane.npz -o x.json", 1);
    assert!(text.contains("Gelu ('gelu1')") && text.contains("fenchel layers --save"), "{text}");
    let text = fail("digits_relu.onnx --plane plane.npz -o x.json", 1);
    assert!(text.contains("points of 2 elements does not fit a network of 64 inputs"), "{text}");
    let text = fail("moons.onnx --plane plane.npz -o x.json --svg x.json", 2);
    assert!(text.contains("cannot share the file 'x.json'"), "{text}");
    let text = fail("moons.onnx --plane plane.npz -o x.json --outputs 1,1", 2);
    assert!(text.contains("output 1 is chosen twice"), "{text}");
    fail("moons.onnx --plane plane.npz -o x.json --outputs 2", 2);
    fail("moons.onnx --plane plane.npz -o x.json --outputs 1 --svg x.svg --colour class", 2);
    fail("moons.onnx --plane moons.npz -o x.json", 1);
    assert!(!place.path("x.svg").exists());
}
