//! Malformed inputs through the program.

use std::fs;
use std::path::Path;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fenchel");

/// Whether a job is done with the input; if not, it must have been refused in one line that begins with the error, and
/// have left nothing.
pub(crate) fn takes(kind: &str, input: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for name in ["moons.onnx", "moons.npz"] {
        fs::copy(assets.join(name), at(name)).unwrap();
    }
    let fit = "fit moons.onnx --data moons.npz --take 0..9 --curvature 3 -o good.safetensors";
    let sweep =
        "sweep moons.onnx --data moons.npz --anchors 0..20 --points 20..60 --pieces 5,9 --curvature 1 -o out";
    let (input_name, arguments) = match kind {
        "onnx" => ("in", "run in --data moons.npz -o out"),
        "npy" | "npz" | "idx" => ("in", "run moons.onnx --data in -o out"),
        "images" => {
            fs::create_dir(at("in")).unwrap();
            ("in/0.png", "run moons.onnx --data in -o out")
        }
        "splines" => ("in", "eval in --data moons.npz -o out"),
        "planes" => ("in", "render moons.onnx --plane in --what value --size 8x8 -o out"),
        "enumerations" => ("in", "regions moons.onnx --box -1,1 --budget 30 --resume in -o out"),
        _ => {
            let run = |arguments: &str| {
                let mut command = assert_cmd::Command::new(PROGRAM);
                command.current_dir(folder.path()).args(arguments.split_whitespace()).assert().success();
            };
            run(fit);
            run(sweep);
            ("out/checkpoint.json", "")
        }
    };
    let resume = format!("{sweep} --resume");
    let arguments = if arguments.is_empty() { &resume } else { arguments };
    if kind == "checkpoints" {
        // The state alone is damaged: the rest would be taken for another sweep.
        let whole = fs::read_to_string(at(input_name)).unwrap();
        let start = whole.find("\"state\":").unwrap() + 8;
        let end = whole.find(",\"rows\":[]}").unwrap_or(whole.len() - 1);
        let damaged = [&whole.as_bytes()[..start], input, &whole.as_bytes()[end..]].concat();
        fs::write(at(input_name), damaged).unwrap();
    } else {
        fs::write(at(input_name), input).unwrap();
    }
    let before = listed(folder.path());
    let mut command = assert_cmd::Command::new(PROGRAM);
    command.current_dir(folder.path()).args(arguments.split_whitespace()).timeout(Duration::from_secs(20));
    let output = command.output().unwrap();
    let (code, said) = (output.status.code(), String::from_utf8(output.stderr).unwrap());
    if code == Some(0) {
        return true;
    }
    assert!(matches!(code, Some(1 | 2)), "fenchel {arguments}: {code:?}\n{said}");
    assert!(said.starts_with("error: ") && said.ends_with('\n'), "fenchel {arguments}\n{said}");
    assert_eq!(said.lines().count(), 1, "fenchel {arguments}\n{said}");
    assert_eq!(listed(folder.path()), before, "fenchel {arguments} leaves files");
    false
}

fn listed(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
