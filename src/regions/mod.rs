//! Regions of piecewise affine networks: where all units keep their pieces, the network is affine.
//!
//! [`Partition`] is the exact partition of a plane of input space: every region that the plane meets, as a convex polygon
//! with its affine map and its code (which piece each unit is on). [`Mesh`] says how regions meet, and
//! [`Partition::classes`] refines the partition by the largest output, whose edges are the exact decision boundary.

mod codes;
mod decision;
mod input;
mod kernels;
mod largest;
mod mesh;
mod partition;
mod polygon;
mod split;

pub use codes::CodeLayer;
pub use decision::{Classes, Segment};
pub use mesh::{Edge, Mesh};
pub use partition::{Partition, Region, TINY};
pub use polygon::Point;
