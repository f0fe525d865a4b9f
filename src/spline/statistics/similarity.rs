//! How two sets of slopes relate.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::ArrayView2;

use crate::tolerance::CLOSE;
use crate::{Error, Result, Scalar};

/// How far two sets of slopes are from each other: `|I - pinv(V) V'|`, the Frobenius norm, with the `M` slopes of each
/// set, given as rows `[M, D]`, as the columns of `V` and `V'`.
///
/// With `V = U S W^T` of rank `r` this is the root of `(M - r) + |S^-1 U^T (V - V')|^2`, which loses no digits where the
/// sets are alike. So equal sets are at distance 0 where the slopes are linearly independent, and at `sqrt(M - r)` where
/// they are not, as any more slopes than dimensions are. Singular values below [`CLOSE`] times the largest count as 0.
/// They come from the smaller Gram matrix, in `f64`. It is no metric: the sets cannot be exchanged.
///
/// # Errors
/// [`Error::Shape`] for sets of another size or dimension, or empty ones; [`Error::NonFinite`].
pub fn similarity<S: Scalar>(first: ArrayView2<'_, S>, second: ArrayView2<'_, S>) -> Result<f64> {
    let (m, d) = first.dim();
    if first.dim() != second.dim() || m * d == 0 {
        let (of_second, of_its) = second.dim();
        return Err(Error::Shape(format!(
            "{m} slopes of {d} elements cannot be compared with {of_second} slopes of {of_its} elements: expected \
             as many of the same dimension"
        )));
    }
    for slopes in [&first, &second] {
        if let Some(at) = slopes.iter().position(|v| !v.is_finite()) {
            return Err(Error::NonFinite { what: "a set of slopes".to_owned(), row: at / d });
        }
    }
    // nalgebra fills columns first: rows of slopes become columns.
    let v = DMatrix::from_iterator(d, m, first.iter().map(|v| v.f64()));
    let apart = DMatrix::from_iterator(d, m, first.iter().zip(&second).map(|(a, b)| a.f64() - b.f64()));
    let flat = d <= m;
    let gram = if flat { &v * v.transpose() } else { v.tr_mul(&v) };
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(gram);
    // U^T (V - V'); from the other side, with U S = V W, S times that.
    let along = eigenvectors.tr_mul(&if flat { apart } else { v.tr_mul(&apart) });
    let largest = eigenvalues.iter().copied().fold(0.0, f64::max);
    let (mut rank, mut squares) = (0, 0.0);
    for (row, &square) in along.row_iter().zip(eigenvalues.iter()) {
        if square > CLOSE * CLOSE * largest {
            rank += 1;
            squares += row.norm_squared() / if flat { square } else { square * square };
        }
    }
    Ok(((m - rank) as f64 + squares).sqrt())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::testing::random_rows;
    use super::*;
    use crate::tolerance::EXACT;

    #[test]
    fn similarity_is_that_of_the_pseudo_inverse() {
        // As many slopes as dimensions, more, fewer; of full rank, and with copies.
        for (m, d, copies) in [(5, 5, 0), (9, 4, 0), (4, 9, 0), (6, 8, 2), (8, 6, 3)] {
            let (mut first, second) = (random_rows(m as u64, m, d), random_rows(70 + d as u64, m, d));
            for i in 0..copies {
                let copy = first.row(m - 1 - i).to_owned();
                first.row_mut(i).assign(&copy);
            }
            let rank = (m - copies).min(d);
            let [v, w] = [&first, &second].map(|rows| DMatrix::from_iterator(d, m, rows.iter().copied()));
            let inverse = v.clone().pseudo_inverse(CLOSE).unwrap();
            // Penrose: what the reference is.
            assert!((&v * &inverse * &v - &v).norm() < EXACT * v.norm());
            let expected = (DMatrix::identity(m, m) - inverse * w).norm();
            let found = similarity(first.view(), second.view()).unwrap();
            // A Gram matrix has the condition number squared.
            assert!((found / expected - 1.0).abs() < CLOSE, "{m} {d}: {found}, not {expected}");
            let itself = similarity(first.view(), first.view()).unwrap();
            assert_eq!(itself, ((m - rank) as f64).sqrt(), "{m} {d}");
        }
    }

    #[test]
    fn similarity_by_hand() {
        // V = diag(1, 2), V' = [[1, 1], [0, 2]]: pinv(V) V' = [[1, 1], [0, 1]].
        let (first, second) = (array![[1.0, 0.0], [0.0, 2.0]], array![[1.0, 0.0], [1.0, 2.0]]);
        assert!((similarity(first.view(), second.view()).unwrap() - 1.0).abs() < EXACT);
        assert_eq!(
            similarity(array![[0.0], [0.0]].view(), array![[1.0], [2.0]].view()).unwrap(),
            2.0_f64.sqrt()
        );
        assert!(matches!(similarity(first.view(), array![[1.0, 2.0]].view()), Err(Error::Shape(_))));
        let bad = array![[1.0, 0.0], [0.0, f64::NAN]];
        assert!(matches!(similarity(first.view(), bad.view()), Err(Error::NonFinite { row: 1, .. })));
    }
}
