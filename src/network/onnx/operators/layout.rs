//! Operators that move elements: joins, borders and orders of axes.

use crate::network::onnx::call::{Call, Step, Value, unsupported};
use crate::network::onnx::tensor::Tensor;
use crate::network::operators::{Concat, Pad, Permute};

pub(super) fn concat(call: &mut Call<'_>) -> Step<Value> {
    let axis = call.int("axis")?.ok_or_else(|| call.wrong("the attribute 'axis' is missing"))?;
    call.no_more_attributes()?;
    call.arity(1..=usize::MAX)?;
    let (mut ids, mut rank) = (vec![], 0);
    for i in 0..call.count() {
        let (id, sample) = call.data(i)?;
        ids.push(id);
        rank = sample.len() + 1;
    }
    match call.axis(axis, rank)? {
        0 => unsupported("it joins batches"),
        axis => call.add(Concat { axis: axis - 1 }, &ids),
    }
}

pub(super) fn transpose(call: &mut Call<'_>) -> Step<Value> {
    let order = call.ints("perm")?;
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let rank = match call.value(0)? {
        Value::Constant(tensor) => tensor_rank(tensor),
        _ => call.data(0)?.1.len() + 1,
    };
    let order = match order {
        Some(order) => order.iter().map(|&axis| call.axis(axis, rank)).collect::<Step<Vec<usize>>>()?,
        None => (0..rank).rev().collect(),
    };
    match call.value(0)? {
        Value::Constant(Tensor::Float(constant)) => {
            Ok(Value::Constant(Tensor::Float(call.checked(constant.permuted(&order))?)))
        }
        Value::Constant(other) => unsupported(format!("of a constant that holds {}", other.kind())),
        _ if order.first() != Some(&0) => {
            unsupported(format!("the order {order:?} moves the batch, which must stay first"))
        }
        _ => {
            let (x, _) = call.data(0)?;
            // A second 0 fits no order of the axes of a sample, and is refused there.
            let order = order[1..].iter().map(|axis| axis.wrapping_sub(1)).collect();
            call.add(Permute { order }, &[x])
        }
    }
}

fn tensor_rank(tensor: &Tensor) -> usize {
    match tensor {
        Tensor::Float(constant) => constant.shape().len(),
        Tensor::Int { shape, .. } => shape.len(),
        Tensor::Infinite(_) | Tensor::Bool(_) => 0,
    }
}

pub(super) fn pad(call: &mut Call<'_>) -> Step<Value> {
    let mode = call.string("mode")?.unwrap_or("constant");
    if mode != "constant" {
        return unsupported(format!("the mode '{}'; only 'constant' is supported", mode.escape_debug()));
    }
    let (widths, value, axes) = if call.setting.opset < 11 {
        let widths = call.ints("pads")?.ok_or_else(|| call.wrong("the attribute 'pads' is missing"))?;
        let value = f64::from(call.float("value")?.unwrap_or(0.0));
        call.no_more_attributes()?;
        call.arity(1..=1)?;
        (widths.to_vec(), value, None)
    } else {
        call.no_more_attributes()?;
        call.arity(2..=if call.setting.opset < 18 { 3 } else { 4 })?;
        let widths = call.integers(1, "widths")?.to_vec();
        let value = call.has(2).then(|| call.number(2, "value")).transpose()?.unwrap_or(0.0);
        let axes = call.has(3).then(|| call.integers(3, "axes")).transpose()?;
        (widths, value, axes.map(<[i64]>::to_vec))
    };
    if !value.is_finite() {
        return unsupported(format!("a border of {value}"));
    }
    let (x, sample) = call.data(0)?;
    let rank = sample.len() + 1;
    let axes = match axes {
        Some(axes) => axes.iter().map(|&axis| call.axis(axis, rank)).collect::<Step<Vec<usize>>>()?,
        None => (0..rank).collect(),
    };
    if widths.len() != 2 * axes.len() {
        return Err(call.wrong(format_args!("{} widths do not fit {} axes", widths.len(), axes.len())));
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    let mut seen = vec![false; rank];
    for (i, &axis) in axes.iter().enumerate() {
        if std::mem::replace(&mut seen[axis], true) {
            return Err(call.wrong(format_args!("the axis {axis} is there twice")));
        }
        let width = |width: i64| {
            // Wider borders are no samples that could be computed with.
            let width = isize::try_from(width).ok().filter(|width| width.unsigned_abs() < 1 << 40);
            width.ok_or_else(|| call.wrong(format_args!("the widths {widths:?} are too large")))
        };
        (before[axis], after[axis]) = (width(widths[i])?, width(widths[i + axes.len()])?);
    }
    if before[0] != 0 || after[0] != 0 {
        return unsupported("it pads the batch");
    }
    call.add(Pad { before: before.split_off(1), after: after.split_off(1), value }, &[x])
}
