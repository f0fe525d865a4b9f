//! Bad input and wrong usage: the exit code, one clear line, and nothing left behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod files;
mod outputs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::place::Place;
use fenchel::data::{NpyWriter, OutputFile, read_array};
use fenchel::engine::device;
use fenchel::tolerance::CLOSE;
use ndarray::{Axis, Slice};
use rten_onnx::onnx::{ModelProto, NodeProto};

/// What lies in a folder: contents by name, `None` for folders.
type Contents = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Place {
    /// With a network of two inputs and two outputs, its data, and older results.
    fn new() -> Self {
        let place = Self::with(&["moons.onnx", "moons.npz"]);
        // Whatever fails must leave an older result as it was.
        for name in ["y.npy", "j.npy", "s.safetensors", "e.npz"] {
            place.write(name, b"an older result");
        }
        place
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
        walk(self.folder(), &mut contents);
        contents
    }

    fn succeeds(&self, arguments: &str) {
        let (code, _, said) = self.run(arguments);
        assert_eq!((code, said.as_str()), (Some(0), ""), "fenchel {arguments}");
    }

    /// The program must refuse with this exit code, name all `parts`, and change no file.
    fn refuses(&self, arguments: &str, code: i32, parts: &[&str]) -> String {
        let before = self.contents();
        let (found, _, said) = self.run(arguments);
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
            let (code, _, said) = place.run(&arguments);
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
