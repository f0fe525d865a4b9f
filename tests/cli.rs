//! The program from outside: every verb does its work, and interrupted sweeps go on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fenchel::data::{NpyWriter, OutputFile, array_names, read_array};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use ndarray::{ArrayD, Axis, Slice, s};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fenchel");

/// A folder of its own, with copies of assets in it.
struct Place(tempfile::TempDir);

impl Place {
    fn with(assets: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in assets {
            fs::copy(asset(name), place.path(name)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Two files are equal, byte for byte.
    fn same(&self, name: &str, other: &Self, of_other: &str) {
        let (mine, others) = (text(&self.read(name)), text(&other.read(of_other)));
        let differ = mine.lines().zip(others.lines()).find(|(mine, others)| mine != others);
        assert!(mine == others, "{name} is not {of_other}: {differ:?}");
    }

    fn array(&self, name: &str, key: Option<&str>) -> ArrayD<f64> {
        read_array(&self.path(name), key).unwrap()
    }

    fn write(&self, name: &str, array: &ArrayD<f64>) {
        let output = OutputFile::create(&self.path(name)).unwrap();
        let mut writer = NpyWriter::<f32>::create(output, array.shape()).unwrap();
        writer.write(&array.iter().map(|&v| v as f32).collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap();
    }

    /// All names below the folder.
    fn names(&self) -> BTreeSet<String> {
        fn walk(folder: &Path, root: &Path, names: &mut BTreeSet<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                names.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                if path.is_dir() {
                    walk(&path, root, names);
                }
            }
        }
        let mut names = BTreeSet::new();
        walk(self.0.path(), self.0.path(), &mut names);
        names
    }

    fn std_command(&self, arguments: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.0.path()).args(arguments.split_whitespace());
        command
    }

    /// Runs the program to its end, which must be a success without a word on standard error.
    fn done(&self, arguments: &str) -> String {
        let output = assert_cmd::Command::new(PROGRAM)
            .current_dir(self.0.path())
            .args(arguments.split_whitespace())
            .timeout(Duration::from_secs(120))
            .output()
            .unwrap();
        let (text, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "fenchel {arguments}\n{text}");
        assert!(!text.contains('\x1b'), "{text}");
        text
    }

    /// Runs the program, which must refuse with this exit code and name what is wrong.
    fn fails(&self, arguments: &str, code: i32, named: &str) {
        let output = self.std_command(arguments).output().unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "fenchel {arguments}\n{errors}");
        assert!(errors.starts_with("error: ") && errors.contains(named), "fenchel {arguments}\n{errors}");
    }

    fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{arguments} --json"))).unwrap()
    }
}

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn golden(network: &str, key: &str) -> ArrayD<f64> {
    read_array(&asset(&format!("golden/{network}.npz")), Some(key)).unwrap()
}

fn difference(values: &ArrayD<f64>, reference: &ArrayD<f64>) -> f64 {
    assert_eq!(values.shape(), reference.shape());
    relative_difference(values.iter().copied(), reference.iter().copied())
}

#[test]
fn run_gives_the_golden_outputs_and_jacobians() {
    for name in ["digits_sigmoid", "digits_relu", "digits_gelu", "digits_cnn", "moons"] {
        let place = Place::with(&[&format!("{name}.onnx")]);
        place.write("x.npy", &golden(name, "x"));
        place.done(&format!("run {name}.onnx --data x.npy -o y.npy --jacobian j.npy"));
        let (y, jacobian) = (place.array("y.npy", None), place.array("j.npy", None));
        assert!(difference(&y, &golden(name, "y")) < CLOSE, "{name}");
        let reference = golden(name, "jacobian");
        let (k, d) = (y.shape()[1], reference.shape()[2]);
        assert_eq!(jacobian.shape(), [y.shape()[0], k, d], "{name}");
        let first = jacobian.slice_axis(Axis(0), Slice::from(0..reference.shape()[0])).into_owned();
        assert!(difference(&first, &reference) < APPROXIMATE, "{name}");

        place.done(&format!("run {name}.onnx --data x.npy --precision f64 -o y64.npy --jacobian j64.npy"));
        let exact = difference(&place.array("y64.npy", None), &golden(name, "y64"));
        assert!(exact < EXACT, "{name}: {exact:e}");
        let jacobian = place.array("j64.npy", None);
        let first = jacobian.slice_axis(Axis(0), Slice::from(0..reference.shape()[0])).into_owned();
        let exact = difference(&first, &reference);
        assert!(exact < EXACT, "{name}: {exact:e}");
        assert!(place.read("y64.npy").len() > place.read("y.npy").len());
    }
}

#[test]
fn run_takes_some_outputs_in_the_order_given() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    let run = "run digits_sigmoid.onnx --data digits.npz --scale 0.0625";
    place.done(&format!("{run} -o all.npy --jacobian all_j.npy"));
    place.done(&format!("{run} --outputs 7,0,3..5 -o some.npy --jacobian some_j.npy"));
    let picked = [7, 0, 3, 4];
    let (all, some) = (place.array("all.npy", None), place.array("some.npy", None));
    assert_eq!(all.shape(), [1797, 10]);
    assert_eq!(some, all.select(Axis(1), &picked));
    let (all, some) = (place.array("all_j.npy", None), place.array("some_j.npy", None));
    assert_eq!(some.shape(), [1797, 4, 64]);
    assert!(difference(&some, &all.select(Axis(1), &picked)) < CLOSE);
    // Values alone, without Jacobians, are the same outputs by another road.
    place.done(&format!("{run} --outputs 7,0,3..5 -o alone.npy"));
    assert!(difference(&place.array("alone.npy", None), &place.array("some.npy", None)) < CLOSE);
    // Jacobians alone need no other file.
    let before = place.names();
    place.done(&format!("{run} --outputs 7,0,3..5 --jacobian alone_j.npy"));
    assert_eq!(place.read("alone_j.npy"), place.read("some_j.npy"));
    assert_eq!(place.names().difference(&before).collect::<Vec<_>>(), ["alone_j.npy"]);
}

#[test]
fn a_network_cut_in_two_is_the_network() {
    let place = Place::with(&["digits_cnn.onnx"]);
    place.write("x.npy", &golden("digits_cnn", "x"));
    place.done("run digits_cnn.onnx --data x.npy --node relu2 -o half.npy");
    assert_eq!(place.array("half.npy", None).shape(), [20, 256]);
    assert!(place.array("half.npy", None).iter().all(|&v| v >= 0.0));
    place.done("run digits_cnn.onnx --data x.npy --node pool2 -o pool.npy");
    place.done("run digits_cnn.onnx --data pool.npy --from pool2 -o y.npy");
    assert!(difference(&place.array("y.npy", None), &golden("digits_cnn", "y")) < CLOSE);
}

#[test]
fn run_reports_in_json() {
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    let report = place.json("run moons.onnx --data moons.npz --key x -o y.npy --device cpu");
    assert_eq!((&report["samples"], &report["outputs"]), (&1000.into(), &2.into()));
    assert_eq!(report["dimension"], 2);
    assert!(report["seconds"].as_f64().unwrap() >= 0.0);
    assert!(report["device"].as_str().unwrap().contains("CPU"));
}

#[test]
fn data_may_be_npy_idx_or_gzip_of_any_fitting_shape() {
    let place = Place::with(&["digits_cnn.onnx", "digits.npz"]);
    let x = place.array("digits.npz", Some("x")).slice(s![..9, ..]).into_owned().into_dyn();
    let bytes: Vec<u8> = x.iter().map(|&v| v as u8).collect();
    let idx = [&[0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8], &bytes[..]].concat();
    fs::write(place.path("x.idx"), &idx).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &idx).unwrap();
    fs::write(place.path("x.idx.gz"), gzip.finish().unwrap()).unwrap();
    place.write("flat.npy", &x);
    place.write("images.npy", &x.to_shape(vec![9, 1, 8, 8]).unwrap().into_owned());
    place.done("run digits_cnn.onnx --data flat.npy --scale 0.0625 -o reference.npy");
    for name in ["x.idx", "x.idx.gz", "images.npy"] {
        place.done(&format!("run digits_cnn.onnx --data {name} --scale 0.0625 -o y.npy"));
        assert_eq!(place.read("y.npy"), place.read("reference.npy"), "{name}");
    }
    place.done("run digits_cnn.onnx --data x.idx --scale 0.125 --mean 0.5 --std 2 -o y.npy");
    let scaled = x.mapv(|v| (v * 0.125 - 0.5) / 2.0);
    place.write("scaled.npy", &scaled);
    place.done("run digits_cnn.onnx --data scaled.npy -o reference.npy");
    assert_eq!(place.read("y.npy"), place.read("reference.npy"));
}

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
fn inspect_lists_every_layer() {
    let place = Place::with(&["digits_cnn.onnx"]);
    let text = place.done("inspect digits_cnn.onnx");
    for part in ["conv1", "MaxPool", "add1", "16 x 4 x 4", "5018 parameters", "piecewise affine", "opset 17"]
    {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let report = place.json("inspect digits_cnn.onnx");
    assert_eq!(report["parameters"], 5018);
    assert_eq!(report["opset"], 17);
    let names: Vec<&str> =
        report["layers"].as_array().unwrap().iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 14);
    assert_eq!((names[0], names[13]), ("conv1", "logits"));
    let parameters: u64 =
        report["layers"].as_array().unwrap().iter().map(|layer| layer["parameters"].as_u64().unwrap()).sum();
    assert!(parameters <= 5018 && parameters > 4900, "{parameters}");
    let cut = place.json("inspect digits_cnn.onnx --node relu1");
    assert_eq!(cut["layers"].as_array().unwrap().len(), 3);
}

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
        let of_pairs = ["max-affine", "envelope", "slice"]
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

#[test]
fn the_demo_needs_nothing_but_a_folder() {
    let place = Place::with(&[]);
    let text = place.done("demo");
    for name in ["digits_sigmoid", "digits_cnn"] {
        assert!(text.contains(name), "{text}");
        let table = place.read(&format!("fenchel-demo/{name}/rows.csv"));
        assert_eq!(table.iter().filter(|&&byte| byte == b'\n').count(), 1 + 8 * 3 * 5);
        assert!(place.read(&format!("fenchel-demo/{name}/sweep.svg")).starts_with(b"<svg"));
        assert!(!place.names().iter().any(|name| name.contains(".fenchel-")));
    }
    // What it tells to do next works as printed.
    let next = text.lines().filter_map(|line| line.trim().strip_prefix("fenchel ")).collect::<Vec<_>>();
    assert_eq!(next.len(), 2, "{text}");
    next.iter().for_each(|line| drop(place.done(line)));
    assert!(place.path("sweep/rows.json").is_file());
}

#[test]
fn every_verb_explains_itself() {
    let place = Place::with(&[]);
    let help = place.done("--help");
    for verb in ["demo", "run", "fit", "eval", "pieces", "sweep", "inspect", "devices"] {
        assert!(help.contains(verb), "{help}");
        let text = place.done(&format!("{verb} --help"));
        assert!(text.contains(&format!("Usage: fenchel {verb}")), "{text}");
        for option in ["--device", "--memory", "--seed", "--json"] {
            assert!(text.contains(option), "{verb} {option}");
        }
    }
    assert!(place.done("--version").contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_closed_pipe_is_success() {
    let place = Place::with(&["digits_cnn.onnx", "moons.onnx", "moons.npz"]);
    for arguments in
        ["--help", "sweep --help", "inspect digits_cnn.onnx", "run moons.onnx --data moons.npz -o y.npy"]
    {
        let mut child =
            place.std_command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{arguments}");
    }
    assert_eq!(place.array("y.npy", None).shape(), [1000, 2]);
}

#[cfg(unix)]
mod interrupted {
    use super::*;

    /// A sweep of many chunks that takes seconds.
    const LONG: &str = "sweep digits_cnn.onnx --data digits.npz --labels digits.npz --scale 0.0625 \
                        --anchors 0..1400 --points 0..1797 --seeds 40 --curvature 1,2,3,4,5,6,7,8 \
                        --pieces 10,100,1000 --memory 80MiB -o sweep";

    fn signal(child: &std::process::Child, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Starts a program, sends it a signal when `ready`, and returns its exit code, what it said and how long
    /// it took to stop.
    fn stop(
        place: &Place,
        arguments: &str,
        name: &str,
        ready: impl Fn() -> bool,
    ) -> (Option<i32>, String, Duration) {
        let mut child =
            place.std_command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < Duration::from_secs(60), "{arguments}: never got ready");
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{arguments}: ended before it was interrupted: {ended:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&child, name);
        let start = Instant::now();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), text(&output.stderr), start.elapsed())
    }

    fn points_done(place: &Place) -> u64 {
        // It is replaced whole, so it is never seen half written.
        fs::read(place.path("sweep/checkpoint.json"))
            .map(|bytes| {
                serde_json::from_slice::<Value>(&bytes).unwrap()["state"]["points"].as_u64().unwrap()
            })
            .unwrap_or(0)
    }

    #[test]
    fn a_sweep_goes_on_where_it_was_stopped() {
        let whole = Place::with(&["digits_cnn.onnx", "digits.npz"]);
        whole.done(LONG);

        let place = Place::with(&["digits_cnn.onnx", "digits.npz"]);
        let resume = format!("{LONG} --resume");
        let (code, said, took) = stop(&place, LONG, "INT", || points_done(&place) > 0);
        assert_eq!((code, said.as_str()), (Some(1), "error: interrupted\n"));
        assert!(took < Duration::from_secs(2), "it took {took:?} to stop");
        let names: Vec<String> =
            place.names().into_iter().filter(|name| name.starts_with("sweep/")).collect();
        assert_eq!(names, ["sweep/checkpoint.json", "sweep/rows.csv"]);
        let first = points_done(&place);
        assert!(first < 1797, "all was done before it was interrupted");
        assert!(text(&place.read("sweep/rows.csv")).lines().nth(1).unwrap().contains(&format!(",{first},")));

        // Killed, it can clean up nothing, but what is there is whole.
        let (code, said, _) = stop(&place, &resume, "KILL", || points_done(&place) > first);
        assert_eq!((code, said.as_str()), (None, ""));
        assert!((first + 1..1797).contains(&points_done(&place)));
        assert!(!place.path("sweep/rows.json").exists());

        place.done(&resume);
        for name in ["rows.json", "rows.csv", "sweep.svg"] {
            let name = format!("sweep/{name}");
            place.same(&name, &whole, &name);
        }

        // Another sweep is not taken for this one.
        let output = place.std_command(&format!("{resume} --curvature 9")).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let output = place.std_command(&resume.replace("--seeds 40", "--seeds 41")).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).starts_with("error: 'sweep/checkpoint.json' belongs to"));
        assert_eq!(place.read("sweep/rows.json"), whole.read("sweep/rows.json"));
    }

    #[test]
    fn a_chunk_of_many_rows_is_interrupted_soon() {
        let place = Place::with(&["digits_cnn.onnx", "digits.npz"]);
        let many = LONG.replace("--seeds 40", "--seeds 400").replace("--memory 80MiB", "--memory 2GiB");
        let start = Instant::now();
        // Nothing shows from outside that the first chunk has begun.
        let begun = || start.elapsed() > Duration::from_secs(2);
        let (code, said, took) = stop(&place, &many, "INT", begun);
        assert_eq!((code, said.as_str()), (Some(1), "error: interrupted\n"));
        assert!(took < Duration::from_secs(2), "it took {took:?} to stop");
    }

    /// Data with so many rows that a fit takes seconds.
    fn many_rows(place: &Place) {
        let x = place.array("digits.npz", Some("x"));
        let views = vec![x.view(); 20];
        let mut many = ndarray::concatenate(Axis(0), &views).unwrap();
        many.indexed_iter_mut().for_each(|(at, v)| *v = (*v + at[0] as f64 * 1e-5) / 16.0);
        place.write("x.npy", &many);
    }

    #[test]
    fn an_interrupted_fit_leaves_nothing() {
        let place = Place::with(&["digits_cnn.onnx", "digits.npz"]);
        many_rows(&place);
        fs::write(place.path("s"), "older").unwrap();
        let names = place.names();
        for name in ["INT", "TERM"] {
            let begun = || place.names().len() > names.len();
            let fit = "fit digits_cnn.onnx --data x.npy --take 0..30000 --precision f64 -o s";
            let (code, said, took) = stop(&place, fit, name, begun);
            assert_eq!((code, said.as_str()), (Some(1), "error: interrupted\n"));
            assert!(took < Duration::from_secs(2), "it took {took:?} to stop");
            assert_eq!(place.names(), names);
            assert_eq!(place.read("s"), b"older");
        }
    }

    #[test]
    fn a_job_under_nohup_survives_its_terminal() {
        let place = Place::with(&["digits_cnn.onnx", "digits.npz"]);
        let mut child = Command::new("nohup")
            .arg(PROGRAM)
            .args(LONG.replace("--seeds 40", "--seeds 10").split_whitespace())
            .current_dir(place.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while points_done(&place) == 0 {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&child, "HUP");
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
        assert!(place.path("sweep/rows.json").is_file());
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
