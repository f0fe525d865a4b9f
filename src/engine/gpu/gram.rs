//! Gram matrices out of factors: two tiles of products in registers, multiplied and added to the matrix.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::Factors;

use super::pipelines::Kernel;
use super::{Gpu, GpuBuffer, GpuTensor};

/// A Gram matrix in the making.
#[derive(Debug)]
pub struct GpuGram {
    values: GpuTensor,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    rows: u32,
    columns: u32,
    row_length: u32,
    row: u32,
    column: u32,
    groups: u32,
    positions: u32,
    left_depth: u32,
    right_depth: u32,
    left_shared: u32,
    right_shared: u32,
    has_left: u32,
    upper: u32,
    constant: f32,
    padding: u32,
}

/// The side of the tiles of `rows x columns`: with 128 the sums of two products and of both would not fit registers.
fn side(rows: usize, columns: usize) -> usize {
    const AT_ONCE: usize = 256;
    if rows.div_ceil(64) * columns.div_ceil(64) < AT_ONCE { 32 } else { 64 }
}

impl GpuGram {
    pub(super) fn new(gpu: &Gpu, rows: usize, columns: usize) -> Result<Self> {
        let values = gpu.constants(&vec![0.0_f32; rows * columns])?;
        Ok(Self { values: GpuTensor::new([rows, columns], std::sync::Arc::new(values)) })
    }

    pub(super) fn values(&self) -> &GpuTensor {
        &self.values
    }

    pub(super) fn add(
        &mut self,
        gpu: &Gpu,
        (x, row): (&Factors<GpuBuffer>, usize),
        (y, column): (&Factors<GpuBuffer>, usize),
        upper: bool,
    ) -> Result<()> {
        let (rows, columns) = (x.rows(), y.rows());
        let (depth, shared) =
            (|t: &GpuTensor| t.shape()[4] as u32, |t: &GpuTensor| (x.repeats() / t.shape()[1]) as u32);
        let params = Params {
            first: 0,
            rows: rows as u32,
            columns: columns as u32,
            row_length: self.values.shape()[1] as u32,
            row: row as u32,
            column: column as u32,
            groups: (x.blocks() / x.positions()) as u32,
            positions: x.positions() as u32,
            left_depth: x.left.as_ref().map_or(0, depth),
            right_depth: depth(&x.right),
            left_shared: x.left.as_ref().map_or(1, shared),
            right_shared: shared(&x.right),
            has_left: u32::from(x.left.is_some()),
            upper: u32::from(upper),
            constant: f32::from(u8::from(x.constant)),
            padding: 0,
        };
        let nothing = &gpu.0.nothing;
        let buffer = |t: &'_ Option<GpuTensor>| t.as_ref().map(|t| std::sync::Arc::clone(t.buffer()));
        let (x_left, y_left) = (buffer(&x.left), buffer(&y.left));
        let reads = [
            x_left.as_deref().unwrap_or(nothing),
            x.right.buffer(),
            y_left.as_deref().unwrap_or(nothing),
            y.right.buffer(),
        ];
        let side = side(rows, columns);
        let kernel = Kernel::new("gram", "gram_tile").with_tiles(side as u32, None);
        let tiles = rows.div_ceil(side) * columns.div_ceil(side);
        gpu.0.run(kernel, &reads, &[self.values.buffer()], &params, tiles)
    }
}
