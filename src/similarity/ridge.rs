//! Kernel ridge regression of classes.

use ndarray::{Array2, ArrayView2, s};

use crate::scalar::largest;
use crate::{Error, Result};

/// `alpha = (K + lambda I)^-1 Y` for a Gram matrix `K [N, N]` and classes `Y [N, C]`, one where a sample is of a class and
/// zero elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    alpha: Array2<f64>,
    classes: Vec<u32>,
}

/// Columns that are eliminated at once: what is left is a product of matrices.
const BLOCK: usize = 64;

impl Ridge {
    /// `lambda` is `penalty` times the mean of the diagonal of `K`.
    ///
    /// # Errors
    /// [`Error::Argument`] where `K + lambda I` is not positive definite to rounding, or where there are not as many labels
    /// as rows.
    pub fn new(gram: ArrayView2<'_, f64>, labels: &[u32], penalty: f64) -> Result<Self> {
        let n = gram.nrows();
        if gram.ncols() != n || labels.len() != n || n == 0 {
            return Err(Error::Argument(format!("a matrix {:?} and {} labels", gram.shape(), labels.len())));
        }
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let lambda = penalty * gram.diag().sum() / n as f64;
        let mut matrix = gram.to_owned();
        matrix.diag_mut().iter_mut().for_each(|v| *v += lambda);
        let mut alpha =
            Array2::from_shape_fn((n, classes.len()), |(i, c)| f64::from(u8::from(labels[i] == classes[c])));
        if !factorize(&mut matrix) {
            return Err(Error::Argument(format!(
                "similarities with a ridge penalty of {penalty} are not positive definite: take a larger one"
            )));
        }
        solve(&matrix, &mut alpha);
        Ok(Self { alpha, classes })
    }

    /// The class of each sample, from its similarities `[M, N]` with those it was fitted to.
    pub fn classes(&self, similarities: ArrayView2<'_, f64>) -> Vec<u32> {
        let scores = similarities.dot(&self.alpha);
        scores.rows().into_iter().map(|row| self.classes[largest(row)]).collect()
    }
}

/// The Cholesky factor in the lower half, a block of columns after the other; false where there is none.
fn factorize(a: &mut Array2<f64>) -> bool {
    let n = a.nrows();
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        for j in start..end {
            let own = a.slice(s![j, start..j]);
            let pivot = a[[j, j]] - own.dot(&own);
            if pivot.is_nan() || pivot <= 0.0 {
                return false;
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
    true
}

/// Solves with a Cholesky factor, in place.
fn solve(lower: &Array2<f64>, right: &mut Array2<f64>) {
    let n = lower.nrows();
    for i in 0..n {
        let (before, mut rest) = right.view_mut().split_at(ndarray::Axis(0), i);
        let known = lower.slice(s![i, ..i]).dot(&before);
        let mut row = rest.row_mut(0);
        row -= &known;
        row /= lower[[i, i]];
    }
    for i in (0..n).rev() {
        let (mut before, after) = right.view_mut().split_at(ndarray::Axis(0), i + 1);
        let known = lower.slice(s![i + 1.., i]).dot(&after);
        let mut row = before.row_mut(i);
        row -= &known;
        row /= lower[[i, i]];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tolerance::{EXACT, relative_difference};

    #[test]
    fn coefficients_solve_the_system() {
        let n = 150;
        let a = Array2::from_shape_fn((n, n), |(i, j)| ((i * 7 + j * 13 + i * j) % 17) as f64 - 8.0);
        let gram = a.dot(&a.t());
        let labels: Vec<u32> = (0..n as u32).map(|i| 3 * (i % 3)).collect();
        let ridge = Ridge::new(gram.view(), &labels, 0.5).unwrap();
        let lambda = 0.5 * gram.diag().sum() / n as f64;
        let back = gram.dot(&ridge.alpha) + lambda * &ridge.alpha;
        let wanted = Array2::from_shape_fn((n, 3), |(i, c)| f64::from(u8::from(i % 3 == c)));
        let difference = relative_difference(back.iter().copied(), wanted.iter().copied());
        assert!(difference < EXACT, "{difference:e}");
        assert_eq!(ridge.classes, [0, 3, 6]);
        assert_eq!(ridge.classes(Array2::zeros((2, n)).view()), [0, 0]);
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        let gram = Array2::from_shape_fn((2, 2), |(i, j)| if i == j { 1.0 } else { 2.0 });
        assert!(Ridge::new(gram.view(), &[0, 1], 0.0).is_err());
        assert!(Ridge::new(gram.view(), &[0, 1], 2.0).is_ok());
        assert!(Ridge::new(gram.view(), &[0], 2.0).is_err());
    }
}
