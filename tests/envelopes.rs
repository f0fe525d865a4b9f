//! Envelopes of random jets against brute force in f64: whatever the shapes, ties, offsets, budgets and orders.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use fenchel::data::Dataset;
use fenchel::engine::{Context, Cpu, Curvature, Jets, Search, SplineEngine};
use fenchel::spline::{Certificate, Evaluated, HeldJets, Label, Spline, evaluate};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use fenchel::{Error, Scalar};
use ndarray::Array2;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Jets and points whose numbers are all small multiples of 1/64 about an offset, so that every engine sees the same.
#[derive(Debug, Clone)]
struct Problem {
    points: usize,
    anchors: usize,
    dimension: usize,
    outputs: usize,
    /// `[N, D]`, `[M, D]`, `[M, K]`, `[M, K, D]`
    x: Vec<f64>,
    at: Vec<f64>,
    values: Vec<f64>,
    slopes: Vec<f64>,
    curvatures: Vec<Curvature>,
}

/// How anchors lie.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Scattered,
    /// Far from the origin, all in one direction.
    Offset,
    /// Every anchor several times.
    Repeated,
    /// Anchors and points on few places, all values and slopes from few: most comparisons are ties.
    Tied,
    /// The points are the anchors.
    AtAnchors,
}

impl Problem {
    fn new(seed: u64, kind: Kind, [points, anchors, dimension, outputs]: [usize; 4]) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let most = if matches!(kind, Kind::Tied) { 1 } else { 128 };
        let step = if matches!(kind, Kind::Tied) { 1.0 } else { 1.0 / 64.0 };
        let offset = if matches!(kind, Kind::Offset) { 4096.0 } else { 0.0 };
        let mut number = || step * f64::from(rng.random_range(-most..=most));
        let mut numbers =
            |count: usize, offset: f64| -> Vec<f64> { (0..count).map(|_| offset + number()).collect() };
        let (mut at, mut values) = (numbers(anchors * dimension, offset), numbers(anchors * outputs, 0.0));
        let mut slopes = numbers(anchors * outputs * dimension, 0.0);
        if matches!(kind, Kind::Repeated) {
            let first = anchors.div_ceil(3);
            for i in first..anchors {
                at.copy_within((i % first) * dimension..(i % first + 1) * dimension, i * dimension);
                values.copy_within((i % first) * outputs..(i % first + 1) * outputs, i * outputs);
                let row = outputs * dimension;
                slopes.copy_within((i % first) * row..(i % first + 1) * row, i * row);
            }
        }
        let x = match kind {
            Kind::AtAnchors => {
                (0..points).flat_map(|n| at[(n % anchors) * dimension..][..dimension].to_vec()).collect()
            }
            _ => numbers(points * dimension, offset),
        };
        let curvatures = (0..outputs).map(|k| Curvature { a: 0.25 * k as f64, b: 0.5 + k as f64 }).collect();
        Self { points, anchors, dimension, outputs, x, at, values, slopes, curvatures }
    }

    /// `[T - (a/2) d^2, T + (b/2) d^2]` of an anchor and an output at a point, and the largest of their terms.
    fn scores(&self, n: usize, i: usize, k: usize) -> ([f64; 2], f64) {
        let d = self.dimension;
        let (x, at) = (&self.x[n * d..][..d], &self.at[i * d..][..d]);
        let slope = &self.slopes[(i * self.outputs + k) * d..][..d];
        let steps = || x.iter().zip(at).map(|(x, at)| x - at);
        let tangent =
            self.values[i * self.outputs + k] + steps().zip(slope).map(|(step, p)| step * p).sum::<f64>();
        let square: f64 = steps().map(|step| step * step).sum();
        let Curvature { a, b } = self.curvatures[k];
        ([tangent - a / 2.0 * square, tangent + b / 2.0 * square], tangent.abs().max(a.max(b) / 2.0 * square))
    }

    /// Both envelopes `[N, K]`, and the largest term in any score.
    fn brute_force(&self) -> (Vec<f64>, Vec<f64>, f64) {
        let (mut lower, mut upper, mut scale) = (vec![], vec![], 1.0_f64);
        for n in 0..self.points {
            for k in 0..self.outputs {
                let (mut low, mut high) = (f64::MIN, f64::MAX);
                for i in 0..self.anchors {
                    let ([l, u], largest) = self.scores(n, i, k);
                    (low, high, scale) = (low.max(l), high.min(u), scale.max(largest));
                }
                lower.push(low);
                upper.push(high);
            }
        }
        (lower, upper, scale)
    }

    fn spline(&self) -> Spline {
        let curvature = self.curvatures.clone();
        let certificate = Certificate { curvature: curvature.clone(), label: Label::Given };
        Spline { curvature, certificate, ..Spline::isotropic(0.0, self.outputs).unwrap() }
    }

    fn evaluate<E: SplineEngine>(
        &self,
        engine: &E,
        search: Search,
        context: &Context,
    ) -> fenchel::Result<Evaluated<f64>> {
        let (m, d, k) = (self.anchors, self.dimension, self.outputs);
        let upload = |values: &[f64], shape: &[usize]| {
            let values: Vec<E::Scalar> = values.iter().map(|&v| E::Scalar::of(v)).collect();
            engine.upload(&values, shape)
        };
        let jets = Jets {
            points: upload(&self.at, &[m, d])?,
            values: upload(&self.values, &[m, k])?,
            jacobians: upload(&self.slopes, &[m, k, d])?,
        };
        let source = HeldJets::new(engine, jets);
        let points = Array2::from_shape_vec((self.points, d), self.x.clone()).unwrap();
        let points = Dataset::from_array(points.view())?;
        let mut all = Evaluated {
            range: 0..self.points,
            value: vec![],
            lower: vec![],
            upper: vec![],
            convex_piece: vec![],
            concave_piece: vec![],
            skipped: 0.0,
        };
        evaluate(&self.spline(), &source, &points, search, context, |chunk| {
            assert_eq!(chunk.range.start * k, all.value.len(), "chunks come in order");
            let wide = |values: Vec<E::Scalar>| values.into_iter().map(Scalar::f64);
            all.value.extend(wide(chunk.value));
            all.lower.extend(wide(chunk.lower));
            all.upper.extend(wide(chunk.upper));
            all.convex_piece.extend(chunk.convex_piece);
            all.concave_piece.extend(chunk.concave_piece);
            Ok(())
        })?;
        Ok(all)
    }

    fn check<E: SplineEngine>(&self, engine: &E, tolerance: f64) {
        let context = Context::default();
        let found = self.evaluate(engine, Search::Pruned, &context).unwrap();
        let (lower, upper, scale) = self.brute_force();
        let near = |a: &[f64], b: &[f64]| {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * scale)
        };
        assert!(
            near(&found.lower, &lower) && near(&found.upper, &upper),
            "{:?} is not {lower:?}",
            found.lower
        );
        let weighed: Vec<f64> =
            lower.iter().zip(&upper).enumerate().map(|(e, (l, u))| self.weighed(e, *l, *u)).collect();
        assert!(near(&found.value, &weighed), "{:?} is not {weighed:?}", found.value);
        // A mean of both envelopes lies between them, where they are ordered.
        for ((value, low), high) in found.value.iter().zip(&found.lower).zip(&found.upper) {
            let slack = tolerance * scale;
            assert!(*value >= low.min(*high) - slack && *value <= low.max(*high) + slack);
        }
        for e in 0..lower.len() {
            let (n, k) = (e / self.outputs, e % self.outputs);
            for (piece, half, best) in
                [(found.convex_piece[e], 0, lower[e]), (found.concave_piece[e], 1, upper[e])]
            {
                let score = |i: usize| self.scores(n, i, k).0[half];
                assert!(
                    (score(piece as usize) - best).abs() <= tolerance * scale,
                    "piece {piece} is not active"
                );
                let before = (0..piece as usize).find(|&i| self.same(i, piece as usize));
                assert_eq!(before, None, "the first of equal pieces is active, not {piece}");
            }
        }
        // However pieces are looked for and memory is cut, every bit is the same.
        let exhaustive = self.evaluate(engine, Search::Exhaustive, &context).unwrap();
        assert!(same_bits(&found, &exhaustive), "skipping changes a bit");
        for shift in [12, 14, 16, 18, 20] {
            match self.evaluate(engine, Search::Pruned, &Context::default().with_memory(1 << shift)) {
                Ok(parts) => assert!(same_bits(&found, &parts), "2^{shift} bytes change a bit"),
                Err(Error::Memory { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn weighed(&self, e: usize, lower: f64, upper: f64) -> f64 {
        let Curvature { a, b } = self.curvatures[e % self.outputs];
        (b * lower + a * upper) / (a + b)
    }

    fn same(&self, i: usize, j: usize) -> bool {
        let rows = |of: &[f64], row: usize| of[i * row..(i + 1) * row] == of[j * row..(j + 1) * row];
        let (d, k) = (self.dimension, self.outputs);
        rows(&self.at, d) && rows(&self.values, k) && rows(&self.slopes, k * d)
    }

    /// The same anchors in another order: old positions by new.
    fn reordered(&self, order: &[usize]) -> Self {
        let rows = |of: &[f64], row: usize| -> Vec<f64> {
            order.iter().flat_map(|&i| of[i * row..(i + 1) * row].iter().copied()).collect()
        };
        let (d, k) = (self.dimension, self.outputs);
        Self {
            at: rows(&self.at, d),
            values: rows(&self.values, k),
            slopes: rows(&self.slopes, k * d),
            ..self.clone()
        }
    }
}

fn same_bits(a: &Evaluated<f64>, b: &Evaluated<f64>) -> bool {
    let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let all = |e: &Evaluated<f64>| {
        (bits(&e.value), bits(&e.lower), bits(&e.upper), e.convex_piece.clone(), e.concave_piece.clone())
    };
    all(a) == all(b)
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Scattered),
        Just(Kind::Offset),
        Just(Kind::Repeated),
        Just(Kind::Tied),
        Just(Kind::AtAnchors)
    ]
}

/// Numbers of points, anchors, dimensions and outputs, small ones among them.
fn shapes() -> impl Strategy<Value = [usize; 4]> {
    let count = |most: usize| prop_oneof![Just(1), 1..8_usize, 1..most];
    (count(150), count(150), count(40), 1..5_usize).prop_map(|(n, m, d, k)| [n, m, d, k])
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(160))]

    #[test]
    fn equal_brute_force_in_f64(seed: u64, kind in kinds(), shape in shapes()) {
        Problem::new(seed, kind, shape).check(&Cpu::<f64>::new(), EXACT);
    }

    #[test]
    fn equal_brute_force_in_f32(seed: u64, kind in kinds(), shape in shapes()) {
        Problem::new(seed, kind, shape).check(&Cpu::<f32>::new(), CLOSE);
    }

    /// With as many anchors as a power of two their mean is exact, whatever their order: so is everything after it.
    #[test]
    fn the_order_of_anchors_changes_indices_alone(
        seed: u64, kind in kinds(), shape in shapes(), power in 0..8_u32,
    ) {
        let problem = Problem::new(seed, kind, [shape[0], 1 << power, shape[2], shape[3]]);
        let mut order: Vec<usize> = (0..problem.anchors).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        let other = problem.reordered(&order);
        let engine = Cpu::<f32>::new();
        let [one, two] =
            [&problem, &other].map(|p| p.evaluate(&engine, Search::Pruned, &Context::default()).unwrap());
        prop_assert!(relative_difference(two.value.iter().copied(), one.value.iter().copied()) == 0.0);
        prop_assert!(relative_difference(two.lower.iter().copied(), one.lower.iter().copied()) == 0.0);
        prop_assert!(relative_difference(two.upper.iter().copied(), one.upper.iter().copied()) == 0.0);
        let (_, _, scale) = problem.brute_force();
        for (e, (&was, &is)) in one.convex_piece.iter().zip(&two.convex_piece).enumerate() {
            let (n, k) = (e / problem.outputs, e % problem.outputs);
            let score = |i: usize| problem.scores(n, i, k).0[0];
            let (was, is) = (was as usize, order[is as usize]);
            prop_assert!(was == is || (score(was) - score(is)).abs() <= CLOSE * scale, "{was} became {is}");
        }
    }

    /// Jets of `sum_j A_j sin(w_j . x + p_j)`, whose Hessian is at most `sum_j |A_j| |w_j|^2`: the envelopes at that
    /// curvature hold the function and the spline.
    #[test]
    fn valid_curvatures_hold_the_function(seed: u64, shape in shapes()) {
        const WAVES: usize = 3;
        let mut problem = Problem::new(seed, Kind::Scattered, shape);
        let (d, outputs) = (problem.dimension, problem.outputs);
        let waves = common::random(seed, outputs * WAVES * (d + 2));
        let wave = |k: usize, j: usize| {
            let parts = &waves[(k * WAVES + j) * (d + 2)..][..d + 2];
            (parts[0], parts[1], &parts[2..])
        };
        let phase = |k: usize, j: usize, x: &[f64]| {
            let (_, shift, w) = wave(k, j);
            shift + w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()
        };
        let g = |k: usize, x: &[f64]| (0..WAVES).map(|j| wave(k, j).0 * phase(k, j, x).sin()).sum::<f64>();
        for i in 0..problem.anchors {
            let at = problem.at[i * d..][..d].to_vec();
            for k in 0..outputs {
                problem.values[i * outputs + k] = g(k, &at);
                for c in 0..d {
                    let slope = (0..WAVES).map(|j| wave(k, j).0 * phase(k, j, &at).cos() * wave(k, j).2[c]);
                    problem.slopes[(i * outputs + k) * d + c] = slope.sum();
                }
            }
        }
        problem.curvatures = (0..outputs)
            .map(|k| {
                let bound = |j| wave(k, j).0.abs() * wave(k, j).2.iter().map(|w| w * w).sum::<f64>();
                Curvature::isotropic((0..WAVES).map(bound).sum())
            })
            .collect();
        let found = problem.evaluate(&Cpu::<f64>::new(), Search::Pruned, &Context::default()).unwrap();
        let (_, _, scale) = problem.brute_force();
        let slack = EXACT * scale;
        for e in 0..found.value.len() {
            let truth = g(e % outputs, &problem.x[(e / outputs) * d..][..d]);
            let [low, high] = [found.lower[e] - slack, found.upper[e] + slack];
            prop_assert!((low..=high).contains(&truth), "{truth} is not within {low} and {high}");
            prop_assert!((low..=high).contains(&found.value[e]));
        }
    }
}

#[test]
fn equal_brute_force_on_the_gpu() {
    let Some(gpu) = common::gpu() else { return };
    let kinds = [Kind::Scattered, Kind::Offset, Kind::Repeated, Kind::Tied, Kind::AtAnchors];
    let shapes = [[1, 1, 1, 1], [1, 67, 3, 2], [70, 1, 5, 3], [33, 65, 9, 2], [65, 130, 17, 1]];
    for (i, (kind, shape)) in kinds.into_iter().zip(shapes).enumerate() {
        Problem::new(i as u64, kind, shape).check(&gpu, CLOSE);
    }
}
