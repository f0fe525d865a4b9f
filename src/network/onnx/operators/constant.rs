//! Constants, and nodes that do nothing.

use crate::network::Constant;
use crate::network::onnx::call::{Call, Step, Stop, unsupported};
use crate::network::onnx::external::Weights;
use crate::network::onnx::operand::Operand;
use crate::network::onnx::tensor::{Integer, Tensor};

pub(super) fn identity(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    call.operand(0)
}

/// Dropout at inference.
pub(super) fn dropout(call: &mut Call<'_>) -> Step<Operand> {
    if call.setting.opset < 12 {
        call.float("ratio")?;
    } else {
        call.int("seed")?;
    }
    call.no_more_attributes()?;
    call.arity(1..=if call.setting.opset < 12 { 1 } else { 3 })?;
    if call.has(2) {
        match call.constant(2, "training mode")? {
            Tensor::Bool { values, .. } if values.iter().any(|&training| training) => {
                return unsupported("it is in training mode");
            }
            Tensor::Bool { .. } => {}
            other => return Err(call.wrong(format_args!("its training mode holds {}", other.kind()))),
        }
    }
    call.operand(0)
}

/// A constant that is a node.
pub(in crate::network::onnx) fn constant(call: &mut Call<'_>, weights: &mut Weights<'_>) -> Step<Operand> {
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
            found.push(Tensor::Int {
                shape: vec![],
                values: std::sync::Arc::new(vec![Integer::Known(value)]),
            });
        }
        if let Some(values) = call.ints("value_ints")? {
            found.push(Tensor::ints(values.iter().copied()));
        }
    }
    call.no_more_attributes()?;
    match (found.pop(), found.is_empty()) {
        (Some(tensor), true) => Ok(Operand::from(tensor)),
        _ => Err::<_, Stop>(call.wrong("it must have exactly one value")),
    }
}
