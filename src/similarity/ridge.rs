//! Kernel ridge regression of classes.

use ndarray::{Array2, ArrayView2};

use crate::cholesky::Cholesky;
use crate::classes::largest;
use crate::{Error, Result};

/// `alpha = (K + lambda I)^-1 Y` for a Gram matrix `K [N, N]` and classes `Y [N, C]`, one where a sample is of a class and
/// zero elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    alpha: Array2<f64>,
    classes: Vec<u32>,
}

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
        let wanted =
            Array2::from_shape_fn((n, classes.len()), |(i, c)| f64::from(u8::from(labels[i] == classes[c])));
        let Some(factors) = Cholesky::new(matrix) else {
            return Err(Error::Argument(format!(
                "similarities with a ridge penalty of {penalty} are not positive definite: take a larger one"
            )));
        };
        Ok(Self { alpha: factors.solve(wanted), classes })
    }

    /// The class of each sample, from its similarities `[M, N]` with those it was fitted to.
    pub fn classes(&self, similarities: ArrayView2<'_, f64>) -> Vec<u32> {
        let scores = similarities.dot(&self.alpha);
        scores.rows().into_iter().map(|row| self.classes[largest(row)]).collect()
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
