//! Slopes in the elements of the data, on the host, in `f64`.

use super::{LowRank, Metric};

impl Metric {
    /// `P x` of a vector `[D]`.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        match self {
            Self::Identity => x.to_vec(),
            Self::Diagonal(weights) => x.iter().zip(weights).map(|(x, w)| x * w).collect(),
            Self::LowRank(metric) => metric.scaled(x, metric.rest, |weight| weight),
        }
    }

    /// A slope with respect to the coordinates `z = A x` of the metric `[r]`, with respect to `x` `[D]`: `A^T` times it.
    pub fn slope_of_inputs(&self, slope: &[f64]) -> Vec<f64> {
        match self {
            Self::Identity => slope.to_vec(),
            Self::Diagonal(weights) => slope.iter().zip(weights).map(|(p, w)| p * w.sqrt()).collect(),
            Self::LowRank(LowRank { basis, weights, rest: 0.0 }) => {
                let dimension = basis.len() / weights.len();
                let mut inputs = vec![0.0; dimension];
                for ((row, weight), p) in basis.chunks_exact(dimension).zip(weights).zip(slope) {
                    inputs.iter_mut().zip(row).for_each(|(x, q)| *x += weight.sqrt() * p * q);
                }
                inputs
            }
            // The root of the metric is symmetric.
            Self::LowRank(metric) => metric.scaled(slope, metric.rest.sqrt(), f64::sqrt),
        }
    }

    /// What coordinates see of a slope `[D]`: all of it, or its part along the directions of a metric that sees nothing
    /// else.
    pub fn seen_slope(&self, slope: &[f64]) -> Vec<f64> {
        match self {
            Self::LowRank(metric) if metric.rest == 0.0 => metric.scaled(slope, 0.0, |_| 1.0),
            _ => slope.to_vec(),
        }
    }
}

impl LowRank {
    /// `sum_j factor(weights_j) q_j q_j^T x + rest (x - sum_j q_j q_j^T x)`.
    fn scaled(&self, x: &[f64], rest: f64, factor: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut scaled: Vec<f64> = x.iter().map(|x| rest * x).collect();
        for (row, &weight) in self.basis.chunks_exact(x.len()).zip(&self.weights) {
            let along: f64 = row.iter().zip(x).map(|(q, x)| q * x).sum();
            scaled.iter_mut().zip(row).for_each(|(sum, q)| *sum += (factor(weight) - rest) * along * q);
        }
        scaled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Cpu, Engine};
    use crate::spline::metric::Coordinates;
    use crate::tolerance::{EXACT, relative_difference};

    fn dot(x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn slopes_of_inputs_are_those_of_the_coordinates() {
        let (engine, d) = (Cpu::<f64>::new(), 3);
        let (x, y, slope) = ([0.3, -1.2, 2.0], [1.5, 0.25, -0.75], [2.0, -0.5, 0.125]);
        let basis = vec![0.6, 0.8, 0.0, 0.0, 0.0, 1.0];
        let low_rank =
            |rest| Metric::LowRank(LowRank { basis: basis.clone(), weights: vec![2.0, 0.5], rest });
        let metrics =
            [Metric::Identity, Metric::Diagonal(vec![0.5, 3.0, 1.25]), low_rank(0.0), low_rank(0.75)];
        for metric in metrics {
            let coordinates = Coordinates::new(&engine, &metric, d).unwrap();
            let placed = |x: &[f64]| {
                engine.download(&coordinates.points(&engine.upload(x, &[1, d]).unwrap()).unwrap()).unwrap()
            };
            let (of_x, of_y) = (placed(&x), placed(&y));
            // x^T P y
            assert!((dot(&metric.apply(&x), &y) - dot(&of_x, &of_y)).abs() < EXACT, "{metric:?}");
            // A slope p of the coordinates makes p . z(x).
            let p: Vec<f64> = (0..of_x.len()).map(|i| 1.0 - 0.75 * i as f64).collect();
            assert!((dot(&metric.slope_of_inputs(&p), &x) - dot(&p, &of_x)).abs() < EXACT, "{metric:?}");
            // There and back.
            let tensor = engine.upload(&slope, &[1, 1, d]).unwrap();
            let of_slope = engine.download(&coordinates.slopes(&tensor).unwrap()).unwrap();
            let back = relative_difference(metric.slope_of_inputs(&of_slope), metric.seen_slope(&slope));
            assert!(back < EXACT, "{metric:?}");
        }
    }
}
