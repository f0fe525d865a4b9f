//! Pooling of images and signals.

use crate::engine::Window;
use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::operators::{AveragePool, MaxPool};

use super::windows::{self, Attributes, Fit, Images};

/// The window of a pool, what must hold for one, and which part of its padding is that of the file.
fn window(
    call: &Call<'_>,
    attributes: &Attributes,
    images: &Images,
    ceil: bool,
) -> Step<(Window, [usize; 4])> {
    let kernel = attributes.kernel(call, images.axes, None)?;
    let mut window = attributes.over(call, images, kernel)?;
    let explicit = window.pads;
    for (axis, kernel) in kernel.into_iter().enumerate() {
        let reach = (kernel - 1) * window.dilations[axis] + 1;
        let (before, after) = (window.pads[axis], window.pads[axis + 2]);
        if before >= reach || after >= reach {
            return unsupported("its padding is as wide as its kernel, so that windows see nothing else");
        }
        if !ceil {
            continue;
        }
        let (stride, size) = (window.strides[axis], images.size[axis]);
        let room = (size + before + after).checked_sub(reach);
        let room = room.ok_or_else(|| call.wrong(format_args!("{window:?} does not fit into {size}")))?;
        let mut count = room.div_ceil(stride) + 1;
        // Padding that is worked out fits exactly. By the text of ONNX rounding changes nothing without padding, in
        // ONNX Runtime it does.
        if attributes.fit == Fit::None && room % stride != 0 {
            return unsupported("ceil_mode=1 with auto_pad=VALID, on which implementations disagree");
        }
        if (count - 1) * stride >= size + before {
            // So PyTorch and, from opset 22, the text of ONNX; before it said nothing, and implementations differed.
            if call.setting.opset < 22 {
                return unsupported(
                    "ceil_mode=1 with a window in the end padding, on which versions disagree",
                );
            }
            count -= 1;
        }
        let last = (count - 1) * stride + reach;
        window.pads[axis + 2] = last.saturating_sub(size + before);
    }
    Ok((window, explicit))
}

pub(super) fn max_pool(call: &mut Call<'_>) -> Step<Operand> {
    let attributes = windows::attributes(call, 10)?;
    let ceil = call.setting.opset >= 10 && call.flag("ceil_mode")?;
    if call.setting.opset >= 8 {
        // It tells the order of the second output, which is refused where it is used.
        call.flag("storage_order")?;
    }
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let images = windows::images(call, 0)?;
    let (window, _) = window(call, &attributes, &images, ceil)?;
    let y = call.function(MaxPool { window }, &images.x)?;
    images.finish(call, y)
}

pub(super) fn average_pool(call: &mut Call<'_>) -> Step<Operand> {
    let attributes = windows::attributes(call, 19)?;
    let ceil = call.setting.opset >= 10 && call.flag("ceil_mode")?;
    let count_padding = call.flag("count_include_pad")?;
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let images = windows::images(call, 0)?;
    let (window, explicit) = window(call, &attributes, &images, ceil)?;
    let counted = if count_padding {
        // The overhang of ceil_mode never counts.
        std::array::from_fn(|i| explicit[i].min(window.pads[i]))
    } else {
        [0; 4]
    };
    let y = call.function(AveragePool { window, counted }, &images.x)?;
    images.finish(call, y)
}
