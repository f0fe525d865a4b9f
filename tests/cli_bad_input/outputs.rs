//! Outputs that cannot be written, and results that must stay.

use std::fs;

use super::common::place::Place;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fenchel");

#[test]
fn a_demo_that_cannot_run_writes_nothing() {
    let place = Place::new();
    place.fails("demo --device gpu:77", 1, &["--device gpu:77"]);
    place.write("fenchel-demo", b"a file");
    place.fails("demo", 1, &["'fenchel-demo'"]);
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
        .current_dir(place.folder())
        .stdout(full)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("error: ") && said.contains("No space left"), "{said}");
}
