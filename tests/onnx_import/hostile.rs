//! Files that are not what they seem: each is one clear error, at little cost.

use std::fs;
use std::path::Path;

use fenchel::network::onnx::{LoadOptions, from_bytes, load};
use fenchel::{Error, Result};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rten_onnx::onnx::{DataLocation, DataType, StringStringEntryProto, TensorProto};

use crate::model::{Graph, graph, ints, raw, weights};
use crate::protobuf::field;

fn open(path: &Path) -> Result<()> {
    load(path, &LoadOptions::default()).map(|_| ())
}

/// Checks that a file of these bytes is refused by one line that begins with its name.
fn refused(bytes: &[u8], words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.onnx");
    fs::write(&path, bytes).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.starts_with(&format!("'{}' ", path.display())) && message.contains(words), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn files_that_are_no_models() {
    refused(b"", "it is empty");
    refused(b"\x80\x02]q\x00(K\x01K\x02e.", "no valid ONNX file");
    refused(b"import numpy as np\n", "no valid ONNX file");
    refused(&[0xff; 64], "a number does not end");
    refused(&[0; 64], "a field has the number 0");
    refused(&graph(13, &[2]).bytes()[..20], "no valid ONNX file");
    // A model without its graph.
    refused(&[8, 8, 0x42, 4, 0x0a, 0, 0x10, 13], "holds no graph");
    refused(&[8, 8], "names no opset");
    // The name of the producer is no UTF-8.
    refused(&[0x12, 2, 0xc3, 0x28], "UTF-8");
    let folder = tempfile::tempdir().unwrap();
    assert!(open(folder.path()).unwrap_err().to_string().contains("is a folder"));
    assert!(matches!(open(&folder.path().join("none.onnx")), Err(Error::Io { .. })));
}

#[test]
fn lengths_that_the_file_does_not_have() {
    // The decoder alone would set aside 2^40 bytes, jump backwards for ever, and never finish the last number.
    refused(&[0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20], "longer than what holds it");
    refused(&[0x7a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "longer than what holds it");
    refused(&[[8].as_slice(), &[0xff; 20]].concat(), "a number does not end");
}

#[test]
fn messages_without_end() {
    let mut deep = vec![];
    for _ in 0..50_000 {
        deep = field(1, &field(5, &field(6, &deep)));
        if deep.len() > 1 << 16 {
            break;
        }
    }
    refused(&field(7, &deep), "too deep");
    let mut sequence = vec![];
    while sequence.len() < 1 << 12 {
        sequence = field(4, &field(1, &sequence));
    }
    refused(&field(7, &field(11, &field(2, &sequence))), "too deep");
    refused(&field(7, &[0x0a, 0].repeat(1 << 21)), "strings and messages");
}

#[test]
fn shapes_that_the_data_do_not_fill() {
    let add =
        |tensor: TensorProto| graph(13, &[2]).initializer(tensor).last("Add", &["x", "c"], vec![]).bytes();
    refused(&add(raw("c", &[-1], DataType::FLOAT, vec![0; 4])), "the constant 'c' has the shape [-1]");
    refused(&add(raw("c", &[i64::MAX, 4], DataType::FLOAT, vec![0; 4])), "has the shape");
    refused(&add(raw("c", &[1 << 62], DataType::FLOAT, vec![0; 4])), "has the shape");
    refused(&add(raw("c", &[1 << 40], DataType::FLOAT, vec![0; 4])), "needs 4398046511104 bytes and has 4");
    refused(&add(raw("c", &[2], DataType::FLOAT, vec![0; 7])), "needs 8 bytes and has 7");
    refused(&add(raw("c", &[1; 1000], DataType::FLOAT, vec![0; 4])), "1000 axes");
    let mut typed = raw("c", &[2], DataType::FLOAT, vec![]);
    typed.float_data = vec![1.0; 3];
    refused(&add(typed.clone()), "needs 2 elements and has 3");
    typed.raw_data = Some(vec![0; 8].into());
    refused(&add(typed.clone()), "twice");
    typed = raw("c", &[2], DataType::FLOAT, vec![]);
    typed.int64_data = vec![1; 2];
    refused(&add(typed), "elements of another type");
    let pads = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1 << 40; 4])];
    graph(13, &[1, 4, 4]).last("MaxPool", &["x"], pads).refused("up to 32768 is supported");
    let image = |rows| graph(13, &[1, rows, 1]).last("MaxPool", &["x"], vec![ints("kernel_shape", &[1, 1])]);
    image(1 << 25).refused("rows or columns");
    image(1 << 39).refused("has samples of shape [1, 549755813888, 1]");
}

/// A model whose weights `c [2]` lie where `entries` say.
fn external(entries: &[(&str, &str)]) -> Graph {
    let pairs = entries
        .iter()
        .map(|&(key, value)| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) });
    let tensor = TensorProto {
        name: Some("c".into()),
        dims: vec![2],
        data_type: Some(DataType::FLOAT),
        external_data: pairs.collect(),
        data_location: Some(DataLocation::EXTERNAL),
        ..Default::default()
    };
    graph(13, &[2]).initializer(tensor).last("Add", &["x", "c"], vec![])
}

#[test]
fn external_weights_lie_beside_or_below_the_model() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("models");
    fs::create_dir_all(folder.join("below")).unwrap();
    let bytes: Vec<u8> = [9.0_f32, 1.5, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    for place in [folder.join("w.bin"), folder.join("below/w.bin"), outer.path().join("secret.bin")] {
        fs::write(place, &bytes).unwrap();
    }
    let path = folder.join("model.onnx");
    let load = |entries: &[(&str, &str)]| {
        fs::write(&path, external(entries).bytes()).unwrap();
        load(&path, &LoadOptions::default())
    };
    for location in ["w.bin", "./w.bin", "below/w.bin"] {
        let model = load(&[("location", location), ("offset", "4"), ("length", "8")]).unwrap();
        assert_eq!(crate::model::run(&model, &[1.0, 1.0]).0, [2.5, -1.0]);
    }
    let before = load(&[("location", "w.bin"), ("offset", "4")]).unwrap().fingerprint;
    fs::write(folder.join("w.bin"), [7; 12]).unwrap();
    assert_ne!(before, load(&[("location", "w.bin"), ("offset", "4")]).unwrap().fingerprint);
    let secret = outer.path().join("secret.bin");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&secret, folder.join("link.bin")).unwrap();
    let outside = "only beside or below the model";
    let mut cases = vec![
        (vec![("location", "../secret.bin")], outside),
        (vec![("location", "below/../../secret.bin")], outside),
        (vec![("location", secret.to_str().unwrap())], outside),
        (vec![("location", "")], outside),
        (vec![], "names no external file"),
        (vec![("location", "none.bin")], "cannot be read"),
        (vec![("location", "below")], "no regular file"),
        (vec![("location", "w.bin"), ("offset", "-4")], "has the offset '-4'"),
        (vec![("location", "w.bin"), ("offset", "8")], "which has 12 bytes"),
        (vec![("location", "w.bin"), ("offset", "18446744073709551615")], "which has 12 bytes"),
        (vec![("location", "w.bin"), ("length", "9")], "needs 8 bytes"),
    ];
    if cfg!(unix) {
        cases.push((vec![("location", "link.bin")], outside));
    }
    for (entries, words) in cases {
        let message = load(&entries).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("'c'"), "{message}");
    }
    external(&[("location", "w.bin")]).refused("not in a file");
}

#[test]
fn external_weights_are_shared_by_few() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.bin"), [0; 8]).unwrap();
    let path = folder.path().join("model.onnx");
    let sharing = |constants: usize| {
        // Its weight, not its sum.
        let mut graph = external(&[("location", "w.bin")]);
        graph.proto.node.clear();
        let first = graph.proto.initializer[0].clone();
        let mut sum = "x".to_owned();
        for i in 0..constants {
            let name = format!("c{i}");
            graph = graph.initializer(TensorProto { name: Some(name.clone()), ..first.clone() });
            graph = graph.node("Mul", &[&sum, &name], &[&format!("s{i}")], vec![]);
            sum = format!("s{i}");
        }
        fs::write(&path, graph.last("Relu", &[&sum], vec![]).bytes()).unwrap();
        open(&path)
    };
    sharing(6).unwrap();
    let message = sharing(1000).unwrap_err().to_string();
    assert!(message.contains("'w.bin', which is read more than 8 times over"), "{message}");
}

#[test]
fn long_graphs() {
    let mut long = graph(13, &[2]);
    for i in 0..5000 {
        let input = if i == 0 { "x".to_owned() } else { format!("v{}", i - 1) };
        long = long.node("Relu", &[&input], &[&format!("v{i}")], vec![]);
    }
    let mut long = long.last("Tanh", &["v4999"], vec![]);
    long.proto.node.reverse();
    assert_eq!(long.load().unwrap().network.nodes().len(), 5002);
    // Each node makes a transposed copy of the one matrix.
    let mut shared = graph(13, &[1000]).weights("w", &[1000, 1000], &weights(1_000_000));
    for i in 0..40 {
        let input = if i == 0 { "x".to_owned() } else { format!("v{}", i - 1) };
        shared =
            shared.node("Gemm", &[&input, "w"], &[&format!("v{i}")], vec![crate::model::int("transB", 1)]);
    }
    shared.last("Relu", &["v39"], vec![]).refused("far more constants than the file");
}

/// A small model with many kinds of fields.
fn small() -> Vec<u8> {
    let graph = graph(13, &[1, 4, 4]).weights("w", &[2, 1, 2, 2], &weights(8)).integers("s", &[0, -1]);
    let graph = graph.weights("g", &[2, 3], &weights(6)).weights("c", &[3], &weights(3));
    let graph = graph.node("Conv", &["x", "w"], &["a"], vec![ints("strides", &[2, 2])]);
    let graph = graph.node("Relu", &["a"], &["r"], vec![]);
    let graph = graph.node("MaxPool", &["r"], &["p"], vec![ints("kernel_shape", &[2, 2])]);
    let graph = graph.node("Reshape", &["p", "s"], &["f"], vec![]);
    graph.last("Gemm", &["f", "g", "c"], vec![]).bytes()
}

/// Imports whatever it is; an error must have one line.
fn survive(bytes: &[u8]) -> bool {
    match from_bytes(bytes, None, &LoadOptions::default()) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            false
        }
    }
}

#[test]
fn every_prefix_is_survived() {
    let bytes = small();
    assert!(survive(&bytes));
    for length in 0..bytes.len() {
        survive(&bytes[..length]);
    }
}

#[test]
fn flipped_bytes_are_survived() {
    let bytes = small();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut imported = 0;
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..damaged.len());
            damaged[at] = rng.next_u32() as u8;
        }
        imported += usize::from(survive(&damaged));
    }
    // Some flips only change a weight; most break something.
    assert!(imported > 100 && imported < 19_000, "{imported}");
}
