//! Few coordinates that hold most of many points: orthonormal bases by subspace iteration, and what is left over.

use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::cpu::product::{View, product};
use crate::engine::cpu::wide::wide;

/// Rows that a basis is found from.
const SAMPLES: usize = 1024;

/// Passes of the subspace iteration: the bounds hold for any basis, more would tighten them by little.
const PASSES: usize = 3;

/// Rows that are projected at a time.
const ROWS: usize = 64;

/// Orthonormal columns `[D, r]` of a scaled space: its elements are those of the points times `scales`.
#[derive(Debug, Clone)]
pub(super) struct Basis {
    columns: Vec<f64>,
    scales: Vec<f64>,
}

/// Coordinates of some rows, and the norms of all that lies beyond the first few.
pub(super) struct Projected {
    /// `[rows, r]`
    pub coordinates: Vec<f64>,
    /// `|row|^2` in the scaled space.
    pub squared: Vec<f64>,
    /// `|row|`, not scaled.
    pub lengths: Vec<f64>,
}

impl Basis {
    /// The space in which rows vary most, of rows of equally long vectors, scaled.
    pub(super) fn of(rows: &[Vec<f64>], scales: Vec<f64>, rank: usize) -> Self {
        let (dimension, count) = (scales.len(), rows.len());
        let matrix: Vec<f64> =
            rows.iter().flat_map(|row| row.iter().zip(&scales).map(|(x, scale)| x * scale)).collect();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        let mut columns: Vec<f64> = (0..dimension * rank).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut image = vec![0.0; count * rank];
        for _ in 0..PASSES {
            let whole =
                View { values: &matrix[..], rows: count, columns: dimension, strides: [dimension, 1] };
            let right = View { values: &columns[..], rows: dimension, columns: rank, strides: [rank, 1] };
            product(whole, right, &mut image, false);
            let transposed =
                View { values: &matrix[..], rows: dimension, columns: count, strides: [1, dimension] };
            let right = View { values: &image[..], rows: count, columns: rank, strides: [rank, 1] };
            product(transposed, right, &mut columns, false);
            orthonormalise(&mut columns, rank);
        }
        Self { columns, scales }
    }

    /// The same columns for rows that are scaled so.
    pub(super) fn scaled(self, scales: Vec<f64>) -> Self {
        Self { scales, ..self }
    }

    /// The same columns for what is multiplied with such rows: scaled the other way.
    pub(super) fn inverse(&self) -> Self {
        Self {
            columns: self.columns.clone(),
            scales: self.scales.iter().map(|scale| scale.recip()).collect(),
        }
    }

    pub(super) fn rank(&self) -> usize {
        self.columns.len() / self.scales.len()
    }

    /// Projects rows, in f64.
    pub(super) fn project<'a, S: Scalar>(
        &self,
        count: usize,
        row: impl Fn(usize) -> &'a [S] + Sync,
    ) -> Projected {
        let (dimension, rank) = (self.scales.len(), self.rank());
        let mut coordinates = vec![0.0; count * rank];
        let (mut squared, mut lengths) = (vec![0.0; count], vec![0.0; count]);
        let blocks = coordinates.par_chunks_mut(ROWS * rank).zip(squared.par_chunks_mut(ROWS));
        let blocks = blocks.zip(lengths.par_chunks_mut(ROWS)).enumerate();
        blocks.for_each(|(block, ((coordinates, squared), lengths))| {
            let mut rows = vec![0.0; squared.len() * dimension];
            let norms = squared.iter_mut().zip(lengths);
            for (i, (to, (squared, length))) in rows.chunks_exact_mut(dimension).zip(norms).enumerate() {
                let from = row(block * ROWS + i);
                wide(
                    pulp::Arch::new(),
                    #[inline(always)]
                    || {
                        let (mut scaled, mut plain) = ([0.0; 8], [0.0; 8]);
                        for ((to, x), scale) in
                            to.chunks_mut(8).zip(from.chunks(8)).zip(self.scales.chunks(8))
                        {
                            for lane in 0..to.len() {
                                let x = x[lane].f64();
                                to[lane] = x * scale[lane];
                                scaled[lane] += to[lane] * to[lane];
                                plain[lane] += x * x;
                            }
                        }
                        (*squared, *length) = (scaled.iter().sum(), plain.iter().sum::<f64>().sqrt());
                    },
                );
            }
            let rows =
                View { values: &rows[..], rows: squared.len(), columns: dimension, strides: [dimension, 1] };
            let columns =
                View { values: &self.columns[..], rows: dimension, columns: rank, strides: [rank, 1] };
            product(rows, columns, coordinates, false);
        });
        Projected { coordinates, squared, lengths }
    }
}

impl Projected {
    pub(super) fn rank(&self) -> usize {
        self.coordinates.len() / self.squared.len().max(1)
    }

    pub(super) fn row(&self, i: usize) -> &[f64] {
        let rank = self.rank();
        &self.coordinates[i * rank..(i + 1) * rank]
    }

    /// The norm of what lies beyond all coordinates of a row.
    pub(super) fn rest(&self, i: usize) -> f64 {
        let inside: f64 = self.row(i).iter().map(|x| x * x).sum();
        (self.squared[i] - inside).max(0.0).sqrt()
    }
}

/// Some of so many rows, evenly spread.
pub(super) fn samples(count: usize) -> impl Iterator<Item = usize> {
    let step = count.div_ceil(SAMPLES).max(1);
    (0..count).step_by(step)
}

/// Twice, as once leaves what cancels; a column that depends on those before it becomes 0.
fn orthonormalise(columns: &mut [f64], rank: usize) {
    let mut rows: Vec<Vec<f64>> =
        (0..rank).map(|r| columns.iter().skip(r).step_by(rank).copied().collect()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for r in 0..rank {
        let (before, after) = rows.split_at_mut(r);
        let row = &mut after[0];
        let length = dot(row, row).sqrt();
        for _ in 0..2 {
            for other in &*before {
                let along = dot(row, other);
                row.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
            }
        }
        let left = dot(row, row).sqrt();
        let scale = if left > 1e-9 * length { left.recip() } else { 0.0 };
        row.iter_mut().for_each(|x| *x *= scale);
    }
    for (r, row) in rows.iter().enumerate() {
        columns.iter_mut().skip(r).step_by(rank).zip(row).for_each(|(to, &x)| *to = x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_orthonormal_and_hold_most() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        // Rows in a space of three dimensions, and a little noise.
        let directions: Vec<Vec<f64>> =
            (0..3).map(|_| (0..40).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
        let rows: Vec<Vec<f64>> = (0..100)
            .map(|_| {
                let weights: [f64; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
                (0..40)
                    .map(|j| {
                        let inside: f64 = weights.iter().zip(&directions).map(|(w, d)| w * d[j]).sum();
                        inside + 1e-3 * rng.random_range(-1.0..1.0)
                    })
                    .collect()
            })
            .collect();
        let basis = Basis::of(&rows, vec![2.0; 40], 5);
        let projected = basis.project(rows.len(), |i| &rows[i]);
        for (i, row) in rows.iter().enumerate() {
            let squared = 4.0 * row.iter().map(|x| x * x).sum::<f64>();
            assert!((projected.squared[i] - squared).abs() < 1e-12 * squared.max(1.0));
            assert!(projected.rest(i) < 0.02, "{}", projected.rest(i));
        }
        for a in 0..5 {
            for b in 0..5 {
                let along: f64 = (0..40).map(|j| basis.columns[j * 5 + a] * basis.columns[j * 5 + b]).sum();
                assert!((along - f64::from(u8::from(a == b))).abs() < 1e-12, "{a} {b}: {along}");
            }
        }
    }
}
