//! Operators that move elements: joins, borders, orders of axes, repetitions.

use crate::network::onnx::batch::{Batch, Layout, product};
use crate::network::onnx::call::{Call, Step, Stop, unsupported};
use crate::network::onnx::operand::{LARGEST, Operand};
use crate::network::onnx::tensor::{Integer, Tensor};
use crate::network::operators::{Concat, Expand, Pad, Permute, Reshape, Select};

pub(super) fn concat(call: &mut Call<'_>) -> Step<Operand> {
    let axis = call.int("axis")?.ok_or_else(|| call.wrong("the attribute 'axis' is missing"))?;
    call.no_more_attributes()?;
    call.arity(1..=usize::MAX)?;
    let operands = call.operands()?;
    let rank = operands.iter().map(Operand::rank).max().unwrap_or(0);
    let axis = call.axis(axis, rank)?;
    if operands.iter().any(|x| x.rank() != rank) {
        return Err(call.wrong("its inputs differ in their number of axes"));
    }
    let mut exposed = vec![];
    for x in operands {
        exposed.push(call.exposed(x, &[axis], "it joins along")?);
    }
    let (operands, batch) = call.aligned(exposed)?;
    let layout = Layout { sample: vec![1; operands[0].layout.sample.len()], batch };
    let Some(axis) = layout.along(axis) else { return unsupported("it joins along the batch") };
    call.step(Concat { axis }, &operands.iter().collect::<Vec<_>>(), batch)
}

pub(super) fn transpose(call: &mut Call<'_>) -> Step<Operand> {
    let order = call.ints("perm")?;
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let x = call.operand(0)?;
    let rank = x.rank();
    let order = match order {
        Some(order) => order.iter().map(|&axis| call.axis(axis, rank)).collect::<Step<Vec<usize>>>()?,
        None => (0..rank).rev().collect(),
    };
    permuted(call, &x, &order)
}

/// Axis `i` of the file's result is axis `order[i]`.
pub(super) fn permuted(call: &mut Call<'_>, x: &Operand, order: &[usize]) -> Step<Operand> {
    let mut seen = order.to_vec();
    seen.sort_unstable();
    if !seen.iter().copied().eq(0..x.rank()) {
        return Err(call.wrong(format_args!("{order:?} is no order of {} axes", x.rank())));
    }
    let (axes, layout) = x.layout.permuted(order);
    if axes.iter().copied().eq(0..axes.len()) {
        return call.relabelled(x.clone(), layout);
    }
    call.step(Permute { order: axes }, &[x], layout.batch)
}

pub(super) fn pad(call: &mut Call<'_>) -> Step<Operand> {
    let mode = call.string("mode")?.unwrap_or("constant");
    if !matches!(mode, "constant" | "reflect" | "edge" | "wrap") || mode == "wrap" && call.setting.opset < 19
    {
        return unsupported(format!("the mode '{}'", mode.escape_debug()));
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
        let widths = call.integers(1, "widths")?;
        let value = call.has(2).then(|| call.number(2, "value")).transpose()?.unwrap_or(0.0);
        (widths, value, call.has(3).then(|| call.integers(3, "axes")).transpose()?)
    };
    if !value.is_finite() {
        return unsupported(format!("a border of {value}"));
    }
    let x = call.operand(0)?;
    let rank = x.rank();
    let axes = match axes {
        Some(axes) => {
            call.axes(&axes, rank)?;
            axes.iter().map(|&axis| call.axis(axis, rank)).collect::<Step<Vec<usize>>>()?
        }
        None => (0..rank).collect(),
    };
    if widths.len() != 2 * axes.len() {
        return Err(call.wrong(format_args!("{} widths do not fit {} axes", widths.len(), axes.len())));
    }
    let mut padded = vec![];
    for (i, &axis) in axes.iter().enumerate() {
        // Wider borders are no samples that could be computed with.
        let width = |width: i64| {
            let width = isize::try_from(width).ok().filter(|width| width.unsigned_abs() < 1 << 40);
            width.ok_or_else(|| call.wrong(format_args!("the widths {widths:?} are too large")))
        };
        let widths = [width(widths[i])?, width(widths[i + axes.len()])?];
        if widths != [0, 0] {
            padded.push((axis, widths));
        }
    }
    let touched: Vec<usize> = padded.iter().map(|&(axis, _)| axis).collect();
    let x = call.exposed(x, &touched, "it pads")?;
    let padded: Vec<(usize, [isize; 2])> =
        padded.into_iter().filter_map(|(axis, widths)| Some((x.layout.along(axis)?, widths))).collect();
    if mode != "constant" {
        return mirrored(call, x, &padded, mode);
    }
    let (mut before, mut after) = (vec![0; x.layout.sample.len()], vec![0; x.layout.sample.len()]);
    for (axis, widths) in padded {
        [before[axis], after[axis]] = widths;
    }
    call.function(Pad { before, after, value }, &x)
}

/// A border of the elements inside: their reflection, the last of them, or those of the other side.
fn mirrored(
    call: &mut Call<'_>,
    mut x: Operand,
    padded: &[(usize, [isize; 2])],
    mode: &str,
) -> Step<Operand> {
    for &(axis, [before, after]) in padded {
        let length = x.layout.sample[axis] as isize;
        let count = length.saturating_add(before).saturating_add(after);
        if length == 0 || count <= 0 || count > LARGEST as isize {
            return unsupported(format!("it makes an axis of {length} one of {count} elements"));
        }
        let inside = |i: isize| match mode {
            "edge" => i.clamp(0, length - 1),
            "wrap" => i.rem_euclid(length),
            _ if length == 1 => 0,
            _ => {
                let place = i.rem_euclid(2 * (length - 1));
                place.min(2 * (length - 1) - place)
            }
        };
        let indices = (-before..length + after).map(|i| inside(i) as u32).collect();
        x = call.function(Select { axis, indices }, &x)?;
    }
    Ok(x)
}

pub(super) fn expand(call: &mut Call<'_>) -> Step<Operand> {
    super::activation::exists_since(call, 8)?;
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let target = call.lengths(1, "shape")?.to_vec();
    let x = call.operand(0)?;
    expanded(call, x, &target)
}

/// An operand broadcast to a shape of the file, and that to it.
pub(super) fn expanded(call: &mut Call<'_>, x: Operand, target: &[Integer]) -> Step<Operand> {
    let rank = x.rank().max(target.len());
    call.checked_axes(rank)?;
    let own = |x: &Operand, axis: usize| {
        (axis + x.rank()).checked_sub(rank).map_or(Integer::Known(1), |axis| x.layout.length(axis))
    };
    let wanted =
        |axis: usize| (axis + target.len()).checked_sub(rank).map_or(Integer::Known(1), |i| target[i]);
    let symbol = (0..rank).find_map(|axis| match wanted(axis) {
        Integer::Batch(factor) => Some((axis, factor)),
        Integer::Known(_) => None,
    });
    let single = call.setting.batch == Some(1);
    let grows = |axis: usize| matches!((own(&x, axis), wanted(axis)), (Integer::Batch(_), Integer::Known(length)) if length > 1);
    let x = if single && (0..rank).any(grows) { call.outside(x)? } else { x };
    if let (Some((axis, factor)), true) = (symbol, x.is_constant() && !single) {
        // A constant that becomes as long as the batch.
        let twice = (axis + 1..rank).any(|axis| matches!(wanted(axis), Integer::Batch(_)));
        if factor != 1 || twice || own(&x, axis) != Integer::Known(1) {
            return unsupported("it repeats a constant along the batch and other axes at once");
        }
        let known: Vec<Integer> =
            (0..rank).map(|i| if i == axis { Integer::Known(1) } else { wanted(i) }).collect();
        let repeated = expanded(call, x, &known)?;
        let Some(Tensor::Float(value)) = repeated.tensor().cloned() else {
            return unsupported("it repeats integers along the batch");
        };
        let mut sample = repeated.layout.sample;
        sample.remove(axis);
        let layout = Layout { sample, batch: Batch::Axis { axis, outer: 1, inner: 1 } };
        return call.fixed(value, layout);
    }
    let mut lengths = vec![];
    for axis in 0..rank {
        lengths.push(match (own(&x, axis), wanted(axis)) {
            (own, Integer::Known(1)) => own,
            (Integer::Known(1), Integer::Batch(factor)) if single => Integer::Known(factor),
            (Integer::Known(1), Integer::Known(length)) if length >= 0 => Integer::Known(length),
            (own, wanted) if own == wanted => own,
            // The batch of the file, written as a number.
            (Integer::Batch(1), Integer::Known(length))
                if call.setting.batch == usize::try_from(length).ok() =>
            {
                Integer::Batch(1)
            }
            (own, wanted) => {
                return Err(call.wrong(format_args!("an axis of {own} cannot be expanded to {wanted}")));
            }
        });
    }
    let layout = match x.layout.batch {
        Batch::Axis { axis, outer, inner } => {
            let axis = axis + rank - x.rank();
            Batch::Axis { axis, outer, inner }
        }
        Batch::None => Batch::None,
    };
    let mut shape = vec![];
    for (axis, length) in lengths.iter().enumerate() {
        match (length, layout) {
            (Integer::Known(length), _) => shape.push(*length as usize),
            (_, Batch::Axis { outer, inner, .. }) => {
                shape.extend([outer, inner].into_iter().filter(|&factor| factor > 1));
            }
            (_, Batch::None) => return Err(call.wrong(format_args!("axis {axis} has no length"))),
        }
    }
    if product(&shape)
        .is_none_or(|count| x.is_constant() && count > LARGEST + x.tensor().map_or(0, Tensor::len))
    {
        return unsupported(format!("its result of shape {shape:?} is too large"));
    }
    if shape == x.layout.sample {
        return Ok(Operand { layout: Layout { sample: shape, batch: layout }, ..x });
    }
    call.step(Expand { shape }, &[&x], layout)
}

pub(super) fn tile(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let repeats = call.integers(1, "repeats")?;
    let x = call.operand(0)?;
    if repeats.len() != x.rank() {
        return Err(call.wrong(format_args!("{} repeats do not fit {} axes", repeats.len(), x.rank())));
    }
    let touched: Vec<usize> = (0..x.rank()).filter(|&axis| repeats[axis] != 1).collect();
    let mut x = call.exposed(x, &touched, "it repeats")?;
    for file_axis in touched {
        let Some(axis) = x.layout.along(file_axis) else { return unsupported("it repeats the batch") };
        let length = x.layout.sample[axis];
        let count = usize::try_from(repeats[file_axis]).ok().and_then(|times| times.checked_mul(length));
        let Some(count) = count.filter(|&count| count <= LARGEST) else {
            return unsupported(format!("it repeats an axis {} times", repeats[file_axis]));
        };
        let indices = (0..count).map(|i| (i % length.max(1)) as u32).collect();
        x = call.function(Select { axis, indices }, &x)?;
    }
    Ok(x)
}

/// Blocks of channels as blocks of the image, and back.
pub(super) fn depth_and_space(call: &mut Call<'_>, to_space: bool) -> Step<Operand> {
    let block = call.int("blocksize")?.ok_or_else(|| call.wrong("the attribute 'blocksize' is missing"))?;
    let has_mode = call.setting.opset >= if to_space { 11 } else { 28 };
    let mode = if has_mode { call.string("mode")?.unwrap_or("DCR") } else { "DCR" };
    let channels_first = match mode {
        "DCR" => false,
        "CRD" => true,
        other => return Err(call.wrong(format_args!("the attribute 'mode' is '{}'", other.escape_debug()))),
    };
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let (x, sample) = call.samples(0)?;
    let &[channels, height, width] = &sample[..] else {
        return Err(call.wrong(format_args!("samples of shape {sample:?} are no images")));
    };
    let misfit = || call.wrong(format_args!("blocks of {block} do not fit samples of shape {sample:?}"));
    let block =
        usize::try_from(block).ok().filter(|block| (1..1 << 20).contains(block)).ok_or_else(misfit)?;
    let (split, order, shape) = if to_space {
        if channels % (block * block) != 0 {
            return Err(misfit());
        }
        let depth = channels / (block * block);
        let shape = vec![depth, height * block, width * block];
        if channels_first {
            (vec![depth, block, block, height, width], vec![0, 3, 1, 4, 2], shape)
        } else {
            (vec![block, block, depth, height, width], vec![2, 3, 0, 4, 1], shape)
        }
    } else {
        if height % block != 0 || width % block != 0 {
            return Err(misfit());
        }
        let (rows, columns) = (height / block, width / block);
        let shape = vec![channels * block * block, rows, columns];
        let order = if channels_first { vec![0, 2, 4, 1, 3] } else { vec![2, 4, 0, 1, 3] };
        (vec![channels, rows, block, columns, block], order, shape)
    };
    let blocks = call.function(Reshape { shape: split }, &x)?;
    let moved = call.function(Permute { order }, &blocks)?;
    call.function(Reshape { shape }, &moved)
}

/// The largest axis that is made index by index.
pub(super) fn checked_length(length: usize) -> Result<(), Stop> {
    if length > LARGEST { unsupported(format!("an axis of {length} elements")) } else { Ok(()) }
}
