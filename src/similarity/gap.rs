//! The similarity gap: how much more alike samples of one class are than others.

use std::ops::Range;

use crate::Scalar;

/// Sums of similarities of pairs of one class and of two.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Gap {
    sums: [f64; 2],
    counts: [u64; 2],
}

impl Gap {
    /// Takes rows `range` of a matrix of similarities into account, with the classes of all its rows and columns. Where rows
    /// and columns are the `same` samples, a sample with itself is no pair (the published program counts it). With
    /// `selves`, the similarities of rows and of columns with themselves, cosines are taken.
    pub fn add<S: Scalar>(
        &mut self,
        range: Range<usize>,
        values: &[S],
        [rows, columns]: [&[u32]; 2],
        same: bool,
        selves: Option<[&[f64]; 2]>,
    ) {
        for (i, values) in range.zip(values.chunks_exact(columns.len().max(1))) {
            for (j, value) in values.iter().enumerate() {
                if same && i == j {
                    continue;
                }
                let value = match selves {
                    Some([of_rows, of_columns]) => cosine(value.f64(), of_rows[i], of_columns[j]),
                    None => value.f64(),
                };
                let kind = usize::from(rows[i] != columns[j]);
                self.sums[kind] += value;
                self.counts[kind] += 1;
            }
        }
    }

    /// The mean over pairs of one class; `None` where there are none.
    pub fn within(&self) -> Option<f64> {
        (self.counts[0] > 0).then(|| self.sums[0] / self.counts[0] as f64)
    }

    /// The mean over pairs of two classes.
    pub fn across(&self) -> Option<f64> {
        (self.counts[1] > 0).then(|| self.sums[1] / self.counts[1] as f64)
    }

    /// Within less across.
    pub fn gap(&self) -> Option<f64> {
        Some(self.within()? - self.across()?)
    }
}

/// A similarity over the root of both samples' with themselves; 0 where one has no gradient.
pub(super) fn cosine(value: f64, a: f64, b: f64) -> f64 {
    let size = (a * b).sqrt();
    if size > 0.0 { value / size } else { 0.0 }
}
