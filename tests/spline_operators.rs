//! Layers as spline operators: against weights by hand, brute force, and every network at hand, layer by layer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::{dense, gpu, load, mlp, published, random_rows, root};
use fenchel::Scalar;
use fenchel::activation::{Piece, PiecewiseAffine};
use fenchel::data::{Dataset, read_array};
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Engine, Window};
use fenchel::maso::{
    Form, Layers, SplineOperator, SplineOperators, layer_templates, smooth_nodes, templates,
};
use fenchel::network::operators::{Branches, MaxPool, PRelu, Reshape};
use fenchel::network::{Constant, Network};
use fenchel::tolerance::{EXACT, relative_difference};
use ndarray::Array2;

fn dataset(x: &Array2<f64>) -> Dataset {
    Dataset::from_array(x.view()).unwrap()
}

/// The value of a node, the input itself included.
fn value<E: Engine>(engine: &E, network: &Network, node: &str, x: &Array2<f64>) -> Array2<E::Scalar> {
    let x = x.mapv(E::Scalar::of);
    if network.find(node).unwrap().op().is_none() {
        return x;
    }
    let program = network.cut(None, Some(node)).unwrap().compile(engine).unwrap();
    program.values(x.view(), &Context::default()).unwrap()
}

/// All pieces of all units, `A [K, R, D]` and `B [K, R]`.
fn pieces(operators: &SplineOperators, layer: &SplineOperator, context: &Context) -> [Vec<f64>; 2] {
    let map = operators.map(layer, &Cpu::<f64>::new(), context).unwrap();
    let (mut slopes, mut offsets) = (vec![], vec![]);
    let mut next = 0;
    map.pieces(0..layer.units(), context, |units, rows| {
        assert_eq!(units.start, next);
        next = units.end;
        slopes.extend(rows.slopes);
        offsets.extend(rows.offsets);
        Ok(())
    })
    .unwrap();
    assert_eq!(next, layer.units());
    [slopes, offsets]
}

/// What a layer takes at a sample, side by side.
fn taken<S: Scalar>(layer: &SplineOperator, values: &HashMap<String, Array2<S>>, sample: usize) -> Vec<S> {
    layer.inputs().iter().flat_map(|input| values[&input.name].row(sample).to_vec()).collect()
}

/// How far a layer is from the pieces that it picks, in epsilons of the sum of what is added: `|A z + b - y|` over
/// `eps (|A| |z| + |b|)`, the largest over all layers, samples and units. The values are those of the engine.
fn worst<E: Engine>(engine: &E, network: &Network, x: &Array2<f64>) -> f64 {
    let operators = SplineOperators::new(network).unwrap();
    let network = operators.network();
    let mut values: HashMap<String, Array2<E::Scalar>> = HashMap::new();
    let mut worst = 0.0_f64;
    let epsilon = if size_of::<E::Scalar>() == 4 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    for layer in operators.layers() {
        let names = layer.inputs().iter().map(|input| input.name.clone()).chain([layer.name().to_owned()]);
        for name in names {
            let of = || value(engine, network, &name, x);
            values.entry(name.clone()).or_insert_with(of);
        }
        let d = layer.dimension();
        let mut seen = 0;
        layer_templates(&operators, layer, engine, &dataset(x), &Context::default(), |block| {
            let z = taken(layer, &values, block.sample);
            assert_eq!(z.len(), d);
            let y = values[layer.name()].row(block.sample).to_vec();
            for (i, unit) in block.units.clone().enumerate() {
                let terms = block.rows.slopes[i * d..][..d].iter().zip(&z).map(|(a, z)| a.f64() * z.f64());
                let b = block.rows.offsets[i].f64();
                let (sum, size) = terms.fold((b, b.abs()), |(sum, size), t| (sum + t, size + t.abs()));
                let off = (sum - y[unit].f64()).abs();
                if off > 0.0 {
                    worst = worst.max(off / (epsilon * size));
                }
                seen += 1;
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, layer.units() * x.nrows());
    }
    worst
}

/// The network at `to`, as the composition of the affine functions that its layers are at `at`; and the same by the
/// templates of the whole network.
fn composed(network: &Network, at: &Array2<f64>, to: &Array2<f64>) -> [Vec<f64>; 2] {
    let engine = Cpu::<f64>::new();
    let operators = SplineOperators::new(network).unwrap();
    let input = operators.network().inputs().next().unwrap().name().to_owned();
    let mut values = HashMap::from([(input, to.clone())]);
    for layer in operators.layers() {
        let d = layer.dimension();
        let mut found = vec![];
        layer_templates(&operators, layer, &engine, &dataset(at), &Context::default(), |block| {
            let z = taken(layer, &values, block.sample);
            let rows = block.rows.slopes.chunks_exact(d).zip(&block.rows.offsets);
            found.extend(rows.map(|(a, b)| a.iter().zip(&z).map(|(a, z)| a * z).sum::<f64>() + b));
            Ok(())
        })
        .unwrap();
        let found = Array2::from_shape_vec((at.nrows(), layer.units()), found).unwrap();
        values.insert(layer.name().to_owned(), found);
    }
    let last = operators.layers().last().unwrap().name();
    let program = network.compile(&engine).unwrap();
    let outputs: Vec<usize> = (0..program.outputs()).collect();
    let mut whole = vec![];
    templates(&program, &dataset(at), &outputs, true, &Context::default(), |block| {
        for (i, sample) in block.samples.clone().enumerate() {
            for k in 0..outputs.len() {
                let row = i * outputs.len() + k;
                let slopes = &block.slopes[row * to.ncols()..][..to.ncols()];
                let product: f64 = slopes.iter().zip(to.row(sample)).map(|(a, x)| a * x).sum();
                whole.push(product + block.offsets[row]);
            }
        }
        Ok(())
    })
    .unwrap();
    [values[last].iter().copied().collect(), whole]
}

/// The network with splines of so many pieces in the place of its smooth activations, on the ranges of some inputs.
fn splined(network: &Network, x: &Array2<f64>, pieces: usize) -> Network {
    let layers = Layers::measure(network, &Cpu::<f64>::new(), &dataset(x), &Context::default()).unwrap();
    layers.splined(&layers.splines(pieces).unwrap()).unwrap()
}

/// Rows of an array as samples.
fn samples(path: &Path, name: &str, rows: usize, scale: f64) -> Array2<f64> {
    let array = read_array(path, Some(name)).unwrap();
    let (rows, width) = (rows.min(array.shape()[0]), array.len() / array.shape()[0]);
    let values = array.iter().take(rows * width).map(|v| v * scale).collect();
    Array2::from_shape_vec((rows, width), values).unwrap()
}

/// The networks of the project, those with smooth activations as splines.
fn shipped() -> Vec<(String, Network, Array2<f64>)> {
    let assets = root().join("assets");
    let mut all = vec![];
    for (name, data, scale, rows) in [
        ("moons", "moons.npz", 1.0, 40),
        ("digits_relu", "digits.npz", 1.0 / 16.0, 12),
        ("digits_cnn", "digits.npz", 1.0 / 16.0, 4),
        ("digits_gelu", "digits.npz", 1.0 / 16.0, 12),
        ("digits_sigmoid", "digits.npz", 1.0 / 16.0, 12),
    ] {
        let network = load(&assets.join(format!("{name}.onnx")));
        let x = samples(&assets.join(data), "x", rows, scale);
        let network = if smooth_nodes(&network).is_empty() { network } else { splined(&network, &x, 6) };
        all.push((name.to_owned(), network, x));
    }
    all
}

/// Sums of a thousand terms in another order differ by this many epsilons of their sizes at most.
const EPSILONS: f64 = 16.0;

#[test]
#[allow(clippy::print_stdout, reason = "shows how near it is")]
fn layers_are_the_pieces_that_they_pick() {
    for (name, network, x) in shipped() {
        let [f64s, f32s] = [worst(&Cpu::<f64>::new(), &network, &x), worst(&Cpu::<f32>::new(), &network, &x)];
        println!("{name}: {f64s:.2} epsilons in f64, {f32s:.2} in f32");
        assert!(f64s < EPSILONS && f32s < EPSILONS, "{name}: {f64s} {f32s}");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "shows how near it is")]
fn layers_are_the_pieces_that_they_pick_on_a_graphics_device() {
    let Some(gpu) = gpu() else { return };
    for (name, network, x) in shipped() {
        let x = x.slice(ndarray::s![..2, ..]).to_owned();
        let found = worst(&gpu, &network, &x);
        println!("{name}: {found:.2} epsilons");
        assert!(found < EPSILONS, "{name}: {found}");
    }
}

#[test]
fn the_network_is_the_composition_of_its_layers() {
    for (name, network, x) in shipped() {
        let elsewhere = random_rows(3, x.nrows(), x.ncols());
        let [composed, whole] = composed(&network, &x, &elsewhere);
        let off = relative_difference(composed, whole);
        assert!(off < EXACT, "{name}: {off:e}");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "says why a test was skipped, and shows how near it is")]
fn published_networks_are_the_composition_of_their_layers() {
    let published = published();
    if published.is_empty() {
        return;
    }
    let mut seen = 0;
    for [path, golden] in published {
        let x = samples(&golden, "x", 1, 1.0);
        let network = load(&path);
        let network = if smooth_nodes(&network).is_empty() { network } else { splined(&network, &x, 4) };
        let elsewhere = random_rows(3, x.nrows(), x.ncols());
        let [composed, whole] = composed(&network, &x, &elsewhere);
        let off = relative_difference(composed, whole);
        let found = worst(&Cpu::<f32>::new(), &network, &x);
        println!("{}: {off:e}; {found:.2} epsilons in f32", path.display());
        assert!(off < EXACT && found < EPSILONS, "{}: {off:e} {found}", path.display());
        seen += 1;
    }
    assert!(seen >= 6, "{seen} networks");
}

#[test]
fn pieces_of_a_dense_layer_are_its_weights() {
    let mut b = Network::builder();
    b.input("x", &[3]).unwrap();
    let first = dense(1, 3, 5);
    b.layer(first.clone()).unwrap();
    b.layer(Activation::LeakyRelu { slope: 0.25 }).unwrap();
    let last = dense(2, 5, 2);
    let end = b.layer(last.clone()).unwrap();
    let operators = SplineOperators::new(&b.finish(&[end]).unwrap()).unwrap();
    let [leaky, affine] = operators.layers() else { panic!("two layers") };
    assert_eq!((leaky.form(), leaky.units(), leaky.pieces(), leaky.bits()), (Form::MaxAffine, 5, 2, 1));
    assert_eq!((affine.form(), affine.units(), affine.pieces(), affine.bits()), (Form::Affine, 2, 1, 0));
    assert_eq!((leaky.inputs()[0].name.as_str(), affine.inputs()[0].name.as_str()), ("x", leaky.name()));
    let (weights, bias) = (first.weights().to::<f64>(), first.bias().unwrap().to::<f64>());
    let [slopes, offsets] = pieces(&operators, leaky, &Context::default());
    for k in 0..5 {
        for (r, factor) in [0.25, 1.0].into_iter().enumerate() {
            let row: Vec<f64> = (0..3).map(|i| factor * weights[i * 5 + k]).collect();
            assert_eq!(slopes[(2 * k + r) * 3..][..3], row);
            assert_eq!(offsets[2 * k + r], factor * bias[k]);
        }
    }
    let (weights, bias) = (last.weights().to::<f64>(), last.bias().unwrap().to::<f64>());
    let [slopes, offsets] = pieces(&operators, affine, &Context::default());
    let transposed: Vec<f64> = (0..10).map(|i| weights[i % 5 * 2 + i / 5]).collect();
    assert_eq!((slopes, offsets), (transposed, bias));
}

/// Branches, pools with padding, units with slopes of their own, a function that is neither convex nor concave.
fn mixed() -> Network {
    let mut b = Network::builder();
    let x = b.input("x", &[2, 5, 5]).unwrap();
    let relu = b.add("relu", Activation::Relu, &[x]).unwrap();
    let window = Window::new([2, 2]).with_strides([2, 2]).with_pads([1, 1, 0, 0]);
    let pool = b.add("pool", MaxPool { window }, &[relu]).unwrap();
    let flat = b.add("flat", Reshape { shape: vec![18] }, &[pool]).unwrap();
    let first = b.add("first", dense(2, 18, 9), &[flat]).unwrap();
    let clip = b.add("clip", Activation::Clip { low: -0.1, high: 0.2 }, &[first]).unwrap();
    let image = b.add("image", Reshape { shape: vec![50] }, &[x]).unwrap();
    let other = b.add("other", dense(3, 50, 9), &[image]).unwrap();
    let smaller = Branches { operation: Arithmetic::Min };
    let smaller = b.add("smaller", smaller, &[other, clip]).unwrap();
    let sum = b.add("sum", Branches { operation: Arithmetic::Add }, &[smaller, clip]).unwrap();
    let second = b.add("second", dense(4, 9, 4), &[sum]).unwrap();
    let slopes = Constant::f64([4], vec![0.5, 2.0, -1.0, 1.5]).unwrap();
    let own = b.add("own", PRelu { slopes }, &[second]).unwrap();
    let piece = |at, value, slope| Piece { at, value, slope };
    let table = vec![piece(-1.0, 0.3, -0.5), piece(-1.0, 0.3, 0.2), piece(0.5, 0.6, -2.0)];
    let function = PiecewiseAffine::new(vec![-1.0, 0.5], table).unwrap();
    let bent = b.add("bent", function, &[own]).unwrap();
    let end = b.add("end", dense(5, 4, 2), &[bent]).unwrap();
    b.finish(&[end]).unwrap()
}

#[test]
fn operators_are_maxima_and_minima_of_their_pieces() {
    let network = mixed();
    let operators = SplineOperators::new(&network).unwrap();
    let forms: Vec<(&str, Form, usize)> =
        operators.layers().iter().map(|layer| (layer.name(), layer.form(), layer.inputs().len())).collect();
    assert_eq!(
        forms,
        [
            ("relu", Form::MaxAffine, 1),
            ("pool", Form::MaxAffine, 1),
            ("clip", Form::Difference, 1),
            ("smaller", Form::MinAffine, 2),
            ("own", Form::Difference, 2),
            ("bent", Form::Difference, 1),
            ("end", Form::Affine, 1),
        ]
    );
    let x = 2.0 * random_rows(6, 30, 50);
    for layer in operators.layers() {
        let [slopes, offsets] = pieces(&operators, layer, &Context::default());
        let (d, r) = (layer.dimension(), layer.pieces());
        assert_eq!((slopes.len(), offsets.len()), (layer.units() * r * d, layer.units() * r));
        let engine = Cpu::<f64>::new();
        let names = layer.inputs().iter().map(|input| input.name.clone());
        let values: HashMap<String, Array2<f64>> =
            names.map(|name| (name.clone(), value(&engine, &network, &name, &x))).collect();
        let exact = value(&engine, &network, layer.name(), &x);
        let mut found = vec![];
        for sample in 0..x.nrows() {
            let z = taken(layer, &values, sample);
            for unit in 0..layer.units() {
                let scores: Vec<f64> = (unit * r..(unit + 1) * r)
                    .map(|i| {
                        slopes[i * d..][..d].iter().zip(&z).map(|(a, z)| a * z).sum::<f64>() + offsets[i]
                    })
                    .collect();
                let largest = |of: &[f64]| of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let smallest = |of: &[f64]| of.iter().copied().fold(f64::INFINITY, f64::min);
                found.push(match layer.form() {
                    Form::Affine | Form::MaxAffine => largest(&scores),
                    Form::MinAffine => smallest(&scores),
                    Form::Difference => {
                        // Of the argument, which the pieces with a slope give away.
                        let whole = layer.elementwise(unit).unwrap();
                        let with_slope = (0..r).find(|&i| whole.slopes[i] != 0.0).unwrap();
                        let u = (scores[with_slope] - whole.offsets[with_slope]) / whole.slopes[with_slope];
                        let [convex, concave] = whole.split();
                        let lines = |of: &fenchel::maso::UnitPieces| -> Vec<f64> {
                            of.slopes
                                .iter()
                                .zip(&of.offsets)
                                .map(|(slope, offset)| slope * u + offset)
                                .collect()
                        };
                        largest(&lines(&convex)) + smallest(&lines(&concave))
                    }
                });
            }
        }
        let off = relative_difference(found, exact.iter().copied());
        assert!(off < EXACT, "{}: {off:e}", layer.name());
    }
    // Padding is no piece that can win.
    let pool = &operators.layers()[1];
    assert_eq!(pool.window(0), [None, None, None, Some(0)]);
    assert_eq!(pool.window(4), [Some(6), Some(7), Some(11), Some(12)]);
    assert!(worst(&Cpu::<f64>::new(), &network, &x) < EPSILONS);
    let [composed, whole] = composed(&network, &x, &random_rows(8, 30, 50));
    assert!(relative_difference(composed, whole) < EXACT);
}

#[test]
fn memory_changes_nothing_but_what_fits() {
    let network = mlp(3, [40, 30, 5], Activation::Relu);
    let operators = SplineOperators::new(&network).unwrap();
    let layer = &operators.layers()[1];
    let all = pieces(&operators, layer, &Context::default());
    let mut budget = 1 << 20;
    let mut tried = 0;
    loop {
        let context = Context::default().with_memory(budget);
        match operators.map(layer, &Cpu::<f64>::new(), &context) {
            Ok(_) => {
                let off = relative_difference(pieces(&operators, layer, &context).concat(), all.concat());
                assert!(off < EXACT, "{budget}: {off:e}");
            }
            Err(error) => {
                assert!(error.to_string().contains("raise --memory"), "{error}");
                break;
            }
        }
        tried += 1;
        budget -= budget / 6;
    }
    assert!(tried > 10, "{tried} budgets");
}

#[test]
fn what_is_smooth_or_no_layer_is_refused_by_name() {
    let error = SplineOperators::new(&mlp(1, [3, 4, 2], Activation::Tanh)).err().unwrap().to_string();
    assert!(error.contains("Tanh") && error.contains("'Tanh2'"), "{error}");
    let operators = SplineOperators::new(&mixed()).unwrap();
    let error = operators.layer("flat").err().unwrap().to_string();
    assert!(error.contains("'flat' is no layer of its own; 'relu', 'pool', 'clip'"), "{error}");
    let map =
        operators.map(operators.layer("relu").unwrap(), &Cpu::<f64>::new(), &Context::default()).unwrap();
    let error = map.picked(&[2; 50], &Context::default(), |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("unit 0 of 'relu' has no such code among its 2"), "{error}");
}
