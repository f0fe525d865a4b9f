//! Soft envelopes: means of tangents weighted by nearness, and soft maxima of both halves.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::{Jets, SoftSpec, SoftValues};

use super::distances::squared_distances;
use super::pairs::{FEW, Points, for_each_block};
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuBuffer, GpuTensor, INVOCATIONS};

/// Points that a workgroup takes.
const POINTS: usize = 64;

/// Soft envelopes of a batch of points over the anchors seen so far.
#[derive(Debug)]
pub struct GpuSoftEnvelope {
    points: Points,
    outputs: usize,
    /// How many rows, the first, are means of tangents.
    means: usize,
    /// For each row sign, half curvature, inverse temperature and reach.
    softness: Pooled,
    /// `[rows, N]`, rows `[T + 2 C, K]`: the largest scores, and relative to them the sums of exponentials and of
    /// tangents so weighted.
    sums: [GpuTensor; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    points: u32,
    dimension: u32,
    outputs: u32,
    rows: u32,
    anchors: u32,
    point: u32,
    width: u32,
    anchor: u32,
}

impl GpuSoftEnvelope {
    pub(super) fn new(
        gpu: &Gpu,
        points: &GpuTensor,
        outputs: usize,
        center: &[f64],
        spec: &SoftSpec,
    ) -> Result<Self> {
        let points = Points::new(gpu, points, None, center)?;
        let rows = spec.sums(outputs);
        let softness: Vec<[f32; 4]> = rows
            .iter()
            .map(|s| [s.sign, s.half, s.temperature.recip(), s.reach()].map(|v| v as f32))
            .collect();
        let shape = [rows.len(), points.own.rows()];
        let new = Self {
            outputs,
            means: spec.nearest.len() * outputs,
            softness: gpu.constants(softness.as_flattened())?,
            sums: [gpu.empty(shape)?, gpu.empty(shape)?, gpu.empty(shape)?],
            points,
        };
        new.run_each(gpu, "reset")?;
        Ok(new)
    }

    fn rows(&self) -> usize {
        self.sums[0].rows()
    }

    fn params(&self) -> Params {
        Params {
            points: self.points.own.rows() as u32,
            dimension: self.points.dimension() as u32,
            outputs: self.outputs as u32,
            rows: self.rows() as u32,
            ..Params::zeroed()
        }
    }

    fn run(
        &self,
        gpu: &Gpu,
        entry: &'static str,
        [a, b, c, d]: [&Pooled; 4],
        params: &Params,
        workgroups: usize,
    ) -> Result<()> {
        let [largest, weights, tangents] = &self.sums;
        let writes: [&Pooled; 3] = [largest.buffer(), weights.buffer(), tangents.buffer()];
        let reads = [a, b, c, d, &self.softness];
        gpu.0.run(Kernel::new("soft_envelope", entry), &reads, &writes, params, workgroups)
    }

    /// Runs an entry over all sums.
    fn run_each(&self, gpu: &Gpu, entry: &'static str) -> Result<()> {
        let nothing = &gpu.0.nothing;
        self.run(gpu, entry, [nothing; 4], &self.params(), self.sums[0].len().div_ceil(INVOCATIONS))
    }

    pub(super) fn add(&mut self, gpu: &Gpu, jets: &Jets<GpuBuffer>) -> Result<()> {
        let (count, anchors) = (self.points.own.rows(), jets.points.rows());
        if anchors == 0 || self.sums[0].is_empty() {
            return Ok(());
        }
        let nothing = &gpu.0.nothing;
        if self.points.dimension() <= FEW {
            let [x, v, j] = [&jets.points, &jets.values, &jets.jacobians].map(|tensor| &**tensor.buffer());
            let params = Params { anchors: anchors as u32, ..self.params() };
            let groups = self.rows() * count.div_ceil(POINTS);
            return self.run(gpu, "direct", [self.points.own.buffer(), x, v, j], &params, groups);
        }
        let prepared = self.points.prepare(gpu, jets)?;
        let steps = self.points.blocks(gpu, anchors, self.outputs);
        for_each_block([count, anchors], steps, |points, range| {
            let slopes = self.points.slopes(gpu, jets, &points, &range)?;
            let squared = squared_distances(gpu, (&jets.points, &range), (&self.points.own, &points))?;
            let params = Params {
                anchors: range.len() as u32,
                point: points.start as u32,
                width: points.len() as u32,
                anchor: range.start as u32,
                ..self.params()
            };
            let reads: [&Pooled; 4] = [slopes.buffer(), squared.buffer(), prepared.terms.buffer(), nothing];
            self.run(gpu, "fold", reads, &params, self.rows() * points.len().div_ceil(POINTS))
        })
    }

    pub(super) fn finish(self, gpu: &Gpu) -> Result<SoftValues<f32>> {
        self.run_each(gpu, "finish")?;
        let [results, ..] = &self.sums;
        let values = gpu.0.receive(gpu.0.request(results.buffer(), results.len())?)?;
        Ok(SoftValues::of(values, self.means * self.points.own.rows()))
    }
}
