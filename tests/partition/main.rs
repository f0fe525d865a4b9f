//! Exact partitions of planes: against known counts, brute force over grids, and values and codes computed point by point.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod by_hand;
#[path = "../common/mod.rs"]
mod common;
mod networks;

use std::collections::{HashMap, HashSet};

use common::regions::{layer, relus};
use common::{dense, mlp};
use fenchel::Error;
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Window};
use fenchel::network::operators::{ArithmeticConstant, Branches, MaxPool, ReduceMax};
use fenchel::network::{Network, Op};
use fenchel::regions::Partition;
use fenchel::spline::slice::Slice;
use fenchel::tolerance::{EXACT, relative_difference};
use ndarray::Array2;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn partition(network: &Network) -> Partition {
    Partition::new(network, &Context::default()).unwrap()
}

fn on(network: &Network, slice: &Slice) -> Network {
    network.on_slice(&slice.origin, &[&slice.u, &slice.v]).unwrap()
}

/// A node's values at points of the plane, in f64, without the partition: `[N, n]`.
fn values(network: &Network, node: Option<&str>, points: &[[f64; 2]]) -> Array2<f64> {
    let program = network.cut(None, node).unwrap().compile(&Cpu::<f64>::new()).unwrap();
    let points = Array2::from_shape_vec((points.len(), 2), points.concat()).unwrap();
    program.values(points.view(), &Context::default()).unwrap()
}

/// Codes of the units of a layer from the values that it takes.
type Codes<'a> = dyn Fn(&[Vec<f64>]) -> Vec<Option<u32>> + 'a;

/// The codes of a network at points, by the values of what feeds each layer, `[N][layer][unit]`; `None` where a unit is
/// nearer a knot, or two elements nearer each other, than rounding.
fn codes(network: &Network, points: &[[f64; 2]]) -> Vec<Vec<Vec<Option<u32>>>> {
    let mut codes = vec![vec![]; points.len()];
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let by_knots = |knots: &[f64], u: f64| {
        let code = knots.iter().filter(|&&knot| knot < u).count() as u32;
        (!knots.iter().any(|&knot| near(knot, u))).then_some(code)
    };
    let largest = |terms: &[(u32, f64)]| {
        let most = terms.iter().map(|term| term.1).fold(f64::MIN, f64::max);
        let first = terms.iter().find(|term| term.1 == most).unwrap().0;
        let rivals = terms.iter().filter(|term| near(term.1, most)).count();
        // Several that are equal to the bit are equal everywhere near: the first wins.
        let equal = terms.iter().filter(|term| term.1 == most).count();
        (rivals == equal).then_some(first)
    };
    for node in network.nodes() {
        let Some(op) = node.op() else { continue };
        let below = || -> Vec<Array2<f64>> {
            let names = node.inputs().iter().map(|&j| network.nodes()[j].value());
            names.map(|name| values(network, Some(name), points)).collect()
        };
        let shape = network.nodes()[node.inputs().first().copied().unwrap_or(0)].shape().to_vec();
        let layer: Box<Codes> = match op {
            Op::Activation(activation) if activation.kinks().is_empty() => continue,
            Op::Activation(activation) => {
                let knots = activation.kinks();
                Box::new(move |u| u[0].iter().map(|&u| by_knots(&knots, u)).collect())
            }
            Op::PiecewiseAffine(function) => {
                Box::new(|u| u[0].iter().map(|&u| by_knots(function.knots(), u)).collect())
            }
            Op::PRelu(_) => Box::new(|u| u[0].iter().map(|&u| by_knots(&[0.0], u)).collect()),
            Op::ArithmeticConstant(ArithmeticConstant {
                operation: Arithmetic::Max | Arithmetic::Min,
                constant,
                ..
            }) => {
                let constant = constant.to::<f64>();
                let knot = move |i: usize| constant[i % constant.len()];
                Box::new(move |u| u[0].iter().enumerate().map(|(i, &u)| by_knots(&[knot(i)], u)).collect())
            }
            Op::Branches(Branches { operation: operation @ (Arithmetic::Max | Arithmetic::Min) }) => {
                let sign = if *operation == Arithmetic::Max { 1.0 } else { -1.0 };
                Box::new(move |u| {
                    let pair = |(a, b): (&f64, &f64)| largest(&[(0, sign * a), (1, sign * b)]);
                    u[0].iter().zip(&u[1]).map(pair).collect()
                })
            }
            // Windows of 2 x 2 with stride 2, and maxima over the image: what the networks below have.
            Op::MaxPool(MaxPool { window }) => {
                assert_eq!(*window, Window::new([2, 2]).with_strides([2, 2]));
                let [channels, height, width] = shape[..] else { panic!() };
                Box::new(move |u| {
                    let mut codes = vec![];
                    for channel in 0..channels {
                        for (row, column) in
                            (0..height / 2).flat_map(|row| (0..width / 2).map(move |column| (row, column)))
                        {
                            let at =
                                |i: usize| (channel * height + 2 * row + i / 2) * width + 2 * column + i % 2;
                            codes.push(largest(&[0, 1, 2, 3].map(|i| (i as u32, u[0][at(i)]))));
                        }
                    }
                    codes
                })
            }
            Op::ReduceMax(ReduceMax { axes, .. }) => {
                assert_eq!(axes, &[1, 2]);
                let area = shape[1] * shape[2];
                Box::new(move |u| {
                    let terms = |image: &[f64]| (0_u32..).zip(image.iter().copied()).collect::<Vec<_>>();
                    u[0].chunks(area).map(|image| largest(&terms(image))).collect()
                })
            }
            _ => continue,
        };
        let below = below();
        for (i, code) in codes.iter_mut().enumerate() {
            code.push(layer(&below.iter().map(|u| u.row(i).to_vec()).collect::<Vec<_>>()));
        }
    }
    codes
}

/// Points of a polygon: random mixtures of its corners.
fn inside(corners: &[[f64; 2]], count: usize, rng: &mut ChaCha8Rng) -> Vec<[f64; 2]> {
    let point = |_| {
        let weights: Vec<f64> = corners.iter().map(|_| rng.random_range(0.0..1.0_f64)).collect();
        let sum: f64 = weights.iter().sum();
        [0, 1].map(|i| corners.iter().zip(&weights).map(|(corner, w)| corner[i] * w / sum).sum())
    };
    (0..count).map(point).collect()
}

fn unpacked(partition: &Partition, region: usize) -> Vec<Vec<u32>> {
    let code = partition.region(region).code;
    let layer = |layer: &fenchel::regions::CodeLayer| (0..layer.units).map(|i| layer.get(code, i)).collect();
    partition.layers().iter().map(layer).collect()
}

/// That a partition is one: polygons that cover the square, convex, and meet; maps and codes of the network at `count`
/// points in each; no two equal codes.
fn check(network: &Network, count: usize) -> Partition {
    let partition = partition(network);
    assert!((partition.area() - 4.0).abs() < 1e-9, "{}", partition.area());
    let mesh = partition.mesh();
    // Euler's formula for a disc: nothing hangs, nothing overlaps.
    let parts = [partition.vertices().len(), mesh.edges.len(), partition.len()].map(|n| n as i64);
    assert_eq!((mesh.open, parts[0] - parts[1] + parts[2]), (0, 1));
    let different: HashSet<&[u32]> = partition.regions().map(|region| region.code).collect();
    assert_eq!(different.len(), partition.len());

    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut points = vec![];
    for i in 0..partition.len() {
        let corners: Vec<[f64; 2]> = partition.polygon(i).collect();
        for j in 0..corners.len() {
            let [a, b, c] = [0, 1, 2].map(|k| corners[(j + k) % corners.len()]);
            let turn = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]);
            assert!(turn > -1e-14, "region {i} is not convex: {turn:e}");
        }
        points.extend(inside(&corners, count, &mut rng));
    }
    let exact = values(network, None, &points);
    let maps = points.iter().enumerate().flat_map(|(at, &point)| {
        let region = partition.region(at / count);
        (0..partition.outputs()).map(move |k| region.value(k, point))
    });
    let difference = relative_difference(maps, exact.iter().copied());
    assert!(difference < EXACT, "{difference:e}");
    // Codes at some of the points: they take a pass for each layer.
    let step = points.len().div_ceil(3000) | 1;
    let some: Vec<usize> = (0..points.len()).step_by(step).collect();
    let mut clear = 0;
    let found = codes(network, &some.iter().map(|&at| points[at]).collect::<Vec<_>>());
    for (&at, code) in some.iter().zip(found) {
        let own = unpacked(&partition, at / count);
        assert_eq!(own.len(), code.len());
        for (own, code) in own.iter().zip(&code) {
            assert_eq!(own.len(), code.len());
            let agree = |(own, code): (&u32, &Option<u32>)| code.is_none_or(|code| code == *own);
            assert!(own.iter().zip(code).all(agree), "point {at}");
        }
        clear += usize::from(code.iter().flatten().all(Option::is_some));
    }
    assert!(10 * clear > 8 * some.len(), "{clear} of {} points are clear of knots", some.len());
    partition
}

/// Every code on a fine grid is the code of a region; returns how many there are.
fn check_against_grid(network: &Network, partition: &Partition, side: usize) -> usize {
    let known: HashMap<Vec<Vec<u32>>, usize> =
        (0..partition.len()).map(|i| (unpacked(partition, i), i)).collect();
    let at = |i: usize| (2 * i + 1) as f64 / side as f64 - 1.0;
    let points: Vec<[f64; 2]> = (0..side * side).map(|i| [at(i % side), at(i / side)]).collect();
    let mut seen = HashSet::new();
    for (point, code) in points.iter().zip(codes(network, &points)) {
        let Some(code) =
            code.into_iter().map(|layer| layer.into_iter().collect()).collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        let region = known.get(&code);
        seen.insert(*region.unwrap_or_else(|| panic!("the region at {point:?} is missing")));
    }
    seen.len()
}

#[test]
fn decision_boundaries_are_where_the_largest_outputs_are_equal() {
    let network = mlp(11, [2, 14, 4], Activation::Relu);
    let partition = check(&network, 1);
    let classes = partition.classes(&[0, 1, 2, 3]).unwrap();
    assert!((classes.areas().iter().sum::<f64>() - 4.0).abs() < 1e-9);
    assert_eq!(classes.mesh().open, 0);
    let boundary = classes.boundary();
    assert!(boundary.len() > 5, "{}", boundary.len());
    for segment in &boundary {
        let [a, b] = segment.ends;
        let points = [0.0, 0.3, 0.9, 1.0].map(|x| [a[0] + x * (b[0] - a[0]), a[1] + x * (b[1] - a[1])]);
        for row in values(&network, None, &points).rows() {
            let most = row.iter().copied().fold(f64::MIN, f64::max);
            assert!(segment.classes.iter().all(|&class| (row[class as usize] - most).abs() < 1e-12), "{row}");
        }
        // To the left of the way the first class is the larger.
        let length = (b[0] - a[0]).hypot(b[1] - a[1]);
        let left = [(a[1] - b[1]) / length, (b[0] - a[0]) / length];
        let step = 1e-6 * length;
        let beside = [0, 1].map(|i| 0.5 * (a[i] + b[i]) + step * left[i]);
        let row = values(&network, None, &[beside]).row(0).to_vec();
        assert!(row[segment.classes[0] as usize] > row[segment.classes[1] as usize]);
    }
    // Each part has its class.
    for (i, &class) in classes.classes().iter().enumerate() {
        let corners: Vec<[f64; 2]> = classes.polygon(i).collect();
        let middle = [0, 1].map(|j| corners.iter().map(|c| c[j]).sum::<f64>() / corners.len() as f64);
        let row = values(&network, None, &[middle]).row(0).to_vec();
        assert!(row.iter().all(|&v| v <= row[class as usize] + 1e-12));
    }
    assert!(partition.classes(&[1]).is_err() && partition.classes(&[1, 4]).is_err());
}

#[test]
fn boundaries_along_edges_of_regions() {
    // Outputs 0 and relu(s): equal on all of the left half, where the first counts, and the boundary is the edge s = 0.
    let network = relus::<2>([layer([[1.0], [0.0]], [0.0]), layer([[0.0, 1.0]], [0.0, 0.0])]);
    let boundary = check_degenerate(&network, 1).classes(&[0, 1]).unwrap().boundary();
    assert_eq!(boundary.len(), 1);
    assert!(boundary[0].ends.iter().all(|end| end[0] == 0.0 && end[1].abs() == 1.0));
    assert_eq!(boundary[0].classes.iter().sum::<u32>(), 1);
}

#[test]
fn threads_and_memory_change_nothing() {
    let network = mlp(13, [2, 24, 3], Activation::Relu);
    let with = |threads: usize, memory: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let context = Context::default().with_memory(memory);
        let partition = pool.install(|| Partition::new(&network, &context)).unwrap();
        let of = |i: usize| {
            let region = partition.region(i);
            let numbers = [region.slopes, region.offsets, &[region.area]].concat();
            let polygon: Vec<[f64; 2]> = partition.polygon(i).collect();
            (polygon, numbers, region.code.to_vec())
        };
        (0..partition.len()).map(of).collect::<Vec<_>>()
    };
    let one = with(1, 768 << 20);
    assert!(one.len() > 200 && one == with(5, 768 << 20) && one == with(2, 1 << 20));
    let refused = Partition::new(&network, &Context::default().with_memory(20 << 10)).unwrap_err();
    assert!(matches!(refused, Error::Memory { .. }), "{refused}");
}

#[test]
fn what_is_not_piecewise_affine_is_refused_by_name() {
    let refused = |network: &Network| Partition::new(network, &Context::default()).unwrap_err().to_string();
    let text = refused(&mlp(1, [2, 3, 1], Activation::Tanh));
    assert_eq!(text, "a partition needs affine pieces of every operator, which Tanh ('Tanh2') does not have");
    assert!(refused(&mlp(1, [3, 3, 1], Activation::Relu)).contains("a network of 2 inputs, not 3"));
    let mut builder = Network::builder();
    builder.input("x", &[2]).unwrap();
    let step = ArithmeticConstant { operation: Arithmetic::AtLeast, constant: 0.3.into(), reversed: false };
    let end = builder.layer(step).unwrap();
    let text = refused(&builder.finish(&[end]).unwrap());
    assert!(text.contains("GreaterOrEqual ('GreaterOrEqual1') is not"), "{text}");
    let stopped = Context::default();
    let cancellation = fenchel::engine::Cancellation::default();
    cancellation.cancel();
    let stopped = stopped.with_cancellation(cancellation);
    let network = mlp(13, [2, 24, 3], Activation::Relu);
    assert!(matches!(Partition::new(&network, &stopped), Err(Error::Cancelled)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Weights on a coarse grid make many lines coincide, meet in one point and run along others.
    #[test]
    fn coarse_weights(weights in proptest::collection::vec(-2_i8..=2, 60), seed in 0_u64..1000) {
        let number = |i: usize| f64::from(weights[i]) * 0.25;
        let first = layer([[0, 1, 2, 3, 4].map(number), [5, 6, 7, 8, 9].map(number)], [10, 11, 12, 13, 14].map(number));
        let rows = [15, 20, 25, 30, 35].map(|row| [0, 1, 2, 3].map(|i| number(row + i)));
        let second = layer(rows, [40, 41, 42, 43].map(number));
        let last = layer([45, 47, 49, 51].map(|row| [number(row), number(row + 1)]), [0.1, 0.2]);
        let network = relus::<2>([first, second, last]);
        let partition = check_degenerate(&network, seed);
        check_against_grid(&network, &partition, 41);
    }

    /// Narrow networks of many layers.
    #[test]
    fn deep_networks(seed in 0_u64..10_000) {
        let mut layers = vec![dense(seed, 2, 6)];
        layers.extend((1..7).map(|i| dense(seed + 2 * i, 6, 6)));
        layers.push(dense(seed + 50, 6, 2));
        let network = relus::<2>(layers);
        let partition = check(&network, 5);
        check_against_grid(&network, &partition, 60);
    }
}

/// As [`check`], of networks many of whose units are on knots all over, where codes of points say little.
fn check_degenerate(network: &Network, seed: u64) -> Partition {
    let partition = partition(network);
    assert!((partition.area() - 4.0).abs() < 1e-9);
    let mesh = partition.mesh();
    let parts = [partition.vertices().len(), mesh.edges.len(), partition.len()].map(|n| n as i64);
    assert_eq!((mesh.open, parts[0] - parts[1] + parts[2]), (0, 1));
    let different: HashSet<&[u32]> = partition.regions().map(|region| region.code).collect();
    assert_eq!(different.len(), partition.len());
    // Lines with coefficients of eighths cross at no small angle: what is small is rounding.
    assert!(partition.regions().all(|region| region.area > 1e-7));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let points: Vec<[f64; 2]> = (0..partition.len())
        .flat_map(|i| inside(&partition.polygon(i).collect::<Vec<_>>(), 10, &mut rng))
        .collect();
    let exact = values(network, None, &points);
    for (at, (&point, row)) in points.iter().zip(exact.rows()).enumerate() {
        let region = partition.region(at / 10);
        assert!(row.iter().enumerate().all(|(k, v)| (region.value(k, point) - v).abs() < 1e-12));
    }
    partition
}
