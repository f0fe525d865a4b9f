//! Random numbers for the tests of this folder.

use ndarray::Array2;
use rand::RngExt;

use crate::spline::selection::{Stream, stream};

pub(super) fn random(seed: u64, count: usize) -> Vec<f64> {
    let mut rng = stream(seed, Stream::Sample);
    (0..count).map(|_| rng.random_range(-1.0..2.0)).collect()
}

pub(super) fn random_rows(seed: u64, rows: usize, columns: usize) -> Array2<f64> {
    Array2::from_shape_vec((rows, columns), random(seed, rows * columns)).unwrap()
}
