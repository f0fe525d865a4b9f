//! Products with weights, and normalisation by constants.

use crate::network::Constant;
use crate::network::onnx::call::{Call, Step, Value, unsupported};
use crate::network::operators::{Dense, ScaleShift};

/// `constant * factor`. In f64 unless nothing changes: the product has more digits than an f32.
fn scaled(constant: &Constant, factor: f32) -> crate::Result<Constant> {
    if factor == 1.0 {
        return Ok(constant.clone());
    }
    let values = constant.to::<f64>().iter().map(|value| value * f64::from(factor)).collect();
    Constant::f64(constant.shape(), values)
}

/// `alpha * x * B + beta * C`.
pub(super) fn gemm(call: &mut Call<'_>) -> Step<Value> {
    let (alpha, beta) = (call.float("alpha")?.unwrap_or(1.0), call.float("beta")?.unwrap_or(1.0));
    let (left, right) = (call.flag("transA")?, call.flag("transB")?);
    call.no_more_attributes()?;
    call.arity(2..=3)?;
    let weights = call.weights(1, "second input")?;
    if weights.shape().len() != 2 {
        return Err(call.wrong(format_args!("its weights must be a matrix, not {:?}", weights.shape())));
    }
    let weights = if right { call.checked(weights.transposed())? } else { weights.clone() };
    let outputs = weights.shape()[1];
    let bias = call.has(2).then(|| bias(call, outputs, beta)).transpose()?;
    let (x, sample) = call.data(0)?;
    if left {
        return unsupported("transA=1 on computed values would mix the batch with other axes");
    }
    if sample.len() != 1 {
        return Err(
            call.wrong(format_args!("its input must be a matrix [batch, ..], samples have {sample:?}"))
        );
    }
    let weights = call.checked(scaled(&weights, alpha))?;
    let dense = call.checked(Dense::new(weights, bias))?;
    call.add(dense, &[x])
}

/// The third input of a Gemm, as one number for each output.
fn bias(call: &Call<'_>, outputs: usize, beta: f32) -> Step<Constant> {
    let bias = call.weights(2, "third input")?;
    let spread = match *bias.shape() {
        [] | [1] | [1, 1] => Constant::f64([outputs], vec![bias.to::<f64>()[0]; outputs]),
        [length] | [1, length] if length == outputs => bias.reshaped([outputs]),
        [_, 1] => return unsupported("its third input differs along the batch"),
        [_, length] if length == outputs => {
            return unsupported("its third input differs along the batch");
        }
        _ => {
            return Err(
                call.wrong(format_args!("a third input {:?} does not fit {outputs} outputs", bias.shape()))
            );
        }
    };
    let spread = call.checked(spread)?;
    call.checked(scaled(&spread, beta))
}

pub(super) fn matmul(call: &mut Call<'_>) -> Step<Value> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    match (call.value(0)?, call.value(1)?) {
        (Value::Data(_), Value::Data(_)) => return unsupported("a product of two computed values"),
        (Value::Constant(_), _) => return unsupported("its left operand is a constant"),
        _ => {}
    }
    let weights = call.weights(1, "right operand")?.clone();
    let (x, sample) = call.data(0)?;
    let shape = weights.shape();
    // Leading axes of length 1 repeat one matrix, as long as they do not outnumber those of the data.
    let (leading, matrix) = shape.split_at(shape.len().saturating_sub(2));
    let &[inputs, outputs] = matrix else {
        return unsupported(format!("its right operand has the shape {shape:?}, not that of a matrix"));
    };
    if leading.iter().any(|&length| length != 1) || shape.len() > sample.len() + 1 {
        return unsupported(format!("its right operand has the shape {shape:?}: many matrices"));
    }
    if sample.is_empty() {
        return Err(call.wrong("its left operand has no axis but the batch"));
    }
    let weights = call.checked(weights.reshaped([inputs, outputs]))?;
    let dense = call.checked(Dense::new(weights, None))?;
    call.add(dense, &[x])
}

/// `scale * (x - mean) / sqrt(variance + epsilon) + shift`, with its four constants.
pub(super) fn batch_normalization(call: &mut Call<'_>) -> Step<Value> {
    let epsilon = f64::from(call.float("epsilon")?.unwrap_or(1e-5));
    call.float("momentum")?;
    if call.setting.opset < 9 && call.int("spatial")?.unwrap_or(1) != 1 {
        return unsupported("spatial=0");
    }
    if call.setting.opset >= 14 && call.flag("training_mode")? {
        return unsupported("it is in training mode");
    }
    call.no_more_attributes()?;
    call.arity(5..=5)?;
    if call.outputs() > 1 {
        return unsupported("it has the outputs of training mode");
    }
    let read = |i: usize, what: &str| call.weights(i, what).map(Constant::to::<f64>);
    let (scale, shift) = (read(1, "scale")?, read(2, "shift")?);
    let (mean, variance) = (read(3, "mean")?, read(4, "variance")?);
    let channels = scale.len();
    if [&shift, &mean, &variance].iter().any(|values| values.len() != channels) {
        return Err(call.wrong("its scale, shift, mean and variance differ in length"));
    }
    if let Some(value) = variance.iter().find(|&&value| value + epsilon <= 0.0) {
        return Err(call.wrong(format_args!("the variance {value} plus epsilon {epsilon} is not positive")));
    }
    let slopes: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let offsets = shift.iter().zip(&mean).zip(&slopes).map(|((b, m), s)| b - m * s).collect();
    let (slopes, offsets) = (Constant::f64([channels], slopes), Constant::f64([channels], offsets));
    let (slopes, offsets) = (call.checked(slopes)?, call.checked(offsets)?);
    let (x, _) = call.data(0)?;
    let op = call.checked(ScaleShift::new(slopes, offsets))?;
    call.add(op, &[x])
}
