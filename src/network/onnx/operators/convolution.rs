//! Convolutions of images and signals.

use crate::engine::Window;
use crate::network::Constant;
use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::operators::{Convolution, ConvolutionTransposed};

use super::windows::{self, Attributes, Fit, Images, WIDEST, both};

/// The number of groups.
fn groups(call: &mut Call<'_>) -> Step<usize> {
    let groups = call.int("group")?.unwrap_or(1);
    let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0);
    groups.ok_or_else(|| call.wrong("the attribute 'group' must be at least 1"))
}

/// Filters as those of images, their height and width, and along how many axes they run.
fn filters(call: &Call<'_>) -> Step<(Constant, [usize; 2], usize)> {
    let filters = call.weights(1, "filters")?;
    let (filters, kernel, axes) = match *filters.shape() {
        [_, _, height, width] => (filters.clone(), [height, width], 2),
        [a, b, width] => (call.checked(filters.reshaped([a, b, 1, width]))?, [1, width], 1),
        ref shape if shape.len() > 4 => {
            let axes = shape.len() - 2;
            return unsupported(format!("a {axes}-D convolution; only 1-D and 2-D are supported"));
        }
        ref shape => return Err(call.wrong(format_args!("its filters have the shape {shape:?}"))),
    };
    if kernel.iter().any(|length| !(1..=WIDEST).contains(length)) {
        return Err(call.wrong(format_args!("its filters have the shape {:?}", filters.shape())));
    }
    Ok((filters, kernel, axes))
}

/// The images of the first input, which must have as many axes as the filters.
fn images(call: &mut Call<'_>, axes: usize) -> Step<Images> {
    let images = windows::images(call, 0)?;
    if images.axes != axes {
        return Err(call.wrong(format_args!("filters along {axes} axes for positions along {}", images.axes)));
    }
    Ok(images)
}

pub(super) fn conv(call: &mut Call<'_>) -> Step<Operand> {
    let attributes = windows::attributes(call, 1)?;
    let groups = groups(call)?;
    call.no_more_attributes()?;
    call.arity(2..=3)?;
    let (filters, kernel, axes) = filters(call)?;
    let kernel = attributes.kernel(call, axes, Some(kernel))?;
    let bias = call.has(2).then(|| call.weights(2, "bias").cloned()).transpose()?;
    let images = images(call, axes)?;
    let window = attributes.over(call, &images, kernel)?;
    let op = call.checked(Convolution::new(filters, bias, window, groups))?;
    let y = call.function(op, &images.x)?;
    images.finish(call, y)
}

pub(super) fn conv_transpose(call: &mut Call<'_>) -> Step<Operand> {
    let attributes = windows::attributes(call, 1)?;
    let groups = groups(call)?;
    let extra = windows::widths(call, "output_padding", 0)?;
    let size = windows::widths(call, "output_shape", 1)?;
    call.no_more_attributes()?;
    call.arity(2..=3)?;
    let (filters, kernel, axes) = filters(call)?;
    let kernel = attributes.kernel(call, axes, Some(kernel))?;
    let bias = call.has(2).then(|| call.weights(2, "bias").cloned()).transpose()?;
    let images = images(call, axes)?;
    let extra = both(call, "output_padding", extra.as_deref(), axes, 0)?;
    // Some files give the batch and the channels too; only positions count.
    let size = size.map(|size| size[size.len().saturating_sub(axes)..].to_vec());
    let size = size.map(|size| both(call, "output_shape", Some(&size), axes, 1)).transpose()?;
    let (window, size) = transposed(call, &attributes, &images, kernel, extra, size)?;
    let op = call.checked(ConvolutionTransposed::new(filters, bias, window, groups, size))?;
    let y = call.function(op, &images.x)?;
    images.finish(call, y)
}

/// The window of the convolution from the output, and the size of that.
fn transposed(
    call: &Call<'_>,
    attributes: &Attributes,
    images: &Images,
    kernel: [usize; 2],
    extra: [usize; 2],
    wanted: Option<[usize; 2]>,
) -> Step<(Window, [usize; 2])> {
    let window = attributes.window(call, images.axes, kernel)?;
    let mut pads = attributes.pads(call, images.axes)?;
    let mut size = [0; 2];
    for axis in 0..2 {
        let (stride, input) = (window.strides[axis], images.size[axis]);
        let reach = (kernel[axis] - 1) * window.dilations[axis] + 1;
        // All elements that some element of the input reaches.
        let full = stride * (input - 1) + reach;
        size[axis] = match (wanted, attributes.fit) {
            (Some(wanted), _) => wanted[axis],
            (None, Fit::Same { .. }) => input * stride,
            (None, _) => (full + extra[axis])
                .checked_sub(pads[axis] + pads[axis + 2])
                .filter(|&size| size > 0)
                .ok_or_else(|| call.wrong("its padding leaves nothing"))?,
        };
        if wanted.is_some() || matches!(attributes.fit, Fit::Same { .. }) {
            let total = (full + extra[axis]).saturating_sub(size[axis]);
            let less = total / 2;
            let upper = attributes.fit == Fit::Same { end: true };
            pads[axis] = if upper { less } else { total - less };
        }
        // Elements behind the last that is reached stay 0.
        pads[axis + 2] = full.saturating_sub(size[axis] + pads[axis]);
    }
    Ok((window.with_pads(pads), size))
}
