//! Arithmetic with constants and between branches.

use crate::engine::{Arithmetic, Engine, IndicesOf, TensorOf};
use crate::network::Constant;
use crate::{Error, Result, Scalar};

use super::{Kind, Operator, Pass, Prepared, Unary, batched, scale_directions};

/// `x op constant`, or `constant op x`, with broadcasting.
#[derive(Debug, Clone, PartialEq)]
pub struct ArithmeticConstant {
    /// The operation.
    pub operation: Arithmetic,
    /// The constant; aligned with the last axes of a sample.
    pub constant: Constant,
    /// Whether the constant is on the left.
    pub reversed: bool,
}

/// `a op b`, with broadcasting between the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Branches {
    /// The operation.
    pub operation: Arithmetic,
}

fn name(operation: Arithmetic) -> &'static str {
    match operation {
        Arithmetic::Add => "Add",
        Arithmetic::Sub => "Sub",
        Arithmetic::Mul => "Mul",
        Arithmetic::Div => "Div",
    }
}

/// Both shapes with equally many axes, and the shape they broadcast to.
fn broadcast(a: &[usize], b: &[usize]) -> Result<[Vec<usize>; 3]> {
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
fn unbroadcast<E: Engine>(engine: &E, t: &TensorOf<E>, wide: &[usize], own: &[usize]) -> Result<TensorOf<E>> {
    let repeated = |&axis: &usize| wide[axis - 1] == 1 && t.shape()[axis] != 1;
    let axes: Vec<usize> = (1..t.shape().len()).filter(repeated).collect();
    engine.sum(t, &axes)?.reshaped(batched(t.rows(), own))
}

/// Repeats a tangent `[N * r, wide..]` to `[N * r, joined..]`.
fn expand<E: Engine>(engine: &E, t: &TensorOf<E>, joined: &[usize]) -> Result<TensorOf<E>> {
    if t.shape()[1..] == *joined {
        return Ok(t.clone());
    }
    let zeros = vec![E::Scalar::of(0.0); joined.iter().product()];
    engine.arithmetic(Arithmetic::Add, t, &engine.upload(&zeros, &batched(1, joined))?)
}

fn negated<E: Engine>(engine: &E, t: &TensorOf<E>) -> Result<TensorOf<E>> {
    let minus = engine.upload(&[E::Scalar::of(-1.0)], &vec![1; t.shape().len()])?;
    engine.arithmetic(Arithmetic::Mul, t, &minus)
}

/// Derivatives of `a op b` by `a` and by `b`, as factors of a tangent; `None` means 1.
fn partials<E: Engine>(
    engine: &E,
    operation: Arithmetic,
    [a, b]: [&TensorOf<E>; 2],
    wanted: [bool; 2],
) -> Result<[Option<TensorOf<E>>; 2]> {
    let one = |t: &TensorOf<E>, value: f64| engine.upload(&[E::Scalar::of(value)], &vec![1; t.shape().len()]);
    // A factor that is the same for all samples still has the batch as its first axis.
    let constant = |value: f64| {
        let shape = batched(a.rows().max(b.rows()), &vec![1; a.shape().len() - 1]);
        engine.upload(&vec![E::Scalar::of(value); shape[0]], &shape)
    };
    Ok(match operation {
        Arithmetic::Add => [None, None],
        Arithmetic::Sub => [None, wanted[1].then(|| constant(-1.0)).transpose()?],
        Arithmetic::Mul => [Some(b.clone()), Some(a.clone())],
        Arithmetic::Div => {
            let inverse = engine.arithmetic(Arithmetic::Div, &one(b, 1.0)?, b)?;
            let by_b = || {
                let quotient = engine.arithmetic(Arithmetic::Mul, a, &inverse)?;
                negated(engine, &engine.arithmetic(Arithmetic::Mul, &quotient, &inverse)?)
            };
            let by_b = wanted[1].then(by_b).transpose()?;
            [Some(inverse), by_b]
        }
    })
}

impl Operator for ArithmeticConstant {
    fn name(&self) -> &'static str {
        name(self.operation)
    }

    fn kind(&self) -> Kind {
        if self.operation == Arithmetic::Div && self.reversed { Kind::Smooth } else { Kind::Affine }
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [_, _, joined] = broadcast(inputs[0], self.constant.shape())?;
        Ok(joined)
    }

    fn parameters(&self) -> usize {
        self.constant.len()
    }
}

impl ArithmeticConstant {
    pub(super) fn prepare<E: Engine>(&self, engine: &E, input: &[usize]) -> Result<PreparedConstant<E>> {
        let [x, constant, joined] = broadcast(input, self.constant.shape())?;
        let constant = engine.upload(&self.constant.to::<E::Scalar>(), &batched(1, &constant))?;
        let (operation, reversed) = (self.operation, self.reversed);
        Ok(PreparedConstant { operation, reversed, constant, own: input.to_vec(), wide: x, joined })
    }
}

pub(super) struct PreparedConstant<E: Engine> {
    operation: Arithmetic,
    reversed: bool,
    /// `[1, ..]`
    constant: TensorOf<E>,
    /// Shape of an input sample: its own, with as many axes as the output, and the output's.
    own: Vec<usize>,
    wide: Vec<usize>,
    joined: Vec<usize>,
}

impl<E: Engine> PreparedConstant<E> {
    /// A tangent or cotangent of the wide shape times the derivative by `x`; `[N * r, ..]`.
    fn scale(&self, engine: &E, pass: &Pass<'_, E>, t: &TensorOf<E>) -> Result<TensorOf<E>> {
        match (self.operation, self.reversed) {
            (Arithmetic::Add, _) | (Arithmetic::Sub, false) => Ok(t.clone()),
            (Arithmetic::Sub, true) => negated(engine, t),
            (operation @ (Arithmetic::Mul | Arithmetic::Div), false)
            | (operation @ Arithmetic::Mul, true) => engine.arithmetic(operation, t, &self.constant),
            (Arithmetic::Div, true) => {
                let x = pass.inputs[0].reshaped(batched(pass.inputs[0].rows(), &self.wide))?;
                let [_, by_x] = partials(engine, Arithmetic::Div, [&self.constant, &x], [false, true])?;
                by_x.map_or_else(|| Ok(t.clone()), |by_x| scale_directions(engine, t, &by_x))
            }
        }
    }
}

impl<E: Engine> Unary<E> for PreparedConstant<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let x = x.reshaped(batched(x.rows(), &self.wide))?;
        let (a, b) = if self.reversed { (&self.constant, &x) } else { (&x, &self.constant) };
        Ok((engine.arithmetic(self.operation, a, b)?, None))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        let tangent = tangent.reshaped(batched(tangent.rows(), &self.wide))?;
        expand(engine, &self.scale(engine, pass, &tangent)?, &self.joined)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        unbroadcast(engine, &self.scale(engine, pass, cotangent)?, &self.wide, &self.own)
    }
}

impl Operator for Branches {
    fn name(&self) -> &'static str {
        name(self.operation)
    }

    fn kind(&self) -> Kind {
        match self.operation {
            Arithmetic::Add | Arithmetic::Sub => Kind::Affine,
            Arithmetic::Mul | Arithmetic::Div => Kind::Smooth,
        }
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [_, _, joined] = broadcast(inputs[0], inputs[1])?;
        Ok(joined)
    }
}

impl Branches {
    /// Both inputs with equally many axes, and the output's sample shape.
    fn widen<E: Engine>(inputs: &[&TensorOf<E>]) -> Result<([TensorOf<E>; 2], Vec<usize>)> {
        let [a, b, joined] = broadcast(&inputs[0].shape()[1..], &inputs[1].shape()[1..])?;
        let rows = inputs[0].rows();
        Ok(([inputs[0].reshaped(batched(rows, &a))?, inputs[1].reshaped(batched(rows, &b))?], joined))
    }
}

impl<E: Engine> Prepared<E> for Branches {
    fn forward(&self, engine: &E, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let ([a, b], _) = Self::widen::<E>(inputs)?;
        Ok((engine.arithmetic(self.operation, &a, &b)?, None))
    }

    fn jacobian_vector(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        tangents: &[Option<&TensorOf<E>>],
    ) -> Result<TensorOf<E>> {
        let ([a, b], joined) = Self::widen::<E>(&pass.inputs)?;
        let varies = [tangents[0].is_some(), tangents[1].is_some()];
        let factors = partials(engine, self.operation, [&a, &b], varies)?;
        let mut sum: Option<TensorOf<E>> = None;
        for ((tangent, factor), input) in tangents.iter().zip(factors).zip([&a, &b]) {
            let Some(tangent) = tangent else { continue };
            let tangent = tangent.reshaped(batched(tangent.rows(), &input.shape()[1..]))?;
            let term = match factor {
                Some(factor) => scale_directions(engine, &tangent, &factor)?,
                None => tangent,
            };
            let term = expand(engine, &term, &joined)?;
            sum = Some(match sum {
                Some(sum) => engine.arithmetic(Arithmetic::Add, &sum, &term)?,
                None => term,
            });
        }
        sum.ok_or_else(|| Error::Graph("a tangent was asked for where nothing varies".to_owned()))
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
        wanted: &[bool],
    ) -> Result<Vec<Option<TensorOf<E>>>> {
        let ([a, b], _) = Self::widen::<E>(&pass.inputs)?;
        let factors = partials(engine, self.operation, [&a, &b], [wanted[0], wanted[1]])?;
        let mut result = Vec::with_capacity(2);
        for (i, (factor, wide)) in factors.into_iter().zip([&a, &b]).enumerate() {
            let cotangent = || {
                let scaled = match &factor {
                    Some(factor) => scale_directions(engine, cotangent, factor)?,
                    None => cotangent.clone(),
                };
                unbroadcast(engine, &scaled, &wide.shape()[1..], &pass.inputs[i].shape()[1..])
            };
            result.push(wanted[i].then(cotangent).transpose()?);
        }
        Ok(result)
    }
}
