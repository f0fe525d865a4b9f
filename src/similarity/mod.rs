//! Gradient similarity: inner products of parameter gradients as similarities of inputs (Racz & Daroczy 2021; the
//! empirical neural tangent kernel).
//!
//! `k(x, y) = <grad_theta f(x), G grad_theta f(y)>` for the sum `f` of a network's outputs, summed over its outputs, or for
//! each pair of them ([`Combine`]), in a [`Metric`] `G`. [`Gradients`] are the layers with parameters and how their
//! gradients come in factors; [`Similarity`] makes Gram matrices of them, layer by layer, without the gradients of more
//! layers at once than a memory budget has room for. What the similarities say of classes: [`Gap`], [`Votes`] of nearest
//! neighbours, and kernel [`Ridge`] regression.
//!
//! # Example
//!
//! ```
//! use fenchel::data::{Dataset, ReadOptions};
//! use fenchel::engine::{Context, Cpu};
//! use fenchel::network::onnx;
//! use fenchel::similarity::{Combine, Gradients, Metric, Similarity, Weights};
//!
//! let model = onnx::load("assets/moons.onnx".as_ref(), &onnx::LoadOptions::default())?;
//! let data = Dataset::open("assets/moons.npz".as_ref(), &ReadOptions::default())?.select_range(0..20)?;
//!
//! // The empirical tangent kernel of both outputs: symmetric, with squared lengths of gradients on the diagonal.
//! let gradients = Gradients::new(&model.network, &Cpu::<f64>::new(), &[0, 1], Combine::Trace, None)?;
//! let similarity = Similarity::new(&gradients, Metric::Plain, Weights::None);
//! let gram = similarity.whole(&data, None, None, &Context::default())?;
//! assert_eq!(gram, gram.t());
//! for (i, j) in (0..20).flat_map(|i| (0..20).map(move |j| (i, j))) {
//!     assert!(gram[[i, j]].powi(2) <= gram[[i, i]] * gram[[j, j]] * (1.0 + 1e-12));
//! }
//! # Ok::<(), fenchel::Error>(())
//! ```

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
