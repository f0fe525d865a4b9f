//! Sums over axes.

use rayon::prelude::*;

use crate::Scalar;

use super::CpuTensor;

pub(super) fn sum<S: Scalar>(x: &CpuTensor<S>, axes: &[usize]) -> CpuTensor<S> {
    let mut values: Option<Vec<S>> = None;
    let mut shape = x.shape().to_vec();
    // One axis after the other, the last first: each is a sum over the middle of [outer, length, inner].
    for &axis in axes.iter().rev() {
        let input: &[S] = values.as_deref().unwrap_or(x.values());
        let (length, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>().max(1));
        shape[axis] = 1;
        let mut result = vec![S::zero(); shape.iter().product()];
        let row = length * inner;
        result.par_chunks_mut(inner).enumerate().for_each(|(outer, y)| {
            for x in input[outer * row..(outer + 1) * row].chunks_exact(inner) {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
            }
        });
        values = Some(result);
    }
    values.map_or_else(|| x.clone(), |values| CpuTensor::of(shape, values))
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
