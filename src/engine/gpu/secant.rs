//! Secant curvatures: how strongly a network bends between anchors and points, from values alone.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::{Curvature, Jets};
use crate::tolerance;

use super::pairs::{FEW, Points, lanes, teams};
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuBuffer, GpuTensor};

/// Points that a workgroup takes.
const POINTS: usize = 64;

/// The largest ratios `2 (T_i - g) / d^2` and `2 (g - T_i) / d^2` over the pairs seen so far.
#[derive(Debug)]
pub struct GpuSecant {
    points: Points,
    outputs: usize,
    /// Three arrays `[K, 2, N]`: the largest rounded ratio of these jets, its anchor, the largest exact one of all.
    state: GpuTensor,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    points: u32,
    dimension: u32,
    outputs: u32,
    anchors: u32,
    lanes: u32,
    point: u32,
    width: u32,
    anchor: u32,
}

/// What an entry reads: the products of a block, and what all blocks share.
fn with<'a>(slopes: &'a Pooled, cross: &'a Pooled, [a, b, c, d, e]: [&'a Pooled; 5]) -> [&'a Pooled; 7] {
    [slopes, cross, a, b, c, d, e]
}

impl GpuSecant {
    pub(super) fn new(gpu: &Gpu, points: &GpuTensor, values: &GpuTensor, center: &[f64]) -> Result<Self> {
        let outputs = values.len() / values.rows().max(1);
        let points = Points::new(gpu, points, Some(values), center)?;
        let state = gpu.empty([3, outputs, 2, points.own.rows()])?;
        let new = Self { points, outputs, state };
        let nothing = &gpu.0.nothing;
        new.run(gpu, "reset", [nothing; 7], &new.params(), new.ratios().div_ceil(super::INVOCATIONS))?;
        Ok(new)
    }

    /// Of one of the three arrays.
    fn ratios(&self) -> usize {
        self.state.len() / 3
    }

    fn params(&self) -> Params {
        let dimension = self.points.dimension();
        Params {
            points: self.points.own.rows() as u32,
            dimension: dimension as u32,
            outputs: self.outputs as u32,
            lanes: lanes(dimension) as u32,
            ..Params::zeroed()
        }
    }

    fn run(
        &self,
        gpu: &Gpu,
        entry: &'static str,
        reads: [&Pooled; 7],
        params: &Params,
        workgroups: usize,
    ) -> Result<()> {
        gpu.0.run(Kernel::new("secant", entry), &reads, &[self.state.buffer()], params, workgroups)
    }

    pub(super) fn add(&mut self, gpu: &Gpu, jets: &Jets<GpuBuffer>) -> Result<()> {
        let (count, anchors, dimension) =
            (self.points.own.rows(), jets.points.rows(), self.points.dimension());
        if anchors == 0 || self.state.is_empty() {
            return Ok(());
        }
        let prepared = self.points.prepare(gpu, jets)?;
        let nothing = &gpu.0.nothing;
        let [x, j] = [&jets.points, &jets.jacobians].map(|tensor| &**tensor.buffer());
        let terms = [prepared.terms.buffer(), self.points.terms.buffer()];
        let alike: [&Pooled; 5] = [terms[0], terms[1], self.points.own.buffer(), x, j];
        let params = Params { anchors: anchors as u32, ..self.params() };
        if dimension <= FEW {
            let groups = self.outputs * count.div_ceil(POINTS);
            return self.run(gpu, "direct", with(nothing, nothing, alike), &params, groups);
        }
        self.points.for_each(gpu, jets, &prepared, |block| {
            let params = Params {
                anchors: block.anchors.len() as u32,
                point: block.points.start as u32,
                width: block.points.len() as u32,
                anchor: block.anchors.start as u32,
                ..params
            };
            let reads = with(block.slopes.buffer(), block.cross.buffer(), alike);
            self.run(gpu, "fold", reads, &params, self.outputs * block.points.len().div_ceil(POINTS))
        })?;
        self.run(gpu, "recompute", with(nothing, nothing, alike), &params, teams(self.ratios(), dimension))
    }

    /// A little above the largest ratio: the pair that attains it was found among rounded ones.
    pub(super) fn finish(self, gpu: &Gpu) -> Result<Vec<Curvature>> {
        let state: Vec<f32> = gpu.0.receive(gpu.0.request(self.state.buffer(), self.state.len())?)?;
        let count = self.points.own.rows();
        let above = 1.0 + tolerance::CLOSE;
        let largest = |rows: &[f32]| rows.iter().fold(0.0_f64, |m, &r| m.max(f64::from(r))) * above;
        let exact = state[2 * self.ratios()..].chunks_exact((2 * count).max(1));
        Ok(exact.map(|of| Curvature { a: largest(&of[..count]), b: largest(&of[count..]) }).collect())
    }
}
