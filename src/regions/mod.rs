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
//!
//! # Example
//!
//! ```
//! use fenchel::engine::Context;
//! use fenchel::network::onnx;
//! use fenchel::regions::{Partition, Polytope};
//!
//! let model = onnx::load("assets/moons.onnx".as_ref(), &onnx::LoadOptions::default())?;
//! let context = Context::default();
//!
//! // All regions of the square with s and t in [-1, 1]: they tile it.
//! let on_plane = model.network.on_slice(&[0.5, 0.25], &[&[1.5, 0.0], &[0.0, 1.0]])?;
//! let partition = Partition::new(&on_plane, &context)?;
//! assert!(partition.len() > 100 && (partition.area() - 4.0).abs() < 1e-9);
//!
//! // The region of a point in input space.
//! let polytope = Polytope::new(&model.network, &[0.5, 0.25], None, &context)?;
//! assert!(polytope.facets().len() >= 3);
//! # Ok::<(), fenchel::Error>(())
//! ```

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
