//! Elementwise arithmetic.

use crate::Scalar;

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
