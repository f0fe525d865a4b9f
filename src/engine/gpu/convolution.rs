//! Convolution and its transpose: matrix products over the columns of patches, which are never in memory.

use bytemuck::{Pod, Zeroable};
use std::sync::OnceLock;

use crate::engine::kernels::{Epilogue, Taps, Window};
use crate::{Error, Result};

use super::activation::Fused;
use super::matmul::side;
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuBuffer, GpuTensor, INVOCATIONS};

/// The inner dimension is padded to a multiple of this.
const DEPTH: usize = 32;

/// Output channels of a vector.
const VECTOR: usize = 4;

/// To so many output channels a kernel whose invocations take all channels of a position is as good as tiles, if there
/// are positions enough; to so few it is better whatever their number.
const NARROW: usize = 32;
const NARROWEST: usize = 4;
const POSITIONS: usize = 1 << 14;

/// Coordinates are packed in half a word.
const LARGEST: usize = 1 << 15;

/// Filters `[c_out, c_in / groups, kernel_h, kernel_w]`, laid out for either direction when it is first asked for.
#[derive(Debug)]
pub struct GpuFilters {
    values: Vec<f32>,
    shape: [usize; 4],
    window: Window,
    groups: usize,
    forward: OnceLock<Layer>,
    backward: OnceLock<Layer>,
}

/// A convolution as a sum over taps, in either direction.
#[derive(Debug)]
struct Layer {
    filters: Pooled,
    taps: Pooled,
    phases: Vec<Phase>,
    /// Channels of a group.
    inputs: usize,
    outputs: usize,
    step: [usize; 2],
    stride: [usize; 2],
    /// How far from its position a tap sees.
    reach: usize,
}

/// The output positions from an origin on that sum over the same taps.
#[derive(Debug)]
struct Phase {
    origin: [usize; 2],
    depth: usize,
    first_filter: usize,
    first_tap: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    samples: u32,
    groups: u32,
    outputs: u32,
    inputs: u32,
    depth: u32,
    image: [u32; 2],
    grid: [u32; 2],
    step: [u32; 2],
    origin: [u32; 2],
    stride: [u32; 2],
    output: [u32; 2],
    repeats: u32,
    first_filter: u32,
    first_tap: u32,
    biased: u32,
    activation: u32,
    padding: u32,
    parameters: [f32; 4],
}

impl GpuFilters {
    pub(super) fn new(values: &[f32], shape: [usize; 4], window: Window, groups: usize) -> Self {
        let (forward, backward) = (OnceLock::new(), OnceLock::new());
        Self { values: values.to_vec(), shape, window, groups, forward, backward }
    }

    fn forward(&self, gpu: &Gpu) -> Result<&Layer> {
        let [outputs, inputs] = [self.shape[0] / self.groups, self.shape[1]];
        made_once(&self.forward, || {
            let parts = Taps::forward(&self.window);
            self.layer(gpu, &parts, [inputs, outputs], [self.window.strides, [1; 2]], |o, i| o * inputs + i)
        })
    }

    fn backward(&self, gpu: &Gpu) -> Result<&Layer> {
        let [inputs, outputs] = [self.shape[0] / self.groups, self.shape[1]];
        made_once(&self.backward, || {
            let parts = Taps::backward(&self.window);
            self.layer(gpu, &parts, [inputs, outputs], [[1; 2], self.window.strides], |o, i| i * outputs + o)
        })
    }

    /// Lays out the taps of all parts, each a phase; `kernel(output, input)` is the number of their kernel within a
    /// group.
    fn layer(
        &self,
        gpu: &Gpu,
        parts: &[Taps],
        [inputs, outputs]: [usize; 2],
        [step, stride]: [[usize; 2]; 2],
        kernel: impl Fn(usize, usize) -> usize,
    ) -> Result<Layer> {
        let [_, _, height, width] = self.shape;
        let (mut filters, mut taps, mut phases, mut reach) = (vec![], vec![], vec![], 0);
        for (number, Taps { axes: [rows, columns] }) in parts.iter().enumerate() {
            let places: Vec<(usize, [isize; 2])> = rows
                .iter()
                .flat_map(|&(y, dy)| columns.iter().map(move |&(x, dx)| (y * width + x, [dy, dx])))
                .collect();
            let depth = inputs * places.len();
            let padded = depth.next_multiple_of(DEPTH).max(DEPTH);
            let across = outputs.next_multiple_of(VECTOR);
            let origin = [number / stride[1], number % stride[1]];
            phases.push(Phase { origin, depth, first_filter: filters.len() / VECTOR, first_tap: taps.len() });
            for channel in 0..inputs {
                for &(_, [dy, dx]) in &places {
                    reach = reach.max(dy.unsigned_abs()).max(dx.unsigned_abs());
                    taps.push([channel as i32, (dy * 65536 + dx) as i32]);
                }
            }
            taps.resize(taps.len() + padded - depth, [0, i32::MIN]);
            for group in 0..self.groups {
                let start = filters.len();
                filters.resize(start + padded * across, 0.0);
                for input in 0..inputs {
                    for (tap, &(element, _)) in places.iter().enumerate() {
                        let to = start + (input * places.len() + tap) * across;
                        for output in 0..outputs {
                            let number = group * inputs * outputs + kernel(output, input);
                            filters[to + output] = self.values[number * height * width + element];
                        }
                    }
                }
            }
        }
        let (filters, taps) = (gpu.constants(&filters)?, gpu.constants(&taps)?);
        Ok(Layer { filters, taps, phases, inputs, outputs, step, stride, reach })
    }
}

/// What a cell holds, or what `make` makes for it.
fn made_once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(made) => Ok(made),
        None => {
            let made = make()?;
            Ok(cell.get_or_init(|| made))
        }
    }
}

pub(super) fn convolve(
    gpu: &Gpu,
    x: &GpuTensor,
    filters: &GpuFilters,
    epilogue: Epilogue<'_, GpuBuffer>,
) -> Result<GpuTensor> {
    let output = filters.window.output([x.shape()[2], x.shape()[3]])?;
    run(gpu, filters, filters.forward(gpu)?, x, None, output, epilogue)
}

pub(super) fn convolve_transposed(
    gpu: &Gpu,
    y: &GpuTensor,
    gate: Option<&GpuTensor>,
    filters: &GpuFilters,
    size: [usize; 2],
    epilogue: Epilogue<'_, GpuBuffer>,
) -> Result<GpuTensor> {
    run(gpu, filters, filters.backward(gpu)?, y, gate, size, epilogue)
}

fn run(
    gpu: &Gpu,
    filters: &GpuFilters,
    layer: &Layer,
    x: &GpuTensor,
    gate: Option<&GpuTensor>,
    output: [usize; 2],
    epilogue: Epilogue<'_, GpuBuffer>,
) -> Result<GpuTensor> {
    let samples = x.shape()[0];
    let image = [x.shape()[2], x.shape()[3]];
    if image.iter().chain(&output).any(|&length| length + layer.reach + filters.window.pads[0] >= LARGEST) {
        return Err(Error::Shape(format!(
            "a convolution from images of {image:?} to {output:?} is longer than the graphics kernels take \
             ({LARGEST}); use --device cpu"
        )));
    }
    let y = gpu.empty([samples, filters.groups * layer.outputs, output[0], output[1]])?;
    let fused = Fused::new(epilogue.activation);
    let repeats = gate.map_or(1, |gate| samples / gate.rows().max(1)).max(1);
    let bias = epilogue.bias.map_or(&gpu.0.nothing, |bias| bias.buffer());
    let gated = gate.map_or(&gpu.0.nothing, |gate| gate.buffer());
    let reads: [&Pooled; 5] = [x.buffer(), gated, &layer.filters, &layer.taps, bias];
    let pair = |[a, b]: [usize; 2]| [a as u32, b as u32];
    for phase in &layer.phases {
        let along =
            |axis: usize| output[axis].saturating_sub(phase.origin[axis]).div_ceil(layer.stride[axis]);
        let grid = [along(0), along(1)];
        let positions = samples * grid[0] * grid[1];
        if positions == 0 {
            continue;
        }
        let params = Params {
            first: 0,
            samples: samples as u32,
            groups: filters.groups as u32,
            outputs: layer.outputs as u32,
            inputs: layer.inputs as u32,
            depth: phase.depth as u32,
            image: pair(image),
            grid: pair(grid),
            step: pair(layer.step),
            origin: pair(phase.origin),
            stride: pair(layer.stride),
            output: pair(output),
            repeats: repeats as u32,
            first_filter: phase.first_filter as u32,
            first_tap: phase.first_tap as u32,
            biased: u32::from(epilogue.bias.is_some()),
            activation: fused.function,
            padding: 0,
            parameters: fused.parameters,
        };
        let (groups, outputs) = (filters.groups, layer.outputs);
        let narrow = outputs <= NARROWEST || (outputs <= NARROW && groups * positions >= POSITIONS);
        let (kernel, workgroups) = if narrow {
            let slots = outputs.div_ceil(VECTOR).next_power_of_two();
            let kernel = Kernel::new("convolution", "narrow").with_slots(slots as u32, gate.is_some());
            (kernel, groups * positions.div_ceil(INVOCATIONS))
        } else {
            let side = side(groups, outputs, positions);
            let kernel =
                Kernel::new("convolution", "convolution").with_tiles(side as u32, Some(gate.is_some()));
            (kernel, groups * outputs.div_ceil(side) * positions.div_ceil(side))
        };
        gpu.0.run(kernel, &reads, &[y.buffer()], &params, workgroups)?;
    }
    fused.finish(gpu, y)
}
