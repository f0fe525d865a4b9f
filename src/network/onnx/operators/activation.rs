//! Elementwise functions, and the softmax that can be left out.

use crate::engine::Activation;
use crate::network::onnx::call::{Call, Step, Value, unsupported};

/// A function without parameters.
pub(super) fn plain(call: &mut Call<'_>, activation: Activation) -> Step<Value> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let (x, _) = call.data(0)?;
    call.add(activation, &[x])
}

pub(super) fn leaky_relu(call: &mut Call<'_>) -> Step<Value> {
    let slope = f64::from(call.float("alpha")?.unwrap_or(0.01));
    plain(call, Activation::LeakyRelu { slope })
}

pub(super) fn gelu(call: &mut Call<'_>) -> Step<Value> {
    if call.setting.opset < 20 {
        return unsupported("it exists from opset 20");
    }
    match call.string("approximate")?.unwrap_or("none") {
        "none" => plain(call, Activation::Gelu),
        "tanh" => plain(call, Activation::GeluTanh),
        other => Err(call.wrong(format_args!("the attribute 'approximate' is '{}'", other.escape_debug()))),
    }
}

pub(super) fn clip(call: &mut Call<'_>) -> Step<Value> {
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
    let (x, _) = call.data(0)?;
    call.add(Activation::Clip { low, high }, &[x])
}

/// A softmax, or its logarithm, over the outputs of the graph: the same network without it.
pub(in crate::network::onnx) fn softmax(call: &mut Call<'_>) -> Step<Value> {
    let axis = call.int("axis")?.unwrap_or(if call.setting.opset < 13 { 1 } else { -1 });
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let (x, shape) = call.data(0)?;
    if call.axis(axis, shape.len() + 1)? == 0 {
        return unsupported("it runs over the batch");
    }
    Ok(Value::Data(x))
}
