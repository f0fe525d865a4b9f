//! The program from outside: every verb does its work, and interrupted sweeps go on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod devices;
#[cfg(unix)]
mod interrupted;
mod run;
mod splines;
mod sweeps;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::place::Place;
use fenchel::data::{NpyWriter, OutputFile, read_array};
use fenchel::tolerance::relative_difference;
use ndarray::ArrayD;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fenchel");

impl Place {
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
        walk(self.folder(), self.folder(), &mut names);
        names
    }

    fn std_command(&self, arguments: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.folder()).args(arguments.split_whitespace());
        command
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
