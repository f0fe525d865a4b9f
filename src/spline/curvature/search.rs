//! The largest curvature that a search finds in a box.

use ndarray::Array2;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::hessian::Hessians;
use super::{Extremes, check_box};
use crate::engine::{Context, Cpu, Curvature};
use crate::network::Network;
use crate::{Error, Result};

/// What a search found for one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The largest curvatures: valid ones are no less, up to rounding.
    pub curvature: Curvature,
    /// Where: the points `[D]` that need `a` and `b`.
    pub points: [Vec<f64>; 2],
}

/// Points climbed from, for `a` and for `b` each.
const CLIMBERS: usize = 4;
/// Steps tried from each at once.
const TRIES: usize = 12;
/// Rounds of a climb. Steps shrink from half the box to a 10,000th of it.
const ROUNDS: usize = 20;

/// The largest curvatures of each chosen output found in the box `[low, high]` (each `[D]`): at `starts` random points
/// of it and at its center, and by random steps uphill from the best. Hessians are computed in f64; the seed is the
/// context's.
///
/// A lower bound on what is valid: what is [proved](super::proved) can be no better than this.
///
/// # Errors
/// As [`hessian`](super::hessian); [`Error::Argument`], [`Error::Shape`] for corners that are no box of the input.
pub fn search(
    network: &Network,
    outputs: &[usize],
    low: &[f64],
    high: &[f64],
    starts: usize,
    context: &Context,
) -> Result<Vec<Found>> {
    let hessians = Hessians::new(network, &Cpu::<f64>::new())?;
    check_box(hessians.program.dimension(), (hessians.program.outputs(), outputs), low, high)?;
    let climb = Climb { hessians, low, high, context };
    context.progress().start("search for curvature", (outputs.len() * (1 + ROUNDS)) as u64);
    // Lanczos iterations take the streams of their samples.
    let mut rng = context.rng(1 << 40);
    let mut points: Vec<Vec<f64>> = (0..starts).map(|_| climb.random(&mut rng)).collect();
    points.push(low.iter().zip(high).map(|(low, high)| low / 2.0 + high / 2.0).collect());
    let found = outputs.iter().map(|&k| climb.output(k, &points, &mut rng)).collect();
    context.progress().finish();
    found
}

struct Climb<'a> {
    hessians: Hessians<Cpu<f64>>,
    low: &'a [f64],
    high: &'a [f64],
    context: &'a Context,
}

impl Climb<'_> {
    fn random(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let sides = self.low.iter().zip(self.high);
        sides
            .map(|(low, high)| (low + (high - low) * rng.random_range(0.0..1.0)).clamp(*low, *high))
            .collect()
    }

    /// The extremes of output `k` at each point.
    fn extremes(&self, k: usize, points: &[Vec<f64>]) -> Result<Vec<Extremes>> {
        let rows = Array2::from_shape_vec((points.len(), self.low.len()), points.concat());
        let rows = rows.map_err(|e| Error::Shape(e.to_string()))?;
        let mut all = vec![];
        for range in self.hessians.chunks(points.len(), self.context)?.iter() {
            let chunk = rows.slice(ndarray::s![range.clone(), ..]);
            all.extend(self.hessians.extremes(chunk, k, range.start as u64, self.context)?);
        }
        Ok(all)
    }

    fn output(&self, k: usize, points: &[Vec<f64>], rng: &mut ChaCha8Rng) -> Result<Found> {
        let bend = |extremes: &Extremes, side: usize| [extremes.curvature().a, extremes.curvature().b][side];
        let extremes = self.extremes(k, points)?;
        self.context.progress().advance(1);
        // Of each side the best points, with what they have.
        let mut climbers: Vec<(usize, f64, Vec<f64>)> = vec![];
        for side in 0..2 {
            let mut order: Vec<usize> = (0..points.len()).collect();
            order.sort_by(|&i, &j| bend(&extremes[j], side).total_cmp(&bend(&extremes[i], side)));
            let best = order.into_iter().take(CLIMBERS);
            climbers.extend(best.map(|i| (side, bend(&extremes[i], side), points[i].clone())));
        }
        for round in 0..ROUNDS {
            let size = 0.5 * 2e-4_f64.powf(round as f64 / (ROUNDS - 1) as f64);
            let tries: Vec<Vec<f64>> = climbers
                .iter()
                .flat_map(|(_, _, from)| {
                    (0..TRIES).map(|i| self.step(from, size, i, rng)).collect::<Vec<_>>()
                })
                .collect();
            let extremes = self.extremes(k, &tries)?;
            for (climber, tries) in climbers.iter_mut().zip(tries.chunks(TRIES).zip(extremes.chunks(TRIES))) {
                for (point, extremes) in tries.0.iter().zip(tries.1) {
                    let value = bend(extremes, climber.0);
                    if value > climber.1 {
                        (climber.1, climber.2) = (value, point.clone());
                    }
                }
            }
            self.context.progress().advance(1);
        }
        let best = |side: usize| {
            let of = climbers.iter().filter(|climber| climber.0 == side);
            of.fold((0.0, points[0].clone()), |m, c| if c.1 > m.0 { (c.1, c.2.clone()) } else { m })
        };
        let ((a, at_a), (b, at_b)) = (best(0), best(1));
        Ok(Found { curvature: Curvature { a, b }, points: [at_a, at_b] })
    }

    /// A random step within the box: of all coordinates, or every third time of a few.
    fn step(&self, from: &[f64], size: f64, number: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let few = number % 3 == 2;
        let mut moved = from.to_vec();
        for (i, x) in moved.iter_mut().enumerate() {
            let by = size * (self.high[i] - self.low[i]) * rng.random_range(-1.0..1.0);
            if !few || rng.random_range(0.0..1.0) < 0.15 {
                *x = (*x + by).clamp(self.low[i], self.high[i]);
            }
        }
        moved
    }
}
