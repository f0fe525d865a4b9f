//! Products of matrices.

use crate::engine::Arithmetic;
use crate::network::Constant;
use crate::network::onnx::batch::Batch;
use crate::network::onnx::call::{Call, Step, Value, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::onnx::tensor::{Integer, Tensor};
use crate::network::operators::{Dense, Product};

use super::arithmetic::{binary, with_number};
use super::layout::permuted;

/// `constant * factor`. In f64 unless nothing changes: the product has more digits than an f32.
fn scaled(constant: &Constant, factor: f32) -> crate::Result<Constant> {
    if factor == 1.0 {
        return Ok(constant.clone());
    }
    constant.map(|_, value| value * f64::from(factor))
}

/// `alpha * A * B + beta * C`.
pub(super) fn gemm(call: &mut Call<'_>) -> Step<Operand> {
    let (alpha, beta) = (call.float("alpha")?.unwrap_or(1.0), call.float("beta")?.unwrap_or(1.0));
    let (left, right) = (call.flag("transA")?, call.flag("transB")?);
    call.no_more_attributes()?;
    call.arity(2..=3)?;
    let x = call.operand(0)?;
    if x.rank() != 2 {
        let sample = &x.layout.sample;
        return Err(
            call.wrong(format_args!("its input must be a matrix [batch, ..], samples have {sample:?}"))
        );
    }
    let x = if left { permuted(call, &x, &[1, 0])? } else { x };
    if x.is_constant() || matches!(call.value(1)?, Value::Data(..)) {
        let y = call.operand(1)?;
        if y.rank() != 2 {
            return Err(call.wrong("its weights must be a matrix"));
        }
        let y = if right { permuted(call, &y, &[1, 0])? } else { y };
        let product = multiplied(call, x, y)?;
        let scaled = with_number(call, Arithmetic::Mul, &product, f64::from(alpha))?;
        return shifted(call, scaled, beta);
    }
    let weights = call.weights(1, "second input")?;
    if weights.shape().len() != 2 {
        return Err(call.wrong(format_args!("its weights must be a matrix, not {:?}", weights.shape())));
    }
    let weights = if right { call.checked(weights.transposed())? } else { weights.clone() };
    let weights = call.checked(scaled(&weights, alpha))?;
    match bias(call, weights.shape()[1], beta)? {
        Bias::Outputs(bias) => dense(call, x, weights, bias),
        Bias::Other => {
            let product = dense(call, x, weights, None)?;
            shifted(call, product, beta)
        }
    }
}

/// `x + beta * C` with the third input of a Gemm.
fn shifted(call: &mut Call<'_>, x: Operand, beta: f32) -> Step<Operand> {
    if !call.has(2) {
        return Ok(x);
    }
    let shift = call.operand(2)?;
    let shift = with_number(call, Arithmetic::Mul, &shift, f64::from(beta))?;
    binary(call, Arithmetic::Add, x, shift)
}

/// A product with a constant matrix over the last axis.
fn dense(call: &mut Call<'_>, x: Operand, weights: Constant, bias: Option<Constant>) -> Step<Operand> {
    let last = x.rank() - 1;
    let x = call.exposed(x, &[last], "its product runs over")?;
    let dense = call.checked(Dense::new(weights, bias))?;
    call.function(dense, &x)
}

/// The third input of a Gemm.
enum Bias {
    /// One number for each output, or none.
    Outputs(Option<Constant>),
    /// Anything else.
    Other,
}

fn bias(call: &Call<'_>, outputs: usize, beta: f32) -> Step<Bias> {
    if !call.has(2) {
        return Ok(Bias::Outputs(None));
    }
    let Value::Constant(Tensor::Float(bias)) = call.value(2)? else { return Ok(Bias::Other) };
    let spread = match *bias.shape() {
        [] | [1] | [1, 1] => Constant::f64([outputs], vec![bias.to::<f64>()[0]; outputs]),
        [length] | [1, length] if length == outputs => bias.reshaped([outputs]),
        _ => return Ok(Bias::Other),
    };
    let spread = call.checked(spread)?;
    call.checked(scaled(&spread, beta)).map(|bias| Bias::Outputs(Some(bias)))
}

pub(super) fn matmul(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let (x, y) = (call.operand(0)?, call.operand(1)?);
    if x.rank() == 0 || y.rank() == 0 {
        return Err(call.wrong("an operand has no axes"));
    }
    if let Some(Tensor::Float(weights)) = y.tensor()
        && !x.is_constant()
        && let Some(weights) = matrix(weights, x.rank())
    {
        let vector = y.rank() == 1;
        let product = dense(call, x, weights, None)?;
        let last = product.rank() - 1;
        return if vector { super::shapes::dropped_axes(call, product, &[last]) } else { Ok(product) };
    }
    // A vector on the left is a row, one on the right a column; the axis that they get is dropped again.
    let (row, column) = (x.rank() == 1, y.rank() == 1);
    let x = if row { with_axis(call, x, 0)? } else { x };
    let y = if column { with_axis(call, y, 1)? } else { y };
    let product = multiplied(call, x, y)?;
    let last = product.rank() - 1;
    let dropped: Vec<usize> = [(row, last - 1), (column, last)]
        .into_iter()
        .filter_map(|(drop, axis)| drop.then_some(axis))
        .collect();
    if dropped.is_empty() { Ok(product) } else { super::shapes::dropped_axes(call, product, &dropped) }
}

/// The product of two operands of at least two axes.
fn multiplied(call: &mut Call<'_>, x: Operand, y: Operand) -> Step<Operand> {
    let rank = x.rank().max(y.rank());
    let is_multiplied = |batch| matches!(batch, Batch::Axis { axis, .. } if axis + 2 >= rank);
    let (mut operands, mut batch) = call.aligned(vec![x, y])?;
    if is_multiplied(batch) && call.setting.batch == Some(1) {
        operands = operands.into_iter().map(|x| call.outside(x)).collect::<Step<Vec<_>>>()?;
        batch = Batch::None;
    }
    if is_multiplied(batch) {
        return unsupported("the batch is one of the axes that it multiplies");
    }
    call.step(Product, &operands.iter().collect::<Vec<_>>(), batch)
}

/// A vector as a matrix with one row (the new axis first) or one column.
fn with_axis(call: &mut Call<'_>, x: Operand, at: usize) -> Step<Operand> {
    let mut target = x.layout.lengths();
    if matches!(target[0], Integer::Batch(_)) {
        return unsupported("its product runs over the batch");
    }
    target.insert(at, Integer::Known(1));
    call.reshaped(x, &target)
}

/// Constant weights that are one matrix: leading axes of length 1 repeat it, as long as they do not outnumber those
/// of the data.
fn matrix(weights: &Constant, rank: usize) -> Option<Constant> {
    let shape = weights.shape();
    if let [inputs] = *shape {
        return weights.reshaped([inputs, 1]).ok();
    }
    let (leading, matrix) = shape.split_at(shape.len() - 2);
    let single = leading.iter().all(|&length| length == 1) && shape.len() <= rank;
    if single { weights.reshaped(matrix.to_vec()).ok() } else { None }
}
