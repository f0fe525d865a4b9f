//! The largest of many affine pieces at each point.

pub(super) mod blocks;
pub(super) mod few;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::{MaxAffineSpec, MaxAffineValues};

use super::CpuTensor;
use super::best::{Scores, number, of_number};
use super::pairs::PointTiles;
use blocks::FEW;
use few::{Entry, Family, best_pieces};

/// The pieces that are there: those whose conjugate is a number.
struct Pieces<'a, S> {
    dimension: usize,
    slopes: &'a [S],
    conjugates: &'a [S],
    /// Their numbers.
    numbers: Vec<u32>,
}

impl<'a, S: Scalar> Pieces<'a, S> {
    fn slope(&self, number: u32) -> &'a [S] {
        &self.slopes[number as usize * self.dimension..][..self.dimension]
    }

    fn offsets(&self) -> Vec<S> {
        self.numbers.iter().map(|&n| -self.conjugates[n as usize]).collect()
    }

    /// `p . x - c` in f64.
    fn exact(&self, number: u32, x: &[S]) -> f64 {
        let product: f64 = self.slope(number).iter().zip(x).map(|(p, x)| p.f64() * x.f64()).sum();
        product - self.conjugates[number as usize].f64()
    }
}

pub(super) fn max_affine<S: Scalar>(
    slopes: &CpuTensor<S>,
    conjugates: &CpuTensor<S>,
    points: &CpuTensor<S>,
    spec: &MaxAffineSpec,
) -> MaxAffineValues<S> {
    max_affine_of(slopes.values(), conjugates.values(), points, spec)
}

/// The same of slices.
pub(super) fn max_affine_of<S: Scalar>(
    slopes: &[S],
    conjugates: &[S],
    points: &CpuTensor<S>,
    spec: &MaxAffineSpec,
) -> MaxAffineValues<S> {
    let dimension = slopes.len() / conjugates.len().max(1);
    let is_there = |&number: &u32| conjugates[number as usize] < S::max_value();
    let numbers = (0..conjugates.len() as u32).filter(is_there).collect();
    let pieces = Pieces { dimension, slopes, conjugates, numbers };
    let count = points.rows();
    let (mut entries, scored) = if (1..=FEW).contains(&dimension) {
        of_few(&pieces, points.values(), spec)
    } else {
        (of_many(&pieces, points, spec), count as u64 * pieces.numbers.len() as u64)
    };
    if spec.pieces {
        entries.par_chunks_mut(spec.top).enumerate().for_each(|(n, best)| {
            for entry in best.iter_mut().filter(|entry| entry.number != u32::MAX) {
                entry.score = S::of(pieces.exact(entry.number, points.row_range(n..n + 1)));
            }
            if spec.top > 1 {
                best.sort_by(|a, b| b.score.f64().total_cmp(&a.score.f64()));
            }
        });
    }
    let (values, mut numbers) = by_rank(&entries, spec.top);
    if !spec.pieces {
        numbers.clear();
    }
    MaxAffineValues { values, pieces: numbers, scored }
}

/// Scores and numbers of entries `[N, top]`, both `[top, N]`.
fn by_rank<S: Scalar>(entries: &[Entry<S>], top: usize) -> (Vec<S>, Vec<u32>) {
    let (mut scores, mut numbers) = (vec![S::zero(); entries.len()], vec![0; entries.len()]);
    let count = entries.len() / top;
    for t in 0..top {
        let ranked = entries.chunks_exact(top).map(|best| best[t]);
        let to = scores[t * count..].iter_mut().zip(&mut numbers[t * count..]);
        to.zip(ranked).for_each(|((score, number), entry)| (*score, *number) = (entry.score, entry.number));
    }
    (scores, numbers)
}

/// Points of few dimensions. The best pieces of each, `[N, top]`, and how many pairs were compared.
fn of_few<S: Scalar>(pieces: &Pieces<'_, S>, points: &[S], spec: &MaxAffineSpec) -> (Vec<Entry<S>>, u64) {
    let family = Family {
        slopes: pieces.numbers.iter().flat_map(|&n| pieces.slope(n)).copied().collect(),
        offsets: pieces.offsets(),
        numbers: pieces.numbers.clone(),
    };
    let found = best_pieces(points, pieces.dimension, &[family], (spec.top, spec.pieces), spec.search);
    (found.entries, found.scored)
}

/// Points of any dimension.
fn of_many<S: Scalar>(pieces: &Pieces<'_, S>, points: &CpuTensor<S>, spec: &MaxAffineSpec) -> Vec<Entry<S>> {
    let tiles = PointTiles::new(points, &vec![0.0; pieces.dimension]);
    let (width, count) = (tiles.width(), points.rows());
    let size = spec.top * width;
    let empty =
        || (vec![S::min_value(); size], vec![of_number(u32::MAX); if spec.pieces { size } else { 0 }]);
    let mut states: Vec<(Vec<S>, Vec<S>)> = tiles.tiles().map(|_| empty()).collect();
    let offsets = pieces.offsets();
    let row = |position: usize| pieces.slope(pieces.numbers[position]);
    tiles.for_each_product(offsets.len(), row, &mut states, |(values, best), range, products| {
        // No curvature, so what is bent does not matter.
        let scores = Scores {
            sign: S::one(),
            bend: S::zero(),
            slopes: products,
            squared: products,
            first: range.start as u32,
            numbers: &[],
            offsets: &offsets[range],
        };
        scores.take(tiles.arch(), values, best);
    });
    let entry = |n: usize, t: usize| {
        let ((values, best), at) = (&states[n / width], t * width + n % width);
        let position = best.get(at).map_or(u32::MAX, |&best| number(best));
        let number = pieces.numbers.get(position as usize).copied().unwrap_or(u32::MAX);
        Entry { score: values[at], number }
    };
    (0..count).flat_map(|n| (0..spec.top).map(move |t| (n, t))).map(|(n, t)| entry(n, t)).collect()
}
