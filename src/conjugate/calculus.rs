//! What conjugates give almost for free.

use crate::engine::{Context, SplineEngine};
use crate::{Error, Result};

use super::transform::conjugate;
use super::{Grid, GridFunction};

/// A Moreau envelope, and where it is attained.
#[derive(Debug, Clone, PartialEq)]
pub struct MoreauEnvelope {
    /// The envelope on the grid that it was asked for.
    pub function: GridFunction,
    /// For each of its points the position, in the function's grid, of the proximal point.
    pub proximal: Vec<u32>,
}

/// The Moreau envelope `e(x) = min_y (f(y) + |x - y|^2 / (2 lambda))` at the points of a grid, and the proximal points
/// `y` (Moreau 1965). With `h(y) = lambda f(y) + |y|^2 / 2` it is `(|x|^2 / 2 - h*(x)) / lambda`: one conjugate.
///
/// # Errors
/// [`Error::Argument`] for `lambda` that is not positive and finite; as [`conjugate`].
pub fn moreau_envelope<E: SplineEngine>(
    engine: &E,
    f: &GridFunction,
    lambda: f64,
    at: &Grid,
    context: &Context,
) -> Result<MoreauEnvelope> {
    if !(lambda > 0.0 && lambda.is_finite()) {
        return Err(Error::Argument(format!("lambda must be positive and finite, not {lambda}")));
    }
    let squares = f.grid().squares();
    let h = f.map(|i, v| lambda * v + squares[i] / 2.0)?;
    let found = conjugate(engine, &h, at, context)?;
    let squares = at.squares();
    let function = found.function.map(|i, v| (squares[i] / 2.0 - v) / lambda)?;
    Ok(MoreauEnvelope { function, proximal: found.maximisers })
}

/// The infimal convolution `min_y (f(y) + g(x - y))` at the points of a grid, as `(f* + g*)*`: for convex `f` and `g`
/// as far as the slopes hold its subgradients, for others its convex envelope.
///
/// # Errors
/// As [`conjugate`].
pub fn infimal_convolution<E: SplineEngine>(
    engine: &E,
    f: &GridFunction,
    g: &GridFunction,
    slopes: &Grid,
    at: &Grid,
    context: &Context,
) -> Result<GridFunction> {
    let first = conjugate(engine, f, slopes, context)?.function;
    let second = conjugate(engine, g, slopes, context)?.function;
    let sum = first.map(|i, v| v + second.values()[i])?;
    Ok(conjugate(engine, &sum, at, context)?.function)
}
