//! Moving elements: permuted axes, padding and cutting, joining.

use rayon::prelude::*;

use crate::engine::axes;
use crate::{Result, Scalar};

use super::arithmetic::SERIAL;
use super::{CpuTensor, pool};

pub(super) fn permute<S: Scalar>(x: &CpuTensor<S>, order: &[usize]) -> CpuTensor<S> {
    let strides = strides(x.shape());
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape()[axis]).collect();
    let step: Vec<usize> = order.iter().map(|&axis| strides[axis]).collect();
    let mut values = pool::take(x.len());
    let last = step.last().copied().unwrap_or(1);
    rows(&shape, &mut values, |index, row| {
        let start: usize = index.iter().zip(&step).map(|(i, s)| i * s).sum();
        if last == 1 {
            row.copy_from_slice(&x.values()[start..][..row.len()]);
        } else {
            row.iter_mut().zip(x.values()[start..].iter().step_by(last)).for_each(|(to, &x)| *to = x);
        }
    });
    CpuTensor::of(shape, values)
}

pub(super) fn pad<S: Scalar>(
    x: &CpuTensor<S>,
    before: &[isize],
    after: &[isize],
    value: S,
) -> Result<CpuTensor<S>> {
    let shape = axes::padded(x.shape(), before, after)?;
    let strides = strides(x.shape());
    let mut values = pool::take(shape.iter().product());
    let Some(last) = shape.len().checked_sub(1) else { return Ok(x.clone()) };
    // The columns of a row that lie in `x`, and the first that they are there.
    let low = before[last].max(0).unsigned_abs().min(shape[last]);
    let skipped = (-before[last]).max(0).unsigned_abs();
    let count = x.shape()[last].saturating_sub(skipped).min(shape[last] - low);
    rows(&shape, &mut values, |index, row| {
        let start = index.iter().enumerate().try_fold(0, |flat, (axis, &i)| {
            let i = i.checked_add_signed(-before[axis]).filter(|&i| i < x.shape()[axis])?;
            Some(flat + i * strides[axis])
        });
        let Some(start) = start.filter(|_| count > 0) else { return row.fill(value) };
        row[..low].fill(value);
        row[low..low + count].copy_from_slice(&x.values()[start + skipped..][..count]);
        row[low + count..].fill(value);
    });
    Ok(CpuTensor::of(shape, values))
}

pub(super) fn concat<S: Scalar>(parts: &[&CpuTensor<S>], axis: usize) -> CpuTensor<S> {
    let mut shape = parts[0].shape().to_vec();
    shape[axis] = parts.iter().map(|part| part.shape()[axis]).sum();
    let inner = |part: &CpuTensor<S>| part.shape()[axis..].iter().product::<usize>();
    let row: usize = shape[axis..].iter().product();
    let mut values = pool::take(shape.iter().product());
    let rows_per_task = (SERIAL / row.max(1)).max(1);
    values.par_chunks_mut((row * rows_per_task).max(1)).enumerate().for_each(|(task, values)| {
        for (i, mut rest) in values.chunks_mut(row.max(1)).enumerate() {
            let i = task * rows_per_task + i;
            for part in parts {
                let length = inner(part);
                let (to, after) = rest.split_at_mut(length);
                to.copy_from_slice(&part.values()[i * length..][..length]);
                rest = after;
            }
        }
    });
    CpuTensor::of(shape, values)
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Fills an array row by row (along the last axis), given the indices before the last.
fn rows<S: Scalar>(shape: &[usize], values: &mut [S], f: impl Fn(&[usize], &mut [S]) + Sync) {
    let (length, outer) = shape.split_last().map_or((1, shape), |(&length, outer)| (length, outer));
    let per_task = (SERIAL / length.max(1)).max(1);
    values.par_chunks_mut((length * per_task).max(1)).enumerate().for_each(|(task, values)| {
        let mut index = vec![0; outer.len()];
        let mut rest = task * per_task;
        for (i, &length) in index.iter_mut().zip(outer).rev() {
            *i = rest % length;
            rest /= length;
        }
        for row in values.chunks_mut(length) {
            f(&index, row);
            for (i, &length) in index.iter_mut().zip(outer).rev() {
                *i += 1;
                if *i < length {
                    break;
                }
                *i = 0;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(shape: [usize; 3]) -> CpuTensor<f64> {
        CpuTensor::of(shape, (0..shape.iter().product::<usize>()).map(|i| i as f64).collect())
    }

    #[test]
    fn permutes() {
        let y = permute(&counting([2, 3, 2]), &[2, 0, 1]);
        assert_eq!(y.shape(), [2, 2, 3]);
        assert_eq!(*y.values(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
    }

    #[test]
    fn pads_and_cuts() {
        let x = counting([1, 2, 3]);
        let y = pad(&x, &[0, 1, -1], &[0, 0, 2], 9.0).expect("the lengths stay positive");
        assert_eq!(y.shape(), [1, 3, 4]);
        assert_eq!(*y.values(), [9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 9.0, 9.0, 4.0, 5.0, 9.0, 9.0]);
        assert!(pad(&x, &[0, -3, 0], &[0, 0, 0], 0.0).is_err());
    }

    #[test]
    fn joins_and_cuts_back() {
        let (a, b) = (counting([2, 1, 2]), counting([2, 3, 2]));
        let y = concat(&[&a, &b], 1);
        assert_eq!(y.shape(), [2, 4, 2]);
        assert_eq!(y.values()[..4], [0.0, 1.0, 0.0, 1.0]);
        let back = pad(&y, &[0, -1, 0], &[0, 0, 0], 0.0).expect("one row can be cut");
        assert_eq!(back.values(), b.values());
    }
}
