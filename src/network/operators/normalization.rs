//! Normalisation layers.

use crate::engine::{Arithmetic, Engine, IndicesOf, TensorOf};
use crate::network::Constant;
use crate::{Error, Result};

use super::{Kind, Operator, Pass, Unary};

/// `scale[c] * x + shift[c]` for channel `c`, the first axis of a sample: batch normalisation at inference.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleShift {
    scale: Constant,
    shift: Constant,
}

impl ScaleShift {
    /// Scale and shift, both `[c]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together.
    pub fn new(scale: Constant, shift: Constant) -> Result<Self> {
        if scale.shape().len() != 1 || scale.shape() != shift.shape() || scale.is_empty() {
            return Err(Error::Shape(format!(
                "a scale {:?} and a shift {:?} do not fit together",
                scale.shape(),
                shift.shape()
            )));
        }
        Ok(Self { scale, shift })
    }

    /// `[c]`
    pub fn scale(&self) -> &Constant {
        &self.scale
    }

    /// `[c]`
    pub fn shift(&self) -> &Constant {
        &self.shift
    }

    pub(super) fn prepare<E: Engine>(&self, engine: &E, input: &[usize]) -> Result<PreparedScaleShift<E>> {
        let mut shape = vec![1; input.len() + 1];
        shape[1] = self.scale.len();
        Ok(PreparedScaleShift {
            scale: engine.upload(&self.scale.to::<E::Scalar>(), &shape)?,
            shift: engine.upload(&self.shift.to::<E::Scalar>(), &shape)?,
        })
    }
}

impl Operator for ScaleShift {
    fn name(&self) -> &'static str {
        "BatchNormalization"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        if inputs[0].first() != Some(&self.scale.len()) {
            return Err(Error::Shape(format!(
                "a normalisation of {} channels does not fit samples of shape {:?}",
                self.scale.len(),
                inputs[0]
            )));
        }
        Ok(inputs[0].to_vec())
    }

    fn parameters(&self) -> usize {
        2 * self.scale.len()
    }
}

pub(super) struct PreparedScaleShift<E: Engine> {
    scale: TensorOf<E>,
    shift: TensorOf<E>,
}

impl<E: Engine> Unary<E> for PreparedScaleShift<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let scaled = engine.arithmetic(Arithmetic::Mul, x, &self.scale)?;
        Ok((engine.arithmetic(Arithmetic::Add, &scaled, &self.shift)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.arithmetic(Arithmetic::Mul, tangent, &self.scale)
    }

    fn vector_jacobian(&self, engine: &E, _: &Pass<'_, E>, cotangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.arithmetic(Arithmetic::Mul, cotangent, &self.scale)
    }
}
