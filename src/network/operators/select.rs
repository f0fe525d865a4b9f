//! Elements of an axis by constant indices: slices, splits, gathers, reflected borders, and resizing.

use crate::engine::{Arithmetic, Engine, IndicesOf, TensorOf};
use crate::{Error, Result, Scalar};

use super::{ConvexRule, Kind, Operator, Pair, Pass, Rewriting, Unary};

/// The elements of an axis of a sample that have these indices: Slice, Split, Gather, resizing to the nearest.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// The axis.
    pub axis: usize,
    /// The indices, in the order of the output; each may be there often.
    pub indices: Vec<u32>,
}

/// Linear interpolation along an axis of a sample: element `i` of the output is
/// `(1 - weight[i]) * x[low[i]] + weight[i] * x[high[i]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpolate {
    /// The axis.
    pub axis: usize,
    /// Indices.
    pub low: Vec<u32>,
    /// Indices.
    pub high: Vec<u32>,
    /// Numbers in [0, 1].
    pub weight: Vec<f64>,
}

/// The shape with `indices` in the place of an axis.
fn selected(sample: &[usize], axis: usize, indices: &[u32]) -> Result<Vec<usize>> {
    let length = *sample
        .get(axis)
        .ok_or_else(|| Error::Shape(format!("samples of shape {sample:?} have no axis {axis}")))?;
    if let Some(wrong) = indices.iter().find(|&&i| i as usize >= length) {
        return Err(Error::Shape(format!("there is no index {wrong} along axis {axis} of {sample:?}")));
    }
    let mut shape = sample.to_vec();
    shape[axis] = indices.len();
    Ok(shape)
}

impl Operator for Select {
    fn name(&self) -> &'static str {
        "Gather"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        selected(inputs[0], self.axis, &self.indices)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Select {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.alike(&self.clone().into(), inputs[0])
    }
}

impl<E: Engine> Unary<E> for Select {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((engine.select(x, self.axis + 1, &self.indices)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.select(tangent, self.axis + 1, &self.indices)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        let length = pass.shape(0)[self.axis];
        engine.select_transposed(cotangent, self.axis + 1, &self.indices, length)
    }
}

impl Operator for Interpolate {
    fn name(&self) -> &'static str {
        "Resize"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        if self.low.len() != self.high.len() || self.low.len() != self.weight.len() {
            return Err(Error::Shape(
                "an interpolation needs two indices and a weight for each element".to_owned(),
            ));
        }
        if let Some(weight) = self.weight.iter().find(|weight| !(0.0..=1.0).contains(*weight)) {
            return Err(Error::Argument(format!("the weight {weight} of an interpolation is not in [0, 1]")));
        }
        selected(inputs[0], self.axis, &self.high)?;
        selected(inputs[0], self.axis, &self.low)
    }

    fn intermediates(&self) -> usize {
        2
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Interpolate {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.alike(&self.clone().into(), inputs[0])
    }
}

impl Interpolate {
    pub(super) fn prepare<E: Engine>(&self, engine: &E, input: &[usize]) -> Result<PreparedInterpolate<E>> {
        let mut shape = vec![1; input.len() + 1];
        shape[self.axis + 1] = self.weight.len();
        let upload = |weight: &dyn Fn(f64) -> f64| {
            let weights: Vec<E::Scalar> = self.weight.iter().map(|&w| E::Scalar::of(weight(w))).collect();
            engine.upload(&weights, &shape)
        };
        let weights = [upload(&|w| 1.0 - w)?, upload(&|w| w)?];
        Ok(PreparedInterpolate { axis: self.axis + 1, ends: [self.low.clone(), self.high.clone()], weights })
    }
}

pub(super) struct PreparedInterpolate<E: Engine> {
    /// Of a batch.
    axis: usize,
    ends: [Vec<u32>; 2],
    /// `[1, .., length, .., 1]`
    weights: [TensorOf<E>; 2],
}

impl<E: Engine> PreparedInterpolate<E> {
    fn apply(&self, engine: &E, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        let end = |i: usize| {
            engine.arithmetic(Arithmetic::Mul, &engine.select(x, self.axis, &self.ends[i])?, &self.weights[i])
        };
        engine.arithmetic(Arithmetic::Add, &end(0)?, &end(1)?)
    }
}

impl<E: Engine> Unary<E> for PreparedInterpolate<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((self.apply(engine, x)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        self.apply(engine, tangent)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        let length = pass.shape(0)[self.axis - 1];
        let end = |i: usize| {
            let scaled = engine.arithmetic(Arithmetic::Mul, cotangent, &self.weights[i])?;
            engine.select_transposed(&scaled, self.axis, &self.ends[i], length)
        };
        engine.arithmetic(Arithmetic::Add, &end(0)?, &end(1)?)
    }
}
