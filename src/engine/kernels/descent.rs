//! Descent of affine pieces.

use std::ops::Range;

use crate::Scalar;

/// The pieces that one step of descent moves, and what pulls at them: points, with the derivative of the loss with
/// respect to their maxima.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pulls<S> {
    /// The pieces, ascending.
    pub pieces: Vec<u32>,
    /// Where the points of each begin; one more, where they end.
    pub starts: Vec<u32>,
    /// The points of all pieces, ascending within each.
    pub points: Vec<u32>,
    /// Their derivatives.
    pub derivatives: Vec<S>,
}

impl<S: Scalar> Pulls<S> {
    /// Each point pulls at its active piece.
    pub fn new(active: &[u32], derivatives: &[S]) -> Self {
        let mut order: Vec<u32> = (0..active.len() as u32).collect();
        order.sort_by_key(|&n| active[n as usize]);
        let mut pulls = Self::default();
        for (at, &n) in order.iter().enumerate() {
            if pulls.pieces.last() != Some(&active[n as usize]) {
                pulls.pieces.push(active[n as usize]);
                pulls.starts.push(at as u32);
            }
        }
        pulls.starts.push(order.len() as u32);
        pulls.derivatives = order.iter().map(|&n| derivatives[n as usize]).collect();
        pulls.points = order;
        pulls
    }

    /// The pieces with their places in `points`.
    pub fn groups(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let ranges = self.starts.windows(2).map(|ends| ends[0] as usize..ends[1] as usize);
        self.pieces.iter().copied().zip(ranges)
    }
}

/// A step of descent with adapted rates (Adam; Kingma & Ba 2015).
///
/// A piece that no point pulls at stays as it is, with its moments: what a step costs follows from the points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// How far a coefficient moves at most, about.
    pub rate: f64,
    /// The number of the step, from 1.
    pub number: u32,
}

impl Step {
    /// How much of the mean of derivatives, and of their squares, a step keeps.
    pub const KEPT: [f64; 2] = [0.9, 0.99];

    /// Added to the root of the mean square.
    pub const LEAST: f64 = 1e-8;

    /// The rate with the moments' start from 0 undone.
    pub fn corrected(self) -> f64 {
        let [mean, square] = Self::KEPT.map(|kept| 1.0 - kept.powi(self.number.min(100_000) as i32));
        self.rate * square.sqrt() / mean
    }
}
