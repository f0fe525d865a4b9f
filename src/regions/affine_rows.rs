//! Affine rows: the map of one output on the region of a point.

use std::ops::Range;

use crate::classes::{accuracy, largest};
use crate::data::Dataset;
use crate::engine::{Context, Engine};
use crate::maso::{Templates, templates};
use crate::network::Program;
use crate::{Result, Scalar};

/// Hands over the affine rows `[n, K, D + 1]` of `K` outputs at rows of data, block by block and in order: the gradient,
/// and behind it the offset `g(x) - J x` (summed in `f64`). On a region of a piecewise affine network all points have the
/// same rows.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) where data do not fit; [`Error::Argument`](crate::Error::Argument) for an output
/// that is not there; [`Error::NonFinite`](crate::Error::NonFinite), [`Error::Memory`](crate::Error::Memory),
/// [`Error::Cancelled`](crate::Error::Cancelled); what `each` says.
pub fn affine_rows<E: Engine>(
    program: &Program<E>,
    data: &Dataset,
    outputs: &[usize],
    context: &Context,
    mut each: impl FnMut(Range<usize>, &[E::Scalar]) -> Result<()>,
) -> Result<()> {
    let dimension = program.dimension();
    data.check_rows(dimension)?;
    // Half of the budget for jets, the other for what comes back.
    let inner = &context.clone().with_memory(context.memory() / 2);
    templates(program, data, outputs, true, inner, |Templates { samples, slopes, offsets, .. }| {
        let rows = slopes.chunks_exact(dimension).zip(offsets);
        let rows: Vec<E::Scalar> =
            rows.flat_map(|(slope, offset)| slope.iter().copied().chain([offset])).collect();
        each(samples, &rows)
    })
}

/// `p . x + q` of a row `(p, q)`.
pub(super) fn at<S: Scalar, T: Scalar>(row: &[S], point: &[T]) -> f64 {
    let along: f64 = row.iter().zip(point).map(|(p, x)| p.f64() * x.f64()).sum();
    along + row[point.len()].f64()
}

/// The mean of rows of `width` numbers.
pub(super) fn mean<S: Scalar>(values: &[S], width: usize) -> Vec<f64> {
    let mut mean = vec![0.0; width];
    for row in values.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x.f64());
    }
    let count = (values.len() / width) as f64;
    mean.into_iter().map(|sum| sum / count).collect()
}

/// The class of each row of values `[N, K]`: the largest, of equals the first.
pub(super) fn classes(values: &[f64], outputs: usize) -> Vec<u32> {
    values.chunks_exact(outputs).map(|row| largest(row) as u32).collect()
}

/// The share of rows of values `[N, K]` whose class is the one given.
pub(super) fn agreement(values: &[f64], outputs: usize, expected: &[u32]) -> f64 {
    accuracy(&classes(values, outputs), expected)
}
