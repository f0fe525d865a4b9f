//! Pictures of regions and of the density of their boundaries: against lines that are known.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::HashMap;
use std::f64::consts::PI;

use common::{dense, gpu, mlp, random};
use fenchel::engine::{Activation, Context, Cpu, Engine};
use fenchel::maso::LayerChoice;
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use fenchel::render::{Band, DensityField, Field, RegionField, Visited, extremes};
use fenchel::spline::slice::{Slice, pixels};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::Array2;
use xxhash_rust::xxh3::xxh3_64;

/// ReLU units whose boundaries on the plane are `a s + b t = c`, and a layer above them.
fn lines(lines: &[[f64; 3]]) -> Network {
    let weights = [0, 1].iter().flat_map(|&i| lines.iter().map(move |line| line[i])).collect();
    let bias = lines.iter().map(|line| -line[2]).collect();
    let weights = Constant::f64([2, lines.len()], weights).unwrap();
    let first = Dense::new(weights, Some(Constant::f64([lines.len()], bias).unwrap())).unwrap();
    let mut builder = Network::builder();
    let x = builder.input("x", &[2]).unwrap();
    let first = builder.add("first", first, &[x]).unwrap();
    let relu = builder.add("relu", Activation::Relu, &[first]).unwrap();
    let end = builder.add("end", dense(3, lines.len(), 2), &[relu]).unwrap();
    builder.finish(&[end]).unwrap()
}

fn plane() -> Slice {
    Slice { origin: vec![0.0; 2], u: vec![1.0, 0.0], v: vec![0.0, 1.0] }
}

/// The values of a field at the pixels of a picture `[H, W]`, all at once.
fn drawn<E: Engine>(field: &dyn Field<E>, size: [usize; 2], context: &Context) -> Band {
    let [across, up] = pixels::<E::Scalar>(size);
    field.band(&across, &up, 0, context).unwrap()
}

fn categories(band: Band) -> Vec<u32> {
    match band {
        Band::Categories(values) => values,
        Band::Numbers(_) => panic!("regions are categories"),
    }
}

fn numbers(band: Band) -> Vec<f64> {
    match band {
        Band::Numbers(values) => values.into_iter().map(f64::from).collect(),
        Band::Categories(_) => panic!("densities are numbers"),
    }
}

fn visited(count: usize) -> Option<Visited> {
    Some(Visited { count, is_capped: false })
}

#[test]
fn three_lines_make_seven_regions() {
    let (engine, context) = (Cpu::<f32>::new(), Context::default());
    let cut = [[1.0, 0.0, 0.013], [0.0, 1.0, -0.017], [1.0, 1.0, 0.5]];
    let field = RegionField::new(&engine, &lines(&cut), &plane(), &LayerChoice::All).unwrap();
    assert_eq!(field.visited(), visited(0));
    let (size, words) = ([48, 64], |s: f64, t: f64| {
        cut.iter().enumerate().map(|(i, l)| u32::from(l[0] * s + l[1] * t > l[2]) << i).sum::<u32>()
    });
    let found = categories(drawn(&field, size, &context));
    let [across, up] = pixels::<f64>(size);
    let expected = up.iter().flat_map(|&t| across.iter().map(move |&s| words(s, t).to_le_bytes()));
    // The same 32 bits for ever.
    assert!(found.iter().copied().eq(expected.map(|bytes| xxh3_64(&bytes) as u32)));
    assert_eq!(field.visited(), visited(7));
    // A range of colours is not looked for, and sees nothing.
    assert_eq!(extremes(&field, [300, 300], &context).unwrap(), None);
    assert_eq!(field.visited(), visited(7));
}

#[test]
fn regions_are_where_codes_are_equal() {
    let network = mlp(11, [6, 40, 3], Activation::LeakyRelu { slope: 0.2 });
    let [origin, u, v] = [1, 2, 3].map(|seed| random(seed, 6));
    let slice = Slice { origin, u, v };
    let (engine, size) = (Cpu::<f64>::new(), [37, 53]);
    let context = Context::default();
    let mut counts = vec![];
    for choice in [
        LayerChoice::All,
        LayerChoice::UpTo("LeakyRelu4".to_owned()),
        LayerChoice::One("LeakyRelu4".to_owned()),
        LayerChoice::UpTo("LeakyRelu2".to_owned()),
        LayerChoice::One("LeakyRelu2".to_owned()),
    ] {
        let field = RegionField::new(&engine, &network, &slice, &choice).unwrap();
        let found = categories(drawn(&field, size, &context));
        // The codes of the whole network at the points.
        let [across, up] = pixels::<f64>(size);
        let points = up.iter().flat_map(|&t| across.iter().map(move |&s| (s, t)));
        let points: Vec<f64> = points.flat_map(|(s, t)| slice.point(s, t)).collect();
        let points = Array2::from_shape_vec((size[0] * size[1], 6), points).unwrap();
        let program = network.compile(&engine).unwrap();
        let layers = program.coded_layers("the test").unwrap();
        let layers = match &choice {
            LayerChoice::One(name) if name == "LeakyRelu4" => &layers[1..],
            LayerChoice::All => &layers[..],
            LayerChoice::UpTo(name) if name == "LeakyRelu4" => &layers[..],
            _ => &layers[..1],
        };
        let (codes, _) = program.codes(&program.upload(points.view()).unwrap(), layers).unwrap();
        let codes = engine.receive_codes(engine.request_codes(codes).unwrap()).unwrap();
        let mut by_code: HashMap<&[u32], u32> = HashMap::new();
        for (code, &category) in codes.chunks_exact(2 * layers.len()).zip(&found) {
            assert_eq!(*by_code.entry(code).or_insert(category), category);
        }
        // So few regions have different hashes.
        assert_eq!(field.visited(), visited(by_code.len()));
        counts.push(by_code.len());
        // Neither memory nor bands change anything.
        let again = RegionField::new(&engine, &network, &slice, &choice).unwrap();
        let small = Context::default().with_memory(1 << 16);
        let rows = up.chunks(5).flat_map(|up| categories(again.band(&across, up, 0, &small).unwrap()));
        assert!(rows.eq(found) && again.visited() == field.visited());
    }
    assert!(
        counts[0] == counts[1] && counts[1] >= counts[2] && counts[1] > counts[3] && counts[3] == counts[4]
    );
    assert!(counts[3] > 20, "{counts:?}");
}

#[test]
fn other_engines_see_the_same_regions() {
    let (network, choice) = (mlp(11, [2, 30, 3], Activation::Relu), LayerChoice::All);
    let exact = RegionField::new(&Cpu::<f64>::new(), &network, &plane(), &choice).unwrap();
    let exact = categories(drawn(&exact, [40, 40], &Context::default()));
    let off = |found: Vec<u32>| found.iter().zip(&exact).filter(|(a, b)| a != b).count();
    let field = RegionField::new(&Cpu::<f32>::new(), &network, &plane(), &choice).unwrap();
    // A pixel in 1,600 may lie within rounding of one of 60 boundaries.
    assert!(off(categories(drawn(&field, [40, 40], &Context::default()))) <= 1);
    if let Some(gpu) = gpu() {
        let field = RegionField::new(&gpu, &network, &plane(), &choice).unwrap();
        assert!(off(categories(drawn(&field, [40, 40], &Context::default()))) <= 1);
    }
}

#[test]
fn affine_networks_have_one_region() {
    let mut builder = Network::builder();
    builder.input("x", &[2]).unwrap();
    let end = builder.layer(dense(1, 2, 2)).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let (engine, context) = (Cpu::<f32>::new(), Context::default());
    let field = RegionField::new(&engine, &network, &plane(), &LayerChoice::All).unwrap();
    let found = categories(drawn(&field, [3, 4], &context));
    assert!(found.len() == 12 && found.iter().all(|&c| c == found[0]) && field.visited() == visited(1));
    let field = DensityField::new(&engine, &network, &plane(), &LayerChoice::All, [3, 4]).unwrap();
    assert_eq!(numbers(drawn(&field, [3, 4], &context)), [0.0; 12]);
}

fn densities(network: &Network, size: [usize; 2], context: &Context) -> Vec<f64> {
    let field = DensityField::new(&Cpu::<f64>::new(), network, &plane(), &LayerChoice::All, size).unwrap();
    numbers(drawn(&field, size, context))
}

/// The length within the plane's square of the line `cos(w) s + sin(w) t = c`, by its ends on the edges.
fn length([a, b, c]: [f64; 3]) -> f64 {
    let at = |s: f64, t: f64| (s.abs() <= 1.0 + EXACT && t.abs() <= 1.0 + EXACT).then_some((s, t));
    let on_sides = [-1.0, 1.0].into_iter().filter(|_| b.abs() > 1e-9).filter_map(|s| at(s, (c - a * s) / b));
    let on_ends = [-1.0, 1.0].into_iter().filter(|_| a.abs() > 1e-9).filter_map(|t| at((c - b * t) / a, t));
    let ends: Vec<(f64, f64)> = on_sides.chain(on_ends).collect();
    let far = |p: &(f64, f64), q: &(f64, f64)| (p.0 - q.0).hypot(p.1 - q.1);
    ends.iter().flat_map(|p| ends.iter().map(move |q| far(p, q))).fold(0.0, f64::max)
}

#[test]
fn one_line_by_hand() {
    // A vertical line through the second of four columns, 3 rows.
    let found = densities(&lines(&[[1.0, 0.0, -0.3]]), [3, 4], &Context::default());
    let here = PI / 4.0 / 0.5;
    let expected = [0.0, here, 0.0, 0.0].repeat(3);
    assert!(relative_difference(found, expected) < CLOSE);
    // A horizontal line through the lowest row, and one across the upper right corner.
    let found = densities(&lines(&[[0.0, 2.0, -1.0]]), [3, 4], &Context::default());
    let below = PI / 4.0 / (2.0 / 3.0);
    assert!(relative_difference(found, [[0.0; 4], [0.0; 4], [below; 4]].concat()) < CLOSE);
    let found = densities(&lines(&[[1.0, 1.0, 1.9]]), [3, 4], &Context::default());
    let mut expected = [0.0; 12];
    // One of the two edges along either axis.
    expected[3] = (here + below) / 2.0;
    assert!(relative_difference(found, expected) < CLOSE);
}

#[test]
fn densities_are_right_on_average() {
    let size = [200, 300];
    let context = Context::default();
    let mean = |network: &Network| {
        densities(network, size, &context).iter().sum::<f64>() / (size[0] * size[1]) as f64
    };
    let line = |w: f64, c: f64| [w.cos(), w.sin(), c];
    // Parallel lines at an angle: known by the angle.
    for w in [0.3, 1.2, 2.5] {
        let parallel: Vec<[f64; 3]> = (-3..4).map(|i| line(w, 0.21 * f64::from(i) + 0.013)).collect();
        let exact = parallel.iter().map(|&l| length(l)).sum::<f64>() / 4.0;
        let found = mean(&lines(&parallel)) / exact;
        let expected = PI / 4.0 * (w.sin().abs() + w.cos().abs());
        // Lines end within pixels at the edges of the picture.
        assert!((found / expected - 1.0).abs() < 0.01, "{w}: {found} and {expected}");
    }
    // Lines of all directions alike: right.
    let all: Vec<[f64; 3]> =
        (0..36).map(|i| line(PI * f64::from(i) / 36.0 + 0.02, 0.7 * (f64::from(i) * 2.4).sin())).collect();
    let exact = all.iter().map(|&l| length(l)).sum::<f64>() / 4.0;
    let found = mean(&lines(&all));
    assert!((found / exact - 1.0).abs() < 0.02, "{found} and {exact}");
}

#[test]
fn densities_do_not_depend_on_memory_and_are_those_of_the_pixels_asked_for() {
    let network = mlp(7, [2, 20, 3], Activation::Clip { low: 0.0, high: 0.3 });
    let size = [43, 31];
    let all = densities(&network, size, &Context::default());
    assert!(all.iter().any(|&d| d > 0.0));
    assert_eq!(densities(&network, size, &Context::default().with_memory(40_000)), all);
    let engine = Cpu::<f64>::new();
    let field = DensityField::new(&engine, &network, &plane(), &LayerChoice::All, size).unwrap();
    let [across, up] = pixels::<f64>(size);
    let by_rows =
        up.chunks(4).flat_map(|up| numbers(field.band(&across, up, 0, &Context::default()).unwrap()));
    assert!(by_rows.eq(all.iter().copied()));
    // Every other pixel, as for the range of colours.
    let (some, rows): (Vec<f64>, Vec<f64>) =
        (across.iter().copied().step_by(2).collect(), up.iter().copied().step_by(3).collect());
    let found = numbers(field.band(&some, &rows, 0, &Context::default()).unwrap());
    let expected = (0..43).step_by(3).flat_map(|y| (0..31).step_by(2).map(move |x| (y, x)));
    assert!(found.into_iter().eq(expected.map(|(y, x)| all[y * 31 + x])));
    let text = field.band(&across, &up, 0, &Context::default().with_memory(64)).unwrap_err().to_string();
    assert!(text.contains("raise --memory"), "{text}");
}

#[test]
fn what_has_no_regions_is_refused() {
    let engine = Cpu::<f32>::new();
    let refused = |network: &Network, choice: LayerChoice| {
        RegionField::new(&engine, network, &plane(), &choice).err().unwrap().to_string()
    };
    let relu = mlp(1, [2, 3, 2], Activation::Relu);
    let text = refused(&relu, LayerChoice::One("Gemm1".to_owned()));
    assert_eq!(text, "'Gemm1' picks no pieces; 'Relu2', 'Relu4' do");
    assert!(refused(&relu, LayerChoice::UpTo("no".to_owned())).contains("no node is called 'no'"));
    let smooth = mlp(1, [2, 3, 2], Activation::Tanh);
    let text = refused(&smooth, LayerChoice::All);
    assert!(
        text.starts_with("a picture of regions needs affine pieces of every operator, which Tanh"),
        "{text}"
    );
    let text = refused(&smooth, LayerChoice::One("Tanh2".to_owned()));
    assert!(text.contains("none picks pieces"), "{text}");
    // Too large for f32 behind the layer.
    let field = RegionField::new(
        &engine,
        &lines(&[[1e30, 0.0, 0.0], [0.0, 1e30, 0.0]]),
        &Slice { u: vec![1e10, 0.0], ..plane() },
        &LayerChoice::All,
    )
    .unwrap();
    let [across, up] = pixels::<f32>([1, 2]);
    let text = field.band(&across, &up, 10, &Context::default()).unwrap_err().to_string();
    assert!(text.contains("row 11 holds"), "{text}");
}
