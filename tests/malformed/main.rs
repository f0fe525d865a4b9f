//! Ten thousand malformed inputs over all loaders, the same ones in every run: each is refused in one line or gives
//! something that can be used, soon, and without more memory than its bytes can justify. Some go through the program too.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod allocator;
mod attacks;
mod bytes;
mod graphs;
#[path = "../common/loaders.rs"]
mod loaders;
mod program;
#[path = "../common/protobuf.rs"]
mod protobuf;
mod special;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use loaders::{LOADERS, Loader};

/// How many inputs of each kind; ten thousand in all.
const INPUTS: [(&str, usize); 9] = [
    ("onnx", 3800),
    ("npy", 1200),
    ("npz", 1000),
    ("idx", 800),
    ("images", 1000),
    ("splines", 1200),
    ("planes", 300),
    ("enumerations", 200),
    ("checkpoints", 500),
];

/// The longest that an input may take: a hundred times what the slowest takes, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most memory beyond what was there before, for inputs of a few kilobytes: import holds up to 2^24 elements that
/// nodes share, in single precision, and what is read in one block.
const MOST_MEMORY: usize = 128 << 20;

/// The valid files that are damaged; what fuzzing has found lies beside them under names of 40 digits.
fn seeds(kind: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(kind);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.len() < 40));
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The inputs of a kind: attacks on it, and damage from a random stream for each.
fn inputs(kind: &str, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let (seeds, kind) = (seeds(kind), kind.to_owned());
    assert!(!seeds.is_empty());
    let attacks = attacks::on(&kind);
    let damaged = (attacks.len()..count).map(move |i| {
        let mut rng = ChaCha8Rng::seed_from_u64(20_240_607);
        rng.set_stream(i as u64);
        if kind == "onnx" && i % 2 == 1 {
            return graphs::random(&mut rng);
        }
        let seed = &seeds[rng.random_range(0..seeds.len())];
        let other = &seeds[rng.random_range(0..seeds.len())];
        bytes::damaged(&kind, seed, other, &mut rng)
    });
    attacks.into_iter().chain(damaged)
}

/// Ends the test where an input does not end.
struct Watchdog(Mutex<Option<(String, Instant)>>);

impl Watchdog {
    fn start() -> &'static Self {
        let watchdog: &Self = Box::leak(Box::new(Self(Mutex::new(None))));
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(100));
                let doing = watchdog.0.lock().unwrap().clone();
                if let Some((what, since)) = doing
                    && since.elapsed() > PATIENCE
                {
                    eprintln!("{what} takes more than {PATIENCE:?}");
                    std::process::abort();
                }
            }
        });
        watchdog
    }

    fn watch<T>(&self, what: String, act: impl FnOnce() -> T) -> (T, Duration) {
        let start = Instant::now();
        *self.0.lock().unwrap() = Some((what, start));
        let result = act();
        *self.0.lock().unwrap() = None;
        (result, start.elapsed())
    }
}

fn loader(kind: &str) -> Loader {
    LOADERS.iter().find(|(name, _)| *name == kind).unwrap().1
}

#[test]
fn ten_thousand_malformed_inputs() {
    let watchdog = Watchdog::start();
    let (mut all, mut failures) = (0, vec![]);
    for (kind, count) in INPUTS {
        let load = loader(kind);
        let (mut refused, mut largest, mut slowest) = (0, (0, 0), (Duration::ZERO, 0));
        for (i, input) in inputs(kind, count).enumerate() {
            let before = allocator::start();
            let act = || catch_unwind(AssertUnwindSafe(|| load(&input)));
            let (result, took) = watchdog.watch(format!("{kind} {i}"), act);
            largest = largest.max((allocator::peak() - before, i));
            slowest = slowest.max((took, i));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    refused += 1;
                    let message = error.to_string();
                    if message.is_empty() || message.contains('\n') {
                        failures.push(format!("{kind} {i}: {message:?}"));
                    }
                }
                Err(_) => failures.push(format!("{kind} {i} panics")),
            }
        }
        let ((bytes, most), (took, slow)) = (largest, slowest);
        eprintln!(
            "{count} {kind}: {refused} refused; at most {bytes} bytes (input {most}), {took:.1?} (input {slow})"
        );
        if bytes > MOST_MEMORY {
            failures.push(format!("{kind} {most} takes {bytes} bytes"));
        }
        // Damage that changes a value alone is not seen; most of it is.
        assert!(refused > count / 3, "only {refused} of {count} are refused: what is damaged here?");
        all += count;
    }
    eprintln!("{all} malformed inputs, {} failures", failures.len());
    assert_eq!(all, 10_000);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_program_refuses_in_one_line() {
    let watchdog = Watchdog::start();
    for (kind, _) in INPUTS {
        let mut refused = 0;
        for (i, input) in inputs(kind, 24).enumerate() {
            let (done, _) =
                watchdog.watch(format!("{kind} {i} in the program"), || program::takes(kind, &input));
            refused += usize::from(!done);
        }
        eprintln!("24 {kind}: {refused} refused by the program");
        assert!(refused > 8, "only {refused} of 24 {kind} are refused");
    }
}
