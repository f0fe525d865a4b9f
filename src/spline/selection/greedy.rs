//! Anchors at which the spline so far is most wrong.

use crate::engine::{Context, Curvature, SplineEngine};
use crate::spline::JetSource;
use crate::{Result, Scalar};

use super::clusters::{approach, k_means};
use super::features::{Table, Tables};
use super::judge::Judge;

/// Rounds at most, from the first pieces to all of them; each adds the same share of what is there.
const ROUNDS: usize = 16;

/// The share of the pieces that come from clusters before the first round.
const FIRST: usize = 8;

/// The pieces of one half so far.
struct Half<'a, S> {
    table: &'a Table<S>,
    chosen: Vec<u32>,
    /// Squared distance of each anchor to the nearest chosen one; negative for those.
    distances: Vec<f64>,
    /// How many of the chosen are in the envelopes.
    folded: usize,
}

/// An eighth of the pieces from k-means, the others in rounds: after each the spline is evaluated at all anchors, and
/// those with the largest squared error over all outputs become pieces. In one round an anchor is passed over if the
/// piece nearest to it is one of the same round, since that one may have mended it.
///
/// A round computes the envelopes of its new pieces alone.
///
/// # Errors
/// As [`select`](super::select).
pub(super) fn greedy<E: SplineEngine>(
    source: &dyn JetSource<E>,
    tables: &Tables<E::Scalar>,
    pieces: usize,
    curvature: &[Curvature],
    seed: u64,
    context: &Context,
) -> Result<[Vec<u32>; 2]> {
    let (anchors, outputs) = (source.anchors(), source.outputs());
    let all: Vec<u32> = (0..anchors as u32).collect();
    let held: u64 = tables.distinct().iter().map(Table::bytes).sum();
    let extra = held + (anchors * (2 * outputs + 6) * size_of::<f64>()) as u64;
    let first = (pieces / FIRST).max(2).min(pieces);
    let halves = tables.distinct().iter().map(|table| {
        let means = k_means(source.engine(), table, first, seed, context)?;
        let mut half = Half { table, chosen: vec![], distances: vec![f64::MAX; anchors], folded: 0 };
        means.medoids(table).into_iter().for_each(|i| half.add(i));
        Ok(half)
    });
    let mut halves = halves.collect::<Result<Vec<_>>>()?;
    // After the clusters, since it takes a good part of the memory.
    let judge = Judge::new(source, curvature, &all, extra, context)?;
    // Both envelopes so far [N, K].
    let mut envelopes = vec![[f64::MIN, f64::MAX]; anchors * outputs];
    context.progress().start("greedy", pieces as u64);
    for round in 1..=ROUNDS {
        let growth = (pieces as f64 / first as f64).powf(round as f64 / ROUNDS as f64);
        let target = if round == ROUNDS { pieces } else { (first as f64 * growth) as usize };
        let before = halves[0].chosen.len();
        if target <= before {
            continue;
        }
        let fresh: Vec<&[u32]> = halves.iter().map(|half| &half.chosen[half.folded..]).collect();
        let last = fresh.len() - 1;
        judge.pass(&fresh, false, |judged| {
            let count = judged.range.len();
            let of_range = &mut envelopes[judged.range.start * outputs..judged.range.end * outputs];
            for (i, [lower, upper]) in of_range.iter_mut().enumerate() {
                let at = |family| (family * outputs + i % outputs) * count + i / outputs;
                *lower = lower.max(judged.envelopes.lower[at(0)].f64());
                *upper = upper.min(judged.envelopes.upper[at(last)].f64());
            }
        })?;
        let mut worst: Vec<(f64, u32)> = all
            .iter()
            .map(|&i| (judge.squared_error(i as usize, |k| envelopes[i as usize * outputs + k]), i))
            .collect();
        worst.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for half in &mut halves {
            half.folded = before;
            half.grow(&worst, target, context)?;
        }
        context.progress().advance((target - before) as u64);
    }
    context.progress().finish();
    let mut chosen = halves.into_iter().map(|half| half.chosen);
    let lower = chosen.next().unwrap_or_default();
    Ok([lower.clone(), chosen.next().unwrap_or(lower)])
}

impl<S: Scalar> Half<'_, S> {
    fn add(&mut self, anchor: u32) {
        self.chosen.push(anchor);
        approach(self.table, anchor as usize, &mut self.distances);
        self.distances[anchor as usize] = -1.0;
    }

    /// Adds anchors from the worst on until there are `target`: first those whose nearest piece is of earlier rounds.
    fn grow(&mut self, worst: &[(f64, u32)], target: usize, context: &Context) -> Result<()> {
        let before = self.distances.clone();
        for near in [false, true] {
            for &(_, i) in worst {
                if self.chosen.len() == target {
                    return Ok(());
                }
                let (now, before) = (self.distances[i as usize], before[i as usize]);
                if now >= 0.0 && (near || now >= before) {
                    context.check()?;
                    self.add(i);
                }
            }
        }
        Ok(())
    }
}
