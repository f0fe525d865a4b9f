//! Bad input and wrong usage: the exit code, one clear line, and nothing left behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fenchel::data::{NpyWriter, OutputFile, read_array};
use fenchel::engine::device;
use fenchel::tolerance::CLOSE;
use ndarray::{Axis, Slice};
use rten_onnx::onnx::{ModelProto, NodeProto};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fenchel");

/// A folder of its own with a network of two inputs and two outputs, its data, and older results.
struct Place(tempfile::TempDir);

/// What lies in a folder: contents by name, `None` for folders.
type Contents = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["moons.onnx", "moons.npz"] {
            fs::copy(asset(name), place.path(name)).unwrap();
        }
        // Whatever fails must leave an older result as it was.
        for name in ["y.npy", "j.npy", "s.safetensors", "e.npz"] {
            place.write(name, b"an older result");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn write_rows(&self, name: &str, shape: &[usize], values: &[f32]) {
        let output = OutputFile::create(&self.path(name)).unwrap();
        let mut writer = NpyWriter::<f32>::create(output, shape).unwrap();
        writer.write(values).unwrap();
        writer.finish().unwrap();
    }

    fn contents(&self) -> Contents {
        fn walk(folder: &Path, contents: &mut Contents) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, contents);
                    contents.insert(path, None);
                } else {
                    let bytes = fs::read(&path).unwrap();
                    contents.insert(path, Some(bytes));
                }
            }
        }
        let mut contents = Contents::new();
        walk(self.0.path(), &mut contents);
        contents
    }

    /// Runs the program; its exit code and what it says on standard error.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = assert_cmd::Command::new(PROGRAM);
        let output = command
            .current_dir(self.0.path())
            .args(arguments)
            .timeout(Duration::from_secs(60))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    fn succeeds(&self, arguments: &str) {
        let result = self.run(&arguments.split_whitespace().collect::<Vec<_>>());
        assert_eq!(result, (Some(0), String::new()), "fenchel {arguments}");
    }

    /// The program must refuse with this exit code, name all `parts`, and change no file.
    fn refuses(&self, arguments: &str, code: i32, parts: &[&str]) -> String {
        let before = self.contents();
        let (found, said) = self.run(&arguments.split_whitespace().collect::<Vec<_>>());
        assert_eq!(found, Some(code), "fenchel {arguments}\n{said}");
        assert!(said.starts_with("error: ") && said.ends_with('\n'), "fenchel {arguments}\n{said}");
        assert!(!said.contains("panicked") && !said.contains('\x1b'), "fenchel {arguments}\n{said}");
        for part in parts {
            assert!(said.contains(part), "fenchel {arguments}\n'{part}' is missing: {said}");
        }
        let after = self.contents();
        assert!(
            before == after,
            "fenchel {arguments}\nfiles changed: {:?} became {:?}",
            before.keys().collect::<Vec<_>>(),
            after.keys().collect::<Vec<_>>()
        );
        said
    }

    /// As [`refuses`](Self::refuses), in one line.
    fn fails(&self, arguments: &str, code: i32, parts: &[&str]) {
        let said = self.refuses(arguments, code, parts);
        assert_eq!(said.lines().count(), 1, "fenchel {arguments}\n{said}");
    }

    /// Fails as each of the verbs that read data.
    fn data_fails(&self, data: &str, code: i32, parts: &[&str]) {
        self.fails(&format!("run moons.onnx --data {data} -o y.npy --jacobian j.npy"), code, parts);
        self.fails(&format!("fit moons.onnx --data {data} --curvature 3 -o s.safetensors"), code, parts);
        self.fails(&format!("eval good.safetensors --data {data} -o e.npz"), code, parts);
        self.fails(&format!("pieces good.safetensors --data {data} -o e.npz"), code, parts);
    }

    fn with_spline(self) -> Self {
        self.succeeds("fit moons.onnx --data moons.npz --take 0..50 --curvature 3 -o good.safetensors");
        self
    }

    /// The network of the folder, changed.
    fn edit_model(&self, name: &str, edit: impl FnOnce(&mut ModelProto)) {
        let mut model = ModelProto::parse_buf(&fs::read(asset("moons.onnx")).unwrap()).unwrap();
        edit(&mut model);
        self.write(name, &model.write_buf().unwrap());
    }
}

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn rows_that_are_not_finite_are_named() {
    let place = Place::new().with_spline();
    for (name, bad) in
        [("nan.npy", f32::NAN), ("infinite.npy", f32::INFINITY), ("minus.npy", f32::NEG_INFINITY)]
    {
        let mut values: Vec<f32> = (0..80).map(|i| (i as f32).sin()).collect();
        values[2 * 27 + 1] = bad;
        place.write_rows(name, &[40, 2], &values);
        place.data_fails(name, 1, &[name, "row 27", "finite"]);
        // Rows in front of it can be used.
        place.succeeds(&format!(
            "fit moons.onnx --data {name} --take 0..27 --curvature 3 -o part.safetensors"
        ));
    }
    // Finite, but not any more in 32 bits and scaled.
    place.write_rows("large.npy", &[3, 2], &[1.0, 2.0, 3.0, 3e38, 5.0, 6.0]);
    place.fails("run moons.onnx --data large.npy --scale 10 -o y.npy", 1, &["large.npy", "row 1", "finite"]);
}

#[test]
fn a_sweep_names_rows_that_are_not_finite() {
    let place = Place::new();
    let mut values: Vec<f32> = (0..80).map(|i| (i as f32).sin()).collect();
    values[2 * 27 + 1] = f32::NAN;
    place.write_rows("nan.npy", &[40, 2], &values);
    fs::create_dir(place.path("sweep")).unwrap();
    for (anchors, points) in [("0..10", "20..40"), ("20..40", "0..10")] {
        let sweep = "sweep moons.onnx --data nan.npy --curvature 3 -o sweep";
        let arguments = format!("{sweep} --anchors {anchors} --points {points}");
        place.fails(&arguments, 1, &["nan.npy", "row 27", "finite"]);
    }
}

#[test]
fn data_without_rows_or_of_another_shape_is_refused() {
    let place = Place::new().with_spline();
    place.write_rows("no_rows.npy", &[0, 2], &[]);
    place.data_fails("no_rows.npy", 1, &["'no_rows.npy' holds no rows"]);
    place.write_rows("no_columns.npy", &[5, 0], &[]);
    place.data_fails("no_columns.npy", 1, &["'no_columns.npy'"]);
    place.write_rows("long.npy", &[4, 3], &[0.5; 12]);
    place.data_fails("long.npy", 1, &["'long.npy'", "[3]", "2 elements are needed"]);
    place.write_rows("short.npy", &[4], &[0.5; 4]);
    place.data_fails("short.npy", 1, &["'short.npy'", "2 elements are needed"]);
    place.write_rows("other.npy", &[9, 3], &[0.5; 27]);
    let sweep = "sweep moons.onnx --data moons.npz --anchors 0..9 --curvature 1 --points-data other.npy -o d";
    fs::create_dir(place.path("d")).unwrap();
    place.fails(sweep, 1, &["'other.npy'", "2 elements are needed"]);
}

#[test]
fn damaged_data_is_one_clear_line() {
    let place = Place::new().with_spline();
    place.write_rows("whole.npy", &[40, 2], &[0.5; 80]);
    let npy = fs::read(place.path("whole.npy")).unwrap();
    let npz = fs::read(asset("moons.npz")).unwrap();
    let idx = gzip(&[&[0, 0, 8, 2, 0, 0, 0, 200, 0, 0, 0, 2], &[7; 400][..]].concat());
    for (name, bytes) in [("cut.npy", npy), ("cut.npz", npz), ("cut.idx.gz", idx)] {
        for length in [0, 1, 9, bytes.len() / 2, bytes.len() - 1] {
            place.write(name, &bytes[..length]);
            place.data_fails(name, 1, &[&format!("'{name}' ")]);
        }
    }
    place.write("text.npy", b"1.0, 2.0\n3.0, 4.0\n");
    place.data_fails("text.npy", 1, &["'text.npy'", ".npy, .npz and IDX"]);
    place.data_fails("moons.npz --key nosuch", 1, &["'nosuch'", "'x'", "'y'"]);
    fs::create_dir(place.path("folder")).unwrap();
    place.data_fails("folder", 1, &["'folder'", "image"]);
    place.data_fails("nosuch.npy", 1, &["cannot read 'nosuch.npy'", "No such file"]);
}

#[test]
fn damaged_models_are_one_clear_line() {
    let place = Place::new();
    let whole = fs::read(asset("moons.onnx")).unwrap();
    let run = "run cut.onnx --data moons.npz -o y.npy";
    for length in [0, 1, 10, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        place.write("cut.onnx", &whole[..length]);
        place.fails(run, 1, &["'cut.onnx'"]);
        place.fails("inspect cut.onnx", 1, &["'cut.onnx'"]);
    }
    place.write("text.onnx", b"This is no network.\n");
    place.fails("run text.onnx --data moons.npz -o y.npy", 1, &["'text.onnx'", "ONNX"]);
    fs::create_dir(place.path("folder")).unwrap();
    for verb in ["run", "fit"] {
        let rest = "--data moons.npz -o y.npy";
        place.fails(&format!("{verb} folder {rest}"), 1, &["'folder'", "folder, not an ONNX file"]);
        place.fails(&format!("{verb} nosuch.onnx {rest}"), 1, &["'nosuch.onnx'", "No such file"]);
    }
    place.fails("run moons.npz --data moons.npz -o y.npy", 1, &["'moons.npz'", "ONNX"]);
}

#[test]
fn damaged_splines_are_one_clear_line() {
    let place = Place::new().with_spline();
    let whole = fs::read(place.path("good.safetensors")).unwrap();
    let eval = "eval cut.safetensors --data moons.npz -o e.npz";
    let with = "pieces good.safetensors --data moons.npz --with cut.safetensors -o e.npz";
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        place.write("cut.safetensors", &whole[..length]);
        place.fails(eval, 1, &["'cut.safetensors'"]);
        place.fails(with, 1, &["'cut.safetensors'"]);
    }
    // A length of the header that no file has.
    place.write("cut.safetensors", &[&[255; 8], &whole[8..]].concat());
    place.fails(eval, 1, &["'cut.safetensors'"]);
    fs::create_dir(place.path("folder")).unwrap();
    place.fails("eval folder --data moons.npz -o e.npz", 1, &["'folder'", "irectory"]);
    place.fails("eval nosuch --data moons.npz -o e.npz", 1, &["cannot read 'nosuch'", "No such file"]);
    place.fails("eval moons.onnx --data moons.npz -o e.npz", 1, &["'moons.onnx'", "spline"]);
}

#[test]
fn pieces_that_cannot_be_counted_or_compared_are_refused() {
    let place = Place::new().with_spline();
    let fit = "fit moons.onnx --data moons.npz --curvature 3 --take";
    let pieces = "pieces good.safetensors --data moons.npz -o e.npz";
    place.fails(&format!("{pieces} --outputs 2"), 2, &["no output 2: expected 0 to 1"]);
    place.fails(&format!("{pieces} --with nosuch"), 1, &["cannot read 'nosuch'", "No such file"]);
    place.fails(&format!("{pieces} --with moons.onnx"), 1, &["'moons.onnx'", "spline"]);
    place.refuses("pieces good.safetensors --data moons.npz", 2, &["--output"]);
    place.fails(&format!("{pieces} --memory 300B"), 1, &["raise --memory", "at least"]);

    place.succeeds(&format!("{fit} 0..49 -o less"));
    place.fails(&format!("{pieces} --with less"), 1, &["'less' has 2 outputs", "49 convex", "50 convex"]);
    place.succeeds(&format!("{fit} 0..50 --outputs 1 -o one"));
    place.fails(&format!("{pieces} --with one"), 1, &["'one' has 1 outputs", "needs 2 outputs"]);
    place.succeeds(&format!("{fit} 0..50 --metric diagonal --certificate 3 -o stretched"));
    place.fails(&format!("{pieces} --with stretched"), 1, &["'stretched' has another metric"]);
    place.succeeds(&format!("{fit} 0..50 --soft nearest:0.1 -o soft"));
    place.fails("pieces soft --data moons.npz -o e.npz", 2, &["soft"]);
}

#[test]
fn a_model_with_a_weight_that_is_no_number_is_refused() {
    let place = Place::new();
    place.edit_model("nan.onnx", |model| {
        let graph = model.graph.as_mut().unwrap();
        let tensor =
            graph.initializer.iter_mut().find(|t| t.name.as_deref() == Some("hidden2.weight")).unwrap();
        let mut raw = tensor.raw_data.as_ref().unwrap().borrow().clone();
        raw[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
        tensor.raw_data = Some(raw.into());
    });
    for arguments in ["run nan.onnx --data moons.npz -o y.npy", "inspect nan.onnx"] {
        place.fails(arguments, 1, &["hidden2.weight", "NaN"]);
    }
}

#[test]
fn everything_unsupported_is_named_at_once() {
    let place = Place::new();
    place.edit_model("odd.onnx", |model| {
        for node in &mut model.graph.as_mut().unwrap().node {
            match node.name.as_deref() {
                Some("relu1") => node.op_type = Some("LSTM".to_owned()),
                Some("relu2") => node.op_type = Some("Fancy".to_owned()),
                _ => {}
            }
        }
    });
    for arguments in ["run odd.onnx --data moons.npz -o y.npy", "inspect odd.onnx"] {
        place.fails(arguments, 1, &["not supported", "LSTM ('relu1'", "Fancy ('relu2'"]);
    }
}

#[test]
fn names_in_a_file_cannot_break_the_line() {
    let place = Place::new();
    let nasty = "re\nerror: lu\x1b[31m";
    place.edit_model("name.onnx", |model| {
        model.graph.as_mut().unwrap().node[1].name = Some(nasty.to_owned());
    });
    place.edit_model("operator.onnx", |model| {
        model.graph.as_mut().unwrap().node[1].op_type = Some(nasty.to_owned());
    });
    for name in ["name.onnx", "operator.onnx"] {
        place.fails(&format!("run {name} --data moons.npz -o y.npy"), 1, &[name]);
        place.fails(&format!("inspect {name}"), 1, &[name]);
    }
    let mut npz = fs::read(asset("moons.npz")).unwrap();
    for at in 0..npz.len() - 5 {
        if &npz[at..at + 5] == b"x.npy" {
            npz[at] = b'\n';
        }
    }
    place.write("names.npz", &npz);
    place.fails("run moons.onnx --data names.npz --key x -o y.npy", 1, &["'names.npz'", "'x'"]);
}

#[test]
fn a_softmax_at_the_end_is_computed_or_stripped() {
    let place = Place::new();
    place.edit_model("softmax.onnx", |model| {
        let graph = model.graph.as_mut().unwrap();
        graph.node.push(NodeProto {
            name: Some("probabilities".to_owned()),
            op_type: Some("Softmax".to_owned()),
            input: vec!["logits".to_owned()],
            output: vec!["probabilities".to_owned()],
            ..NodeProto::default()
        });
        graph.output[0].name = Some("probabilities".to_owned());
    });
    let run = "run softmax.onnx --data moons.npz -o";
    place.succeeds(&format!("{run} y.npy"));
    place.succeeds(&format!("{run} logits.npy --logits"));
    let read = |name: &str| read_array(&place.path(name), None).unwrap();
    let (shares, logits) = (read("y.npy"), read("logits.npy"));
    for (shares, logits) in shares.rows().into_iter().zip(logits.rows()) {
        let sum: f64 = logits.iter().map(|v| v.exp()).sum();
        for (share, logit) in shares.iter().zip(logits) {
            assert!((share - logit.exp() / sum).abs() < CLOSE, "{share} of {logits}");
        }
    }
    place.succeeds("run moons.onnx --data moons.npz -o plain.npy");
    assert_eq!(fs::read(place.path("logits.npy")).unwrap(), fs::read(place.path("plain.npy")).unwrap());
}

#[test]
fn another_input_must_be_fixed() {
    let place = Place::new();
    place.edit_model("two.onnx", |model| {
        let graph = model.graph.as_mut().unwrap();
        let mut shift = graph.input[0].clone();
        shift.name = Some("shift".to_owned());
        graph.input.push(shift);
        graph.node.push(NodeProto {
            op_type: Some("Concat".to_owned()),
            attribute: vec![rten_onnx::onnx::AttributeProto {
                name: Some("axis".to_owned()),
                i: Some(1),
                r#type: Some(rten_onnx::onnx::AttributeType::INT),
                ..Default::default()
            }],
            input: vec!["logits".to_owned(), "shift".to_owned()],
            output: vec!["both".to_owned()],
            ..NodeProto::default()
        });
        graph.output[0].name = Some("both".to_owned());
    });
    place.write_rows("shift.npy", &[2], &[0.25, -4.0]);
    place.write_rows("long.npy", &[3], &[0.0; 3]);
    let run = "run two.onnx --data moons.npz -o y.npy";
    place.fails(run, 2, &["several inputs", "'shift'", "fixed"]);
    place.fails(&format!("{run} --fix shift=long.npy"), 1, &["'shift'", "[2]", "[3]"]);
    place.fails(&format!("{run} --fix shift=absent.npy"), 1, &["absent.npy"]);
    place.fails(&format!("{run} --fix logits=shift.npy"), 2, &["'logits' is no input"]);
    place.refuses(&format!("{run} --fix shift"), 2, &["--fix", "state=zeros.npy"]);
    place.succeeds(&format!("{run} --fix shift=shift.npy"));
    place.succeeds("run moons.onnx --data moons.npz -o plain.npy");
    let read = |name: &str| read_array(&place.path(name), None).unwrap();
    let (both, plain) = (read("y.npy"), read("plain.npy"));
    assert_eq!(both.slice_axis(Axis(1), Slice::from(..2)), plain);
    assert!(
        both.slice_axis(Axis(1), Slice::from(2..)).rows().into_iter().all(|row| row.to_vec() == [0.25, -4.0])
    );
}

#[test]
fn wrong_usage_is_code_two() {
    let place = Place::new().with_spline();
    let fit = "fit moons.onnx --data moons.npz -o s.safetensors";
    let wrong = [
        ("--pieces 0", "'--pieces"),
        ("--pieces=-3", "'--pieces"),
        ("--pieces some", "'--pieces"),
        ("--take 5..5", "'--take"),
        ("--take 7..5", "'--take"),
        ("--curvature=-1", "'--curvature"),
        ("--curvature nan", "'--curvature"),
        ("--curvature inf", "'--curvature"),
        ("--certificate nan", "'--certificate"),
        ("--memory 0", "'--memory"),
        ("--memory 5TB", "'--memory"),
        ("--device tpu", "'--device"),
        ("--outputs a", "'--outputs"),
        ("--precision f16", "'--precision"),
        ("--nosuch", "--nosuch"),
    ];
    for (option, named) in wrong {
        place.refuses(&format!("{fit} {option}"), 2, &[named]);
    }
    place.refuses("fit moons.onnx --data moons.npz", 2, &["--output"]);
    place.refuses("run moons.onnx --data moons.npz", 2, &["--output"]);
    place.refuses("sweep moons.onnx --data moons.npz -o d", 2, &["--points"]);
    place.refuses("nosuch", 2, &["nosuch"]);
    place.refuses("sweep moons.onnx --data moons.npz --points 0..9 --seeds 0 -o d", 2, &["--seeds"]);

    // What shows only beside the model or the data is one line.
    let fit = format!("{fit} --curvature 1");
    let wrong = [
        ("--pieces 1001", "1001 pieces"),
        ("--take 0..10 --pieces 11", "11 pieces"),
        ("--take 990..1001", "--take 990..1001 goes beyond the 1000 rows of 'moons.npz'"),
        ("--outputs 99", "no output 99: expected 0 to 1"),
        ("--outputs 0..3", "no output 2: expected 0 to 1"),
        ("--node nosuch", "'nosuch'; there are 'point', 'hidden1', 'relu1', 'hidden2', 'relu2', 'logits'"),
        ("--from nosuch", "'nosuch'"),
        ("--scale 0", "scale is 0"),
        ("--scale=-inf", "finite"),
        ("--std 0", "std holds 0"),
        ("--mean 1,2,3", "mean"),
    ];
    for (option, named) in wrong {
        place.fails(&format!("{fit} {option}"), 2, &[named]);
    }
    let run = "run moons.onnx --data moons.npz -o y.npy --jacobian j.npy";
    place.fails(&format!("{run} --outputs 99"), 2, &["no output 99"]);
    place.fails("eval good.safetensors --data moons.npz --outputs 2 -o e.npz", 2, &["no output 2"]);
    place.fails("fit moons.onnx --data moons.npz --take 0..1000 -o s", 2, &["validation", "no anchors"]);
    place.fails(&format!("{fit} --certificate secant --validation 0..1001"), 2, &["--validation"]);
    let sweep = "sweep moons.onnx --data moons.npz --curvature 1 -o d";
    place.fails(&format!("{sweep} --anchors 0..10 --points 990..1001"), 2, &["--points 990..1001"]);
    place.fails(&format!("{sweep} --anchors 0..1001 --points 0..10"), 2, &["--anchors 0..1001"]);
    place.fails(&format!("{sweep} --anchors 0..10 --points 10..20 --pieces 5,11"), 2, &["11 pieces"]);
}

#[test]
fn negative_factors_are_numbers() {
    let place = Place::new();
    place.succeeds("run moons.onnx --data moons.npz --scale=-1 --mean 1,-2 -o one.npy");
    place.succeeds("run moons.onnx --data moons.npz --scale -1 --mean 1,-2 -o other.npy");
    assert_eq!(fs::read(place.path("one.npy")).unwrap(), fs::read(place.path("other.npy")).unwrap());
    // A refusal says what would be accepted, not how to pass a file called '-1'.
    for (option, accepted) in
        [("--curvature -1", "at least 0"), ("--certificate -1", "at least 0"), ("--pieces -3", "above 0")]
    {
        place.refuses(&format!("fit moons.onnx --data moons.npz -o s.safetensors {option}"), 2, &[accepted]);
    }
    place.fails("run moons.onnx --data moons.npz -o y.npy --std -1", 2, &["std holds -1"]);
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let place = Place::new().with_spline();
    let named = "--device gpu:77";
    let parts = [named, "fenchel devices"];
    place.fails(&format!("run moons.onnx --data moons.npz -o y.npy {named}"), 1, &parts);
    place.fails(
        &format!("fit moons.onnx --data moons.npz --curvature 1 -o s.safetensors {named}"),
        1,
        &parts,
    );
    place.fails(&format!("eval good.safetensors --data moons.npz -o e.npz {named}"), 1, &parts);
    let sweep = "sweep moons.onnx --data moons.npz --anchors 0..9 --points 9..20 --curvature 1 -o d";
    place.fails(&format!("{sweep} {named}"), 1, &parts);
    place.fails(&format!("bench {named}"), 1, &parts);
}

#[test]
fn shapes_that_make_no_sense_are_refused() {
    let place = Place::new();
    for shape in ["1,2,3", "1,2,3,0", "1,2,3,x", "1,2,3,4,5", "-1,2,3,4", ""] {
        place.refuses(&format!("bench --shape={shape}"), 2, &["--shape", "2048,8192,784,10"]);
    }
    for size in ["0x5", "5", "5x", "axb", "70000x1"] {
        place.refuses(&format!("bench moons.onnx --slice {size}"), 2, &["--slice", "4096x4096"]);
    }
    place.fails("bench moons.onnx --samples 2 --slice 9x9", 2, &["three"]);
}

#[test]
fn graphics_devices_refuse_f64_by_name() {
    let place = Place::new();
    if device::adapters().is_empty() {
        return;
    }
    let run = "run moons.onnx --data moons.npz -o y.npy --device gpu --precision f64";
    place.fails(run, 2, &["--device gpu", "f32"]);
}

#[test]
fn a_demo_that_cannot_run_writes_nothing() {
    let place = Place::new();
    place.fails("demo --device gpu:77", 1, &["--device gpu:77"]);
    place.write("fenchel-demo", b"a file");
    place.fails("demo", 1, &["'fenchel-demo'"]);
}

/// The KiB that a refusal names after these words.
fn kibibytes(said: &str, after: &str) -> f64 {
    let (_, rest) = said.split_once(after).unwrap_or_else(|| panic!("'{after}' is missing: {said}"));
    let mut words = rest.split([' ', ':', '\n']);
    let number: f64 = words.next().unwrap().parse().unwrap();
    match words.next().unwrap() {
        "bytes" | "B" => number / 1024.0,
        "KiB" => number,
        "MiB" => number * 1024.0,
        unit => panic!("{unit}: {said}"),
    }
}

#[test]
fn too_little_memory_names_what_would_do() {
    let place = Place::new();
    for name in ["digits_cnn.onnx", "digits.npz"] {
        fs::copy(asset(name), place.path(name)).unwrap();
    }
    fs::create_dir(place.path("d")).unwrap();
    let on_digits = "digits_cnn.onnx --data digits.npz";
    for job in [
        format!("run {on_digits} --jacobian j.npy"),
        format!("fit {on_digits} --curvature 1 --take 0..500 -o s.safetensors"),
        format!("sweep {on_digits} --curvature 1 --anchors 0..500 --points 500..1000 -o d"),
    ] {
        place.fails(&format!("{job} --memory 1KiB"), 1, &["raise --memory", "at least"]);
        // It asks for more than there is, and who gives that comes to the end, if in steps.
        let mut memory = 1.0;
        for _ in 0..8 {
            let arguments = format!("{job} --memory {memory}KiB");
            let (code, said) = place.run(&arguments.split_whitespace().collect::<Vec<_>>());
            if code == Some(0) {
                memory = 0.0;
                break;
            }
            let (needed, budget) = (kibibytes(&said, "at least "), kibibytes(&said, "the budget is "));
            assert!(needed > budget && needed > memory, "with {memory} KiB: {said}");
            memory = needed.ceil();
        }
        assert_eq!(memory, 0.0, "{job} never had enough");
    }
}

#[test]
fn a_failed_sweep_leaves_no_folder() {
    let place = Place::new();
    let sweep = "sweep moons.onnx --data moons.npz --curvature 1 --anchors 0..50 -o d/e";
    place.fails(&format!("{sweep} --points 50..90 --memory 100B"), 1, &["--memory"]);
    place.write_rows("nan.npy", &[4, 2], &[f32::NAN; 8]);
    place.fails(&format!("{sweep} --points-data nan.npy"), 1, &["nan.npy", "row 0"]);
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    let sweep =
        "sweep moons.onnx --data moons.npz --curvature 1 --anchors 0..50 --points 50..90 -o d --labels";
    place.write_rows("few.npy", &[41], &[1.0; 41]);
    place.fails(&format!("{sweep} few.npy"), 2, &["'few.npy'", "41 labels", "1000", "40"]);
    place.write_rows("halves.npy", &[40], &[0.5; 40]);
    place.fails(&format!("{sweep} halves.npy"), 1, &["'halves.npy'", "0.5", "row 0", "whole numbers"]);
    let mut values = [1.0; 40];
    values[7] = -1.0;
    place.write_rows("negative.npy", &[40], &values);
    place.fails(&format!("{sweep} negative.npy"), 1, &["'negative.npy'", "-1", "row 7"]);
    values[7] = f32::NAN;
    place.write_rows("nan.npy", &[40], &values);
    place.fails(&format!("{sweep} nan.npy"), 1, &["'nan.npy'", "NaN", "row 7"]);
    place.write_rows("wide.npy", &[40, 2], &[1.0; 80]);
    place.fails(&format!("{sweep} wide.npy"), 1, &["'wide.npy'", "[40, 2]"]);
    place.fails(&format!("{sweep} nosuch.npy"), 1, &["'nosuch.npy'", "No such file"]);
    // One for each point, or one for each row of the data.
    place.write_rows("points.npy", &[40], &[1.0; 40]);
    place.succeeds(&format!("{sweep} points.npy"));
    place.succeeds(&format!("{sweep} moons.npz"));
}

#[test]
fn outputs_that_cannot_be_written_are_named() {
    let place = Place::new().with_spline();
    fs::create_dir(place.path("folder")).unwrap();
    for job in [
        "run moons.onnx --data moons.npz -o",
        "run moons.onnx --data moons.npz --jacobian",
        "fit moons.onnx --data moons.npz --curvature 1 -o",
        "eval good.safetensors --data moons.npz -o",
        "pieces good.safetensors --data moons.npz -o",
    ] {
        place.fails(&format!("{job} folder"), 1, &["cannot write 'folder'", "it is a folder"]);
        place.fails(&format!("{job} nosuch/file"), 1, &["'nosuch/file'", "no folder 'nosuch'"]);
    }
    let sweep = "sweep moons.onnx --data moons.npz --curvature 1 --anchors 0..50 --points 50..90 -o";
    place.fails(&format!("{sweep} y.npy"), 1, &["'y.npy'"]);
    place.fails(&format!("{sweep} y.npy/below"), 1, &["'y.npy/below'"]);
}

#[test]
fn two_outputs_do_not_share_a_file() {
    let place = Place::new();
    place.fails("run moons.onnx --data moons.npz -o y.npy --jacobian y.npy", 2, &["y.npy"]);
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_another_sweep_is_refused() {
    let place = Place::new();
    let sweep = "sweep moons.onnx --data moons.npz --curvature 1 --anchors 0..50 -o d --resume";
    place.succeeds(&format!("{sweep} --points 50..90"));
    for other in ["--points 50..91", "--points 50..90 --seed 1", "--points 50..90 --pieces 7"] {
        place.fails(&format!("{sweep} {other}"), 2, &["checkpoint.json", "another"]);
    }
    let whole = fs::read(place.path("d/checkpoint.json")).unwrap();
    place.write("d/checkpoint.json", &whole[..whole.len() / 2]);
    place.fails(&format!("{sweep} --points 50..90"), 1, &["checkpoint.json", "damaged"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_stays_a_device() {
    use std::os::unix::fs::FileTypeExt;
    let place = Place::new().with_spline();
    for job in [
        "run moons.onnx --data moons.npz -o",
        "run moons.onnx --data moons.npz -o /dev/null --jacobian",
        "fit moons.onnx --data moons.npz --curvature 1 -o",
        "eval good.safetensors --data moons.npz -o",
    ] {
        place.fails(&format!("{job} /dev/full"), 1, &["'/dev/full'", "No space left"]);
    }
    for device in ["/dev/full", "/dev/null"] {
        assert!(fs::metadata(device).unwrap().file_type().is_char_device(), "{device}");
    }
    // Standard output can be full as well.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(PROGRAM)
        .args(["inspect", "moons.onnx"])
        .current_dir(place.0.path())
        .stdout(full)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("error: ") && said.contains("No space left"), "{said}");
}

#[test]
fn a_row_of_a_good_file_is_read_whole() {
    // The comparison of contents above would not see a file that was never written.
    let place = Place::new();
    place.succeeds("run moons.onnx --data moons.npz -o y.npy");
    assert_eq!(read_array(&place.path("y.npy"), None).unwrap().shape(), [1000, 2]);
}

#[test]
fn options_of_a_fit_that_mean_nothing_are_refused() {
    let place = Place::new();
    let fit = "fit moons.onnx --data moons.npz --take 0..500 -o s.safetensors";
    for (options, named) in [
        ("--curvature best", "secant"),
        ("--curvature 1:-2", "A:B"),
        ("--select best", "k-means"),
        ("--select k-means:colours", "gradients"),
        ("--slopes steep", "averaged"),
        ("--soft nearest:0", "above 0"),
        ("--soft warm", "nearest"),
        ("--box 1,0", "LO,HI"),
        ("--metric nosuch", "principal"),
        ("--metric gradient --rank 3", "rank 3"),
        ("--metric gradient --rank 0", "rank 0"),
        ("--metric gradient --power nan", "power"),
        ("--refine 10 --soft nearest", "hard"),
        ("--warp 1", "refine"),
        ("--refine 10 --rate 0", "above 0"),
        ("--refine 10 --warp 1", "[H, W]"),
        ("--refine 10 --warp -1", "at least 0"),
        ("--slopes averaged --soft nearest", "hard"),
        ("--certificate auto", "bounds nothing"),
        ("--certificate proved", "box"),
        ("--validation 0..1001", "--validation"),
        ("--pieces 501", "501"),
    ] {
        place.refuses(&format!("{fit} {options}"), 2, &[named]);
    }
    // A file that is no metric.
    place.fails(&format!("{fit} --metric moons.onnx"), 1, &["moons.onnx"]);
}
