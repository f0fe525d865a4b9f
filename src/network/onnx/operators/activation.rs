//! Elementwise functions.

use crate::engine::{Activation, Arithmetic};
use crate::network::Constant;
use crate::network::onnx::batch::Batch;
use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::onnx::tensor::Tensor;
use crate::network::operators::{ArithmeticConstant, Branches, PRelu, Reshape, Softmax};

use super::arithmetic::{binary, with_number};
use super::folding;

/// A function without parameters.
pub(super) fn plain(call: &mut Call<'_>, activation: Activation) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let x = call.operand(0)?;
    call.function(activation, &x)
}

/// A parameter in the file's precision, or its default; the text of ONNX gives defaults as numbers of f32.
fn parameter(call: &mut Call<'_>, name: &'static str, default: f32) -> Step<f64> {
    Ok(f64::from(call.float(name)?.unwrap_or(default)))
}

pub(super) fn leaky_relu(call: &mut Call<'_>) -> Step<Operand> {
    let slope = parameter(call, "alpha", 0.01)?;
    plain(call, Activation::LeakyRelu { slope })
}

pub(super) fn elu(call: &mut Call<'_>) -> Step<Operand> {
    let alpha = parameter(call, "alpha", 1.0)?;
    plain(call, Activation::Elu { alpha })
}

pub(super) fn selu(call: &mut Call<'_>) -> Step<Operand> {
    // As the text of ONNX writes them; an f32 holds fewer digits.
    let alpha = parameter(call, "alpha", 1.673_263_2)?;
    let gamma = parameter(call, "gamma", 1.050_701)?;
    plain(call, Activation::Selu { alpha, gamma })
}

pub(super) fn celu(call: &mut Call<'_>) -> Step<Operand> {
    let alpha = parameter(call, "alpha", 1.0)?;
    if alpha == 0.0 {
        return Err(call.wrong("its alpha is 0, and it divides by that"));
    }
    plain(call, Activation::Celu { alpha })
}

pub(super) fn hard_sigmoid(call: &mut Call<'_>) -> Step<Operand> {
    let alpha = parameter(call, "alpha", 0.2)?;
    let beta = parameter(call, "beta", 0.5)?;
    plain(call, Activation::HardSigmoid { alpha, beta })
}

/// A function that exists from some opset on.
pub(super) fn since(call: &mut Call<'_>, opset: i64, activation: Activation) -> Step<Operand> {
    exists_since(call, opset)?;
    plain(call, activation)
}

pub(super) fn exists_since(call: &Call<'_>, opset: i64) -> Step<()> {
    if call.setting.opset < opset { unsupported(format!("it exists from opset {opset}")) } else { Ok(()) }
}

pub(super) fn gelu(call: &mut Call<'_>) -> Step<Operand> {
    exists_since(call, 20)?;
    match call.string("approximate")?.unwrap_or("none") {
        "none" => plain(call, Activation::Gelu),
        "tanh" => plain(call, Activation::GeluTanh),
        other => Err(call.wrong(format_args!("the attribute 'approximate' is '{}'", other.escape_debug()))),
    }
}

/// `x * sigmoid(alpha * x)`
pub(super) fn swish(call: &mut Call<'_>) -> Step<Operand> {
    exists_since(call, 24)?;
    let alpha = parameter(call, "alpha", 1.0)?;
    if alpha == 1.0 {
        return plain(call, Activation::Silu);
    }
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let x = call.operand(0)?;
    let scaled = with_number(call, Arithmetic::Mul, &x, alpha)?;
    let gate = call.function(Activation::Sigmoid, &scaled)?;
    call.step(Branches { operation: Arithmetic::Mul }, &[&x, &gate], x.layout.batch)
}

/// `x` above `alpha`, else 0.
pub(super) fn thresholded_relu(call: &mut Call<'_>) -> Step<Operand> {
    let alpha = parameter(call, "alpha", 1.0)?;
    exists_since(call, 10)?;
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let x = call.computed(0)?;
    let constant = Constant::from(alpha);
    let below =
        call.function(ArithmeticConstant { operation: Arithmetic::AtLeast, constant, reversed: true }, &x)?;
    let constant = Constant::from(1.0);
    let above =
        call.function(ArithmeticConstant { operation: Arithmetic::Sub, constant, reversed: true }, &below)?;
    call.step(Branches { operation: Arithmetic::Mul }, &[&x, &above], x.layout.batch)
}

pub(super) fn prelu(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let x = call.computed(0)?;
    call.weights(1, "slopes")?;
    let slopes = call.operand(1)?;
    let (operands, batch) = call.aligned(vec![x, slopes])?;
    let [x, slopes] = &operands[..] else { return Err(call.wrong("it takes 2 inputs")) };
    let slopes = match slopes.tensor() {
        Some(Tensor::Float(slopes)) if slopes.shape().len() <= x.layout.sample.len() => slopes.clone(),
        _ => return Err(call.wrong("its slopes have more axes than its input")),
    };
    call.step(PRelu { slopes }, &[x], batch)
}

pub(super) fn negative(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    if let Some(folded) = folding::negative(call)? {
        return Ok(folded);
    }
    let x = call.operand(0)?;
    with_number(call, Arithmetic::Mul, &x, -1.0)
}

pub(super) fn reciprocal(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let x = call.operand(0)?;
    let one = Operand::from(Tensor::Float(Constant::from(1.0)));
    binary(call, Arithmetic::Div, one, x)
}

/// A power with a constant exponent, or of a constant base.
pub(super) fn power(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let x = call.operand(0)?;
    let (exponent, shape) = {
        let exponents = match call.constant(1, "exponent") {
            Ok(tensor) => folding::floats(call, tensor, 1)?,
            Err(stop) if !x.is_constant() => return Err(stop),
            Err(_) => return power_of_base(call),
        };
        let values = exponents.to::<f64>();
        match values.first() {
            Some(&first) if values.iter().all(|&value| value == first) => (first, exponents.shape().to_vec()),
            _ => return unsupported("its exponents differ"),
        }
    };
    let y = if exponent == 1.0 { x } else { call.function(Activation::Power { exponent }, &x)? };
    if shape.len() > y.rank() || shape.iter().any(|&length| length != 1) {
        // The exponent also broadcasts.
        let ones = Constant::f64(shape.clone(), vec![1.0; shape.iter().product()]);
        let ones = Operand::from(Tensor::Float(call.checked(ones)?));
        return binary(call, Arithmetic::Mul, y, ones);
    }
    Ok(y)
}

/// `base^x = exp(x ln base)` for one positive base.
fn power_of_base(call: &mut Call<'_>) -> Step<Operand> {
    let base = call.number(0, "base")?;
    if !base.is_finite() || base <= 0.0 {
        return unsupported(format!(
            "the base {base} of a computed exponent; only positive ones are supported"
        ));
    }
    let x = call.computed(1)?;
    if call.operand(0)?.rank() > x.rank() {
        return unsupported("its base has more axes than its exponent");
    }
    let scaled = with_number(call, Arithmetic::Mul, &x, base.ln())?;
    call.function(Activation::Exp, &scaled)
}

pub(super) fn clip(call: &mut Call<'_>) -> Step<Operand> {
    let (low, high) = if call.setting.opset < 11 {
        let low = call.bound("min")?.map(f64::from);
        (low, call.bound("max")?.map(f64::from))
    } else {
        call.no_more_attributes()?;
        call.arity(1..=3)?;
        let low = call.has(1).then(|| call.number(1, "lower limit")).transpose()?;
        (low, call.has(2).then(|| call.number(2, "upper limit")).transpose()?)
    };
    // The largest number of f32 is how many files write that there is no limit.
    let limitless = f64::from(f32::MAX);
    let low = low.filter(|&low| low > -limitless).unwrap_or(f64::NEG_INFINITY);
    let high = high.filter(|&high| high < limitless).unwrap_or(f64::INFINITY);
    if low > high || low == f64::INFINITY || high == f64::NEG_INFINITY {
        return unsupported(format!("its lower limit {low} is above its upper limit {high}"));
    }
    call.no_more_attributes()?;
    let x = call.operand(0)?;
    call.function(Activation::Clip { low, high }, &x)
}

/// The axes over which a softmax runs, in the file, as a range of them: before opset 13 it flattened all from one on.
fn softmax_axes(call: &mut Call<'_>, x: &Operand) -> Step<std::ops::Range<usize>> {
    let old = call.setting.opset < 13;
    let axis = call.int("axis")?.unwrap_or(if old { 1 } else { -1 });
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let rank = x.rank();
    if old && axis == rank as i64 {
        return Ok(rank..rank);
    }
    let axis = call.axis(axis, rank)?;
    Ok(axis..if old { rank } else { axis + 1 })
}

pub(super) fn softmax(call: &mut Call<'_>, log: bool) -> Step<Operand> {
    let x = call.operand(0)?;
    let axes = softmax_axes(call, &x)?;
    let all: Vec<usize> = axes.collect();
    let x = call.exposed(x, &all, "it runs over")?;
    let sample: Vec<usize> = all.iter().filter_map(|&axis| x.layout.along(axis)).collect();
    let Some(&axis) = sample.first() else {
        return unsupported("it runs over no axis");
    };
    if sample[1..].iter().all(|&axis| x.layout.sample[axis] == 1) {
        return call.function(Softmax { axis, log }, &x);
    }
    // The axes are the last ones.
    let flat = [&x.layout.sample[..axis], &[x.layout.sample[axis..].iter().product()]].concat();
    let (batch, layout) = (x.layout.batch, x.layout.clone());
    let joined = call.step(Reshape { shape: flat }, &[&x], Batch::None)?;
    let y = call.step(Softmax { axis, log }, &[&joined], Batch::None)?;
    call.step(Reshape { shape: layout.sample }, &[&y], batch)
}

/// A softmax, or its logarithm, over the outputs of the graph: the same network without it.
pub(in crate::network::onnx) fn logits(call: &mut Call<'_>) -> Step<Operand> {
    let x = call.operand(0)?;
    let axes = softmax_axes(call, &x)?;
    if axes.clone().any(|axis| x.layout.along(axis).is_none()) {
        return unsupported("it runs over the batch");
    }
    Ok(x)
}
