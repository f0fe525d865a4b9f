//! Metrics of the distances between points and anchors, as linear coordinates.
//!
//! With `P = A^T A` and `z = A x`, `|x - x_i|_P = |z - z_i|`: a spline in the metric `P` is the published one of the
//! same jets in the coordinates `z`, with Jacobians `J A^-1`. Everything that computes with jets (envelopes, bounds,
//! soft envelopes, secants, slices) therefore works in any metric, at the cost of the coordinates alone, and where
//! these are fewer than the elements of the input, everything costs less.

mod coordinates;
mod find;
mod inputs;

use std::path::Path;

use nalgebra::{DMatrix, SymmetricEigen};
use serde::{Deserialize, Serialize};

use crate::data::read_array;
use crate::{Error, Result};

pub use coordinates::{Coordinates, Placed};
pub use find::{diagonal, gradients, informed, principal};

/// The largest weight over the smallest: smaller weights are raised, as a slope along a direction that the metric does
/// not see can be held by no curvature.
const SPREAD: f64 = 1e6;

/// A symmetric positive semidefinite form `P`; `|x|_P^2 = x^T P x`.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Metric {
    /// `P = I`.
    #[default]
    Identity,
    /// A weight for each element of the input `[D]`, all positive.
    Diagonal(Vec<f64>),
    /// `sum_j weights_j q_j q_j^T + rest (I - sum_j q_j q_j^T)`.
    LowRank(LowRank),
}

/// A metric with few distinguished directions.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// Orthonormal directions `q_j`, `[r, D]`.
    pub basis: Vec<f64>,
    /// The form along them, `[r]`, positive.
    pub weights: Vec<f64>,
    /// The form along everything else. With 0, points are seen through their `r` coordinates alone: differences and
    /// slopes along other directions are left out, and kernels work in `r` dimensions.
    pub rest: f64,
}

/// What a metric is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The diagonal of the mean of `J^T J` over anchors and outputs, to a power.
    Diagonal,
    /// The mean of `J^T J` over anchors and outputs (the gradient covariance; Constantine, Dow & Wang 2014), to a
    /// power.
    Gradient,
    /// The same, seen through its first directions alone (the active subspace): fewer coordinates.
    Active,
    /// The anchors' principal components, along which distances are as before: fewer coordinates.
    Principal,
    /// The directions along which outputs vary over the anchors, each scaled by how much they do: fewer coordinates.
    Informed,
}

impl Family {
    /// The power that did best on the networks at hand.
    pub fn usual_power(self) -> f64 {
        match self {
            Self::Informed => 0.75,
            _ => 0.5,
        }
    }
}

impl Metric {
    /// A diagonal metric.
    ///
    /// # Errors
    /// [`Error::Argument`] for weights that are negative, not finite, or all 0.
    pub fn diagonal(weights: Vec<f64>) -> Result<Self> {
        Ok(Self::Diagonal(raised(weights)?))
    }

    /// The metric with this matrix, `[D, D]`.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is not symmetric and positive semidefinite, or 0.
    pub fn full(matrix: &[f64], dimension: usize) -> Result<Self> {
        let matrix = DMatrix::from_row_slice(dimension, dimension, matrix);
        let largest = matrix.amax();
        if !largest.is_finite() || (&matrix - matrix.transpose()).amax() > 1e-6 * largest {
            return Err(Error::Argument("a metric's matrix must be finite and symmetric".to_owned()));
        }
        let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(matrix);
        let weights: Vec<f64> = eigenvalues.iter().copied().collect();
        // Rounding of the decomposition aside.
        let top = weights.iter().copied().fold(0.0, f64::max);
        let weights = weights.into_iter().map(|w| if w < 0.0 && w > -1e-9 * top { 0.0 } else { w }).collect();
        // Column-major columns are rows.
        let basis = eigenvectors.as_slice().to_vec();
        Ok(Self::LowRank(LowRank { basis, weights: raised(weights)?, rest: 0.0 }))
    }

    /// A metric from a file: weights `[D]` of a diagonal one, or the matrix `[D, D]`.
    ///
    /// # Errors
    /// What reading says; [`Error::Shape`] for another shape; [`Error::Argument`] for another matrix.
    pub fn open(path: &Path, dimension: usize) -> Result<Self> {
        let array = read_array(path, None)?;
        let values: Vec<f64> = array.iter().copied().collect();
        if array.shape() == [dimension] {
            Self::diagonal(values)
        } else if array.shape() == [dimension, dimension] {
            Self::full(&values, dimension)
        } else {
            Err(Error::Shape(format!(
                "'{}' has shape {:?}; a metric has {dimension} weights or a matrix {dimension} x {dimension}",
                path.display(),
                array.shape()
            )))
        }
    }

    /// Coordinates of a point of `dimension` elements.
    pub fn coordinates(&self, dimension: usize) -> usize {
        match self {
            Self::LowRank(LowRank { weights, rest, .. }) if *rest == 0.0 => weights.len(),
            _ => dimension,
        }
    }

    /// # Errors
    /// [`Error::Shape`] where it is not one of points of `dimension` elements.
    pub fn check(&self, dimension: usize) -> Result<()> {
        let fits = match self {
            Self::Identity => true,
            Self::Diagonal(weights) => weights.len() == dimension,
            Self::LowRank(metric) => metric.basis.len() == metric.weights.len() * dimension,
        };
        if fits {
            return Ok(());
        }
        Err(Error::Shape(format!("the metric is not one of points with {dimension} elements")))
    }

    /// A phrase for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Identity => "identity".to_owned(),
            Self::Diagonal(_) => "diagonal".to_owned(),
            Self::LowRank(LowRank { weights, rest, .. }) if *rest == 0.0 => {
                format!("{} coordinates", weights.len())
            }
            Self::LowRank(LowRank { weights, .. }) => format!("rank {} plus identity", weights.len()),
        }
    }
}

/// Weights with small ones raised.
fn raised(mut weights: Vec<f64>) -> Result<Vec<f64>> {
    let largest = weights.iter().copied().fold(0.0, f64::max);
    if !(largest.is_finite() && largest > 0.0) || weights.iter().any(|w| w.is_nan() || *w < 0.0) {
        return Err(Error::Argument(
            "a metric's weights must be finite, none negative and not all 0".to_owned(),
        ));
    }
    weights.iter_mut().for_each(|w| *w = w.max(largest / SPREAD));
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_comes_back_from_its_directions() {
        let matrix = [2.0, 0.5, 0.0, 0.5, 1.0, -0.25, 0.0, -0.25, 3.0];
        let Metric::LowRank(LowRank { basis, weights, rest }) = Metric::full(&matrix, 3).unwrap() else {
            panic!("a full matrix has directions");
        };
        assert_eq!(rest, 0.0);
        for i in 0..3 {
            for j in 0..3 {
                let sum: f64 = (0..3).map(|q| weights[q] * basis[3 * q + i] * basis[3 * q + j]).sum();
                assert!((sum - matrix[3 * i + j]).abs() < 1e-12, "{i} {j}: {sum}");
            }
        }
    }

    #[test]
    fn what_is_no_metric_is_refused() {
        assert!(Metric::full(&[1.0, 0.5, 0.0, 1.0], 2).is_err());
        assert!(Metric::full(&[1.0, 2.0, 2.0, 1.0], 2).is_err());
        assert!(Metric::full(&[0.0; 4], 2).is_err());
        assert!(Metric::diagonal(vec![1.0, -1.0]).is_err());
        assert!(Metric::diagonal(vec![1.0, f64::NAN]).is_err());
        assert!(Metric::diagonal(vec![f64::INFINITY, 1.0]).is_err());
        assert_eq!(Metric::diagonal(vec![1.0, 0.0]).unwrap(), Metric::Diagonal(vec![1.0, 1e-6]));
    }
}
