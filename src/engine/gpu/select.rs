//! Picking elements of an axis by constant indices, and the transpose.

use bytemuck::{Pod, Zeroable};

use crate::Result;

use super::pipelines::Kernel;
use super::{Gpu, GpuTensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    length: u32,
    picks: u32,
    inner: u32,
}

fn with_length(gpu: &Gpu, x: &GpuTensor, axis: usize, length: usize) -> Result<GpuTensor> {
    let mut shape = x.shape().to_vec();
    shape[axis] = length;
    gpu.empty(shape)
}

fn params(result: &GpuTensor, axis: usize, length: usize, picks: usize) -> Params {
    let inner: usize = result.shape()[axis + 1..].iter().product();
    Params {
        first: 0,
        count: result.len() as u32,
        length: length as u32,
        picks: picks as u32,
        inner: inner as u32,
    }
}

pub(super) fn select(gpu: &Gpu, x: &GpuTensor, axis: usize, indices: &[u32]) -> Result<GpuTensor> {
    let y = with_length(gpu, x, axis, indices.len())?;
    let params = params(&y, axis, x.shape()[axis], indices.len());
    let indices = gpu.constants(indices)?;
    gpu.each(Kernel::new("select", "select"), &[x.buffer(), &indices], &[y.buffer()], &params, y.len())?;
    Ok(y)
}

pub(super) fn select_transposed(
    gpu: &Gpu,
    y: &GpuTensor,
    axis: usize,
    indices: &[u32],
    length: usize,
) -> Result<GpuTensor> {
    let x = with_length(gpu, y, axis, length)?;
    let params = params(&x, axis, length, indices.len());
    // For each element the numbers of the indices that name it: where they start, and they.
    let mut starts = vec![0_u32; length + 1];
    indices.iter().for_each(|&i| starts[i as usize + 1] += 1);
    (0..length).for_each(|i| starts[i + 1] += starts[i]);
    let mut items: Vec<u32> = (0..indices.len() as u32).collect();
    items.sort_by_key(|&j| indices[j as usize]);
    let (starts, items) = (gpu.constants(&starts)?, gpu.constants(&items)?);
    let kernel = Kernel::new("select", "select_transposed");
    gpu.each(kernel, &[y.buffer(), &starts, &items], &[x.buffer()], &params, x.len())?;
    Ok(x)
}
