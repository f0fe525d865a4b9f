//! The matrix product.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::Epilogue;

use super::activation::Fused;
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuBuffer, GpuTensor};

/// Rows and columns that the matrix is padded to, as tiles read it.
const PADDING: usize = 32;

/// Columns that one invocation takes of 32, which lie together.
const TOGETHER: usize = 4;

/// A right operand `[k, n]`, in parts of its columns that fit one binding each.
#[derive(Debug)]
pub struct GpuMatrix {
    k: usize,
    n: usize,
    parts: Vec<MatrixPart>,
}

#[derive(Debug)]
struct MatrixPart {
    first: usize,
    columns: usize,
    values: Pooled,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    rows: u32,
    k: u32,
    n: u32,
    slots: u32,
    first_column: u32,
    row_length: u32,
    repeats: u32,
    inner: u32,
    biased: u32,
    activation: u32,
    padding: u32,
    parameters: [f32; 4],
}

impl GpuMatrix {
    pub(super) fn new(gpu: &Gpu, values: &[f32], k: usize, n: usize) -> Result<Self> {
        let rows = k.next_multiple_of(PADDING);
        let most = (gpu.0.limits.tensor / 4) as usize / rows / PADDING * PADDING;
        let step = most.max(PADDING);
        let mut parts = vec![];
        for first in (0..n).step_by(step) {
            let columns = step.min(n - first);
            let width = columns.next_multiple_of(PADDING);
            let mut part = vec![0.0; rows * width];
            for (row, to) in part.chunks_exact_mut(width).take(k).enumerate() {
                for (c, &value) in values[row * n + first..][..columns].iter().enumerate() {
                    let (block, c) = (c / PADDING * PADDING, c % PADDING);
                    let lanes = PADDING / TOGETHER;
                    to[block + TOGETHER * (c % lanes) + c / lanes] = value;
                }
            }
            parts.push(MatrixPart { first, columns, values: gpu.constants(&part)? });
        }
        Ok(Self { k, n, parts })
    }
}

/// The side of the tiles that a product of `batches [rows, columns]` takes: large ones read least, if there are enough
/// of them for a large device.
pub(super) fn side(batches: usize, rows: usize, columns: usize) -> usize {
    const AT_ONCE: usize = 256;
    let cost = |side: usize, slower: f64| {
        let tiles = batches * rows.div_ceil(side) * columns.div_ceil(side);
        tiles.div_ceil(AT_ONCE) as f64 * (side * side) as f64 * slower
    };
    let sides = [(128, 1.0), (64, 1.3), (32, 2.5)];
    let best = sides.into_iter().min_by(|a, b| cost(a.0, a.1).total_cmp(&cost(b.0, b.1)));
    best.map_or(32, |(side, _)| side)
}

pub(super) fn matmul(
    gpu: &Gpu,
    x: &GpuTensor,
    gate: Option<&GpuTensor>,
    matrix: &GpuMatrix,
    epilogue: Epilogue<'_, GpuBuffer>,
) -> Result<GpuTensor> {
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = matrix.n;
    }
    let rows: usize = shape[..shape.len() - 1].iter().product();
    let y = gpu.empty(shape)?;
    let fused = Fused::new(epilogue.activation);
    let repeats = gate.map_or(1, |gate| x.rows() / gate.rows().max(1)).max(1);
    let inner = (rows / x.rows().max(1)).max(1);
    let bias = epilogue.bias.map_or(&gpu.0.nothing, |bias| bias.buffer());
    let gated = gate.map_or(&gpu.0.nothing, |gate| gate.buffer());
    for part in &matrix.parts {
        let side = side(1, rows, part.columns);
        let params = Params {
            first: 0,
            rows: rows as u32,
            k: matrix.k as u32,
            n: part.columns as u32,
            slots: (part.columns.next_multiple_of(PADDING) / TOGETHER) as u32,
            first_column: part.first as u32,
            row_length: matrix.n as u32,
            repeats: repeats as u32,
            inner: if gate.is_some() { inner as u32 } else { 1 },
            biased: u32::from(epilogue.bias.is_some()),
            activation: fused.function,
            padding: 0,
            parameters: fused.parameters,
        };
        let kernel = Kernel::new("matmul", "matmul").with_tiles(side as u32, Some(gate.is_some()));
        let reads: [&Pooled; 4] = [x.buffer(), gated, &part.values, bias];
        let tiles = rows.div_ceil(side) * part.columns.div_ceil(side);
        gpu.0.run(kernel, &reads, &[y.buffer()], &params, tiles)?;
    }
    fused.finish(gpu, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_small_products_take_small_tiles() {
        assert_eq!(side(1, 4096, 4096), 128);
        assert_eq!(side(1, 10, 10), 32);
        assert_eq!(side(1, 100_000, 10), 32);
    }
}
