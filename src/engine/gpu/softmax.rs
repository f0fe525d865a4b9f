//! Softmax and its logarithm along an axis.

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
    inner: u32,
    log: u32,
}

/// Rows to this length are one invocation's work, and longer ones whose neighbours lie side by side in memory.
const SHORT: usize = 32;

pub(super) fn softmax(gpu: &Gpu, x: &GpuTensor, axis: usize, log: bool) -> Result<GpuTensor> {
    let y = gpu.empty(x.shape())?;
    let (length, inner) = (x.shape()[axis], x.shape()[axis + 1..].iter().product::<usize>());
    let count = x.len() / length.max(1);
    let params = Params {
        first: 0,
        count: count as u32,
        length: length as u32,
        inner: inner as u32,
        log: u32::from(log),
    };
    // By lengths that are no batch: the two round differently.
    if length <= SHORT || inner >= SHORT {
        gpu.each(Kernel::new("softmax", "softmax_short"), &[x.buffer()], &[y.buffer()], &params, count)?;
    } else {
        gpu.0.run(Kernel::new("softmax", "softmax"), &[x.buffer()], &[y.buffer()], &params, count)?;
    }
    Ok(y)
}
