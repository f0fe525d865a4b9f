//! What convolutions and pools say of their windows. Windows along one axis are taken for those of images with one
//! row.

use crate::engine::Window;
use crate::network::onnx::batch::Batch;
use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::operators::Reshape;

/// The largest kernel, stride, dilation and padding. No network comes near it, and with images no longer than
/// [`LONGEST`] it keeps a hostile file from keeping us busy for long.
pub(super) const WIDEST: usize = 1 << 15;

/// The most rows or columns of an image.
const LONGEST: usize = 1 << 24;

/// The attributes of a window, before the image is known.
pub(super) struct Attributes {
    kernel: Option<Vec<usize>>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    /// Those before each axis, then those behind.
    pads: Option<Vec<usize>>,
    pub(super) fit: Fit,
}

/// Where padding comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Explicit,
    /// As much as gives `size / stride` windows, rounded up; the odd one at the end, or else at the start.
    Same {
        end: bool,
    },
    None,
}

/// Widths along each axis, none below `least`.
pub(super) fn widths(call: &mut Call<'_>, name: &'static str, least: i64) -> Step<Option<Vec<usize>>> {
    let Some(values) = call.ints(name)? else { return Ok(None) };
    if let Some(value) = values.iter().find(|&&value| value < least) {
        return Err(call.wrong(format_args!("'{name}' holds {value}, the least is {least}")));
    }
    if let Some(value) = values.iter().find(|&&value| value > WIDEST as i64) {
        return unsupported(format!("'{name}' holds {value}; up to {WIDEST} is supported"));
    }
    Ok(Some(values.iter().map(|&value| value as usize).collect()))
}

/// Reads the attributes; those that do not exist yet are refused with all others that nobody asked for.
pub(super) fn attributes(call: &mut Call<'_>, dilations_since: i64) -> Step<Attributes> {
    let dilations = if call.setting.opset >= dilations_since { widths(call, "dilations", 1)? } else { None };
    let fit = match call.string("auto_pad")?.unwrap_or("NOTSET") {
        "NOTSET" => Fit::Explicit,
        "SAME_UPPER" => Fit::Same { end: true },
        "SAME_LOWER" => Fit::Same { end: false },
        "VALID" => Fit::None,
        other => {
            return Err(call.wrong(format_args!("the attribute 'auto_pad' is '{}'", other.escape_debug())));
        }
    };
    let pads = widths(call, "pads", 0)?;
    if fit != Fit::Explicit && pads.as_ref().is_some_and(|pads| pads.iter().any(|&pad| pad != 0)) {
        return Err(call.wrong("it has both 'pads' and 'auto_pad'"));
    }
    let (kernel, strides) = (widths(call, "kernel_shape", 1)?, widths(call, "strides", 1)?);
    Ok(Attributes { kernel, strides, dilations, pads, fit })
}

/// The last `2` of as many widths as there are axes; 1-D windows get an axis with this width before.
pub(super) fn both(
    call: &Call<'_>,
    name: &str,
    widths: Option<&[usize]>,
    axes: usize,
    other: usize,
) -> Step<[usize; 2]> {
    match (widths, axes) {
        (None, _) => Ok([other; 2]),
        (Some(&[width]), 1) => Ok([other, width]),
        (Some(&[height, width]), 2) => Ok([height, width]),
        (Some(widths), _) => {
            Err(call.wrong(format_args!("'{name}' holds {widths:?}, for windows along {axes} axes")))
        }
    }
}

/// Images, as what convolutions and pools run over.
pub(super) struct Images {
    /// Samples `[channels, height, width]`.
    pub(super) x: Operand,
    pub(super) size: [usize; 2],
    /// The number of axes of positions in the file, 1 or 2.
    pub(super) axes: usize,
}

/// The images that an input holds; signals along one axis are images of one row.
pub(super) fn images(call: &mut Call<'_>, i: usize) -> Step<Images> {
    let (x, sample) = call.samples(i)?;
    let (x, [height, width], axes) = match sample[..] {
        [_, height, width] => (x, [height, width], 2),
        [channels, width] => {
            let shape = vec![channels, 1, width];
            (call.function(Reshape { shape }, &x)?, [1, width], 1)
        }
        _ if sample.len() > 3 => {
            return unsupported(format!(
                "samples of shape {sample:?}; only images (2-D) and signals (1-D) are supported"
            ));
        }
        _ => return Err(call.wrong(format_args!("samples of shape {sample:?} are no images"))),
    };
    if height > LONGEST || width > LONGEST {
        return unsupported(format!("images of more than {LONGEST} rows or columns"));
    }
    Ok(Images { x, size: [height, width], axes })
}

impl Images {
    /// The result with as many axes as the input had.
    pub(super) fn finish(&self, call: &mut Call<'_>, y: Operand) -> Step<Operand> {
        match (self.axes, &y.layout.sample[..]) {
            (1, &[channels, _, width]) => {
                call.step(Reshape { shape: vec![channels, width] }, &[&y], Batch::FIRST)
            }
            _ => Ok(y),
        }
    }
}

impl Attributes {
    /// The kernel of windows along this many axes, which the filters may tell too.
    pub(super) fn kernel(
        &self,
        call: &Call<'_>,
        axes: usize,
        filters: Option<[usize; 2]>,
    ) -> Step<[usize; 2]> {
        let named = self.kernel.as_deref();
        match filters {
            Some(kernel) => match named {
                Some(named) if both(call, "kernel_shape", Some(named), axes, 1)? != kernel => {
                    Err(call.wrong(format_args!("kernel_shape does not fit filters of {kernel:?}")))
                }
                _ => Ok(kernel),
            },
            None if named.is_none() => Err(call.wrong("the attribute 'kernel_shape' is missing")),
            None => both(call, "kernel_shape", named, axes, 1),
        }
    }

    /// The explicit padding: top, left, bottom, right.
    pub(super) fn pads(&self, call: &Call<'_>, axes: usize) -> Step<[usize; 4]> {
        let Some(pads) = &self.pads else { return Ok([0; 4]) };
        let (before, behind) = pads.split_at(pads.len() / 2);
        let [top, left] = both(call, "pads", Some(before), axes, 0)?;
        let [bottom, right] = both(call, "pads", Some(behind), axes, 0)?;
        Ok([top, left, bottom, right])
    }

    /// The window without padding.
    pub(super) fn window(&self, call: &Call<'_>, axes: usize, kernel: [usize; 2]) -> Step<Window> {
        let strides = both(call, "strides", self.strides.as_deref(), axes, 1)?;
        let dilations = both(call, "dilations", self.dilations.as_deref(), axes, 1)?;
        Ok(Window::new(kernel).with_strides(strides).with_dilations(dilations))
    }

    /// The window over images of this size.
    pub(super) fn over(&self, call: &Call<'_>, images: &Images, kernel: [usize; 2]) -> Step<Window> {
        let window = self.window(call, images.axes, kernel)?;
        let mut pads = self.pads(call, images.axes)?;
        if let Fit::Same { end } = self.fit {
            // By the text of ONNX padding grows with the dilation. ONNX Runtime 1.31 refuses this for Conv and gives
            // pools another size.
            if window.dilations != [1, 1] {
                return unsupported(
                    "'auto_pad' together with 'dilations', on which implementations disagree",
                );
            }
            for (axis, size) in images.size.into_iter().enumerate() {
                let stride = window.strides[axis];
                let total = ((size.div_ceil(stride).max(1) - 1) * stride + kernel[axis]).saturating_sub(size);
                let (less, more) = (total / 2, total.div_ceil(2));
                (pads[axis], pads[axis + 2]) = if end { (less, more) } else { (more, less) };
            }
        }
        Ok(window.with_pads(pads))
    }
}
