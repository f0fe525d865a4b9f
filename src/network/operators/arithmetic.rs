//! Arithmetic with constants and between branches.

use crate::engine::{Arithmetic, Engine, IndicesOf, Packing, TensorOf};
use crate::network::Constant;
use crate::{Error, Result, Scalar};

use super::{
    ConvexRule, Kind, Operator, Pair, ParameterFactors, ParameterValues, Pass, Prepared, Remembers,
    Rewriting, SeriesRule, Unary, batched, broadcast, expand, scale_directions, unbroadcast,
};

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
        Arithmetic::Min => "Min",
        Arithmetic::Max => "Max",
        Arithmetic::AtLeast => "GreaterOrEqual",
    }
}

fn kind(operation: Arithmetic, product_of_inputs: bool) -> Kind {
    match operation {
        Arithmetic::Add | Arithmetic::Sub => Kind::Affine,
        Arithmetic::Mul | Arithmetic::Div if product_of_inputs => Kind::Smooth,
        Arithmetic::Mul | Arithmetic::Div => Kind::Affine,
        Arithmetic::Min | Arithmetic::Max | Arithmetic::AtLeast => Kind::PiecewiseAffine,
    }
}

fn pieces(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Affine => Some(1),
        Kind::PiecewiseAffine => Some(2),
        Kind::Smooth => None,
    }
}

/// Packs 1 where `a >= b`, else 0; or the other way round.
fn pack_at_least<E: Engine>(
    engine: &E,
    [a, b]: [&TensorOf<E>; 2],
    reversed: bool,
    codes: &mut E::Codes,
    packing: Packing,
) -> Result<()> {
    let truth = engine.arithmetic(Arithmetic::AtLeast, a, b)?;
    if reversed {
        return engine.code_values(codes, &negated(engine, &truth)?, &[-0.5], packing);
    }
    engine.code_values(codes, &truth, &[0.5], packing)
}

fn negated<E: Engine>(engine: &E, t: &TensorOf<E>) -> Result<TensorOf<E>> {
    let minus = engine.upload(&[E::Scalar::of(-1.0)], &vec![1; t.shape().len()])?;
    engine.arithmetic(Arithmetic::Mul, t, &minus)
}

/// Derivatives of `a op b` by `a` and by `b`, as factors of a tangent; `None` means 1. The inputs, of so many axes, are
/// asked for where they matter.
fn partials<E: Engine>(
    engine: &E,
    operation: Arithmetic,
    axes: usize,
    inputs: impl FnOnce() -> Result<[TensorOf<E>; 2]>,
    wanted: [bool; 2],
) -> Result<[Option<TensorOf<E>>; 2]> {
    let same = |value: f64| engine.upload(&[E::Scalar::of(value)], &vec![1; axes]);
    Ok(match operation {
        Arithmetic::Add => [None, None],
        Arithmetic::Sub => [None, wanted[1].then(|| same(-1.0)).transpose()?],
        Arithmetic::Mul => inputs().map(|[a, b]| [Some(b), Some(a)])?,
        Arithmetic::Div => {
            let [a, b] = inputs()?;
            let inverse = engine.arithmetic(Arithmetic::Div, &same(1.0)?, &b)?;
            let by_b = || {
                let quotient = engine.arithmetic(Arithmetic::Mul, &a, &inverse)?;
                negated(engine, &engine.arithmetic(Arithmetic::Mul, &quotient, &inverse)?)
            };
            let by_b = wanted[1].then(by_b).transpose()?;
            [Some(inverse), by_b]
        }
        // Where both are equal the first counts.
        Arithmetic::Max | Arithmetic::Min => {
            let [a, b] = inputs()?;
            let first = match operation {
                Arithmetic::Max => engine.arithmetic(Arithmetic::AtLeast, &a, &b)?,
                _ => engine.arithmetic(Arithmetic::AtLeast, &b, &a)?,
            };
            let second = engine.arithmetic(Arithmetic::Sub, &same(1.0)?, &first)?;
            [Some(first), Some(second)]
        }
        Arithmetic::AtLeast => [Some(same(0.0)?), Some(same(0.0)?)],
    })
}

impl Operator for ArithmeticConstant {
    fn name(&self) -> &'static str {
        name(self.operation)
    }

    fn kind(&self) -> Kind {
        kind(self.operation, self.operation == Arithmetic::Div && self.reversed)
    }

    fn pieces_of_unit(&self, _: &[&[usize]]) -> Option<usize> {
        pieces(Operator::kind(self))
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [_, _, joined] = broadcast(inputs[0], self.constant.shape())?;
        Ok(joined)
    }

    fn parameters(&self) -> usize {
        self.constant.len()
    }

    fn has_parameter_factors(&self) -> bool {
        matches!(self.operation, Arithmetic::Add | Arithmetic::Mul)
    }

    fn parameter_values(&self) -> Result<ParameterValues> {
        match self.operation {
            Arithmetic::Add => ParameterValues::elementwise(None, Some(&self.constant)),
            _ => ParameterValues::elementwise(Some(&self.constant), None),
        }
    }

    fn remembers(&self) -> Remembers {
        match (self.operation, self.reversed) {
            (Arithmetic::Min | Arithmetic::Max, _) | (Arithmetic::Div, true) => Remembers::INPUTS,
            _ => Remembers::NOTHING,
        }
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        match (self.operation, self.reversed) {
            (Arithmetic::AtLeast, _) | (Arithmetic::Div, true) => None,
            _ => Some(self),
        }
    }
}

impl ConvexRule for ArithmeticConstant {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let (input, one, minus) = (inputs[0], Constant::from(1.0), Constant::from(-1.0));
        match (self.operation, self.reversed) {
            (Arithmetic::Add, _) => rewriting.scaled(input, &one, Some(self.constant.clone())),
            (Arithmetic::Sub, false) => rewriting.scaled(input, &one, Some(self.constant.map(|_, c| -c)?)),
            (Arithmetic::Sub, true) => rewriting.scaled(input, &minus, Some(self.constant.clone())),
            (Arithmetic::Mul, _) => rewriting.scaled(input, &self.constant, None),
            (Arithmetic::Div, _) => rewriting.scaled(input, &self.constant.map(|_, c| 1.0 / c)?, None),
            // Where both are equal the side below counts: of the larger the constant's, of the smaller the input's.
            (Arithmetic::Max, _) => {
                let constant = rewriting.fixed(&self.constant)?;
                rewriting.larger(constant, input)
            }
            (Arithmetic::Min, _) => {
                let constant = rewriting.fixed(&self.constant)?;
                rewriting.smaller(input, constant)
            }
            (Arithmetic::AtLeast, _) => unreachable!("it has no rule"),
        }
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
    fn widened(&self, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        x.reshaped(batched(x.rows(), &self.wide))
    }

    /// A tangent or cotangent of the wide shape times the derivative by `x`; `[N * r, ..]`.
    fn scale(&self, engine: &E, pass: &Pass<'_, E>, t: &TensorOf<E>) -> Result<TensorOf<E>> {
        match (self.operation, self.reversed) {
            (Arithmetic::Add, _) | (Arithmetic::Sub, false) => Ok(t.clone()),
            (Arithmetic::Sub, true) => negated(engine, t),
            (operation @ (Arithmetic::Mul | Arithmetic::Div), false)
            | (operation @ Arithmetic::Mul, true) => engine.arithmetic(operation, t, &self.constant),
            // Where both are equal the side below counts, as for activations: `max(x, 0)` is ReLU.
            (operation, _) => {
                let own = usize::from(operation != Arithmetic::Min);
                let inputs = || {
                    let mut inputs = [self.constant.clone(), self.constant.clone()];
                    inputs[own] = self.widened(pass.input(0))?;
                    Ok(inputs)
                };
                let axes = self.wide.len() + 1;
                let mut factors = partials(engine, operation, axes, inputs, [own == 0, own == 1])?;
                factors[own].take().map_or_else(|| Ok(t.clone()), |by_x| scale_directions(engine, t, &by_x))
            }
        }
    }
}

impl<E: Engine> Unary<E> for PreparedConstant<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let x = self.widened(x)?;
        let (a, b) = if self.reversed { (&self.constant, &x) } else { (&x, &self.constant) };
        Ok((engine.arithmetic(self.operation, a, b)?, None))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        expand(engine, &self.scale(engine, pass, &self.widened(tangent)?)?, &self.joined)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        unbroadcast(engine, &self.scale(engine, pass, cotangent)?, &self.wide, &self.own)
    }

    /// 1 where the input is above the constant, as for activations; of a comparison 1 where it holds, if that is the
    /// side above.
    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        let x = self.widened(pass.input(0))?;
        match (self.operation, self.reversed) {
            (Arithmetic::AtLeast, false) => {
                pack_at_least(engine, [&x, &self.constant], false, codes, packing)
            }
            _ => pack_at_least(engine, [&self.constant, &x], true, codes, packing),
        }
    }

    /// A group for each element of the constant: for a product `a` the input and `d` the cotangent, for a sum a bias.
    fn parameter_factors(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        let x = self.widened(pass.input(0))?;
        let factor = match self.operation {
            Arithmetic::Add => None,
            Arithmetic::Mul => Some(&x),
            _ => return Ok(None),
        };
        ParameterFactors::elementwise(engine, &self.constant.shape()[1..], factor, cotangent, x.rows())
            .map(Some)
    }
}

impl Operator for Branches {
    fn name(&self) -> &'static str {
        name(self.operation)
    }

    fn kind(&self) -> Kind {
        kind(self.operation, true)
    }

    fn pieces_of_unit(&self, _: &[&[usize]]) -> Option<usize> {
        pieces(Operator::kind(self))
    }

    fn remembers(&self) -> Remembers {
        match self.operation {
            Arithmetic::Add | Arithmetic::Sub => Remembers::NOTHING,
            _ => Remembers::INPUTS,
        }
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [_, _, joined] = broadcast(inputs[0], inputs[1])?;
        Ok(joined)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        match self.operation {
            Arithmetic::Mul | Arithmetic::Div | Arithmetic::AtLeast => None,
            _ => Some(self),
        }
    }

    fn series_rule(&self, varies: &[bool]) -> Option<SeriesRule> {
        match (self.operation, varies) {
            (Arithmetic::Add | Arithmetic::Sub, _) => Some(SeriesRule::Linear),
            (Arithmetic::Mul, [true, true]) => Some(SeriesRule::Product),
            (Arithmetic::Mul, _) | (Arithmetic::Div, [true, false]) => Some(SeriesRule::Linear),
            _ => None,
        }
    }
}

impl ConvexRule for Branches {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let (first, second) = (inputs[0], inputs[1]);
        match self.operation {
            Arithmetic::Add => rewriting.added([(1.0, first), (1.0, second)]),
            Arithmetic::Sub => rewriting.added([(1.0, first), (-1.0, second)]),
            Arithmetic::Max => rewriting.larger(first, second),
            Arithmetic::Min => rewriting.smaller(first, second),
            Arithmetic::Mul | Arithmetic::Div | Arithmetic::AtLeast => unreachable!("they have no rule"),
        }
    }
}

impl Branches {
    /// Derivatives by either input, as factors of a tangent; `None` means 1.
    fn factors<E: Engine>(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        wanted: [bool; 2],
    ) -> Result<[Option<TensorOf<E>>; 2]> {
        let [a, b, joined] = broadcast(pass.shape(0), pass.shape(1))?;
        let widen =
            |i: usize, sample: &[usize]| pass.input(i).reshaped(batched(pass.input(i).rows(), sample));
        partials(engine, self.operation, joined.len() + 1, || Ok([widen(0, &a)?, widen(1, &b)?]), wanted)
    }
}

impl<E: Engine> Prepared<E> for Branches {
    fn forward(&self, engine: &E, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let [a, b, _] = broadcast(&inputs[0].shape()[1..], &inputs[1].shape()[1..])?;
        let a = inputs[0].reshaped(batched(inputs[0].rows(), &a))?;
        let b = inputs[1].reshaped(batched(inputs[1].rows(), &b))?;
        Ok((engine.arithmetic(self.operation, &a, &b)?, None))
    }

    fn jacobian_vector(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        tangents: &[Option<&TensorOf<E>>],
    ) -> Result<TensorOf<E>> {
        let [a, b, joined] = broadcast(pass.shape(0), pass.shape(1))?;
        let factors = self.factors(engine, pass, [tangents[0].is_some(), tangents[1].is_some()])?;
        let mut sum: Option<TensorOf<E>> = None;
        for ((tangent, factor), wide) in tangents.iter().zip(factors).zip([&a, &b]) {
            let Some(tangent) = tangent else { continue };
            let tangent = tangent.reshaped(batched(tangent.rows(), wide))?;
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
        let [a, b, _] = broadcast(pass.shape(0), pass.shape(1))?;
        let factors = self.factors(engine, pass, [wanted[0], wanted[1]])?;
        let mut result = Vec::with_capacity(2);
        for (i, (factor, wide)) in factors.into_iter().zip([&a, &b]).enumerate() {
            let cotangent = || {
                let scaled = match &factor {
                    Some(factor) => scale_directions(engine, cotangent, factor)?,
                    None => cotangent.clone(),
                };
                unbroadcast(engine, &scaled, wide, pass.shape(i))
            };
            result.push(wanted[i].then(cotangent).transpose()?);
        }
        Ok(result)
    }
    /// 1 where the second branch counts; of a comparison where it holds.
    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        let [a, b, _] = broadcast(pass.shape(0), pass.shape(1))?;
        let a = pass.input(0).reshaped(batched(pass.input(0).rows(), &a))?;
        let b = pass.input(1).reshaped(batched(pass.input(1).rows(), &b))?;
        match self.operation {
            Arithmetic::AtLeast => pack_at_least(engine, [&a, &b], false, codes, packing),
            Arithmetic::Min => pack_at_least(engine, [&b, &a], true, codes, packing),
            _ => pack_at_least(engine, [&a, &b], true, codes, packing),
        }
    }
}
