//! Elementwise arithmetic with broadcasting.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::axes::{self, Merged};
use crate::engine::kernels::Arithmetic;

use super::pipelines::Kernel;
use super::{Gpu, GpuTensor, too_many_axes};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    operation: u32,
    rank: u32,
    lengths: [u32; 8],
    strides: [[u32; 8]; 2],
}

pub(super) fn arithmetic(
    gpu: &Gpu,
    operation: Arithmetic,
    a: &GpuTensor,
    b: &GpuTensor,
) -> Result<GpuTensor> {
    let shape = axes::broadcast(a.shape(), b.shape())?;
    let strides = [axes::strides(a.shape()), axes::strides(b.shape())];
    let merged = Merged::new(&shape, [&strides[0], &strides[1]]);
    let z = gpu.empty(&shape[..])?;
    let misfit = || too_many_axes("arithmetic", &shape);
    let [step_a, step_b] = &merged.strides;
    let params = Params {
        first: 0,
        count: z.len() as u32,
        operation: number(operation),
        rank: merged.lengths.len().max(1) as u32,
        lengths: super::axes(&merged.lengths).ok_or_else(misfit)?,
        strides: [super::axes(step_a).ok_or_else(misfit)?, super::axes(step_b).ok_or_else(misfit)?],
    };
    let kernel = Kernel::new("arithmetic", "arithmetic");
    gpu.each(kernel, &[a.buffer(), b.buffer()], &[z.buffer()], &params, z.len())?;
    Ok(z)
}

/// As the shader numbers them.
fn number(operation: Arithmetic) -> u32 {
    match operation {
        Arithmetic::Add => 0,
        Arithmetic::Sub => 1,
        Arithmetic::Mul => 2,
        Arithmetic::Div => 3,
        Arithmetic::Min => 4,
        Arithmetic::Max => 5,
        Arithmetic::AtLeast => 6,
    }
}
