//! The same elements under another shape, and shapes themselves.

use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::onnx::tensor::{Integer, Tensor};

pub(super) fn reshape(call: &mut Call<'_>) -> Step<Operand> {
    let zero_is_length = call.setting.opset >= 14 && call.flag("allowzero")?;
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let mut target = call.lengths(1, "shape")?.to_vec();
    let x = call.operand(0)?;
    if !x.is_constant() && target.is_empty() && call.setting.batch != Some(1) {
        return unsupported("its shape [] leaves no axis for the batch");
    }
    for (i, length) in target.iter_mut().enumerate() {
        if *length != Integer::Known(0) {
            continue;
        }
        if zero_is_length && !x.is_constant() {
            return Err(call.wrong("it leaves no samples"));
        }
        if !zero_is_length {
            if i >= x.rank() {
                return Err(
                    call.wrong(format_args!("its shape has a 0 at axis {i}, where its input has none"))
                );
            }
            *length = x.layout.length(i);
        }
    }
    call.reshaped(x, &target)
}

/// The product of lengths.
fn count(call: &Call<'_>, lengths: &[Integer]) -> Step<Integer> {
    let mut count = Integer::Known(1);
    for &length in lengths {
        count = match (count, length) {
            (Integer::Known(a), Integer::Known(b)) => a.checked_mul(b).map(Integer::Known),
            (Integer::Known(a) | Integer::Batch(a), Integer::Known(b) | Integer::Batch(b)) => {
                a.checked_mul(b).map(Integer::Batch)
            }
        }
        .ok_or_else(|| call.wrong("its shape is too large"))?;
    }
    Ok(count)
}

pub(super) fn flatten(call: &mut Call<'_>) -> Step<Operand> {
    let axis = call.int("axis")?.unwrap_or(1);
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let x = call.operand(0)?;
    let lengths = x.layout.lengths();
    // One more than the last axis is allowed: everything goes in front.
    let axis = if axis == lengths.len() as i64 { lengths.len() } else { call.axis(axis, lengths.len())? };
    let target = [count(call, &lengths[..axis])?, count(call, &lengths[axis..])?];
    call.reshaped(x, &target)
}

/// The axes of Squeeze and Unsqueeze: an attribute before opset 13, an input from there.
fn axes(call: &mut Call<'_>) -> Step<Option<Vec<i64>>> {
    if call.setting.opset < 13 {
        let axes = call.ints("axes")?;
        call.no_more_attributes()?;
        call.arity(1..=1)?;
        return Ok(axes.map(<[i64]>::to_vec));
    }
    call.no_more_attributes()?;
    call.arity(1..=2)?;
    call.has(1).then(|| call.integers(1, "axes")).transpose()
}

pub(super) fn squeeze(call: &mut Call<'_>) -> Step<Operand> {
    let axes = axes(call)?;
    let x = call.operand(0)?;
    let rank = x.rank();
    let (x, dropped) = match axes {
        Some(axes) => {
            let axes = call.axes(&axes, rank)?;
            (call.exposed(x, &axes, "it drops")?, axes)
        }
        None if !x.is_constant() && call.setting.batch != Some(1) => {
            return unsupported("without axes it drops the batch whenever that is 1");
        }
        None => {
            let x = call.outside(x)?;
            let ones = (0..rank).filter(|&axis| x.layout.length(axis) == Integer::Known(1)).collect();
            (x, ones)
        }
    };
    if dropped.iter().any(|&axis| x.layout.length(axis) != Integer::Known(1)) {
        let sample = &x.layout.sample;
        return Err(call.wrong(format_args!("it drops an axis of {sample:?} that is longer than 1")));
    }
    dropped_axes(call, x, &dropped)
}

/// Without axes of length 1.
pub(super) fn dropped_axes(call: &mut Call<'_>, x: Operand, dropped: &[usize]) -> Step<Operand> {
    let target: Vec<Integer> =
        (0..x.rank()).filter(|axis| !dropped.contains(axis)).map(|axis| x.layout.length(axis)).collect();
    call.reshaped(x, &target)
}

pub(super) fn unsqueeze(call: &mut Call<'_>) -> Step<Operand> {
    let axes = axes(call)?.ok_or_else(|| call.wrong("it names no axes"))?;
    let x = call.operand(0)?;
    let rank = x.rank() + axes.len();
    call.checked_axes(rank)?;
    let new = call.axes(&axes, rank)?;
    let lengths = x.layout.lengths();
    let mut lengths = lengths.into_iter();
    let target: Vec<Integer> = (0..rank)
        .filter_map(|axis| if new.contains(&axis) { Some(Integer::Known(1)) } else { lengths.next() })
        .collect();
    call.reshaped(x, &target)
}

/// The lengths of the axes of a value.
pub(super) fn shape(call: &mut Call<'_>) -> Step<Operand> {
    let (mut start, mut end) = (0, None);
    if call.setting.opset >= 15 {
        (start, end) = (call.int("start")?.unwrap_or(0), call.int("end")?);
    }
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let lengths = call.operand(0)?.layout.lengths();
    let rank = lengths.len() as i64;
    let clamped = |at: i64| if at < 0 { at.saturating_add(rank).max(0) } else { at.min(rank) } as usize;
    let (start, end) = (clamped(start), clamped(end.unwrap_or(rank)));
    let values = lengths[start..end.max(start)].to_vec();
    Ok(Operand::from(Tensor::Int { shape: vec![values.len()], values: std::sync::Arc::new(values) }))
}

/// The number of elements of a value.
pub(super) fn size(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let lengths = call.operand(0)?.layout.lengths();
    let value = count(call, &lengths)?;
    Ok(Operand::from(Tensor::Int { shape: vec![], values: std::sync::Arc::new(vec![value]) }))
}
