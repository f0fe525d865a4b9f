//! Dense layers: Gemm, and MatMul with a constant.

use crate::engine::{Engine, Epilogue, IndicesOf, TensorOf};
use crate::network::Constant;
use crate::{Error, Result};

use super::{Kind, Operator, Pass, Unary, upload};

/// `x W + b` over the last axis: `[.., in] -> [.., out]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    weights: Constant,
    bias: Option<Constant>,
}

impl Dense {
    /// Weights `[in, out]`, bias `[out]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together.
    pub fn new(weights: Constant, bias: Option<Constant>) -> Result<Self> {
        let &[inputs, outputs] = weights.shape() else {
            return Err(Error::Shape(format!("dense weights must be a matrix, not {:?}", weights.shape())));
        };
        if inputs == 0 || outputs == 0 {
            return Err(Error::Shape(format!("dense weights {:?} are empty", weights.shape())));
        }
        if let Some(bias) = &bias
            && bias.shape() != [outputs]
        {
            return Err(Error::Shape(format!("a bias {:?} does not fit {outputs} outputs", bias.shape())));
        }
        Ok(Self { weights, bias })
    }

    /// `[in, out]`
    pub fn weights(&self) -> &Constant {
        &self.weights
    }

    /// `[out]`
    pub fn bias(&self) -> Option<&Constant> {
        self.bias.as_ref()
    }

    pub(super) fn prepare<E: Engine>(&self, engine: &E) -> Result<PreparedDense<E>> {
        let &[inputs, outputs] = self.weights.shape() else { unreachable!("checked by new") };
        let values: Vec<E::Scalar> = self.weights.to();
        let transposed: Vec<E::Scalar> = self.weights.transposed()?.to();
        Ok(PreparedDense {
            weights: engine.matrix(&values, inputs, outputs)?,
            transposed: engine.matrix(&transposed, outputs, inputs)?,
            bias: upload(engine, self.bias.as_ref())?,
        })
    }
}

impl Operator for Dense {
    fn name(&self) -> &'static str {
        "Gemm"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0].split_last() {
            Some((&last, rest)) if last == self.weights.shape()[0] => {
                Ok([rest, &[self.weights.shape()[1]]].concat())
            }
            _ => Err(Error::Shape(format!(
                "a dense layer of {} inputs does not fit samples of shape {:?}",
                self.weights.shape()[0],
                inputs[0]
            ))),
        }
    }

    fn parameters(&self) -> usize {
        self.weights.len() + self.bias.as_ref().map_or(0, Constant::len)
    }
}

pub(super) struct PreparedDense<E: Engine> {
    weights: E::Matrix,
    transposed: E::Matrix,
    bias: Option<TensorOf<E>>,
}

impl<E: Engine> Unary<E> for PreparedDense<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((
            engine.matmul(x, None, &self.weights, Epilogue { bias: self.bias.as_ref(), activation: None })?,
            None,
        ))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.matmul(tangent, None, &self.weights, Epilogue::NONE)
    }

    fn vector_jacobian(&self, engine: &E, _: &Pass<'_, E>, cotangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.matmul(cotangent, None, &self.transposed, Epilogue::NONE)
    }
}
