//! Tangents and squared distances of blocks of points and anchors: what envelopes and the secant curvature fold.
//!
//! A block's products go to scratch memory, of which there is a fixed amount, and the fold follows: never are all pairs
//! there at once. Points of few elements need no products; their kernels compute from the difference itself.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::Jets;

use super::device::ALIGNMENT;
use super::multiply::multiply_rows;
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuBuffer, GpuTensor, INVOCATIONS};

/// Points of so few elements are compared without products.
pub(super) const FEW: usize = 8;

/// Points in a block at most.
const POINTS: usize = 4096;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    rows: u32,
    dimension: u32,
    outputs: u32,
    lanes: u32,
}

/// Points, centred.
#[derive(Debug)]
pub(super) struct Points {
    /// As they came, `[N, D]`.
    pub own: GpuTensor,
    pub centered: GpuTensor,
    /// The points' values `[K, N]`, if they have any, and their squared norms `[N]`.
    pub terms: GpuTensor,
    /// The high and the low part of the center.
    center: [Pooled; 2],
}

/// Centred anchors of some jets, and what depends on them alone: for each its offsets `v - J x` `[K]`, its squared
/// norm, and its values again `[K]`.
#[derive(Debug)]
pub(super) struct Anchors {
    pub centered: GpuTensor,
    pub terms: GpuTensor,
}

/// Products of a block of points and a block of anchors.
#[derive(Debug)]
pub(super) struct Block {
    pub points: Range<usize>,
    pub anchors: Range<usize>,
    /// `[m K, n]`
    pub slopes: GpuTensor,
    /// `[m, n]`
    pub cross: GpuTensor,
}

/// How many invocations share a sum over so many elements. From the dimension alone, as the order of the sum follows
/// from it.
pub(super) fn lanes(dimension: usize) -> usize {
    (dimension.next_power_of_two() / 4).clamp(1, 64)
}

/// Workgroups in which so many teams of lanes fit.
pub(super) fn teams(number: usize, dimension: usize) -> usize {
    (number * lanes(dimension)).div_ceil(INVOCATIONS)
}

const fn kernel(entry: &'static str) -> Kernel {
    Kernel::new("pairs", entry)
}

impl Points {
    pub(super) fn new(gpu: &Gpu, x: &GpuTensor, values: Option<&GpuTensor>, center: &[f64]) -> Result<Self> {
        let (rows, dimension) = (x.rows(), center.len());
        let high: Vec<f32> = center.iter().map(|&c| c as f32).collect();
        let low: Vec<f32> =
            center.iter().zip(&high).map(|(&c, &high)| (c - f64::from(high)) as f32).collect();
        let center = [gpu.constants(&high)?, gpu.constants(&low)?];
        let nothing = &gpu.0.nothing;
        let outputs = values.map_or(0, |values| values.len() / rows.max(1));
        let centered = subtract(gpu, x, &center, dimension)?;
        let terms = gpu.empty([outputs + 1, rows])?;
        let params = params(rows, dimension, outputs);
        let values = values.map_or(nothing, |values| values.buffer());
        let reads = [centered.buffer(), values, nothing];
        gpu.0.run(kernel("norms"), &reads, &[terms.buffer()], &params, teams(rows, dimension))?;
        Ok(Self { own: x.clone(), centered, terms, center })
    }

    pub(super) fn dimension(&self) -> usize {
        self.own.len() / self.own.rows().max(1)
    }

    pub(super) fn prepare(&self, gpu: &Gpu, jets: &Jets<GpuBuffer>) -> Result<Anchors> {
        let (rows, dimension) = (jets.points.rows(), self.dimension());
        let outputs = jets.values.len() / rows.max(1);
        let centered = subtract(gpu, &jets.points, &self.center, dimension)?;
        let terms = gpu.empty([rows, 2 * outputs + 1])?;
        let reads: [&Pooled; 3] = [centered.buffer(), jets.jacobians.buffer(), jets.values.buffer()];
        let groups = teams(terms.len(), dimension);
        gpu.0.run(kernel("offsets"), &reads, &[terms.buffer()], &params(rows, dimension, outputs), groups)?;
        Ok(Anchors { centered, terms })
    }

    /// Points and anchors in blocks whose products fit the scratch memory.
    pub(super) fn blocks(&self, gpu: &Gpu, anchors: usize, outputs: usize) -> [usize; 2] {
        steps(gpu, [self.own.rows(), anchors], outputs + 1)
    }

    /// `J_i x` `[m K, n]` for a block of centred points and some anchors of the jets.
    pub(super) fn slopes(
        &self,
        gpu: &Gpu,
        jets: &Jets<GpuBuffer>,
        points: &Range<usize>,
        anchors: &Range<usize>,
    ) -> Result<GpuTensor> {
        let number = jets.points.rows();
        let outputs = jets.values.len() / number.max(1);
        let jacobians = jets.jacobians.reshaped([number * outputs, self.dimension()])?;
        let rows = anchors.start * outputs..anchors.end * outputs;
        multiply_rows(gpu, (&jacobians, rows), (&self.centered, points.clone()))
    }

    /// Calls `fold` with the products of all blocks; for each block of points anchors ascend.
    pub(super) fn for_each(
        &self,
        gpu: &Gpu,
        jets: &Jets<GpuBuffer>,
        anchors: &Anchors,
        mut fold: impl FnMut(&Block) -> Result<()>,
    ) -> Result<()> {
        let number = jets.points.rows();
        let steps = self.blocks(gpu, number, jets.values.len() / number.max(1));
        for_each_block([self.own.rows(), number], steps, |points, range| {
            let slopes = self.slopes(gpu, jets, &points, &range)?;
            let cross =
                multiply_rows(gpu, (&anchors.centered, range.clone()), (&self.centered, points.clone()))?;
            fold(&Block { points, anchors: range, slopes, cross })
        })
    }
}

/// Blocks of points and of anchors so large that `products` numbers for each pair fit the scratch memory.
pub(super) fn steps(gpu: &Gpu, [points, anchors]: [usize; 2], products: usize) -> [usize; 2] {
    let room = (gpu.0.scratch.min(gpu.0.limits.tensor) / 4) as usize / products;
    let points = points.next_multiple_of(ALIGNMENT).min(POINTS);
    let points = points.min((room / ALIGNMENT / ALIGNMENT * ALIGNMENT).max(ALIGNMENT));
    let most = (room / points / ALIGNMENT * ALIGNMENT).max(ALIGNMENT);
    [points, most.min(anchors.next_multiple_of(ALIGNMENT))]
}

/// Calls `run` with every block of points and of anchors; for each block of points anchors ascend.
pub(super) fn for_each_block(
    [points, anchors]: [usize; 2],
    [points_step, anchors_step]: [usize; 2],
    mut run: impl FnMut(Range<usize>, Range<usize>) -> Result<()>,
) -> Result<()> {
    for first in (0..points).step_by(points_step) {
        let of_points = first..(first + points_step).min(points);
        for first in (0..anchors).step_by(anchors_step) {
            run(of_points.clone(), first..(first + anchors_step).min(anchors))?;
        }
    }
    Ok(())
}

fn params(rows: usize, dimension: usize, outputs: usize) -> Params {
    Params {
        first: 0,
        rows: rows as u32,
        dimension: dimension as u32,
        outputs: outputs as u32,
        lanes: lanes(dimension) as u32,
    }
}

/// Rows less the center.
fn subtract(gpu: &Gpu, x: &GpuTensor, center: &[Pooled; 2], dimension: usize) -> Result<GpuTensor> {
    let rows = x.len() / dimension.max(1);
    let y = gpu.empty([rows, dimension])?;
    let reads = [x.buffer(), &center[0], &center[1]];
    gpu.each(kernel("center"), &reads, &[y.buffer()], &params(rows, dimension, 0), x.len())?;
    Ok(y)
}
