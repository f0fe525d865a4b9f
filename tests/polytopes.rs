//! Polytopes of points, straight paths and densities: against formulas, sampling and the network itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::regions::{codes, layer, numbers, relus};
use common::{dense, mlp, random};
use fenchel::Error;
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Window};
use fenchel::network::operators::{Branches, Convolution, MaxPool, ReduceMax};
use fenchel::network::{Constant, Network};
use fenchel::regions::{Boundary, Polytope, breakpoints, density};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn polytope(network: &Network, x: &[f64], limits: Option<[f64; 2]>) -> Polytope {
    Polytope::new(network, x, limits, &Context::default()).unwrap()
}

fn values(network: &Network, points: &Array2<f64>) -> Array2<f64> {
    network.compile(&Cpu::<f64>::new()).unwrap().values(points.view(), &Context::default()).unwrap()
}

fn rows(points: &[Vec<f64>]) -> Array2<f64> {
    Array2::from_shape_vec((points.len(), points[0].len()), points.concat()).unwrap()
}

/// Random points inside by hit and run: along random directions between the walls.
fn inside(polytope: &Polytope, count: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut x = polytope.centre().to_vec();
    let mut points = vec![];
    for _ in 0..count {
        let direction: Vec<f64> = x.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
        let (mut low, mut high) = (-5.0_f64, 5.0_f64);
        for i in 0..polytope.constraints() {
            let (a, b, _) = polytope.constraint(i);
            let dot = |y: &[f64]| a.iter().zip(y).map(|(a, y)| a * y).sum::<f64>();
            let (speed, room) = (dot(&direction), b - dot(&x));
            if speed > 0.0 {
                high = high.min(room / speed);
            } else if speed < 0.0 {
                low = low.max(room / speed);
            }
        }
        let step = low + (high - low) * rng.random_range(0.001..0.999);
        x.iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
        points.push(x.clone());
    }
    points
}

/// All that a polytope of a network promises.
fn check(network: &Network, x: &[f64], limits: Option<[f64; 2]>) -> Polytope {
    let polytope = polytope(network, x, limits);
    let own = numbers(polytope.layers(), polytope.code());
    let mut points = inside(&polytope, 300, 3);
    points.push(x.to_vec());
    points.push(polytope.centre().to_vec());
    // Points inside have its code, and its affine map.
    let points = rows(&points);
    for (i, code) in codes(network, &points).iter().enumerate() {
        assert!(*code == own, "point {i}");
    }
    let exact = values(network, &points);
    let k = exact.ncols();
    let maps = points.rows().into_iter().flat_map(|x| {
        let polytope = &polytope;
        (0..k).map(move |k| {
            polytope.offset(k) + polytope.slope(k).iter().zip(x).map(|(p, x)| p * x).sum::<f64>()
        })
    });
    let difference = relative_difference(maps, exact.iter().copied());
    assert!(difference < EXACT, "{difference:e}");
    // The centre is as deep as it says.
    let depth = (0..polytope.constraints()).map(|i| {
        let (a, b, _) = polytope.constraint(i);
        b - a.iter().zip(polytope.centre()).map(|(a, x)| a * x).sum::<f64>()
    });
    let depth = depth.fold(f64::INFINITY, f64::min);
    assert!(polytope.inradius().is_none_or(|radius| (radius - depth).abs() < EXACT && radius > 0.0));
    // No other point is deeper.
    let depth = |x: &[f64]| {
        let slack = |i: usize| {
            let (a, b, _) = polytope.constraint(i);
            b - a.iter().zip(x).map(|(a, x)| a * x).sum::<f64>()
        };
        (0..polytope.constraints()).map(slack).fold(f64::INFINITY, f64::min)
    };
    let deepest = points.rows().into_iter().map(|x| depth(&x.to_vec())).fold(f64::MIN, f64::max);
    assert!(polytope.inradius().is_none_or(|radius| deepest <= radius + EXACT));
    // A facet's point is on it and inside the others; just across lies its neighbour.
    let facets: Vec<usize> = polytope.facets().iter().map(|facet| facet.constraint).collect();
    let mut across = vec![];
    for facet in polytope.facets() {
        let (a, b, _) = polytope.constraint(facet.constraint);
        let room = |i: usize| {
            let (a, b, _) = polytope.constraint(i);
            b - a.iter().zip(&facet.point).map(|(a, x)| a * x).sum::<f64>()
        };
        assert!(room(facet.constraint).abs() < EXACT);
        let least = facets.iter().filter(|&&i| i != facet.constraint).map(|&i| room(i)).fold(1.0, f64::min);
        assert!(least > 0.0, "{least:e}");
        let Some(neighbour) = &facet.neighbour else { continue };
        let step = (1e-3 * least).min(CLOSE);
        across.push((
            facet.point.iter().zip(a).map(|(x, a)| x + step * a).collect::<Vec<_>>(),
            neighbour.clone(),
            step,
        ));
        assert!((b - a.iter().zip(x).map(|(a, x)| a * x).sum::<f64>() - facet.distance).abs() < EXACT);
        let Boundary::Unit { layer, unit, from, to, .. } = facet.boundary else { panic!() };
        assert_eq!(
            (
                polytope.layers()[layer].get(polytope.code(), unit),
                polytope.layers()[layer].get(neighbour, unit)
            ),
            (from, to)
        );
    }
    if !across.is_empty() {
        let points = rows(&across.iter().map(|(x, ..)| x.clone()).collect::<Vec<_>>());
        for (code, (_, neighbour, step)) in codes(network, &points).iter().zip(&across) {
            // Beyond so short a step there may be yet another region.
            assert!(*step < 10.0 * EXACT || *code == numbers(polytope.layers(), neighbour), "{step:e}");
        }
    }
    // What is left out is never violated where the facets are not: far points along many rays.
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for _ in 0..500 {
        let direction: Vec<f64> = x.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
        let hit = |i: usize| {
            let (a, b, _) = polytope.constraint(i);
            let dot = |y: &[f64]| a.iter().zip(y).map(|(a, y)| a * y).sum::<f64>();
            let speed = dot(&direction);
            if speed > 0.0 { (b - dot(polytope.centre())) / speed } else { f64::INFINITY }
        };
        let all = (0..polytope.constraints()).map(hit).fold(f64::INFINITY, f64::min);
        let kept = facets.iter().map(|&i| hit(i)).fold(f64::INFINITY, f64::min);
        assert!(kept == all || (kept - all).abs() <= EXACT * all, "{kept} {all}");
    }
    polytope
}

/// A convolution, leaky ReLU, max-pooling, a residual branch, a maximum over the image and a dense end.
fn images(seed: u64) -> Network {
    let kernel = |seed: u64, from: usize, to: usize| {
        let weights = random(seed, to * from * 9).iter().map(|w| 0.4 * (w - 0.5)).collect();
        let weights = Constant::f64([to, from, 3, 3], weights).unwrap();
        let bias =
            Constant::f64([to], random(seed + 1, to).iter().map(|b| 0.2 * (b - 0.5)).collect()).unwrap();
        Convolution::new(weights, Some(bias), Window::new([3, 3]).with_pads([1; 4]), 1).unwrap()
    };
    let mut builder = Network::builder();
    builder.input("x", &[1, 6, 6]).unwrap();
    builder.layer(kernel(seed, 1, 3)).unwrap();
    builder.layer(Activation::LeakyRelu { slope: 0.1 }).unwrap();
    let pooled = builder.layer(MaxPool { window: Window::new([2, 2]).with_strides([2, 2]) }).unwrap();
    builder.layer(kernel(seed + 2, 3, 3)).unwrap();
    let bent = builder.layer(Activation::Relu).unwrap();
    builder.add("sum", Branches { operation: Arithmetic::Add }, &[bent, pooled]).unwrap();
    builder.layer(ReduceMax { axes: vec![1, 2], keep: false }).unwrap();
    let end = builder.layer(dense(seed + 4, 3, 2)).unwrap();
    builder.finish(&[end]).unwrap()
}

#[test]
fn boxes_and_simplices_have_their_known_centres() {
    // x, y >= 0 and x + y <= 1: the inscribed circle has radius 1 - 1/sqrt 2. Outputs x + y and 1 - x - y.
    let network = relus::<2>([
        layer([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]], [0.0, 0.0, 1.0]),
        layer([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]),
    ]);
    let simplex = check(&network, &[0.2, 0.3], None);
    let radius = 1.0 - 0.5_f64.sqrt();
    assert!((simplex.inradius().unwrap() - radius).abs() < EXACT);
    assert!(simplex.centre().iter().all(|x| (x - radius).abs() < EXACT));
    assert_eq!(simplex.facets().len(), 3);
    let (wall, distance) = simplex.nearest().unwrap();
    assert!((distance - 0.2).abs() < EXACT);
    assert!(matches!(
        simplex.constraint(wall).2,
        Boundary::Unit { layer: 0, unit: 0, from: 1, to: 0, knot: Some(0.0) }
    ));
    // Both outputs are 1/2 on x + y = 1/2: on the point itself; from (0.1, 0.2) it is 0.2 / sqrt 2.
    let other = polytope(&network, &[0.1, 0.2], None);
    let decision = other.decision(&[0, 1]).unwrap();
    assert_eq!((decision.class, decision.other, decision.inside), (1, 0, true));
    assert!((decision.distance - 0.2 / 2.0_f64.sqrt()).abs() < EXACT);
    let ray = other.ray(&[1.0, 0.0], &[0, 1]).unwrap();
    let ((exit, at), (class, change)) = (ray.exit.unwrap(), ray.change.unwrap());
    assert!((at - 0.7).abs() < EXACT && (change - 0.2).abs() < EXACT && class == 0);
    assert!(matches!(other.constraint(exit).2, Boundary::Unit { unit: 2, .. }));
    // One unit and a box: [0, 2] x [-2, 2], whose largest ball is not the only one.
    let half = relus::<2>([layer([[1.0], [0.0]], [0.0]), layer([[1.0]], [0.0])]);
    let boxed = check(&half, &[1.0, 1.0], Some([-2.0, 2.0]));
    assert!((boxed.inradius().unwrap() - 1.0).abs() < EXACT && (boxed.centre()[0] - 1.0).abs() < EXACT);
    assert_eq!((boxed.constraints(), boxed.facets().len()), (5, 4));
    // Without one the half-plane holds balls of any size.
    let open = check(&half, &[1.0, 1.0], None);
    assert_eq!((open.inradius(), open.facets().len(), open.constraints()), (None, 1, 1));
}

#[test]
fn polytopes_of_dense_networks() {
    for (seed, dimension, hidden, activation) in [
        (1, 2, 12, Activation::Relu),
        (2, 3, 20, Activation::LeakyRelu { slope: 0.1 }),
        (3, 6, 24, Activation::Clip { low: -0.2, high: 0.3 }),
        (4, 20, 30, Activation::Relu),
    ] {
        let network = mlp(seed, [dimension, hidden, 3], activation);
        let x: Vec<f64> = random(seed + 50, dimension).iter().map(|x| 0.5 * x).collect();
        let boxed = check(&network, &x, Some([-2.0, 2.0]));
        assert!(boxed.facets().len() > dimension && boxed.facets().len() <= boxed.constraints());
        check(&network, &x, None);
    }
}

#[test]
fn polytopes_of_images_with_maxima() {
    let network = images(31);
    for seed in [1, 2] {
        let x = random(seed, 36);
        let polytope = check(&network, &x, Some([-3.0, 4.0]));
        let of = |wanted: usize| {
            let is = |facet: &&fenchel::regions::Facet| matches!(facet.boundary, Boundary::Unit { layer, .. } if layer == wanted);
            polytope.facets().iter().filter(is).count()
        };
        assert!(of(0) > 0 && of(1) > 0 && of(2) > 0);
    }
}

#[test]
fn many_walls_in_many_dimensions() {
    // Enough of both that the centre is sought among the nearest walls, and rays are taken together.
    let network = mlp(6, [33, 150, 3], Activation::Relu);
    let x: Vec<f64> = random(61, 33).iter().map(|x| 0.3 * x).collect();
    let limits = Some([-2.0, 2.0]);
    let whole = check(&network, &x, limits);
    assert!(whole.constraints() > 6 * 34 && whole.undecided() == 0);
    let numbers = |p: &Polytope| {
        p.facets().iter().map(|facet| facet.constraint).collect::<std::collections::BTreeSet<_>>()
    };
    let all = numbers(&whole);
    for programs in [0, 10] {
        let part = Polytope::with_programs(&network, &x, limits, programs, &Context::default()).unwrap();
        let found = numbers(&part);
        assert_eq!((part.centre(), part.inradius()), (whole.centre(), whole.inradius()));
        assert!(found.is_subset(&all) && part.undecided() > 0);
        assert!(all.len() - found.len() <= part.undecided());
    }
}

#[test]
fn units_that_coincide_are_one_facet_and_dead_ones_none() {
    // Units 0 and 2 are the same up to a factor, 3 is constant, 4 has no weights and sits on its knot.
    let network = relus::<2>([
        layer([[1.0, 0.5, 2.0, 0.0, 0.0], [0.5, -1.0, 1.0, 0.0, 0.0]], [0.1, 0.3, 0.2, 1.0, 0.0]),
        layer([[1.0], [1.0], [-1.0], [1.0], [1.0]], [0.0]),
    ]);
    let polytope = check(&network, &[0.4, 0.3], Some([-1.0, 1.0]));
    assert_eq!(polytope.code(), [0b01111]);
    assert_eq!(polytope.constraints(), 3 + 4);
    let units: Vec<Boundary> = polytope.facets().iter().map(|facet| facet.boundary).collect();
    let first = units.iter().filter(|b| matches!(b, Boundary::Unit { unit: 0 | 2, .. })).count();
    assert_eq!(first, 1);
    let facet =
        polytope.facets().iter().find(|f| matches!(f.boundary, Boundary::Unit { unit: 0, .. })).unwrap();
    assert_eq!(facet.neighbour.as_deref(), Some(&[0b01010][..]));
    // A point on a boundary is on the lower piece, and at distance 0.
    let on = self::polytope(&network, &[-0.1, 0.0], Some([-1.0, 1.0]));
    assert_eq!(on.code(), [0b01010]);
    assert!(on.nearest().unwrap().1 < EXACT && on.inradius().unwrap() > 0.1);
}

#[test]
fn paths_have_every_breakpoint() {
    for (network, d) in [
        (mlp(1, [5, 30, 3], Activation::Relu), 5),
        (mlp(2, [2, 40, 2], Activation::LeakyRelu { slope: 0.1 }), 2),
        (mlp(3, [3, 16, 2], Activation::Clip { low: -0.2, high: 0.3 }), 3),
        (images(41), 36),
    ] {
        let (x, y) = (random(7, d), random(8, d).iter().map(|y| 3.0 - 4.0 * y).collect::<Vec<_>>());
        let path = breakpoints(&network, &x, &y, &Context::default()).unwrap();
        let point = |t: f64| x.iter().zip(&y).map(|(x, y)| x + t * (y - x)).collect::<Vec<f64>>();
        let places = path.places();
        assert!(path.regions() > 5 && places.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((places[0], places[path.regions()]), (0.0, 1.0));
        // The code is one all along each stretch: the first one with all changes so far.
        let mut code = codes(&network, &rows(&[point(0.5 * places[1])])).remove(0);
        let starts: Vec<usize> = path
            .layers()
            .iter()
            .scan(0, |sum, layer| {
                *sum += layer.units;
                Some(*sum - layer.units)
            })
            .collect();
        let mut changes = path.breakpoints().iter().peekable();
        let mut seen = 0;
        for pair in places.windows(2) {
            while let Some(change) = changes.next_if(|change| change.at <= pair[0] + EXACT) {
                let unit = &mut code[starts[change.layer] + change.unit];
                assert_eq!(*unit, change.from);
                *unit = change.to;
            }
            let stretch = pair[1] - pair[0];
            let inner: Vec<Vec<f64>> =
                [0.01, 0.4, 0.99].iter().map(|s| point(pair[0] + s * stretch)).collect();
            if stretch > CLOSE {
                assert!(codes(&network, &rows(&inner)).iter().all(|found| *found == code), "{pair:?}");
                seen += 1;
            }
        }
        assert!(seen > 5 && changes.next().is_none());
        // Values, densely sampled.
        let ts: Vec<f64> = (0..2000).map(|i| (i as f64 + 0.5) / 2000.0).collect();
        let exact = values(&network, &rows(&ts.iter().map(|&t| point(t)).collect::<Vec<_>>()));
        let k = exact.ncols();
        let own = ts.iter().flat_map(|&t| (0..k).map(move |k| (k, t))).map(|(k, t)| path.value(k, t));
        let difference = relative_difference(own, exact.iter().copied());
        assert!(difference < EXACT, "{difference:e}");
        // Classes, too.
        let outputs: Vec<usize> = (0..k).collect();
        let (first, changes) = path.classes(&outputs);
        for (t, row) in ts.iter().zip(exact.rows()) {
            let class =
                changes.iter().take_while(|change| change.at < *t).last().map_or(first, |change| change.to);
            let most = row.iter().copied().fold(f64::MIN, f64::max);
            assert!(most - row[class] < EXACT, "{t}: {row}");
        }
    }
}

#[test]
fn paths_by_hand_and_on_boundaries() {
    // |s| + |s - 1/4|, from s = -1 to s = 1: breakpoints at 1/2 and 5/8 of the way, two units at each.
    let network = relus::<1>([
        layer([[1.0, -1.0, 1.0, -1.0]], [0.0, 0.0, -0.25, 0.25]),
        layer([[1.0], [1.0], [1.0], [1.0]], [0.0]),
    ]);
    let path = breakpoints(&network, &[-1.0], &[1.0], &Context::default()).unwrap();
    assert_eq!(path.places(), [0.0, 0.5, 0.625, 1.0]);
    let found: Vec<(f64, usize, u32)> = path.breakpoints().iter().map(|b| (b.at, b.unit, b.to)).collect();
    assert_eq!(found, [(0.5, 0, 1), (0.5, 1, 0), (0.625, 2, 1), (0.625, 3, 0)]);
    assert_eq!(path.value(0, 0.25), 1.25);
    // It begins on a knot, where nothing changes.
    let path = breakpoints(&network, &[0.0], &[1.0], &Context::default()).unwrap();
    assert_eq!(path.places(), [0.0, 0.25, 1.0]);
    // A second layer that bends where the first does, and one that lies on its knot for a while.
    let network = relus::<1>([
        layer([[1.0, 1.0]], [0.0, 0.0]),
        layer([[1.0, 1.0], [1.0, -1.0]], [0.0, 0.0]),
        layer([[1.0], [1.0]], [0.0]),
    ]);
    let path = breakpoints(&network, &[-1.0], &[1.0], &Context::default()).unwrap();
    assert_eq!(path.places(), [0.0, 0.5, 1.0]);
    let found: Vec<(usize, usize, u32)> =
        path.breakpoints().iter().map(|b| (b.layer, b.unit, b.to)).collect();
    assert_eq!(found, [(0, 0, 1), (0, 1, 1), (1, 0, 1)]);
    assert!(matches!(breakpoints(&network, &[1.0], &[1.0], &Context::default()), Err(Error::Argument(_))));
}

#[test]
fn density_sees_what_is_there() {
    // Two lines that cross at the centre: four regions, or one in a ball that none reaches.
    let network = relus::<2>([layer([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), layer([[1.0], [1.0]], [0.0])]);
    let count = |x: [f64; 2], radius: f64, surface: bool| {
        density(&network, &x, radius, surface, 4000, &Context::default()).unwrap()
    };
    let four = count([0.0, 0.0], 1.0, true);
    assert_eq!((four.count, four.once, four.label), (4, 0, "visited"));
    // The centre is on the inactive side of both: a quarter.
    assert!((four.own - 0.25).abs() < 0.03);
    let one = count([3.0, 3.0], 2.9, false);
    assert_eq!((one.count, one.own), (1, 1.0));
    // A chord at half the radius leaves 0.1955 of the disc.
    let cut = count([0.5, 3.0], 1.0, false);
    assert!(cut.count == 2 && (cut.own - 0.8045).abs() < 0.03, "{}", cut.own);
    let small = Context::default().with_memory(2 << 20);
    assert_eq!(density(&network, &[0.5, 3.0], 1.0, false, 4000, &small).unwrap(), cut);
}

#[test]
fn memory_changes_no_bit_and_ends_in_an_error() {
    let network = images(51);
    let (x, y) = (random(1, 36), random(2, 36));
    let small = Context::default().with_memory(16 << 20);
    let [a, b] = [&Context::default(), &small].map(|context| breakpoints(&network, &x, &y, context).unwrap());
    assert!(a.breakpoints() == b.breakpoints() && a.places() == b.places());
    let [a, b] =
        [&Context::default(), &small].map(|context| Polytope::new(&network, &x, None, context).unwrap());
    assert!(a.centre() == b.centre() && a.facets().len() == b.facets().len());
    let tiny = Context::default().with_memory(100 << 10);
    assert!(matches!(Polytope::new(&network, &x, None, &tiny), Err(Error::Memory { .. })));
}

#[test]
fn what_cannot_be_is_refused() {
    let context = Context::default();
    let smooth = mlp(1, [2, 4, 1], Activation::Gelu);
    let refused = Polytope::new(&smooth, &[0.0, 0.0], None, &context).err().unwrap().to_string();
    assert!(refused.contains("Gelu"), "{refused}");
    let refused = breakpoints(&smooth, &[0.0, 0.0], &[1.0, 0.0], &context).err().unwrap().to_string();
    assert!(refused.contains("Gelu"), "{refused}");
    let refused = density(&smooth, &[0.0, 0.0], 1.0, false, 10, &context).err().unwrap().to_string();
    assert!(refused.contains("Gelu"), "{refused}");
    let network = mlp(1, [2, 4, 1], Activation::Relu);
    assert!(matches!(Polytope::new(&network, &[0.0], None, &context), Err(Error::Shape(_))));
    assert!(matches!(
        Polytope::new(&network, &[0.0, f64::NAN], None, &context),
        Err(Error::NonFinite { .. })
    ));
    assert!(matches!(
        Polytope::new(&network, &[0.0, 3.0], Some([-1.0, 1.0]), &context),
        Err(Error::Argument(_))
    ));
    assert!(matches!(
        Polytope::new(&network, &[0.0, 0.0], Some([1.0, 1.0]), &context),
        Err(Error::Argument(_))
    ));
    assert!(matches!(density(&network, &[0.0, 0.0], 0.0, false, 10, &context), Err(Error::Argument(_))));
    assert!(matches!(density(&network, &[0.0, 0.0], 1.0, false, 0, &context), Err(Error::Argument(_))));
}
