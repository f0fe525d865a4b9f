//! The matrix product, on the `gemm` crate (165 GFLOP/s on two Zen 3 cores in f32, where PyTorch has 133).

use rayon::prelude::*;

use crate::Scalar;

use crate::engine::kernels::{Activation, Epilogue};

use super::activation::activate;
use super::{CpuBuffer, CpuTensor};

/// Rows of the left operand that one task takes: large enough that packing the right operand (once for each
/// task) is below a hundredth of the work, small enough to fill the threads.
const ROWS: usize = 128;

/// The inner dimension is cut into equal pieces of at most this length, which is where `gemm` itself cuts on
/// large operands. With the cut fixed here, an element's sum has one order whatever the number of rows, so a
/// batch gives the same bits however it is chunked.
const DEPTH: usize = 512;

/// A right operand `[k, n]`, row-major.
#[derive(Debug)]
pub struct CpuMatrix<S> {
    values: Vec<S>,
    k: usize,
    n: usize,
}

impl<S: Scalar> CpuMatrix<S> {
    pub(super) fn new(values: &[S], k: usize, n: usize) -> Self {
        debug_assert_eq!(values.len(), k * n);
        Self { values: values.to_vec(), k, n }
    }
}

pub(super) fn matmul<S: Scalar>(
    x: &CpuTensor<S>,
    gate: Option<&CpuTensor<S>>,
    matrix: &CpuMatrix<S>,
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> CpuTensor<S> {
    let x = &gated(x, gate);
    let bias = epilogue.bias;
    let &CpuMatrix { ref values, k, n } = matrix;
    let rows = x.len() / k;
    let mut result = vec![S::zero(); rows * n];
    result.par_chunks_mut(ROWS * n).zip(x.values().par_chunks(ROWS * k)).for_each(|(y, x)| {
        if let Some(bias) = bias {
            y.chunks_exact_mut(n).for_each(|row| row.copy_from_slice(bias.values()));
        }
        let left = View { values: x, rows: x.len() / k, columns: k, strides: [k, 1] };
        product(left, View::new(values, k, n), y, bias.is_some());
    });
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = n;
    }
    activated(CpuTensor::of(shape, result), epilogue.activation)
}

/// `x [N * r, ..] * gate [N, ..]`, the same for the `r` directions of a sample.
pub(super) fn gated<S: Scalar>(x: &CpuTensor<S>, gate: Option<&CpuTensor<S>>) -> CpuTensor<S> {
    let Some(gate) = gate else { return x.clone() };
    let sample = gate.len() / gate.rows().max(1);
    let repeats = x.rows() / gate.rows().max(1);
    let rows = x.values().chunks(sample).enumerate();
    let values = rows.flat_map(|(row, x)| {
        let gate = &gate.values()[row / repeats * sample..][..sample];
        x.iter().zip(gate).map(|(&x, &gate)| x * gate)
    });
    CpuTensor::of(x.shape(), values.collect())
}

/// The activation of an epilogue.
pub(super) fn activated<S: Scalar>(y: CpuTensor<S>, activation: Option<Activation>) -> CpuTensor<S> {
    activation.map_or_else(|| y.clone(), |activation| activate(activation, 0, &y))
}

/// A matrix inside a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a, S> {
    pub values: &'a [S],
    pub rows: usize,
    pub columns: usize,
    /// Distance between neighbours along a column (down the rows), and along a row.
    pub strides: [usize; 2],
}

impl<'a, S> View<'a, S> {
    /// A row-major matrix.
    pub(super) fn new(values: &'a [S], rows: usize, columns: usize) -> Self {
        Self { values, rows, columns, strides: [columns, 1] }
    }

    /// The transpose, without a copy.
    pub(super) fn transposed(self) -> Self {
        let Self { values, rows, columns, strides: [down, along] } = self;
        Self { values, rows: columns, columns: rows, strides: [along, down] }
    }

    /// Whether every element lies in the slice.
    fn is_inside(&self) -> bool {
        let last = |count: usize, stride: usize| count.saturating_sub(1) * stride;
        let empty = self.rows == 0 || self.columns == 0;
        empty || last(self.rows, self.strides[0]) + last(self.columns, self.strides[1]) < self.values.len()
    }
}

/// `y = left @ right`, or `y += left @ right` if `accumulate`; `y` is row-major.
///
/// The sum of each element runs over the inner dimension in an order that depends on nothing else.
pub(super) fn product<S: Scalar>(left: View<'_, S>, right: View<'_, S>, y: &mut [S], accumulate: bool) {
    let (m, n) = (left.rows, right.columns);
    if m == 1 || n == 1 {
        // One row or one column goes another way inside `gemm`, with sums in another order: double it.
        let twice = |v: View<'_, S>, one: bool, axis: usize| -> (usize, usize) {
            let count = [v.rows, v.columns][axis];
            if one { (2, 0) } else { (count, v.strides[axis]) }
        };
        let (rows, down) = twice(left, m == 1, 0);
        let (columns, along) = twice(right, n == 1, 1);
        let mut wide = vec![S::zero(); rows * columns];
        let left = View { rows, strides: [down, left.strides[1]], ..left };
        let right = View { columns, strides: [right.strides[0], along], ..right };
        product(left, right, &mut wide, false);
        for (i, y) in y.iter_mut().enumerate() {
            let value = wide[(i / n) * columns + i % n];
            *y = if accumulate { *y + value } else { value };
        }
        return;
    }
    let k = left.columns;
    let pieces = k.div_ceil(DEPTH).max(1);
    let depth = k.div_ceil(pieces).max(1);
    if k == 0 && !accumulate {
        y.fill(S::zero());
    }
    for start in (0..k).step_by(depth) {
        let depth = depth.min(k - start);
        let left = View { values: &left.values[start * left.strides[1]..], columns: depth, ..left };
        let right = View { values: &right.values[start * right.strides[0]..], rows: depth, ..right };
        piece(left, right, y, accumulate || start > 0);
    }
}

/// One call of `gemm`, bounds checked.
#[allow(unsafe_code)]
fn piece<S: Scalar>(left: View<'_, S>, right: View<'_, S>, y: &mut [S], accumulate: bool) {
    let (m, n, k) = (left.rows, right.columns, left.columns);
    assert!(
        left.is_inside() && right.is_inside() && right.rows == k && y.len() == m * n,
        "product of [{m}, {k}] and [{}, {n}] into {} elements",
        right.rows,
        y.len()
    );
    let stride = |s: usize| s as isize;
    // SAFETY: the assertion above keeps every element that `gemm` reads within `left` and `right`, and every
    // element it writes within `y`, which is borrowed mutably; `S` is `f32` or `f64`, both of which it knows.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            stride(n),
            accumulate,
            left.values.as_ptr(),
            stride(left.strides[1]),
            stride(left.strides[0]),
            right.values.as_ptr(),
            stride(right.strides[1]),
            stride(right.strides[0]),
            S::one(),
            S::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::tolerance::{CLOSE, relative_difference};

    fn random(seed: u64, count: usize) -> Vec<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| rng.random_range(-1.0..2.0)).collect()
    }

    #[test]
    fn equals_sums_in_f64() {
        for (m, k, n) in [(1, 1, 1), (1, 700, 1), (3, 5, 7), (129, 513, 10), (257, 33, 65), (4, 0, 3)] {
            let (a, b) = (random(1, m * k), random(2, k * n));
            let mut y = vec![0.5; m * n];
            product(View::new(&a, m, k), View::new(&b, k, n), &mut y, true);
            let reference = (0..m * n).map(|i| {
                let (row, column) = (i / n, i % n);
                0.5 + (0..k).map(|j| f64::from(a[row * k + j]) * f64::from(b[j * n + column])).sum::<f64>()
            });
            let difference = relative_difference(y.iter().map(|&v| f64::from(v)), reference);
            assert!(difference < CLOSE, "[{m}, {k}] x [{k}, {n}]: {difference:e}");
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_every_batch() {
        for (k, n) in [(784, 256), (784, 10), (60, 1), (2, 3), (1100, 33)] {
            let rows = 150;
            let (a, b) = (random(3, rows * k), random(4, k * n));
            let matrix = CpuMatrix::new(&b, k, n);
            let whole = matmul(&CpuTensor::of([rows, k], a.clone()), None, &matrix, Epilogue::NONE);
            for chunk in [1, 2, 7, 64, 131] {
                let parts: Vec<f32> = a
                    .chunks(chunk * k)
                    .flat_map(|a| {
                        let part = matmul(
                            &CpuTensor::of([a.len() / k, k], a.to_vec()),
                            None,
                            &matrix,
                            Epilogue::NONE,
                        );
                        part.values().to_vec()
                    })
                    .collect();
                assert!(parts == *whole.values(), "k = {k}, n = {n}, {chunk} rows at a time");
            }
        }
    }

    #[test]
    fn transposes_need_no_copy() {
        let (a, b) = (random(5, 6 * 4), random(6, 6 * 5));
        let mut y = vec![0.0; 20];
        product(View::new(&a, 6, 4).transposed(), View::new(&b, 6, 5), &mut y, false);
        let reference = (0..20).map(|i| (0..6).map(|j| f64::from(a[j * 4 + i / 5] * b[j * 5 + i % 5])).sum());
        assert!(relative_difference(y.iter().map(|&v| f64::from(v)), reference) < CLOSE);
    }
}
