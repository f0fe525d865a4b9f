//! Products of two tensors' matrices.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::axes::{self, Matrices, Merged};

use super::device::Part;
use super::matmul::side;
use super::pipelines::Kernel;
use super::{Gpu, GpuTensor, too_many_axes};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    rows: u32,
    columns: u32,
    depth: u32,
    transposed: [u32; 2],
    matrices: u32,
    padding: u32,
    lengths: [u32; 4],
    strides: [[u32; 4]; 2],
}

pub(super) fn multiply(gpu: &Gpu, a: &GpuTensor, b: &GpuTensor, transposed: [bool; 2]) -> Result<GpuTensor> {
    let Matrices { leading: [leading_a, leading_b], joined, m, k, n } =
        Matrices::new(a.shape(), b.shape(), transposed)?;
    let merged = Merged::new(&joined, [&axes::strides(&leading_a), &axes::strides(&leading_b)]);
    let y = gpu.empty([&joined[..], &[m, n]].concat())?;
    let too_many = || too_many_axes("a product of matrices", y.shape());
    // Slowest first, ones in front.
    let four = |axes: &[usize], missing: u32| -> Result<[u32; 4]> {
        let mut four = [missing; 4];
        let start = 4_usize.checked_sub(axes.len()).ok_or_else(too_many)?;
        four[start..].iter_mut().zip(axes).for_each(|(to, &axis)| *to = axis as u32);
        Ok(four)
    };
    let matrices = joined.iter().product::<usize>();
    let params = Params {
        matrices: matrices as u32,
        lengths: four(&merged.lengths, 1)?,
        strides: [four(&merged.strides[0], 0)?, four(&merged.strides[1], 0)?],
        ..params([m, n, k], transposed)
    };
    run(gpu, [whole(a), whole(b)], &params, matrices, &y)?;
    Ok(y)
}

/// `a b^T` for some rows of two matrices that lie row by row; ranges begin at multiples of
/// [`ALIGNMENT`](super::device::ALIGNMENT) rows.
pub(super) fn multiply_rows(
    gpu: &Gpu,
    (a, a_rows): (&GpuTensor, Range<usize>),
    (b, b_rows): (&GpuTensor, Range<usize>),
) -> Result<GpuTensor> {
    let depth = a.len() / a.rows().max(1);
    let y = gpu.empty([a_rows.len(), b_rows.len()])?;
    let part = |tensor, rows: &Range<usize>| Part { start: rows.start * depth, ..whole(tensor) };
    let params =
        Params { matrices: 1, lengths: [1; 4], ..params([a_rows.len(), b_rows.len(), depth], [false, true]) };
    run(gpu, [part(a, &a_rows), part(b, &b_rows)], &params, 1, &y)?;
    Ok(y)
}

fn whole(tensor: &GpuTensor) -> Part<'_> {
    Part { buffer: tensor.buffer(), start: 0 }
}

fn params([rows, columns, depth]: [usize; 3], transposed: [bool; 2]) -> Params {
    Params {
        rows: rows as u32,
        columns: columns as u32,
        depth: depth as u32,
        transposed: transposed.map(u32::from),
        ..Params::zeroed()
    }
}

fn run(gpu: &Gpu, reads: [Part<'_>; 2], params: &Params, matrices: usize, y: &GpuTensor) -> Result<()> {
    let (rows, columns) = (params.rows as usize, params.columns as usize);
    let side = side(matrices, rows, columns);
    let tiles = matrices * rows.div_ceil(side) * columns.div_ceil(side);
    let kernel = Kernel::new("multiply", "multiply").with_tiles(side as u32, None);
    gpu.0.run_on_parts(kernel, &reads, &[y.buffer()], params, tiles)
}
