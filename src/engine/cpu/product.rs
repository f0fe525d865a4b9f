//! Products on the `gemm` crate, for operands that are used once.

use crate::Scalar;

use super::tile::DEPTH;

/// A matrix inside a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a, S> {
    pub values: &'a [S],
    pub rows: usize,
    pub columns: usize,
    /// Distance between neighbours along a column (down the rows), and along a row.
    pub strides: [usize; 2],
}

impl<S> View<'_, S> {
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

    /// A row-major matrix.
    fn view(values: &[f32], rows: usize, columns: usize) -> View<'_, f32> {
        View { values, rows, columns, strides: [columns, 1] }
    }

    #[test]
    fn equals_sums_in_f64() {
        for (m, k, n) in [(1, 1, 1), (1, 700, 1), (3, 5, 7), (129, 513, 10), (257, 33, 65), (4, 0, 3)] {
            let (a, b) = (random(1, m * k), random(2, k * n));
            let mut y = vec![0.5; m * n];
            product(view(&a, m, k), view(&b, k, n), &mut y, true);
            let reference = (0..m * n).map(|i| {
                let (row, column) = (i / n, i % n);
                0.5 + (0..k).map(|j| f64::from(a[row * k + j]) * f64::from(b[j * n + column])).sum::<f64>()
            });
            let difference = relative_difference(y.iter().map(|&v| f64::from(v)), reference);
            assert!(difference < CLOSE, "[{m}, {k}] x [{k}, {n}]: {difference:e}");
        }
    }
}
