//! ReLU with slopes of its own below 0.

use crate::engine::{Activation, Arithmetic, Engine, IndicesOf, Packing, TensorOf};
use crate::network::Constant;
use crate::{Error, Result};

use super::{
    ConvexRule, Kind, Operator, Pair, ParameterFactors, ParameterValues, Pass, Remembers, Rewriting, Unary,
    batched, broadcast, scale_directions,
};

/// `x` above 0, `slope * x` at and below 0, with a slope for each channel or element.
#[derive(Debug, Clone, PartialEq)]
pub struct PRelu {
    /// The slopes; aligned with the last axes of a sample.
    pub slopes: Constant,
}

impl Operator for PRelu {
    fn name(&self) -> &'static str {
        "PRelu"
    }

    fn kind(&self) -> Kind {
        Kind::PiecewiseAffine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [_, _, joined] = broadcast(inputs[0], self.slopes.shape())?;
        if joined != inputs[0] {
            return Err(Error::Shape(format!(
                "slopes {:?} do not fit samples of shape {:?}",
                self.slopes.shape(),
                inputs[0]
            )));
        }
        Ok(joined)
    }

    fn pieces_of_unit(&self, _: &[&[usize]]) -> Option<usize> {
        Some(2)
    }

    fn parameters(&self) -> usize {
        self.slopes.len()
    }

    fn has_parameter_factors(&self) -> bool {
        true
    }

    fn parameter_values(&self) -> Result<ParameterValues> {
        ParameterValues::elementwise(Some(&self.slopes), None)
    }

    fn intermediates(&self) -> usize {
        2
    }

    fn remembers(&self) -> Remembers {
        Remembers::INPUTS
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for PRelu {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let ones = self.slopes.map(|_, _| 1.0)?;
        rewriting.bent(self.clone().into(), &[self.slopes.clone(), ones], &[0.0], 0.0, inputs[0])
    }
}

impl PRelu {
    pub(super) fn prepare<E: Engine>(&self, engine: &E, input: &[usize]) -> Result<PreparedPRelu<E>> {
        let [_, slopes, _] = broadcast(input, self.slopes.shape())?;
        let slopes = engine.upload(&self.slopes.to::<E::Scalar>(), &batched(1, &slopes))?;
        Ok(PreparedPRelu { slopes })
    }
}

pub(super) struct PreparedPRelu<E: Engine> {
    /// `[1, ..]`
    slopes: TensorOf<E>,
}

/// The half of the line below 0.
const BELOW: Activation = Activation::Clip { low: f64::NEG_INFINITY, high: 0.0 };

impl<E: Engine> PreparedPRelu<E> {
    /// `max(x, 0) + slope * min(x, 0)`, or its derivative.
    fn apply(&self, engine: &E, order: u8, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        let below = engine.arithmetic(Arithmetic::Mul, &engine.activate(BELOW, order, x)?, &self.slopes)?;
        engine.arithmetic(Arithmetic::Add, &engine.activate(Activation::Relu, order, x)?, &below)
    }
}

impl<E: Engine> Unary<E> for PreparedPRelu<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((self.apply(engine, 0, x)?, None))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        scale_directions(engine, tangent, &self.apply(engine, 1, pass.input(0))?)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        scale_directions(engine, cotangent, &self.apply(engine, 1, pass.input(0))?)
    }

    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        engine.code_values(codes, pass.input(0), &[0.0], packing)
    }

    /// A group for each slope: `a` the input where it is below 0, and `d` the cotangent.
    fn parameter_factors(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        let below = engine.activate(BELOW, 0, pass.input(0))?;
        let wide = &self.slopes.shape()[1..];
        ParameterFactors::elementwise(engine, wide, Some(&below), cotangent, below.rows()).map(Some)
    }
}
