//! Products of truncated power series, of all units at once.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::ProductTable;

use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuTensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    units: u32,
    /// Terms of the first series that are scaled; 0 where there is no scale.
    scaled: u32,
}

pub(super) fn series_product(
    gpu: &Gpu,
    a: &GpuTensor,
    b: &GpuTensor,
    scale: Option<&GpuTensor>,
    table: &ProductTable,
) -> Result<GpuTensor> {
    let (terms, units) = (table.terms(), a.shape()[1]);
    let y = gpu.empty([terms, units])?;
    let scaled = if scale.is_some() { a.rows() as u32 } else { 0 };
    let params = Params { first: 0, count: y.len() as u32, units: units as u32, scaled };
    let starts = gpu.constants(&table.starts)?;
    // No buffer is empty.
    let pairs = gpu.constants(if table.pairs.is_empty() { &[[0; 2]] } else { &table.pairs[..] })?;
    let reads: [&Pooled; 5] = [a.buffer(), b.buffer(), scale.unwrap_or(a).buffer(), &starts, &pairs];
    gpu.each(Kernel::new("series_product", "series_product"), &reads, &[y.buffer()], &params, y.len())?;
    Ok(y)
}
