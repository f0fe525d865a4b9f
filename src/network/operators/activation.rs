//! Elementwise functions. Their formulas are the kernel's, what is known of them stands in [`crate::activation`].

use crate::Result;
use crate::activation::Activation;
use crate::engine::{Engine, IndicesOf, Packing, TensorOf};

use super::{ConvexRule, Kind, Operator, Pair, Pass, Remembers, Rewriting, Unary, scale_directions};

impl Operator for Activation {
    fn name(&self) -> &'static str {
        Self::name(self)
    }

    fn kind(&self) -> Kind {
        match self.pieces().as_deref() {
            Some([_]) => Kind::Affine,
            Some(_) => Kind::PiecewiseAffine,
            None => Kind::Smooth,
        }
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn pieces_of_unit(&self, _: &[&[usize]]) -> Option<usize> {
        self.pieces().map(|pieces| pieces.len())
    }

    fn activation(&self) -> Option<Activation> {
        Some(*self)
    }

    fn remembers(&self) -> Remembers {
        if self.slope_from_output() { Remembers::OUTPUT } else { Remembers::INPUTS }
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        if self.pieces().is_some() { Some(self) } else { None }
    }
}

impl ConvexRule for Activation {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        match self.pieces() {
            Some(pieces) => rewriting.elementwise((*self).into(), &pieces, inputs[0]),
            None => unreachable!("the rule is there only where there are pieces"),
        }
    }
}

impl Activation {
    /// The slopes at the inputs of a pass.
    fn slopes<E: Engine>(&self, engine: &E, pass: &Pass<'_, E>) -> Result<TensorOf<E>> {
        engine.activate(*self, 1, if self.slope_from_output() { pass.output() } else { pass.input(0) })
    }

    /// Packs the number of the piece of each element of `u`. What is [fused](Self::slope_from_output) into a layer may
    /// take its values for `u`: they lie on the same side of every knot.
    pub(super) fn pack<E: Engine>(
        &self,
        engine: &E,
        u: &TensorOf<E>,
        codes: &mut E::Codes,
        packing: Packing,
    ) -> Result<()> {
        let pieces = self.pieces().unwrap_or_default();
        let knots: Vec<f64> = pieces.iter().skip(1).map(|piece| piece.from).collect();
        engine.code_values(codes, u, &knots, packing)
    }
}

impl<E: Engine> Unary<E> for Activation {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((engine.activate(*self, 0, x)?, None))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        scale_directions(engine, tangent, &self.slopes(engine, pass)?)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        scale_directions(engine, cotangent, &self.slopes(engine, pass)?)
    }
    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        self.pack(engine, pass.input(0), codes, packing)
    }
}
