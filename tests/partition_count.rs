//! Counting regions without keeping them, and networks whose polygons are worked on with what may bend alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::HashSet;

use common::place::Place;
use common::{dense, mlp};
use fenchel::engine::{Activation, Context};
use fenchel::network::Network;
use fenchel::regions::Partition;
use fenchel::tolerance::EXACT;

fn deep(seed: u64, width: usize, layers: usize, activation: Activation) -> Network {
    let mut builder = Network::builder();
    builder.input("x", &[2]).unwrap();
    let mut from = 2;
    for layer in 0..layers as u64 {
        builder.layer(dense(seed + 10 * layer, from, width)).unwrap();
        builder.layer(activation).unwrap();
        from = width;
    }
    let end = builder.layer(dense(seed + 1000, width, 3)).unwrap();
    builder.finish(&[end]).unwrap()
}

#[test]
fn a_count_is_that_of_the_partition() {
    let context = Context::default();
    let small = Context::default().with_memory(8 << 20);
    for network in [
        mlp(1, [2, 20, 2], Activation::Relu),
        deep(2, 24, 4, Activation::Relu),
        deep(3, 16, 4, Activation::LeakyRelu { slope: 0.1 }),
        deep(4, 10, 3, Activation::Clip { low: -0.3, high: 0.2 }),
        deep(5, 10, 3, Activation::Abs),
    ] {
        let whole = Partition::new(&network, &context).unwrap();
        for context in [&context, &small] {
            let count = Partition::count(&network, context).unwrap();
            assert_eq!((count.regions, count.tiny), (whole.len() as u64, whole.tiny() as u64));
            assert!((count.area - whole.area()).abs() < EXACT);
            assert_eq!(count.layers, whole.layers());
        }
        // One region for each code, and what meets does so all along.
        let codes: HashSet<&[u32]> = whole.regions().map(|region| region.code).collect();
        assert!(codes.len() == whole.len() && whole.len() > 20);
        let mesh = whole.mesh();
        let [v, e, f] = [whole.vertices().len(), mesh.edges.len(), whole.len()].map(|n| n as i64);
        assert_eq!((mesh.open, v - e + f), (0, 1));
    }
}

#[test]
fn the_program_counts_without_a_file() {
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    place.succeed("plane moons.onnx --data moons.npz --domain -o plane.npz");
    let kept = place.succeed("partition moons.onnx --plane plane.npz -o p.json");
    let counted = place.succeed("partition moons.onnx --plane plane.npz --count");
    let written = place.succeed("partition moons.onnx --plane plane.npz --count -o c.json");
    for found in [&counted, &written] {
        assert_eq!(
            (&found["count"], &found["label"], &found["tiny"]),
            (&kept["count"], &kept["label"], &kept["tiny"])
        );
    }
    assert!(place.path("c.json").exists());
    for wrong in ["--count --npz p.npz", "--count --svg p.svg", ""] {
        let (code, _, text) = place.run(&format!("partition moons.onnx --plane plane.npz {wrong}"));
        assert!(code == Some(2) && text.starts_with("error: "), "{wrong}: {text}");
    }
}

#[test]
fn a_budget_ends_a_count() {
    let context = Context::default();
    let network = deep(2, 24, 4, Activation::Relu);
    let all = Partition::count(&network, &context).unwrap();
    assert!(!all.capped && all.regions > 100);
    // Of exactly so many none is left out.
    for budget in [all.regions, all.regions + 1, u64::MAX] {
        let count = Partition::count_up_to(&network, budget, &context).unwrap();
        assert_eq!((count.regions, count.capped, count.tiny), (all.regions, false, all.tiny));
    }
    for budget in [1, 20, all.regions - 1] {
        let count = Partition::count_up_to(&network, budget, &context).unwrap();
        assert_eq!((count.regions, count.capped), (budget, true));
    }
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    place.succeed("plane moons.onnx --data moons.npz --domain -o plane.npz");
    let capped = place.succeed("partition moons.onnx --plane plane.npz --count --budget 7");
    assert_eq!((&capped["label"], &capped["count"]), (&"capped".into(), &7.into()));
    assert!(capped.get("area").is_none() && capped.get("tiny").is_none());
    let (code, _, text) = place.run("partition moons.onnx --plane plane.npz --budget 7 -o p.json");
    assert!(code == Some(2) && text.contains("--count"), "{text}");
}
