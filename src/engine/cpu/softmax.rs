//! Softmax and its logarithm.

use rayon::prelude::*;

use crate::Scalar;

use super::CpuTensor;

pub(super) fn softmax<S: Scalar>(x: &CpuTensor<S>, axis: usize, log: bool) -> CpuTensor<S> {
    let length = x.shape()[axis];
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let mut values = x.values().to_vec();
    values.par_chunks_mut((length * inner).max(1)).for_each(|block| {
        for start in 0..inner {
            let line = |i: usize| start + i * inner;
            // NaN must not be hidden: it is larger than nothing, and comes back with the sum.
            let largest = (0..length)
                .fold(S::neg_infinity(), |m, i| if block[line(i)] > m { block[line(i)] } else { m });
            let mut sum = S::zero();
            for i in 0..length {
                let shifted = block[line(i)] - largest;
                let power = shifted.exp();
                sum += power;
                block[line(i)] = if log { shifted } else { power };
            }
            let (factor, shift) = if log { (S::one(), sum.ln()) } else { (sum.recip(), S::zero()) };
            for i in 0..length {
                block[line(i)] = block[line(i)] * factor - shift;
            }
        }
    });
    CpuTensor::of(x.shape(), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tolerance::{EXACT, relative_difference};

    #[test]
    fn equals_the_definition_along_any_axis() {
        let x = CpuTensor::of([2, 3, 4], (0..24).map(|i| f64::from(i * i % 7) - 3.0).collect());
        for (axis, step) in [(0, 12), (1, 4), (2, 1)] {
            let length = x.shape()[axis];
            let first = |i: usize| i / (step * length) * step * length + i % step;
            let expected: Vec<f64> = (0..24)
                .map(|i| {
                    let sum: f64 = (0..length).map(|j| x.values()[first(i) + j * step].exp()).sum();
                    x.values()[i].exp() / sum
                })
                .collect();
            let y = softmax(&x, axis, false);
            assert!(relative_difference(y.values().iter().copied(), expected.iter().copied()) < EXACT);
            let y = softmax(&x, axis, true);
            assert!(relative_difference(y.values().iter().copied(), expected.iter().map(|v| v.ln())) < EXACT);
        }
    }

    #[test]
    fn large_inputs_do_not_overflow_and_nan_is_not_hidden() {
        let x = CpuTensor::of([1, 3], vec![1000.0_f32, -1000.0, 999.0]);
        assert!(
            softmax(&x, 1, false).values().iter().chain(softmax(&x, 1, true).values()).all(|v| v.is_finite())
        );
        let x = CpuTensor::of([1, 2], vec![f32::NAN, 0.0]);
        assert!(softmax(&x, 1, false).values().iter().all(|v| v.is_nan()));
    }
}
