//! The table of operators: one file for each family, one entry for each operator.
//!
//! An entry has two faces. [`Operator`] is what it is: its name, shapes and properties, free of any engine.
//! [`Prepared`] is what it does on an engine, with its weights laid out there. Every tool asks the table and
//! never looks into a graph in its own way. A [`Slot`] that an operator lacks is refused by name.
//!
//! To add an operator: a struct in the file of its family with both faces, a variant of [`Op`], a line in
//! [`Op::operator`] and one in [`Op::prepare`].

mod activation;
mod arithmetic;
mod broadcast;
mod convolution;
mod dense;
mod fixed;
mod layout;
mod normalization;
mod parameters;
mod piecewise;
mod pooling;
mod prelu;
mod reduction;
mod select;
mod softmax;

use std::fmt;

use crate::Result;
use crate::engine::{Activation, Engine, IndicesOf, Packing, TensorOf};

use super::difference::{Pair, Rewriting, SignedOp};
use super::{Constant, ConvexRule};

pub use crate::activation::{AffinePiece, PiecewiseAffine};
pub use arithmetic::{ArithmeticConstant, Branches};
pub use convolution::{Convolution, ConvolutionTransposed};
pub use dense::{Dense, Product};
pub use fixed::Fixed;
pub use layout::{Concat, Expand, Pad, Permute, Reshape};
pub use normalization::{ScaleShift, Standardize};
pub use parameters::{ParameterFactors, ParameterValues};
pub use pooling::{AveragePool, MaxPool};
pub use prelu::PRelu;
pub use reduction::{Reduce, ReduceMax};
pub use select::{Interpolate, Select};
pub use softmax::Softmax;

pub(super) use broadcast::{batched, broadcast};
use broadcast::{directions, expand, gate, gated, repeated, scale_directions, unbroadcast};

/// An operator of the table, with its parameters.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// `x W + b` over the last axis.
    Dense(Dense),
    /// The product of two computed matrices.
    Product(Product),
    /// Convolution of images.
    Convolution(Convolution),
    /// Transposed convolution of images.
    ConvolutionTransposed(ConvolutionTransposed),
    /// A scale and a shift for each channel (batch normalisation at inference).
    ScaleShift(ScaleShift),
    /// The core of layer, instance and group normalisation.
    Standardize(Standardize),
    /// Softmax or its logarithm.
    Softmax(Softmax),
    /// The largest value of each window.
    MaxPool(MaxPool),
    /// The mean of each window.
    AveragePool(AveragePool),
    /// A sum or a mean over axes.
    Reduce(Reduce),
    /// The largest value over axes.
    ReduceMax(ReduceMax),
    /// An elementwise function.
    Activation(Activation),
    /// An elementwise function by a table of affine pieces.
    PiecewiseAffine(PiecewiseAffine),
    /// ReLU with a slope of its own for each channel or element below 0.
    PRelu(PRelu),
    /// Arithmetic with a constant.
    ArithmeticConstant(ArithmeticConstant),
    /// Arithmetic of two branches.
    Branches(Branches),
    /// Branches joined along an axis.
    Concat(Concat),
    /// A constant border.
    Pad(Pad),
    /// The same elements under another shape.
    Reshape(Reshape),
    /// Axes in another order.
    Permute(Permute),
    /// Elements repeated along axes of length 1.
    Expand(Expand),
    /// Elements of an axis by constant indices.
    Select(Select),
    /// Linear interpolation along an axis.
    Interpolate(Interpolate),
    /// A value that does not depend on the input.
    Fixed(Fixed),
}

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

/// What a tool may ask of an operator. The first five every operator has: whatever is written over the [`Engine`]
/// trait gives second derivatives on [`Dual`](crate::engine::Dual) and bounds on
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

/// What is left of an operator's forward pass. Batches `[N, ..]`; tangents and cotangents `[N * r, ..]`, `r`
/// directions for each sample.
pub struct Pass<'a, E: Engine> {
    inputs: Vec<Option<&'a TensorOf<E>>>,
    output: Option<&'a TensorOf<E>>,
    shapes: Vec<&'a [usize]>,
    picked: Option<&'a IndicesOf<E>>,
}

impl<'a, E: Engine> Pass<'a, E> {
    /// From values, where they are still there, sample shapes of the inputs, and what max-pooling picked.
    pub(super) fn new(
        inputs: Vec<Option<&'a TensorOf<E>>>,
        output: Option<&'a TensorOf<E>>,
        shapes: Vec<&'a [usize]>,
        picked: Option<&'a IndicesOf<E>>,
    ) -> Self {
        Self { inputs, output, shapes, picked }
    }

    /// An input, of an operator that remembers them.
    fn input(&self, i: usize) -> &'a TensorOf<E> {
        match self.inputs[i] {
            Some(input) => input,
            None => unreachable!("the operator says that it does not remember its inputs"),
        }
    }

    /// The output, of an operator that remembers it.
    fn output(&self) -> &'a TensorOf<E> {
        match self.output {
            Some(output) => output,
            None => unreachable!("the operator says that it does not remember its output"),
        }
    }

    /// The shape of a sample of an input.
    fn shape(&self, i: usize) -> &'a [usize] {
        self.shapes[i]
    }
}

/// What an operator does on an engine.
pub trait Prepared<E: Engine>: Send + Sync {
    /// Values, and what max-pooling picked.
    fn forward(&self, engine: &E, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)>;

    /// Tangent of the output from tangents of the inputs, `None` where an input does not vary; at least one
    /// does.
    fn jacobian_vector(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        tangents: &[Option<&TensorOf<E>>],
    ) -> Result<TensorOf<E>>;

    /// Cotangents of those inputs that are `wanted` from the cotangent of the output.
    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
        wanted: &[bool],
    ) -> Result<Vec<Option<TensorOf<E>>>>;

    /// Packs the code of each unit at a batch, of an operator whose units have several pieces; its inputs and its output
    /// are all there.
    fn code(&self, _engine: &E, _pass: &Pass<'_, E>, _codes: &mut E::Codes, _packing: Packing) -> Result<()> {
        unreachable!("an operator whose units have several pieces has codes")
    }

    /// The factors of the gradient by its own parameters, from the cotangent of the output; `None` for an operator
    /// that has none.
    fn parameter_factors(
        &self,
        _engine: &E,
        _pass: &Pass<'_, E>,
        _cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        Ok(None)
    }
}

impl Op {
    /// What it is.
    pub fn operator(&self) -> &dyn Operator {
        match self {
            Self::Dense(op) => op,
            Self::Convolution(op) => op,
            Self::ScaleShift(op) => op,
            Self::MaxPool(op) => op,
            Self::AveragePool(op) => op,
            Self::Reduce(op) => op,
            Self::ReduceMax(op) => op,
            Self::PRelu(op) => op,
            Self::Product(op) => op,
            Self::ConvolutionTransposed(op) => op,
            Self::Standardize(op) => op,
            Self::Softmax(op) => op,
            Self::Expand(op) => op,
            Self::Select(op) => op,
            Self::Interpolate(op) => op,
            Self::Fixed(op) => op,
            Self::Activation(op) => op,
            Self::PiecewiseAffine(op) => op,
            Self::ArithmeticConstant(op) => op,
            Self::Branches(op) => op,
            Self::Concat(op) => op,
            Self::Pad(op) => op,
            Self::Reshape(op) => op,
            Self::Permute(op) => op,
        }
    }

    /// Lays it out on an engine, for inputs of these shapes.
    ///
    /// # Errors
    /// Where the engine cannot hold its weights.
    pub fn prepare<E: Engine>(&self, engine: &E, inputs: &[&[usize]]) -> Result<Box<dyn Prepared<E>>> {
        Ok(match self {
            Self::Dense(op) => Box::new(Single(op.prepare(engine)?)),
            Self::Convolution(op) => Box::new(Single(op.prepare(engine, inputs[0])?)),
            Self::ScaleShift(op) => Box::new(Single(op.prepare(engine, inputs[0])?)),
            Self::MaxPool(op) => Box::new(Single(op.clone())),
            Self::AveragePool(op) => Box::new(Single(op.clone())),
            Self::Reduce(op) => Box::new(Single(op.clone())),
            Self::ReduceMax(op) => Box::new(Single(op.clone())),
            Self::PRelu(op) => Box::new(Single(op.prepare(engine, inputs[0])?)),
            Self::Product(op) => Box::new(op.clone()),
            Self::ConvolutionTransposed(op) => Box::new(Single(op.prepare(engine)?)),
            Self::Standardize(op) => Box::new(Single(op.clone())),
            Self::Softmax(op) => Box::new(Single(op.clone())),
            Self::Expand(op) => Box::new(Single(op.clone())),
            Self::Select(op) => Box::new(Single(op.clone())),
            Self::Interpolate(op) => Box::new(Single(op.prepare(engine, inputs[0])?)),
            Self::Fixed(op) => Box::new(op.prepare(engine)?),
            Self::Activation(op) => Box::new(Single(*op)),
            Self::PiecewiseAffine(op) => Box::new(Single(op.clone())),
            Self::ArithmeticConstant(op) => Box::new(Single(op.prepare(engine, inputs[0])?)),
            Self::Branches(op) => Box::new(op.clone()),
            Self::Concat(op) => Box::new(op.clone()),
            Self::Pad(op) => Box::new(Single(op.clone())),
            Self::Reshape(op) => Box::new(Single(op.clone())),
            Self::Permute(op) => Box::new(Single(op.clone())),
        })
    }
}

/// [`Prepared`] for an operator of one input: what most operators implement.
trait Unary<E: Engine>: Send + Sync {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)>;

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>>;

    fn vector_jacobian(&self, engine: &E, pass: &Pass<'_, E>, cotangent: &TensorOf<E>)
    -> Result<TensorOf<E>>;

    fn code(&self, _engine: &E, _pass: &Pass<'_, E>, _codes: &mut E::Codes, _packing: Packing) -> Result<()> {
        unreachable!("an operator whose units have several pieces has codes")
    }

    fn parameter_factors(
        &self,
        _engine: &E,
        _pass: &Pass<'_, E>,
        _cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        Ok(None)
    }
}

/// Gives a [`Unary`] its place in the table.
struct Single<T>(T);

impl<E: Engine, T: Unary<E>> Prepared<E> for Single<T> {
    fn forward(&self, engine: &E, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        self.0.forward(engine, inputs[0])
    }

    fn jacobian_vector(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        tangents: &[Option<&TensorOf<E>>],
    ) -> Result<TensorOf<E>> {
        match tangents {
            [Some(tangent)] => self.0.jacobian_vector(engine, pass, tangent),
            _ => unreachable!("an operator of one input gets one tangent"),
        }
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<TensorOf<E>>>> {
        Ok(vec![Some(self.0.vector_jacobian(engine, pass, cotangent)?)])
    }

    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        self.0.code(engine, pass, codes, packing)
    }

    fn parameter_factors(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        self.0.parameter_factors(engine, pass, cotangent)
    }
}

/// An optional vector of parameters on the engine.
fn upload<E: Engine>(engine: &E, values: Option<&Constant>) -> Result<Option<TensorOf<E>>> {
    let upload = |values: &Constant| engine.upload(&values.to::<E::Scalar>(), values.shape());
    values.map(upload).transpose()
}
