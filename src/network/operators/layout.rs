//! Operators that move elements.

use crate::engine::{Engine, IndicesOf, TensorOf};
use crate::{Error, Result, Scalar};

use super::{
    ConvexRule, Kind, Operator, Pair, Pass, Prepared, Rewriting, Unary, batched, broadcast, expand, repeated,
    unbroadcast,
};

/// The same elements under another shape: Reshape, Flatten, Squeeze, Unsqueeze.
#[derive(Debug, Clone, PartialEq)]
pub struct Reshape {
    /// The new shape of a sample.
    pub shape: Vec<usize>,
}

/// Axes in another order.
#[derive(Debug, Clone, PartialEq)]
pub struct Permute {
    /// Axis `i` of the output is axis `order[i]` of the input (of a sample, from 0).
    pub order: Vec<usize>,
}

/// A constant border; negative widths cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    /// Elements before each axis of a sample.
    pub before: Vec<isize>,
    /// Elements after each axis.
    pub after: Vec<isize>,
    /// What stands there.
    pub value: f64,
}

/// Branches joined along an axis of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

/// Elements repeated along axes of length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Expand {
    /// The shape of a sample of the output.
    pub shape: Vec<usize>,
}

impl Operator for Reshape {
    fn name(&self) -> &'static str {
        "Reshape"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let count = |shape: &[usize]| shape.iter().try_fold(1_usize, |n, &l| n.checked_mul(l));
        if count(inputs[0]) != count(&self.shape) {
            return Err(Error::Shape(format!("{:?} cannot be reshaped to {:?}", inputs[0], self.shape)));
        }
        Ok(self.shape.clone())
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Reshape {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.alike(&self.clone().into(), inputs[0])
    }
}

impl<E: Engine> Unary<E> for Reshape {
    fn forward(&self, _: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((x.reshaped(batched(x.rows(), &self.shape))?, None))
    }

    fn jacobian_vector(&self, _: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        tangent.reshaped(batched(tangent.rows(), &self.shape))
    }

    fn vector_jacobian(&self, _: &E, pass: &Pass<'_, E>, cotangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        cotangent.reshaped(batched(cotangent.rows(), pass.shape(0)))
    }
}

impl Operator for Permute {
    fn name(&self) -> &'static str {
        "Transpose"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let mut seen = self.order.clone();
        seen.sort_unstable();
        if !seen.iter().copied().eq(0..inputs[0].len()) {
            return Err(Error::Shape(format!("{:?} is no order of the axes of {:?}", self.order, inputs[0])));
        }
        Ok(self.order.iter().map(|&axis| inputs[0][axis]).collect())
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Permute {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.alike(&self.clone().into(), inputs[0])
    }
}

/// The order of axes that takes this one back.
pub(super) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (i, &axis) in order.iter().enumerate() {
        inverse[axis] = i;
    }
    inverse
}

impl Permute {
    fn apply<E: Engine>(engine: &E, x: &TensorOf<E>, order: &[usize]) -> Result<TensorOf<E>> {
        let order: Vec<usize> = std::iter::once(0).chain(order.iter().map(|axis| axis + 1)).collect();
        engine.permute(x, &order)
    }
}

impl<E: Engine> Unary<E> for Permute {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((Self::apply(engine, x, &self.order)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        Self::apply(engine, tangent, &self.order)
    }

    fn vector_jacobian(&self, engine: &E, _: &Pass<'_, E>, cotangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        Self::apply(engine, cotangent, &inverse(&self.order))
    }
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "Pad"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let misfit = || Error::Shape(format!("{self:?} does not fit samples of shape {:?}", inputs[0]));
        if self.before.len() != inputs[0].len() || self.after.len() != inputs[0].len() {
            return Err(misfit());
        }
        let padded = inputs[0].iter().zip(self.before.iter().zip(&self.after));
        padded
            .map(|(&length, (&before, &after))| {
                length.checked_add_signed(before)?.checked_add_signed(after).filter(|&length| length > 0)
            })
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(misfit)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Pad {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let subtracted = Self { value: 0.0, ..self.clone() };
        rewriting.moved([&self.clone().into(), &subtracted.into()], inputs)
    }
}

impl Pad {
    fn apply<E: Engine>(
        engine: &E,
        x: &TensorOf<E>,
        widths: [&[isize]; 2],
        sign: isize,
        value: f64,
    ) -> Result<TensorOf<E>> {
        let signed = |widths: &[isize]| -> Vec<isize> {
            std::iter::once(0).chain(widths.iter().map(|width| sign * width)).collect()
        };
        engine.pad(x, &signed(widths[0]), &signed(widths[1]), E::Scalar::of(value))
    }
}

impl<E: Engine> Unary<E> for Pad {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((Self::apply(engine, x, [&self.before, &self.after], 1, self.value)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        Self::apply(engine, tangent, [&self.before, &self.after], 1, 0.0)
    }

    fn vector_jacobian(&self, engine: &E, _: &Pass<'_, E>, cotangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        Self::apply(engine, cotangent, [&self.before, &self.after], -1, 0.0)
    }
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "Concat"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let others = |shape: &[usize]| -> Option<Vec<usize>> {
            (self.axis < shape.len()).then(|| [&shape[..self.axis], &shape[self.axis + 1..]].concat())
        };
        let first = others(inputs[0]);
        if first.is_none() || inputs.iter().any(|shape| others(shape) != first) {
            return Err(Error::Shape(format!("{inputs:?} cannot be joined along axis {}", self.axis)));
        }
        let mut shape = inputs[0].to_vec();
        shape[self.axis] = inputs.iter().map(|shape| shape[self.axis]).sum();
        Ok(shape)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Concat {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let op = self.clone().into();
        rewriting.moved([&op, &op], inputs)
    }
}

impl<E: Engine> Prepared<E> for Concat {
    fn forward(&self, engine: &E, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let rows = inputs.iter().map(|x| x.rows()).max().unwrap_or(0);
        let inputs = inputs.iter().map(|x| repeated(engine, x, rows)).collect::<Result<Vec<_>>>()?;
        Ok((engine.concat(&inputs.iter().collect::<Vec<_>>(), self.axis + 1)?, None))
    }

    fn jacobian_vector(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        tangents: &[Option<&TensorOf<E>>],
    ) -> Result<TensorOf<E>> {
        let rows = tangents.iter().flatten().map(|t| t.rows()).max().unwrap_or(0);
        let tangents: Vec<TensorOf<E>> = tangents
            .iter()
            .zip(&pass.shapes)
            .map(|(tangent, input)| match tangent {
                Some(tangent) => Ok((*tangent).clone()),
                None => {
                    let shape = batched(rows, input);
                    engine.upload(&vec![E::Scalar::of(0.0); shape.iter().product()], &shape)
                }
            })
            .collect::<Result<_>>()?;
        engine.concat(&tangents.iter().collect::<Vec<_>>(), self.axis + 1)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
        wanted: &[bool],
    ) -> Result<Vec<Option<TensorOf<E>>>> {
        let axis = self.axis + 1;
        let (mut start, whole) = (0, cotangent.shape()[axis]);
        let mut parts = Vec::with_capacity(wanted.len());
        for (input, &wanted) in pass.shapes.iter().zip(wanted) {
            let length = input[self.axis];
            let (mut before, mut after) =
                (vec![0; cotangent.shape().len()], vec![0; cotangent.shape().len()]);
            before[axis] = -(start as isize);
            after[axis] = -((whole - start - length) as isize);
            let cut = || engine.pad(cotangent, &before, &after, E::Scalar::of(0.0));
            parts.push(wanted.then(cut).transpose()?);
            start += length;
        }
        Ok(parts)
    }
}

impl Operator for Expand {
    fn name(&self) -> &'static str {
        "Expand"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [_, _, joined] = broadcast(inputs[0], &self.shape)?;
        if joined != self.shape {
            return Err(Error::Shape(format!("{:?} cannot be expanded to {:?}", inputs[0], self.shape)));
        }
        Ok(joined)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Expand {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.alike(&self.clone().into(), inputs[0])
    }
}

impl Expand {
    /// The shape of an input sample with as many axes as the output's.
    fn wide(&self, sample: &[usize]) -> Vec<usize> {
        [&vec![1; self.shape.len() - sample.len()], sample].concat()
    }

    fn apply<E: Engine>(&self, engine: &E, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        expand(engine, &x.reshaped(batched(x.rows(), &self.wide(&x.shape()[1..])))?, &self.shape)
    }
}

impl<E: Engine> Unary<E> for Expand {
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
        let sample = pass.shape(0);
        unbroadcast(engine, cotangent, &self.wide(sample), sample)
    }
}
