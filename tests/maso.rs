//! Templates, their correlations, and distances between codes: against plain loops in f64.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::{HashMap, HashSet};

use common::{dense, gpu, load, mlp, published, random, random_rows, root};
use fenchel::data::{Dataset, array_names, read_array};
use fenchel::engine::{Activation, Context, Cpu, Window};
use fenchel::maso::{
    Codes, Distances, LayerChoice, Orthogonality, Packed, correlation, gram, last_layer_penalty, penalty,
    populations, smooth_nodes, templates,
};
use fenchel::network::Network;
use fenchel::network::operators::{MaxPool, Reshape};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, ArrayView2};

fn dataset(x: &Array2<f64>) -> Dataset {
    Dataset::from_array(x.view()).unwrap()
}

/// `A` and `b` of all outputs.
fn all_templates(network: &Network, x: &Array2<f64>, context: &Context) -> fenchel::Result<[Vec<f64>; 2]> {
    let engine = Cpu::<f64>::new();
    let program = network.compile(&engine).unwrap();
    let outputs: Vec<usize> = (0..program.outputs()).collect();
    let (mut slopes, mut offsets) = (vec![], vec![]);
    templates(&program, &dataset(x), &outputs, false, context, |block| {
        slopes.extend(block.slopes);
        offsets.extend(block.offsets);
        Ok(())
    })?;
    Ok([slopes, offsets])
}

fn values(network: &Network, x: &Array2<f64>) -> Vec<f64> {
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    program.values(x.view(), &Context::default()).unwrap().into_raw_vec_and_offset().0
}

/// `A x + b` for the rows of `x`, which have the templates of as many rows.
fn affine([slopes, offsets]: &[Vec<f64>; 2], x: &Array2<f64>) -> Vec<f64> {
    let outputs = offsets.len() / x.nrows();
    let rows = slopes.chunks(x.ncols()).zip(offsets).enumerate();
    rows.map(|(i, (a, b))| a.iter().zip(x.row(i / outputs)).map(|(a, x)| a * x).sum::<f64>() + b).collect()
}

fn codes_of(network: &Network, x: &Array2<f64>, layers: &LayerChoice) -> (Codes<Cpu<f64>>, Packed) {
    let codes = Codes::new(&Cpu::new(), &layers.part(network).unwrap(), layers, "the test").unwrap();
    let packed = codes.of(&dataset(x), &Context::default()).unwrap();
    (codes, packed)
}

#[test]
fn templates_are_the_network_around_each_input() {
    for (name, arrays) in
        [("moons", "moons.npz"), ("digits_relu", "digits.npz"), ("digits_cnn", "digits.npz")]
    {
        let network = load(&root().join(format!("assets/{name}.onnx")));
        let x = read_array(&root().join("assets").join(arrays), Some("x")).unwrap();
        let width = x.len() / x.shape()[0];
        let x: Vec<f64> = x.iter().take(30 * width).map(|v| v / 16.0).collect();
        let x = Array2::from_shape_vec((30, width), x).unwrap();
        let found = all_templates(&network, &x, &Context::default()).unwrap();
        assert!(relative_difference(affine(&found, &x), values(&network, &x)) < EXACT, "{name}");
        // And in the region of each: at other points of the same code. Black pixels stay black, so that windows that are
        // equal stay so.
        let near = &x * (1.0 + 1e-4 * &random_rows(5, 30, width));
        let all = LayerChoice::All;
        let (codes, of_x) = codes_of(&network, &x, &all);
        let (_, of_near) = codes_of(&network, &near, &all);
        let same: Vec<usize> =
            (0..30).filter(|&i| codes.differing(of_x.row(i), of_near.row(i)) == 0).collect();
        assert!(same.len() > 10, "{name}: {}", same.len());
        let (there, exact) = (affine(&found, &near), values(&network, &near));
        let outputs = exact.len() / 30;
        let of = |all: &[f64]| -> Vec<f64> {
            same.iter().flat_map(|&i| all[i * outputs..][..outputs].to_vec()).collect()
        };
        assert!(relative_difference(of(&there), of(&exact)) < EXACT, "{name}");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
fn templates_of_published_networks_are_their_golden_jacobians() {
    let published = published();
    if published.is_empty() {
        return;
    }
    let mut seen = 0;
    for [path, golden] in published {
        let network = load(&path);
        if !smooth_nodes(&network).is_empty() {
            continue;
        }
        let names = array_names(&golden).unwrap();
        let has = |name: &str| names.iter().any(|other| other == name);
        let x = read_array(&golden, Some("x")).unwrap();
        let width = x.len() / x.shape()[0];
        let rows = x.shape()[0].min(4);
        let x =
            Array2::from_shape_vec((rows, width), x.iter().copied().take(rows * width).collect()).unwrap();
        let found = all_templates(&network, &x, &Context::default()).unwrap();
        assert!(relative_difference(affine(&found, &x), values(&network, &x)) < EXACT, "{}", path.display());
        let y = read_array(&golden, Some(if has("y64") { "y64" } else { "y" })).unwrap();
        let y: Vec<f64> = y.iter().copied().take(found[1].len()).collect();
        assert!(relative_difference(affine(&found, &x), y) < CLOSE, "{}", path.display());
        if has("jacobian") {
            let jacobian = read_array(&golden, Some("jacobian")).unwrap();
            let count = found[0].len().min(jacobian.len());
            let jacobian: Vec<f64> = jacobian.iter().copied().take(count).collect();
            let off = relative_difference(found[0][..count].iter().copied(), jacobian);
            assert!(off < CLOSE, "{}: {off:e}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 4, "{seen} piecewise affine networks");
}

#[test]
fn memory_changes_no_bit_of_templates() {
    // 5 outputs of 300 inputs: backward, one output after the other where memory is short.
    let network = mlp(3, [300, 40, 5], Activation::Relu);
    let x = random_rows(4, 9, 300);
    let all = all_templates(&network, &x, &Context::default()).unwrap();
    let mut budget = 1 << 20;
    let (mut sizes, mut refused) = (HashSet::new(), None);
    while refused.is_none() {
        match all_templates(&network, &x, &Context::default().with_memory(budget)) {
            Ok(found) => assert_eq!(found, all, "{budget}"),
            Err(error) => refused = Some(error.to_string()),
        }
        let program = network.compile(&Cpu::<f64>::new()).unwrap();
        sizes.insert(program.chunks(9, Some(5), budget).map_or(0, |chunks| chunks.size()));
        budget -= budget / 8;
    }
    assert!(refused.unwrap().contains("raise --memory") && sizes.len() > 3 && sizes.contains(&0));
}

#[test]
fn smooth_nodes_are_those_that_vary() {
    let network = mlp(3, [3, 4, 2], Activation::Tanh);
    let names: Vec<&str> = smooth_nodes(&network).iter().map(|node| node.name()).collect();
    assert_eq!(names, ["Tanh2", "Tanh4"]);
    assert!(smooth_nodes(&mlp(3, [3, 4, 2], Activation::Abs)).is_empty());
}

#[test]
fn penalties_and_their_gradient_by_loops() {
    let (k, d) = (4, 7);
    let weights = random(6, k * d);
    let product = |w: &[f64], i: usize, j: usize| (0..d).map(|l| w[i * d + l] * w[j * d + l]).sum::<f64>();
    let by_loops = |w: &[f64]| {
        let pairs = (0..k).flat_map(|i| (0..k).map(move |j| (i, j))).filter(|(i, j)| i != j);
        pairs.map(|(i, j)| product(w, i, j).powi(2)).sum::<f64>()
    };
    let view = ArrayView2::from_shape((k, d), &weights).unwrap();
    let (value, gradient) = last_layer_penalty(view);
    let expected = by_loops(&weights);
    assert!((value / expected - 1.0).abs() < EXACT && (penalty(&gram(view)) / expected - 1.0).abs() < EXACT);
    let step = 1e-5;
    let differences: Vec<f64> = (0..k * d)
        .map(|i| {
            let at = |step: f64| {
                let mut moved = weights.clone();
                moved[i] += step;
                by_loops(&moved)
            };
            (at(step) - at(-step)) / (2.0 * step)
        })
        .collect();
    assert!(relative_difference(gradient.iter().copied(), differences) < 1e-3 * CLOSE);
    // Cosines; a template of zeros is like none.
    let mut weights = weights;
    weights[d..2 * d].fill(0.0);
    let found = correlation(&gram(ArrayView2::from_shape((k, d), &weights).unwrap()));
    for ((i, j), &cosine) in found.indexed_iter() {
        let size = (product(&weights, i, i) * product(&weights, j, j)).sqrt();
        let expected = if size > 0.0 { product(&weights, i, j) / size } else { 0.0 };
        assert!((cosine - expected).abs() < EXACT, "{i} {j}");
    }
}

#[test]
fn orthogonality_is_the_mean_over_inputs() {
    let network = mlp(8, [5, 20, 3], Activation::Relu);
    let x = random_rows(9, 12, 5);
    let [slopes, _] = all_templates(&network, &x, &Context::default()).unwrap();
    let mut mean = Orthogonality::new(3);
    let (mut penalties, mut cosines) = (0.0, Array2::<f64>::zeros([3; 2]));
    for slopes in slopes.chunks(15) {
        let templates = ArrayView2::from_shape((3, 5), slopes).unwrap();
        let own = mean.add(templates);
        penalties += penalty(&gram(templates)) / 12.0;
        cosines = cosines + &own / 12.0;
        assert_eq!(own, correlation(&gram(templates)));
    }
    assert!((mean.penalty() / penalties - 1.0).abs() < EXACT);
    assert!(relative_difference(mean.correlation(), cosines.iter().copied()) < EXACT);
    let apart = [(0, 1), (0, 2), (1, 2)].map(|at| cosines[at].abs()).iter().sum::<f64>() / 3.0;
    assert!((mean.mean_correlation() - apart).abs() < EXACT);
}

/// ReLU, max-pooling and a table of three pieces, on images of 2 x 6 x 6.
fn mixed() -> Network {
    let mut b = Network::builder();
    let x = b.input("x", &[2, 6, 6]).unwrap();
    let relu = b.add("relu", Activation::Relu, &[x]).unwrap();
    let pool = MaxPool { window: Window::new([2, 2]).with_strides([2, 2]) };
    let pool = b.add("pool", pool, &[relu]).unwrap();
    let flat = b.add("flat", Reshape { shape: vec![18] }, &[pool]).unwrap();
    let first = b.add("first", dense(2, 18, 45), &[flat]).unwrap();
    let clip = b.add("clip", Activation::Clip { low: -0.1, high: 0.2 }, &[first]).unwrap();
    let second = b.add("second", dense(3, 45, 70), &[clip]).unwrap();
    let leaky = b.add("leaky", Activation::LeakyRelu { slope: 0.5 }, &[second]).unwrap();
    let third = b.add("third", dense(4, 70, 33), &[leaky]).unwrap();
    let last = b.add("last", Activation::Relu, &[third]).unwrap();
    let end = b.add("end", dense(5, 33, 2), &[last]).unwrap();
    b.finish(&[end]).unwrap()
}

/// The codes of each row, one unit after the other.
fn unpacked(codes: &Codes<Cpu<f64>>, packed: &Packed) -> Vec<Vec<u32>> {
    (0..packed.len()).map(|i| codes.unpack(packed.row(i))).collect()
}

fn share_apart(a: &[u32], b: &[u32]) -> f32 {
    let apart = a.iter().zip(b).filter(|(a, b)| a != b).count();
    (apart as f64 / a.len() as f64) as f32
}

#[test]
fn distances_are_shares_of_units_apart() {
    let network = mixed();
    let (x, y) = (random_rows(1, 37, 72), random_rows(2, 53, 72));
    for (choice, units) in [
        (LayerChoice::All, 72 + 18 + 45 + 70 + 33),
        (LayerChoice::One("clip".to_owned()), 45),
        (LayerChoice::One("last".to_owned()), 33),
        (LayerChoice::UpTo("clip".to_owned()), 72 + 18 + 45),
    ] {
        let (codes, samples) = codes_of(&network, &x, &choice);
        let (_, others) = codes_of(&network, &y, &choice);
        let distances = Distances::new(&codes).unwrap();
        assert_eq!(distances.units(), units);
        let (a, b) = (unpacked(&codes, &samples), unpacked(&codes, &others));
        assert!(a.iter().all(|row| row.len() == units));
        let expected: Vec<f32> = a.iter().flat_map(|a| b.iter().map(|b| share_apart(a, b))).collect();
        let matrix = |context: &Context| {
            let mut all = vec![];
            distances
                .matrix(&Cpu::<f64>::new(), &samples, &others, context, |range, block| {
                    assert_eq!(range.len() * 53, block.len());
                    all.extend_from_slice(block);
                    Ok(())
                })
                .unwrap();
            all
        };
        assert_eq!(matrix(&Context::default()), expected);
        if let Some(gpu) = gpu() {
            let mut all = vec![];
            let tiles = Context::default().with_memory(samples.bytes() + others.bytes() + 20 * 53 * 12);
            let add = |_, block: &[f32]| {
                all.extend_from_slice(block);
                Ok(())
            };
            distances.matrix(&gpu, &samples, &others, &tiles, add).unwrap();
            assert_eq!(all, expected);
        }
        let little = samples.bytes() + others.bytes() + 5 * 53 * 12;
        assert_eq!(matrix(&Context::default().with_memory(little)), expected);
        let nothing = Context::default().with_memory(samples.bytes());
        let refused = distances.matrix(&Cpu::<f64>::new(), &samples, &others, &nothing, |_, _| Ok(()));
        assert!(refused.unwrap_err().to_string().contains("raise --memory"));
    }
}

#[test]
fn neighbours_are_the_nearest_of_the_matrix() {
    let network = mixed();
    // Few different samples, so that many are equally near.
    let mut x = random_rows(1, 60, 72);
    for row in 20..60 {
        let copy = x.row(row % 20).to_owned();
        x.row_mut(row).assign(&copy);
    }
    let (codes, samples) = codes_of(&network, &x, &LayerChoice::All);
    let distances = Distances::new(&codes).unwrap();
    let all = unpacked(&codes, &samples);
    for (same, count) in [(true, 5), (false, 5), (true, 59), (false, 60), (true, 1)] {
        let (mut indices, mut found) = (vec![], vec![]);
        let context = Context::default().with_memory(2 * samples.bytes() + 7 * 60 * 12);
        distances
            .neighbours(&Cpu::<f64>::new(), [&samples; 2], same, count, &context, |near| {
                assert_eq!(near.range.start, indices.len() / count);
                indices.extend(near.indices);
                found.extend(near.distances);
                Ok(())
            })
            .unwrap();
        for i in 0..60 {
            let others = (0..60).filter(|&j| !same || j != i);
            let mut nearest: Vec<(f32, u32)> =
                others.map(|j| (share_apart(&all[i], &all[j]), j as u32)).collect();
            nearest.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let of: Vec<(f32, u32)> =
                (i * count..(i + 1) * count).map(|at| (found[at], indices[at])).collect();
            assert_eq!(of, nearest[..count], "{i}");
        }
    }
    for (same, count) in [(true, 0), (true, 60), (false, 61)] {
        let refused =
            distances
                .neighbours(&Cpu::<f64>::new(), [&samples; 2], same, count, &Context::default(), |_| Ok(()));
        assert!(refused.unwrap_err().to_string().contains("neighbours: expected 1 to"));
    }
}

#[test]
fn populations_count_codes() {
    let network = mlp(4, [2, 6, 2], Activation::Relu);
    let x = random_rows(7, 300, 2);
    let (codes, samples) = codes_of(&network, &x, &LayerChoice::All);
    let all = unpacked(&codes, &samples);
    let counted = |units: std::ops::Range<usize>| {
        let mut counts: HashMap<Vec<u32>, usize> = HashMap::new();
        all.iter().for_each(|row| *counts.entry(row[units.clone()].to_vec()).or_default() += 1);
        (counts.len(), *counts.values().max().unwrap())
    };
    let found = populations(&codes, &samples);
    assert_eq!(found.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["Relu2", "Relu4"]);
    let of = |i: usize| {
        ((found[i].codes, found[i].largest), (found[i].cumulative_codes, found[i].cumulative_largest))
    };
    assert_eq!(of(0), (counted(0..6), counted(0..6)));
    assert_eq!(of(1), (counted(6..12), counted(0..12)));
    assert!(found[0].codes > 5 && found[1].cumulative_codes > found[0].codes);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let mut b = Network::builder();
    b.input("x", &[3]).unwrap();
    let end = b.layer(dense(1, 3, 2)).unwrap();
    let affine = b.finish(&[end]).unwrap();
    let engine = Cpu::<f32>::new();
    let codes = Codes::new(&engine, &affine, &LayerChoice::All, "the test").unwrap();
    assert!(Distances::new(&codes).unwrap_err().to_string().contains("the network is affine"));
    let network = mlp(4, [2, 6, 2], Activation::Relu);
    let codes = Codes::new(&engine, &network, &LayerChoice::All, "the test").unwrap();
    let text = codes.of(&dataset(&random_rows(1, 5, 3)), &Context::default()).unwrap_err().to_string();
    assert!(text.contains("samples of shape [2]"), "{text}");
    let few = codes.of(&dataset(&random_rows(1, 500, 2)), &Context::default().with_memory(2000));
    assert!(few.unwrap_err().to_string().contains("the codes of 500 samples"));
    let mut x = random_rows(1, 5, 2);
    x[[3, 0]] = 1e38;
    let text = codes.of(&dataset(&(10.0 * x)), &Context::default()).unwrap_err().to_string();
    assert!(text.contains("row 3"), "{text}");
}
