//! Values that do not depend on the input.

use crate::Result;
use crate::engine::{Engine, IndicesOf, TensorOf};
use crate::network::Constant;

use super::{ConvexRule, Kind, Operator, Pair, Pass, Prepared, Rewriting, batched};

/// The same value for every sample: an input of the graph that was fixed, or a constant of the file that takes part
/// like a computed value (a class token, position embeddings).
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    /// One sample.
    pub value: Constant,
}

impl Operator for Fixed {
    fn name(&self) -> &'static str {
        "Constant"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, _: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(self.value.shape().to_vec())
    }

    fn parameters(&self) -> usize {
        self.value.len()
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Fixed {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.alone(&self.clone().into(), inputs)
    }
}

impl Fixed {
    pub(super) fn prepare<E: Engine>(&self, engine: &E) -> Result<PreparedFixed<E>> {
        let value = engine.upload(&self.value.to::<E::Scalar>(), &batched(1, self.value.shape()))?;
        Ok(PreparedFixed { value })
    }
}

pub(super) struct PreparedFixed<E: Engine> {
    /// `[1, ..]`
    value: TensorOf<E>,
}

impl<E: Engine> Prepared<E> for PreparedFixed<E> {
    fn forward(&self, _: &E, _: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((self.value.clone(), None))
    }

    fn jacobian_vector(&self, _: &E, _: &Pass<'_, E>, _: &[Option<&TensorOf<E>>]) -> Result<TensorOf<E>> {
        unreachable!("nothing varies below it")
    }

    fn vector_jacobian(
        &self,
        _: &E,
        _: &Pass<'_, E>,
        _: &TensorOf<E>,
        _: &[bool],
    ) -> Result<Vec<Option<TensorOf<E>>>> {
        Ok(vec![])
    }
}
