//! Gradient similarity: inner products of parameter gradients as similarities of inputs (Racz & Daroczy 2021; the
//! empirical neural tangent kernel).
//!
//! `k(x, y) = <grad_theta f(x), G grad_theta f(y)>` for the sum `f` of a network's outputs, summed over its outputs, or for
//! each pair of them ([`Combine`]), in a [`Metric`] `G`. [`Gradients`] are the layers with parameters and how their
//! gradients come in factors; [`Similarity`] makes Gram matrices of them, layer by layer, without the gradients of more
//! layers at once than a memory budget has room for. What the similarities say of classes: [`Gap`], [`Votes`] of nearest
//! neighbours, and kernel [`Ridge`] regression.

mod classify;
mod combine;
mod gap;
mod gradients;
mod gram;
mod metric;
mod normal;
mod plan;
mod project;
mod ridge;
mod sparse;

pub use crate::classes::accuracy;
pub use classify::{Votes, nearest};
pub use combine::Combine;
pub use gap::Gap;
pub use gradients::Gradients;
pub use gram::Similarity;
pub use metric::{Metric, Weights};
pub use normal::{Extent, extents};
pub use plan::{Demand, Plan, Road, Shape};
pub use project::projections;
pub use ridge::Ridge;
pub use sparse::{Mask, SignRatios};
