//! Jobs that are killed, run out of disk or are interrupted, at random moments: what is there is whole, and a sweep goes
//! on to the same bits.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fenchel::data::{Dataset, ReadOptions, write_npy, write_npz};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fenchel");

/// Rows that are measured together, chunk by chunk of their points, and rows that are made one by one.
const SWEEP: &str = "sweep digits_cnn.onnx --data digits.npz --labels digits.npz --scale 0.0625 --anchors 0..800 \
                     --points 1400..1797 --seeds 4 --curvature 1,2,3 --select random,farthest --pieces 10,100,300 \
                     --memory 8MiB -o sweep";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.fill();
        place
    }

    fn fill(&self) {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        for name in [
            "digits_cnn.onnx",
            "digits_gelu.onnx",
            "digits_relu.onnx",
            "digits.npz",
            "moons.onnx",
            "moons.npz",
        ] {
            fs::copy(assets.join(name), self.path(name)).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn start(&self, mut command: Command) -> Child {
        command.current_dir(self.0.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn spawn(&self, arguments: &str) -> Child {
        let mut command = Command::new(PROGRAM);
        command.args(arguments.split_whitespace());
        self.start(command)
    }

    fn done(&self, arguments: &str) {
        let (code, said) = ended(self.spawn(arguments));
        assert_eq!((code, said.as_str()), (Some(0), ""), "fenchel {arguments}");
    }

    /// Everything that is there, by its name.
    fn names(&self) -> BTreeSet<String> {
        listed(self.0.path())
    }
}

/// Names of files in a folder and below.
fn listed(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in fs::read_dir(folder).into_iter().flatten() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            names.extend(listed(&path).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            names.insert(name);
        }
    }
    names
}

/// Its exit code and what it said.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn signal(child: &Child, name: &str) {
    // It may have ended by now.
    let _ = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
}

/// How far a sweep is: points that are judged on in the rows that are measured together, and rows made one by one. All
/// that is there must be whole, while the sweep runs too.
fn progress(folder: &Path, runs: bool) -> (u64, usize) {
    for name in listed(folder) {
        let known = ["checkpoint.json", "rows.csv", "rows.json", "sweep.svg"].contains(&name.as_str());
        assert!(known || name.starts_with(".fenchel-"), "what is '{name}'?");
    }
    let json = |name: &str| {
        let bytes = fs::read(folder.join(name)).ok()?;
        Some(serde_json::from_slice::<Value>(&bytes).unwrap_or_else(|e| panic!("{name} is not whole: {e}")))
    };
    if let Some(rows) = json("rows.json") {
        assert_eq!(rows["rows"].as_array().unwrap().len(), ROWS);
    }
    if let Ok(picture) = fs::read_to_string(folder.join("sweep.svg")) {
        assert!(picture.trim_end().ends_with("</svg>"));
    }
    let Some(checkpoint) = json("checkpoint.json") else { return (0, 0) };
    let made = checkpoint["rows"].as_array().unwrap().len();
    // The table is written after the checkpoint: it may be one step behind it, and is whole. Read later, it may be ahead
    // where the sweep goes on between.
    if let Ok(table) = fs::read_to_string(folder.join("rows.csv")) {
        let mut lines = table.lines();
        let columns = lines.next().unwrap().split(',').count();
        let rows: Vec<&str> = lines.collect();
        assert!(rows.iter().all(|row| row.split(',').count() == columns), "{table}");
        let shared = ROWS / 2;
        let most = if runs { ROWS } else { shared + made };
        assert!((shared + made.saturating_sub(1)..=most).contains(&rows.len()), "{} rows", rows.len());
        assert!(table.ends_with('\n'));
    }
    (checkpoint["state"]["points"].as_u64().unwrap(), made)
}

/// Rows of the sweep: of each of two ways to select pieces 3 numbers of pieces, 3 curvatures and 4 seeds.
const ROWS: usize = 72;

/// The files of a finished sweep.
fn results(folder: &Path) -> Vec<Vec<u8>> {
    ["rows.json", "rows.csv", "sweep.svg"].map(|name| fs::read(folder.join(name)).unwrap()).into()
}

/// The results of a sweep that nothing disturbs, and how long it takes.
fn undisturbed() -> &'static (Vec<Vec<u8>>, Duration) {
    static WHOLE: OnceLock<(Vec<Vec<u8>>, Duration)> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let place = Place::new();
        let start = Instant::now();
        place.done(SWEEP);
        (results(&place.path("sweep")), start.elapsed())
    })
}

#[test]
fn twenty_kills_change_no_bit() {
    let (whole, alone) = undisturbed();
    let place = Place::new();
    let (resume, folder) = (format!("{SWEEP} --resume"), place.path("sweep"));
    let mut rng = ChaCha8Rng::seed_from_u64(71);
    let (mut kills, mut before, mut furthest) = (0, (0, 0), (0, 0));
    while kills < 20 {
        let child = place.spawn(&resume);
        // At any moment, but a sixtieth of the work at least is done each second time.
        if kills % 2 == 1 {
            let begun = Instant::now();
            while progress(&folder, true) == before && begun.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        std::thread::sleep(alone.mul_f64(rng.random_range(0.0..0.04)));
        let seen = progress(&folder, true);
        signal(&child, "KILL");
        let (code, said) = ended(child);
        assert_eq!(said, "");
        if code == Some(0) {
            // It was quicker. From the beginning.
            assert!(results(&folder) == *whole, "kills change the results");
            fs::remove_dir_all(&folder).unwrap();
            before = (0, 0);
            continue;
        }
        assert_eq!(code, None);
        kills += 1;
        let after = progress(&folder, false);
        assert!(after >= seen && seen >= before, "{before:?}, {seen:?}, {after:?}: what was done is lost");
        before = after;
        furthest = furthest.max(after);
    }
    eprintln!("{kills} kills, at {furthest:?} at last; alone it takes {alone:.1?}");
    assert!(furthest > (0, 0));
    place.done(&resume);
    assert_eq!(progress(&folder, false).1, ROWS / 2);
    assert!(results(&folder) == *whole, "kills change the results");
}

/// A job with a limit on the length of the files that it writes, in blocks of half a kilobyte.
fn limited(place: &Place, blocks: u64, arguments: &str) -> (Option<i32>, String) {
    let mut command = Command::new("sh");
    // The signal would kill it; without, the system refuses as it does where a disk is full.
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""), PROGRAM]);
    command.args(arguments.split_whitespace());
    ended(place.start(command))
}

fn one_line(said: &str, words: &str) {
    assert!(said.starts_with("error: cannot write '") && said.lines().count() == 1, "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn files_that_may_not_grow_stop_a_sweep_that_goes_on_later() {
    let (whole, _) = undisturbed();
    let resume = format!("{SWEEP} --resume");
    let largest = whole.iter().map(Vec::len).max().unwrap() as u64;
    let place = Place::new();
    let mut refused = 0;
    for part in [0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95] {
        let (code, said) = limited(&place, (largest as f64 * part / 512.0) as u64, &resume);
        assert_eq!(code, Some(1), "{said}");
        one_line(&said, "File too large");
        refused += 1;
        progress(&place.path("sweep"), false);
        assert!(!place.path("sweep/rows.json").exists());
        assert!(place.names().iter().all(|name| !name.contains(".fenchel-")), "{:?}", place.names());
    }
    eprintln!("{refused} limits on the length of files");
    place.done(&resume);
    assert!(results(&place.path("sweep")) == *whole, "a full disk changes the results");
}

#[test]
fn files_that_may_not_grow_leave_nothing() {
    let place = Place::new();
    place.done("plane digits_gelu.onnx --data digits.npz --scale 0.0625 --through 0,1,2 -o plane.npz");
    let jobs = [
        "run digits_cnn.onnx --data digits.npz --jacobian j.npy -o y.npy",
        "fit digits_cnn.onnx --data digits.npz --curvature 3 -o s.safetensors",
        "render digits_gelu.onnx --plane plane.npz --what value --outputs 0 --size 256x256 -o p.png",
        "partition digits_relu.onnx --plane plane.npz -o r.json --npz r.npz",
        "similarity digits_cnn.onnx --data digits.npz --take 0..300 -o g.npy",
        "distance digits_relu.onnx --data digits.npz --take 0..300 -o d.npy",
        "templates digits_relu.onnx --data digits.npz -o t.npz",
        "polynomial digits_gelu.onnx --order 2 --taylor 3 -o p.json",
    ];
    let before = place.names();
    for job in jobs {
        let (code, said) = limited(&place, 4, job);
        assert_eq!(code, Some(1), "fenchel {job}\n{said}");
        one_line(&said, "File too large");
        assert_eq!(place.names(), before, "fenchel {job}");
    }
}

/// A small disk of its own, where the system lets one have it.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(at);
        let mounted = command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_path_buf()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_a_sweep_that_goes_on_later() {
    let (whole, _) = undisturbed();
    let place = Place::new();
    let Some(_disk) = Disk::mount(&place.path("disk"), 1 << 20) else {
        eprintln!("skipped: no disk of its own can be mounted here");
        return;
    };
    let resume = format!("{} --resume", SWEEP.replace("-o sweep", "-o disk/sweep"));
    let (folder, filler) = (place.path("disk/sweep"), place.path("disk/filler"));
    let mut rng = ChaCha8Rng::seed_from_u64(73);
    let mut full = 0;
    for _ in 0..8 {
        // All that is free but a part of what a sweep needs.
        let room = rng.random_range(0..40 << 10);
        fs::write(&filler, vec![7; (1 << 20) - room - used(&folder)]).unwrap();
        let (code, said) = ended(place.spawn(&resume));
        fs::remove_file(&filler).unwrap();
        progress(&folder, false);
        assert!(listed(&folder).iter().all(|name| !name.starts_with(".fenchel-")));
        if code == Some(0) {
            continue;
        }
        full += 1;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("error: cannot ") && said.lines().count() == 1, "{said}");
        assert!(said.contains("No space left"), "{said}");
    }
    eprintln!("8 disks, {full} of them full");
    assert!(full > 3);
    place.done(&resume);
    assert!(results(&folder) == *whole, "a full disk changes the results");
}

/// Bytes of the pages that files of a folder take.
fn used(folder: &Path) -> usize {
    let lengths =
        fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().metadata().unwrap().len());
    lengths.map(|length| (length as usize).next_multiple_of(4096)).sum()
}

/// Jobs of every verb that can take long, each of some seconds at least if nothing stops it.
const LONG: [&str; 26] = [
    "sweep digits_cnn.onnx --data digits.npz --labels digits.npz --scale 0.0625 --anchors 0..1400 --points 0..1797 \
     --seeds 40 --curvature 1,2,3,4,5,6,7,8 --pieces 10,100,1000 --memory 80MiB -o o",
    "fit digits_gelu.onnx --data x.npy --take 0..20000 --pieces 1000 --refine 3000 --validation 20000..24000 -o o",
    "fit digits_gelu.onnx --data x.npy --take 0..20000 --pieces 3000 --select farthest --validation 20000..24000 -o o",
    "fit digits_cnn.onnx --data x.npy --precision f64 --curvature secant -o o",
    "run digits_cnn.onnx --data x.npy --jacobian j -o o",
    "eval spline --data x.npy -o o",
    "pieces spline --data x.npy -o o",
    "render digits_gelu.onnx --plane plane.npz --what value --outputs 0 --size 16384x16384 -o o",
    "render digits_relu.onnx --plane plane.npz --what region --size 8192x8192 -o o",
    "render digits_gelu.onnx --plane plane.npz --spline spline --what error --outputs 0 --size 8192x8192 -o o",
    "partition digits_relu.onnx --plane wide.npz -o o --npz j",
    "partition digits_relu.onnx --plane wide.npz --count",
    "regions digits_relu.onnx --box 0,1 --budget 1000000 -o o",
    "similarity digits_cnn.onnx --data x.npy --take 0..12000 -o o",
    "similarity digits_cnn.onnx --data x.npy --take 0..4000 --metric block -o o",
    "distance digits_relu.onnx --data x.npy -o o",
    "reduce digits_relu.onnx --data x.npy --labels y.npy --anchors 0..30000 --points 30000..35000 \
     --clusters 1,10,100,1000 -o o",
    "compare digits_relu.onnx digits_cnn.onnx --data x.npy --anchors 0..20000 --points 20000..30000 -o o",
    "polynomial digits_gelu.onnx --order 4 --taylor 8 -o o",
    "layers digits_gelu.onnx --data x.npy --pieces 2,4,8,16,32,64 --points 0..30000 -o o",
    "templates digits_relu.onnx --data x.npy -o o",
    "difference digits_relu.onnx --data x.npy --jacobian -o o",
    "conjugate f.npy --axes axes.npz --slopes axes.npz -o o",
    "conjugate f_of_points.npy --axes points.npz --slopes points.npz -o o",
    "legendre f.npy --axes axes.npz --curvature 3 --pieces 64,64 -o o",
    "bench --seconds 2",
];

/// Inputs that make jobs long.
fn enlarged(place: &Place) {
    let digits = Dataset::open(&place.path("digits.npz"), &ReadOptions::default()).unwrap();
    let rows = digits.rows::<f32>(0..digits.len()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(74);
    let copies = 20;
    let mut many = Vec::with_capacity(copies * rows.len());
    for _ in 0..copies {
        many.extend(rows.iter().map(|v| v / 16.0 + rng.random_range(0.0..0.05_f32)));
    }
    write_npy(&place.path("x.npy"), &[copies * rows.nrows(), 64], &many).unwrap();
    let labels: Vec<u32> = (0..copies * rows.nrows()).map(|i| (i % 10) as u32).collect();
    write_npy(&place.path("y.npy"), &[labels.len()], &labels).unwrap();
    let mut line = |length: usize| -> Vec<f64> { (0..length).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let (u, v, points) = (line(64), line(64), line(100_000 * 4));
    let shape: &[usize] = &[64];
    let wide = |w: Vec<f64>| w.into_iter().map(|w| 300.0 * w).collect::<Vec<_>>();
    let (u, v) = (wide(u), wide(v));
    write_npz(
        &place.path("wide.npz"),
        &[("origin", shape, &vec![0.5; 64]), ("u", shape, &u), ("v", shape, &v)],
    )
    .unwrap();
    write_npz(&place.path("points.npz"), &[("points", &[100_000, 4][..], &points)]).unwrap();
    let squares: Vec<f64> = points.chunks_exact(4).map(|p| p.iter().map(|x| x * x).sum()).collect();
    write_npy(&place.path("f_of_points.npy"), &[100_000], &squares).unwrap();
    let count = 2500;
    let axis: Vec<f64> = (0..count).map(|i| i as f64 * 6.0 / count as f64 - 3.0).collect();
    let axes: [(&str, &[usize], &[f64]); 2] = [("axis0", &[count], &axis), ("axis1", &[count], &axis)];
    write_npz(&place.path("axes.npz"), &axes).unwrap();
    let f: Vec<f64> =
        axis.iter().flat_map(|x| axis.iter().map(move |y| x * x + (3.0 * x).sin() * y + y * y)).collect();
    write_npy(&place.path("f.npy"), &[count, count], &f).unwrap();
}

#[test]
fn every_long_verb_ends_soon_after_an_interrupt() {
    let place = Place::new();
    enlarged(&place);
    place.done("plane digits_gelu.onnx --data x.npy --through 0,1,2 -o plane.npz");
    place.done("fit digits_gelu.onnx --data x.npy --take 0..6000 --curvature 3 -o spline");
    let before = place.names();
    let mut rng = ChaCha8Rng::seed_from_u64(75);
    let (mut worst, mut interrupted) = ((Duration::ZERO, ""), 0);
    for job in LONG {
        for moment in 0..2 {
            let mut child = place.spawn(job);
            std::thread::sleep(Duration::from_millis(rng.random_range(150..400) << (2 * moment)));
            if child.try_wait().unwrap().is_some() {
                eprintln!("done before it was interrupted: fenchel {job}");
            }
            signal(&child, "INT");
            let start = Instant::now();
            let (code, said) = ended(child);
            let took = start.elapsed();
            match code {
                Some(0) => assert_eq!(said, "", "fenchel {job}"),
                // Interrupted before it began to listen.
                None => assert_eq!(said, "", "fenchel {job}"),
                _ => {
                    assert_eq!((code, said.as_str()), (Some(1), "error: interrupted\n"), "fenchel {job}");
                    interrupted += 1;
                    worst = worst.max((took, job));
                }
            }
            assert!(took < Duration::from_secs(5), "it takes {took:?} to stop fenchel {job}");
            for name in place.names().difference(&before) {
                let finished = ["o", "j"].contains(&name.as_str());
                let resumable = ["o/checkpoint.json", "o/rows.csv"].contains(&name.as_str());
                let whole = code == Some(0) && name.starts_with("o/");
                assert!(finished || resumable || whole, "fenchel {job} leaves '{name}'");
            }
            for name in ["o", "j"] {
                let path = place.path(name);
                let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
        }
    }
    let (took, job) = worst;
    eprintln!("{interrupted} interrupts; the slowest end took {took:.2?}: fenchel {job}");
    assert!(interrupted > LONG.len(), "most jobs were done before they were interrupted");
}

#[test]
fn the_demo_ends_soon_after_an_interrupt() {
    let place = Place::new();
    let child = place.spawn("demo");
    std::thread::sleep(Duration::from_millis(400));
    signal(&child, "INT");
    let start = Instant::now();
    let (code, said) = ended(child);
    assert!(start.elapsed() < Duration::from_secs(5));
    if code != Some(0) {
        assert_eq!((code, said.as_str()), (Some(1), "error: interrupted\n"));
    }
    assert!(place.names().iter().all(|name| !name.contains(".fenchel-")), "{:?}", place.names());
}
