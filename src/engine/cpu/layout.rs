//! Moving elements: permuted axes, padding and cutting, joining.

use rayon::prelude::*;

use crate::{Error, Result, Scalar};

use super::CpuTensor;
use super::arithmetic::SERIAL;

pub(super) fn permute<S: Scalar>(x: &CpuTensor<S>, order: &[usize]) -> CpuTensor<S> {
    let strides = strides(x.shape());
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape()[axis]).collect();
    let step: Vec<usize> = order.iter().map(|&axis| strides[axis]).collect();
    let mut values = vec![S::zero(); x.len()];
    gather(&shape, &mut values, |index| {
        x.values()[index.iter().zip(&step).map(|(i, s)| i * s).sum::<usize>()]
    });
    CpuTensor::of(shape, values)
}

pub(super) fn pad<S: Scalar>(
    x: &CpuTensor<S>,
    before: &[isize],
    after: &[isize],
    value: S,
) -> Result<CpuTensor<S>> {
    let shape: Option<Vec<usize>> = x
        .shape()
        .iter()
        .zip(before.iter().zip(after))
        .map(|(&length, (&before, &after))| length.checked_add_signed(before)?.checked_add_signed(after))
        .collect();
    let shape = shape.ok_or_else(|| {
        Error::Shape(format!("{:?} cannot be padded by {before:?} and {after:?}", x.shape()))
    })?;
    let strides = strides(x.shape());
    let mut values = vec![value; shape.iter().product()];
    gather(&shape, &mut values, |index| {
        let mut flat = 0;
        for (axis, &i) in index.iter().enumerate() {
            match i.checked_add_signed(-before[axis]).filter(|&i| i < x.shape()[axis]) {
                Some(i) => flat += i * strides[axis],
                None => return value,
            }
        }
        x.values()[flat]
    });
    Ok(CpuTensor::of(shape, values))
}

pub(super) fn concat<S: Scalar>(parts: &[&CpuTensor<S>], axis: usize) -> CpuTensor<S> {
    let mut shape = parts[0].shape().to_vec();
    shape[axis] = parts.iter().map(|part| part.shape()[axis]).sum();
    let inner = |part: &CpuTensor<S>| part.shape()[axis..].iter().product::<usize>();
    let outer: usize = shape[..axis].iter().product();
    let mut values = Vec::with_capacity(shape.iter().product());
    for i in 0..outer {
        for part in parts {
            let row = inner(part);
            values.extend_from_slice(&part.values()[i * row..(i + 1) * row]);
        }
    }
    CpuTensor::of(shape, values)
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Fills an array with a function of its indices.
fn gather<S: Scalar>(shape: &[usize], values: &mut [S], f: impl Fn(&[usize]) -> S + Sync) {
    values.par_chunks_mut(SERIAL).enumerate().for_each(|(chunk, values)| {
        let mut index = vec![0; shape.len()];
        let mut rest = chunk * SERIAL;
        for (axis, &length) in shape.iter().enumerate().rev() {
            index[axis] = rest % length;
            rest /= length;
        }
        for value in values {
            *value = f(&index);
            for (i, &length) in index.iter_mut().zip(shape).rev() {
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
