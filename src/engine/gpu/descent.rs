//! Affine pieces that follow the derivatives of a loss.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::Engine;
use crate::engine::kernels::{MaxAffineSpec, MaxAffineValues, Pulls, Step};

use super::max_affine::max_affine;
use super::pipelines::Kernel;
use super::{Gpu, GpuTensor};

/// Affine pieces that are being fitted.
#[derive(Debug)]
pub struct GpuDescent {
    /// `[M, D]`, `[M]`, and of each piece the means of its derivatives and of their squares `[M, 2, D + 1]`.
    slopes: GpuTensor,
    conjugates: GpuTensor,
    moments: GpuTensor,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    groups: u32,
    dimension: u32,
    kept_mean: f32,
    kept_square: f32,
    rate: f32,
    least: f32,
}

impl GpuDescent {
    pub(super) fn new(gpu: &Gpu, slopes: &[f32], conjugates: &[f32]) -> Result<Self> {
        let (count, dimension) = (conjugates.len(), slopes.len() / conjugates.len().max(1));
        let shape = [count, 2, dimension + 1];
        Ok(Self {
            slopes: gpu.upload(slopes, &[count, dimension])?,
            conjugates: gpu.upload(conjugates, &[count])?,
            moments: gpu.upload(&vec![0.0; shape.iter().product()], &shape)?,
        })
    }

    pub(super) fn active(&self, gpu: &Gpu, points: &GpuTensor) -> Result<MaxAffineValues<f32>> {
        max_affine(gpu, &self.slopes, &self.conjugates, points, &MaxAffineSpec::default())
    }

    /// The state is this descent's alone, so that it is written in place.
    pub(super) fn descend(
        &mut self,
        gpu: &Gpu,
        points: &GpuTensor,
        pulls: &Pulls<f32>,
        step: Step,
    ) -> Result<()> {
        if pulls.pieces.is_empty() {
            return Ok(());
        }
        let ranges = pulls.groups().flat_map(|(piece, range)| [piece, range.start as u32, range.end as u32]);
        let groups = gpu.constants(&ranges.collect::<Vec<_>>())?;
        let (members, derivatives) = (gpu.constants(&pulls.points)?, gpu.constants(&pulls.derivatives)?);
        let params = Params {
            first: 0,
            groups: pulls.pieces.len() as u32,
            dimension: self.slopes.shape()[1] as u32,
            kept_mean: Step::KEPT[0] as f32,
            kept_square: Step::KEPT[1] as f32,
            rate: step.corrected() as f32,
            least: Step::LEAST as f32,
        };
        let reads = [points.buffer(), &groups, &members, &derivatives];
        let writes = [self.slopes.buffer(), self.conjugates.buffer(), self.moments.buffer()];
        let writes = writes.map(|buffer| &**buffer);
        gpu.0.run(Kernel::new("descent", "descend"), &reads, &writes, &params, pulls.pieces.len())
    }

    pub(super) fn finish(self, gpu: &Gpu) -> Result<[Vec<f32>; 2]> {
        Ok([gpu.download(&self.slopes)?, gpu.download(&self.conjugates)?])
    }
}
