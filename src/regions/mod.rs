//! Regions of piecewise affine networks: where all units keep their pieces, the network is affine.
//!
//! [`Partition`] is the exact partition of a plane of input space: every region that the plane meets, as a convex polygon
//! with its affine map and its code (which piece each unit is on). [`Mesh`] says how regions meet, and
//! [`Partition::classes`] refines the partition by the largest output, whose edges are the exact decision boundary.
//!
//! [`Polytope`] is the region of a point in input space with its facets, [`Enumeration`] finds all regions inside a box by
//! walking across facets, [`breakpoints`] are exact along a straight path, and [`density`] counts what random points see.
//!
//! [`affine_rows`] are the affine maps at points, [`reduce`] puts few in the place of many, and [`compare`] predicts those
//! of one network from another's (Sattelberg, Cavalieri, Kirby, Peterson & Beveridge 2020, "Locally linear attributes of
//! ReLU neural networks").

mod affine_rows;
mod ahead;
mod codes;
mod comparison;
mod decision;
mod density;
mod enumeration;
mod enumeration_state;
mod input_space;
mod kernels;
mod largest;
mod mesh;
mod normal_form;
mod partition;
mod path;
mod polygon;
mod polytope;
mod reduced;
mod reduction;
mod simplex;
mod split;
mod walk;

pub use affine_rows::affine_rows;
pub use codes::CodeLayer;
pub use comparison::{Comparison, OutputComparison, compare};
pub use decision::{Classes, Segment};
pub use density::{Density, density};
pub use enumeration::{Enumeration, Label, TINY_RADIUS};
pub use mesh::{Edge, Mesh};
pub use partition::{Count, Partition, Region, TINY};
pub use path::{Breakpoint, ClassChange, Path, breakpoints};
pub use polygon::Point;
pub use polytope::{Boundary, Decision, Facet, Polytope, Ray};
pub use reduction::{Assignment, Grouping, Reduced, Reductions, Settings, reduce};
