//! The largest of many affine pieces at each point, by comparing every point with every piece.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::{MaxAffineSpec, MaxAffineValues};

use super::multiply::multiply_rows;
use super::pairs::{FEW, for_each_block, lanes, steps, teams};
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuTensor, INVOCATIONS};

/// Points that a workgroup folds, and those that it takes directly.
const FOLDED: usize = 64;
const DIRECT: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    points: u32,
    dimension: u32,
    pieces: u32,
    top: u32,
    lanes: u32,
    point: u32,
    width: u32,
    piece: u32,
    count: u32,
}

/// What [`SplineEngine::max_affine`](crate::engine::SplineEngine::max_affine) says. Whatever `spec` has as the search,
/// every pair is compared: there is no tree of points on this engine.
pub(super) fn max_affine(
    gpu: &Gpu,
    slopes: &GpuTensor,
    conjugates: &GpuTensor,
    points: &GpuTensor,
    spec: &MaxAffineSpec,
) -> Result<MaxAffineValues<f32>> {
    let (number, count, top) = (slopes.rows(), points.rows(), spec.top);
    if count == 0 {
        return Ok(MaxAffineValues { values: vec![], pieces: vec![], scored: 0 });
    }
    let dimension = points.len() / count;
    let shape = [top, count];
    let (values, pieces) = (gpu.empty(shape)?, gpu.empty(shape)?);
    let run = |entry, reads: [&Pooled; 3], params: &Params, workgroups| {
        let writes: [&Pooled; 2] = [values.buffer(), pieces.buffer()];
        gpu.0.run(Kernel::new("max_affine", entry), &reads, &writes, params, workgroups)
    };
    let params = Params {
        points: count as u32,
        dimension: dimension as u32,
        pieces: number as u32,
        top: top as u32,
        lanes: lanes(dimension) as u32,
        ..Params::zeroed()
    };
    let all: [&Pooled; 3] = [slopes.buffer(), conjugates.buffer(), points.buffer()];
    // `direct` keeps a single best in registers, and its scores need not be computed anew.
    let direct = top == 1 && dimension <= FEW && number > 0;
    let recomputed = spec.pieces && !direct && number > 0;
    if direct {
        run("direct", all, &params, count.div_ceil(DIRECT))?;
    } else {
        run("reset", all, &params, values.len().div_ceil(INVOCATIONS))?;
        let entry = if top == 1 { "fold" } else { "fold_top" };
        for_each_block([count, number], steps(gpu, [count, number], 1), |some, range| {
            let products = multiply_rows(gpu, (slopes, range.clone()), (points, some.clone()))?;
            let params = Params {
                point: some.start as u32,
                width: some.len() as u32,
                piece: range.start as u32,
                count: range.len() as u32,
                ..params
            };
            let reads: [&Pooled; 3] = [products.buffer(), conjugates.buffer(), points.buffer()];
            run(entry, reads, &params, some.len().div_ceil(FOLDED))
        })?;
    }
    if recomputed {
        run("recompute", all, &params, teams(values.len(), dimension))?;
    }
    let wanted = if spec.pieces { pieces.len() } else { 0 };
    let (values, pieces) =
        (gpu.0.request(values.buffer(), values.len())?, gpu.0.request(pieces.buffer(), wanted)?);
    let (mut values, mut pieces): (Vec<f32>, Vec<u32>) = (gpu.0.receive(values)?, gpu.0.receive(pieces)?);
    if recomputed && top > 1 {
        sort_lists(&mut values, &mut pieces, shape);
    }
    Ok(MaxAffineValues { values, pieces, scored: count as u64 * number as u64 })
}

/// Orders the lists of arrays `[.., top, width]` by value, descending, and equal ones by piece: values that were
/// computed anew may pass each other where they nearly tie.
pub(super) fn sort_lists(values: &mut [f32], pieces: &mut [u32], [top, width]: [usize; 2]) {
    // Both zeros are equal.
    let order = |a: &(f32, u32), b: &(f32, u32)| (b.0 + 0.0).total_cmp(&(a.0 + 0.0)).then(a.1.cmp(&b.1));
    let size = (top * width).max(1);
    let mut list = Vec::with_capacity(top);
    for (values, pieces) in values.chunks_exact_mut(size).zip(pieces.chunks_exact_mut(size)) {
        for column in 0..width {
            let places = (column..size).step_by(width);
            list.clear();
            list.extend(places.clone().map(|at| (values[at], pieces[at])));
            if list.is_sorted_by(|a, b| order(a, b).is_le()) {
                continue;
            }
            list.sort_by(order);
            for (at, &(value, piece)) in places.zip(&list) {
                (values[at], pieces[at]) = (value, piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_with_equal_values_by_piece() {
        // [top, width] of [3, 3]; the first list ends early.
        let mut values = [1.0, 0.0, f32::MIN, 2.0, -0.0, 3.0, f32::MIN, 7.0, 8.0];
        let mut pieces = [0, 5, 2, 1, 2, 4, u32::MAX, 9, 6];
        sort_lists(&mut values, &mut pieces, [3, 3]);
        assert_eq!(pieces, [1, 9, 6, 0, 2, 4, u32::MAX, 5, 2]);
        assert_eq!(values, [2.0, 7.0, 8.0, 1.0, -0.0, 3.0, f32::MIN, 0.0, f32::MIN]);
    }
}
