//! In how many units codes differ: bits of differences are counted with the vectors at hand.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use crate::engine::kernels::UnitWords;

use super::code::CpuCodes;

/// Words of a tile of others that rows are compared with while it stays in the first cache.
const TILE: usize = 4096;

/// Rows that one task compares with all others.
const TASK: usize = 16;

/// What [`SplineEngine::hamming`](crate::engine::SplineEngine::hamming) says.
pub(super) fn hamming(codes: &CpuCodes, others: &CpuCodes, units: &[UnitWords]) -> CpuCodes {
    let words = codes.words();
    let count = others.rows();
    let mut counts = CpuCodes::new(codes.rows(), count);
    let differing = counts.values_mut();
    differing.fill(0);
    if words == 0 || count == 0 {
        return counts;
    }
    let tasks = differing.par_chunks_mut(TASK * count).zip(codes.values().par_chunks(TASK * words));
    tasks.for_each(|(differing, rows)| {
        Arch::new().dispatch(Count { units, words, rows, others: others.values(), differing });
    });
    counts
}

/// One task.
struct Count<'a> {
    units: &'a [UnitWords],
    words: usize,
    rows: &'a [u32],
    others: &'a [u32],
    differing: &'a mut [u32],
}

impl NullaryFnOnce for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { units, words, rows, others, differing } = self;
        let count = others.len() / words;
        let tile = (TILE / words).max(1);
        for (t, others) in others.chunks(tile * words).enumerate() {
            for (row, differing) in rows.chunks_exact(words).zip(differing.chunks_exact_mut(count)) {
                let differing = &mut differing[t * tile..];
                for units in units {
                    let packing = units.packing();
                    let (mine, lowest) = (&row[units.words.clone()], packing.lowest());
                    for (differing, other) in differing.iter_mut().zip(others.chunks_exact(words)) {
                        let pairs = mine.iter().zip(&other[units.words.clone()]);
                        // A loop of its own: of one bit there is nothing to fold.
                        *differing += if units.bits == 1 {
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
