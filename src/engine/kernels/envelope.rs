//! Envelopes of affine pieces over anchors.

use super::{Curvature, Search};

/// What envelopes are wanted.
#[derive(Debug, Clone)]
pub struct EnvelopeSpec {
    /// `[C][K]`: for each variant the curvatures of all outputs.
    pub curvatures: Vec<Vec<Curvature>>,
    /// How many families of pieces are followed at once.
    pub families: usize,
    /// How many slots (disjoint sets of anchors, each with its own envelope) a family has.
    pub slots: usize,
    /// How many of the best pieces are wanted, at least 1: from 2 on the margin to the runner-up is there.
    pub top: usize,
    /// Whether the active pieces are wanted beside the values.
    pub pieces: bool,
    /// How the best pieces are looked for.
    pub search: Search,
}

impl EnvelopeSpec {
    /// One family with one slot, with active pieces.
    pub fn single(curvatures: Vec<Curvature>) -> Self {
        Self {
            curvatures: vec![curvatures],
            families: 1,
            slots: 1,
            top: 1,
            pieces: true,
            search: Search::Pruned,
        }
    }

    /// Envelopes for each point and output.
    pub fn variants(&self) -> usize {
        self.families * self.curvatures.len() * self.slots
    }
}

/// Finished envelopes, each array `[families, C, slots, K, top, N]`.
///
/// `lower` is `max_i T_i - (a/2) d_i^2`, `upper` is `min_i T_i + (b/2) d_i^2`; behind the best piece come the next ones,
/// in order. Where there are no more anchors stand `-S::MAX` and `S::MAX` and pieces `u32::MAX`.
#[derive(Debug, Clone)]
pub struct EnvelopeValues<S> {
    /// The largest of the lower bounds.
    pub lower: Vec<S>,
    /// The smallest of the upper bounds.
    pub upper: Vec<S>,
    /// The anchor that is active in `lower`; empty if not wanted.
    pub lower_piece: Vec<u32>,
    /// The anchor that is active in `upper`; empty if not wanted.
    pub upper_piece: Vec<u32>,
    /// Pairs of point and anchor that were compared, of `N M K`; a pair in one half alone counts as half.
    pub scored: u64,
}
