//! Arithmetic with broadcasting, and what is made of it.

use crate::engine::{Activation, Arithmetic};
use crate::network::Constant;
use crate::network::onnx::call::{Call, Step, Value, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::onnx::tensor::Tensor;
use crate::network::operators::{ArithmeticConstant, Branches};

use super::folding;

/// `a op b`, with broadcasting.
pub(super) fn binary(call: &mut Call<'_>, operation: Arithmetic, a: Operand, b: Operand) -> Step<Operand> {
    let (operands, batch) = call.aligned(vec![a, b])?;
    let [a, b] = &operands[..] else { return Err(call.wrong("it takes 2 inputs")) };
    let (x, constant, reversed) = match (a.tensor(), b.tensor()) {
        (None, Some(constant)) => (a, constant, false),
        (Some(constant), None) => (b, constant, true),
        _ => return call.step(Branches { operation }, &[a, b], batch),
    };
    let constant = match constant {
        Tensor::Infinite(value) if matches!(operation, Arithmetic::Min | Arithmetic::Max) => {
            return limited(call, operation, x, *value);
        }
        Tensor::Float(constant) => constant.clone(),
        other => {
            return Err(call.wrong(format_args!("it computes with a constant that holds {}", other.kind())));
        }
    };
    if matches!(operation, Arithmetic::Min | Arithmetic::Max)
        && constant.len() == 1
        && constant.shape().len() <= x.layout.sample.len()
    {
        return limited(call, operation, x, constant.to::<f64>()[0]);
    }
    call.step(ArithmeticConstant { operation, constant, reversed }, &[x], batch)
}

/// The smaller or the larger of `x` and a number.
fn limited(call: &mut Call<'_>, operation: Arithmetic, x: &Operand, limit: f64) -> Step<Operand> {
    let (low, high) = match operation {
        Arithmetic::Max => (limit, f64::INFINITY),
        _ => (f64::NEG_INFINITY, limit),
    };
    if low == f64::INFINITY || high == f64::NEG_INFINITY {
        return Err(call.wrong("its result is infinite"));
    }
    call.function(if low == 0.0 { Activation::Relu } else { Activation::Clip { low, high } }, x)
}

/// `x op number`
pub(super) fn with_number(
    call: &mut Call<'_>,
    operation: Arithmetic,
    x: &Operand,
    number: f64,
) -> Step<Operand> {
    binary(call, operation, x.clone(), Operand::from(Tensor::Float(Constant::from(number))))
}

/// Add, Sub, Mul and Div.
pub(super) fn arithmetic(call: &mut Call<'_>, operation: Arithmetic) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    if let Some(folded) = folding::integers(call)? {
        return Ok(folded);
    }
    for i in 0..2 {
        if matches!(call.value(i)?, Value::Constant(Tensor::Infinite(_))) {
            // Says which one.
            call.weights(i, "operand")?;
        }
    }
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    binary(call, operation, a, b)
}

/// Sum, Min, Max and Mean of one or more inputs.
pub(super) fn variadic(call: &mut Call<'_>, operation: Arithmetic, mean: bool) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=usize::MAX)?;
    if let Some(folded) = folding::integers(call)? {
        return Ok(folded);
    }
    // Constants first: they become one.
    let (constants, computed): (Vec<Operand>, Vec<Operand>) =
        call.operands()?.into_iter().partition(Operand::is_constant);
    let count = constants.len() + computed.len();
    let mut all = constants.into_iter().chain(computed);
    let Some(mut sum) = all.next() else { return Err(call.wrong("it has no inputs")) };
    for x in all {
        sum = binary(call, operation, sum, x)?;
    }
    if mean && count > 1 { with_number(call, Arithmetic::Mul, &sum, 1.0 / count as f64) } else { Ok(sum) }
}

/// Comparisons; of computed values their result is 1 or 0, with derivative 0.
pub(super) fn comparison(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    if let Some(folded) = folding::comparison(call)? {
        return Ok(folded);
    }
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    let (at_least, opposite) = match call.operator() {
        "GreaterOrEqual" => ((a, b), false),
        "LessOrEqual" => ((b, a), false),
        "Less" => ((a, b), true),
        "Greater" => ((b, a), true),
        _ => return unsupported("of computed values"),
    };
    let truth = binary(call, Arithmetic::AtLeast, at_least.0, at_least.1)?;
    if opposite { without(call, &truth) } else { Ok(truth) }
}

/// `1 - x`
fn without(call: &mut Call<'_>, x: &Operand) -> Step<Operand> {
    let constant = Constant::from(1.0);
    call.function(ArithmeticConstant { operation: Arithmetic::Sub, constant, reversed: true }, x)
}

/// `condition ? a : b`: each is masked and both are added, so that the one that is not chosen must be finite too.
pub(super) fn choice(call: &mut Call<'_>) -> Step<Operand> {
    super::activation::exists_since(call, 9)?;
    call.no_more_attributes()?;
    call.arity(3..=3)?;
    if let Some(folded) = folding::choice(call)? {
        return Ok(folded);
    }
    let condition = call.operand(0)?;
    let masks = match condition.tensor() {
        Some(Tensor::Bool { shape, values }) => {
            let mask = |chosen| {
                let mask = values.iter().map(|&value| if value == chosen { 1.0 } else { 0.0 }).collect();
                call.checked(Constant::f64(shape.clone(), mask))
            };
            [true, false].map(|chosen| mask(chosen).map(|mask| Operand::from(Tensor::Float(mask))))
        }
        None if matches!(call.maker(0), Some("Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual")) => {
            let opposite = without(call, &condition)?;
            [Ok(condition), Ok(opposite)]
        }
        _ => {
            return unsupported(format!(
                "its condition '{}' is neither constant nor a comparison",
                call.name(0)
            ));
        }
    };
    let [first, second] = masks;
    let (a, b) = (call.operand(1)?, call.operand(2)?);
    let a = binary(call, Arithmetic::Mul, a, first?)?;
    let b = binary(call, Arithmetic::Mul, b, second?)?;
    binary(call, Arithmetic::Add, a, b)
}
