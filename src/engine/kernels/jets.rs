//! Jets, and the curvatures that bend their tangents.

use crate::engine::Tensor;

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
