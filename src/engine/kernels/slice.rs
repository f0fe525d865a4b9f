//! Maxima of planes over an image.

/// Maxima of planes at the pixels of an image.
#[derive(Debug, Clone)]
pub struct SliceValues<S> {
    /// The largest of `p_i s + q_i t + r_i` `[H, W]`; `-S::MAX` where there are no planes.
    pub values: Vec<S>,
    /// The plane that attains it `[H, W]`, of equals the first; `u32::MAX` where there are none.
    pub pieces: Vec<u32>,
    /// Pairs of pixel and plane that were compared, of `H W M`.
    pub scored: u64,
}
