//! Packed codes: which piece each unit picks, a few bits for each.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::Tensor;
use crate::engine::kernels::{Packing, Window};

use super::device::GpuRequest;
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::pooling::GpuIndices;
use super::{Gpu, GpuTensor};

/// Packed codes in the making.
#[derive(Debug)]
pub struct GpuCodes {
    buffer: Pooled,
    rows: usize,
    words: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    units: u32,
    words: u32,
    row: u32,
    start: u32,
    bits: u32,
    per_word: u32,
    knots: u32,
    width: u32,
    windows: [u32; 2],
    kernel: u32,
    strides: [u32; 2],
    dilations: [u32; 2],
    pads: [u32; 2],
}

impl GpuCodes {
    pub(super) fn new(gpu: &Gpu, rows: usize, words: usize) -> Result<Self> {
        Ok(Self { buffer: gpu.0.allocate(rows * words)?, rows, words })
    }

    /// Those of the host.
    pub(super) fn of(gpu: &Gpu, values: &[u32], words: usize) -> Result<Self> {
        Ok(Self { buffer: gpu.constants(values)?, rows: values.len() / words.max(1), words })
    }

    pub(super) fn buffer(&self) -> &Pooled {
        &self.buffer
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// For so many units in each row.
    fn params(&self, units: usize, packing: Packing) -> Params {
        let words = packing.words(units);
        Params {
            count: (self.rows * words) as u32,
            units: units as u32,
            words: words as u32,
            row: self.words as u32,
            start: packing.first as u32,
            bits: packing.bits,
            per_word: packing.per_word() as u32,
            ..Params::zeroed()
        }
    }

    pub(super) fn add_values(
        &mut self,
        gpu: &Gpu,
        x: &GpuTensor,
        knots: &[f64],
        packing: Packing,
    ) -> Result<()> {
        let units = x.len() / x.rows().max(1);
        let params = Params { knots: knots.len() as u32, ..self.params(units, packing) };
        let knots = gpu.constants(&knots.iter().map(|&knot| knot as f32).collect::<Vec<_>>())?;
        let kernel = Kernel::new("code", "values");
        gpu.each(kernel, &[x.buffer(), &knots], &[&self.buffer], &params, params.count as usize)
    }

    pub(super) fn add_picks(
        &mut self,
        gpu: &Gpu,
        picked: &Tensor<GpuIndices>,
        window: Window,
        size: [usize; 2],
        packing: Packing,
    ) -> Result<()> {
        let units = picked.len() / picked.rows().max(1);
        let pair = |[a, b]: [usize; 2]| [a as u32, b as u32];
        let params = Params {
            width: size[1] as u32,
            windows: pair(window.output(size)?),
            kernel: window.kernel[1] as u32,
            strides: pair(window.strides),
            dilations: pair(window.dilations),
            pads: pair([window.pads[0], window.pads[1]]),
            ..self.params(units, packing)
        };
        let kernel = Kernel::new("code", "picks");
        gpu.each(kernel, &[picked.buffer().buffer()], &[&self.buffer], &params, params.count as usize)
    }

    pub(super) fn request(self, gpu: &Gpu) -> Result<GpuRequest> {
        gpu.0.request(&self.buffer, self.rows * self.words)
    }
}
