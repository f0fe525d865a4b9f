//! Pieces that leave their tangents: max-affine regression on points at which the network is asked.
//!
//! Each half is a maximum of affine pieces, so that the derivative of the squared error goes to the active ones alone:
//! stochastic descent moves the pieces that points pull at (Magnani & Boyd 2009 alternate between assigning points and
//! fitting pieces; here both happen in every step). The network is an oracle that costs little: beside the data it is
//! asked between pairs of them, and where a point goes if another's step to a neighbour is taken from it. Without such
//! points pieces learn the data by heart (MNIST, 784-256x4-10, 100 pieces in principal coordinates: relative error 0.08 on
//! the data and 0.31 elsewhere; with them 0.15 and 0.26).
//!
//! Coordinates decide as much: descent moves along all of them at the same rate, so that those along which the network
//! varies should be the long ones. In informed coordinates 128 pieces came to 0.204 after 1,500 steps, at warped images to
//! 0.194, where 100 pieces in principal ones were at 0.255 after 3,000.
//!
//! Pieces grow in number as they are fitted: those with the largest errors are split, which converges in fewer steps than
//! to start with all of them.

mod oracle;
mod warp;

use ndarray::ArrayView1;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::data::Dataset;
use crate::engine::{Context, Pulls, SplineEngine, Step, TensorOf};
use crate::network::Program;
use crate::{Error, Result, Scalar};

use super::metric::Coordinates;
use super::planes::Half;
use super::{Metric, Planes};

use oracle::{Oracle, Units};

pub use warp::Warp;

/// How pieces are refined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refinement {
    /// Steps of descent.
    pub steps: usize,
    /// Points of each step.
    pub batch: usize,
    /// The rate at which each round begins, where points have length 1 and outputs deviate by 1 on average.
    pub rate: f64,
    /// How many pieces each half has at the end.
    pub pieces: usize,
    /// Rows are images, and the network is asked at warped ones too.
    pub warp: Option<Warp>,
}

impl Refinement {
    /// The rate that is taken where none is given: of 0.05, 0.07, 0.1 and 0.15 the best on a ReLU network of MNIST
    /// (784-256x4-10, 256 pieces, 3,000 steps: 0.186, 0.178, 0.175 and 0.182 on validation). On a steep one (6x200
    /// sigmoid, 2,000 steps) 0.03, 0.05, 0.1 and 0.2 came to 0.246, 0.247, 0.258 and 0.283.
    pub const RATE: f64 = 0.1;

    /// So many steps, with what was best on the networks at hand otherwise.
    pub fn new(steps: usize, pieces: usize) -> Self {
        Self { steps, batch: 512, rate: Self::RATE, pieces, warp: None }
    }

    /// The rounds from so many pieces on: twice as many in each, and one more with all of them, in which those that are
    /// never active are put to use. More pieces take more steps, as each sees fewer points.
    fn rounds(&self, from: usize) -> Vec<Round> {
        let mut sizes = vec![from];
        while let Some(&last) = sizes.last().filter(|&&last| last < self.pieces) {
            sizes.push((2 * last).min(self.pieces));
        }
        sizes.push(self.pieces);
        let shares: Vec<f64> = sizes.iter().map(|&size| (size as f64).sqrt()).collect();
        let all: f64 = shares.iter().sum();
        let mut rounds: Vec<Round> = vec![];
        let (mut share, mut steps) = (0.0, 0);
        for (&pieces, of_round) in sizes.iter().zip(shares) {
            share += of_round;
            let until = (self.steps as f64 * share / all).round() as usize;
            rounds.push(Round { pieces, steps: until - steps });
            steps = until;
        }
        rounds
    }
}

/// Batches that the network is asked for at a time at most.
const BATCHES: usize = 16;

/// Points that show where pieces are active, before they are split.
const SEEN: usize = 1 << 14;

/// How far the slopes of a split piece go apart at most, in units of its elements' root mean square.
const APART: f64 = 0.1;

/// Affine pieces `p_i . z - c_i` of one half and one output in units, those of an upper half negated: both take maxima.
#[derive(Debug, Clone)]
struct Pieces<S> {
    /// `[M, r]`
    slopes: Vec<S>,
    /// `[M]`
    conjugates: Vec<S>,
}

/// Refines the pieces of a spline whose halves weigh `weights [K]`, on rows of `data` and points that come of them.
///
/// # Errors
/// [`Error::Argument`] for no steps, points or pieces; [`Error::Memory`] where one output's pieces do not fit;
/// [`Error::Cancelled`]; what the network and the engine say.
pub fn refine<E: SplineEngine>(
    network: (&Program<E>, &[usize]),
    data: &Dataset,
    (metric, planes): (&Metric, &Planes),
    weights: &[[f64; 2]],
    refinement: &Refinement,
    context: &Context,
) -> Result<Planes> {
    let (program, outputs) = network;
    let Refinement { steps, batch, pieces, .. } = *refinement;
    if steps == 0 || batch == 0 || pieces == 0 {
        return Err(Error::Argument(
            "a refinement needs at least one step, one point and one piece".to_owned(),
        ));
    }
    let engine = program.engine();
    let coordinates = Coordinates::new(engine, metric, program.dimension())?;
    let center: Vec<E::Scalar> = planes.center.iter().map(|&c| E::Scalar::of(c)).collect();
    let center = engine.upload(&center, &[1, center.len()])?;
    // A quarter of the memory is for points on their way, as read, mixed and placed; a quarter may hold the rows.
    let quarter = context.memory() / 4;
    let scalar = size_of::<E::Scalar>();
    let point = ((5 * program.dimension() + 3 * planes.dimension()) * scalar) as u64;
    let fits = data.len() as u64 * (program.dimension() * scalar) as u64 <= quarter;
    let mut oracle = Oracle {
        program,
        outputs,
        data,
        coordinates,
        center,
        neighbours: vec![],
        held: if fits { Some(data.rows(0..data.len())?) } else { None },
        warp: refinement.warp,
        batches: ((quarter / (point * batch as u64)) as usize).clamp(1, BATCHES),
        context,
    };
    let units = oracle.measure()?;
    oracle.find_neighbours()?;

    // Pieces, their moments and a copy on the way; outputs are refined together as far as they fit.
    let r = planes.dimension();
    let of_output = (2 * 5 * pieces * (r + 1) * scalar) as u64;
    let beside = 2 * quarter
        + program.bytes_per_sample(None)
        + program.scratch_bytes()
        + engine.spline_scratch()
        + point * batch as u64;
    let (needed, budget) = (of_output + beside, context.memory());
    if needed > budget {
        return Err(Error::Memory { what: format!("refining {pieces} pieces"), needed, budget });
    }
    let together = ((budget - beside) / of_output) as usize;
    let all: Vec<usize> = (0..outputs.len()).collect();
    context.progress().start("refinement", (steps * all.chunks(together).len()) as u64);
    let mut refined =
        Planes { center: planes.center.clone(), lower: Half::default(), upper: Half::default() };
    for group in all.chunks(together) {
        for (&k, halves) in group.iter().zip(descend(&oracle, &units, group, planes, weights, refinement)?) {
            let [lower, upper] = halves;
            refined.lower.append(&lower, units.scales(k, 1.0));
            refined.upper.append(&upper, units.scales(k, -1.0));
        }
    }
    context.progress().finish();
    Ok(refined)
}

/// The pieces of these outputs at the end.
fn descend<E: SplineEngine>(
    oracle: &Oracle<'_, E>,
    units: &Units,
    group: &[usize],
    planes: &Planes,
    weights: &[[f64; 2]],
    refinement: &Refinement,
) -> Result<Vec<[Pieces<E::Scalar>; 2]>> {
    let (engine, context, outputs) = (oracle.program.engine(), oracle.context, oracle.outputs.len());
    let halves = [(&planes.lower, 1.0), (&planes.upper, -1.0)];
    let begin = |&k: &usize| {
        let pieces = halves.map(|(half, sign)| half.pieces(k, outputs, units.scales(k, sign)));
        Fitting::new(engine, k, weights[k], &pieces)
    };
    let mut fittings: Vec<Fitting<E>> = group.iter().map(begin).collect::<Result<_>>()?;
    // All groups see the same points.
    let mut rng = context.rng(POINTS_STREAM);
    let batch = refinement.batch;
    let rounds = refinement.rounds(planes.pieces(outputs));
    for (number, round) in rounds.iter().enumerate() {
        for first in (0..round.steps).step_by(oracle.batches) {
            let count = oracle.batches.min(round.steps - first);
            let (z, values) = oracle.ask(batch * count, units, &mut rng)?;
            let rows = z.len() / (batch * count);
            let batches: Vec<TensorOf<E>> = z
                .chunks_exact(batch * rows)
                .map(|z| engine.upload(z, &[batch, rows]))
                .collect::<Result<_>>()?;
            // Outputs are fitted on their own, so that threads need not wait for each other after every step.
            fittings.par_iter_mut().try_for_each(|fitting| {
                for (i, z) in batches.iter().enumerate() {
                    context.check()?;
                    let values = values.slice(ndarray::s![i * batch..(i + 1) * batch, fitting.output]);
                    fitting.step(engine, z, values, round.step(refinement.rate, first + i))?;
                }
                Ok::<(), Error>(())
            })?;
            context.progress().advance(count as u64);
        }
        if let Some(next) = rounds.get(number + 1) {
            let (z, values) = oracle.ask_many(SEEN, batch * oracle.batches, units, &mut rng)?;
            fittings = fittings
                .into_par_iter()
                .map(|fitting| {
                    let stream = SPLITS_STREAM + (number * outputs + fitting.output) as u64;
                    let values = values.column(fitting.output);
                    fitting.split(engine, (&z, values), next.pieces, &mut context.rng(stream))
                })
                .collect::<Result<_>>()?;
        }
    }
    fittings.into_iter().map(|fitting| fitting.finish(engine)).collect()
}

/// Some steps with so many pieces.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Round {
    pieces: usize,
    steps: usize,
}

impl Round {
    /// From a rate down to 0 along a cosine (Loshchilov & Hutter 2017).
    fn step(&self, rate: f64, number: usize) -> Step {
        let turn = std::f64::consts::PI * number as f64 / self.steps as f64;
        Step { rate: rate * (1.0 + turn.cos()) / 2.0, number: number as u32 + 1 }
    }
}

/// One output on its way.
struct Fitting<E: SplineEngine> {
    output: usize,
    /// Of the halves in the spline.
    weights: [f64; 2],
    halves: [E::Descent; 2],
}

/// The active pieces of both halves at some points, and the spline's errors there.
struct Active {
    pieces: [Vec<u32>; 2],
    errors: Vec<f64>,
}

impl<E: SplineEngine> Fitting<E> {
    fn new(engine: &E, output: usize, weights: [f64; 2], pieces: &[Pieces<E::Scalar>; 2]) -> Result<Self> {
        let begin = |pieces: &Pieces<E::Scalar>| engine.descent(&pieces.slopes, &pieces.conjugates);
        Ok(Self { output, weights, halves: [begin(&pieces[0])?, begin(&pieces[1])?] })
    }

    fn active(&self, engine: &E, z: &TensorOf<E>, values: ArrayView1<'_, f64>) -> Result<Active> {
        let [lower, upper] = &self.halves;
        let (lower, upper) = (engine.descent_active(lower, z)?, engine.descent_active(upper, z)?);
        let [low, high] = self.weights;
        let halves = lower.values.iter().zip(&upper.values).zip(values);
        let errors = halves.map(|((f, h), g)| low * f.f64() - high * h.f64() - g).collect();
        Ok(Active { pieces: [lower.pieces, upper.pieces], errors })
    }

    fn step(&mut self, engine: &E, z: &TensorOf<E>, values: ArrayView1<'_, f64>, step: Step) -> Result<()> {
        let Active { pieces, errors } = self.active(engine, z, values)?;
        let [low, high] = self.weights;
        for ((descent, pieces), weight) in self.halves.iter_mut().zip(&pieces).zip([low, -high]) {
            let factor = 2.0 * weight / errors.len() as f64;
            let derivatives: Vec<E::Scalar> = errors.iter().map(|e| E::Scalar::of(factor * e)).collect();
            engine.descend(descent, z, &Pulls::new(pieces, &derivatives), step)?;
        }
        Ok(())
    }

    /// With `size` pieces, as [`Pieces::split`] at points `z [n, r]`.
    fn split(
        self,
        engine: &E,
        (z, values): (&[E::Scalar], ArrayView1<'_, f64>),
        size: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let count = values.len();
        let points = engine.upload(z, &[count, z.len() / count])?;
        let Active { pieces: active, errors } = self.active(engine, &points, values)?;
        let (output, weights) = (self.output, self.weights);
        let [lower, upper] = self.finish(engine)?;
        let halves =
            [lower.split(&active[0], &errors, z, size, rng), upper.split(&active[1], &errors, z, size, rng)];
        Self::new(engine, output, weights, &halves)
    }

    fn finish(self, engine: &E) -> Result<[Pieces<E::Scalar>; 2]> {
        let [lower, upper] = self.halves;
        let read =
            |half| engine.descent_finish(half).map(|[slopes, conjugates]| Pieces { slopes, conjugates });
        Ok([read(lower)?, read(upper)?])
    }
}

/// Streams of random numbers: for the points of all outputs, and from this on for splits.
const POINTS_STREAM: u64 = 1 << 41;
const SPLITS_STREAM: u64 = 1 << 42;

impl<S: Scalar> Pieces<S> {
    /// `size` pieces: those that are active at some of the points `z [n, r]`, and of the ones with the largest squared
    /// errors a second one. It is tilted about the mean of the points where the first is active, so that each takes a
    /// part of them.
    fn split(&self, active: &[u32], errors: &[f64], z: &[S], size: usize, rng: &mut ChaCha8Rng) -> Self {
        let (count, r) = (self.conjugates.len(), self.slopes.len() / self.conjugates.len());
        let (mut loads, mut visits, mut means) = (vec![0.0; count], vec![0.0; count], vec![0.0; count * r]);
        for ((&piece, error), z) in active.iter().zip(errors).zip(z.chunks_exact(r)) {
            let piece = piece as usize;
            loads[piece] += error * error;
            visits[piece] += 1.0;
            means[piece * r..][..r].iter_mut().zip(z).for_each(|(mean, z)| *mean += z.f64());
        }
        let mut order: Vec<usize> = (0..count).filter(|&i| visits[i] > 0.0).collect();
        order.sort_by(|&i, &j| loads[j].total_cmp(&loads[i]).then(i.cmp(&j)));
        let mut split = Self { slopes: vec![], conjugates: vec![] };
        for at in 0..size {
            let piece = order[at % order.len()];
            let slope = &self.slopes[piece * r..][..r];
            // The first comes as it is.
            let apart = if at < order.len() { 0.0 } else { APART };
            let rms = (slope.iter().map(|p| p.f64() * p.f64()).sum::<f64>() / r as f64).sqrt();
            let mut conjugate = self.conjugates[piece].f64();
            for (p, mean) in slope.iter().zip(&means[piece * r..][..r]) {
                let tilt = apart * rms * rng.random_range(-1.0..1.0);
                split.slopes.push(S::of(p.f64() + tilt));
                conjugate += tilt * mean / visits[piece];
            }
            split.conjugates.push(S::of(conjugate));
        }
        split
    }
}

impl Half {
    /// The pieces of output `k` of so many, in units.
    fn pieces<S: Scalar>(&self, k: usize, outputs: usize, [slope, conjugate, mean]: [f64; 3]) -> Pieces<S> {
        let (count, all) = (self.offsets.len() / outputs, self.slopes.len() / outputs);
        let slopes = &self.slopes[k * all..][..all];
        let offsets = &self.offsets[k * count..][..count];
        Pieces {
            slopes: slopes.iter().map(|&p| S::of(f64::from(p) / slope)).collect(),
            conjugates: offsets.iter().map(|&q| S::of((f64::from(q) - mean) / conjugate)).collect(),
        }
    }

    /// Takes the pieces of the next output.
    fn append<S: Scalar>(&mut self, pieces: &Pieces<S>, [slope, conjugate, mean]: [f64; 3]) {
        self.slopes.extend(pieces.slopes.iter().map(|p| (slope * p.f64()) as f32));
        self.offsets.extend(pieces.conjugates.iter().map(|c| (conjugate * c.f64() + mean) as f32));
    }
}
