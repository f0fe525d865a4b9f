//! What kernels are told: the parameters that every engine shares.

use crate::{Error, Result, Scalar};

use super::Tensor;

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

/// What envelopes are wanted.
#[derive(Debug, Clone)]
pub struct EnvelopeSpec {
    /// `[C][K]`: for each variant the curvatures of all outputs.
    pub curvatures: Vec<Vec<Curvature>>,
    /// How many families of pieces are followed at once.
    pub families: usize,
    /// How many slots (disjoint sets of anchors, each with its own envelope) a family has.
    pub slots: usize,
    /// Whether the active pieces are wanted beside the values.
    pub pieces: bool,
}

impl EnvelopeSpec {
    /// One family with one slot, with active pieces.
    pub fn single(curvatures: Vec<Curvature>) -> Self {
        Self { curvatures: vec![curvatures], families: 1, slots: 1, pieces: true }
    }

    /// Envelopes for each point and output.
    pub fn variants(&self) -> usize {
        self.families * self.curvatures.len() * self.slots
    }
}

/// Finished envelopes, each array `[families, C, slots, K, N]`.
///
/// `lower` is `max_i T_i - (a/2) d_i^2`, `upper` is `min_i T_i + (b/2) d_i^2`. A slot without anchors holds
/// `-S::MAX` and `S::MAX` and pieces `u32::MAX`.
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
}
