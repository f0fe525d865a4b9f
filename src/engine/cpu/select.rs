//! Picking elements of an axis by constant indices, and the transpose.

use rayon::prelude::*;

use crate::Scalar;

use super::CpuTensor;

fn with_length(shape: &[usize], axis: usize, length: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[axis] = length;
    shape
}

pub(super) fn select<S: Scalar>(x: &CpuTensor<S>, axis: usize, indices: &[u32]) -> CpuTensor<S> {
    let shape = with_length(x.shape(), axis, indices.len());
    let inner: usize = shape[axis + 1..].iter().product();
    let block = x.shape()[axis] * inner;
    let mut values = vec![S::zero(); shape.iter().product()];
    values.par_chunks_mut((indices.len() * inner).max(1)).enumerate().for_each(|(outer, y)| {
        let x = &x.values()[outer * block..][..block];
        for (y, &i) in y.chunks_exact_mut(inner).zip(indices) {
            y.copy_from_slice(&x[i as usize * inner..][..inner]);
        }
    });
    CpuTensor::of(shape, values)
}

pub(super) fn select_transposed<S: Scalar>(
    y: &CpuTensor<S>,
    axis: usize,
    indices: &[u32],
    length: usize,
) -> CpuTensor<S> {
    let shape = with_length(y.shape(), axis, length);
    let inner: usize = shape[axis + 1..].iter().product();
    let block = indices.len() * inner;
    let mut values = vec![S::zero(); shape.iter().product()];
    values.par_chunks_mut((length * inner).max(1)).enumerate().for_each(|(outer, x)| {
        let y = &y.values()[outer * block..][..block];
        for (y, &i) in y.chunks_exact(inner).zip(indices) {
            x[i as usize * inner..][..inner].iter_mut().zip(y).for_each(|(x, &y)| *x += y);
        }
    });
    CpuTensor::of(shape, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_and_adds_back() {
        let x = CpuTensor::of([2, 3, 2], (0..12).map(f64::from).collect());
        let y = select(&x, 1, &[2, 0, 2, 2]);
        assert_eq!(y.shape(), [2, 4, 2]);
        assert_eq!(y.values()[..8], [4.0, 5.0, 0.0, 1.0, 4.0, 5.0, 4.0, 5.0]);
        let back = select_transposed(&y, 1, &[2, 0, 2, 2], 3);
        assert_eq!(back.shape(), [2, 3, 2]);
        assert_eq!(back.values()[..6], [0.0, 1.0, 0.0, 0.0, 12.0, 15.0]);
        assert_eq!(*select(&x, 2, &[1]).values(), [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
    }
}
