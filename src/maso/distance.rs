//! Distances between inputs by their codes (VQ distances; Balestriero & Baraniuk 2018): 1 - the share of units that pick
//! the same piece.

use std::ops::Range;

use rayon::prelude::*;

use crate::engine::plan::{Chunks, overlapped};
use crate::engine::{Context, Engine, SplineEngine, UnitWords};
use crate::{Error, Result};

use super::{Codes, Packed};

/// Samples that are compared with others at once at most: more gains nothing.
const SAMPLES: usize = 1024;

/// Those for each thread: the counts of few rows are still in cache when distances are made of them.
const PER_THREAD: usize = 64;

/// Compares samples by the codes of some layers.
#[derive(Debug, Clone)]
pub struct Distances {
    words: usize,
    /// Which of the words have units of how many bits.
    of_bits: Vec<UnitWords>,
    units: usize,
}

/// The nearest other samples of some, the nearest first; of equally near ones the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Whose.
    pub range: Range<usize>,
    /// `[samples, K]`.
    pub indices: Vec<u32>,
    /// `[samples, K]`.
    pub distances: Vec<f32>,
}

impl Distances {
    /// By all layers of some codes together: each unit counts alike.
    ///
    /// # Errors
    /// [`Error::Argument`] for a network without any: nothing tells its inputs apart.
    pub fn new<E: Engine>(codes: &Codes<E>) -> Result<Self> {
        let mut of_bits: Vec<UnitWords> = vec![];
        for layer in codes.layers() {
            let (words, bits) = (codes.words_of(layer), layer.packing.bits);
            match of_bits.last_mut() {
                // What is left of a word is 0 in both.
                Some(units) if units.bits == bits => units.words.end = words.end,
                _ => of_bits.push(UnitWords { words, bits }),
            }
        }
        let units = codes.layers().iter().map(|layer| layer.units).sum();
        if units == 0 {
            return Err(Error::Argument(
                "the network is affine: none of its units picks pieces, and no two inputs lie apart"
                    .to_owned(),
            ));
        }
        Ok(Self { words: codes.words(), of_bits, units })
    }

    /// How many units are compared.
    pub fn units(&self) -> usize {
        self.units
    }

    /// The distance of two samples in so many of whose units the codes differ.
    pub fn of(&self, differing: u32) -> f32 {
        (f64::from(differing) / self.units as f64) as f32
    }

    /// Shows to `each`, in order, some rows of the matrix of distances `[N, M]` of `samples` from `others`; as many at
    /// a time as the context's budget has room for beside both.
    ///
    /// # Errors
    /// [`Error::Memory`] where a row does not fit; [`Error::Cancelled`]; what `each` says.
    pub fn matrix<E: SplineEngine>(
        &self,
        engine: &E,
        samples: &Packed,
        others: &Packed,
        context: &Context,
        mut each: impl FnMut(Range<usize>, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.blocks(engine, samples, others, context, |range, differing| {
            let distances: Vec<f32> = differing.par_iter().map(|&count| self.of(count)).collect();
            each(range, &distances)
        })
    }

    /// Shows to `each`, in order, the `count` nearest of `others` to some samples. Where `same` says that both are the
    /// same samples, a sample is no neighbour of itself.
    ///
    /// # Errors
    /// As [`matrix`](Self::matrix); [`Error::Argument`] for no neighbours or more than there are.
    pub fn neighbours<E: SplineEngine>(
        &self,
        engine: &E,
        [samples, others]: [&Packed; 2],
        same: bool,
        count: usize,
        context: &Context,
        mut each: impl FnMut(Neighbours) -> Result<()>,
    ) -> Result<()> {
        let there_are = others.len() - usize::from(same).min(others.len());
        if count == 0 || count > there_are {
            return Err(Error::Argument(format!("{count} neighbours: expected 1 to {there_are}")));
        }
        self.blocks(engine, samples, others, context, |range, differing| {
            let nearest = |(i, row): (usize, &[u32])| {
                let mine = range.start + i;
                let others = row.iter().enumerate().filter(|&(j, _)| !same || j != mine);
                let mut nearest: Vec<(u32, u32)> = others.map(|(j, &off)| (off, j as u32)).collect();
                if count < nearest.len() {
                    nearest.select_nth_unstable(count - 1);
                    nearest.truncate(count);
                }
                nearest.sort_unstable();
                nearest
            };
            let rows = differing.par_chunks_exact(others.len()).enumerate();
            let nearest: Vec<(u32, u32)> = rows.flat_map_iter(nearest).collect();
            each(Neighbours {
                range: range.clone(),
                indices: nearest.iter().map(|&(_, j)| j).collect(),
                distances: nearest.iter().map(|&(off, _)| self.of(off)).collect(),
            })
        })
    }

    /// Counts of differing units, some rows of `[N, M]` at a time.
    fn blocks<E: SplineEngine>(
        &self,
        engine: &E,
        samples: &Packed,
        others: &Packed,
        context: &Context,
        mut each: impl FnMut(Range<usize>, &[u32]) -> Result<()>,
    ) -> Result<()> {
        let [rows, tiles] = self.plan(engine, [samples, others], context.memory())?;
        let upload = |packed: &Packed, range| engine.upload_codes(packed.rows(range), self.words);
        // One tile stays where it is; several are copied again for each block of rows.
        let whole = if tiles.count() == 1 { Some(upload(others, 0..others.len())?) } else { None };
        context.progress().start("rows", samples.len() as u64);
        let start = |range: Range<usize>| {
            context.check()?;
            let mine = upload(samples, range)?;
            let request =
                |others: &E::Codes| engine.request_codes(engine.hamming(&mine, others, &self.of_bits)?);
            match &whole {
                Some(others) => Ok(vec![request(others)?]),
                None => tiles.iter().map(|tile| request(&upload(others, tile)?)).collect(),
            }
        };
        overlapped(engine, rows, start, |range, requests: Vec<E::CodesRequest>| {
            let counts = requests.into_iter().map(|request| engine.receive_codes(request));
            let mut counts = counts.collect::<Result<Vec<_>>>()?;
            let differing = if counts.len() == 1 {
                counts.swap_remove(0)
            } else {
                let mut all = Vec::with_capacity(range.len() * others.len());
                for row in 0..range.len() {
                    for (counts, tile) in counts.iter().zip(tiles.iter()) {
                        all.extend_from_slice(&counts[row * tile.len()..][..tile.len()]);
                    }
                }
                all
            };
            context.progress().advance(range.len() as u64);
            each(range, &differing)
        })?;
        context.progress().finish();
        Ok(())
    }

    /// How many samples are compared at a time, with how many others.
    fn plan<E: Engine>(
        &self,
        engine: &E,
        [samples, others]: [&Packed; 2],
        memory: u64,
    ) -> Result<[Chunks; 2]> {
        let what = "a row of distances";
        let (word, held) = (size_of::<u32>() as u64, samples.bytes() + others.bytes());
        let (own, most) = (self.words as u64 * word, engine.largest_tensor());
        let fit = |bytes: u64| usize::try_from(most / bytes.max(1)).unwrap_or(usize::MAX);
        let left = held + memory.saturating_sub(held) / 2;
        let tiles = Chunks::within(what, others.len(), own, held, left, fit(own))?;
        // Counts twice, and what becomes of them: distances, or candidates.
        let row = own + others.len() as u64 * (2 * word + size_of::<[u32; 2]>() as u64);
        let at_once = SAMPLES.min(PER_THREAD * engine.parallelism());
        let at_once = at_once.min(fit(others.len() as u64 * word)).max(1);
        let fixed = held + tiles.size() as u64 * own;
        let rows =
            Chunks::within(what, samples.len(), row * engine.in_flight() as u64, fixed, memory, at_once)?;
        Ok([rows, tiles])
    }
}
