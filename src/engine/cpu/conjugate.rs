//! The discrete conjugate by comparing every slope with every point.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::ConjugateValues;

use super::CpuTensor;
use super::pairs::{LANES, POINTS, ROWS};
use super::product::{View, product};
use super::wide::wide;

/// The points inside the domain.
struct Domain<'a, S: Scalar> {
    /// `[n, D]`
    points: Cow<'a, [S]>,
    /// `[n]`
    values: Cow<'a, [S]>,
    /// Their numbers among all; empty where all are inside.
    numbers: Vec<u32>,
}

impl<'a, S: Scalar> Domain<'a, S> {
    fn new(points: &'a [S], values: &'a [S], dimension: usize) -> Self {
        let is_inside = |i: usize| values[i] < S::max_value();
        if (0..values.len()).all(is_inside) {
            return Self { points: points.into(), values: values.into(), numbers: vec![] };
        }
        let inside: Vec<usize> = (0..values.len()).filter(|&i| is_inside(i)).collect();
        let row = |&i: &usize| &points[i * dimension..(i + 1) * dimension];
        Self {
            points: inside.iter().flat_map(row).copied().collect(),
            values: inside.iter().map(|&i| values[i]).collect(),
            numbers: inside.iter().map(|&i| i as u32).collect(),
        }
    }
}

pub(super) fn conjugate<S: Scalar>(
    points: &CpuTensor<S>,
    values: &CpuTensor<S>,
    slopes: &CpuTensor<S>,
) -> ConjugateValues<S> {
    let (count, dimension) = (slopes.rows(), points.len() / points.rows().max(1));
    let domain = Domain::new(points.values(), values.values(), dimension);
    // Enough tiles for all threads, as long as they fill registers.
    let least = count.div_ceil(rayon::current_num_threads()).next_multiple_of(LANES);
    let width = least.clamp(LANES, POINTS);
    let mut best = vec![S::min_value(); count];
    let mut maximisers = vec![u32::MAX; count];
    best.par_chunks_mut(width).zip(maximisers.par_chunks_mut(width)).enumerate().for_each_init(
        || vec![S::zero(); ROWS * width],
        |scores, (tile, (best, winners))| {
            let range = tile * width..tile * width + best.len();
            let slopes = slopes.row_range(range);
            search(&domain, slopes, dimension, scores, best, winners);
            for ((best, winner), slope) in best.iter_mut().zip(winners).zip(slopes.chunks(dimension.max(1))) {
                if *winner != u32::MAX {
                    *best = S::of(exact(&domain, *winner as usize, slope));
                    *winner = domain.numbers.get(*winner as usize).copied().unwrap_or(*winner);
                }
            }
        },
    );
    ConjugateValues { values: best, maximisers }
}

/// Finds the first of the largest scores of a tile of slopes `[width, D]`, in blocks of points.
fn search<S: Scalar>(
    domain: &Domain<'_, S>,
    slopes: &[S],
    dimension: usize,
    scores: &mut [S],
    best: &mut [S],
    winners: &mut [u32],
) {
    let width = best.len();
    let columns = View { values: slopes, rows: dimension, columns: width, strides: [1, dimension] };
    for start in (0..domain.values.len()).step_by(ROWS) {
        let values = &domain.values[start..(start + ROWS).min(domain.values.len())];
        let rows = &domain.points[start * dimension..(start + values.len()) * dimension];
        let scores = &mut scores[..values.len() * width];
        product(View::new(rows, values.len(), dimension), columns, scores, false);
        wide(
            pulp::Arch::new(),
            #[inline(always)]
            || {
                for ((row, &value), number) in scores.chunks_exact(width).zip(values).zip(start as u32..) {
                    for ((best, winner), &product) in best.iter_mut().zip(&mut *winners).zip(row) {
                        let score = product - value;
                        let better = score > *best;
                        *best = if better { score } else { *best };
                        *winner = if better { number } else { *winner };
                    }
                }
            },
        );
    }
}

/// `s . x - f` in f64.
fn exact<S: Scalar>(domain: &Domain<'_, S>, point: usize, slope: &[S]) -> f64 {
    let x = &domain.points[point * slope.len()..(point + 1) * slope.len()];
    let product: f64 = slope.iter().zip(x).map(|(s, x)| s.f64() * x.f64()).sum();
    product - domain.values[point].f64()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::engine::{Cpu, Engine};
    use crate::tolerance::{CLOSE, EXACT, relative_difference};

    fn tensor<S: Scalar>(values: &[f64], shape: &[usize]) -> CpuTensor<S> {
        let values: Vec<S> = values.iter().map(|&v| S::of(v)).collect();
        Cpu::<S>::new().upload(&values, shape).expect("the sizes fit")
    }

    fn run<S: Scalar>(points: &[f64], values: &[f64], slopes: &[f64], d: usize) -> ConjugateValues<S> {
        let (n, m) = (values.len(), slopes.len() / d);
        conjugate(&tensor(points, &[n, d]), &tensor(values, &[n]), &tensor(slopes, &[m, d]))
    }

    fn brute(points: &[f64], values: &[f64], slopes: &[f64], d: usize) -> (Vec<f64>, Vec<u32>) {
        let best = |s: &[f64]| {
            let score =
                |n: usize| s.iter().zip(&points[n * d..]).map(|(s, x)| s * x).sum::<f64>() - values[n];
            let inside = (0..values.len()).filter(|&n| values[n] < f64::from(f32::MAX));
            inside
                .map(|n| (score(n), n as u32))
                .fold((f64::MIN, u32::MAX), |a, b| if b.0 > a.0 { b } else { a })
        };
        slopes.chunks(d).map(best).unzip()
    }

    #[test]
    fn equals_the_definition() {
        for (n, m, d) in [(1, 1, 1), (700, 301, 2), (90, 5, 9), (300, 70, 130), (513, 1, 3)] {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
            let mut random = |count: usize| -> Vec<f64> {
                (0..count).map(|_| f64::from(rng.random_range(-1.0_f32..2.0))).collect()
            };
            let (points, mut values, slopes) = (random(n * d), random(n), random(m * d));
            if n > 1 {
                values.iter_mut().step_by(3).for_each(|v| *v = f64::INFINITY);
            }
            let (expected, winners) = brute(&points, &values, &slopes, d);
            let found = run::<f64>(&points, &values, &slopes, d);
            assert_eq!(found.maximisers, winners, "[{n}, {m}, {d}]");
            assert!(relative_difference(found.values, expected.iter().copied()) < EXACT);
            let found = run::<f32>(&points, &values, &slopes, d);
            assert!(relative_difference(found.values.iter().map(|v| f64::from(*v)), expected) < CLOSE);
        }
    }

    /// Whole numbers, so that scores tie exactly, across blocks too.
    #[test]
    fn the_first_of_equals_wins_and_points_outside_never() {
        let (n, d) = (600, 2);
        let points: Vec<f64> = (0..n * d).map(|i| f64::from((i * i % 7) as u8)).collect();
        let values: Vec<f64> = (0..n).map(|i| f64::from((i * 5 % 3) as u8)).collect();
        let slopes: Vec<f64> = (0..40).map(|i| f64::from((i * 3 % 5) as u8) - 2.0).collect();
        let expected = brute(&points, &values, &slopes, d);
        let found = run::<f32>(&points, &values, &slopes, d);
        assert_eq!((found.values.iter().map(|v| f64::from(*v)).collect(), found.maximisers), expected);
        for outside in [f64::from(f32::MAX), f64::INFINITY] {
            let found = run::<f32>(&points, &vec![outside; n], &slopes, d);
            assert!(found.values.iter().all(|&v| v == f32::MIN));
            assert!(found.maximisers.iter().all(|&n| n == u32::MAX));
        }
    }
}
