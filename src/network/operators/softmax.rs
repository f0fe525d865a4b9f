//! Softmax inside a network.

use crate::engine::{Arithmetic, Engine, IndicesOf, TensorOf};
use crate::{Error, Result};

use super::{Kind, Operator, Pass, Remembers, Unary, scale_directions};

/// `exp(x) / sum of exp(x)` along an axis of a sample, or its logarithm.
#[derive(Debug, Clone, PartialEq)]
pub struct Softmax {
    /// The axis.
    pub axis: usize,
    /// Whether the logarithm is taken.
    pub log: bool,
}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "LogSoftmax" } else { "Softmax" }
    }

    fn kind(&self) -> Kind {
        Kind::Smooth
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        if self.axis >= inputs[0].len() {
            return Err(Error::Shape(format!("samples of shape {:?} have no axis {}", inputs[0], self.axis)));
        }
        Ok(inputs[0].to_vec())
    }

    fn remembers(&self) -> Remembers {
        if self.log { Remembers::INPUTS } else { Remembers::OUTPUT }
    }
}

impl Softmax {
    /// The softmax itself.
    fn shares<E: Engine>(&self, engine: &E, pass: &Pass<'_, E>) -> Result<TensorOf<E>> {
        if self.log { engine.softmax(pass.input(0), self.axis + 1, false) } else { Ok(pass.output().clone()) }
    }
}

impl<E: Engine> Unary<E> for Softmax {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((engine.softmax(x, self.axis + 1, self.log)?, None))
    }

    /// `s * (t - sum of s * t)`; for the logarithm `t - sum of s * t`.
    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        let shares = self.shares(engine, pass)?;
        let weighted = scale_directions(engine, tangent, &shares)?;
        let mean = engine.sum(&weighted, &[self.axis + 1])?;
        if self.log {
            return engine.arithmetic(Arithmetic::Sub, tangent, &mean);
        }
        engine.arithmetic(Arithmetic::Sub, &weighted, &scale_directions(engine, &mean, &shares)?)
    }

    /// The Jacobian of softmax is symmetric; for the logarithm `c - s * sum of c`.
    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        if !self.log {
            return self.jacobian_vector(engine, pass, cotangent);
        }
        let sum = engine.sum(cotangent, &[self.axis + 1])?;
        let shared = scale_directions(engine, &sum, &self.shares(engine, pass)?)?;
        engine.arithmetic(Arithmetic::Sub, cotangent, &shared)
    }
}
