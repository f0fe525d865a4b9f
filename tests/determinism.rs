//! The same input gives the same bits: in twenty repeats, on any number of threads, and within any memory that is enough.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const REPEATS: usize = 20;
const THREADS: [usize; 4] = [1, 2, 3, 8];

/// Each verb that computes, on inputs of a fraction of a second. `{out}` is a folder of its own.
const JOBS: [&str; 22] = [
    "run digits_cnn.onnx --data digits.npz --scale 0.0625 --jacobian {out}/j.npy -o {out}/y.npy",
    "fit digits_gelu.onnx --data digits.npz --scale 0.0625 --take 0..300 --curvature secant -o {out}/s.safetensors",
    "fit moons.onnx --data moons.npz --take 0..400 --pieces 20 --refine 20 --validation 400..500 -o {out}/s.safetensors",
    "fit digits_relu.onnx --data digits.npz --scale 0.0625 --take 0..400 --pieces 40 --select farthest --curvature 2 \
     -o {out}/s.safetensors",
    "eval spline --data digits.npz --scale 0.0625 -o {out}/e.npz",
    "pieces spline --data digits.npz --scale 0.0625 -o {out}/p.npz",
    "sweep digits_sigmoid.onnx --data digits.npz --labels digits.npz --scale 0.0625 --anchors 0..300 --points 300..700 \
     --pieces 10,100 --curvature 1,3 --seeds 2 -o {out}/sweep",
    "render digits_gelu.onnx --plane plane.npz --what value --outputs 0 --size 96x64 --npy {out}/v.npy -o {out}/v.png",
    "render digits_relu.onnx --plane plane.npz --what region --size 96x64 -o {out}/r.png",
    "render digits_gelu.onnx --spline spline --plane plane.npz --what error --outputs 3 --size 96x64 -o {out}/e.png",
    "partition digits_relu.onnx --plane plane.npz --npz {out}/p.npz --svg {out}/p.svg -o {out}/p.json",
    "regions moons.onnx --box -1,1 --budget 100 -o {out}/r.json",
    "distance digits_relu.onnx --data digits.npz --scale 0.0625 --take 0..200 -o {out}/d.npy",
    "similarity digits_cnn.onnx --data digits.npz --scale 0.0625 --take 0..100 -o {out}/g.npy",
    "conjugate f.npy --axes axes.npz --slopes axes.npz -o {out}/c.npy",
    "legendre f.npy --axes axes.npz --curvature 3 --pieces 16,16 -o {out}/l.npz",
    "templates digits_relu.onnx --data digits.npz --scale 0.0625 --take 0..100 -o {out}/t.npz",
    "reduce digits_relu.onnx --data digits.npz --labels digits.npz --scale 0.0625 --anchors 0..400 --points 400..800 \
     --clusters 1,10 -o {out}/r.json",
    "polynomial digits_sigmoid.onnx --order 2 --taylor 3 -o {out}/p.json",
    "layers digits_gelu.onnx --data digits.npz --scale 0.0625 --pieces 4,8 --points 0..400 -o {out}/l",
    "difference digits_relu.onnx --data digits.npz --scale 0.0625 --take 0..100 -o {out}/d.npz",
    "sheet digits_relu.onnx --data digits.npz --scale 0.0625 --what templates --rows 0..3 --outputs 0,1 -o {out}/t.png",
];

/// A folder with inputs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for file in fs::read_dir(common::root().join("assets")).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                fs::copy(&path, place.path(path.file_name().unwrap().to_str().unwrap())).unwrap();
            }
        }
        let count = 60;
        let axis: Vec<f64> = (0..count).map(|i| i as f64 * 6.0 / count as f64 - 3.0).collect();
        let f: Vec<f64> =
            axis.iter().flat_map(|x| axis.iter().map(move |y| x * x + (3.0 * x).sin() * y)).collect();
        let shape: &[usize] = &[count];
        fenchel::data::write_npz(
            &place.path("axes.npz"),
            &[("axis0", shape, &axis), ("axis1", shape, &axis)],
        )
        .unwrap();
        fenchel::data::write_npy(&place.path("f.npy"), &[count, count], &f).unwrap();
        let data = "--data digits.npz --scale 0.0625";
        for prepared in [
            format!("plane digits_relu.onnx {data} --through 0,1,2 -o plane.npz"),
            format!("fit digits_gelu.onnx {data} --take 0..300 --curvature 3 -o spline"),
        ] {
            place.run(&prepared, None);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program on so many threads.
    fn run(&self, arguments: &str, threads: Option<usize>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fenchel"));
        command.current_dir(self.0.path()).args(arguments.split_whitespace());
        if let Some(threads) = threads {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "fenchel {arguments}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a job writes.
    fn results(&self, job: &str, more: &str, threads: Option<usize>) -> BTreeMap<PathBuf, Vec<u8>> {
        let out = self.path("out");
        fs::create_dir(&out).unwrap();
        self.run(&format!("{} {more}", job.replace("{out}", "out")), threads);
        let mut files = BTreeMap::new();
        gather(&out, &mut files);
        fs::remove_dir_all(&out).unwrap();
        assert!(!files.is_empty(), "fenchel {job} writes nothing");
        files
    }
}

fn gather(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            gather(&path, files);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|end| end == "json") {
            let mut document: Value = serde_json::from_slice(&bytes).unwrap();
            forget_circumstances(&mut document);
            bytes = serde_json::to_vec(&document).unwrap();
        }
        files.insert(path, bytes);
    }
}

/// How long something took, and on how many threads, is no result.
fn forget_circumstances(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            fields.retain(|name, _| !(name.contains("seconds") || name == "device" || name == "runs"));
            fields.values_mut().for_each(forget_circumstances);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_circumstances),
        _ => {}
    }
}

fn same(job: &str, how: &str, found: &BTreeMap<PathBuf, Vec<u8>>, first: &BTreeMap<PathBuf, Vec<u8>>) {
    assert!(found.keys().eq(first.keys()), "fenchel {job}: other files {how}");
    for (path, bytes) in found {
        assert!(bytes == &first[path], "fenchel {job}: '{}' differs {how}", path.display());
    }
}

#[test]
fn repeats_and_threads_change_no_bit() {
    let place = Place::new();
    for job in JOBS {
        let first = place.results(job, "--device cpu", None);
        for repeat in 1..REPEATS {
            same(job, &format!("in repeat {repeat}"), &place.results(job, "--device cpu", None), &first);
        }
        for threads in THREADS {
            same(
                job,
                &format!("on {threads} threads"),
                &place.results(job, "--device cpu", Some(threads)),
                &first,
            );
        }
    }
    eprintln!("{} jobs: {REPEATS} repeats, and {THREADS:?} threads, with the same bits", JOBS.len());
}

/// Jobs of which it is promised.
#[test]
fn memory_changes_no_bit() {
    let place = Place::new();
    let promised = ["eval ", "sweep ", "run ", "render ", "distance ", "templates "];
    let jobs = JOBS.iter().filter(|job| promised.iter().any(|verb| job.starts_with(verb)));
    let mut count = 0;
    for job in jobs {
        let results = |more: &str| {
            let mut files = place.results(job, more, None);
            // The command line stands in pictures.
            files.retain(|path, _| path.extension().is_none_or(|end| end != "png"));
            files
        };
        let first = results("--device cpu");
        for memory in ["24MiB", "40MiB", "2GiB"] {
            let found = results(&format!("--device cpu --memory {memory}"));
            same(job, &format!("within {memory}"), &found, &first);
            count += 1;
        }
    }
    eprintln!("{count} jobs within other memory, with the same bits");
    assert!(count >= 18);
}

#[test]
fn repeats_change_no_bit_on_the_gpu() {
    if common::gpu().is_none() {
        return;
    }
    let place = Place::new();
    let jobs = [
        "run moons.onnx --data moons.npz --jacobian {out}/j.npy -o {out}/y.npy",
        "fit moons.onnx --data moons.npz --take 0..40 --curvature 3 -o {out}/s.safetensors",
        "sweep moons.onnx --data moons.npz --anchors 0..40 --points 40..80 --pieces 10,40 --curvature 1,3 -o {out}/sweep",
        "render moons.onnx --plane small.npz --what value --outputs 0 --size 24x16 -o {out}/v.png",
        "distance moons.onnx --data moons.npz --take 0..30 -o {out}/d.npy",
        "similarity moons.onnx --data moons.npz --take 0..30 -o {out}/g.npy",
    ];
    place.run("plane moons.onnx --data moons.npz --domain -o small.npz", None);
    for job in jobs {
        let first = place.results(job, "--device gpu", None);
        for repeat in 1..4 {
            same(job, &format!("in repeat {repeat}"), &place.results(job, "--device gpu", None), &first);
        }
        same(job, "on 3 threads", &place.results(job, "--device gpu", Some(3)), &first);
    }
}
