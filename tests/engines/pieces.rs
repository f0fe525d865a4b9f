//! Cases of the kernels that compare given affine pieces: maxima at points, and planes over a slice.

use fenchel::engine::{Cpu, MaxAffineSpec, MaxAffineValues, Pulls, Search, SliceValues, SplineEngine, Step};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use fenchel::{Result, Scalar};

use super::{Case, difference, values};

/// Where pieces come from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Random,
    /// Tangents of a paraboloid: every piece is active somewhere.
    Tangents,
    /// Whole numbers, so that scores tie exactly, and every third piece is not there.
    Whole,
}

/// Slopes `[M, D]` and conjugates `[M]`.
fn pieces(kind: Kind, count: usize, dimension: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut slopes, mut conjugates): (Vec<f64>, Vec<f64>) = (values(2, count * dimension), values(3, count));
    match kind {
        Kind::Random => {}
        Kind::Tangents => {
            for (slope, conjugate) in slopes.chunks(dimension).zip(&mut conjugates) {
                *conjugate = f64::from((slope.iter().map(|p| p * p).sum::<f64>() / 2.0) as f32);
            }
        }
        Kind::Whole => {
            slopes.iter_mut().chain(&mut conjugates).for_each(|v| *v = (2.0 * *v).round());
            conjugates.iter_mut().step_by(3).for_each(|c| *c = f64::INFINITY);
        }
    }
    (slopes, conjugates)
}

fn largest<S: Scalar>() -> S {
    S::max_value()
}

/// What equals nothing: skipping must change no bit.
const SKIPPED_WRONGLY: [f64; 1] = [f64::NAN];

/// Maxima at random points: values, and pieces where scores are whole numbers.
#[derive(Debug, Clone, Copy)]
struct MaxAffine {
    kind: Kind,
    points: usize,
    pieces: usize,
    dimension: usize,
    top: usize,
}

impl MaxAffine {
    fn points(&self) -> Vec<f64> {
        let all = values::<f64>(1, self.points * self.dimension).into_iter();
        all.map(|v| if self.kind == Kind::Whole { (2.0 * v).round() } else { v }).collect()
    }

    fn spec(&self) -> MaxAffineSpec {
        MaxAffineSpec { top: self.top, ..MaxAffineSpec::default() }
    }

    fn run_on<E: SplineEngine>(
        &self,
        engine: &E,
        spec: &MaxAffineSpec,
    ) -> Result<MaxAffineValues<E::Scalar>> {
        let (slopes, conjugates) = pieces(self.kind, self.pieces, self.dimension);
        let upload = |values: &[f64], shape: &[usize]| {
            let largest = largest::<E::Scalar>();
            let of = |&v: &f64| if v.is_finite() { E::Scalar::of(v) } else { largest };
            engine.upload(&values.iter().map(of).collect::<Vec<_>>(), shape)
        };
        let slopes = upload(&slopes, &[self.pieces, self.dimension])?;
        let conjugates = upload(&conjugates, &[self.pieces])?;
        engine.max_affine(
            &slopes,
            &conjugates,
            &upload(&self.points(), &[self.points, self.dimension])?,
            spec,
        )
    }

    /// By the definition: values and pieces `[top, N]`.
    fn brute(&self) -> (Vec<f64>, Vec<u32>) {
        let (slopes, conjugates) = pieces(self.kind, self.pieces, self.dimension);
        let points = self.points();
        let best = |x: &[f64]| {
            let score = |i: usize| {
                slopes[i * x.len()..].iter().zip(x).map(|(p, x)| p * x).sum::<f64>() - conjugates[i]
            };
            let there = (0..self.pieces).filter(|&i| conjugates[i].is_finite());
            let mut all: Vec<(f64, u32)> = there.map(|i| (score(i), i as u32)).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            all.resize(all.len().max(self.top), (f64::MIN, u32::MAX));
            all
        };
        let lists: Vec<_> = points.chunks(self.dimension).map(best).collect();
        (0..self.top).flat_map(|t| lists.iter().map(move |list| list[t])).unzip()
    }
}

impl Case for MaxAffine {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let spec = self.spec();
        let found = self.run_on(engine, &spec)?;
        let all = self.run_on(engine, &MaxAffineSpec { search: Search::Exhaustive, ..spec })?;
        if found.values != all.values || found.pieces != all.pieces {
            return Ok(SKIPPED_WRONGLY.to_vec());
        }
        assert!(all.scored <= (self.points * self.pieces) as u64);
        let alone = self.run_on(engine, &MaxAffineSpec { pieces: false, ..spec })?;
        assert!(alone.pieces.is_empty());
        let off = relative_difference(
            alone.values.iter().map(|v| v.f64().clamp(-1e30, 1e30)),
            found.values.iter().map(|v| v.f64().clamp(-1e30, 1e30)),
        );
        assert!(off < CLOSE, "values alone are off by {off:e}: {self:?}");
        let kept = found.pieces.into_iter().filter(|_| self.kind == Kind::Whole).map(f64::from);
        Ok(found.values.into_iter().map(|v| v.f64().clamp(-1e30, 1e30)).chain(kept).collect())
    }
}

/// Planes over a slice: values, and pieces where scores are whole numbers.
#[derive(Debug, Clone, Copy)]
struct Slice {
    kind: Kind,
    planes: usize,
    width: usize,
    height: usize,
}

impl Slice {
    fn planes<S: Scalar>(&self) -> Vec<S> {
        let (slopes, conjugates) = pieces(self.kind, self.planes, 2);
        let of = |(slope, c): (&[f64], &f64)| [slope[0], slope[1], -c.clamp(-1e6, 1e6)].map(S::of);
        slopes.chunks(2).zip(&conjugates).flat_map(of).collect()
    }

    /// Columns ascend, rows descend.
    fn coordinates<S: Scalar>(&self) -> (Vec<S>, Vec<S>) {
        let along = |count: usize, i: usize| match self.kind {
            Kind::Whole => i as f64 - 5.0,
            _ => 3.0 * (i as f64 + 0.5) / count as f64 - 1.0,
        };
        let of = |count: usize, i: usize| S::of(f64::from(along(count, i) as f32));
        (
            (0..self.width).map(|i| of(self.width, i)).collect(),
            (0..self.height).rev().map(|i| of(self.height, i)).collect(),
        )
    }

    fn run_on<E: SplineEngine>(&self, engine: &E, search: Search) -> Result<SliceValues<E::Scalar>> {
        let planes = engine.upload(&self.planes(), &[self.planes, 3])?;
        let (across, up) = self.coordinates();
        engine.slice(&planes, &across, &up, search)
    }
}

impl Case for Slice {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let found = self.run_on(engine, Search::Pruned)?;
        let all = self.run_on(engine, Search::Exhaustive)?;
        if found.values != all.values || found.pieces != all.pieces {
            return Ok(SKIPPED_WRONGLY.to_vec());
        }
        assert_eq!(all.scored, (self.planes * self.width * self.height) as u64);
        if self.kind == Kind::Tangents && self.planes > 500 && self.width > 200 {
            assert!(found.scored < all.scored / 5, "{} of {}: {self:?}", found.scored, all.scored);
        }
        let kept = found.pieces.into_iter().filter(|_| self.kind == Kind::Whole).map(f64::from);
        Ok(found.values.into_iter().map(|v| v.f64().clamp(-1e30, 1e30)).chain(kept).collect())
    }
}

/// Steps of descent of pieces that points pull at: not all of them, and some by many points.
#[derive(Debug, Clone, Copy)]
struct Descent {
    points: usize,
    pieces: usize,
    dimension: usize,
    steps: usize,
}

impl Descent {
    /// The active pieces of a step, and the derivatives.
    fn pulls(&self, step: usize) -> (Vec<u32>, Vec<f64>) {
        let derivatives: Vec<f64> = values(100 + step as u64, self.points);
        let first = self.pieces as f64 / 3.0;
        let draws: Vec<f64> = values(200 + step as u64, self.points);
        (draws.iter().map(|v| ((v + 1.0) * first) as u32 / 2 * 2).collect(), derivatives)
    }

    /// The formula (Kingma & Ba 2015), over all pieces and points: slopes, then conjugates.
    fn brute(&self) -> Vec<f64> {
        let Self { points, pieces, dimension, steps } = *self;
        let (slopes, conjugates) = self::pieces(Kind::Random, pieces, dimension);
        let x: Vec<f64> = values(1, points * dimension);
        let mut p: Vec<f64> = slopes.into_iter().chain(conjugates).collect();
        let (mut m, mut v) = (vec![0.0; p.len()], vec![0.0; p.len()]);
        for step in 0..steps {
            let (active, derivatives) = self.pulls(step);
            let number = step as i32 + 1;
            for piece in (0..pieces).filter(|&piece| active.contains(&(piece as u32))) {
                for j in 0..=dimension {
                    let of = |n: usize| if j < dimension { x[n * dimension + j] } else { -1.0 };
                    let pulling = (0..points).filter(|&n| active[n] as usize == piece);
                    let g: f64 = pulling.map(|n| derivatives[n] * of(n)).sum();
                    let at = if j < dimension { piece * dimension + j } else { pieces * dimension + piece };
                    m[at] = 0.9 * m[at] + 0.1 * g;
                    v[at] = 0.99 * v[at] + 0.01 * g * g;
                    let mean = m[at] / (1.0 - 0.9_f64.powi(number));
                    let square = v[at] / (1.0 - 0.99_f64.powi(number));
                    p[at] -= 0.05 * mean / square.sqrt();
                }
            }
        }
        p
    }
}

impl Case for Descent {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let Self { points, pieces, dimension, steps } = *self;
        let (slopes, conjugates) = self::pieces(Kind::Random, pieces, dimension);
        let scalars = |v: Vec<f64>| v.into_iter().map(E::Scalar::of).collect::<Vec<_>>();
        let mut descent = engine.descent(&scalars(slopes), &scalars(conjugates))?;
        let x = engine.upload(&values(1, points * dimension), &[points, dimension])?;
        for step in 0..steps {
            let (active, derivatives) = self.pulls(step);
            let pulls = Pulls::new(&active, &scalars(derivatives));
            engine.descend(&mut descent, &x, &pulls, Step { rate: 0.05, number: step as u32 + 1 })?;
        }
        // What is active afterwards is as good a check of the conjugates' signs as any.
        let active = engine.descent_active(&descent, &x)?;
        let [slopes, conjugates] = engine.descent_finish(descent)?;
        let all = slopes.into_iter().chain(conjugates).chain(active.values);
        Ok(all.map(|v| v.f64()).collect())
    }
}

/// Checks every case: its name, how far it may be off, and how far it is.
pub(super) fn check_all<E: SplineEngine>(engine: &E, mut check: impl FnMut(String, f64, Result<f64>)) {
    for (points, pieces, dimension, top) in [
        (300, 270, 2, 1),
        (2000, 400, 2, 1),
        (1500, 300, 1, 1),
        (1000, 200, 3, 2),
        (70, 33, 1, 3),
        (90, 300, 8, 1),
        (65, 513, 5, 4),
        (130, 70, 9, 1),
        (40, 700, 30, 3),
        (300, 37, 130, 1),
        (5, 2, 4, 3),
    ] {
        for kind in [Kind::Random, Kind::Tangents, Kind::Whole] {
            let case = MaxAffine { kind, points, pieces, dimension, top };
            let most = if kind == Kind::Whole { 0.0 } else { CLOSE };
            check(format!("{case:?}"), most, difference(&case, engine));
        }
    }
    for (points, pieces, dimension, steps) in [(300, 70, 5, 4), (97, 21, 130, 3), (5, 3, 1, 7)] {
        let case = Descent { points, pieces, dimension, steps };
        check(format!("{case:?}"), CLOSE, difference(&case, engine));
    }
    for (planes, width, height) in
        [(1, 1, 1), (700, 260, 150), (300, 5, 70), (90, 129, 17), (0, 3, 2), (2, 0, 4)]
    {
        for kind in [Kind::Random, Kind::Tangents, Kind::Whole] {
            let case = Slice { kind, planes, width, height };
            let most = if kind == Kind::Whole { 0.0 } else { CLOSE };
            check(format!("{case:?}"), most, difference(&case, engine));
        }
    }
}

#[test]
fn descent_follows_the_formula() {
    for (points, pieces, dimension, steps) in [(40, 12, 3, 5), (7, 5, 1, 3), (60, 9, 11, 4)] {
        let case = Descent { points, pieces, dimension, steps };
        let expected = case.brute();
        let found = case.run(&Cpu::<f64>::new()).unwrap();
        let difference = relative_difference(found[..expected.len()].to_vec(), expected);
        assert!(difference < 1e-6, "{case:?}: {difference:e}");
    }
}

#[test]
fn maxima_equal_the_definition() {
    for kind in [Kind::Random, Kind::Tangents, Kind::Whole] {
        for (points, pieces, dimension, top) in
            [(1, 1, 1, 1), (700, 301, 2, 1), (3000, 500, 3, 2), (40, 90, 9, 4), (70, 300, 130, 1)]
        {
            let case = MaxAffine { kind, points, pieces, dimension, top };
            let found = case.run_on(&Cpu::<f64>::new(), &case.spec()).unwrap();
            let (expected, winners) = case.brute();
            assert!(found.pieces == winners, "{case:?}");
            assert!(relative_difference(found.values, expected) < EXACT, "{case:?}");
        }
    }
}

/// The image is what the points of its pixels give, to the bit, and most pairs are skipped for both.
#[test]
fn a_slice_equals_its_pixels_as_points() {
    fn check<S: Scalar>()
    where
        Cpu<S>: SplineEngine<Scalar = S>,
    {
        let case = Slice { kind: Kind::Tangents, planes: 3000, width: 300, height: 200 };
        let engine = Cpu::<S>::new();
        let image = case.run_on(&engine, Search::Pruned).unwrap();
        let (across, up) = case.coordinates::<S>();
        let points: Vec<S> = up.iter().flat_map(|&t| across.iter().flat_map(move |&s| [s, t])).collect();
        let planes = case.planes::<S>();
        let slopes: Vec<S> = planes.chunks(3).flat_map(|plane| [plane[0], plane[1]]).collect();
        let conjugates: Vec<S> = planes.chunks(3).map(|plane| -plane[2]).collect();
        let tensor =
            |values: &[S], shape: &[usize]| fenchel::engine::Engine::upload(&engine, values, shape).unwrap();
        let found = engine
            .max_affine(
                &tensor(&slopes, &[3000, 2]),
                &tensor(&conjugates, &[3000]),
                &tensor(&points, &[60_000, 2]),
                &MaxAffineSpec::default(),
            )
            .unwrap();
        assert!(found.values == image.values && found.pieces == image.pieces);
        let all = 3000 * 60_000;
        assert!(image.scored < all / 10 && found.scored < all / 5, "{} and {}", image.scored, found.scored);
        let mut active = image.pieces;
        active.sort_unstable();
        active.dedup();
        assert!(active.len() > 1000, "{} pieces are active", active.len());
    }
    check::<f32>();
    check::<f64>();
}
