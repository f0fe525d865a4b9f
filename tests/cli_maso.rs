//! `fenchel templates` and `fenchel distance` from outside: what they write, and what they refuse.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use common::random_rows;
use fenchel::data::{array_names, read_array, write_npy};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Axis, s};

fn digits() -> Place {
    Place::with(&["digits_relu.onnx", "digits_sigmoid.onnx", "moons.onnx", "moons.npz", "digits.npz"])
}

const DATA: &str = "--data digits.npz --key x --scale 0.0625";

fn fail(place: &Place, command: &str, code: i32) -> String {
    let (found, _, text) = place.run(command);
    assert_eq!(found, Some(code), "{command}: {text}");
    assert!(text.starts_with("error: "), "{command}: {text}");
    let left = ["t.npz", "d.npy"].iter().find(|name| place.path(name).exists());
    assert!(left.is_none(), "{command} left {left:?}");
    text
}

#[test]
fn templates_with_offsets_are_outputs() {
    let place = digits();
    let told =
        place.succeed(&format!("templates digits_relu.onnx {DATA} --take 3..20 -o t.npz --correlation"));
    assert_eq!(
        (told["samples"].as_u64(), told["outputs"].as_u64(), told["tangent"].as_bool()),
        (Some(17), Some(10), Some(false))
    );
    let a = read_array(&place.path("t.npz"), Some("A")).unwrap();
    let b = read_array(&place.path("t.npz"), Some("b")).unwrap();
    assert_eq!((a.shape(), b.shape()), (&[17, 10, 64][..], &[17, 10][..]));
    place.succeed(&format!("run digits_relu.onnx {DATA} --precision f64 -o y.npy"));
    let y = read_array(&place.path("y.npy"), None).unwrap();
    let x = read_array(&place.path("digits.npz"), Some("x")).unwrap();
    let x = x.to_shape((x.shape()[0], 64)).unwrap() * 0.0625;
    let mut found = vec![];
    for i in 0..17 {
        for k in 0..10 {
            let dot: f64 = a.slice(s![i, k, ..]).iter().zip(x.row(3 + i)).map(|(a, x)| a * x).sum();
            found.push(dot + b[[i, k]]);
        }
    }
    assert!(relative_difference(found, y.slice(s![3..20, ..]).iter().copied()) < EXACT);
    // Correlations, their mean size, and the mean penalty.
    let c = read_array(&place.path("t.npz"), Some("correlation")).unwrap();
    let (mut sizes, mut penalties, mut seen) = (0.0, 0.0, 0);
    for (j, k) in (0..10).flat_map(|j| (0..10).map(move |k| (j, k))) {
        let mut mean = 0.0;
        for i in 0..17 {
            let (one, other) = (a.slice(s![i, j, ..]), a.slice(s![i, k, ..]));
            let dot = |x: &ndarray::ArrayView1<'_, f64>, y: &ndarray::ArrayView1<'_, f64>| x.dot(y);
            let (one, other) = (one.into_dimensionality().unwrap(), other.into_dimensionality().unwrap());
            let product = dot(&one, &other);
            let cosine = product / (dot(&one, &one) * dot(&other, &other)).sqrt();
            assert!((c[[i, j, k]] - cosine).abs() < EXACT);
            mean += cosine / 17.0;
            penalties += if j == k { 0.0 } else { product * product / 17.0 };
            seen += 1;
        }
        sizes += if j == k { 0.0 } else { mean.abs() / 90.0 };
    }
    assert_eq!(seen, c.len());
    assert!((told["correlation"].as_f64().unwrap() / sizes - 1.0).abs() < EXACT);
    assert!((told["penalty"].as_f64().unwrap() / penalties - 1.0).abs() < EXACT);

    // In f32, of some outputs, with little memory.
    place.succeed(&format!(
        "templates digits_relu.onnx {DATA} --take 3..20 --outputs 7,2 --precision f32 --memory 1MiB -o u.npz"
    ));
    assert_eq!(array_names(&place.path("u.npz")).unwrap().len(), 2);
    let some = read_array(&place.path("u.npz"), Some("A")).unwrap();
    let exact = a.select(Axis(1), &[7, 2]);
    assert!(relative_difference(some, exact) < CLOSE);
}

#[test]
fn layers_and_tangents() {
    let place = digits();
    let text = fail(&place, &format!("templates digits_sigmoid.onnx {DATA} -o t.npz"), 2);
    assert!(text.contains("not piecewise affine at '") && text.matches("(Sigmoid)").count() >= 2, "{text}");
    assert!(text.contains("--tangent"), "{text}");
    let told = place.succeed(&format!("templates digits_sigmoid.onnx {DATA} --take 0..3 --tangent -o s.npz"));
    assert_eq!(told["tangent"].as_bool(), Some(true));
    place.succeed(&format!("run digits_sigmoid.onnx {DATA} --precision f64 --jacobian j.npy -o y.npy"));
    let jacobians = read_array(&place.path("j.npy"), None).unwrap();
    let a = read_array(&place.path("s.npz"), Some("A")).unwrap();
    assert!(relative_difference(a, jacobians.slice(s![..3, .., ..]).iter().copied()) < EXACT);
    // The map to a layer is that of the network cut there.
    place.succeed("templates moons.onnx --data moons.npz --layer relu1 -o a.npz");
    place.succeed("templates moons.onnx --data moons.npz --node relu1 -o b.npz");
    for name in ["A", "b"] {
        let of = |file: &str| read_array(&place.path(file), Some(name)).unwrap();
        assert_eq!(of("a.npz"), of("b.npz"));
    }
    let text = fail(&place, "templates moons.onnx --data moons.npz --layer nothing -o t.npz", 2);
    assert!(text.contains("no node is called 'nothing'"), "{text}");
    let text = fail(&place, "templates moons.onnx --data digits.npz --key x -o t.npz", 1);
    assert!(text.contains("2 elements are needed"), "{text}");
    let text = fail(&place, &format!("templates digits_relu.onnx {DATA} --take 5..100000 -o t.npz"), 2);
    assert!(text.contains("--take 5..100000 goes beyond"), "{text}");
    let text = fail(&place, &format!("templates digits_relu.onnx {DATA} --memory 1KiB -o t.npz"), 1);
    assert!(text.contains("raise --memory"), "{text}");
}

#[test]
fn distances_between_all_rows_and_to_others() {
    let place = digits();
    let told = place.succeed(&format!("distance digits_relu.onnx {DATA} --take 0..40 -o d.npy"));
    let d = read_array(&place.path("d.npy"), None).unwrap();
    assert_eq!(d.shape(), [40, 40]);
    let units = told["units"].as_f64().unwrap();
    for (i, j) in (0..40).flat_map(|i| (0..40).map(move |j| (i, j))) {
        let value = d[[i, j]];
        assert!(value == d[[j, i]] && (value == 0.0) == (i == j), "{i} {j}: {value}");
        let apart = value * units;
        assert!((apart - apart.round()).abs() < 1e-4 && value <= 1.0);
    }
    assert!((told["mean"].as_f64().unwrap() - d.iter().sum::<f64>() / 1600.0).abs() < 1e-6);
    let layers = told["layers"].as_array().unwrap();
    assert_eq!(layers.iter().map(|layer| layer["units"].as_f64().unwrap()).sum::<f64>(), units);
    assert!(layers.iter().all(|layer| (1..=40).contains(&layer["codes"].as_u64().unwrap())));
    assert_eq!(layers.last().unwrap()["cumulative_codes"].as_u64(), Some(40));

    // Layers together, weighted by their units; the last one up to itself is all.
    let name = |i: usize| layers[i]["name"].as_str().unwrap();
    let mut sum = ndarray::ArrayD::<f64>::zeros(vec![40, 40]);
    for (i, layer) in layers.iter().enumerate() {
        place.succeed(&format!("distance digits_relu.onnx {DATA} --take 0..40 --layer {} -o l.npy", name(i)));
        sum = sum
            + read_array(&place.path("l.npy"), None).unwrap() * (layer["units"].as_f64().unwrap() / units);
    }
    assert!(relative_difference(sum, d.iter().copied()) < CLOSE);
    let last = name(layers.len() - 1);
    place.succeed(&format!("distance digits_relu.onnx {DATA} --take 0..40 --cumulative {last} -o l.npy"));
    assert_eq!(read_array(&place.path("l.npy"), None).unwrap(), d);

    // To other rows, and the nearest of them.
    let rows = read_array(&place.path("digits.npz"), Some("x")).unwrap();
    let rows: Vec<f64> = rows.slice(s![7..19, ..]).iter().copied().collect();
    write_npy(&place.path("others.npy"), &[12, 64], &rows).unwrap();
    let to = format!("distance digits_relu.onnx {DATA} --take 0..40 --to others.npy");
    place.succeed(&format!("{to} -o e.npy"));
    let e = read_array(&place.path("e.npy"), None).unwrap();
    assert_eq!(e, d.slice(s![.., 7..19]).to_owned().into_dyn());
    place.succeed(&format!("{to} --neighbours 3 --memory 1MiB -o n.npz"));
    let indices = read_array(&place.path("n.npz"), Some("indices")).unwrap();
    let near = read_array(&place.path("n.npz"), Some("distances")).unwrap();
    assert_eq!((indices.shape(), near.shape()), (&[40, 3][..], &[40, 3][..]));
    for i in 0..40 {
        let mut sorted: Vec<(f64, usize)> = (0..12).map(|j| (e[[i, j]], j)).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        assert!((0..3).all(|k| (near[[i, k]], indices[[i, k]] as usize) == sorted[k]), "{i}");
    }
}

#[test]
fn distances_that_cannot_be_are_refused() {
    let place = digits();
    let distance = |rest: &str| format!("distance {rest} -o d.npy");
    let text = fail(&place, &distance(&format!("digits_sigmoid.onnx {DATA}")), 1);
    assert!(
        text.contains("a distance between codes needs affine pieces of every operator, which Sigmoid"),
        "{text}"
    );
    let text = fail(&place, &distance("moons.onnx --data moons.npz --layer hidden1"), 2);
    assert!(text.contains("'hidden1' picks no pieces; 'relu1', 'relu2' do"), "{text}");
    let text = fail(&place, &distance("moons.onnx --data moons.npz --node hidden1"), 2);
    assert!(text.contains("the network is affine"), "{text}");
    let text = fail(&place, &distance("moons.onnx --data moons.npz --neighbours 100000"), 2);
    assert!(text.contains("100000 neighbours: expected 1 to"), "{text}");
    let three = random_rows(1, 4, 3).into_raw_vec_and_offset().0;
    write_npy(&place.path("three.npy"), &[4, 3], &three).unwrap();
    let text = fail(&place, &distance("moons.onnx --data moons.npz --to three.npy"), 1);
    assert!(text.contains("'three.npy' has rows of shape [3]"), "{text}");
    let text = fail(&place, "distance moons.onnx --data moons.npz -o .", 1);
    assert!(text.contains("folder"), "{text}");
}
