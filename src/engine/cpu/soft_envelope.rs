//! Soft envelopes: means of tangents weighted by nearness, and soft maxima of both halves.
//!
//! One pass over the anchors, as attention makes it: each sum of exponentials is kept relative to the largest score
//! so far, and is scaled down when a larger one comes.

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::{Jets, SoftSpec, SoftValues, Softness};

use super::activation::exponentials;
use super::pairs::{PairTile, PointTiles};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

/// Soft envelopes of a batch of points over the anchors seen so far.
pub struct CpuSoftEnvelope<S> {
    points: PointTiles<S>,
    outputs: usize,
    rows: Vec<Row>,
    /// How many rows, the first, are means of tangents.
    means: usize,
    tiles: Vec<Sums<S>>,
}

/// One sum of exponentials.
#[derive(Clone, Copy)]
struct Row {
    softness: Softness,
    /// Whose tangents the scores are of. Those of a mean are distances alone: its weights serve all outputs.
    output: usize,
}

/// The rows of a tile of points, each as wide as the tile.
struct Sums<S> {
    /// The largest score of each row.
    largest: Vec<S>,
    /// `sum_i exp((s_i - largest) / temperature)` of each row.
    weights: Vec<f64>,
    /// `[means, K]`: the same times tangents.
    tangents: Vec<f64>,
}

impl<S: Scalar> CpuSoftEnvelope<S> {
    pub(super) fn new(points: &CpuTensor<S>, outputs: usize, center: &[f64], spec: &SoftSpec) -> Self {
        let points = PointTiles::with_exact_distances(points, center);
        let means = spec.nearest.len();
        let all = spec.sums(outputs);
        let (nearest, halves) = all.split_at(means * outputs);
        let of_nearest = nearest.iter().step_by(outputs).map(|&softness| Row { softness, output: 0 });
        let of_halves = halves.iter().enumerate().map(|(i, &softness)| Row { softness, output: i % outputs });
        let rows: Vec<Row> = of_nearest.chain(of_halves).collect();
        let width = points.width();
        let empty = || Sums {
            largest: vec![S::min_value(); rows.len() * width],
            weights: vec![0.0; rows.len() * width],
            tangents: vec![0.0; means * outputs * width],
        };
        let tiles = points.tiles().map(|_| empty()).collect();
        Self { points, outputs, rows, means, tiles }
    }

    pub(super) fn add(&mut self, jets: &Jets<CpuBuffer<S>>) {
        let Self { points, outputs, rows, means, tiles } = self;
        let prepared = points.prepare(jets);
        points.for_each(&prepared, tiles, |sums, pairs| {
            for (number, row) in rows.iter().enumerate() {
                take(&pairs, *outputs, sums, number, *row, number < *means);
            }
        });
    }

    pub(super) fn finish(self) -> SoftValues<S> {
        let Self { points, outputs, rows, means, tiles } = self;
        let (count, width) = (points.points(), points.width());
        let of_means = means * outputs;
        let total = of_means + rows.len() - means;
        let value = |sums: &Sums<S>, number: usize, column: usize| -> S {
            let row = if number < of_means { number / outputs } else { number - of_means + means };
            let Softness { sign, temperature, .. } = rows[row].softness;
            let at = row * width + column;
            let weight = sums.weights[at];
            match (number < of_means, weight > 0.0) {
                (true, true) => S::of(sums.tangents[number * width + column] / weight),
                (true, false) => S::max_value(),
                (false, true) => S::of(sign * (sums.largest[at].f64() + temperature * weight.ln())),
                (false, false) => S::of(sign) * S::min_value(),
            }
        };
        let mut values = vec![S::zero(); total * count];
        values.par_chunks_mut(count.max(1)).enumerate().for_each(|(number, values)| {
            for (tile, sums) in points.tiles().zip(&tiles) {
                for (column, to) in values[tile].iter_mut().enumerate() {
                    *to = value(sums, number, column);
                }
            }
        });
        SoftValues::of(values, of_means * count)
    }
}

/// Takes the anchors into one row of the sums.
fn take<S: Scalar>(
    pairs: &PairTile<'_, S>,
    outputs: usize,
    sums: &mut Sums<S>,
    number: usize,
    row: Row,
    mean: bool,
) {
    let width = pairs.width;
    let range = number * width..(number + 1) * width;
    let largest = &mut sums.largest[range.clone()];
    let mut powers = vec![S::zero(); pairs.squared.len()];
    // Behind the anchors' weights that of everything before.
    powers.extend_from_slice(largest);
    let (of_anchors, of_sums) = powers.split_at_mut(pairs.squared.len());
    let arch = pulp::Arch::new();
    wide(
        arch,
        #[inline(always)]
        || exponents(pairs, row, largest, of_anchors, of_sums),
    );
    exponentials(&mut powers);
    let (of_anchors, of_sums) = powers.split_at(pairs.squared.len());
    wide(
        arch,
        #[inline(always)]
        || {
            let mut part = vec![S::zero(); width];
            for weights in of_anchors.chunks_exact(width) {
                for (part, &weight) in part.iter_mut().zip(weights) {
                    *part += weight;
                }
            }
            gather(&mut sums.weights[range.clone()], of_sums, &part);
            for output in 0..if mean { outputs } else { 0 } {
                part.fill(S::zero());
                let rows = of_anchors.chunks_exact(width).zip(pairs.slopes_of(output).chunks_exact(width));
                for ((weights, slopes), &offset) in rows.zip(pairs.offsets_of(output)) {
                    for ((part, &weight), &slope) in part.iter_mut().zip(weights).zip(slopes) {
                        *part += weight * (slope + offset);
                    }
                }
                let at = (number * outputs + output) * width;
                gather(&mut sums.tangents[at..at + width], of_sums, &part);
            }
        },
    );
}

/// Raises the largest scores, and writes how far below them the anchors' scores and the former largest lie, over
/// the temperature. The latter come in `of_sums`.
#[inline(always)]
fn exponents<S: Scalar>(
    pairs: &PairTile<'_, S>,
    row: Row,
    largest: &mut [S],
    of_anchors: &mut [S],
    of_sums: &mut [S],
) {
    let width = pairs.width;
    let Row { softness, output } = row;
    let (sign, half) = (S::of(softness.sign), S::of(softness.half));
    let rows = pairs.slopes_of(output).chunks_exact(width).zip(pairs.squared.chunks_exact(width));
    let rows = of_anchors.chunks_exact_mut(width).zip(rows).zip(pairs.offsets_of(output));
    for ((scores, (slopes, squared)), &offset) in rows {
        let columns = scores.iter_mut().zip(&mut *largest).zip(slopes).zip(squared);
        for (((score, largest), &slope), &square) in columns {
            *score = sign * (slope + offset) - half * square;
            *largest = if *score > *largest { *score } else { *largest };
        }
    }
    // Below `lowest` products could leave the range.
    let (inverse, lowest) = (S::of(softness.temperature.recip()), S::of(-softness.reach()));
    for scores in of_anchors.chunks_exact_mut(width).chain([of_sums]) {
        for (score, &largest) in scores.iter_mut().zip(&*largest) {
            let below = *score - largest;
            *score = inverse * if below > lowest { below } else { lowest };
        }
    }
}

/// `sums = sums * scale + part`
#[inline(always)]
fn gather<S: Scalar>(sums: &mut [f64], scales: &[S], part: &[S]) {
    for ((sum, scale), part) in sums.iter_mut().zip(scales).zip(part) {
        *sum = *sum * scale.f64() + part.f64();
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::engine::kernels::{Curvature, SoftHalves};
    use crate::engine::{Cpu, Engine};
    use crate::tolerance::{CLOSE, EXACT, relative_difference};

    /// Jets and points whose numbers `f32` holds.
    struct Problem {
        sizes: [usize; 4],
        points: Vec<f64>,
        anchors: Vec<f64>,
        values: Vec<f64>,
        jacobians: Vec<f64>,
    }

    impl Problem {
        fn new(sizes: [usize; 4], offset: f64) -> Self {
            let [n, m, d, k] = sizes;
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
            let mut random = |count: usize, offset: f64| -> Vec<f64> {
                (0..count).map(|_| f64::from((offset + rng.random_range(-1.0..2.0)) as f32)).collect()
            };
            let (points, anchors) = (random(n * d, offset), random(m * d, offset));
            Self { sizes, points, anchors, values: random(m * k, 0.0), jacobians: random(m * k * d, 0.0) }
        }

        /// In blocks of so many anchors.
        fn run<S: Scalar>(&self, spec: &SoftSpec, block: usize) -> Vec<f64>
        where
            Cpu<S>: Engine<Scalar = S, Buffer = CpuBuffer<S>>,
        {
            let [n, m, d, k] = self.sizes;
            let engine = Cpu::<S>::new();
            let tensor = |values: &[f64], shape: &[usize]| {
                let values: Vec<S> = values.iter().map(|&v| S::of(v)).collect();
                engine.upload(&values, shape).expect("the sizes fit")
            };
            let center: Vec<f64> =
                (0..d).map(|j| self.anchors.iter().skip(j).step_by(d).sum::<f64>() / m as f64).collect();
            let mut envelope = CpuSoftEnvelope::new(&tensor(&self.points, &[n, d]), k, &center, spec);
            for start in (0..m).step_by(block) {
                let end = (start + block).min(m);
                envelope.add(&Jets {
                    points: tensor(&self.anchors[start * d..end * d], &[end - start, d]),
                    values: tensor(&self.values[start * k..end * k], &[end - start, k]),
                    jacobians: tensor(&self.jacobians[start * k * d..end * k * d], &[end - start, k, d]),
                });
            }
            let SoftValues { nearest, lower, upper } = envelope.finish();
            [nearest, lower, upper].concat().into_iter().map(S::f64).collect()
        }

        /// By the definition, `[T + 2 C, K, N]`.
        fn brute(&self, spec: &SoftSpec) -> Vec<f64> {
            let [n, m, d, k] = self.sizes;
            let pair = |x: usize, i: usize, output: usize| -> (f64, f64) {
                let slope = &self.jacobians[(i * k + output) * d..][..d];
                let (mut tangent, mut squared) = (self.values[i * k + output], 0.0);
                for ((slope, x), center) in
                    slope.iter().zip(&self.points[x * d..]).zip(&self.anchors[i * d..])
                {
                    tangent += slope * (x - center);
                    squared += (x - center) * (x - center);
                }
                (tangent, squared)
            };
            let every = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
                (0..k).flat_map(|output| (0..n).map(move |x| f(output, x))).collect()
            };
            let mut all = vec![];
            for tau in &spec.nearest {
                all.extend(every(&|output, x| {
                    let pairs: Vec<(f64, f64)> = (0..m).map(|i| pair(x, i, output)).collect();
                    let least = pairs.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
                    let weight = |squared: f64| (-(squared - least) / (2.0 * tau)).exp();
                    let (sum, total) =
                        pairs.iter().fold((0.0, 0.0), |(s, t), &(y, q)| (s + y * weight(q), t + weight(q)));
                    sum / total
                }));
            }
            for sign in [1.0, -1.0] {
                for halves in &spec.halves {
                    all.extend(every(&|output, x| {
                        let Curvature { a, b } = halves.curvatures[output];
                        let half = if sign > 0.0 { a } else { b } / 2.0;
                        let scores: Vec<f64> = (0..m)
                            .map(|i| pair(x, i, output))
                            .map(|(tangent, squared)| sign * tangent - half * squared)
                            .collect();
                        let largest = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                        let sum: f64 =
                            scores.iter().map(|s| ((s - largest) / halves.temperature).exp()).sum();
                        sign * (largest + halves.temperature * sum.ln())
                    }));
                }
            }
            all
        }
    }

    fn spec(outputs: usize) -> SoftSpec {
        let curvatures = |scale: f64| {
            (0..outputs).map(|k| Curvature { a: scale * (1.0 + k as f64), b: 0.5 * scale }).collect()
        };
        let halves = [(1.0, 0.3), (0.2, 1e-5), (0.0, 1e6)];
        SoftSpec {
            nearest: vec![0.02, 3.0, 1e-7, 1e7],
            halves: halves
                .into_iter()
                .map(|(scale, temperature)| SoftHalves { curvatures: curvatures(scale), temperature })
                .collect(),
        }
    }

    const SIZES: [[usize; 4]; 4] = [[37, 50, 3, 2], [300, 41, 9, 1], [5, 300, 130, 3], [1, 1, 1, 1]];

    #[test]
    fn equal_the_definition_however_anchors_are_cut() {
        for sizes in SIZES {
            let problem = Problem::new(sizes, 0.0);
            let expected = problem.brute(&spec(sizes[3]));
            for block in [1, 17, sizes[1]] {
                let found = problem.run::<f64>(&spec(sizes[3]), block);
                let difference = relative_difference(found, expected.iter().copied());
                assert!(difference < EXACT, "{sizes:?} in blocks of {block}: {difference:e}");
            }
        }
    }

    /// Each variant by itself: a large one would hide what is wrong with the others.
    #[test]
    fn keep_their_digits_in_f32_far_from_the_origin() {
        for sizes in SIZES {
            let problem = Problem::new(sizes, 30.0);
            let spec = spec(sizes[3]);
            let (found, expected) = (problem.run::<f32>(&spec, 100), problem.brute(&spec));
            let variant = sizes[0] * sizes[3];
            for (i, (found, expected)) in found.chunks(variant).zip(expected.chunks(variant)).enumerate() {
                let difference = relative_difference(found.iter().copied(), expected.iter().copied());
                assert!(difference < CLOSE, "{sizes:?}, variant {i}: {difference:e}");
            }
        }
    }

    #[test]
    fn extreme_temperatures_give_nearest_tangents_envelopes_and_means() {
        let sizes = [40, 60, 4, 2];
        let problem = Problem::new(sizes, 0.0);
        let halves = |temperature: f64| SoftHalves {
            curvatures: vec![Curvature::isotropic(1.0); sizes[3]],
            temperature,
        };
        let at = |tau: f64| SoftSpec { nearest: vec![tau], halves: vec![halves(tau)] };
        for (extreme, moderate) in [(0.0, 1e-9), (f64::MIN_POSITIVE, 1e-9), (1e300, 1e30)] {
            let found = problem.run::<f32>(&at(extreme), 7);
            let expected = problem.brute(&at(moderate));
            let third = expected.len() / 3;
            for (found, expected) in found.chunks(third).zip(expected.chunks(third)) {
                assert!(relative_difference(found.iter().copied(), expected.iter().copied()) < CLOSE);
            }
        }
    }

    #[test]
    fn anchors_equally_near_share_a_vanishing_temperature() {
        let engine = Cpu::<f32>::new();
        let tensor = |values: &[f32], shape: &[usize]| engine.upload(values, shape).expect("the sizes fit");
        let spec = SoftSpec { nearest: vec![1e-20], halves: vec![] };
        let mut envelope = CpuSoftEnvelope::new(&tensor(&[0.0, 1.0], &[2, 1]), 1, &[0.25], &spec);
        let empty = CpuSoftEnvelope::new(&tensor(&[0.0], &[1, 1]), 1, &[0.25], &spec).finish();
        assert_eq!(empty.nearest, [f32::MAX]);
        envelope.add(&Jets {
            points: tensor(&[-1.0, 1.0, 3.0], &[3, 1]),
            values: tensor(&[2.0, 5.0, 7.0], &[3, 1]),
            jacobians: tensor(&[0.0; 3], &[3, 1, 1]),
        });
        assert_eq!(envelope.finish().nearest, [3.5, 5.0]);
    }
}
