//! Codes of networks: against every unit evaluated by itself, on every engine, and against the Jacobians that they stand
//! for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::{dense, gpu, jets, mlp, random, random_rows};
use fenchel::activation::{Piece, PiecewiseAffine};
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Engine, Interval, Window};
use fenchel::network::operators::{
    ArithmeticConstant, Branches, Convolution, MaxPool, PRelu, ReduceMax, Reshape, ScaleShift, Softmax,
};
use fenchel::network::{CodedLayer, Constant, Network, Op, Program, onnx};
use fenchel::spline::slice::Slice;
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use fenchel::{Error, Scalar};
use ndarray::{Array2, s};

/// The code of each unit `[N][units]` of a layer.
type Codes = Vec<Vec<u32>>;

/// The same with margins: how far a unit is from another code.
type Margins = Vec<Vec<(u32, f64)>>;

fn codes_of<E: Engine>(program: &Program<E>, x: &Array2<f64>) -> (Vec<CodedLayer>, Vec<Codes>) {
    let layers = program.coded_layers("the test").unwrap();
    let engine = program.engine();
    let x = x.mapv(E::Scalar::of);
    let (codes, _) = program.codes(&program.upload(x.view()).unwrap(), &layers).unwrap();
    let packed = engine.receive_codes(engine.request_codes(codes).unwrap()).unwrap();
    let words = layers.last().map_or(0, |layer| layer.words().end);
    let rows: Vec<&[u32]> = packed.chunks_exact(words).collect();
    assert_eq!(rows.len(), x.nrows());
    let of = |layer: &CodedLayer| rows.iter().map(|row| layer.unpack(row).collect()).collect();
    let codes = layers.iter().map(of).collect();
    (layers, codes)
}

fn codes<E: Engine>(engine: &E, network: &Network, x: &Array2<f64>) -> (Vec<CodedLayer>, Vec<Codes>) {
    codes_of(&network.compile(engine).unwrap(), x)
}

fn spline() -> PiecewiseAffine {
    let knots = vec![-0.6, -0.3, -0.1, 0.1, 0.3];
    let sigmoid = |u: f64| 1.0 / (1.0 + (-u).exp());
    let mut table = vec![Piece { at: -0.6, value: sigmoid(-0.6), slope: 0.05 }];
    for (i, &at) in knots.iter().enumerate() {
        let slope = knots.get(i + 1).map_or(0.04, |to| (sigmoid(*to) - sigmoid(at)) / (to - at));
        table.push(Piece { at, value: table[i].value_at(at), slope });
    }
    PiecewiseAffine::new(knots, table).unwrap()
}

fn window() -> Window {
    Window::new([2, 3]).with_strides([2, 1]).with_pads([1, 0, 0, 1])
}

/// One of everything that has codes, with residual connections, on images of 2 x 5 x 6.
fn everything() -> Network {
    let mut b = Network::builder();
    let x = b.input("x", &[2, 5, 6]).unwrap();
    let constant =
        |seed, shape: &[usize]| Constant::f64(shape, random(seed, shape.iter().product())).unwrap();
    let centred = |seed, shape: &[usize], scale: f64| {
        let weights = random(seed, shape.iter().product()).iter().map(|w| scale * (w - 0.45)).collect();
        Constant::f64(shape, weights).unwrap()
    };
    let filters = centred(1, &[3, 2, 3, 3], 0.3);
    let same = Window::new([3, 3]).with_pads([1; 4]);
    let conv = b.add("conv", Convolution::new(filters, None, same, 1).unwrap(), &[x]).unwrap();
    let norm = ScaleShift::new(constant(2, &[3]), constant(3, &[3])).unwrap();
    let norm = b.add("norm", norm, &[conv]).unwrap();
    let leaky = b.add("leaky", Activation::LeakyRelu { slope: 0.1 }, &[norm]).unwrap();
    let filters = centred(4, &[3, 3, 3, 3], 0.6);
    let other = b.add("other", Convolution::new(filters, None, same, 1).unwrap(), &[leaky]).unwrap();
    let six = b.add("six", Activation::Clip { low: 0.0, high: 0.4 }, &[other]).unwrap();
    let sum = b.add("sum", Branches { operation: Arithmetic::Add }, &[six, leaky]).unwrap();
    let pool = b.add("pool", MaxPool { window: window() }, &[sum]).unwrap();
    let prelu = b.add("prelu", PRelu { slopes: constant(5, &[3, 1, 1]) }, &[pool]).unwrap();
    let abs = b.add("abs", Activation::Abs, &[prelu]).unwrap();
    let shift = ArithmeticConstant {
        operation: Arithmetic::Sub,
        constant: constant(7, b.shape(prelu)),
        reversed: true,
    };
    let shifted = b.add("shifted", shift, &[prelu]).unwrap();
    let larger = b.add("larger", Branches { operation: Arithmetic::Max }, &[shifted, pool]).unwrap();
    let smaller = b.add("smaller", Branches { operation: Arithmetic::Min }, &[larger, abs]).unwrap();
    let length: usize = b.shape(smaller).iter().product();
    let flat = b.add("flat", Reshape { shape: vec![length] }, &[smaller]).unwrap();
    let first = b.add("first", dense(20, length, 40), &[flat]).unwrap();
    let bound =
        |operation, reversed| ArithmeticConstant { operation, constant: constant(6, &[40]), reversed };
    let least = b.add("least", bound(Arithmetic::Max, true), &[first]).unwrap();
    let most = b.add("most", bound(Arithmetic::Min, false), &[first]).unwrap();
    let both = b.add("both", Branches { operation: Arithmetic::Sub }, &[least, most]).unwrap();
    let second = b.add("second", dense(21, 40, 37), &[both]).unwrap();
    let hard = b.add("hard", Activation::HardSigmoid { alpha: -0.8, beta: 0.4 }, &[second]).unwrap();
    let third = b.add("third", dense(22, 37, 35), &[hard]).unwrap();
    let splined = b.add("splined", spline(), &[third]).unwrap();
    let fourth = b.add("fourth", dense(23, 35, 33), &[splined]).unwrap();
    let relu = b.add("relu", Activation::Relu, &[fourth]).unwrap();
    let cube = b.add("cube", dense(24, 33, 24), &[relu]).unwrap();
    let cube = b.add("cubed", Reshape { shape: vec![2, 4, 3] }, &[cube]).unwrap();
    let top = b.add("top", ReduceMax { axes: vec![0, 2], keep: false }, &[cube]).unwrap();
    let end = b.add("end", dense(25, 4, 3), &[top]).unwrap();
    b.finish(&[end]).unwrap()
}

/// The values of a node, `[N][elements]`, in f64.
fn values(network: &Network, node: usize, x: &Array2<f64>) -> Vec<Vec<f64>> {
    if node == 0 {
        return x.rows().into_iter().map(|row| row.to_vec()).collect();
    }
    let cut = network.cut(None, Some(network.nodes()[node].value())).unwrap();
    let program = cut.compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let values = program.values(x.view(), &Context::default()).unwrap();
    values.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// Which candidate is largest, of equals the first, and by how much.
fn largest(candidates: &[Option<f64>]) -> (u32, f64) {
    let (mut best, mut at, mut second) = (f64::NEG_INFINITY, 0, f64::NEG_INFINITY);
    for (i, &value) in candidates.iter().enumerate().filter_map(|(i, v)| v.as_ref().map(|v| (i, v))) {
        if value > best {
            (second, best, at) = (best, value, i as u32);
        } else {
            second = second.max(value);
        }
    }
    (at, best - second)
}

/// The code of a unit above some knots, and how far the nearest is.
fn above(u: f64, knots: &[f64]) -> (u32, f64) {
    let near = knots.iter().map(|knot| (u - knot).abs()).fold(f64::INFINITY, f64::min);
    (knots.iter().filter(|&&knot| u > knot).count() as u32, near)
}

/// Code and margin of every unit of a node at one sample, given its inputs; `None` where it has none.
fn direct(network: &Network, node: usize, inputs: &[&Vec<f64>]) -> Option<Vec<(u32, f64)>> {
    let of = |knots: &[f64]| Some(inputs[0].iter().map(|&u| above(u, knots)).collect());
    let shape = network.nodes()[node].inputs().first().map_or(&[][..], |&j| network.nodes()[j].shape());
    match network.nodes()[node].op()? {
        Op::Activation(Activation::Relu | Activation::LeakyRelu { .. } | Activation::Abs) | Op::PRelu(_) => {
            of(&[0.0])
        }
        Op::Activation(Activation::Clip { low, high }) => of(&[*low, *high]),
        Op::Activation(Activation::HardSigmoid { alpha, beta }) => of(&[(1.0 - beta) / alpha, -beta / alpha]),
        Op::PiecewiseAffine(function) => of(function.knots()),
        Op::MaxPool(pool) => {
            let (height, width) = (shape[1], shape[2]);
            let [down, across] = pool.window.output([height, width]).unwrap();
            let mut codes = vec![];
            for plane in inputs[0].chunks(height * width) {
                for (row, column) in (0..down).flat_map(|row| (0..across).map(move |c| (row, c))) {
                    let ys: Vec<_> = pool.window.coordinates(0, row, height).collect();
                    let xs: Vec<_> = pool.window.coordinates(1, column, width).collect();
                    let cells = ys.iter().flat_map(|&y| xs.iter().map(move |&x| Some((y?, x?))));
                    let cells: Vec<Option<f64>> =
                        cells.map(|cell| cell.map(|(y, x)| plane[y * width + x])).collect();
                    codes.push(largest(&cells));
                }
            }
            Some(codes)
        }
        // Of [2, 4, 3] over the first and the last axis.
        Op::ReduceMax(_) => Some(
            (0..4)
                .map(|j| {
                    let cells = (0..2).flat_map(|i| (0..3).map(move |k| (i * 4 + j) * 3 + k));
                    largest(&cells.map(|at| Some(inputs[0][at])).collect::<Vec<_>>())
                })
                .collect(),
        ),
        Op::Branches(Branches { operation: operation @ (Arithmetic::Max | Arithmetic::Min) }) => {
            let sign = if *operation == Arithmetic::Max { 1.0 } else { -1.0 };
            let pairs = inputs[0].iter().zip(inputs[1]);
            Some(pairs.map(|(&a, &b)| largest(&[Some(sign * a), Some(sign * b)])).collect())
        }
        Op::ArithmeticConstant(ArithmeticConstant {
            operation: Arithmetic::Max | Arithmetic::Min,
            constant,
            ..
        }) => {
            let constants = constant.to::<f64>();
            Some(inputs[0].iter().zip(constants).map(|(&u, c)| above(u, &[c])).collect())
        }
        _ => None,
    }
}

/// Code and margin `[N][units]` of each layer, one unit after the other.
fn direct_codes(network: &Network, x: &Array2<f64>) -> Vec<(String, Margins)> {
    let all: Vec<Vec<Vec<f64>>> = (0..network.nodes().len()).map(|i| values(network, i, x)).collect();
    let mut layers = vec![];
    for (i, node) in network.nodes().iter().enumerate() {
        let of = |row: usize| {
            let inputs: Vec<&Vec<f64>> = node.inputs().iter().map(|&j| &all[j][row]).collect();
            direct(network, i, &inputs)
        };
        if let Some(codes) = (0..x.nrows()).map(of).collect() {
            layers.push((node.name().to_owned(), codes));
        }
    }
    layers
}

/// How many units are coded otherwise than by themselves; each is as near to a knot as rounding reaches.
fn compare<E: Engine>(engine: &E, network: &Network, x: &Array2<f64>, tolerance: f64) -> usize {
    let (layers, codes) = codes(engine, network, x);
    let direct = direct_codes(network, x);
    let names = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>();
    assert_eq!(
        names(&mut layers.iter().map(|layer| layer.name.clone())),
        names(&mut direct.iter().map(|(name, _)| name.clone()))
    );
    let mut off = 0;
    for ((layer, codes), (_, direct)) in layers.iter().zip(&codes).zip(&direct) {
        for (row, (codes, direct)) in codes.iter().zip(direct).enumerate() {
            assert_eq!((codes.len(), direct.len()), (layer.units, layer.units));
            for (unit, (&code, &(expected, margin))) in codes.iter().zip(direct).enumerate() {
                assert!((code as usize) < layer.pieces);
                if code != expected {
                    off += 1;
                    assert!(
                        margin < tolerance,
                        "{} of row {row}, unit {unit}: {code}, not {expected} by {margin:e}",
                        layer.name
                    );
                }
            }
        }
    }
    off
}

#[test]
fn every_operator_has_the_codes_of_its_units() {
    let (network, x) = (everything(), random_rows(31, 70, 60));
    let (layers, codes) = codes(&Cpu::<f64>::new(), &network, &x);
    let shapes: Vec<(&str, usize, usize, u32)> =
        layers.iter().map(|l| (l.name.as_str(), l.units, l.pieces, l.packing.bits)).collect();
    assert_eq!(
        shapes,
        [
            ("leaky", 90, 2, 1),
            ("six", 90, 3, 2),
            ("pool", 45, 6, 3),
            ("prelu", 45, 2, 1),
            ("abs", 45, 2, 1),
            ("larger", 45, 2, 1),
            ("smaller", 45, 2, 1),
            ("least", 40, 2, 1),
            ("most", 40, 2, 1),
            ("hard", 37, 3, 2),
            ("splined", 35, 6, 3),
            ("relu", 33, 2, 1),
            ("top", 4, 6, 3),
        ]
    );
    assert_eq!((layers[2].words(), layers[12].words()), (9..14, 35..36));
    // Every layer uses all of its pieces somewhere, or most.
    for (layer, codes) in layers.iter().zip(&codes) {
        let used = (0..layer.pieces as u32).filter(|code| codes.iter().flatten().any(|c| c == code)).count();
        assert!(used >= layer.pieces.min(4), "{}: {used}", layer.name);
    }
    assert!(compare(&Cpu::<f64>::new(), &network, &x, 1e-12) < 3);
    // 55,000 units, few of which lie within the rounding of f32.
    let off = compare(&Cpu::<f32>::new(), &network, &x, CLOSE);
    assert!(off < 20, "{off} units");
    if let Some(gpu) = gpu() {
        let off = compare(&gpu, &network, &x, CLOSE);
        assert!(off < 20, "{off} units");
    }
}

#[test]
fn what_is_fused_has_the_codes_of_what_is_not() {
    let engine = Cpu::<f32>::new();
    let (network, x) = (mlp(3, [5, 70, 4], Activation::LeakyRelu { slope: 0.0 }), random_rows(4, 200, 5));
    let fused = codes(&engine, &network, &x);
    let unfused = codes_of(&network.compile_unfolded(&engine).unwrap(), &x);
    assert_eq!(fused, unfused);
    assert_eq!(fused.0.iter().map(|layer| layer.units).collect::<Vec<_>>(), [70, 70]);
    // What is chosen counts its words from its first layer on.
    let program = network.compile(&engine).unwrap();
    let points = program.upload(x.mapv(|v| v as f32).view()).unwrap();
    let (second, outputs) = program.codes(&points, &fused.0[1..]).unwrap();
    let words = engine.receive_codes(engine.request_codes(second).unwrap()).unwrap();
    assert_eq!((words.len(), outputs.shape()), (200 * 3, &[200, 4][..]));
    let mut layer = fused.0[1].clone();
    layer.packing.first = 0;
    assert!(
        words
            .chunks_exact(3)
            .zip(&fused.1[1])
            .all(|(row, codes)| layer.unpack(row).eq(codes.iter().copied()))
    );
    layer.value = "nothing".to_owned();
    assert!(program.codes(&points, &[layer]).is_err());
}

#[test]
fn the_inactive_piece_of_relu_reaches_to_zero() {
    let mut builder = Network::builder();
    builder.input("x", &[4]).unwrap();
    let end = builder.layer(Activation::Relu).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let x = Array2::from_shape_vec((1, 4), vec![0.0, -0.0, 1e-30, -1e-30]).unwrap();
    let (_, codes) = codes(&Cpu::<f32>::new(), &network, &x);
    assert_eq!(codes[0][0], [0, 0, 1, 0]);
}

/// Where codes are equal, values are one affine function; in f64.
fn affine_by_code(network: &Network, x: &Array2<f64>, least: usize) {
    let (_, layers) = codes(&Cpu::<f64>::new(), network, x);
    let (values, jacobians) = jets(network, x);
    let mut regions: HashMap<Vec<u32>, Vec<usize>> = HashMap::new();
    for row in 0..x.nrows() {
        regions.entry(layers.iter().flat_map(|codes| codes[row].clone()).collect()).or_default().push(row);
    }
    let shared: Vec<&Vec<usize>> = regions.values().filter(|rows| rows.len() > 1).collect();
    assert!(shared.len() >= least, "{} regions, {} shared", regions.len(), shared.len());
    let affine = |row: usize| {
        let slopes = jacobians.slice(s![row, .., ..]);
        let offsets = &values.row(row) - &slopes.dot(&x.row(row));
        slopes.iter().copied().chain(offsets.iter().copied()).collect::<Vec<f64>>()
    };
    for rows in shared {
        for &row in &rows[1..] {
            let difference = relative_difference(affine(row), affine(rows[0]));
            assert!(difference < EXACT, "rows {row} and {}: {difference:e}", rows[0]);
        }
    }
}

#[test]
fn equal_codes_are_one_affine_function() {
    affine_by_code(&mlp(5, [2, 12, 3], Activation::Relu), &random_rows(6, 900, 2), 30);
    // Points close together on images, so that some share all of their codes.
    let mut x = random_rows(8, 120, 60);
    for row in (0..120).step_by(3) {
        for other in 1..3 {
            let near = x.row(row).to_owned() + other as f64 * 1e-6 * &x.row(row + other);
            x.row_mut(row + other).assign(&near);
        }
    }
    affine_by_code(&everything(), &x, 30);
}

#[test]
fn intervals_have_no_codes() {
    let engine = Interval::new();
    let program = mlp(3, [2, 3, 2], Activation::Relu).compile(&engine).unwrap();
    let layers = program.coded_layers("the test").unwrap();
    let x = engine.boxes(&[0.0; 2], &[1.0; 2], &[1, 2]).unwrap();
    let text = program.codes(&x, &layers).err().unwrap().to_string();
    assert!(text.contains("may reach over several pieces"), "{text}");
}

fn on_slice(network: &Network, slice: &Slice) -> Network {
    network.on_slice(&slice.origin, &[&slice.u, &slice.v]).unwrap()
}

#[test]
fn networks_on_a_slice_have_the_codes_of_their_points() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let load = |name: &str| {
        let path = root.join("assets").join(name);
        onnx::load(&path, &onnx::LoadOptions::default()).unwrap().network
    };
    for network in [everything(), load("digits_relu.onnx"), load("digits_cnn.onnx"), load("moons.onnx")] {
        let network = network.cut(None, None).unwrap();
        let dimension = network.nodes()[0].shape().iter().product();
        let [origin, u, v] = [1, 2, 3].map(|seed| random(seed, dimension));
        let slice = Slice { origin, u, v };
        let at = random_rows(9, 60, 2) * 0.5;
        let points: Vec<f64> = at.rows().into_iter().flat_map(|row| slice.point(row[0], row[1])).collect();
        let points = Array2::from_shape_vec((60, dimension), points).unwrap();
        let engine = Cpu::<f64>::new();
        let whole = codes(&engine, &network, &points);
        assert!(!whole.0.is_empty());
        assert_eq!(codes(&engine, &on_slice(&network, &slice), &at), whole);
    }
}

#[test]
fn smooth_operators_are_refused_by_name() {
    let refused =
        |network: &Network| match network.compile(&Cpu::<f32>::new()).unwrap().coded_layers("a tool") {
            Err(error @ Error::MissingSlot { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
    let text = refused(&mlp(1, [3, 4, 2], Activation::Sigmoid));
    assert_eq!(
        text,
        "a tool needs affine pieces of every operator, which Sigmoid ('Sigmoid2') does not have"
    );
    let mut builder = Network::builder();
    builder.input("x", &[5]).unwrap();
    let end = builder.layer(Softmax { axis: 0, log: false }).unwrap();
    assert!(refused(&builder.finish(&[end]).unwrap()).contains("Softmax ('Softmax1')"));
    let mut builder = Network::builder();
    let x = builder.input("x", &[5]).unwrap();
    let relu = builder.add("relu", Activation::Relu, &[x]).unwrap();
    let end = builder.add("product", Branches { operation: Arithmetic::Mul }, &[relu, x]).unwrap();
    assert!(refused(&builder.finish(&[end]).unwrap()).contains("Mul ('product')"));
    // An affine network has no layers with codes.
    let mut builder = Network::builder();
    builder.input("x", &[5]).unwrap();
    let end = builder.layer(dense(1, 5, 2)).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let program = network.compile(&Cpu::<f32>::new()).unwrap();
    assert_eq!(program.coded_layers("a tool").unwrap(), []);
}
