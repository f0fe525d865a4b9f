//! Conjugates on grids.

/// A discrete conjugate on a grid of slopes.
#[derive(Debug, Clone)]
pub struct ConjugateValues<S> {
    /// `max_x (s . x - f(x))`, row-major; `-S::MAX` where the domain is empty.
    pub values: Vec<S>,
    /// The grid's elements that attain them, by their positions in row-major order; `u32::MAX` where the domain is
    /// empty.
    pub maximisers: Vec<u32>,
}
