//! Values and active affine pieces of both parts at points, and their agreement with the network.

use std::ops::Range;

use serde::Serialize;

use crate::data::Dataset;
use crate::engine::plan::{Chunks, overlapped};
use crate::engine::{Context, Engine};
use crate::network::{check_finite, columns};
use crate::{Result, Scalar};

use super::{Difference, epsilon};

/// Both parts at a chunk of points, for `K` chosen outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated<S> {
    /// The rows.
    pub range: Range<usize>,
    /// The network itself `[N, K]`, not by its parts.
    pub value: Vec<S>,
    /// The convex part `[N, K]`.
    pub convex: Vec<S>,
    /// The part that is subtracted from it `[N, K]`.
    pub subtracted: Vec<S>,
    /// The active piece of each, if asked for.
    pub pieces: Option<AffinePieces<S>>,
}

/// The affine pieces `slope . x + offset` of both parts that are active at points.
#[derive(Debug, Clone, PartialEq)]
pub struct AffinePieces<S> {
    /// Slopes of the convex part `[N, K, D]`.
    pub convex_slope: Vec<S>,
    /// Slopes of the subtracted part `[N, K, D]`.
    pub subtracted_slope: Vec<S>,
    /// Offsets of the convex part `[N, K]`.
    pub convex_offset: Vec<S>,
    /// Offsets of the subtracted part `[N, K]`.
    pub subtracted_offset: Vec<S>,
}

/// How well the parts agree with the network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The largest difference `|g - (g1 - g2)|`.
    pub difference: f64,
    /// The largest value of a part.
    pub part: f64,
    /// The largest difference at a point over the larger part there, in epsilons of the scalar.
    pub epsilons: f64,
    /// What is allowed of that: [`Difference::roundings`].
    pub allowed: u64,
    /// The same for slopes, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slopes: Option<SlopeAgreement>,
}

/// How the slopes of the parts compare with those of the network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlopeAgreement {
    /// The largest difference at a point over the parts' largest slope there, in epsilons of the scalar, where the
    /// parts are on the network's piece.
    pub epsilons: f64,
    /// Points at which it is more than is allowed: rounding put them on another piece.
    pub other_pieces: usize,
    /// The root mean square of the slopes of the convex part over that of the network's.
    pub convex_growth: f64,
    /// The same of the subtracted part.
    pub subtracted_growth: f64,
}

/// Slopes so far.
#[derive(Default)]
struct Slopes {
    epsilons: f64,
    other_pieces: usize,
    /// Sums of squares: of the network, the convex and the subtracted part.
    squares: [f64; 3],
}

impl<E: Engine> Difference<E> {
    /// Calls `each` with both parts at the data, chunk by chunk, for the chosen outputs, and with their active pieces
    /// where `pieces` are wanted. Says how well they agree with the network.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for an output that is not there;
    /// [`Error::Shape`](crate::Error::Shape) where rows do not have `D` elements;
    /// [`Error::NonFinite`](crate::Error::NonFinite), [`Error::Memory`](crate::Error::Memory),
    /// [`Error::Cancelled`](crate::Error::Cancelled); what the engine and `each` say.
    pub fn evaluate(
        &self,
        data: &Dataset,
        outputs: &[usize],
        pieces: bool,
        context: &Context,
        mut each: impl FnMut(Evaluated<E::Scalar>) -> Result<()>,
    ) -> Result<Agreement> {
        let (all, k, d) = (self.outputs(), outputs.len(), self.dimension());
        let both: Vec<usize> = outputs.iter().copied().chain(outputs.iter().map(|k| all + k)).collect();
        // One after the other, but results of the first wait for the second, and both for what is made of them.
        let third = context.memory() / 3;
        let n = data.len();
        let sizes = [
            self.whole.chunks(n, pieces.then_some(k), third)?.size(),
            self.parts.chunks(n, pieces.then_some(2 * k), third)?.size(),
        ];
        let mut agreement =
            Agreement { difference: 0.0, part: 0.0, epsilons: 0.0, allowed: self.roundings(), slopes: None };
        let mut slopes = Slopes::default();
        context.progress().start("points", n as u64);
        let start = |range: Range<usize>| {
            context.check()?;
            let host = data.rows::<E::Scalar>(range)?;
            let mut requests = vec![];
            for (program, chosen) in [(&self.whole, outputs), (&self.parts, &both[..])] {
                let x = program.upload(host.view())?;
                if pieces {
                    let jets = program.jets(&x, chosen)?;
                    requests.push(self.engine.request(&jets.values)?);
                    requests.push(self.engine.request(&jets.jacobians)?);
                } else {
                    requests.push(self.engine.request(&program.forward(&x)?)?);
                }
            }
            Ok((host, requests))
        };
        overlapped(
            &self.engine,
            Chunks::new(n, sizes[0].min(sizes[1])),
            start,
            |range, (host, requests)| {
                let mut arrays = vec![];
                for request in requests {
                    arrays.push(self.engine.receive(request)?);
                }
                let [(value, of_whole), (parts, of_parts)] = match &mut arrays[..] {
                    [value, whole, parts, of_parts] => {
                        [(std::mem::take(value), Some(whole)), (std::mem::take(parts), Some(of_parts))]
                    }
                    [value, parts] => {
                        [(columns(value, all, outputs), None), (columns(parts, 2 * all, &both), None)]
                    }
                    _ => unreachable!("values of both, or values and slopes"),
                };
                check_finite(&value, k, range.start)?;
                check_finite(&parts, 2 * k, range.start)?;
                for (value, parts) in value.chunks_exact(k).zip(parts.chunks_exact(2 * k)) {
                    agreement.compare(value, parts);
                }
                let [convex, subtracted] = halves(&parts, k);
                let pieces = match (of_whole, of_parts) {
                    (Some(of_whole), Some(of_parts)) => {
                        let rows = of_whole.chunks_exact(k * d).zip(of_parts.chunks_exact(2 * k * d));
                        rows.for_each(|(whole, parts)| slopes.compare(whole, parts, agreement.allowed));
                        let [convex_slope, subtracted_slope] = halves(of_parts, k * d);
                        let offset = |values: &[E::Scalar], slopes: &[E::Scalar]| {
                            let pieces = values.iter().zip(slopes.chunks_exact(d)).enumerate();
                            let offsets = pieces.map(|(i, (value, slope))| {
                                let along =
                                    host.row(i / k).into_iter().zip(slope).map(|(x, s)| x.f64() * s.f64());
                                E::Scalar::of(value.f64() - along.sum::<f64>())
                            });
                            offsets.collect()
                        };
                        Some(AffinePieces {
                            convex_offset: offset(&convex, &convex_slope),
                            subtracted_offset: offset(&subtracted, &subtracted_slope),
                            convex_slope,
                            subtracted_slope,
                        })
                    }
                    _ => None,
                };
                context.progress().advance(range.len() as u64);
                each(Evaluated { range, value, convex, subtracted, pieces })
            },
        )?;
        context.progress().finish();
        agreement.slopes = pieces.then(|| slopes.finish());
        Ok(agreement)
    }
}

impl Agreement {
    /// Whether no point differs by more than is allowed.
    pub fn holds(&self) -> bool {
        self.epsilons <= self.allowed as f64
    }

    /// Takes in a point: the network's values `[K]` and those of the parts `[2 K]`.
    fn compare<S: Scalar>(&mut self, value: &[S], parts: &[S]) {
        let difference = farthest(value, parts);
        let part = largest(parts);
        self.difference = self.difference.max(difference);
        self.part = self.part.max(part);
        self.epsilons = self.epsilons.max(in_epsilons::<S>(difference, part));
    }
}

impl Slopes {
    /// Takes in a point: the network's slopes `[K, D]` and those of the parts `[2 K, D]`.
    fn compare<S: Scalar>(&mut self, whole: &[S], parts: &[S], allowed: u64) {
        let epsilons = in_epsilons::<S>(farthest(whole, parts), largest(parts));
        if epsilons > allowed as f64 {
            self.other_pieces += 1;
        } else {
            self.epsilons = self.epsilons.max(epsilons);
        }
        let (convex, subtracted) = parts.split_at(whole.len());
        for (sum, slopes) in self.squares.iter_mut().zip([whole, convex, subtracted]) {
            *sum += slopes.iter().map(|s| s.f64() * s.f64()).sum::<f64>();
        }
    }

    fn finish(&self) -> SlopeAgreement {
        let [whole, convex, subtracted] = self.squares;
        SlopeAgreement {
            epsilons: self.epsilons,
            other_pieces: self.other_pieces,
            convex_growth: (convex / whole).sqrt(),
            subtracted_growth: (subtracted / whole).sqrt(),
        }
    }
}

/// The largest `|whole - (convex - subtracted)|`; `parts` hold the convex ones first.
fn farthest<S: Scalar>(whole: &[S], parts: &[S]) -> f64 {
    let (convex, subtracted) = parts.split_at(whole.len());
    let each = whole.iter().zip(convex.iter().zip(subtracted));
    each.fold(0.0_f64, |most, (g, (g1, g2))| most.max((g.f64() - (g1.f64() - g2.f64())).abs()))
}

/// Rows `[N, 2 length]` as both halves of each, `[N, length]`.
fn halves<S: Scalar>(rows: &[S], length: usize) -> [Vec<S>; 2] {
    let half = |i: usize| {
        rows.chunks_exact(2 * length)
            .flat_map(|row| row[i * length..(i + 1) * length].iter().copied())
            .collect()
    };
    [half(0), half(1)]
}

/// The largest magnitude.
fn largest<S: Scalar>(values: &[S]) -> f64 {
    values.iter().fold(0.0_f64, |largest, v| largest.max(v.f64().abs()))
}

/// How often `value` holds `epsilon * scale`; 0 where both are 0.
fn in_epsilons<S: Scalar>(value: f64, scale: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value / (epsilon::<S>() * scale) }
}
