//! Discrete Legendre-Fenchel conjugates, and what follows from them.
//!
//! ```text
//! f*(s) = max_x (s . x - f(x))                       conjugate
//! f**(x) = max_s (s . x - f*(s))                     biconjugate: the convex envelope
//! f_*(s) = min_x (s . x - f(x))                      concave conjugate
//! e(x)  = min_y (f(y) + |x - y|^2 / (2 lambda))      Moreau envelope
//! (f # g)(x) = min_y (f(y) + g(x - y))               infimal convolution: (f* + g*)* of convex functions
//! ```
//!
//! over the points of a grid (Rockafellar 1970). On a grid one axis is done after the other, each line in linear time on
//! the CPU by its lower hull and a merge with the slopes (Lucet 1997); on sets of points by comparing all pairs. Here,
//! and only here, `+inf` is a value: outside the domain.
//!
//! What a grid says of the function in between: the maximum over the points of a grid is never above that over all
//! points; where `f` is twice differentiable it lacks `h^2 f'' / 8` at most, with `h` the spacing, for slopes whose
//! maximiser lies within the grid. The convex envelope is exact at the points of the grid where the slopes hold a
//! subgradient, and else below.
//!
//! A Legendre spline by grid conjugation ([`LegendreSpline`]) has the pieces `s . x - f*(s)` of a sampled function: no
//! gradients are asked for.
//!
//! # Example
//!
//! ```
//! use fenchel::conjugate::{Grid, GridFunction, biconjugate, conjugate};
//! use fenchel::engine::{Context, Cpu};
//!
//! // The conjugate of x^2 / 2 is s^2 / 2: exact at slopes that are points of the grid.
//! let (engine, context) = (Cpu::<f64>::new(), Context::default());
//! let grid = Grid::uniform(&[(-2.0, 2.0, 401)])?;
//! let f = GridFunction::sampled(grid, |x| x[0] * x[0] / 2.0)?;
//! let slopes = Grid::new(vec![vec![-1.0, 0.0, 0.5, 1.5]])?;
//! let found = conjugate(&engine, &f, &slopes, &context)?;
//! for (slope, value) in slopes.points().zip(found.function.values()) {
//!     assert!((value - slope[0] * slope[0] / 2.0).abs() < 1e-12);
//! }
//!
//! // The convex envelope of a double well is flat between the wells.
//! let well = GridFunction::sampled(f.grid().clone(), |x| (x[0] * x[0] - 1.0).powi(2))?;
//! let envelope = biconjugate(&engine, &well, &well.slopes(&[401])?, &context)?;
//! assert!(envelope.function.values()[200].abs() < 1e-9 && well.values()[200] == 1.0);
//! # Ok::<(), fenchel::Error>(())
//! ```

mod calculus;
mod grid;
mod legendre;
mod transform;

pub use calculus::{MoreauEnvelope, infimal_convolution, moreau_envelope};
pub use grid::{Grid, GridFunction};
pub use legendre::{LegendreSpline, LegendreValues, Pieces};
pub use transform::{
    Conjugate, biconjugate, concave_biconjugate, concave_conjugate, conjugate, conjugate_of_points,
};
