//! Images of another size: the nearest element, or linear interpolation, axis by axis.

use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::onnx::tensor::Tensor;
use crate::network::operators::{Interpolate, Select};

use super::layout::checked_length;

/// From a place in the result to one in the input.
#[derive(Clone, Copy)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// Which element is the nearest one.
#[derive(Clone, Copy)]
enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// How an axis is resized.
struct Axis {
    /// Lengths before and after.
    from: usize,
    to: usize,
    scale: f64,
    coordinates: Coordinates,
}

impl Axis {
    fn place(&self, i: usize) -> f64 {
        let (from, to, x) = (self.from as f64, self.to as f64, i as f64);
        match self.coordinates {
            Coordinates::PytorchHalfPixel if self.to == 1 => 0.0,
            Coordinates::AlignCorners if self.to == 1 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (x + 0.5) / self.scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = to / (self.scale * from);
                from / 2.0 * (1.0 - adjustment) + (x + 0.5) / self.scale - 0.5
            }
            Coordinates::AlignCorners => x * (from - 1.0) / (to - 1.0),
            Coordinates::Asymmetric => x / self.scale,
        }
    }

    fn nearest(&self, nearest: Nearest) -> Vec<u32> {
        let index = |i: usize| {
            let x = self.place(i);
            let rounded = match nearest {
                Nearest::RoundPreferFloor => (x - 0.5).ceil(),
                Nearest::RoundPreferCeil => (x + 0.5).floor(),
                Nearest::Floor => x.floor(),
                Nearest::Ceil => x.ceil(),
            };
            rounded.clamp(0.0, (self.from - 1) as f64) as u32
        };
        (0..self.to).map(index).collect()
    }

    /// Both neighbours and the weight of the second.
    fn linear(&self) -> (Vec<u32>, Vec<u32>, Vec<f64>) {
        let (mut low, mut high, mut weight) = (vec![], vec![], vec![]);
        for i in 0..self.to {
            let x = self.place(i).clamp(0.0, (self.from - 1) as f64);
            low.push(x.floor() as u32);
            high.push((x.floor() as usize + 1).min(self.from - 1) as u32);
            weight.push(x - x.floor());
        }
        (low, high, weight)
    }
}

/// Upsample, before Resize took its place.
pub(super) fn upsample(call: &mut Call<'_>) -> Step<Operand> {
    if call.setting.opset >= 10 {
        return unsupported("it exists until opset 9");
    }
    let linear = mode(call)?;
    let scales = if call.setting.opset < 9 {
        let scales = call.floats("scales")?.ok_or_else(|| call.wrong("the attribute 'scales' is missing"))?;
        scales.iter().map(|&scale| f64::from(scale)).collect()
    } else {
        call.weights(1, "scales")?.to()
    };
    call.no_more_attributes()?;
    call.arity(if call.setting.opset < 9 { 1..=1 } else { 2..=2 })?;
    resized(call, linear, Coordinates::Asymmetric, Nearest::Floor, Wanted::Scales(scales), None)
}

/// Whether it interpolates.
fn mode(call: &mut Call<'_>) -> Step<bool> {
    match call.string("mode")?.unwrap_or("nearest") {
        "nearest" => Ok(false),
        "linear" | "bilinear" => Ok(true),
        other => {
            unsupported(format!("the mode '{}'; nearest and linear are supported", other.escape_debug()))
        }
    }
}

/// What size is asked for, for each of some axes.
enum Wanted {
    Scales(Vec<f64>),
    /// Scales whose sizes are rounded to the nearest, halves up.
    Rounded(Vec<f64>),
    Sizes(Vec<i64>),
}

pub(super) fn resize(call: &mut Call<'_>) -> Step<Operand> {
    super::activation::exists_since(call, 10)?;
    if call.setting.opset == 10 {
        let linear = mode(call)?;
        call.no_more_attributes()?;
        call.arity(2..=2)?;
        let scales = call.weights(1, "scales")?.to();
        return resized(call, linear, Coordinates::Asymmetric, Nearest::Floor, Wanted::Scales(scales), None);
    }
    if call.setting.opset >= 18 && call.flag("antialias")? {
        return unsupported("antialias=1");
    }
    let linear = mode(call)?;
    let coordinates = match call.string("coordinate_transformation_mode")?.unwrap_or("half_pixel") {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" if call.setting.opset >= 19 => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        other => return unsupported(format!("coordinates '{}'", other.escape_debug())),
    };
    let nearest = match call.string("nearest_mode")?.unwrap_or("round_prefer_floor") {
        "round_prefer_floor" => Nearest::RoundPreferFloor,
        "round_prefer_ceil" => Nearest::RoundPreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => return Err(call.wrong(format_args!("'nearest_mode' is '{}'", other.escape_debug()))),
    };
    // These say nothing here: for cubic interpolation, for cropping.
    call.float("cubic_coeff_a")?;
    call.float("extrapolation_value")?;
    if call.flag("exclude_outside")? && linear {
        return unsupported("exclude_outside=1");
    }
    let (mut axes, mut policy) = (None, "stretch");
    if call.setting.opset >= 18 {
        axes = call.ints("axes")?.map(<[i64]>::to_vec);
        policy = call.string("keep_aspect_ratio_policy")?.unwrap_or("stretch");
    }
    call.no_more_attributes()?;
    call.arity(1..=4)?;
    let given = |call: &Call<'_>, i: usize| -> Step<bool> {
        // An empty constant is how older files leave one out.
        Ok(call.has(i) && !matches!(call.constant(i, "size")?, tensor if tensor.len() == 0))
    };
    let wanted = match (given(call, 2)?, given(call, 3)?) {
        (true, false) => Wanted::Scales(call.weights(2, "scales")?.to()),
        (false, true) => Wanted::Sizes(sizes(call)?),
        _ => return Err(call.wrong("it must have either scales or sizes")),
    };
    let wanted = match (wanted, policy) {
        (Wanted::Sizes(sizes), "not_larger" | "not_smaller") => {
            fitted(call, &sizes, axes.as_deref(), policy == "not_smaller")?
        }
        (wanted, "stretch" | "not_larger" | "not_smaller") => wanted,
        (_, other) => {
            return Err(call.wrong(format_args!("'keep_aspect_ratio_policy' is '{}'", other.escape_debug())));
        }
    };
    resized(call, linear, coordinates, nearest, wanted, axes)
}

/// One scale for all axes, so that no size (or every one) is below what is asked for.
fn fitted(call: &Call<'_>, sizes: &[i64], axes: Option<&[i64]>, smaller: bool) -> Step<Wanted> {
    let x = call.computed(0)?;
    let axes = match axes {
        Some(axes) => call.axes(axes, x.rank()).map(|_| axes.to_vec())?,
        None => (0..x.rank() as i64).collect(),
    };
    if axes.len() != sizes.len() {
        return Err(call.wrong(format_args!("{} sizes for {} axes", sizes.len(), axes.len())));
    }
    let mut scales = vec![];
    for (&axis, &size) in axes.iter().zip(sizes) {
        let Some(along) = x.layout.along(call.axis(axis, x.rank())?) else {
            return unsupported("it resizes the batch with the other axes");
        };
        scales.push(size as f64 / x.layout.sample[along] as f64);
    }
    let pick = if smaller { f64::max } else { f64::min };
    let scale = scales.iter().copied().reduce(pick).unwrap_or(1.0);
    Ok(Wanted::Rounded(vec![scale; sizes.len()]))
}

/// Sizes; -1 stands for the batch.
fn sizes(call: &Call<'_>) -> Step<Vec<i64>> {
    use crate::network::onnx::tensor::Integer;
    let size = |size: &Integer| match size {
        Integer::Known(size) => *size,
        Integer::Batch(_) => -1,
    };
    match call.constant(3, "sizes")? {
        Tensor::Int { values, .. } => Ok(values.iter().map(size).collect()),
        other => Err(call.wrong(format_args!("its sizes hold {}", other.kind()))),
    }
}

fn resized(
    call: &mut Call<'_>,
    linear: bool,
    coordinates: Coordinates,
    nearest: Nearest,
    wanted: Wanted,
    axes: Option<Vec<i64>>,
) -> Step<Operand> {
    let mut x = call.computed(0)?;
    let rank = x.rank();
    let axes = match axes {
        Some(axes) => {
            call.axes(&axes, rank)?;
            axes
        }
        None => (0..rank as i64).collect(),
    };
    let count = match &wanted {
        Wanted::Scales(scales) | Wanted::Rounded(scales) => scales.len(),
        Wanted::Sizes(sizes) => sizes.len(),
    };
    if count != axes.len() {
        return Err(call.wrong(format_args!("{count} scales or sizes for {} axes", axes.len())));
    }
    for (i, &axis) in axes.iter().enumerate() {
        let axis = call.axis(axis, rank)?;
        let Some(along) = x.layout.along(axis) else {
            let same = match &wanted {
                Wanted::Scales(scales) | Wanted::Rounded(scales) => scales[i] == 1.0,
                Wanted::Sizes(sizes) => {
                    sizes[i] == -1 || usize::try_from(sizes[i]).ok() == call.setting.batch
                }
            };
            if same {
                continue;
            }
            return unsupported("it resizes the batch");
        };
        let from = x.layout.sample[along];
        let (to, scale) = match &wanted {
            Wanted::Scales(scales) => ((from as f64 * scales[i]).floor(), scales[i]),
            Wanted::Rounded(scales) => ((from as f64 * scales[i] + 0.5).floor(), scales[i]),
            Wanted::Sizes(sizes) => (sizes[i] as f64, sizes[i] as f64 / from as f64),
        };
        if !(to >= 1.0 && to <= f64::from(u32::MAX)) {
            return Err(call.wrong(format_args!("an axis of {from} elements becomes one of {to}")));
        }
        // By the text of ONNX the size before it is rounded decides, by ONNX Runtime the one after.
        if matches!(coordinates, Coordinates::AlignCorners) && (scale * from as f64 - to).abs() > 1e-6 * to {
            return unsupported(
                "align_corners with a size that is no integer, on which implementations disagree",
            );
        }
        let to = to as usize;
        checked_length(to)?;
        if to == from && scale == 1.0 {
            continue;
        }
        let resizing = Axis { from, to, scale, coordinates };
        x = if linear {
            let (low, high, weight) = resizing.linear();
            call.function(Interpolate { axis: along, low, high, weight }, &x)?
        } else {
            call.function(Select { axis: along, indices: resizing.nearest(nearest) }, &x)?
        };
    }
    Ok(x)
}
