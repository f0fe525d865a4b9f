//! Broadcasting between samples, and between samples and their directions.

use crate::engine::{Activation, Arithmetic, Engine, Tensor, TensorOf};
use crate::{Error, Result, Scalar};

use super::Pass;

/// A batch shape from the shape of a sample.
pub(in crate::network) fn batched(rows: usize, sample: &[usize]) -> Vec<usize> {
    [&[rows], sample].concat()
}

/// Both shapes with equally many axes, and the shape they broadcast to.
pub(in crate::network) fn broadcast(a: &[usize], b: &[usize]) -> Result<[Vec<usize>; 3]> {
    let rank = a.len().max(b.len());
    let widen = |shape: &[usize]| [&vec![1; rank - shape.len()], shape].concat();
    let (wide_a, wide_b) = (widen(a), widen(b));
    let joined: Option<Vec<usize>> = wide_a
        .iter()
        .zip(&wide_b)
        .map(|(&a, &b)| if a == b || b == 1 { Some(a) } else { (a == 1).then_some(b) })
        .collect();
    match joined {
        Some(joined) => Ok([wide_a, wide_b, joined]),
        None => Err(Error::Shape(format!("{a:?} and {b:?} cannot be broadcast together"))),
    }
}

/// Sums a cotangent `[N * r, joined..]` over the axes along which an input of shape `wide` was repeated, and
/// gives it the input's own shape.
pub(super) fn unbroadcast<E: Engine>(
    engine: &E,
    t: &TensorOf<E>,
    wide: &[usize],
    own: &[usize],
) -> Result<TensorOf<E>> {
    let repeated = |&axis: &usize| wide[axis - 1] == 1 && t.shape()[axis] != 1;
    let axes: Vec<usize> = (1..t.shape().len()).filter(repeated).collect();
    engine.sum(t, &axes)?.reshaped(batched(t.rows(), own))
}

/// Repeats a tangent `[N * r, wide..]` to `[N * r, joined..]`.
pub(super) fn expand<E: Engine>(engine: &E, t: &TensorOf<E>, joined: &[usize]) -> Result<TensorOf<E>> {
    if t.shape()[1..] == *joined {
        return Ok(t.clone());
    }
    let zeros = vec![E::Scalar::of(0.0); joined.iter().product()];
    engine.arithmetic(Arithmetic::Add, t, &engine.upload(&zeros, &batched(1, joined))?)
}

/// `t [N * r, s..] * factors [N, s'..]`, each sample's factors times each of its `r` directions; the sample
/// shapes have equally many axes and may broadcast.
pub(super) fn scale_directions<E: Engine>(
    engine: &E,
    t: &TensorOf<E>,
    factors: &TensorOf<E>,
) -> Result<TensorOf<E>> {
    let samples = factors.rows();
    let (t, factors) = (directions(t, samples)?, directions(factors, samples)?);
    let product = engine.arithmetic(Arithmetic::Mul, &t, &factors)?;
    let shape = batched(t.shape()[0] * t.shape()[1], &product.shape()[2..]);
    product.reshaped(shape)
}

/// `[N * r, ..]` as `[N, r, ..]`.
pub(super) fn directions<B: Clone>(t: &Tensor<B>, samples: usize) -> Result<Tensor<B>> {
    t.reshaped([&[samples, t.rows() / samples.max(1)], &t.shape()[1..]].concat())
}

/// The slopes of an activation that was fused into a layer, read from the layer's output.
pub(super) fn gate<E: Engine>(
    engine: &E,
    activation: Option<Activation>,
    pass: &Pass<'_, E>,
) -> Result<Option<TensorOf<E>>> {
    activation.map(|activation| engine.activate(activation, 1, pass.output())).transpose()
}

/// A tangent or cotangent of a layer's output through the activation that was fused into it.
pub(super) fn gated<E: Engine>(
    engine: &E,
    activation: Option<Activation>,
    pass: &Pass<'_, E>,
    t: &TensorOf<E>,
) -> Result<TensorOf<E>> {
    gate(engine, activation, pass)?.map_or_else(|| Ok(t.clone()), |gate| scale_directions(engine, t, &gate))
}

/// `t [1, ..]` or `[rows, ..]` as `[rows, ..]`.
pub(super) fn repeated<E: Engine>(engine: &E, t: &TensorOf<E>, rows: usize) -> Result<TensorOf<E>> {
    if t.rows() == rows { Ok(t.clone()) } else { engine.select(t, 0, &vec![0; rows]) }
}
