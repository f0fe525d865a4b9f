//! Which anchors become pieces.
//!
//! A spline gets better with the number of its pieces, and with where they are. [`select`] chooses them by the
//! geometry of the anchors (clusters, farthest points) or by what the spline does at them (its error, which pieces are
//! active), out of anchors and jets alone: no point that the spline is judged on takes part.

mod choice;
mod clusters;
mod farthest;
mod features;
mod genetic;
mod greedy;
mod judge;
mod medoids;
mod prune;
#[cfg(test)]
mod tests;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::engine::{Context, Curvature, SplineEngine};
use crate::{Error, Result};

use super::JetSource;
pub use choice::{Choice, Features, Method};
pub(crate) use clusters::{Assigner, k_means};
pub use clusters::{Clusters, clusters};
pub(crate) use features::Table;

/// Anchors of one half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// These, ascending.
    Some(Vec<u32>),
}

impl Selection {
    /// These anchors, in any order, out of so many; [`All`](Self::All) where it is all of them.
    pub fn of(mut chosen: Vec<u32>, anchors: usize) -> Self {
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.len() == anchors { Self::All } else { Self::Some(chosen) }
    }

    /// A random subset of `pieces` out of `anchors`; all of them where there are no more.
    ///
    /// Subsets of one seed are nested: they are beginnings of one shuffled order.
    ///
    /// # Errors
    /// [`Error::Argument`] for 0 pieces, or more than there are anchors.
    pub fn random(pieces: usize, anchors: usize, seed: u64) -> Result<Self> {
        check(pieces, anchors)?;
        if pieces == anchors {
            return Ok(Self::All);
        }
        Ok(Self::of(shuffled(anchors, seed)[..pieces].to_vec(), anchors))
    }

    /// Whether an anchor is in it.
    pub fn contains(&self, anchor: u32) -> bool {
        match self {
            Self::All => true,
            Self::Some(chosen) => chosen.binary_search(&anchor).is_ok(),
        }
    }
}

/// # Errors
/// [`Error::Argument`] for 0 pieces, or more than there are anchors.
fn check(pieces: usize, anchors: usize) -> Result<()> {
    if (1..=anchors).contains(&pieces) {
        return Ok(());
    }
    Err(Error::Argument(format!(
        "{pieces} pieces cannot be chosen from {anchors} anchors: expected 1 to {anchors}"
    )))
}

/// Chooses `pieces` of the anchors of `source`, for the lower and for the upper half.
///
/// `curvature` are those of the spline, for each output. The same seed gives the same choice, whatever the memory; ties
/// go to the lowest index. The halves differ with [`Features::Pieces`] under a method that goes by distances. All anchors are [`Selection::All`] under every method.
///
/// # Errors
/// [`Error::Argument`] for 0 pieces, or more than there are anchors; [`Error::Shape`] where there is not one curvature
/// for each output; [`Error::Memory`] where what the method holds of all anchors does not fit;
/// [`Error::Cancelled`]; what the source says.
pub fn select<E: SplineEngine>(
    choice: &Choice,
    source: &dyn JetSource<E>,
    pieces: usize,
    curvature: &[Curvature],
    seed: u64,
    context: &Context,
) -> Result<[Selection; 2]> {
    let anchors = source.anchors();
    check(pieces, anchors)?;
    if pieces == anchors {
        return Ok([Selection::All, Selection::All]);
    }
    let tables = || features::tables(choice.features, source, curvature, seed, context);
    let chosen = match choice.method {
        Method::Random => {
            let random = Selection::random(pieces, anchors, seed)?;
            return Ok([random.clone(), random]);
        }
        Method::KMeans => tables()?.halves(|table| {
            let means = k_means(source.engine(), table, pieces, seed, context)?;
            Ok(means.medoids(table))
        })?,
        Method::KMedoids => {
            tables()?.halves(|table| medoids::k_medoids(source.engine(), table, pieces, seed, context))?
        }
        Method::Farthest => tables()?.halves(|table| farthest::farthest(table, pieces, context))?,
        Method::Greedy => greedy::greedy(source, &tables()?, pieces, curvature, seed, context)?,
        Method::Prune => {
            let active = prune::prune(source, pieces, curvature, seed, context)?;
            [active.clone(), active]
        }
        Method::Genetic => {
            let best = genetic::genetic(source, pieces, curvature, seed, context)?.best;
            [best.clone(), best]
        }
    };
    Ok(chosen.map(|chosen| Selection::of(chosen, anchors)))
}

/// The random streams of a seed: no two methods share a number, nor do two purposes of one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Sketch = 1,
    Seeding,
    Superset,
    Sample,
    Search,
    Projection,
}

/// A random stream of a seed. Stream 0 is that of [`shuffled`].
pub(super) fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// The anchors in the random order of a seed (ChaCha with 8 rounds, Fisher-Yates).
pub fn shuffled(anchors: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..anchors as u32).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}
