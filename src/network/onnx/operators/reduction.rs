//! Sums, means, limits and norms over axes.

use crate::engine::{Activation, Arithmetic};
use crate::network::onnx::batch::Batch;
use crate::network::onnx::call::{Call, Step, unsupported};
use crate::network::onnx::operand::Operand;
use crate::network::operators::{Branches, Reduce, ReduceMax};

use super::arithmetic::with_number;
use super::{folding, shapes};

/// What is reduced how.
struct Reduction {
    /// Of a sample, ascending.
    axes: Vec<usize>,
    /// Of the file.
    file_axes: Vec<usize>,
    keep: bool,
}

/// The axes of a reduction: an attribute before opset 18 (13 for ReduceSum), an input from there. `None` where it
/// does nothing.
fn axes(call: &mut Call<'_>) -> Step<(Option<Vec<i64>>, bool, bool)> {
    let keep = call.int("keepdims")?.unwrap_or(1) != 0;
    let since = if call.operator() == "ReduceSum" { 13 } else { 18 };
    if call.setting.opset < since {
        let axes = call.ints("axes")?.map(<[i64]>::to_vec);
        call.no_more_attributes()?;
        call.arity(1..=1)?;
        return Ok((axes, keep, false));
    }
    let nothing = call.flag("noop_with_empty_axes")?;
    call.no_more_attributes()?;
    call.arity(1..=2)?;
    let axes = call.has(1).then(|| call.integers(1, "axes")).transpose()?;
    Ok((axes.filter(|axes| !axes.is_empty()), keep, nothing))
}

pub(super) fn reduce(call: &mut Call<'_>) -> Step<Operand> {
    let (axes, keep, nothing) = axes(call)?;
    let x = call.operand(0)?;
    let rank = x.rank();
    let file_axes = match axes {
        Some(axes) => call.axes(&axes, rank)?,
        None if nothing => vec![],
        None => (0..rank).collect(),
    };
    if let Some(folded) = folding::reduced(call, &file_axes, keep)? {
        return Ok(folded);
    }
    let x = call.exposed(x, &file_axes, "it runs over")?;
    let axes = file_axes.iter().filter_map(|&axis| x.layout.along(axis)).collect();
    let over = Reduction { axes, file_axes, keep };
    match call.operator() {
        "ReduceMean" => over.sum(call, &x, true),
        "ReduceSum" => over.sum(call, &x, false),
        "ReduceMax" => over.max(call, &x),
        "ReduceMin" => {
            let minus = with_number(call, Arithmetic::Mul, &x, -1.0)?;
            let largest = over.max(call, &minus)?;
            with_number(call, Arithmetic::Mul, &largest, -1.0)
        }
        "ReduceL1" => {
            let absolute = call.function(Activation::Abs, &x)?;
            over.sum(call, &absolute, false)
        }
        "ReduceL2" => {
            let squares = over.squares(call, &x)?;
            call.function(Activation::Sqrt, &squares)
        }
        "ReduceSumSquare" => over.squares(call, &x),
        "ReduceLogSum" => {
            let sum = over.sum(call, &x, false)?;
            call.function(Activation::Log, &sum)
        }
        "ReduceLogSumExp" => over.log_sum_exp(call, &x),
        _ => unsupported("of computed values"),
    }
}

impl Reduction {
    /// Where the batch is when the axes are gone.
    fn batch(&self, x: &Operand) -> Batch {
        match x.layout.batch {
            Batch::Axis { axis, outer, inner } if !self.keep => {
                let before = self.file_axes.iter().filter(|&&reduced| reduced < axis).count();
                Batch::Axis { axis: axis - before, outer, inner }
            }
            batch => batch,
        }
    }

    fn sum(&self, call: &mut Call<'_>, x: &Operand, mean: bool) -> Step<Operand> {
        if self.axes.is_empty() {
            return Ok(x.clone());
        }
        call.step(Reduce { axes: self.axes.clone(), keep: self.keep, mean }, &[x], self.batch(x))
    }

    fn max(&self, call: &mut Call<'_>, x: &Operand) -> Step<Operand> {
        if self.axes.is_empty() {
            return Ok(x.clone());
        }
        call.step(ReduceMax { axes: self.axes.clone(), keep: self.keep }, &[x], self.batch(x))
    }

    fn squares(&self, call: &mut Call<'_>, x: &Operand) -> Step<Operand> {
        let squares = call.function(Activation::Power { exponent: 2.0 }, x)?;
        self.sum(call, &squares, false)
    }

    /// With the largest value taken out, so that no exponential overflows.
    fn log_sum_exp(&self, call: &mut Call<'_>, x: &Operand) -> Step<Operand> {
        let kept = Self { axes: self.axes.clone(), file_axes: self.file_axes.clone(), keep: true };
        let largest = kept.max(call, x)?;
        let rest = call.step(Branches { operation: Arithmetic::Sub }, &[x, &largest], x.layout.batch)?;
        let powers = call.function(Activation::Exp, &rest)?;
        let sum = kept.sum(call, &powers, false)?;
        let log = call.function(Activation::Log, &sum)?;
        let y = call.step(Branches { operation: Arithmetic::Add }, &[&log, &largest], log.layout.batch)?;
        if self.keep { Ok(y) } else { shapes::dropped_axes(call, y, &self.file_axes) }
    }
}

/// The mean or the largest value of each channel.
pub(super) fn global_pool(call: &mut Call<'_>, largest: bool) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let (x, sample) = call.samples(0)?;
    if sample.len() < 2 {
        return unsupported(format!(
            "global pooling needs channels and positions, samples have shape {sample:?}"
        ));
    }
    let axes = (1..sample.len()).collect();
    if largest {
        call.function(ReduceMax { axes, keep: true }, &x)
    } else {
        call.function(Reduce { axes, keep: true, mean: true }, &x)
    }
}
