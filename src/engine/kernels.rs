//! What kernels are told: the parameters that every engine shares.

use crate::{Error, Result, Scalar};

use super::Tensor;

pub use super::packing::{Packing, UnitWords};
pub use crate::activation::Activation;

/// Sliding windows over the last two axes, as ONNX has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub strides: [usize; 2],
    /// Steps between the elements of one window.
    pub dilations: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pads: [usize; 4],
}

impl Window {
    /// A window with stride 1, no dilation and no padding.
    pub fn new(kernel: [usize; 2]) -> Self {
        Self { kernel, strides: [1, 1], dilations: [1, 1], pads: [0; 4] }
    }

    /// The same with other strides.
    #[must_use]
    pub fn with_strides(self, strides: [usize; 2]) -> Self {
        Self { strides, ..self }
    }

    /// The same with padding: top, left, bottom, right.
    #[must_use]
    pub fn with_pads(self, pads: [usize; 4]) -> Self {
        Self { pads, ..self }
    }

    /// The same with other dilations.
    #[must_use]
    pub fn with_dilations(self, dilations: [usize; 2]) -> Self {
        Self { dilations, ..self }
    }

    /// How many windows fit into an image of `[height, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where none fits, or a length is 0 or overflows.
    pub fn output(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let along = |i: usize| -> Option<usize> {
            let reach = self.kernel[i].checked_sub(1)?.checked_mul(self.dilations[i])?.checked_add(1)?;
            let padded = size[i].checked_add(self.pads[i])?.checked_add(self.pads[i + 2])?;
            let steps = padded.checked_sub(reach)?.checked_div(self.strides[i])?;
            (self.dilations[i] > 0).then_some(steps + 1)
        };
        match (along(0), along(1)) {
            (Some(h), Some(w)) => Ok([h, w]),
            _ => Err(Error::Shape(format!("{self:?} does not fit into an image of {size:?}"))),
        }
    }

    /// The rows or columns (`axis` 0 or 1) of the image that window number `position` sees: for each element of
    /// the window its coordinate, `None` in the padding.
    pub fn coordinates(
        &self,
        axis: usize,
        position: usize,
        size: usize,
    ) -> impl Iterator<Item = Option<usize>> + '_ {
        let start = position * self.strides[axis];
        (0..self.kernel[axis]).map(move |k| {
            (start + k * self.dilations[axis]).checked_sub(self.pads[axis]).filter(|&i| i < size)
        })
    }
}

/// Elementwise arithmetic of two tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The smaller one.
    Min,
    /// The larger one.
    Max,
    /// 1 where `a >= b`, else 0.
    AtLeast,
}

impl Arithmetic {
    /// The operation on two numbers; NaN where one is.
    pub fn of<S: Scalar>(self, a: S, b: S) -> S {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            // Not `min` and `max`, which hide NaN.
            Self::Min if a <= b || a.is_nan() => a,
            Self::Max if a >= b || a.is_nan() => a,
            Self::Min | Self::Max => b,
            Self::AtLeast if a >= b => S::one(),
            Self::AtLeast => S::zero(),
        }
    }
}

/// What happens to a product's elements while they are at hand: `activation(product + bias)`.
#[derive(Debug)]
pub struct Epilogue<'a, B> {
    /// One number for each output feature (the last axis of a matrix product) or channel (of a convolution).
    pub bias: Option<&'a Tensor<B>>,
    /// The function of each element.
    pub activation: Option<Activation>,
}

impl<B> Epilogue<'_, B> {
    /// Nothing but the product.
    pub const NONE: Self = Self { bias: None, activation: None };
}

// Derived, these would ask the same of the buffer.
impl<B> Clone for Epilogue<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Epilogue<'_, B> {}

/// The curvatures `(a, b)` of one output: `g + (a/2)|x|^2` convex, `g - (b/2)|x|^2` concave.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Curvature {
    /// For the convex half; at least 0.
    pub a: f64,
    /// For the concave half; at least 0.
    pub b: f64,
}

impl Curvature {
    /// `a = b = c`, as published (Perrett, Wood & Brown 2023).
    pub fn isotropic(c: f64) -> Self {
        Self { a: c, b: c }
    }

    /// The weights of the lower and of the upper envelope in the spline, `b / (a + b)` and `a / (a + b)`; one
    /// half each where both are 0.
    pub fn weights(self) -> [f64; 2] {
        let sum = self.a + self.b;
        if sum > 0.0 { [self.b / sum, self.a / sum] } else { [0.5, 0.5] }
    }
}

/// Jets of a network at `M` anchors: `x_i`, `g(x_i)` and `dg/dx(x_i)`.
#[derive(Debug, Clone)]
pub struct Jets<B> {
    /// Anchors `[M, D]`.
    pub points: Tensor<B>,
    /// Values `[M, K]`.
    pub values: Tensor<B>,
    /// Jacobians `[M, K, D]`.
    pub jacobians: Tensor<B>,
}

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
    pub(super) fn blocks(&self) -> usize {
        self.right.shape()[2] * self.positions()
    }

    /// `P`
    pub(super) fn positions(&self) -> usize {
        self.right.shape()[3]
    }

    /// Elements that one sample holds.
    pub fn elements(&self) -> usize {
        let all = self.right.len() + self.left.as_ref().map_or(0, Tensor::len);
        all / self.right.rows().max(1)
    }
}

/// What envelopes are wanted.
#[derive(Debug, Clone)]
pub struct EnvelopeSpec {
    /// `[C][K]`: for each variant the curvatures of all outputs.
    pub curvatures: Vec<Vec<Curvature>>,
    /// How many families of pieces are followed at once.
    pub families: usize,
    /// How many slots (disjoint sets of anchors, each with its own envelope) a family has.
    pub slots: usize,
    /// How many of the best pieces are wanted, at least 1: from 2 on the margin to the runner-up is there.
    pub top: usize,
    /// Whether the active pieces are wanted beside the values.
    pub pieces: bool,
    /// How the best pieces are looked for.
    pub search: Search,
}

impl EnvelopeSpec {
    /// One family with one slot, with active pieces.
    pub fn single(curvatures: Vec<Curvature>) -> Self {
        Self {
            curvatures: vec![curvatures],
            families: 1,
            slots: 1,
            top: 1,
            pieces: true,
            search: Search::Pruned,
        }
    }

    /// Envelopes for each point and output.
    pub fn variants(&self) -> usize {
        self.families * self.curvatures.len() * self.slots
    }
}

/// Finished envelopes, each array `[families, C, slots, K, top, N]`.
///
/// `lower` is `max_i T_i - (a/2) d_i^2`, `upper` is `min_i T_i + (b/2) d_i^2`; behind the best piece come the next ones,
/// in order. Where there are no more anchors stand `-S::MAX` and `S::MAX` and pieces `u32::MAX`.
#[derive(Debug, Clone)]
pub struct EnvelopeValues<S> {
    /// The largest of the lower bounds.
    pub lower: Vec<S>,
    /// The smallest of the upper bounds.
    pub upper: Vec<S>,
    /// The anchor that is active in `lower`; empty if not wanted.
    pub lower_piece: Vec<u32>,
    /// The anchor that is active in `upper`; empty if not wanted.
    pub upper_piece: Vec<u32>,
    /// Pairs of point and anchor that were compared, of `N M K`; a pair in one half alone counts as half.
    pub scored: u64,
}

/// What soft envelopes are wanted: `T` means of tangents and `C` pairs of soft halves, all in one pass.
///
/// With `T_i(x) = v_i + J_i (x - x_i)` and `d_i = |x - x_i|`, sums over all anchors `i`:
///
/// ```text
/// nearest = sum_i w_i T_i / sum_i w_i        w_i = exp(-d_i^2 / (2 tau))
/// lower   =  tau' log sum_i exp( (T_i - (a/2) d_i^2) / tau')
/// upper   = -tau' log sum_i exp(-(T_i + (b/2) d_i^2) / tau')
/// ```
///
/// All are smooth, not piecewise affine. Towards temperature 0 they go over into the nearest tangent (the mean of
/// those equally near) and into the envelopes; `lower` lies above its envelope and `upper` below, by `tau' log M`
/// at most. Temperatures beyond `1e-30..1e30` count as these.
///
/// Accuracy: the exponents of `nearest` magnify what is wrong with distances by `1 / (2 tau)`. Every engine computes
/// distances from the difference itself, with a relative error `e` that was 5e-7 at most in `f32` (up to 3000 elements,
/// however far from the origin); the expanded form loses 1e-4 and more. A mean is off by `e d^2 / (2 tau)` times the
/// spread of the tangents that take part, `d^2` that of the nearest anchor, beside the rounding of the tangents: by
/// 3e-4 for 784 elements where `d^2 / (2 tau)` is 5000, by 2e-6 where it is 50. The halves magnify nothing: they are
/// as accurate as their largest score.
#[derive(Debug, Clone, Default)]
pub struct SoftSpec {
    /// `tau` of each mean of tangents, in units of squared distance; positive.
    pub nearest: Vec<f64>,
    /// The soft halves.
    pub halves: Vec<SoftHalves>,
}

/// The curvatures and the softness of a pair of soft halves.
#[derive(Debug, Clone)]
pub struct SoftHalves {
    /// For all `K` outputs.
    pub curvatures: Vec<Curvature>,
    /// `tau'`, in units of the outputs; positive.
    pub temperature: f64,
}

/// Finished soft envelopes. Where there was no anchor, `lower` is `-S::MAX` and the others are `S::MAX`.
#[derive(Debug, Clone)]
pub struct SoftValues<S> {
    /// Means of tangents `[T, K, N]`.
    pub nearest: Vec<S>,
    /// Soft maxima of the lower bounds `[C, K, N]`.
    pub lower: Vec<S>,
    /// Soft minima of the upper bounds `[C, K, N]`.
    pub upper: Vec<S>,
}

/// What one soft sum is over: `exp(s / temperature)` of scores `s = sign T - half d^2`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Softness {
    /// 1 for lower halves, -1 for upper ones, 0 for means of tangents.
    pub sign: f64,
    /// Half the curvature; 1 for means of tangents.
    pub half: f64,
    pub temperature: f64,
}

impl Softness {
    /// How far below the largest a score can lie: farther ones count as there, where exp(-80) = 2e-35 weighs nothing
    /// in any type. Smaller weights would be subnormal in `f32`, which takes a hundred times as long.
    pub(super) fn reach(self) -> f64 {
        80.0 * self.temperature
    }
}

impl SoftSpec {
    /// The soft sums `[T + 2 C, K]`: of the means of tangents, the lower halves and the upper ones.
    pub(super) fn sums(&self, outputs: usize) -> Vec<Softness> {
        let within = |temperature: f64| temperature.clamp(1e-30, 1e30);
        let nearest = self.nearest.iter().flat_map(|&tau| {
            let one = Softness { sign: 0.0, half: 1.0, temperature: 2.0 * within(tau) };
            std::iter::repeat_n(one, outputs)
        });
        let halves = |sign: f64| {
            self.halves.iter().flat_map(move |halves| {
                let temperature = within(halves.temperature);
                halves.curvatures.iter().map(move |c| {
                    let half = if sign > 0.0 { c.a } else { c.b } / 2.0;
                    Softness { sign, half, temperature }
                })
            })
        };
        nearest.chain(halves(1.0)).chain(halves(-1.0)).collect()
    }
}

impl<S: Scalar> SoftValues<S> {
    /// Takes values `[T + 2 C, K, N]` apart, of which so many (`T K N`) are means of tangents.
    pub(super) fn of(mut values: Vec<S>, means: usize) -> Self {
        let mut lower = values.split_off(means);
        let upper = lower.split_off(lower.len() / 2);
        Self { nearest: values, lower, upper }
    }
}

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

/// A discrete conjugate on a grid of slopes.
#[derive(Debug, Clone)]
pub struct ConjugateValues<S> {
    /// `max_x (s . x - f(x))`, row-major; `-S::MAX` where the domain is empty.
    pub values: Vec<S>,
    /// The grid's elements that attain them, by their positions in row-major order; `u32::MAX` where the domain is
    /// empty.
    pub maximisers: Vec<u32>,
}

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

/// The pieces that one step of descent moves, and what pulls at them: points, with the derivative of the loss with
/// respect to their maxima.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pulls<S> {
    /// The pieces, ascending.
    pub pieces: Vec<u32>,
    /// Where the points of each begin; one more, where they end.
    pub starts: Vec<u32>,
    /// The points of all pieces, ascending within each.
    pub points: Vec<u32>,
    /// Their derivatives.
    pub derivatives: Vec<S>,
}

impl<S: Scalar> Pulls<S> {
    /// Each point pulls at its active piece.
    pub fn new(active: &[u32], derivatives: &[S]) -> Self {
        let mut order: Vec<u32> = (0..active.len() as u32).collect();
        order.sort_by_key(|&n| active[n as usize]);
        let mut pulls = Self::default();
        for (at, &n) in order.iter().enumerate() {
            if pulls.pieces.last() != Some(&active[n as usize]) {
                pulls.pieces.push(active[n as usize]);
                pulls.starts.push(at as u32);
            }
        }
        pulls.starts.push(order.len() as u32);
        pulls.derivatives = order.iter().map(|&n| derivatives[n as usize]).collect();
        pulls.points = order;
        pulls
    }

    /// The pieces with their places in `points`.
    pub fn groups(&self) -> impl Iterator<Item = (u32, std::ops::Range<usize>)> {
        let ranges = self.starts.windows(2).map(|ends| ends[0] as usize..ends[1] as usize);
        self.pieces.iter().copied().zip(ranges)
    }
}

/// A step of descent with adapted rates (Adam; Kingma & Ba 2015).
///
/// A piece that no point pulls at stays as it is, with its moments: what a step costs follows from the points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// How far a coefficient moves at most, about.
    pub rate: f64,
    /// The number of the step, from 1.
    pub number: u32,
}

impl Step {
    /// How much of the mean of derivatives, and of their squares, a step keeps.
    pub const KEPT: [f64; 2] = [0.9, 0.99];

    /// Added to the root of the mean square.
    pub const LEAST: f64 = 1e-8;

    /// The rate with the moments' start from 0 undone.
    pub fn corrected(self) -> f64 {
        let [mean, square] = Self::KEPT.map(|kept| 1.0 - kept.powi(self.number.min(100_000) as i32));
        self.rate * square.sqrt() / mean
    }
}

/// Which terms of two power series make each term of their product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductTable {
    /// Where the pairs of each term begin, and where the last ends.
    pub starts: Vec<u32>,
    /// A term of the first series and one of the second.
    pub pairs: Vec<[u32; 2]>,
}

impl ProductTable {
    /// How many terms the product has.
    pub fn terms(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The pairs of a term.
    pub fn pairs_of(&self, term: usize) -> &[[u32; 2]] {
        &self.pairs[self.starts[term] as usize..self.starts[term + 1] as usize]
    }
}
