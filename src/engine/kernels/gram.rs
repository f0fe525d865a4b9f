//! What inner products are made of.

use crate::engine::Tensor;

/// What inner products of some rows are made of: with `G` groups and `P` positions, for rows `x` and `y`
///
/// ```text
/// sum over groups g and positions p, q of  (left_x[g, p] . left_y[g, q] + c) (right_x[g, p] . right_y[g, q])
/// ```
///
/// There are `r` rows to each of `N` samples; a factor that is the same for all of them has the length 1 in the place of
/// `r`. The two sides of a product have the same lengths but for `N`.
#[derive(Debug, Clone)]
pub struct Factors<B> {
    /// `[N, r, G, P, I]`; `None` where the first bracket is 1.
    pub left: Option<Tensor<B>>,
    /// `[N, r, G, P, O]`
    pub right: Tensor<B>,
    /// Whether `c` is 1, not 0.
    pub constant: bool,
}

impl<B: Clone> Factors<B> {
    /// `r`
    pub fn repeats(&self) -> usize {
        self.right.shape()[1].max(self.left.as_ref().map_or(1, |left| left.shape()[1]))
    }

    /// `N r`
    pub fn rows(&self) -> usize {
        self.right.rows() * self.repeats()
    }

    /// `G P`
    pub(in crate::engine) fn blocks(&self) -> usize {
        self.right.shape()[2] * self.positions()
    }

    /// `P`
    pub(in crate::engine) fn positions(&self) -> usize {
        self.right.shape()[3]
    }

    /// Elements that one sample holds.
    pub fn elements(&self) -> usize {
        let all = self.right.len() + self.left.as_ref().map_or(0, Tensor::len);
        all / self.right.rows().max(1)
    }
}
