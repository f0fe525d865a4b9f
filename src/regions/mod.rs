//! Regions of piecewise affine networks, and the affine maps on them (Sattelberg, Cavalieri, Kirby, Peterson & Beveridge
//! 2020, "Locally linear attributes of ReLU neural networks").

mod comparison;
mod reduction;
mod rows;

pub use comparison::{Comparison, OutputComparison, compare};
pub use reduction::{Assignment, Reduced, Reductions, Settings, reduce};
pub use rows::affine_rows;
