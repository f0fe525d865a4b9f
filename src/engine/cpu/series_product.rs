//! Products of truncated power series, of all units at once.

use pulp::Arch;
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::ProductTable;

use super::arithmetic::SERIAL;
use super::wide::wide;
use super::{CpuTensor, pool};

/// Units whose sums stay in registers while their pairs are added up: four vectors of 64 bytes in f64.
const UNITS: usize = 32;

/// What is multiplied: series `[terms, units]`, and a factor for each unit's own terms of the first.
struct Operands<'a, S> {
    a: &'a [S],
    b: &'a [S],
    scale: Option<&'a [S]>,
    units: usize,
}

pub(super) fn series_product<S: Scalar>(
    a: &CpuTensor<S>,
    b: &CpuTensor<S>,
    scale: Option<&CpuTensor<S>>,
    table: &ProductTable,
) -> CpuTensor<S> {
    let units = a.shape()[1];
    let operands = Operands { a: a.values(), b: b.values(), scale: scale.map(|scale| scale.values()), units };
    let terms = table.terms();
    let mut values = pool::take(terms * units);
    let arch = Arch::new();
    let run = |first: usize, y: &mut [S]| {
        wide(
            arch,
            #[inline(always)]
            || operands.rows(table, first, y),
        );
    };
    // Terms of one degree have about as many pairs each.
    let work_per_term = (table.pairs.len() / terms.max(1) + 1) * units;
    let rows = (SERIAL / work_per_term.max(1)).max(1);
    if terms <= rows {
        run(0, &mut values);
    } else {
        values.par_chunks_mut((rows * units).max(1)).enumerate().for_each(|(task, y)| run(task * rows, y));
    }
    CpuTensor::of([terms, units], values)
}

impl<S: Scalar> Operands<'_, S> {
    /// Terms from `first` on.
    #[inline(always)]
    fn rows(&self, table: &ProductTable, first: usize, y: &mut [S]) {
        for (i, y) in y.chunks_exact_mut(self.units.max(1)).enumerate() {
            let pairs = table.pairs_of(first + i);
            let mut unit = 0;
            unit = self.blocks::<UNITS>(first + i, pairs, y, unit);
            unit = self.blocks::<8>(first + i, pairs, y, unit);
            self.blocks::<1>(first + i, pairs, y, unit);
        }
    }

    /// One term for blocks of `N` units from `unit` on, as many as fit; the unit after the last.
    ///
    /// Operands are read through references to arrays, which stay in registers: copied into arrays first, 160,000 pairs of
    /// rows of 32 took 10 ms of one core instead of 1.3.
    #[inline(always)]
    fn blocks<const N: usize>(&self, term: usize, pairs: &[[u32; 2]], y: &mut [S], mut unit: usize) -> usize {
        while let Some(y) = y.get_mut(unit..).and_then(<[S]>::first_chunk_mut::<N>) {
            let row =
                |values: &'_ [S], row: usize| values[row * self.units + unit..].first_chunk::<N>().copied();
            let mut sums = [S::zero(); N];
            if let Some(scale) = self.scale
                && (term + 1) * self.units <= self.a.len()
                && let (Some(own), Some(scale)) = (row(self.a, term), row(scale, 0))
            {
                (0..N).for_each(|l| sums[l] = scale[l] * own[l]);
            }
            for &[i, j] in pairs {
                let a = self.a[i as usize * self.units + unit..].first_chunk::<N>();
                let b = self.b[j as usize * self.units + unit..].first_chunk::<N>();
                if let (Some(a), Some(b)) = (a, b) {
                    (0..N).for_each(|l| sums[l] += a[l] * b[l]);
                }
            }
            *y = sums;
            unit += N;
        }
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_sums_over_their_pairs() {
        // More than a block of units, and a remainder of either kind.
        let units = UNITS + 8 + 3;
        let tensor = |rows: usize, seed: usize| {
            let values = (0..rows * units).map(|i| ((i * i + seed) % 19) as f64 - 7.0).collect();
            CpuTensor::of([rows, units], values)
        };
        let (a, b, scale) = (tensor(2, 1), tensor(3, 2), tensor(1, 3));
        let table = ProductTable { starts: vec![0, 0, 1, 3], pairs: vec![[0, 2], [1, 0], [1, 1]] };
        let y = series_product(&a, &b, Some(&scale), &table);
        let bare = series_product(&a, &b, None, &table);
        for u in 0..units {
            let at = |t: &CpuTensor<f64>, row: usize| t.values()[row * units + u];
            // The third term is beyond those of the first series.
            let linear = [at(&scale, 0) * at(&a, 0), at(&scale, 0) * at(&a, 1), 0.0];
            let sums = [0.0, at(&a, 0) * at(&b, 2), at(&a, 1) * (at(&b, 0) + at(&b, 1))];
            for t in 0..3 {
                assert_eq!((at(&y, t), at(&bare, t)), (linear[t] + sums[t], sums[t]));
            }
        }
    }
}
