//! The discrete Legendre-Fenchel conjugate on grids, one axis after the other, by comparing the points of each line
//! with all slopes, or with those that can win.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::ConjugateValues;

use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuTensor, INVOCATIONS};

/// Columns and slopes of a tile. Fewer columns are taken line by line.
const TILE: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    columns: u32,
    points: u32,
    slopes: u32,
    later: u32,
    stride: u32,
    known: u32,
}

const fn kernel(entry: &'static str) -> Kernel {
    Kernel::new("conjugate", entry)
}

/// A conjugate, and the elements that attain it.
pub struct GpuConjugate {
    values: GpuTensor,
    maximisers: GpuTensor,
}

impl GpuConjugate {
    pub(super) fn new(gpu: &Gpu, values: &GpuTensor, axes: &[&[f32]], slopes: &[&[f32]]) -> Result<Self> {
        let mut found: Option<[GpuTensor; 2]> = None;
        for (points, slopes) in axes.iter().zip(slopes) {
            let pass = Pass {
                axis: &gpu.constants(points)?,
                slopes: &gpu.constants(slopes)?,
                lengths: [points.len(), slopes.len()],
            };
            found = Some(match &found {
                None => pass.run(gpu, values, None)?,
                Some([values, picked]) => pass.run(gpu, values, Some(picked))?,
            });
        }
        let Some([values, maximisers]) = found else { unreachable!("a grid has axes") };
        let shape: Vec<usize> = slopes.iter().map(|slopes| slopes.len()).collect();
        Ok(Self { values: values.reshaped(shape)?, maximisers })
    }

    pub(super) fn values(&self) -> GpuTensor {
        self.values.clone()
    }

    pub(super) fn finish(self, gpu: &Gpu) -> Result<ConjugateValues<f32>> {
        let values = gpu.0.request(self.values.buffer(), self.values.len())?;
        let maximisers = gpu.0.request(self.maximisers.buffer(), self.maximisers.len())?;
        Ok(ConjugateValues { values: gpu.0.receive(values)?, maximisers: gpu.0.receive(maximisers)? })
    }
}

/// The pass over one axis.
struct Pass<'a> {
    axis: &'a Pooled,
    slopes: &'a Pooled,
    lengths: [usize; 2],
}

impl Pass<'_> {
    /// From `[n, columns]` to maxima and picks `[columns, m]`.
    fn run(&self, gpu: &Gpu, values: &GpuTensor, picked: Option<&GpuTensor>) -> Result<[GpuTensor; 2]> {
        let [points, slopes] = self.lengths;
        let columns = values.len() / points;
        let params = Params {
            columns: columns as u32,
            points: points as u32,
            slopes: slopes as u32,
            later: u32::from(picked.is_some()),
            ..Params::zeroed()
        };
        let picked = picked.map_or(&gpu.0.nothing, |picked| picked.buffer());
        let reads: [&Pooled; 4] = [values.buffer(), self.axis, self.slopes, picked];
        if columns >= TILE {
            let [maxima, picks] = [gpu.empty([columns, slopes])?, gpu.empty([columns, slopes])?];
            let writes: [&Pooled; 2] = [maxima.buffer(), picks.buffer()];
            let tiles = columns.div_ceil(TILE) * slopes.div_ceil(TILE);
            gpu.0.run(kernel("columns"), &reads, &writes, &params, tiles)?;
            return Ok([maxima, picks]);
        }
        let mut stride = 1;
        while slopes.div_ceil(stride) > INVOCATIONS {
            stride *= INVOCATIONS;
        }
        let mut before: Option<GpuTensor> = None;
        loop {
            let count = slopes.div_ceil(stride);
            let [maxima, picks, winners] =
                [gpu.empty([columns, count])?, gpu.empty([columns, count])?, gpu.empty([columns, count])?];
            let known = before.as_ref().map_or(0, |before| before.len() / columns);
            let params = Params { stride: stride as u32, known: known as u32, ..params };
            let before_or_nothing = before.as_ref().map_or(&gpu.0.nothing, |before| before.buffer());
            let reads = [reads[0], reads[1], reads[2], reads[3], before_or_nothing];
            let writes: [&Pooled; 3] = [maxima.buffer(), picks.buffer(), winners.buffer()];
            gpu.0.run(kernel("lines"), &reads, &writes, &params, columns * count.div_ceil(INVOCATIONS))?;
            if stride == 1 {
                return Ok([maxima, picks]);
            }
            stride /= INVOCATIONS;
            before = Some(winners);
        }
    }
}
