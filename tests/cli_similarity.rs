//! `fenchel similarity` from outside: what it writes, what it tells, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use fenchel::data::{read_array, write_npy};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, Ix2};

fn digits() -> Place {
    let place =
        Place::with(&["digits_relu.onnx", "digits_cnn.onnx", "moons.onnx", "moons.npz", "digits.npz"]);
    let labels = read_array(&place.path("digits.npz"), Some("y")).unwrap();
    let labels: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
    write_npy(&place.path("y.npy"), &[labels.len()], &labels).unwrap();
    place
}

const DATA: &str = "--data digits.npz --key x --scale 0.0625";

fn square(place: &Place, name: &str, key: Option<&str>) -> Array2<f64> {
    read_array(&place.path(name), key).unwrap().into_dimensionality::<Ix2>().unwrap()
}

fn fail(place: &Place, command: &str, code: i32) -> String {
    let (found, _, text) = place.run(command);
    assert_eq!(found, Some(code), "{command}: {text}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{command}: {text}");
    let left = ["g.npy", "g.npz", "l.npz", "p.png"].iter().find(|name| place.path(name).exists());
    assert!(left.is_none(), "{command} left {left:?}");
    text
}

#[test]
fn matrices_of_all_pairs_and_of_some() {
    let place = digits();
    let told = place.succeed(&format!("similarity digits_relu.onnx {DATA} --take 0..60 -o g.npy"));
    assert_eq!((told["samples"].as_u64(), told["parameters"].as_u64()), (Some(60), Some(8970)));
    assert!(told["seconds"].as_f64().is_some() && told["metrics"][0]["seconds_of_matrix"].as_f64().is_some());
    assert_eq!(told["layers"].as_array().unwrap().len(), 3);
    let g = square(&place, "g.npy", None);
    assert_eq!(g.shape(), [60, 60]);
    assert_eq!(g, g.t());
    place.succeed(&format!("similarity digits_relu.onnx {DATA} --take 0..60 --against-take 10..25 -o h.npy"));
    let h = square(&place, "h.npy", None);
    assert_eq!(h.shape(), [60, 15]);
    assert!(relative_difference(h.iter().copied(), g.slice(ndarray::s![.., 10..25]).iter().copied()) < CLOSE);
    // All pairs of outputs sum to the similarity of their sum, those of equal outputs to the trace.
    place.succeed(&format!("similarity digits_relu.onnx {DATA} --take 0..9 --combine pairs -o p.npy"));
    let pairs = read_array(&place.path("p.npy"), None).unwrap();
    assert_eq!(pairs.shape(), [9, 9, 10, 10]);
    let sums = pairs.sum_axis(ndarray::Axis(3)).sum_axis(ndarray::Axis(2));
    let of_sum = g.slice(ndarray::s![..9, ..9]).to_owned();
    assert!(relative_difference(sums.iter().copied(), of_sum.iter().copied()) < CLOSE);
    place.succeed(&format!("similarity digits_relu.onnx {DATA} --take 0..9 --combine trace -o t.npy"));
    let trace = square(&place, "t.npy", None);
    let traces = (0..81).map(|at| (0..10).map(|k| pairs[[at / 9, at % 9, k, k]]).sum::<f64>());
    assert!(relative_difference(trace.iter().copied(), traces) < CLOSE);
    // One output.
    place.succeed(&format!("similarity digits_relu.onnx {DATA} --take 0..9 --outputs 3 -o o.npy"));
    let one = square(&place, "o.npy", None);
    let expected = (0..81).map(|at| pairs[[at / 9, at % 9, 3, 3]]);
    assert!(relative_difference(one.iter().copied(), expected) < CLOSE);
}

#[test]
fn metrics_gaps_and_contributions() {
    let place = digits();
    let told = place.succeed(&format!(
        "similarity digits_cnn.onnx {DATA} --take 0..50 --labels y.npy --metric plain,full,block,diagonal,sparse \
         --threshold 1.1 --contributions --layers-output l.npz --precision f64 -o g.npz"
    ));
    let metrics = told["metrics"].as_array().unwrap();
    let labels = read_array(&place.path("y.npy"), None).unwrap();
    for metric in metrics {
        let name = metric["metric"].as_str().unwrap();
        let g = square(&place, "g.npz", Some(name));
        let mut means = [[0.0; 2]; 2];
        for (i, j) in (0..50).flat_map(|i| (0..50).map(move |j| (i, j))).filter(|(i, j)| i != j) {
            let kind = usize::from(labels[[i]] != labels[[j]]);
            means[kind][0] += g[[i, j]] / (g[[i, i]] * g[[j, j]]).sqrt();
            means[kind][1] += 1.0;
        }
        let [within, across] = means.map(|[sum, count]| sum / count);
        let found = metric["cosine_gap"]["gap"].as_f64().unwrap();
        assert!((found - (within - across)).abs() < CLOSE, "{name}: {found} {}", within - across);
    }
    let kept = metrics[4]["kept"].as_u64().unwrap();
    assert!(0 < kept && kept < told["parameters"].as_u64().unwrap());
    // Layers add up.
    let plain = square(&place, "g.npz", Some("plain"));
    let layers = told["layers"].as_array().unwrap();
    let sum = layers.iter().map(|layer| square(&place, "l.npz", layer["name"].as_str()));
    let sum = sum.reduce(|a, b| a + b).unwrap();
    assert!(relative_difference(sum.iter().copied(), plain.iter().copied()) < EXACT);
    let shares = told["contributions"].as_array().unwrap().iter().map(|one| one["share"].as_f64().unwrap());
    assert!((shares.sum::<f64>() - 1.0).abs() < CLOSE);
    // Normalised gradients have similarities of their own.
    place.succeed(&format!(
        "similarity digits_cnn.onnx {DATA} --take 0..50 --normalize --precision f64 -o n.npy"
    ));
    let normal = square(&place, "n.npy", None);
    assert!(normal.iter().all(|&v| v > 0.0) && normal != plain);
}

#[test]
fn rows_are_classified_by_others() {
    let place = digits();
    let told = place.succeed(&format!(
        "similarity digits_relu.onnx {DATA} --labels y.npy --take 1400..1500 --against-take 0..300 --validation 300..400 \
         --metric plain,sparse --threshold 1,1.3,1.6 --classify --nearest 3 --picture p.png --rows 0,4..6 -o g.npz"
    ));
    assert!(told["accuracy"].as_f64().unwrap() > 0.9);
    for metric in told["metrics"].as_array().unwrap() {
        let [near, ridge] =
            ["neighbours_accuracy", "ridge_accuracy"].map(|key| metric[key].as_f64().unwrap());
        assert!(near > 0.6 && ridge > 0.6, "{metric}");
        assert!(metric["neighbours"].as_u64().unwrap() <= 20 && metric["ridge"].as_f64().is_some());
    }
    let chosen = told["metrics"][1]["threshold"].as_f64().unwrap();
    assert!([1.0, 1.3, 1.6].contains(&chosen));
    // The most similar rows are those of the largest cosines.
    let g = square(&place, "g.npz", Some("plain"));
    assert_eq!(g.shape(), [100, 300]);
    place.succeed(&format!("similarity digits_relu.onnx {DATA} --take 0..300 -o s.npy"));
    let selves = square(&place, "s.npy", None).diag().to_owned();
    let near = told["metrics"][0]["nearest"].as_array().unwrap();
    assert_eq!(near.iter().map(|one| one["row"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 4, 5]);
    for one in near {
        let row = g.row(one["row"].as_u64().unwrap() as usize);
        let mut order: Vec<usize> = (0..300).collect();
        let cosine = |j: usize| row[j] / selves[j].sqrt();
        order.sort_by(|&i, &j| cosine(j).total_cmp(&cosine(i)));
        let found: Vec<usize> =
            one["rows"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
        assert_eq!(found, order[..3]);
    }
    let picture = image::open(place.path("p.png")).unwrap();
    assert!(picture.width() > 200 && picture.height() > 200);
}

#[test]
fn what_cannot_be_is_refused_in_a_line() {
    let place = digits();
    let base = format!("similarity digits_relu.onnx {DATA} --take 0..20");
    for (more, part) in [
        ("--metric plain,block -o g.npy", ".npz"),
        ("--metric plain,plain -o g.npz", "twice"),
        ("--metric sparse -o g.npy", "--labels"),
        ("--classify --labels y.npy -o g.npy", "--against"),
        ("--combine pairs --labels y.npy -o g.npy", "--combine pairs"),
        ("--combine trace --normalize -o g.npy", "sum of the outputs"),
        ("--combine trace --metric sparse --labels y.npy -o g.npy", "sum of the outputs"),
        ("--metric full --contributions -o g.npy", "contribute"),
        ("--layers hidden9 -o g.npy", "'hidden1'"),
        ("--outputs 12 -o g.npy", "no output 12"),
        ("--against-take 0..5000 -o g.npy", "1797 rows"),
        ("--labels y.npy --against-take 20..40 --validation 30..50 --classify -o g.npy", "overlaps"),
        ("--labels y.npy --against-take 20..40 --neighbours 1,2 --classify -o g.npy", "--validation"),
        ("--labels y.npy --against-take 20..40 --neighbours 50 --classify -o g.npy", "1 to 20"),
        ("--labels y.npy --against-take 20..40 --neighbours 0 --classify -o g.npy", "one neighbour"),
        ("--picture p.png --rows 30 -o g.npy", "no row 30"),
        ("--picture g.npy -o g.npy", "share a file"),
        ("--threshold -1 -o g.npy", "--threshold"),
    ] {
        // Some arguments begin with a dash of their own.
        let command = format!("{base} {more}").replace("--threshold -1", "--threshold=-1");
        let text = fail(&place, &command, 2);
        assert!(text.contains(part), "{command}: {text}");
    }
    let text = fail(&place, &format!("{base} --memory 4KiB -o g.npy"), 1);
    assert!(text.contains("--memory"), "{text}");
    // Data that do not fit, or hold what is no number.
    let text = fail(&place, "similarity digits_relu.onnx --data moons.npz --key x -o g.npy", 1);
    assert!(text.contains("64"), "{text}");
    let mut bad = vec![0.5; 3 * 64];
    bad[100] = f64::NAN;
    write_npy(&place.path("nan.npy"), &[3, 64], &bad).unwrap();
    let text = fail(&place, "similarity digits_relu.onnx --data nan.npy -o g.npy", 1);
    assert!(text.contains("row 1"), "{text}");
    write_npy::<f64>(&place.path("empty.npy"), &[0, 64], &[]).unwrap();
    fail(&place, "similarity digits_relu.onnx --data empty.npy -o g.npy", 1);
    write_npy(&place.path("short.npy"), &[3], &[0_u32, 1, 2]).unwrap();
    let text = fail(&place, &format!("{base} --labels short.npy -o g.npy"), 2);
    assert!(text.contains("3 labels"), "{text}");
    fail(&place, "similarity digits_relu.onnx --data . -o g.npy", 1);
    std::fs::create_dir(place.path("folder.npy")).unwrap();
    fail(&place, &format!("{base} -o folder.npy"), 1);
}
