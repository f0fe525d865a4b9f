//! Moving elements: permuted axes, padding and cutting, joining.

use bytemuck::{Pod, Zeroable};

use crate::engine::axes::{self, Merged};
use crate::{Error, Result};

use super::pipelines::Kernel;
use super::{Gpu, GpuTensor, too_many_axes};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    rank: u32,
    value: f32,
    rows: u32,
    columns: u32,
    total: u32,
    offset: u32,
    lengths: [u32; 8],
    source: [u32; 8],
    before: [u32; 8],
}

/// Rows and columns of a tile that is turned in a workgroup's memory, and the fewest that are worth one.
const TILE: usize = 32;
const FEWEST: usize = 16;

pub(super) fn permute(gpu: &Gpu, x: &GpuTensor, order: &[usize]) -> Result<GpuTensor> {
    let strides = axes::strides(x.shape());
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape()[axis]).collect();
    let source: Vec<usize> = order.iter().map(|&axis| strides[axis]).collect();
    let merged = Merged::new(&shape, [&source]);
    let y = gpu.empty(&shape[..])?;
    let mut params = Params { count: y.len() as u32, ..Params::zeroed() };
    if let ([_, columns, rows] | [columns, rows], [rest @ .., 1, step]) =
        (&merged.lengths[..], &merged.strides[0][..])
        && step == columns
        && rest.first().is_none_or(|&batch| batch == rows * columns)
        && (*rows).min(*columns) >= FEWEST
    {
        (params.rows, params.columns) = (*rows as u32, *columns as u32);
        let batch = y.len() / (rows * columns);
        let tiles = batch * rows.div_ceil(TILE) * columns.div_ceil(TILE);
        gpu.0.run(Kernel::new("layout", "transpose"), &[x.buffer()], &[y.buffer()], &params, tiles)?;
        return Ok(y);
    }
    let misfit = || too_many_axes("a permutation", &shape);
    params.rank = merged.lengths.len().max(1) as u32;
    params.lengths = super::axes(&merged.lengths).ok_or_else(misfit)?;
    params.source = super::axes(&merged.strides[0]).ok_or_else(misfit)?;
    gpu.each(Kernel::new("layout", "permute"), &[x.buffer()], &[y.buffer()], &params, y.len())?;
    Ok(y)
}

pub(super) fn pad(
    gpu: &Gpu,
    x: &GpuTensor,
    before: &[isize],
    after: &[isize],
    value: f32,
) -> Result<GpuTensor> {
    let shape = axes::padded(x.shape(), before, after)?;
    let y = gpu.empty(&shape[..])?;
    // Axes without padding are walked as one with the axis before them.
    let (mut lengths, mut source, mut first): (Vec<usize>, Vec<usize>, Vec<isize>) = (vec![], vec![], vec![]);
    for (axis, &length) in shape.iter().enumerate() {
        let own = x.shape()[axis];
        match (lengths.last_mut(), source.last_mut(), first.last_mut()) {
            (Some(lengths), Some(source), Some(first)) if before[axis] == 0 && length == own => {
                *lengths *= length;
                *source *= own;
                *first *= length as isize;
            }
            _ => {
                lengths.push(length);
                source.push(own);
                first.push(before[axis]);
            }
        }
    }
    let first: Vec<usize> = first.iter().map(|&before| before as i32 as u32 as usize).collect();
    let too_many = || too_many_axes("padding", &shape);
    let params = Params {
        count: y.len() as u32,
        rank: lengths.len().max(1) as u32,
        value,
        lengths: super::axes(&lengths).ok_or_else(too_many)?,
        source: super::axes(&source).ok_or_else(too_many)?,
        before: super::axes(&first).ok_or_else(too_many)?,
        ..Params::zeroed()
    };
    gpu.each(Kernel::new("layout", "pad"), &[x.buffer()], &[y.buffer()], &params, y.len())?;
    Ok(y)
}

pub(super) fn concat(gpu: &Gpu, parts: &[&GpuTensor], axis: usize) -> Result<GpuTensor> {
    let Some(first) = parts.first() else {
        return Err(Error::Shape("nothing to join".to_owned()));
    };
    let mut shape = first.shape().to_vec();
    shape[axis] = parts.iter().map(|part| part.shape()[axis]).sum();
    let y = gpu.empty(&shape[..])?;
    let inner: usize = shape[axis + 1..].iter().product();
    let mut offset = 0;
    for part in parts {
        let columns = part.shape()[axis] * inner;
        let params = Params {
            count: part.len() as u32,
            columns: columns as u32,
            total: (shape[axis] * inner) as u32,
            offset: offset as u32,
            ..Params::zeroed()
        };
        gpu.each(Kernel::new("layout", "copy"), &[part.buffer()], &[y.buffer()], &params, part.len())?;
        offset += columns;
    }
    Ok(y)
}
