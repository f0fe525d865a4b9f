//! Constants, and nodes that do nothing.

use std::sync::Arc;

use crate::network::Constant;
use crate::network::onnx::call::{Call, Step, Stop, Value, unsupported};
use crate::network::onnx::decode::Element;
use crate::network::onnx::external::Weights;
use crate::network::onnx::tensor::Tensor;

pub(super) fn identity(call: &mut Call<'_>) -> Step<Value> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    call.alias()
}

/// Dropout at inference.
pub(super) fn dropout(call: &mut Call<'_>) -> Step<Value> {
    if call.setting.opset < 12 {
        call.float("ratio")?;
    } else {
        call.int("seed")?;
    }
    call.no_more_attributes()?;
    call.arity(1..=if call.setting.opset < 12 { 1 } else { 3 })?;
    if call.has(2) {
        match call.constant(2, "training mode")? {
            Tensor::Bool(values) if values.iter().any(|&training| training) => {
                return unsupported("it is in training mode");
            }
            Tensor::Bool(_) => {}
            other => return Err(call.wrong(format_args!("its training mode holds {}", other.kind()))),
        }
    }
    call.alias()
}

/// A conversion of a constant.
pub(super) fn cast(call: &mut Call<'_>) -> Step<Value> {
    let to = call.int("to")?.and_then(|to| i32::try_from(to).ok());
    let to = Element::of(to.ok_or_else(|| call.wrong("it names no type to convert to"))?);
    if call.setting.opset >= 19 {
        call.int("saturate")?;
    }
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let tensor = match call.value(0)? {
        Value::Constant(tensor) => tensor,
        _ => return unsupported("it converts computed values; only constants can be converted"),
    };
    let converted = match (tensor, to) {
        (Tensor::Float(constant), Element::F32) => {
            let shape = constant.shape().to_vec();
            Tensor::f32(shape, constant.to())
        }
        (Tensor::Float(constant), Element::F64) => Tensor::f64(constant.shape().to_vec(), constant.to()),
        (Tensor::Int { shape, values }, Element::F32) => {
            Tensor::f32(shape.clone(), values.iter().map(|&value| value as f32).collect())
        }
        (Tensor::Int { shape, values }, Element::F64) => {
            Tensor::f64(shape.clone(), values.iter().map(|&value| value as f64).collect())
        }
        (Tensor::Int { .. }, Element::I64) => Ok(tensor.clone()),
        _ => return unsupported(format!("it converts {} to {}", tensor.kind(), to.name())),
    };
    converted.map(Value::Constant).map_err(|reason| call.wrong(format_args!("its result {reason}")))
}

/// A constant that is a node.
pub(in crate::network::onnx) fn constant(call: &mut Call<'_>, weights: &mut Weights<'_>) -> Step<Value> {
    call.arity(0..=0)?;
    let mut found = vec![];
    if let Some(tensor) = call.tensor("value")? {
        found.push(Tensor::read(tensor, call.label(), weights)?);
    }
    if call.setting.opset >= 12 {
        let finite =
            |result: crate::Result<Constant>, call: &Call<'_>| call.checked(result).map(Tensor::Float);
        if let Some(value) = call.float("value_float")? {
            found.push(finite(Constant::f32([], vec![value]), call)?);
        }
        if let Some(values) = call.floats("value_floats")? {
            found.push(finite(Constant::f32([values.len()], values.to_vec()), call)?);
        }
        if let Some(value) = call.int("value_int")? {
            found.push(Tensor::Int { shape: vec![], values: Arc::new(vec![value]) });
        }
        if let Some(values) = call.ints("value_ints")? {
            found.push(Tensor::ints(values.to_vec()));
        }
    }
    call.no_more_attributes()?;
    match (found.pop(), found.is_empty()) {
        (Some(tensor), true) => Ok(Value::Constant(tensor)),
        _ => Err::<_, Stop>(call.wrong("it must have exactly one value")),
    }
}
