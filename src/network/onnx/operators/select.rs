//! Operators that pick elements along an axis by constant indices.

use crate::network::onnx::batch::product;
use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::onnx::tensor::{Integer, Tensor};
use crate::network::operators::Select;

use super::layout::checked_length;

/// Starts, ends, axes and steps of a Slice: attributes before opset 10, inputs from there.
struct Slices {
    starts: Vec<i64>,
    ends: Vec<i64>,
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
}

fn slices(call: &mut Call<'_>) -> Step<Slices> {
    if call.setting.opset < 10 {
        let missing = |name| format!("the attribute '{name}' is missing");
        let starts = call.ints("starts")?.ok_or_else(|| call.wrong(missing("starts")))?.to_vec();
        let ends = call.ints("ends")?.ok_or_else(|| call.wrong(missing("ends")))?.to_vec();
        let axes = call.ints("axes")?.map(<[i64]>::to_vec);
        call.no_more_attributes()?;
        call.arity(1..=1)?;
        return Ok(Slices { starts, ends, axes, steps: None });
    }
    call.no_more_attributes()?;
    call.arity(3..=5)?;
    Ok(Slices {
        starts: call.integers(1, "starts")?,
        ends: ends(call)?,
        axes: call.has(3).then(|| call.integers(3, "axes")).transpose()?,
        steps: call.has(4).then(|| call.integers(4, "steps")).transpose()?,
    })
}

/// The ends; the length of the batch is the end of that, and as good as no end.
fn ends(call: &Call<'_>) -> Step<Vec<i64>> {
    let end = |end: &Integer| match end {
        Integer::Known(end) => *end,
        Integer::Batch(_) => BATCH,
    };
    Ok(call.lengths(2, "ends")?.iter().map(end).collect())
}

/// Stands for the length of the batch as an end.
const BATCH: i64 = i64::MAX - 1;

pub(super) fn slice(call: &mut Call<'_>) -> Step<Operand> {
    let Slices { starts, ends, axes, steps } = slices(call)?;
    let mut x = call.operand(0)?;
    let rank = x.rank();
    let axes = match axes {
        Some(axes) => {
            call.axes(&axes, rank)?;
            axes
        }
        None => (0..starts.len() as i64).collect(),
    };
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(call.wrong("its starts, ends, axes and steps differ in number"));
    }
    for i in 0..starts.len() {
        let axis = call.axis(axes[i], rank)?;
        let (start, end, step) = (starts[i], ends[i], steps[i]);
        if step == 0 {
            return Err(call.wrong("a step of 0"));
        }
        // All of the batch: 2^31 - 1 is what older files write for no end.
        if x.layout.along(axis).is_none() && start == 0 && step == 1 && end >= i64::from(i32::MAX) {
            continue;
        }
        if end == BATCH {
            return unsupported("it cuts another axis to the length of the batch");
        }
        x = call.exposed(x, &[axis], "it cuts")?;
        let Some(axis) = x.layout.along(axis) else { return unsupported("it cuts the batch") };
        let length = x.layout.sample[axis] as i64;
        let counted = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
        let (start, end) = if step > 0 {
            (counted(start).clamp(0, length), counted(end).clamp(0, length))
        } else {
            (counted(start).clamp(-1, length - 1), counted(end).clamp(-1, length - 1))
        };
        if (start, end, step) == (0, length, 1) {
            continue;
        }
        checked_length(length as usize)?;
        let mut indices = vec![];
        let mut at = start;
        while if step > 0 { at < end } else { at > end } {
            indices.push(at as u32);
            at = at.saturating_add(step);
        }
        if indices.is_empty() && !x.is_constant() {
            return unsupported("nothing is left of its input");
        }
        x = call.function(Select { axis, indices }, &x)?;
    }
    Ok(x)
}

pub(super) fn split(call: &mut Call<'_>) -> Step<Vec<Operand>> {
    let axis = call.int("axis")?.unwrap_or(0);
    let outputs = call.outputs();
    let mut parts = None;
    if call.setting.opset < 13 {
        parts = call.ints("split")?.map(<[i64]>::to_vec);
    }
    let number = if call.setting.opset >= 18 { call.int("num_outputs")? } else { None };
    call.no_more_attributes()?;
    call.arity(1..=if call.setting.opset < 13 { 1 } else { 2 })?;
    if call.has(1) {
        parts = Some(call.integers(1, "lengths")?);
    }
    let x = call.operand(0)?;
    let axis = call.axis(axis, x.rank())?;
    let x = call.exposed(x, &[axis], "it splits")?;
    let Some(axis) = x.layout.along(axis) else { return unsupported("it splits the batch") };
    let length = x.layout.sample[axis];
    checked_length(length)?;
    let parts = match parts {
        Some(parts) => parts,
        None => {
            let number = number.unwrap_or(outputs as i64);
            if number != outputs as i64 {
                return Err(call.wrong(format_args!("{number} parts and {outputs} outputs")));
            }
            if call.setting.opset < 18 && length % outputs != 0 {
                return Err(call.wrong(format_args!("{length} elements in {outputs} equal parts")));
            }
            // The last part is smaller where they cannot be equal.
            let part = length.div_ceil(outputs);
            (0..outputs).map(|i| length.saturating_sub(i * part).min(part) as i64).collect()
        }
    };
    if parts.len() != outputs || parts.iter().any(|&part| part < 1) {
        return Err(call.wrong(format_args!("parts of {parts:?} for {outputs} outputs")));
    }
    if parts.iter().try_fold(0_i64, |sum, &part| sum.checked_add(part)) != Some(length as i64) {
        return Err(call.wrong(format_args!("parts of {parts:?} are not {length} elements")));
    }
    let mut start = 0;
    let mut results = vec![];
    for part in parts {
        let end = start + part as u32;
        if outputs == 1 {
            return Ok(vec![x]);
        }
        results.push(call.function(Select { axis, indices: (start..end).collect() }, &x)?);
        start = end;
    }
    Ok(results)
}

/// Constant indices of any shape.
fn indices(call: &Call<'_>) -> Step<(Vec<usize>, Vec<i64>)> {
    match call.constant(1, "indices")? {
        Tensor::Int { shape, values } => {
            let known = |integer: &Integer| match integer {
                Integer::Known(value) => Ok(*value),
                Integer::Batch(_) => unsupported("its indices depend on the length of the batch"),
            };
            Ok((shape.clone(), values.iter().map(known).collect::<Step<Vec<i64>>>()?))
        }
        other => Err(call.wrong(format_args!("its indices hold {}", other.kind()))),
    }
}

/// An index among `length`, counted from the end where negative.
fn index(call: &Call<'_>, i: i64, length: usize) -> Step<usize> {
    let counted = if i < 0 { i.saturating_add(length as i64) } else { i };
    let counted = usize::try_from(counted).ok().filter(|&counted| counted < length);
    counted.ok_or_else(|| call.wrong(format_args!("there is no index {i} among {length}")))
}

pub(super) fn gather(call: &mut Call<'_>) -> Step<Operand> {
    let axis = call.int("axis")?.unwrap_or(0);
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let (shape, picked) = indices(call)?;
    let x = call.operand(0)?;
    let axis = call.axis(axis, x.rank())?;
    let x = call.exposed(x, &[axis], "it picks from")?;
    let Some(along) = x.layout.along(axis) else { return unsupported("it picks from the batch") };
    let length = x.layout.sample[along];
    checked_length(length)?;
    let indices =
        picked.iter().map(|&i| index(call, i, length).map(|i| i as u32)).collect::<Step<Vec<u32>>>()?;
    if indices.is_empty() && !x.is_constant() {
        return unsupported("it picks nothing");
    }
    let y = call.function(Select { axis: along, indices }, &x)?;
    // The axis gives way to those of the indices.
    let mut target = y.layout.lengths();
    target.splice(axis..=axis, shape.iter().map(|&length| Integer::Known(length as i64)));
    call.reshaped(y, &target)
}

/// Elements, or whole parts, by constant indices along the first axes together.
pub(super) fn gather_nd(call: &mut Call<'_>) -> Step<Operand> {
    super::activation::exists_since(call, 11)?;
    if call.setting.opset >= 12 && call.int("batch_dims")?.unwrap_or(0) != 0 {
        return unsupported("batch_dims");
    }
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let (shape, picked) = indices(call)?;
    let x = call.operand(0)?;
    let count = shape.last().copied().unwrap_or(0);
    if count == 0 || count > x.rank() || picked.is_empty() {
        return Err(call.wrong(format_args!("indices of shape {shape:?} for {} axes", x.rank())));
    }
    let x = call.exposed(x, &(0..count).collect::<Vec<usize>>(), "it picks from")?;
    // None of the first axes is the batch's, so that they are the first of a sample too.
    let lengths = x.layout.sample[..count].to_vec();
    let joined = product(&lengths).ok_or_else(|| call.wrong("its input is too large"))?;
    checked_length(joined)?;
    let mut flat = vec![];
    for indices in picked.chunks_exact(count) {
        let mut place = 0;
        for (&i, &length) in indices.iter().zip(&lengths) {
            place = place * length + index(call, i, length)?;
        }
        flat.push(place as u32);
    }
    let mut target = x.layout.lengths();
    target.splice(..count, [Integer::Known(joined as i64)]);
    let x = call.reshaped(x, &target)?;
    let Some(axis) = x.layout.along(0) else { return unsupported("it picks from the batch") };
    let y = call.function(Select { axis, indices: flat }, &x)?;
    let mut target = y.layout.lengths();
    target.splice(..1, shape[..shape.len() - 1].iter().map(|&length| Integer::Known(length as i64)));
    call.reshaped(y, &target)
}
