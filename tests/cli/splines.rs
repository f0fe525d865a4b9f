//! `fenchel fit`, `eval` and `pieces`: splines, their certificates and their pieces.

use std::collections::BTreeSet;

use fenchel::data::array_names;
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{ArrayD, Axis, Slice, s};

use super::common::place::Place;
use super::difference;

#[test]
fn eval_reads_data_as_it_was_for_the_fit() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    let fit = "fit digits_sigmoid.onnx --data digits.npz --scale 0.0625 --take 100..400";
    let report = place.json(&format!("{fit} --pieces 90 --curvature 3 --seed 7 -o s"));
    assert_eq!((&report["pieces"], &report["dimension"]), (&90.into(), &64.into()));
    assert_eq!((&report["outputs"], &report["seed"]), (&10.into(), &7.into()));
    assert_eq!(report["curvature"].as_f64(), Some(3.0));
    assert_eq!((&report["curvature_choice"], &report["certificate_label"]), (&"3".into(), &"given".into()));

    let report = place.json("eval s --data digits.npz -o e.npz");
    assert_eq!((&report["points"], &report["pieces"]), (&1797.into(), &90.into()));
    let names = ["value", "lower", "upper", "convex_piece", "concave_piece"];
    assert_eq!(array_names(&place.path("e.npz")).unwrap(), names);
    let [value, lower, upper, convex, concave] = names.map(|name| place.array("e.npz", Some(name)));
    for array in [&value, &lower, &upper, &convex, &concave] {
        assert_eq!(array.shape(), [1797, 10]);
    }
    // Both halves have the same curvature, and the certificate has it too: the value is the middle.
    assert!(difference(&value, &((&lower + &upper) / 2.0)) < CLOSE);
    assert!(convex.iter().chain(&concave).all(|&piece| piece < 90.0));
    let used: BTreeSet<u32> = convex.iter().map(|&piece| piece as u32).collect();
    assert!(used.len() > 45, "{} of 90 pieces are used", used.len());
    let half_width = ((&upper - &lower) / 2.0).mean().unwrap();
    assert!((report["certificate"].as_f64().unwrap() / half_width - 1.0).abs() < CLOSE);

    // Digits lie near few directions, so bounds rule pieces out, and no bit depends on it.
    place.done(&format!("{fit} --take 0..1500 --curvature 3 -o many").replace("--take 100..400 ", ""));
    let pruned = place.json("eval many --data digits.npz -o pruned.npz");
    let all = place.json("eval many --data digits.npz --exhaustive -o all.npz");
    assert!(pruned["skipped"].as_f64().unwrap() > 0.2 && all["skipped"] == 0.0, "{pruned}");
    assert!(place.read("pruned.npz") == place.read("all.npz"), "bounds change a bit");

    place.done("eval s --data digits.npz --scale 0.0625 -o same.npz");
    assert_eq!(place.array("same.npz", Some("value")), value);
    place.done("eval s --data digits.npz --scale 0.05 -o other.npz");
    assert!(difference(&place.array("other.npz", Some("value")), &value) > CLOSE);
    place.done("eval s --data digits.npz --outputs 9,0..2 -o some.npz");
    assert_eq!(place.array("some.npz", Some("value")), value.select(Axis(1), &[9, 0, 1]));
    assert_eq!(place.array("some.npz", Some("concave_piece")), concave.select(Axis(1), &[9, 0, 1]));

    // The same seed is the same spline; another is another.
    place.done(&format!("{fit} --pieces 90 --curvature 3 --seed 7 -o again"));
    assert_eq!(place.read("again"), place.read("s"));
    place.done(&format!("{fit} --pieces 90 --curvature 3 --seed 8 -o different"));
    place.done("eval different --data digits.npz -o e8.npz");
    assert!(difference(&place.array("e8.npz", Some("value")), &value) > CLOSE);
}

#[test]
fn pieces_are_counted_where_eval_finds_them() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    let fit = "fit digits_sigmoid.onnx --data digits.npz --scale 0.0625 --take 100..400 --curvature 3";
    place.done(&format!("{fit} --pieces 90 -o s"));
    place.done("eval s --data digits.npz -o e.npz");
    let report = place.json("pieces s --data digits.npz --means --with s -o p.npz");
    let names = [
        "convex_count",
        "concave_count",
        "convex_mean",
        "concave_mean",
        "convex_duplicate",
        "concave_duplicate",
    ];
    assert_eq!(array_names(&place.path("p.npz")).unwrap(), names);
    assert_eq!((&report["points"], &report["pieces"]), (&1797.into(), &90.into()));
    assert_eq!(report["outputs"], 10);
    let x = place.array("digits.npz", Some("x")) / 16.0;
    for half in ["convex", "concave"] {
        let key = |what: &str| format!("{half}_{what}");
        let active = place.array("e.npz", Some(&key("piece")));
        let mut counts = ArrayD::<f64>::zeros(vec![10, 90]);
        let mut means = ArrayD::<f64>::zeros(vec![10, 90, 64]);
        for ((n, x), active) in x.outer_iter().enumerate().zip(active.outer_iter()) {
            assert_eq!(x.len(), 64, "row {n}");
            for (k, &piece) in active.iter().enumerate() {
                counts[[k, piece as usize]] += 1.0;
                let mut sum = means.slice_mut(s![k, piece as usize, ..]);
                sum += &x;
            }
        }
        let found = place.array("p.npz", Some(&key("count")));
        assert!(found.outer_iter().all(|of_output| of_output.sum() == 1797.0));
        assert_eq!(found, counts, "{half}");
        for (mut mean, count) in means.rows_mut().into_iter().zip(&counts) {
            mean /= count.max(1.0);
        }
        assert!(difference(&place.array("p.npz", Some(&key("mean"))), &means) < CLOSE, "{half}");

        let report = &report[half];
        let number = |what: &str, k: usize| report[what][k].as_f64().unwrap();
        for (k, counts) in counts.outer_iter().enumerate() {
            let ever = counts.iter().filter(|&&count| count > 0.0).count() as f64;
            assert_eq!((number("ever_active", k), number("never_active", k)), (ever, 90.0 - ever));
            let busiest = counts.iter().fold(0.0_f64, |most, &count| most.max(count)) / 1797.0;
            assert!(relative_difference([number("busiest_share", k)], [busiest]) < EXACT);
            let effective = number("effective_pieces", k);
            assert!((1.0 - EXACT..=ever * (1.0 + EXACT)).contains(&effective), "{effective} of {ever}");
            // No two digits are alike, and 90 slopes in 64 dimensions depend on each other.
            assert_eq!(number("duplicates", k), 0.0);
            let itself = number("similarity", k);
            assert!(itself.powi(2) >= 90.0 - 64.0 - CLOSE && itself.powi(2) <= 90.0, "{itself}");
        }
        let duplicate = place.array("p.npz", Some(&key("duplicate")));
        assert!(duplicate.rows().into_iter().all(|row| row.iter().enumerate().all(|(i, &j)| j == i as f64)));
    }

    // Some outputs, in the order given; neither memory nor the number of outputs changes a count.
    let text = place.done("pieces s --data digits.npz --outputs 7,0..2 --memory 2MiB -o some.npz");
    assert!(text.contains("convex") && text.contains("effective pieces"), "{text}");
    assert_eq!(array_names(&place.path("some.npz")).unwrap().len(), 4);
    for key in ["convex_count", "concave_count", "concave_duplicate"] {
        let all = place.array("p.npz", Some(key)).select(Axis(0), &[7, 0, 1]);
        assert_eq!(place.array("some.npz", Some(key)), all, "{key}");
    }

    // Fewer slopes than dimensions are independent; another set is not the same.
    place.done(&format!("{fit} --pieces 20 --seed 1 -o few"));
    place.done(&format!("{fit} --pieces 20 --seed 2 -o other"));
    let of = |with: &str| place.json(&format!("pieces few --data digits.npz --with {with} -o f.npz"));
    let (itself, other) = (of("few"), of("other"));
    for half in ["convex", "concave"] {
        for k in 0..10 {
            assert_eq!(itself[half]["similarity"][k].as_f64(), Some(0.0), "{half} {k}");
            assert!(other[half]["similarity"][k].as_f64().unwrap() > 0.1, "{half} {k}");
        }
    }
    assert!(place.done("pieces few --data digits.npz --with other -o f.npz").contains("similarity"));
}

#[test]
fn anchors_that_are_repeated_are_duplicates() {
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    let x = place.array("moons.npz", Some("x"));
    // Rows 0 to 29, and 10 to 29 again.
    let rows: Vec<usize> = (0..30).chain(10..30).collect();
    place.write("x.npy", &x.select(Axis(0), &rows));
    place.done("fit moons.onnx --data x.npy --take 0..50 --curvature 3 -o s");
    let report = place.json("pieces s --data moons.npz --key x -o p.npz");
    for half in ["convex", "concave"] {
        assert_eq!(report[half]["duplicates"], serde_json::json!([20, 20]));
        let first = place.array("p.npz", Some(&format!("{half}_duplicate")));
        for k in 0..2 {
            for i in 0..50 {
                let expected = if i < 30 { i } else { i - 20 };
                assert_eq!(first[[k, i]], expected as f64, "{half} {k} {i}");
            }
        }
    }
}

#[test]
fn a_spline_meets_the_network_at_its_anchors() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    // So strong a curvature that the nearest anchor wins.
    let fit = "fit digits_sigmoid.onnx --data digits.npz --scale 0.0625 --take 40..240 --curvature 1000";
    place.done(&format!("{fit} -o s.safetensors"));
    place.done("eval s.safetensors --data digits.npz -o e.npz");
    place.done("run digits_sigmoid.onnx --data digits.npz --scale 0.0625 -o y.npy");
    let rows = |array: ArrayD<f64>| array.slice_axis(Axis(0), Slice::from(40..240)).into_owned();
    let value = rows(place.array("e.npz", Some("value")));
    assert!(difference(&value, &rows(place.array("y.npy", None))) < CLOSE);
    for half in ["convex_piece", "concave_piece"] {
        for (i, row) in rows(place.array("e.npz", Some(half))).outer_iter().enumerate() {
            assert!(row.iter().all(|&piece| piece == i as f64), "{half} of anchor {i}: {row}");
        }
    }
}

#[test]
fn the_certificate_has_a_curvature_of_its_own() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    let fit = "fit digits_sigmoid.onnx --data digits.npz --scale 0.0625 --take 0..300 --outputs 2..5";
    let secant = place.json(&format!("{fit} --curvature secant --curvature-points 1000..1100 -o secant"));
    assert_eq!(
        (&secant["curvature_choice"], &secant["certificate_label"]),
        (&"secant".into(), &"tested".into())
    );
    let curvature = secant["curvature"].as_f64().unwrap();
    assert!(curvature > 0.0 && secant["certificate_curvature"].as_f64() == Some(curvature));
    let auto = place.json(&format!("{fit} -o auto"));
    assert_eq!((&auto["curvature_choice"], &auto["certificate_label"]), (&"auto".into(), &"tested".into()));

    place.done(&format!("{fit} --curvature 1 -o plain"));
    let report = place.json(&format!("{fit} --curvature 1 --certificate 50 -o wide"));
    assert_eq!(report["curvature"].as_f64(), Some(1.0));
    assert_eq!(report["certificate_curvature"].as_f64(), Some(50.0));
    for name in ["secant", "plain", "wide"] {
        place.done(&format!("eval {name} --data digits.npz -o {name}.npz"));
    }
    let [plain, wide] = ["plain.npz", "wide.npz"].map(|name| place.array(name, Some("value")));
    assert_eq!(plain.shape(), [1797, 3]);
    assert_eq!(plain, wide);
    // More curvature lets bounds go further out, except at an anchor itself.
    let [plain, wide] = ["plain.npz", "wide.npz"]
        .map(|name| ["lower", "upper"].map(|key| place.array(name, Some(key)).into_raw_vec_and_offset().0));
    let rounding = CLOSE * plain.concat().iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let outwards = |half: usize, sign: f64| {
        let moves: Vec<f64> = wide[half].iter().zip(&plain[half]).map(|(w, p)| sign * (w - p)).collect();
        assert!(moves.iter().all(|&by| by > -rounding), "{moves:?}");
        moves.iter().sum::<f64>() / moves.len() as f64
    };
    assert!(outwards(0, -1.0) > 1.0 && outwards(1, 1.0) > 1.0);

    // Bounds of the tested curvature hold at every point it was tested on.
    place.done("run digits_sigmoid.onnx --data digits.npz --scale 0.0625 --outputs 2..5 -o y.npy");
    let truth = place.array("y.npy", None);
    let [lower, upper] = ["lower", "upper"].map(|name| place.array("secant.npz", Some(name)));
    let largest = truth.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for row in 1000..1100 {
        for k in 0..3 {
            let (l, g, u) = (lower[[row, k]], truth[[row, k]], upper[[row, k]]);
            assert!(l <= g + CLOSE * largest && g <= u + CLOSE * largest, "row {row}: {l} {g} {u}");
        }
    }
}

#[test]
fn splines_are_fitted_in_many_ways() {
    let place = Place::with(&["digits_cnn.onnx", "digits_gelu.onnx", "digits.npz"]);
    let fit = "fit digits_cnn.onnx --data digits.npz --scale 0.0625 --take 0..1200 --validation 1200..1400";
    let error = |options: &str| {
        let report = place.json(&format!("{fit} --pieces 60 {options} -o s"));
        let error = report["relative_rmse_validation"].as_f64().unwrap();
        assert!(error > 0.0 && error < 1.0, "{options}: {report}");
        // What is saved is what was fitted.
        let summary = place.json("eval s --data digits.npz -o e.npz");
        assert!(summary["certificate"].as_f64().unwrap() > 0.0, "{options}");
        assert_eq!(report["certificate_label"], "tested", "{options}");
        (error, report)
    };
    let (published, report) = error("");
    assert_eq!((&report["selection"], &report["curvature_choice"]), (&"random".into(), &"auto".into()));
    for options in [
        "--select k-means",
        "--select k-medoids:both",
        "--select greedy",
        "--select prune",
        "--metric gradient",
        "--metric diagonal --power 1",
        "--metric active --rank 24",
        "--metric principal",
        "--metric informed",
        "--per-output",
        "--slopes auto",
        "--slopes averaged",
        "--soft nearest",
        "--soft halves",
        "--curvature secant",
        "--curvature 3:5 --certificate secant",
    ] {
        error(options);
    }
    let (refined, report) = error("--refine 200");
    assert!(refined < published / 2.0, "{refined} against {published}");
    assert!(report["slopes"].is_null() && report["slopes_choice"] == "refined 200 at rate 0.1");
    assert!(report["relative_rmse_before_refinement"].as_f64().unwrap() > refined);
    assert_eq!(error("--refine 200").0, refined);

    // A metric from a file is that metric.
    place.write("weights.npy", &ArrayD::from_elem(vec![64], 2.0));
    let of = |metric, curvature| {
        error(&format!("--metric {metric} --certificate secant --curvature {curvature}")).0
    };
    let (plain, doubled) = (of("identity", 4), of("weights.npy", 2));
    assert!((plain / doubled - 1.0).abs() < CLOSE, "{plain} {doubled}");

    // Hessians and proofs are those of smooth networks.
    let smooth =
        "fit digits_gelu.onnx --data digits.npz --scale 0.0625 --take 0..300 --outputs 0,1 -o smooth";
    let hessian = place.json(&format!("{smooth} --curvature hessian"));
    assert_eq!(hessian["certificate_label"], "sampled");
    let proved = place.json(&format!("{smooth} --curvature 3 --certificate proved --box 0,1 --boxes 1"));
    assert_eq!(proved["certificate_label"], "proved");
    assert!(proved["certificate_curvature"].as_f64() > hessian["certificate_curvature"].as_f64());
    place.fails(&format!("{fit} --curvature hessian -o s"), 2, "secant");
    place.fails(&format!("{smooth} --certificate proved"), 2, "box");
}
