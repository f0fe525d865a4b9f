//! `fenchel polynomial` from outside: what it writes, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;

use common::place::Place;
use fenchel::data::{read_array, write_npy};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use ndarray::{Axis, s};
use serde_json::Value;

/// Digits as the networks see them in x.npy (17 rows), the fifth of them in at.npy.
fn digits() -> Place {
    let place = Place::with(&[
        "digits_gelu.onnx",
        "digits_sigmoid.onnx",
        "digits_relu.onnx",
        "digits_cnn.onnx",
        "digits.npz",
    ]);
    let x = read_array(&place.path("digits.npz"), Some("x")).unwrap();
    let x: Vec<f64> = x.slice(s![3..20, ..]).iter().map(|v| v / 16.0).collect();
    write_npy(&place.path("x.npy"), &[17, 64], &x).unwrap();
    write_npy(&place.path("at.npy"), &[1, 64], &x[4 * 64..5 * 64]).unwrap();
    place
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The document in a file, with its terms and coefficients.
fn read(place: &Place, name: &str) -> (Value, Vec<Vec<usize>>, Vec<Vec<f64>>) {
    let document: Value = serde_json::from_str(&fs::read_to_string(place.path(name)).unwrap()).unwrap();
    let term = |term: &Value| numbers(term).iter().map(|&i| i as usize).collect();
    let terms = document["terms"].as_array().unwrap().iter().map(term).collect();
    let coefficients = document["coefficients"].as_array().unwrap().iter().map(numbers).collect();
    (document, terms, coefficients)
}

#[test]
fn files_hold_polynomials_in_what_is_left_of_the_point() {
    let place = digits();
    let told = place.succeed(
        "polynomial digits_sigmoid.onnx --order 2 --at at.npy --outputs 4,0 --data x.npy --npz e.npz --plot t.svg \
         --top 3 -o p.json",
    );
    let (document, terms, coefficients) = read(&place, "p.json");
    assert_eq!((terms.len(), coefficients.len()), (65 * 66 / 2, 65 * 66 / 2));
    assert_eq!(
        (&terms[0][..], &terms[1][..], &terms[65][..], &terms[66][..]),
        (&[][..], &[1][..], &[1, 1][..], &[1, 2][..])
    );
    assert_eq!(document["outputs"], told["outputs"]);
    assert_eq!(numbers(&document["outputs"]), [4.0, 0.0]);
    assert!(document["seconds"].as_f64().unwrap() > 0.0);
    // By the definition, at rows that are no centre.
    let x = read_array(&place.path("x.npy"), None).unwrap();
    let at = x.index_axis(Axis(0), 4).to_owned();
    let mut values = vec![];
    for row in x.axis_iter(Axis(0)) {
        let mut sum = [0.0; 2];
        for (term, c) in terms.iter().zip(&coefficients) {
            let product: f64 = term.iter().map(|&i| row[i - 1] - at[i - 1]).product();
            (0..2).for_each(|k| sum[k] += c[k] * product);
        }
        values.extend(sum);
    }
    let polynomial = read_array(&place.path("e.npz"), Some("polynomial")).unwrap();
    let network = read_array(&place.path("e.npz"), Some("network")).unwrap();
    let gradient = read_array(&place.path("e.npz"), Some("gradient")).unwrap();
    assert_eq!((polynomial.shape(), gradient.shape()), (&[17, 2][..], &[17, 2, 64][..]));
    assert!(relative_difference(values, polynomial.iter().copied()) < EXACT);
    place.succeed(
        "run digits_sigmoid.onnx --data x.npy --outputs 4,0 --precision f64 -o y.npy --jacobian j.npy",
    );
    let y = read_array(&place.path("y.npy"), None).unwrap();
    let j = read_array(&place.path("j.npy"), None).unwrap();
    assert!(relative_difference(network.iter().copied(), y.iter().copied()) < EXACT);
    // At the centre it is the network, with its slopes.
    let same = |a: &ndarray::ArrayD<f64>, b: &ndarray::ArrayD<f64>| {
        let row = |t: &ndarray::ArrayD<f64>| t.index_axis(Axis(0), 4).iter().copied().collect::<Vec<f64>>();
        relative_difference(row(a), row(b))
    };
    assert!(same(&polynomial, &y) < EXACT && same(&gradient, &j) < EXACT);
    let mse = (&polynomial - &network).mapv(|e| e * e).mean().unwrap();
    assert!(
        relative_difference(numbers(&Value::from(vec![told["diagnosis"]["outputs"]["mse"].clone()])), [mse])
            < CLOSE
    );
    // The table of terms, largest first.
    let largest = &told["largest"][0];
    assert_eq!(largest["output"].as_u64(), Some(4));
    let mut sizes: Vec<f64> = coefficients.iter().map(|row| row[0]).collect();
    sizes.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
    assert_eq!(numbers(&largest["coefficients"]), sizes[..3]);
    let svg = fs::read_to_string(place.path("t.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.matches("<rect").count() >= 7, "{svg}");
    // The row may be chosen, and the file be of one sample alone.
    place.succeed("polynomial digits_sigmoid.onnx --order 2 --at x.npy --row 4 --outputs 4,0 -o q.json");
    assert_eq!(read(&place, "q.json").2, coefficients);
    write_npy(&place.path("sample.npy"), &[64], at.as_slice().unwrap()).unwrap();
    place.succeed("polynomial digits_sigmoid.onnx --order 2 --at sample.npy --outputs 4,0 -o q.json");
    assert_eq!(read(&place, "q.json").2, coefficients);
}

#[test]
fn some_inputs_in_f32_and_with_little_memory() {
    let place = digits();
    let common = "polynomial digits_gelu.onnx --order 3 --at at.npy --inputs 20,9..12 --outputs 1";
    place.succeed(&format!("{common} -o p.json"));
    let (document, terms, coefficients) = read(&place, "p.json");
    assert_eq!(numbers(&document["inputs"]), [10.0, 11.0, 12.0, 21.0]);
    assert_eq!((terms.len(), &terms[4][..], &terms[34][..]), (35, &[21][..], &[21, 21, 21][..]));
    place.succeed(&format!("{common} --memory 4MiB -o q.json"));
    assert_eq!(read(&place, "q.json").2, coefficients);
    place.succeed(&format!("{common} --precision f32 -o q.json"));
    let single = read(&place, "q.json").2.concat();
    assert!(relative_difference(single, coefficients.concat()) < APPROXIMATE);
}

#[test]
fn layers_warn_where_expansions_cannot_hold() {
    let place = digits();
    // The last layer's potentials are large: sigmoid about 0 does not converge there.
    let (code, said, errors) = place.run("polynomial digits_sigmoid.onnx --order 1 --data x.npy -o p.json");
    assert_eq!(code, Some(0), "{errors}");
    let (document, ..) = read(&place, "p.json");
    let warnings = document["warnings"].as_array().unwrap();
    let layers = document["diagnosis"]["layers"].as_array().unwrap();
    assert_eq!(errors.lines().filter(|line| line.starts_with("warning: ")).count(), warnings.len());
    let warned = layers
        .iter()
        .filter(|layer| layer["beyond"].as_f64().unwrap() > 0.0 || layer["inside"].as_f64().unwrap() < 0.99);
    assert_eq!(warned.count(), warnings.len());
    assert!(!warnings.is_empty());
    for layer in layers {
        assert_eq!(layer["activation"].as_str(), Some("Sigmoid"));
        let radius = layer["radius"].as_f64().unwrap();
        assert!((radius - std::f64::consts::PI).abs() < EXACT);
        let interval = numbers(&layer["interval"]);
        assert!(interval[0] < -1.0 && interval[1] > 1.0 && (interval[0] + interval[1]).abs() < CLOSE);
    }
    assert!(said.contains("L1 norm") && said.contains("largest coefficients of output 9"), "{said}");
    // ReLU smoothed: how far at most.
    let told = place.succeed("polynomial digits_relu.onnx --order 1 --at at.npy --smooth 10 -o p.json");
    let smoothing = told["diagnosis"]["layers"][0]["smoothing_error"].as_f64().unwrap();
    assert!((smoothing - std::f64::consts::LN_2 / 10.0).abs() < EXACT);
}

#[test]
fn bad_input_gets_one_clear_line() {
    let place = digits();
    write_npy(&place.path("nan.npy"), &[1, 64], &[f64::NAN; 64]).unwrap();
    write_npy(&place.path("short.npy"), &[2, 63], &[0.0; 126]).unwrap();
    write_npy::<f64>(&place.path("none.npy"), &[0, 64], &[]).unwrap();
    let model = "polynomial digits_sigmoid.onnx";
    for (command, code, what) in [
        ("polynomial digits_relu.onnx -o p.json".to_owned(), 1, "--smooth"),
        ("polynomial digits_cnn.onnx --smooth 9 -o p.json".to_owned(), 1, "MaxPool"),
        (format!("{model} --order 0 -o p.json"), 2, "1 to 16"),
        (format!("{model} --order 17 -o p.json"), 2, "1 to 16"),
        (format!("{model} --order 6 -o p.json"), 1, "raise --memory"),
        (format!("{model} --taylor 0 -o p.json"), 2, "1 to 64"),
        (format!("{model} --taylor 8,8,8,8,8 -o p.json"), 2, "Taylor orders for"),
        (format!("{model} --centre x -o p.json"), 2, "own"),
        (format!("{model} --smooth 0 -o p.json"), 2, "above 0"),
        (format!("{model} --inputs 60..65 -o p.json"), 2, "no input 64"),
        (format!("{model} --outputs 10 -o p.json"), 2, "no output 10"),
        (format!("{model} --at x.npy -o p.json"), 2, "17 rows: choose one with --row"),
        (format!("{model} --at x.npy --row 17 -o p.json"), 2, "no row 17"),
        (format!("{model} --at nan.npy -o p.json"), 1, "NaN"),
        (format!("{model} --at short.npy -o p.json"), 1, "64 elements are needed"),
        (format!("{model} --data short.npy -o p.json"), 1, "64 elements are needed"),
        (format!("{model} --at none.npy -o p.json"), 1, "none.npy"),
        (format!("{model} --order 1 --data none.npy -o p.json"), 1, "none.npy"),
        (format!("{model} --order 1 --data x.npy --npz p.json -o p.json"), 2, "cannot share"),
        (format!("{model} --order 1 --top 0 --plot t.svg -o p.json"), 2, "no terms"),
        (format!("{model} --order 1 -o ."), 1, "cannot write"),
    ] {
        let (found, _, text) = place.run(&command);
        assert_eq!(found, Some(code), "{command}: {text}");
        assert!(text.starts_with("error: ") && text.contains(what), "{command}: {text}");
        let left = ["p.json", "t.svg"].iter().find(|name| place.path(name).exists());
        assert!(left.is_none(), "{command} left {left:?}");
    }
    let (code, _, text) = place.run(&format!("{model} --order 2 -o /dev/full"));
    assert!(code == Some(1) && text.contains("cannot write"), "{text}");
}
