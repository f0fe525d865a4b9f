//! Jobs that are interrupted, killed or left alone by their terminal.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ndarray::Axis;
use serde_json::Value;

use super::common::place::Place;
use super::{PROGRAM, text};

/// A sweep of many chunks that takes seconds.
const LONG: &str = "sweep digits_cnn.onnx --data digits.npz --labels digits.npz --scale 0.0625 \
                    --anchors 0..1400 --points 0..1797 --seeds 40 --curvature 1,2,3,4,5,6,7,8 \
                    --pieces 10,100,1000 --memory 80MiB -o sweep";

fn signal(child: &std::process::Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
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
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap()["state"]["points"].as_u64().unwrap())
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
    let names: Vec<String> = place.names().into_iter().filter(|name| name.starts_with("sweep/")).collect();
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
        .current_dir(place.folder())
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
