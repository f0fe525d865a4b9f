//! Convolution and pooling.

use crate::engine::Window;
use crate::network::onnx::call::{Call, Step, Value, unsupported};
use crate::network::operators::{AveragePool, Convolution, MaxPool, Reduce};

/// The largest kernel, stride, dilation and padding. No network comes near it, and with images no longer than
/// [`LONGEST`] it keeps a hostile file from keeping us busy for long.
const WIDEST: usize = 1 << 15;

/// The most rows or columns of an image.
const LONGEST: usize = 1 << 24;

/// The attributes of a window, before the image is known.
struct Attributes {
    kernel: Option<[usize; 2]>,
    strides: [usize; 2],
    dilations: [usize; 2],
    /// Top, left, bottom, right.
    pads: Option<[usize; 4]>,
    fit: Fit,
}

/// Where padding comes from.
enum Fit {
    Explicit,
    /// As much as gives `size / stride` windows, rounded up; the odd one at the end, or else at the start.
    Same {
        end: bool,
    },
    None,
}

/// `N` widths, none below `least`; `axes` of them describe one window.
fn widths<const N: usize>(call: &mut Call<'_>, name: &'static str, least: i64) -> Step<Option<[usize; N]>> {
    let Some(values) = call.ints(name)? else { return Ok(None) };
    let axes = 2 * values.len() / N;
    let Ok(array) = <[i64; N]>::try_from(values) else {
        return unsupported(format!(
            "'{name}' describes {axes}-D windows; only 2-D ones (images) are supported"
        ));
    };
    if let Some(value) = array.iter().find(|&&value| value < least) {
        return Err(call.wrong(format_args!("'{name}' holds {value}, the least is {least}")));
    }
    if let Some(value) = array.iter().find(|&&value| value > WIDEST as i64) {
        return unsupported(format!("'{name}' holds {value}; up to {WIDEST} is supported"));
    }
    Ok(Some(array.map(|value| value as usize)))
}

fn attributes(call: &mut Call<'_>, dilations_since: i64) -> Step<Attributes> {
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
    if !matches!(fit, Fit::Explicit) && pads.is_some_and(|pads| pads != [0; 4]) {
        return Err(call.wrong("it has both 'pads' and 'auto_pad'"));
    }
    Ok(Attributes {
        kernel: widths(call, "kernel_shape", 1)?,
        strides: widths(call, "strides", 1)?.unwrap_or([1, 1]),
        dilations: dilations.unwrap_or([1, 1]),
        pads,
        fit,
    })
}

impl Attributes {
    /// The window over images of samples `[channels, height, width]`.
    fn over(&self, call: &Call<'_>, kernel: [usize; 2], sample: &[usize]) -> Step<Window> {
        let &[_, height, width] = sample else {
            return match sample.len() {
                2 | 4 => {
                    unsupported(format!("over {}-D data; only images (2-D) are supported", sample.len() - 1))
                }
                _ => Err(call.wrong(format_args!("samples of shape {sample:?} are no images"))),
            };
        };
        if height > LONGEST || width > LONGEST {
            return unsupported(format!("images of more than {LONGEST} rows or columns"));
        }
        let mut pads = self.pads.unwrap_or([0; 4]);
        if let Fit::Same { end } = self.fit {
            // By the text of ONNX padding grows with the dilation. ONNX Runtime 1.31 refuses this for Conv and gives
            // pools another size.
            if self.dilations != [1, 1] {
                return unsupported(
                    "'auto_pad' together with 'dilations', on which implementations disagree",
                );
            }
            for (axis, size) in [height, width].into_iter().enumerate() {
                let stride = self.strides[axis];
                let total = ((size.div_ceil(stride).max(1) - 1) * stride + kernel[axis]).saturating_sub(size);
                let (less, more) = (total / 2, total.div_ceil(2));
                (pads[axis], pads[axis + 2]) = if end { (less, more) } else { (more, less) };
            }
        }
        let (strides, dilations) = (self.strides, self.dilations);
        Ok(Window::new(kernel).with_strides(strides).with_dilations(dilations).with_pads(pads))
    }

    /// The window of a pool, and what must hold for one.
    fn pool(&self, call: &Call<'_>, sample: &[usize], ceil: bool) -> Step<Window> {
        let kernel = self.kernel.ok_or_else(|| call.wrong("the attribute 'kernel_shape' is missing"))?;
        let window = self.over(call, kernel, sample)?;
        for axis in 0..2 {
            let reach = (kernel[axis] - 1) * window.dilations[axis] + 1;
            let (before, after) = (window.pads[axis], window.pads[axis + 2]);
            if before >= reach || after >= reach {
                return unsupported("its padding is as wide as its kernel, so that windows see nothing else");
            }
            let padded = sample[axis + 1] + before + after;
            if ceil && padded.checked_sub(reach).is_some_and(|room| room % window.strides[axis] != 0) {
                return unsupported("ceil_mode=1, where it adds a window");
            }
        }
        Ok(window)
    }
}

pub(super) fn conv(call: &mut Call<'_>) -> Step<Value> {
    let attributes = attributes(call, 1)?;
    let groups = call.int("group")?.unwrap_or(1);
    call.no_more_attributes()?;
    call.arity(2..=3)?;
    let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0);
    let groups = groups.ok_or_else(|| call.wrong("the attribute 'group' must be at least 1"))?;
    let filters = call.weights(1, "filters")?.clone();
    let &[_, _, height, width] = filters.shape() else {
        return match filters.shape().len() {
            3 | 5 => {
                unsupported(format!("a {}-D convolution; only 2-D is supported", filters.shape().len() - 2))
            }
            _ => Err(call.wrong(format_args!("its filters have the shape {:?}", filters.shape()))),
        };
    };
    let kernel = [height, width];
    if attributes.kernel.is_some_and(|named| named != kernel) {
        return Err(call.wrong(format_args!("kernel_shape does not fit filters {:?}", filters.shape())));
    }
    if kernel.iter().any(|length| !(1..=WIDEST).contains(length)) {
        return Err(call.wrong(format_args!("its filters have the shape {:?}", filters.shape())));
    }
    let bias = call.has(2).then(|| call.weights(2, "bias").cloned()).transpose()?;
    let (x, sample) = call.data(0)?;
    let window = attributes.over(call, kernel, &sample)?;
    let op = call.checked(Convolution::new(filters, bias, window, groups))?;
    call.add(op, &[x])
}

pub(super) fn max_pool(call: &mut Call<'_>) -> Step<Value> {
    let attributes = attributes(call, 10)?;
    let ceil = call.setting.opset >= 10 && call.flag("ceil_mode")?;
    if call.setting.opset >= 8 && call.flag("storage_order")? {
        return unsupported("storage_order=1");
    }
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let (x, sample) = call.data(0)?;
    let window = attributes.pool(call, &sample, ceil)?;
    call.add(MaxPool { window }, &[x])
}

pub(super) fn average_pool(call: &mut Call<'_>) -> Step<Value> {
    let attributes = attributes(call, 19)?;
    let ceil = call.setting.opset >= 10 && call.flag("ceil_mode")?;
    let count_padding = call.flag("count_include_pad")?;
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let (x, sample) = call.data(0)?;
    let window = attributes.pool(call, &sample, ceil)?;
    let counted = if count_padding { window.pads } else { [0; 4] };
    call.add(AveragePool { window, counted }, &[x])
}

pub(super) fn global_average_pool(call: &mut Call<'_>) -> Step<Value> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let (x, sample) = call.data(0)?;
    let axes = (1..sample.len()).collect();
    call.add(Reduce { axes, keep: true, mean: true }, &[x])
}
