//! Pooling over windows, and its transposes.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::Tensor;
use crate::engine::kernels::Window;

use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuTensor};

/// What windows picked, and the windows: the transpose asks each element for the windows that may have picked it.
#[derive(Debug, Clone)]
pub struct GpuIndices {
    buffer: Arc<Pooled>,
    window: Window,
}

impl GpuIndices {
    pub(super) fn buffer(&self) -> &Pooled {
        &self.buffer
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    image: [u32; 2],
    windows: [u32; 2],
    kernel: [u32; 2],
    strides: [u32; 2],
    dilations: [u32; 2],
    pads: [u32; 2],
    counted: [u32; 4],
    channels: u32,
    repeats: u32,
}

impl Params {
    fn new(window: &Window, image: [usize; 2], windows: [usize; 2]) -> Self {
        let pair = |[a, b]: [usize; 2]| [a as u32, b as u32];
        Self {
            first: 0,
            count: 0,
            image: pair(image),
            windows: pair(windows),
            kernel: pair(window.kernel),
            strides: pair(window.strides),
            dilations: pair(window.dilations),
            pads: pair([window.pads[0], window.pads[1]]),
            counted: [0; 4],
            channels: 1,
            repeats: 1,
        }
    }

    /// For picks `[N, c, ..]` and directions `[N * r, c, ..]`.
    fn with_directions(self, directions: &GpuTensor, picked: &Tensor<GpuIndices>) -> Self {
        let repeats = directions.rows() / picked.rows().max(1);
        Self { channels: picked.shape()[1] as u32, repeats: repeats.max(1) as u32, ..self }
    }

    fn with_counted(self, counted: [usize; 4]) -> Self {
        Self { counted: counted.map(|c| c as u32), ..self }
    }
}

const fn kernel(entry: &'static str) -> Kernel {
    Kernel::new("pooling", entry)
}

fn image(x: &GpuTensor) -> [usize; 2] {
    [x.shape()[2], x.shape()[3]]
}

/// A tensor as `x`, with images of another size.
fn resized(gpu: &Gpu, x: &GpuTensor, [height, width]: [usize; 2]) -> Result<GpuTensor> {
    gpu.empty([x.shape()[0], x.shape()[1], height, width])
}

pub(super) fn max_pool(gpu: &Gpu, x: &GpuTensor, window: Window) -> Result<(GpuTensor, Tensor<GpuIndices>)> {
    let output = window.output(image(x))?;
    let y = resized(gpu, x, output)?;
    let buffer = resized(gpu, x, output)?.buffer().clone();
    let params = Params { count: y.len() as u32, ..Params::new(&window, image(x), output) };
    gpu.each(kernel("max_pool"), &[x.buffer()], &[y.buffer(), &buffer], &params, y.len())?;
    let picked = Tensor::new(y.shape(), GpuIndices { buffer, window });
    Ok((y, picked))
}

pub(super) fn max_pool_gather(
    gpu: &Gpu,
    tangents: &GpuTensor,
    picked: &Tensor<GpuIndices>,
) -> Result<GpuTensor> {
    let output = [picked.shape()[2], picked.shape()[3]];
    let y = resized(gpu, tangents, output)?;
    let GpuIndices { buffer, window } = picked.buffer();
    let params = Params::new(window, image(tangents), output).with_directions(tangents, picked);
    let params = Params { count: y.len() as u32, ..params };
    gpu.each(kernel("max_pool_gather"), &[tangents.buffer(), buffer], &[y.buffer()], &params, y.len())?;
    Ok(y)
}

pub(super) fn max_pool_scatter(
    gpu: &Gpu,
    cotangents: &GpuTensor,
    picked: &Tensor<GpuIndices>,
    size: [usize; 2],
) -> Result<GpuTensor> {
    let x = resized(gpu, cotangents, size)?;
    let GpuIndices { buffer, window } = picked.buffer();
    let params = Params::new(window, size, image(cotangents)).with_directions(cotangents, picked);
    let params = Params { count: x.len() as u32, ..params };
    gpu.each(kernel("max_pool_scatter"), &[cotangents.buffer(), buffer], &[x.buffer()], &params, x.len())?;
    Ok(x)
}

pub(super) fn average_pool(
    gpu: &Gpu,
    x: &GpuTensor,
    window: Window,
    counted: [usize; 4],
) -> Result<GpuTensor> {
    let output = window.output(image(x))?;
    let y = resized(gpu, x, output)?;
    let params = Params { count: y.len() as u32, ..Params::new(&window, image(x), output) };
    let params = params.with_counted(counted);
    gpu.each(kernel("average_pool"), &[x.buffer()], &[y.buffer()], &params, y.len())?;
    Ok(y)
}

pub(super) fn average_pool_transposed(
    gpu: &Gpu,
    y: &GpuTensor,
    window: Window,
    counted: [usize; 4],
    size: [usize; 2],
) -> Result<GpuTensor> {
    let x = resized(gpu, y, size)?;
    let params = Params { count: x.len() as u32, ..Params::new(&window, size, image(y)) };
    let params = params.with_counted(counted);
    gpu.each(kernel("average_pool_transposed"), &[y.buffer()], &[x.buffer()], &params, x.len())?;
    Ok(x)
}
