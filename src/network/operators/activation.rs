//! Elementwise functions. Their formulas and derivatives are the kernel's; here stands what they are.

use crate::engine::{Activation, Arithmetic, Engine, IndicesOf, TensorOf};
use crate::network::Constant;
use crate::{Error, Result};

use super::{AffinePiece, Kind, Operator, Pass, Unary, batched, broadcast, scale_directions};

impl Operator for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::Relu => "Relu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::Clip { .. } => "Clip",
            Self::Sigmoid => "Sigmoid",
            Self::Tanh => "Tanh",
            Self::Softplus => "Softplus",
            Self::Gelu | Self::GeluTanh => "Gelu",
            Self::Silu => "Silu",
            Self::Power { .. } => "Pow",
        }
    }

    fn kind(&self) -> Kind {
        if self.pieces().is_some() { Kind::PiecewiseAffine } else { Kind::Smooth }
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn pieces(&self) -> Option<Vec<AffinePiece>> {
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let piece = |from, to, slope, offset| AffinePiece { from, to, slope, offset };
        match *self {
            Self::Relu => Some(vec![piece(low, 0.0, 0.0, 0.0), piece(0.0, high, 1.0, 0.0)]),
            Self::LeakyRelu { slope } => Some(vec![piece(low, 0.0, slope, 0.0), piece(0.0, high, 1.0, 0.0)]),
            Self::Clip { low: bottom, high: top } => {
                let mut pieces = vec![];
                if bottom > low {
                    pieces.push(piece(low, bottom, 0.0, bottom));
                }
                pieces.push(piece(bottom, top, 1.0, 0.0));
                if top < high {
                    pieces.push(piece(top, high, 0.0, top));
                }
                Some(pieces)
            }
            _ => None,
        }
    }
}

impl<E: Engine> Unary<E> for Activation {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((engine.activate(*self, 0, x)?, None))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        scale_directions(engine, tangent, &engine.activate(*self, 1, pass.inputs[0])?)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        scale_directions(engine, cotangent, &engine.activate(*self, 1, pass.inputs[0])?)
    }
}

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

    fn parameters(&self) -> usize {
        self.slopes.len()
    }

    fn intermediates(&self) -> usize {
        2
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
        scale_directions(engine, tangent, &self.apply(engine, 1, pass.inputs[0])?)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        scale_directions(engine, cotangent, &self.apply(engine, 1, pass.inputs[0])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Cpu;

    #[test]
    fn pieces_are_the_function() {
        let engine = Cpu::<f64>::new();
        let all = [
            Activation::Relu,
            Activation::LeakyRelu { slope: 0.2 },
            Activation::Clip { low: -1.0, high: 2.0 },
        ];
        let x = [-3.0, -1.0, -0.5, 0.0, 0.25, 2.0, 5.0];
        for activation in all {
            let input = engine.upload(&x, &[7]).unwrap();
            let values = engine.download(&engine.activate(activation, 0, &input).unwrap()).unwrap();
            let slopes = engine.download(&engine.activate(activation, 1, &input).unwrap()).unwrap();
            let pieces = activation.pieces().unwrap();
            for ((x, value), slope) in x.iter().zip(values).zip(slopes) {
                let piece = pieces.iter().find(|p| p.from < *x && *x <= p.to).unwrap();
                assert_eq!(
                    (piece.slope * x + piece.offset, piece.slope),
                    (value, slope),
                    "{activation:?} at {x}"
                );
            }
        }
    }
}
