//! Distances between inputs by their codes (VQ distances; Balestriero & Baraniuk 2018): 1 - the share of units that pick
//! the same piece.

use std::ops::Range;

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use crate::engine::plan::Chunks;
use crate::engine::{Context, Engine, Packing};
use crate::{Error, Result};

use super::{Codes, Packed};

/// Words of a tile of samples that others are compared with while it stays in the first cache.
const TILE: usize = 4096;

/// Samples that one task compares with all others.
const TASK: usize = 16;

/// Compares samples by the codes of some layers.
#[derive(Debug, Clone)]
pub struct Distances {
    /// Words side by side whose units have equally many bits.
    segments: Vec<(Range<usize>, Packing)>,
    words: usize,
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
        let mut segments: Vec<(Range<usize>, Packing)> = vec![];
        for layer in codes.layers() {
            let words = codes.words_of(layer);
            match segments.last_mut() {
                // What is left of a word is 0 in both.
                Some((range, packing)) if packing.bits == layer.packing.bits => range.end = words.end,
                _ => segments.push((words, layer.packing)),
            }
        }
        let units = codes.layers().iter().map(|layer| layer.units).sum();
        if units == 0 {
            return Err(Error::Argument(
                "the network is affine: none of its units picks pieces, and no two inputs lie apart"
                    .to_owned(),
            ));
        }
        Ok(Self { segments, words: codes.words(), units })
    }

    /// How many units are compared.
    pub fn units(&self) -> usize {
        self.units
    }

    /// The distance of two samples in so many of whose units the codes differ.
    pub fn of(&self, differing: u32) -> f32 {
        (f64::from(differing) / self.units as f64) as f32
    }

    /// In how many units each of `rows` (some samples' words, one after the other) differs from each of `others`.
    fn count(&self, rows: &[u32], others: &[u32], differing: &mut [u32]) {
        let count = others.len() / self.words;
        let per_task = TASK * self.words;
        differing.par_chunks_mut(TASK * count).zip(rows.par_chunks(per_task)).for_each(
            |(differing, rows)| {
                Arch::new().dispatch(Count { distances: self, rows, others, differing });
            },
        );
    }

    /// Shows to `each`, in order, some rows of the matrix of distances `[N, M]` of `samples` from `others`; as many at
    /// a time as the context's budget has room for beside both.
    ///
    /// # Errors
    /// [`Error::Memory`] where a row does not fit; [`Error::Cancelled`]; what `each` says.
    pub fn matrix(
        &self,
        samples: &Packed,
        others: &Packed,
        context: &Context,
        mut each: impl FnMut(Range<usize>, &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.blocks(samples, others, context, |range, differing| {
            let distances: Vec<f32> = differing.par_iter().map(|&count| self.of(count)).collect();
            each(range, &distances)
        })
    }

    /// Shows to `each`, in order, the `count` nearest of `others` to some samples. Where `same` says that both are the
    /// same samples, a sample is no neighbour of itself.
    ///
    /// # Errors
    /// As [`matrix`](Self::matrix); [`Error::Argument`] for no neighbours or more than there are.
    pub fn neighbours(
        &self,
        samples: &Packed,
        others: &Packed,
        same: bool,
        count: usize,
        context: &Context,
        mut each: impl FnMut(Neighbours) -> Result<()>,
    ) -> Result<()> {
        let there_are = others.len() - usize::from(same).min(others.len());
        if count == 0 || count > there_are {
            return Err(Error::Argument(format!("{count} neighbours: expected 1 to {there_are}")));
        }
        self.blocks(samples, others, context, |range, differing| {
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

    fn blocks(
        &self,
        samples: &Packed,
        others: &Packed,
        context: &Context,
        mut each: impl FnMut(Range<usize>, &[u32]) -> Result<()>,
    ) -> Result<()> {
        // Counts, and what becomes of them: distances, or candidates.
        let row = (others.len() * (size_of::<u32>() + size_of::<[u32; 2]>())) as u64;
        let held = samples.bytes() + others.bytes();
        let what = "a row of distances";
        let most = (rayon::current_num_threads() * TASK).next_multiple_of(TASK) * 4;
        let chunks = Chunks::within(what, samples.len(), row, held, context.memory(), most)?;
        let mut differing = vec![0; chunks.size() * others.len()];
        context.progress().start("rows", samples.len() as u64);
        for range in chunks.iter() {
            context.check()?;
            let differing = &mut differing[..range.len() * others.len()];
            differing.fill(0);
            self.count(samples.rows(range.clone()), others.rows(0..others.len()), differing);
            context.progress().advance(range.len() as u64);
            each(range, differing)?;
        }
        context.progress().finish();
        Ok(())
    }
}

/// One task of [`Distances::count`].
struct Count<'a> {
    distances: &'a Distances,
    rows: &'a [u32],
    others: &'a [u32],
    differing: &'a mut [u32],
}

impl NullaryFnOnce for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { distances: Distances { segments, words, .. }, rows, others, differing } = self;
        let count = others.len() / words;
        let tile = (TILE / words).max(1);
        for (t, others) in others.chunks(tile * words).enumerate() {
            for (row, differing) in rows.chunks_exact(*words).zip(differing.chunks_exact_mut(count)) {
                let differing = &mut differing[t * tile..];
                for (range, packing) in segments {
                    let (mine, lowest) = (&row[range.clone()], packing.lowest());
                    for (differing, other) in differing.iter_mut().zip(others.chunks_exact(*words)) {
                        let pairs = mine.iter().zip(&other[range.clone()]);
                        // A loop of its own: of one bit there is nothing to fold.
                        *differing += if packing.bits == 1 {
                            pairs.map(|(a, b)| (a ^ b).count_ones()).sum::<u32>()
                        } else {
                            pairs.map(|(a, b)| packing.folded(a ^ b, lowest).count_ones()).sum()
                        };
                    }
                }
            }
        }
    }
}
