//! Normalisation, out of its core and arithmetic with constants.

use crate::engine::{Activation, Arithmetic, Window};
use crate::network::Constant;
use crate::network::onnx::batch::{Batch, Layout};
use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::operators::{AveragePool, Branches, Reduce, Reshape, ScaleShift, Standardize};

use super::activation::exists_since;
use super::arithmetic::{binary, with_number};

/// `scale * (x - mean) / sqrt(variance + epsilon) + shift`, with its four constants.
pub(super) fn batch_normalization(call: &mut Call<'_>) -> Step<Operand> {
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
    if call.names_further_outputs() {
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
    let deviation = variance.iter().map(|v| (v + epsilon).sqrt()).collect();
    let (x, _) = call.samples(0)?;
    let channel = |call: &mut Call<'_>, values| call.checked(Constant::f64([channels], values));
    let (scale, shift) = (channel(call, scale)?, channel(call, shift)?);
    let (mean, deviation) = (channel(call, mean)?, channel(call, deviation)?);
    let op = call.checked(ScaleShift::normalizing(&scale, &shift, mean, deviation))?;
    call.function(op, &x)
}

/// `scale[c] * x + shift[c]` for each channel.
fn channelwise(call: &mut Call<'_>, x: &Operand, scale: Vec<f64>, shift: Vec<f64>) -> Step<Operand> {
    let (scale, shift) = (Constant::f64([scale.len()], scale), Constant::f64([shift.len()], shift));
    let (scale, shift) = (call.checked(scale)?, call.checked(shift)?);
    let op = call.checked(ScaleShift::new(scale, shift))?;
    call.function(op, x)
}

/// The first axis of those from `axis` on; the batch must be none of them.
fn trailing(call: &mut Call<'_>, x: Operand, axis: i64) -> Step<(Operand, Vec<usize>)> {
    let rank = x.rank();
    let file: Vec<usize> = (call.axis(axis, rank)?..rank).collect();
    let x = call.exposed(x, &file, "it runs over")?;
    let axes = file.iter().filter_map(|&axis| x.layout.along(axis)).collect();
    Ok((x, axes))
}

/// A constant operand of real numbers.
fn parameter(call: &Call<'_>, i: usize, what: &str) -> Step<Operand> {
    call.weights(i, what)?;
    call.operand(i)
}

pub(super) fn layer_normalization(call: &mut Call<'_>) -> Step<Operand> {
    exists_since(call, 17)?;
    let axis = call.int("axis")?.unwrap_or(-1);
    let epsilon = f64::from(call.float("epsilon")?.unwrap_or(1e-5));
    call.int("stash_type")?;
    call.no_more_attributes()?;
    call.arity(2..=3)?;
    let scale = parameter(call, 1, "scale")?;
    let shift = call.has(2).then(|| parameter(call, 2, "shift")).transpose()?;
    let x = call.computed(0)?;
    let (x, axes) = trailing(call, x, axis)?;
    let standard = call.function(Standardize { axes, epsilon }, &x)?;
    let scaled = binary(call, Arithmetic::Mul, standard, scale)?;
    match shift {
        Some(shift) => binary(call, Arithmetic::Add, scaled, shift),
        None => Ok(scaled),
    }
}

/// `x / sqrt(mean of squares + epsilon) * scale`
pub(super) fn rms_normalization(call: &mut Call<'_>) -> Step<Operand> {
    exists_since(call, 23)?;
    let axis = call.int("axis")?.unwrap_or(-1);
    let epsilon = f64::from(call.float("epsilon")?.unwrap_or(1e-5));
    call.int("stash_type")?;
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    if epsilon <= 0.0 {
        return Err(call.wrong(format_args!("epsilon {epsilon} is not above 0")));
    }
    let scale = parameter(call, 1, "scale")?;
    let x = call.computed(0)?;
    let (x, axes) = trailing(call, x, axis)?;
    let squares = call.function(Activation::Power { exponent: 2.0 }, &x)?;
    let mean = call.function(Reduce { axes, keep: true, mean: true }, &squares)?;
    let shifted = with_number(call, Arithmetic::Add, &mean, epsilon)?;
    let inverse = call.function(Activation::Power { exponent: -0.5 }, &shifted)?;
    let normal = call.step(Branches { operation: Arithmetic::Mul }, &[&x, &inverse], x.layout.batch)?;
    binary(call, Arithmetic::Mul, normal, scale)
}

/// Samples with channels and at least one position.
fn channels(call: &mut Call<'_>) -> Step<(Operand, Vec<usize>)> {
    let (x, sample) = call.samples(0)?;
    if sample.len() < 2 {
        return Err(call.wrong(format_args!("samples of shape {sample:?} have channels, but no positions")));
    }
    Ok((x, sample))
}

pub(super) fn instance_normalization(call: &mut Call<'_>) -> Step<Operand> {
    let epsilon = f64::from(call.float("epsilon")?.unwrap_or(1e-5));
    call.no_more_attributes()?;
    call.arity(3..=3)?;
    let scale = call.weights(1, "scale")?.to();
    let shift = call.weights(2, "shift")?.to();
    let (x, sample) = channels(call)?;
    let standard = call.function(Standardize { axes: (1..sample.len()).collect(), epsilon }, &x)?;
    channelwise(call, &standard, scale, shift)
}

pub(super) fn group_normalization(call: &mut Call<'_>) -> Step<Operand> {
    exists_since(call, 18)?;
    let epsilon = f64::from(call.float("epsilon")?.unwrap_or(1e-5));
    let groups = call.int("num_groups")?.and_then(|groups| usize::try_from(groups).ok());
    let groups = groups.filter(|&groups| groups > 0);
    let groups = groups.ok_or_else(|| call.wrong("the attribute 'num_groups' must be at least 1"))?;
    if call.setting.opset >= 21 {
        call.int("stash_type")?;
    }
    call.no_more_attributes()?;
    call.arity(3..=3)?;
    let mut scale = call.weights(1, "scale")?.to::<f64>();
    let mut shift = call.weights(2, "shift")?.to::<f64>();
    let (x, sample) = channels(call)?;
    if sample[0] % groups != 0 {
        return Err(call.wrong(format_args!("{groups} groups of {} channels", sample[0])));
    }
    let each = sample[0] / groups;
    if call.setting.opset < 21 {
        // One number for each group.
        let repeat = |values: &[f64]| values.iter().flat_map(|&v| std::iter::repeat_n(v, each)).collect();
        (scale, shift) = (repeat(&scale), repeat(&shift));
    }
    let grouped = [&[groups, each], &sample[1..]].concat();
    let axes = (1..grouped.len()).collect();
    let grouped = call.function(Reshape { shape: grouped }, &x)?;
    let standard = call.function(Standardize { axes, epsilon }, &grouped)?;
    let standard = call.function(Reshape { shape: sample }, &standard)?;
    channelwise(call, &standard, scale, shift)
}

pub(super) fn mean_variance_normalization(call: &mut Call<'_>) -> Step<Operand> {
    exists_since(call, 9)?;
    let axes = call.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec();
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let x = call.computed(0)?;
    let file = call.axes(&axes, x.rank())?;
    let x = call.exposed(x, &file, "it runs over")?;
    let axes = file.iter().filter_map(|&axis| x.layout.along(axis)).collect();
    // ONNX adds 1e-9 to the deviation; to the variance that is its square.
    call.function(Standardize { axes, epsilon: 1e-18 }, &x)
}

/// `x / (bias + alpha * mean of squares over neighbouring channels)^beta`
pub(super) fn local_response_normalization(call: &mut Call<'_>) -> Step<Operand> {
    let alpha = f64::from(call.float("alpha")?.unwrap_or(1e-4));
    let beta = f64::from(call.float("beta")?.unwrap_or(0.75));
    let bias = f64::from(call.float("bias")?.unwrap_or(1.0));
    let size = call.int("size")?.ok_or_else(|| call.wrong("the attribute 'size' is missing"))?;
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let size = usize::try_from(size).ok().filter(|size| (1..1 << 15).contains(size));
    let size = size.ok_or_else(|| call.wrong("the attribute 'size' is no number of channels"))?;
    let (x, sample) = channels(call)?;
    let positions = sample[1..].iter().product();
    let (before, after) = ((size - 1) / 2, size / 2);
    if before >= sample[0] || after >= sample[0] {
        return unsupported(format!("windows of {size} channels over {}", sample[0]));
    }
    let squares = call.function(Activation::Power { exponent: 2.0 }, &x)?;
    // Channels as the rows of an image, of which a window sees `size`; those outside count as 0.
    let flat = call.function(Reshape { shape: vec![1, sample[0], positions] }, &squares)?;
    let pads = [before, 0, after, 0];
    let window = Window::new([size, 1]).with_pads(pads);
    let mean = call.function(AveragePool { window, counted: pads }, &flat)?;
    let layout = Layout { sample, batch: Batch::FIRST };
    let mean = call.relabelled(mean, layout)?;
    let scaled = with_number(call, Arithmetic::Mul, &mean, alpha)?;
    let shifted = with_number(call, Arithmetic::Add, &scaled, bias)?;
    let factor = call.function(Activation::Power { exponent: -beta }, &shifted)?;
    call.step(Branches { operation: Arithmetic::Mul }, &[&x, &factor], Batch::FIRST)
}
