//! Piecewise affine functions by a table of pieces, elementwise.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::activation::PiecewiseAffine;

use super::pipelines::Kernel;
use super::{Gpu, GpuTensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    knots: u32,
    order: u32,
}

pub(super) fn piecewise(
    gpu: &Gpu,
    function: &PiecewiseAffine,
    order: u8,
    x: &GpuTensor,
) -> Result<GpuTensor> {
    let y = gpu.empty(x.shape())?;
    let knots = function.knots().iter().copied().chain([f64::from(f32::MAX)]);
    let rows = function.table().iter().zip(knots);
    let table: Vec<f32> =
        rows.flat_map(|(piece, knot)| [knot, piece.at, piece.value, piece.slope].map(|v| v as f32)).collect();
    let table = gpu.constants(&table)?;
    let knots = function.knots().len() as u32;
    let params = Params { first: 0, count: x.len() as u32, knots, order: u32::from(order) };
    let kernel = Kernel::new("piecewise", "piecewise");
    gpu.each(kernel, &[x.buffer(), &table], &[y.buffer()], &params, x.len())?;
    Ok(y)
}
