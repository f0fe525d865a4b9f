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
