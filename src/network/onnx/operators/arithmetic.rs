//! Addition, subtraction, multiplication and division.

use crate::engine::Arithmetic;
use crate::network::Constant;
use crate::network::onnx::call::{Call, Step, Value, unsupported};
use crate::network::onnx::tensor::Tensor;
use crate::network::operators::{ArithmeticConstant, Branches};

/// The most elements that a result of constants may have: broadcasting makes large ones out of small files.
const LARGEST: usize = 1 << 22;

pub(super) fn arithmetic(call: &mut Call<'_>) -> Step<Value> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let operation = match call.operator() {
        "Add" => Arithmetic::Add,
        "Sub" => Arithmetic::Sub,
        "Mul" => Arithmetic::Mul,
        _ => Arithmetic::Div,
    };
    match (call.value(0)?, call.value(1)?) {
        (Value::Data(_), Value::Data(_)) => branches(call, operation),
        (Value::Data(_), _) => with_constant(call, operation, false),
        (_, Value::Data(_)) => with_constant(call, operation, true),
        _ => folded(call, operation),
    }
}

fn branches(call: &mut Call<'_>, operation: Arithmetic) -> Step<Value> {
    let ((a, shape_a), (b, shape_b)) = (call.data(0)?, call.data(1)?);
    if shape_a.len() != shape_b.len() {
        // Broadcasting lines axes up from the last, so that one batch would meet another axis.
        return unsupported(format!(
            "its inputs have {} and {} axes, so that their batches do not line up",
            shape_a.len() + 1,
            shape_b.len() + 1
        ));
    }
    call.add(Branches { operation }, &[a, b])
}

fn with_constant(call: &mut Call<'_>, operation: Arithmetic, reversed: bool) -> Step<Value> {
    let (data, constant) = if reversed { (1, 0) } else { (0, 1) };
    let (x, sample) = call.data(data)?;
    let mut constant = call.weights(constant, "operand")?.clone();
    if constant.shape().len() > sample.len() {
        let extra = constant.shape().len() - sample.len();
        let (before, own) = constant.shape().split_at(extra);
        if extra > 1 || before != [1] {
            return unsupported(format!(
                "a constant of shape {:?} and samples of shape {sample:?} would mix the batch with other axes",
                constant.shape()
            ));
        }
        let own = own.to_vec();
        constant = call.checked(constant.reshaped(own))?;
    }
    call.add(ArithmeticConstant { operation, constant, reversed }, &[x])
}

/// A constant from two constants, in f64 and rounded to their precision.
fn folded(call: &Call<'_>, operation: Arithmetic) -> Step<Value> {
    let (a, b) = (call.weights(0, "operand")?, call.weights(1, "operand")?);
    let rank = a.shape().len().max(b.shape().len());
    let widen = |shape: &[usize]| [&vec![1; rank - shape.len()], shape].concat();
    let (wide_a, wide_b) = (widen(a.shape()), widen(b.shape()));
    let lengths = wide_a.iter().zip(&wide_b);
    let shape: Vec<usize> = lengths.map(|(&a, &b)| if a == 1 { b } else { a }).collect();
    let count = shape.iter().try_fold(1_usize, |n, &length| n.checked_mul(length));
    if count.is_none_or(|count| count > LARGEST) {
        return unsupported(format!("its constant result of shape {shape:?} is too large"));
    }
    let spread = |constant: &Constant, wide: &[usize]| -> Option<Vec<f64>> {
        let array = ndarray::ArrayD::from_shape_vec(wide, constant.to::<f64>()).ok()?;
        Some(array.broadcast(&shape[..])?.iter().copied().collect())
    };
    let (Some(values_a), Some(values_b)) = (spread(a, &wide_a), spread(b, &wide_b)) else {
        let (a, b) = (a.shape(), b.shape());
        return Err(call.wrong(format_args!("{a:?} and {b:?} cannot be broadcast together")));
    };
    let result = values_a.iter().zip(&values_b).map(|(&a, &b)| operation.of(a, b));
    let constant = if a.is_f32() && b.is_f32() {
        Constant::f32(shape.clone(), result.map(|value| value as f32).collect())
    } else {
        Constant::f64(shape.clone(), result.collect())
    };
    Ok(Value::Constant(Tensor::Float(call.checked(constant)?)))
}
