//! The same elements under another shape.

use crate::network::onnx::call::{Call, Step, Value, unsupported};
use crate::network::onnx::tensor::Tensor;
use crate::network::operators::Reshape;

/// What is reshaped.
enum Subject {
    /// Samples of this shape; the batch comes first and stays there.
    Samples(Vec<usize>),
    /// A constant of this shape.
    Constant(Vec<usize>),
}

fn subject(call: &Call<'_>) -> Step<Subject> {
    match call.value(0)? {
        Value::Constant(Tensor::Float(constant)) => Ok(Subject::Constant(constant.shape().to_vec())),
        Value::Constant(Tensor::Int { shape, .. }) => Ok(Subject::Constant(shape.clone())),
        Value::Constant(other) => unsupported(format!("of a constant that holds {}", other.kind())),
        _ => Ok(Subject::Samples(call.data(0)?.1)),
    }
}

/// The node with this shape, of samples or of a constant.
fn finish(call: &mut Call<'_>, shape: Vec<usize>) -> Step<Value> {
    call.checked_axes(shape.len())?;
    match call.value(0)? {
        Value::Constant(Tensor::Float(constant)) => {
            Ok(Value::Constant(Tensor::Float(call.checked(constant.reshaped(shape))?)))
        }
        Value::Constant(Tensor::Int { values, .. }) => {
            if product(&shape) != Some(values.len()) {
                return Err(call.wrong(format_args!("{} integers do not fill {shape:?}", values.len())));
            }
            Ok(Value::Constant(Tensor::Int { shape, values: values.clone() }))
        }
        _ => {
            let (x, _) = call.data(0)?;
            call.add(Reshape { shape }, &[x])
        }
    }
}

fn product(lengths: &[usize]) -> Option<usize> {
    lengths.iter().try_fold(1_usize, |n, &length| n.checked_mul(length))
}

pub(super) fn reshape(call: &mut Call<'_>) -> Step<Value> {
    let zero_is_length = call.setting.opset >= 14 && call.flag("allowzero")?;
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let target = call.integers(1, "shape")?.to_vec();
    let shape = match subject(call)? {
        Subject::Constant(from) => {
            resolve(&target, &from, zero_is_length, &from).map_err(|reason| call.wrong(reason))?
        }
        Subject::Samples(sample) => {
            let Some((&batch, target)) = target.split_first() else {
                return unsupported("its shape [] leaves no axis for the batch");
            };
            let fixed = call.setting.batch;
            match batch {
                0 if zero_is_length => return Err(call.wrong("it leaves no samples")),
                // -1 stands for what the other lengths leave: the batch, if they are those of a sample.
                -1 if target.contains(&-1) => return Err(call.wrong("its shape has more than one -1")),
                0 | -1 => {}
                // Files made with one sample write its batch of 1, even where they leave the batch open.
                1 if fixed.is_none() => {}
                length if fixed.is_some() && usize::try_from(length).ok() == fixed => {}
                length => {
                    return unsupported(format!(
                        "its shape puts the length {length} in the place of the batch"
                    ));
                }
            }
            let shape = resolve(target, &sample, zero_is_length, &sample);
            match shape {
                Ok(shape) if product(&shape) == product(&sample) => shape,
                Ok(shape) if batch == -1 || batch == 1 => {
                    return unsupported(format!(
                        "samples of shape {sample:?} do not fill {shape:?}, so that it mixes the batch with other axes"
                    ));
                }
                Ok(shape) => {
                    return Err(call.wrong(format_args!("samples of shape {sample:?} do not fill {shape:?}")));
                }
                Err(reason) => return Err(call.wrong(reason)),
            }
        }
    };
    finish(call, shape)
}

/// Lengths for a target in which 0 stands for the length at its place in `from`, and one -1 for what is left of
/// the elements of `whole`.
fn resolve(
    target: &[i64],
    from: &[usize],
    zero_is_length: bool,
    whole: &[usize],
) -> Result<Vec<usize>, String> {
    let mut free = None;
    let mut shape = Vec::with_capacity(target.len());
    for (i, &length) in target.iter().enumerate() {
        shape.push(match usize::try_from(length) {
            Ok(0) if !zero_is_length => *from
                .get(i)
                .ok_or_else(|| format!("its shape has a 0 at axis {i}, where its input has none"))?,
            Ok(length) => length,
            Err(_) if length == -1 && free.is_none() => {
                free = Some(i);
                1
            }
            Err(_) => return Err(format!("its shape has the length {length} at axis {i}")),
        });
    }
    if let Some(free) = free {
        let (whole_count, others) = (product(whole), product(&shape));
        let left = whole_count.zip(others).filter(|&(n, others)| others > 0 && n % others == 0);
        let (n, others) = left.ok_or_else(|| format!("{target:?} does not divide {whole:?} evenly"))?;
        shape[free] = n / others;
    }
    Ok(shape)
}

pub(super) fn flatten(call: &mut Call<'_>) -> Step<Value> {
    let axis = call.int("axis")?.unwrap_or(1);
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let subject = subject(call)?;
    let (Subject::Samples(shape) | Subject::Constant(shape)) = &subject;
    let rank = shape.len() + usize::from(matches!(subject, Subject::Samples(_)));
    // One more than the last axis is allowed: everything goes in front.
    let axis = if axis == rank as i64 { rank } else { call.axis(axis, rank)? };
    let count = |lengths: &[usize]| product(lengths).ok_or_else(|| call.wrong("its shape is too large"));
    let shape = match &subject {
        Subject::Constant(shape) => vec![count(&shape[..axis])?, count(&shape[axis..])?],
        Subject::Samples(_) if axis == 0 => return unsupported("axis=0 mixes the batch with other axes"),
        Subject::Samples(sample) => {
            let (front, rest) = sample.split_at(axis - 1);
            if count(front)? != 1 {
                return unsupported(format!("axis={axis} mixes the batch with axes of lengths {front:?}"));
            }
            vec![count(rest)?]
        }
    };
    finish(call, shape)
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
    let axes = call.has(1).then(|| call.integers(1, "axes")).transpose()?;
    Ok(axes.map(<[i64]>::to_vec))
}

/// Which of `rank` axes are named; each at most once.
fn marked(call: &Call<'_>, axes: &[i64], rank: usize) -> Step<Vec<bool>> {
    let mut marked = vec![false; rank];
    for &axis in axes {
        let axis = call.axis(axis, rank)?;
        if std::mem::replace(&mut marked[axis], true) {
            return Err(call.wrong(format_args!("the axis {axis} is there twice")));
        }
    }
    Ok(marked)
}

pub(super) fn squeeze(call: &mut Call<'_>) -> Step<Value> {
    let axes = axes(call)?;
    let subject = subject(call)?;
    let shape = match (&subject, axes) {
        (Subject::Samples(_), None) => {
            return unsupported("without axes it drops the batch whenever that is 1");
        }
        (Subject::Constant(shape), None) => shape.iter().copied().filter(|&length| length != 1).collect(),
        (Subject::Constant(shape), Some(axes)) => {
            let marked = marked(call, &axes, shape.len())?;
            squeezed(call, shape, &marked)?
        }
        (Subject::Samples(sample), Some(axes)) => {
            let marked = marked(call, &axes, sample.len() + 1)?;
            if marked[0] {
                return unsupported("it drops the batch");
            }
            squeezed(call, sample, &marked[1..])?
        }
    };
    finish(call, shape)
}

fn squeezed(call: &Call<'_>, shape: &[usize], marked: &[bool]) -> Step<Vec<usize>> {
    if shape.iter().zip(marked).any(|(&length, &drop)| drop && length != 1) {
        return Err(call.wrong(format_args!("it drops an axis of {shape:?} that is longer than 1")));
    }
    Ok(shape.iter().zip(marked).filter(|&(_, &drop)| !drop).map(|(&length, _)| length).collect())
}

pub(super) fn unsqueeze(call: &mut Call<'_>) -> Step<Value> {
    let axes = axes(call)?.ok_or_else(|| call.wrong("it names no axes"))?;
    let subject = subject(call)?;
    let (Subject::Samples(shape) | Subject::Constant(shape)) = &subject;
    let batch = usize::from(matches!(subject, Subject::Samples(_)));
    let marked = marked(call, &axes, shape.len() + batch + axes.len())?;
    if batch == 1 && marked[0] {
        return unsupported("it puts an axis before the batch");
    }
    let mut lengths = shape.iter().copied();
    // There are as many unmarked places as lengths.
    let shape =
        marked[batch..].iter().map(|&new| if new { 1 } else { lengths.next().unwrap_or(1) }).collect();
    finish(call, shape)
}
