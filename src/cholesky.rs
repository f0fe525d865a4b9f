//! Positive definite systems of equations, by Cholesky factors in blocks.

use ndarray::{Array2, Axis, s};

/// Rows and columns that are eliminated at once: what is left is products of matrices.
const BLOCK: usize = 64;

/// A lower triangular `L` with `L L^T = A`.
pub(crate) struct Cholesky(Array2<f64>);

impl Cholesky {
    /// The factor of `A [n, n]`, of which the lower half is read; `None` where it is not positive definite to rounding.
    pub(crate) fn new(mut a: Array2<f64>) -> Option<Self> {
        let n = a.nrows();
        for start in (0..n).step_by(BLOCK) {
            let end = n.min(start + BLOCK);
            for j in start..end {
                let own = a.slice(s![j, start..j]);
                let pivot = a[[j, j]] - own.dot(&own);
                if pivot.is_nan() || pivot <= 0.0 {
                    return None;
                }
                let root = pivot.sqrt();
                let column: Vec<f64> = (j + 1..n)
                    .map(|i| (a[[i, j]] - a.slice(s![i, start..j]).dot(&a.slice(s![j, start..j]))) / root)
                    .collect();
                a[[j, j]] = root;
                a.slice_mut(s![j + 1.., j]).iter_mut().zip(column).for_each(|(to, value)| *to = value);
            }
            let panel = a.slice(s![end.., start..end]).to_owned();
            // The lower half of what is left, in stripes.
            for row in (end..n).step_by(4 * BLOCK) {
                let last = n.min(row + 4 * BLOCK);
                let update =
                    panel.slice(s![row - end..last - end, ..]).dot(&panel.slice(s![..last - end, ..]).t());
                let mut rest = a.slice_mut(s![row..last, end..last]);
                rest -= &update;
            }
        }
        Some(Self(a))
    }

    /// `X` with `A X = B`, in the place of `B [n, any]`.
    pub(crate) fn solve(&self, mut right: Array2<f64>) -> Array2<f64> {
        let (lower, n) = (&self.0, self.0.nrows());
        for start in (0..n).step_by(BLOCK) {
            let end = n.min(start + BLOCK);
            let (before, mut rest) = right.view_mut().split_at(Axis(0), start);
            let mut block = rest.slice_mut(s![..end - start, ..]);
            block -= &lower.slice(s![start..end, ..start]).dot(&before);
            for i in start..end {
                let (before, mut rest) = block.view_mut().split_at(Axis(0), i - start);
                let mut row = rest.row_mut(0);
                for (known, &factor) in before.rows().into_iter().zip(lower.slice(s![i, start..i])) {
                    row.scaled_add(-factor, &known);
                }
                row /= lower[[i, i]];
            }
        }
        for start in (0..n).step_by(BLOCK).rev() {
            let end = n.min(start + BLOCK);
            let (mut rest, after) = right.view_mut().split_at(Axis(0), end);
            let mut block = rest.slice_mut(s![start.., ..]);
            block -= &lower.slice(s![end.., start..end]).t().dot(&after);
            for i in (start..end).rev() {
                let (mut rest, after) = block.view_mut().split_at(Axis(0), i + 1 - start);
                let mut row = rest.row_mut(i - start);
                for (known, &factor) in after.rows().into_iter().zip(lower.slice(s![i + 1..end, i])) {
                    row.scaled_add(-factor, &known);
                }
                row /= lower[[i, i]];
            }
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tolerance::{EXACT, relative_difference};

    #[test]
    fn solutions_solve_the_system() {
        for (n, columns) in [(1, 2), (64, 1), (150, 3), (129, 130)] {
            let a = Array2::from_shape_fn((n, n), |(i, j)| ((i * 7 + j * 13 + i * j) % 17) as f64 - 8.0);
            let a = a.dot(&a.t()) + n as f64 * Array2::<f64>::eye(n);
            let b = Array2::from_shape_fn((n, columns), |(i, j)| ((i * 5 + j * 3) % 11) as f64 - 4.0);
            let x = Cholesky::new(a.clone()).unwrap().solve(b.clone());
            let difference = relative_difference(a.dot(&x), b);
            assert!(difference < EXACT, "{n}: {difference:e}");
        }
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factor() {
        let matrix = |inner: f64| Array2::from_shape_fn((2, 2), |(i, j)| if i == j { 1.0 } else { inner });
        assert!(Cholesky::new(matrix(2.0)).is_none() && Cholesky::new(matrix(f64::NAN)).is_none());
        assert!(Cholesky::new(matrix(0.5)).is_some());
    }
}
