//! Maxima of affine pieces.

/// How the best pieces are looked for. Values and pieces are the same, to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Search {
    /// Without pairs of which a bound says that they cannot matter, where there are such bounds.
    #[default]
    Pruned,
    /// Every pair.
    Exhaustive,
}

/// What maxima of affine pieces are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxAffineSpec {
    /// How many of the best pieces, at least 1: from 2 on the margin to the runner-up is there.
    pub top: usize,
    /// Whether the pieces are wanted beside the values.
    pub pieces: bool,
    /// How they are looked for.
    pub search: Search,
}

impl Default for MaxAffineSpec {
    fn default() -> Self {
        Self { top: 1, pieces: true, search: Search::default() }
    }
}

/// Maxima of affine pieces at `N` points.
#[derive(Debug, Clone)]
pub struct MaxAffineValues<S> {
    /// The largest of `p_i . x_n - c_i`, the next ones behind `[top, N]`; `-S::MAX` where there are no more pieces.
    pub values: Vec<S>,
    /// The pieces that attain them `[top, N]`, of equals the first; `u32::MAX` where there are no more. Empty if not
    /// wanted.
    pub pieces: Vec<u32>,
    /// Pairs of point and piece that were compared, of `N M`.
    pub scored: u64,
}
