//! Which region of a network's partition each point of a plane lies in.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Result;
use crate::engine::{Context, Engine};
use crate::maso::{Codes, LayerChoice, hash};
use crate::network::Network;
use crate::spline::slice::Slice;

use super::network::points;
use super::{Band, Field};

/// Regions that are told apart at most while they are counted.
const MOST: usize = 1 << 22;

/// The tool that needs codes, for messages.
pub(super) const TOOL: &str = "a picture of regions";

/// Regions that a picture has seen. There may be more between its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visited {
    /// How many, told apart by hashes of 64 bits.
    pub count: usize,
    /// Whether counting was given up there.
    pub is_capped: bool,
}

/// The regions of a network on a plane as categories: 32 bits of a hash of the code, so that a region has the same
/// colour in every picture that shows the same layers.
pub struct RegionField<E: Engine> {
    codes: Codes<E>,
    seen: Mutex<HashSet<u64>>,
}

impl<E: Engine> RegionField<E> {
    /// The regions that the chosen layers cut a plane into.
    ///
    /// # Errors
    /// As [`LayerChoice::part`], [`Network::on_slice`] and [`Codes::new`].
    pub fn new(engine: &E, network: &Network, slice: &Slice, layers: &LayerChoice) -> Result<Self> {
        Ok(Self { codes: on_plane(engine, network, slice, layers)?, seen: Mutex::default() })
    }

    fn seen(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn on_plane<E: Engine>(
    engine: &E,
    network: &Network,
    slice: &Slice,
    layers: &LayerChoice,
) -> Result<Codes<E>> {
    let part = layers.part(network)?.on_slice(&slice.origin, &[&slice.u, &slice.v])?;
    Codes::new(engine, &part, layers, TOOL)
}

impl<E: Engine> Field<E> for RegionField<E> {
    fn is_categorical(&self) -> bool {
        true
    }

    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], first: usize, context: &Context) -> Result<Band> {
        let (width, words) = (across.len(), self.codes.words());
        let mut categories = Vec::with_capacity(width * up.len());
        let mut last = None;
        let rows = |range: std::ops::Range<usize>| {
            let count = range.len();
            self.codes.engine().upload(&points(across, up, range), &[count, 2])
        };
        let what = "the network at the points of a picture, counted row by row";
        self.codes.each(width * up.len(), (what, first), context, rows, |coded| {
            let mut seen = self.seen();
            for i in 0..coded.range.len() {
                let hash = hash(&coded.words[i * words..][..words]);
                if last != Some(hash) && seen.len() < MOST {
                    seen.insert(hash);
                }
                last = Some(hash);
                categories.push(hash as u32);
            }
            Ok(())
        })?;
        Ok(Band::Categories(categories))
    }

    fn visited(&self) -> Option<Visited> {
        let count = self.seen().len();
        Some(Visited { count, is_capped: count == MOST })
    }
}
