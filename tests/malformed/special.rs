//! What is no damage of a file: pipes in the place of files, and what only a forger writes.

use std::fs;
use std::path::Path;
use std::process::Command;

use fenchel::data::{Dataset, NpzEntry, NpzWriter, OutputFile, ReadOptions, read_array};
use fenchel::network::onnx::{LoadOptions, load};
use fenchel::regions::Enumeration;
use fenchel::spline::SplineFile;
use fenchel::{engine::Context, render::read_plane};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fenchel");

fn asset(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

/// To open a pipe would wait for ever for its other end.
#[cfg(unix)]
#[test]
fn pipes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let messages = [
        load(&pipe, &LoadOptions::default()).unwrap_err(),
        Dataset::open(&pipe, &ReadOptions::default()).unwrap_err(),
        read_array(&pipe, None).unwrap_err(),
        read_plane(&pipe).unwrap_err(),
        SplineFile::open(&pipe).unwrap_err(),
    ];
    for message in messages.map(|error| error.to_string()) {
        assert!(message.contains("no regular file"), "{message}");
    }
}

#[test]
fn a_checkpoint_of_more_than_its_sweep_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["moons.onnx", "moons.npz"] {
        fs::copy(asset(name), folder.path().join(name)).unwrap();
    }
    let sweep = "sweep moons.onnx --data moons.npz --anchors 0..20 --points 20..60 --pieces 5,9 --curvature 1 \
                 --select random,farthest -o out --resume";
    let run = || {
        let arguments = sweep.split_whitespace();
        Command::new(PROGRAM).current_dir(folder.path()).args(arguments).output().unwrap()
    };
    assert!(run().status.success());
    let path = folder.path().join("out/checkpoint.json");
    let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let forged = |change: &dyn Fn(&mut Value)| {
        let mut checkpoint = whole.clone();
        change(&mut checkpoint);
        fs::write(&path, checkpoint.to_string()).unwrap();
        let output = run();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains("checkpoint.json' is damaged"), "{said}");
    };
    forged(&|checkpoint| {
        let rows = checkpoint["rows"].as_array_mut().unwrap();
        rows.push(rows[0].clone());
    });
    forged(&|checkpoint| checkpoint["state"]["points"] = 41.into());
    forged(&|checkpoint| checkpoint["state"]["rows"].as_array_mut().unwrap().truncate(1));
    forged(&|checkpoint| checkpoint["state"]["rows"][0]["agree"] = u64::MAX.into());
    forged(&|checkpoint| checkpoint["state"]["rows"][0]["squared"] = (-1.0).into());
    fs::write(&path, whole.to_string()).unwrap();
    assert!(run().status.success());
}

#[test]
fn a_state_of_pieces_that_units_do_not_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.npz");
    let network = load(&asset("moons.onnx"), &LoadOptions::default()).unwrap().network;
    let (limits, context) = ([-1.0, 1.0], Context::default());
    let mut enumeration = Enumeration::new(&network, limits, &context).unwrap();
    enumeration.run(5, &context).unwrap();
    enumeration.save(&path).unwrap();
    assert_eq!(Enumeration::resume(&network, limits, &path, &context).unwrap().len(), enumeration.len());
    let names = ["limits", "network", "unresolved", "code", "centre", "inradius", "open"];
    let forged = |changed: &str, change: &dyn Fn(&mut Vec<f64>)| {
        let forgery = folder.path().join("forgery.npz");
        let arrays = names.map(|name| {
            let array = read_array(&path, Some(name)).unwrap();
            let mut values: Vec<f64> = array.iter().copied().collect();
            if name == changed {
                change(&mut values);
            }
            values
        });
        let shapes = arrays.each_ref().map(|values| [values.len()]);
        let entries = (0..names.len()).map(|i| NpzEntry::new::<f64>(names[i], &shapes[i]));
        let mut writer = NpzWriter::create(OutputFile::create(&forgery).unwrap(), entries).unwrap();
        for (name, values) in names.iter().zip(&arrays) {
            writer.append(name, values).unwrap();
        }
        writer.finish().unwrap();
        Enumeration::resume(&network, limits, &forgery, &context).map(drop)
    };
    forged("none", &|_| {}).unwrap();
    let last = |value: f64| move |values: &mut Vec<f64>| *values.last_mut().unwrap() = value;
    for (name, value) in [
        ("code", 0.5),
        ("code", -1.0),
        ("code", 1e20),
        ("centre", f64::NAN),
        ("centre", 3.0),
        ("inradius", f64::INFINITY),
        ("inradius", 0.0),
        ("open", 7.0),
        ("open", 1e10),
    ] {
        let message = forged(name, &last(value)).unwrap_err().to_string();
        assert!(message.contains("do not belong together"), "{name} {value}: {message}");
    }
}
