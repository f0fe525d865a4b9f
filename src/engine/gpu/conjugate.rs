//! The discrete conjugate by comparing every slope with every point.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::ConjugateValues;

use super::multiply::multiply_rows;
use super::pairs::{FEW, for_each_block, lanes, steps, teams};
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuTensor, INVOCATIONS};

/// Slopes that a workgroup folds, and those that it takes directly.
const FOLDED: usize = 64;
const DIRECT: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    points: u32,
    dimension: u32,
    slopes: u32,
    lanes: u32,
    slope: u32,
    width: u32,
    point: u32,
    count: u32,
}

pub(super) fn conjugate(
    gpu: &Gpu,
    points: &GpuTensor,
    values: &GpuTensor,
    slopes: &GpuTensor,
) -> Result<ConjugateValues<f32>> {
    let (number, count) = (points.rows(), slopes.rows());
    let dimension = points.len() / number.max(1);
    let (conjugates, maximisers) = (gpu.empty([count])?, gpu.empty([count])?);
    let run = |entry, reads: [&Pooled; 3], params: &Params, workgroups| {
        let writes: [&Pooled; 2] = [conjugates.buffer(), maximisers.buffer()];
        gpu.0.run(Kernel::new("conjugate", entry), &reads, &writes, params, workgroups)
    };
    let params = Params {
        points: number as u32,
        dimension: dimension as u32,
        slopes: count as u32,
        lanes: lanes(dimension) as u32,
        ..Params::zeroed()
    };
    let all: [&Pooled; 3] = [points.buffer(), values.buffer(), slopes.buffer()];
    if number == 0 {
        run("reset", all, &params, count.div_ceil(INVOCATIONS))?;
    } else if dimension <= FEW {
        run("direct", all, &params, count.div_ceil(DIRECT))?;
    } else {
        run("reset", all, &params, count.div_ceil(INVOCATIONS))?;
        for_each_block([count, number], steps(gpu, [count, number], 1), |some, range| {
            let products = multiply_rows(gpu, (points, range.clone()), (slopes, some.clone()))?;
            let params = Params {
                slope: some.start as u32,
                width: some.len() as u32,
                point: range.start as u32,
                count: range.len() as u32,
                ..params
            };
            let reads: [&Pooled; 3] = [products.buffer(), values.buffer(), slopes.buffer()];
            run("fold", reads, &params, some.len().div_ceil(FOLDED))
        })?;
        run("recompute", all, &params, teams(count, dimension))?;
    }
    let (values, maximisers) =
        (gpu.0.request(conjugates.buffer(), count)?, gpu.0.request(maximisers.buffer(), count)?);
    Ok(ConjugateValues { values: gpu.0.receive(values)?, maximisers: gpu.0.receive(maximisers)? })
}
