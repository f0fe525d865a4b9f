//! What an operator is, apart from any engine.

use std::fmt;

use crate::Result;
use crate::engine::Activation;
use crate::network::ConvexRule;

use super::ParameterValues;

/// How a function depends on its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Affine.
    Affine,
    /// Affine on each of finitely many polytopes.
    PiecewiseAffine,
    /// Anything else that is imported is smooth almost everywhere.
    Smooth,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Affine => "affine",
            Self::PiecewiseAffine => "piecewise affine",
            Self::Smooth => "smooth",
        })
    }
}

/// How power series go through an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SeriesRule {
    /// Term by term: the constant ones as values, all others as tangents.
    Linear,
    /// Through the Taylor series of an elementwise function.
    Elementwise(Activation),
    /// As a product of two series, element by element.
    Product,
}

/// What a tool may ask of an operator. The first five every operator has: whatever is written over the
/// [`Engine`](crate::engine::Engine) trait gives second derivatives on [`Dual`](crate::engine::Dual) and bounds on
/// [`Interval`](crate::engine::Interval).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slot {
    /// Values.
    Forward,
    /// Jacobian times vector.
    JacobianVector,
    /// Vector times Jacobian.
    VectorJacobian,
    /// Second derivative along directions.
    SecondDerivative,
    /// An interval that holds the values over a box of inputs.
    IntervalBounds,
    /// The affine pieces of each unit, and with them its code.
    AffinePieces,
    /// A convex and a concave part.
    ConvexSplit,
    /// How it acts on differences of convex functions.
    ConvexDifference,
    /// Taylor coefficients.
    TaylorSeries,
    /// The factors of the parameters' gradient.
    ParameterFactors,
}

impl Slot {
    /// The slot as messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "values",
            Self::JacobianVector => "Jacobian-vector products",
            Self::VectorJacobian => "vector-Jacobian products",
            Self::SecondDerivative => "second derivatives",
            Self::IntervalBounds => "interval bounds",
            Self::AffinePieces => "affine pieces",
            Self::ConvexSplit => "a convex and a concave part",
            Self::ConvexDifference => "an affine or continuous piecewise affine form",
            Self::TaylorSeries => "a Taylor series",
            Self::ParameterFactors => "factors of the parameter gradient",
        }
    }
}

/// What an operator is, apart from any engine. Shapes are those of one sample, without the batch.
pub trait Operator {
    /// Its name: that of the ONNX operator where there is one.
    fn name(&self) -> &'static str;

    /// How it depends on its inputs together.
    fn kind(&self) -> Kind;

    /// The shape of its output.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where the inputs do not fit.
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>>;

    /// The number of its parameters.
    fn parameters(&self) -> usize {
        0
    }

    /// Operations in its products for one sample; what is not a product does not count.
    fn flops(&self, _inputs: &[&[usize]]) -> u64 {
        0
    }

    /// Elements of scratch that one running task takes, for the planner.
    fn scratch(&self, _inputs: &[&[usize]]) -> usize {
        0
    }

    /// How many arrays as large as its inputs it holds while it works, beside inputs and result.
    fn intermediates(&self) -> usize {
        1
    }

    /// What of a forward pass its derivatives read again.
    fn remembers(&self) -> Remembers {
        Remembers::NOTHING
    }

    /// Whether it has a slot.
    fn has(&self, slot: Slot) -> bool {
        match slot {
            Slot::Forward
            | Slot::JacobianVector
            | Slot::VectorJacobian
            | Slot::SecondDerivative
            | Slot::IntervalBounds => true,
            Slot::AffinePieces => self.kind() != Kind::Smooth,
            Slot::ConvexSplit => self.kind() == Kind::Affine || self.activation().is_some(),
            Slot::TaylorSeries => self.series_rule(&[true, true]).is_some(),
            Slot::ConvexDifference => self.convex_rule().is_some(),
            Slot::ParameterFactors => self.parameters() == 0 || self.has_parameter_factors(),
        }
    }

    /// How many affine pieces each of its units, the elements of its output, has: 1 where it is affine, `None` where it
    /// is smooth.
    fn pieces_of_unit(&self, _inputs: &[&[usize]]) -> Option<usize> {
        (self.kind() == Kind::Affine).then_some(1)
    }

    /// Whether the gradient by its parameters has factors.
    fn has_parameter_factors(&self) -> bool {
        false
    }

    /// Its parameters, where their gradient has factors.
    ///
    /// # Errors
    /// None for an operator that its constructor let pass.
    fn parameter_values(&self) -> Result<ParameterValues> {
        Ok(ParameterValues { weights: None, bias: None })
    }

    /// How it acts on differences of convex functions.
    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        None
    }

    /// The elementwise function that it is.
    fn activation(&self) -> Option<Activation> {
        None
    }

    /// How power series go through it, given which of its inputs vary.
    fn series_rule(&self, _varies: &[bool]) -> Option<SeriesRule> {
        match self.activation() {
            _ if self.kind() == Kind::Affine => Some(SeriesRule::Linear),
            activation => activation.map(SeriesRule::Elementwise),
        }
    }
}

/// What of a forward pass an operator's derivatives read again, beside shapes and what max-pooling picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembers {
    /// Its inputs.
    pub inputs: bool,
    /// Its output.
    pub output: bool,
}

impl Remembers {
    /// Nothing: it is linear, or all is in the picks.
    pub const NOTHING: Self = Self { inputs: false, output: false };
    /// Its inputs.
    pub const INPUTS: Self = Self { inputs: true, output: false };
    /// Its output.
    pub const OUTPUT: Self = Self { inputs: false, output: true };
    /// Both.
    pub const ALL: Self = Self { inputs: true, output: true };
}
