//! From many anchors down to those that are active.

use crate::Result;
use crate::engine::{Context, Curvature, SplineEngine};
use crate::spline::JetSource;

use super::judge::Judge;
use super::{Stream, stream};
use rand::seq::SliceRandom;

/// So many anchors are all tried, however few pieces are wanted.
const TRIED: usize = 4096;

/// Of more anchors, a random subset of so many times the pieces is tried.
const TIMES: usize = 8;

/// In rounds, the pieces drop out that are active at the fewest anchors, summed over both halves and all outputs: a
/// fifth of what is left at most, until `pieces` are left. Of equally active ones the first stay.
///
/// Halves that keep different anchors could not make up for each other at them. On the digits (relative RMSE with 100 of
/// 1200 anchors) a choice for each half, dropping half in each round, gave 0.31 and 0.18, sigmoid and ReLU, where a
/// random choice gives 0.23 and 0.16 and this one 0.18 and 0.13.
///
/// More than 4096 anchors are not all tried, but a random subset: eight times the pieces, at least 4096. Activity is
/// counted at all anchors.
///
/// # Errors
/// As [`select`](super::select).
pub(super) fn prune<E: SplineEngine>(
    source: &dyn JetSource<E>,
    pieces: usize,
    curvature: &[Curvature],
    seed: u64,
    context: &Context,
) -> Result<Vec<u32>> {
    let anchors = source.anchors();
    let all: Vec<u32> = (0..anchors as u32).collect();
    let mut tried = all.clone();
    if anchors > TRIED.max(TIMES * pieces) {
        tried.shuffle(&mut stream(seed, Stream::Superset));
        tried.truncate(TRIED.max(TIMES * pieces));
        tried.sort_unstable();
    }
    let judge = Judge::new(source, curvature, &all, (anchors * 32) as u64, context)?;
    context.progress().start("prune", (tried.len() - pieces) as u64);
    while tried.len() > pieces {
        let mut active = vec![0_u32; anchors];
        judge.pass(&[&tried[..]], true, |judged| {
            let both = [&judged.envelopes.lower_piece, &judged.envelopes.upper_piece];
            for &piece in both.into_iter().flatten() {
                active[judged.anchors[piece as usize] as usize] += 1;
            }
        })?;
        let before = tried.len();
        let keep = pieces.max(before - before / 5);
        // Of fewer than five pieces there is no fifth.
        let keep = keep.min(before - 1);
        tried.sort_by_key(|&i| (std::cmp::Reverse(active[i as usize]), i));
        tried.truncate(keep);
        tried.sort_unstable();
        context.progress().advance((before - keep) as u64);
    }
    context.progress().finish();
    Ok(tried)
}
