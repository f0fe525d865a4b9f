//! The affine pieces of a spline, and which of them are the same.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ndarray::ArrayView2;
use rand::RngExt;

use crate::engine::{Context, SplineEngine};
use crate::spline::jets::check_outputs;
use crate::spline::metric::Placed;
use crate::spline::planes::{self, Half};
use crate::spline::selection::{Stream, stream};
use crate::spline::{Form, JetSource, Planes, Selection, Spline};
use crate::tolerance::{CLOSE, EXACT};
use crate::{Error, Result};

use super::{selections, similarity};

/// The affine pieces of a spline, all held: slopes and offsets in the coordinates of its metric.
#[derive(Debug)]
pub struct AffinePieces<'a> {
    pub(super) planes: Cow<'a, Planes>,
    outputs: usize,
    /// The pieces that each half takes.
    selections: [&'a Selection; 2],
}

/// Which pieces are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicates {
    /// Of each piece of the convex half `[K, M]` the first piece that it equals, its own number where there is none.
    pub convex: Vec<u32>,
    /// Of the concave half.
    pub concave: Vec<u32>,
}

impl<'a> AffinePieces<'a> {
    /// The pieces of a spline beside `held` bytes: its own, or those that its tangents make.
    ///
    /// # Errors
    /// As [`Planes::of_tangents`]; [`Error::Shape`] for pieces that do not fit the source.
    pub fn of<E: SplineEngine>(
        spline: &'a Spline,
        source: &dyn JetSource<E>,
        held: u64,
        context: &Context,
    ) -> Result<Self> {
        let outputs = source.outputs();
        let planes = match &spline.form {
            Form::Planes(planes) => {
                planes::check(planes, outputs, spline.metric.coordinates(source.dimension()))?;
                Cow::Borrowed(planes)
            }
            Form::Tangents(tangents) => {
                let budget = context.memory();
                let rest = context.clone().with_memory(budget.saturating_sub(held));
                let placed = Placed::new(source, &spline.metric, tangents.slopes)?;
                let planes = Planes::of_tangents(&placed, &spline.curvature, &rest);
                Cow::Owned(planes.map_err(|error| match error {
                    Error::Memory { what, needed, .. } => {
                        Error::Memory { what, needed: needed + held, budget }
                    }
                    error => error,
                })?)
            }
        };
        Ok(Self { planes, outputs, selections: selections(spline) })
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> u64 {
        let half = |half: &Half| half.slopes.len() + half.offsets.len();
        ((half(&self.planes.lower) + half(&self.planes.upper)) * size_of::<f32>()) as u64
    }

    /// `M`, the pieces that each half numbers.
    pub fn pieces(&self) -> usize {
        self.planes.pieces(self.outputs)
    }

    /// Which pieces of the chosen outputs are the same as an earlier one of their half and output.
    ///
    /// Two are the same where no entry of their slopes differs by more than [`CLOSE`] times the largest of the half and
    /// output, and likewise their offsets. Closeness is not transitive; the piece that another is said to equal is
    /// always one that equals none itself, so that without the duplicates each piece keeps one that it equals. Pieces
    /// that a half does not take have their own number.
    ///
    /// # Errors
    /// [`Error::Argument`] for an output that is not there; [`Error::Cancelled`].
    pub fn duplicates(&self, outputs: &[usize], context: &Context) -> Result<Duplicates> {
        check_outputs(outputs, self.outputs)?;
        let mut rng = stream(context.seed(), Stream::Projection);
        let direction: Vec<f64> =
            (0..=self.planes.dimension()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let of_half = |half: usize| {
            let mut first = Vec::with_capacity(outputs.len() * self.pieces());
            for &k in outputs {
                context.check()?;
                let (slopes, offsets) = self.half(half, k);
                first.extend(first_equal(slopes, offsets, self.selections[half], &direction));
            }
            Ok::<_, Error>(first)
        };
        Ok(Duplicates { convex: of_half(0)?, concave: of_half(1)? })
    }

    /// The [`similarity`] of output `k`'s slopes with those of other pieces: of the convex and of the concave half.
    ///
    /// Both must be in the same metric, as slopes are compared in its coordinates.
    ///
    /// # Errors
    /// [`Error::Argument`] for an output that is not there; [`Error::Memory`]; [`Error::Cancelled`]; as
    /// [`similarity`].
    pub fn similarity(&self, other: &AffinePieces<'_>, k: usize, context: &Context) -> Result<[f64; 2]> {
        check_outputs(&[k], self.outputs.min(other.outputs))?;
        let of_half = |half: usize| {
            context.check()?;
            let (first, second) = (self.slopes(half, k), other.slopes(half, k));
            let d = self.planes.dimension();
            let (entries, side) = (first.len(), d.min(first.len() / d.max(1)));
            // The sets and what comes of them in f64; the Gram matrix, its vectors and work on them.
            let work = 5 * (entries + side * side) * size_of::<f64>();
            let (needed, budget) = (self.bytes() + other.bytes() + work as u64, context.memory());
            if needed > budget {
                return Err(Error::Memory { what: "the similarity of slopes".to_owned(), needed, budget });
            }
            similarity(rows(&first, d)?, rows(&second, other.planes.dimension())?)
        };
        Ok([of_half(0)?, of_half(1)?])
    }

    /// Slopes `[M, r]` and offsets `[M]` of one output in the lower (0) or the upper half (1).
    pub(super) fn half(&self, half: usize, k: usize) -> (&[f32], &[f32]) {
        let (d, m) = (self.planes.dimension(), self.pieces());
        let half = [&self.planes.lower, &self.planes.upper][half];
        (&half.slopes[k * m * d..][..m * d], &half.offsets[k * m..][..m])
    }

    /// The slopes that a half takes.
    fn slopes(&self, half: usize, k: usize) -> Cow<'_, [f32]> {
        let (slopes, d) = (self.half(half, k).0, self.planes.dimension());
        match self.selections[half] {
            Selection::All => Cow::Borrowed(slopes),
            Selection::Some(chosen) => {
                chosen.iter().flat_map(|&i| &slopes[i as usize * d..][..d]).copied().collect()
            }
        }
    }
}

fn rows(values: &[f32], columns: usize) -> Result<ArrayView2<'_, f32>> {
    ArrayView2::from_shape((values.len() / columns.max(1), columns), values)
        .map_err(|e| Error::Shape(format!("slopes are no rows of {columns}: {e}")))
}

/// Of each piece the first that it equals, among those of a selection. Slopes `[M, r]`, offsets `[M]`, a direction
/// `[r + 1]`.
///
/// Pieces that are the same lie close along any direction, so only neighbours along one are compared.
fn first_equal(slopes: &[f32], offsets: &[f32], selection: &Selection, direction: &[f64]) -> Vec<u32> {
    let (pieces, d) = (offsets.len(), direction.len() - 1);
    let slope = |i: usize| &slopes[i * d..][..d];
    let taken: Vec<usize> = (0..pieces).filter(|&i| selection.contains(i as u32)).collect();
    let largest = |of: &dyn Fn(usize) -> f64| taken.iter().fold(f64::MIN_POSITIVE, |l, &i| l.max(of(i)));
    let of_slopes = largest(&|i| f64::from(slope(i).iter().fold(0.0_f32, |l, v| l.max(v.abs()))));
    let of_offsets = largest(&|i| f64::from(offsets[i].abs()));
    let equal = |i: usize, j: usize| {
        let close = |a: f32, b: f32, largest: f64| (f64::from(a) - f64::from(b)).abs() <= CLOSE * largest;
        close(offsets[i], offsets[j], of_offsets)
            && slope(i).iter().zip(slope(j)).all(|(&a, &b)| close(a, b, of_slopes))
    };
    let along = |i: usize| {
        let sum: f64 = slope(i).iter().zip(direction).map(|(&v, by)| f64::from(v) * by).sum();
        sum / of_slopes + f64::from(offsets[i]) / of_offsets * direction[d]
    };
    let along: Vec<f64> = taken.iter().map(|&i| along(i)).collect();
    let mut order: Vec<usize> = (0..taken.len()).collect();
    order.sort_by(|&a, &b| along[a].total_cmp(&along[b]));
    let sorted: Vec<f64> = order.iter().map(|&at| along[at]).collect();
    let mut rank = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &at)| rank[at] = place);
    // No farther apart than this, rounding of the sums included.
    let window = (CLOSE + EXACT) * direction.iter().map(|by| by.abs()).sum::<f64>();
    let mut first: Vec<u32> = (0..pieces as u32).collect();
    // Places of the pieces that equal none before them.
    let mut kept = BTreeSet::new();
    for (at, &i) in taken.iter().enumerate() {
        let low = sorted.partition_point(|&v| v < along[at] - window);
        let high = sorted.partition_point(|&v| v <= along[at] + window);
        let near = kept.range(low..high.max(low)).map(|&place: &usize| taken[order[place]]);
        match near.filter(|&j| equal(i, j)).min() {
            Some(j) => first[i] = j as u32,
            None => drop(kept.insert(rank[at])),
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::super::testing::{random, random_rows};
    use super::*;
    use crate::engine::{Cpu, Engine, Jets};
    use crate::spline::HeldJets;

    #[test]
    fn duplicates_are_those_of_brute_force() {
        let (m, d) = (60, 5);
        let taken = Selection::Some((3..57).collect());
        for seed in 0..20 {
            let mut slopes: Vec<f32> = random(seed, m * d).iter().map(|&v| v as f32).collect();
            let mut offsets: Vec<f32> = random(seed + 100, m).iter().map(|&v| v as f32).collect();
            // Copies, some exact, some off by less or more than the tolerance, some chained.
            let mut rng = stream(seed, Stream::Search);
            for _ in 0..50 {
                let (from, to) = (rng.random_range(0..m), rng.random_range(0..m));
                let off = [0.0, 5e-6, 1.5e-5, 1e-4][rng.random_range(0..4)];
                slopes.copy_within(from * d..(from + 1) * d, to * d);
                offsets[to] = offsets[from];
                slopes[to * d + rng.random_range(0..d)] += off;
            }
            for selection in [&Selection::All, &taken] {
                let among = |i: usize| selection.contains(i as u32);
                let most = |entries: &mut dyn Iterator<Item = f32>| {
                    entries.fold(0.0_f64, |l, v| l.max(f64::from(v).abs())) * CLOSE
                };
                let of_slopes = most(&mut (0..m * d).filter(|&e| among(e / d)).map(|e| slopes[e]));
                let of_offsets = most(&mut (0..m).filter(|&i| among(i)).map(|i| offsets[i]));
                let apart = |a: f32, b: f32| (f64::from(a) - f64::from(b)).abs();
                let mut expected: Vec<u32> = (0..m as u32).collect();
                for i in (0..m).filter(|&i| among(i)) {
                    let earlier = (0..i).filter(|&j| among(j) && expected[j] == j as u32).find(|&j| {
                        apart(offsets[i], offsets[j]) <= of_offsets
                            && (0..d).all(|e| apart(slopes[i * d + e], slopes[j * d + e]) <= of_slopes)
                    });
                    expected[i] = earlier.map_or(i as u32, |j| j as u32);
                }
                assert!((0..m).any(|i| expected[i] != i as u32));
                let direction: Vec<f64> = random(seed + 200, d + 1).iter().map(|v| v - 0.5).collect();
                assert_eq!(first_equal(&slopes, &offsets, selection, &direction), expected, "seed {seed}");
            }
        }
        // All alike, also all zero.
        assert_eq!(first_equal(&[0.0; 8], &[0.0; 4], &Selection::All, &[0.5, -1.0, 1.0]), [0; 4]);
        assert_eq!(first_equal(&[7.0; 8], &[3.0; 4], &Selection::All, &[0.5, -1.0, 1.0]), [0; 4]);
    }

    #[test]
    fn anchors_of_one_affine_region_are_duplicates() {
        let engine = Cpu::<f64>::new();
        // Two affine functions of two inputs; anchors 0, 2 and 3 lie on the first.
        let (slope, offset) = ([[1.0, -2.0], [0.5, 3.0]], [0.25, -1.0]);
        let which = [0, 1, 0, 0, 1];
        let x = random_rows(9, 5, 2);
        let value =
            |i: usize| offset[which[i]] + slope[which[i]][0] * x[[i, 0]] + slope[which[i]][1] * x[[i, 1]];
        let jets = Jets {
            points: engine.upload(x.as_slice().unwrap(), &[5, 2]).unwrap(),
            values: engine.upload(&(0..5).map(value).collect::<Vec<_>>(), &[5, 1]).unwrap(),
            jacobians: engine.upload(&which.map(|w| slope[w]).concat(), &[5, 1, 2]).unwrap(),
        };
        let source = HeldJets::new(&engine, jets);
        let context = Context::default();
        let of = |curvature: f64| {
            let spline = Spline::isotropic(curvature, 1).unwrap();
            AffinePieces::of(&spline, &source, 0, &context).unwrap().duplicates(&[0], &context).unwrap()
        };
        let flat = of(0.0);
        assert_eq!((flat.convex, flat.concave), (vec![0, 1, 0, 0, 1], vec![0, 1, 0, 0, 1]));
        // Curvature bends each about its own anchor.
        assert_eq!(of(1.0).convex, [0, 1, 2, 3, 4]);
    }
}
