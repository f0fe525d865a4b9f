//! Anchors far from each other.

use crate::engine::Context;
use crate::{Result, Scalar};

use super::clusters::{approach, nearest};
use super::features::Table;

/// From the row nearest to the mean on, always the row farthest from those chosen (Gonzalez 1985, "Clustering to
/// minimize the maximum intercluster distance"): the largest distance of a row from them is at most twice the least
/// possible.
///
/// # Errors
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub(super) fn farthest<S: Scalar>(table: &Table<S>, count: usize, context: &Context) -> Result<Vec<u32>> {
    let all: Vec<u32> = (0..table.rows() as u32).collect();
    let squared = |i: u32| table.row(i as usize).iter().map(|x| x.f64().powi(2)).sum();
    let mut next = nearest(&all, squared);
    let mut chosen = Vec::with_capacity(count);
    let mut distances = vec![f64::MAX; table.rows()];
    context.progress().start("farthest points", count as u64);
    while chosen.len() < count {
        context.check()?;
        chosen.push(next);
        approach(table, next as usize, &mut distances);
        // Below every distance, so that none is chosen twice even where all others are at 0.
        distances[next as usize] = -1.0;
        next = nearest(&all, |i| -distances[i as usize]);
        context.progress().advance(1);
    }
    context.progress().finish();
    Ok(chosen)
}
