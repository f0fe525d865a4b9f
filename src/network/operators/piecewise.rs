//! Elementwise functions by a table of affine pieces.

use crate::Result;
use crate::activation::PiecewiseAffine;
use crate::engine::{Engine, IndicesOf, Packing, TensorOf};
use crate::network::{ConvexRule, Pair, Rewriting};

use super::{Kind, Operator, Pass, Remembers, Unary, scale_directions};

impl Operator for PiecewiseAffine {
    fn name(&self) -> &'static str {
        "PiecewiseAffine"
    }

    fn kind(&self) -> Kind {
        if self.knots().is_empty() { Kind::Affine } else { Kind::PiecewiseAffine }
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn pieces_of_unit(&self, _: &[&[usize]]) -> Option<usize> {
        Some(self.table().len())
    }

    fn remembers(&self) -> Remembers {
        Remembers::INPUTS
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for PiecewiseAffine {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.elementwise(self.clone().into(), &self.pieces(), inputs[0])
    }
}

impl<E: Engine> Unary<E> for PiecewiseAffine {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((engine.piecewise(self, 0, x)?, None))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        scale_directions(engine, tangent, &engine.piecewise(self, 1, pass.input(0))?)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        scale_directions(engine, cotangent, &engine.piecewise(self, 1, pass.input(0))?)
    }
    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        engine.code_values(codes, pass.input(0), self.knots(), packing)
    }
}
