//! The lower and the upper envelope of many affine pieces, with the active piece of each and the next best behind.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::{EnvelopeSpec, EnvelopeValues, Jets};

use super::max_affine::sort_lists;
use super::pairs::{Anchors, FEW, Points, lanes, teams};
use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuBuffer, GpuTensor};

/// Points that a workgroup folds, and those that it takes directly.
const FOLDED: usize = 64;
const DIRECT: usize = 256;

/// Envelopes of a batch of points over the anchors seen so far.
#[derive(Debug)]
pub struct GpuEnvelope {
    points: Points,
    outputs: usize,
    variants: usize,
    families: usize,
    slots: usize,
    /// How many of the best pieces are wanted.
    top: usize,
    /// Whether active pieces are wanted.
    wants_pieces: bool,
    /// Pairs of point and anchor of each output: all.
    scored: u64,
    /// Half the curvatures `[C, K, 2]`.
    halves: Pooled,
    /// `[2, rows, top, N]`, rows `[families, C, slots, K]`; the upper half is kept negated. Scores, as they were compared,
    /// so that the winner does not depend on where one batch of anchors ends and the next begins.
    values: GpuTensor,
    /// The values of active pieces from the difference itself, where single ones are wanted.
    exact: Option<GpuTensor>,
    pieces: GpuTensor,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    points: u32,
    dimension: u32,
    outputs: u32,
    variants: u32,
    slots: u32,
    rows: u32,
    top: u32,
    anchors: u32,
    number: u32,
    lanes: u32,
    point: u32,
    width: u32,
    anchor: u32,
    list: u32,
}

/// Points and anchors of a tile of the fused kernel, which keeps products in registers and folds them there.
const TILE: usize = 128;

/// Up to so many elements of a point the fused kernel is taken. By counting: the general way writes and reads 4 bytes
/// for each pair and output, which from here on is a tenth of what its products cost.
const FUSED: usize = 256;

/// Workgroups that keep a large device busy.
const BUSY: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct FusedParams {
    first: u32,
    points: u32,
    dimension: u32,
    outputs: u32,
    variants: u32,
    anchors: u32,
    number: u32,
    share: u32,
}

const fn kernel(entry: &'static str) -> Kernel {
    Kernel::new("envelope", entry)
}

impl GpuEnvelope {
    pub(super) fn new(
        gpu: &Gpu,
        points: &GpuTensor,
        outputs: usize,
        center: &[f64],
        spec: &EnvelopeSpec,
    ) -> Result<Self> {
        let points = Points::new(gpu, points, None, center)?;
        let halves: Vec<f32> =
            spec.curvatures.iter().flatten().flat_map(|c| [(c.a / 2.0) as f32, (c.b / 2.0) as f32]).collect();
        let shape = [2, spec.variants() * outputs, spec.top, points.own.rows()];
        let exact = if spec.pieces && spec.top == 1 { Some(gpu.empty(shape)?) } else { None };
        let new = Self {
            exact,
            outputs,
            variants: spec.curvatures.len(),
            families: spec.families,
            slots: spec.slots,
            top: spec.top,
            scored: 0,
            wants_pieces: spec.pieces,
            halves: gpu.constants(&halves)?,
            values: gpu.empty(shape)?,
            pieces: gpu.empty(shape)?,
            points,
        };
        let nothing = &gpu.0.nothing;
        for values in std::iter::once(&new.values).chain(&new.exact) {
            let groups = values.len().div_ceil(super::INVOCATIONS);
            new.run_on(gpu, values, "reset", [nothing; 6], &new.params(), groups)?;
        }
        Ok(new)
    }

    fn rows(&self) -> usize {
        self.values.shape()[1]
    }

    fn params(&self) -> Params {
        let dimension = self.points.dimension();
        Params {
            points: self.points.own.rows() as u32,
            dimension: dimension as u32,
            outputs: self.outputs as u32,
            variants: self.variants as u32,
            slots: self.slots as u32,
            rows: self.rows() as u32,
            top: self.top as u32,
            lanes: lanes(dimension) as u32,
            ..Params::zeroed()
        }
    }

    fn run(
        &self,
        gpu: &Gpu,
        entry: &'static str,
        reads: [&Pooled; 6],
        params: &Params,
        workgroups: usize,
    ) -> Result<()> {
        self.run_on(gpu, &self.values, entry, reads, params, workgroups)
    }

    fn run_on(
        &self,
        gpu: &Gpu,
        values: &GpuTensor,
        entry: &'static str,
        reads: [&Pooled; 6],
        params: &Params,
        workgroups: usize,
    ) -> Result<()> {
        gpu.0.run(kernel(entry), &reads, &[values.buffer(), self.pieces.buffer()], params, workgroups)
    }

    pub(super) fn add(
        &mut self,
        gpu: &Gpu,
        jets: &Jets<GpuBuffer>,
        first: usize,
        slots: &[u32],
    ) -> Result<()> {
        let anchors = jets.points.rows();
        let dimension = self.points.dimension();
        if anchors == 0 || self.values.is_empty() {
            return Ok(());
        }
        self.scored += (self.points.own.rows() * anchors * self.outputs) as u64;
        let params = Params { anchors: anchors as u32, number: first as u32, ..self.params() };
        let nothing = &gpu.0.nothing;
        let [x, v, j] = [&jets.points, &jets.values, &jets.jacobians].map(|tensor| &**tensor.buffer());
        let exact: [&Pooled; 6] = [self.points.own.buffer(), x, v, j, &self.halves, nothing];
        // The kernels that need no products in memory keep a single best in registers.
        let alone = self.top == 1 && self.families * self.slots == 1 && slots.iter().all(|&slot| slot == 0);
        if alone && dimension <= FEW {
            let groups = self.rows() * self.points.own.rows().div_ceil(DIRECT);
            self.run(gpu, "direct", exact, &params, groups)?;
        } else {
            let prepared = self.points.prepare(gpu, jets)?;
            if alone && dimension <= FUSED {
                self.fold_fused(gpu, &prepared, j, &params)?;
            } else {
                self.fold(gpu, jets, &prepared, &params, slots)?;
            }
        }
        if self.wants_pieces {
            let values = self.exact.as_ref().unwrap_or(&self.values);
            self.run_on(gpu, values, "refine", exact, &params, teams(values.len(), dimension))?;
        }
        Ok(())
    }

    /// Products and fold in one kernel.
    fn fold_fused(&self, gpu: &Gpu, prepared: &Anchors, jacobians: &Pooled, params: &Params) -> Result<()> {
        let tiles = self.points.own.rows().div_ceil(TILE);
        let shares = BUSY.div_ceil(tiles).min(self.outputs);
        let share = self.outputs.div_ceil(shares);
        let params = FusedParams {
            first: 0,
            points: params.points,
            dimension: params.dimension,
            outputs: params.outputs,
            variants: params.variants,
            anchors: params.anchors,
            number: params.number,
            share: share as u32,
        };
        let reads: [&Pooled; 6] = [
            self.points.centered.buffer(),
            prepared.centered.buffer(),
            prepared.terms.buffer(),
            self.points.terms.buffer(),
            jacobians,
            &self.halves,
        ];
        let writes: [&Pooled; 2] = [self.values.buffer(), self.pieces.buffer()];
        let groups = tiles * self.outputs.div_ceil(share);
        gpu.0.run(Kernel::new("envelope/fused", "fused"), &reads, &writes, &params, groups)
    }

    /// Products of a block to scratch memory, then the fold.
    fn fold(
        &self,
        gpu: &Gpu,
        jets: &Jets<GpuBuffer>,
        prepared: &Anchors,
        params: &Params,
        slots: &[u32],
    ) -> Result<()> {
        let anchors = jets.points.rows();
        let [_, step] = self.points.blocks(gpu, anchors, self.outputs);
        let (lists, starts) = self.lists(anchors, step, slots);
        let lists = gpu.constants(&lists)?;
        let entry = if self.top == 1 { "fold" } else { "fold_top" };
        self.points.for_each(gpu, jets, prepared, |block| {
            let params = Params {
                point: block.points.start as u32,
                width: block.points.len() as u32,
                anchor: block.anchors.start as u32,
                list: starts[block.anchors.start / step],
                ..*params
            };
            let terms = [prepared.terms.buffer(), self.points.terms.buffer()];
            let reads: [&Pooled; 6] =
                [block.slopes.buffer(), block.cross.buffer(), terms[0], terms[1], &self.halves, &lists];
            self.run(gpu, entry, reads, &params, self.rows() * block.points.len().div_ceil(FOLDED))
        })
    }

    /// For each block of `step` anchors where the anchors of every slot of every family begin, and they; and where
    /// each block's begins.
    fn lists(&self, anchors: usize, step: usize, slots: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let (mut lists, mut starts) = (vec![], vec![]);
        for block in (0..anchors).step_by(step) {
            let count = step.min(anchors - block);
            let start = lists.len();
            starts.push(start as u32);
            lists.resize(start + self.families * self.slots + 1, 0);
            for family in 0..self.families {
                let of_family = &slots[family * anchors + block..][..count];
                let mut sorted: Vec<usize> = (0..count).filter(|&i| of_family[i] != u32::MAX).collect();
                sorted.sort_by_key(|&i| of_family[i]);
                let mut rest = sorted.into_iter().peekable();
                for slot in 0..self.slots {
                    lists[start + family * self.slots + slot] = lists.len() as u32;
                    while let Some(i) = rest.next_if(|&i| of_family[i] as usize == slot) {
                        lists.push(i as u32);
                    }
                }
            }
            let end = lists.len() as u32;
            lists[start + self.families * self.slots] = end;
        }
        (lists, starts)
    }

    pub(super) fn finish(self, gpu: &Gpu) -> Result<EnvelopeValues<f32>> {
        let half = self.values.len() / 2;
        let values = self.exact.as_ref().unwrap_or(&self.values);
        let values = gpu.0.request(values.buffer(), values.len())?;
        let pieces = if self.wants_pieces { self.pieces.len() } else { 0 };
        let pieces = gpu.0.request(self.pieces.buffer(), pieces)?;
        let (mut values, mut pieces): (Vec<f32>, Vec<u32>) = (gpu.0.receive(values)?, gpu.0.receive(pieces)?);
        if self.top > 1 && self.wants_pieces {
            sort_lists(&mut values, &mut pieces, [self.top, self.points.own.rows()]);
        }
        let (lower_piece, upper_piece) = pieces.split_at(half.min(pieces.len()));
        Ok(EnvelopeValues {
            lower: values[..half].to_vec(),
            upper: values[half..].iter().map(|v| -v).collect(),
            lower_piece: lower_piece.to_vec(),
            upper_piece: upper_piece.to_vec(),
            scored: self.scored,
        })
    }
}
