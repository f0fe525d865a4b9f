//! The table of operators: one file for each family, one entry for each operator.
//!
//! An entry has two faces. [`Operator`] is what it is: its name, shapes and properties, free of any engine.
//! [`Prepared`] is what it does on an engine, with its weights laid out there. Every tool asks the table and
//! never looks into a graph in its own way. A [`Slot`] that an operator lacks is refused by name.
//!
//! To add an operator: a struct in the file of its family with both faces, a variant of [`Op`], a line in
//! [`Op::operator`] and one in [`Op::prepare`]; one in `Op::bend` too where it is piecewise affine.

mod activation;
mod arithmetic;
mod bend;
mod broadcast;
mod convolution;
mod dense;
mod fixed;
mod layout;
mod normalization;
mod operator;
mod parameters;
mod piecewise;
mod pooling;
mod prelu;
mod prepared;
mod reduction;
mod select;
mod softmax;

use crate::Result;
use crate::engine::{Activation, Engine, TensorOf};

use super::difference::{Pair, Rewriting, SignedOp};
use super::{Constant, ConvexRule};

pub use crate::activation::{AffinePiece, PiecewiseAffine};
pub use arithmetic::{ArithmeticConstant, Branches};
pub(crate) use bend::{Bend, Table, Windows};
pub use convolution::{Convolution, ConvolutionTransposed};
pub use dense::{Dense, Product};
pub use fixed::Fixed;
pub use layout::{Concat, Expand, Pad, Permute, Reshape};
pub use normalization::{ScaleShift, Standardize};
pub use operator::{Kind, Operator, Remembers, SeriesRule, Slot};
pub use parameters::{ParameterFactors, ParameterValues};
pub use pooling::{AveragePool, MaxPool};
pub use prelu::PRelu;
pub use prepared::{Pass, Prepared};
pub use reduction::{Reduce, ReduceMax};
pub use select::{Interpolate, Select};
pub use softmax::Softmax;

pub(super) use bend::repeated_elements;
pub(super) use broadcast::{batched, broadcast};
use broadcast::{directions, expand, gate, gated, repeated, scale_directions, unbroadcast};
use prepared::{Single, Unary};

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

/// An optional vector of parameters on the engine.
fn upload<E: Engine>(engine: &E, values: Option<&Constant>) -> Result<Option<TensorOf<E>>> {
    let upload = |values: &Constant| engine.upload(&values.to::<E::Scalar>(), values.shape());
    values.map(upload).transpose()
}
