//! Sums over axes.

use pulp::Arch;
use rayon::prelude::*;

use crate::Scalar;

use super::arithmetic::SERIAL;
use super::wide::wide;
use super::{CpuTensor, pool};

/// Partial sums of a line that lies in memory as it is: so many independent ones fill the vectors and hide the
/// latency of an addition.
const LANES: usize = 32;

pub(super) fn sum<S: Scalar>(x: &CpuTensor<S>, axes: &[usize]) -> CpuTensor<S> {
    let mut values: Option<Vec<S>> = None;
    let mut shape = x.shape().to_vec();
    // Neighbouring axes are one; the last come first: each is a sum over the middle of [outer, length, inner].
    for axes in axes.chunk_by(|a, b| a + 1 == *b).rev() {
        let (first, last) = (axes[0], axes[axes.len() - 1]);
        let length: usize = shape[first..=last].iter().product();
        let inner = shape[last + 1..].iter().product::<usize>().max(1);
        shape[first..=last].fill(1);
        let input: &[S] = values.as_deref().unwrap_or(x.values());
        let mut result = pool::take(shape.iter().product());
        if inner == 1 {
            let rows = (SERIAL / length.max(1)).max(1);
            result.par_chunks_mut(rows).enumerate().for_each(|(task, y)| {
                wide(
                    Arch::new(),
                    #[inline(always)]
                    || {
                        let lines = input[task * rows * length..].chunks_exact(length.max(1));
                        y.iter_mut().zip(lines).for_each(|(y, line)| *y = line_sum(line));
                    },
                );
            });
        } else {
            result.par_chunks_mut(inner).enumerate().for_each(|(outer, y)| {
                y.fill(S::zero());
                for x in input[outer * length * inner..][..length * inner].chunks_exact(inner) {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
                }
            });
        }
        values = Some(result);
    }
    values.map_or_else(|| x.clone(), |values| CpuTensor::of(shape, values))
}

/// The sum of a line, in an order that depends on its length alone.
#[inline(always)]
fn line_sum<S: Scalar>(line: &[S]) -> S {
    let (chunks, rest) = line.as_chunks::<LANES>();
    let mut sums = [S::zero(); LANES];
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x;
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += x;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        let (low, high) = sums.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_any_axes() {
        let x = CpuTensor::of([2, 3, 4], (0..24).map(f64::from).collect());
        let middle = sum(&x, &[1]);
        assert_eq!(middle.shape(), [2, 1, 4]);
        assert_eq!(*middle.values(), [12.0, 15.0, 18.0, 21.0, 48.0, 51.0, 54.0, 57.0]);
        let ends = sum(&x, &[0, 2]);
        assert_eq!(ends.shape(), [1, 3, 1]);
        assert_eq!(*ends.values(), [60.0, 92.0, 124.0]);
        assert_eq!(sum(&x, &[]).values(), x.values());
    }
}
