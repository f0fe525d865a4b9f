//! Elementwise functions. Their formulas and derivatives are the kernel's; here stands what they are.

use crate::Result;
use crate::engine::{Activation, Engine, IndicesOf, TensorOf};

use super::{AffinePiece, Kind, Operator, Pass, Unary, scale_directions};

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

    fn activation(&self) -> Option<Activation> {
        Some(*self)
    }
}

impl Activation {
    /// The affine pieces, ascending; the index of a piece is its code.
    pub fn pieces(&self) -> Option<Vec<AffinePiece>> {
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
