//! Squared distances from the differences themselves: twice the work of a product, and all digits.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::Result;

use super::device::Part;
use super::pipelines::Kernel;
use super::{Gpu, GpuTensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    anchors: u32,
    points: u32,
    dimension: u32,
}

/// Anchors and points that a workgroup takes.
const SIDE: usize = 64;

/// `|x_i - x|^2` `[m, n]` of some anchors and some points, rows of `[M, D]` and `[N, D]`; ranges begin at multiples of
/// [`ALIGNMENT`](super::device::ALIGNMENT).
pub(super) fn squared_distances(
    gpu: &Gpu,
    (anchors, some_anchors): (&GpuTensor, &Range<usize>),
    (points, some_points): (&GpuTensor, &Range<usize>),
) -> Result<GpuTensor> {
    let dimension = points.len() / points.rows().max(1);
    let squared = gpu.empty([some_anchors.len(), some_points.len()])?;
    let params = Params {
        first: 0,
        anchors: some_anchors.len() as u32,
        points: some_points.len() as u32,
        dimension: dimension as u32,
    };
    let reads = [
        Part { buffer: anchors.buffer(), start: some_anchors.start * dimension },
        Part { buffer: points.buffer(), start: some_points.start * dimension },
    ];
    let groups = some_anchors.len().div_ceil(SIDE) * some_points.len().div_ceil(SIDE);
    gpu.0.run_on_parts(
        Kernel::new("distances", "distances"),
        &reads,
        &[squared.buffer()],
        &params,
        groups,
    )?;
    Ok(squared)
}
