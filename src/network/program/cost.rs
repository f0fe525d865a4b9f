//! What passes cost: bytes for the planner, operations.

use crate::Result;
use crate::engine::Engine;
use crate::engine::plan::{self, Chunks};

use super::{Program, Step};

/// Samples that run at once at most: more gains nothing, the products inside are large enough long before.
pub(super) const SAMPLES: usize = 1024;

impl<E: Engine> Program<E> {
    /// Chunks of `samples` whose passes stay within `budget` bytes: forward passes, or jets of so many outputs.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) where one sample does not fit.
    pub fn chunks(&self, samples: usize, jets_of: Option<usize>, budget: u64) -> Result<Chunks> {
        let what = if jets_of.is_some() { "the jet of one sample" } else { "the forward pass of one sample" };
        let most = self.at_once(jets_of)?.min(SAMPLES);
        let bytes = self.bytes_per_sample(jets_of) * self.engine.in_flight() as u64;
        Chunks::within(what, samples, bytes, self.scratch_bytes(), budget, most)
    }

    /// How many samples run at once so that none of their tensors is larger than the engine takes; jets of so many
    /// outputs, or forward passes.
    ///
    /// # Errors
    /// [`Error::Tensor`](crate::Error::Tensor) where one sample is too large.
    pub fn at_once(&self, jets_of: Option<usize>) -> Result<usize> {
        let widest = self.steps.iter().map(Step::held).max().unwrap_or(0);
        let (what, elements) = match jets_of {
            None => ("the forward pass of one sample", widest),
            Some(outputs) if self.runs_forward(outputs) => {
                ("the jet of one sample", self.dimension() * widest)
            }
            Some(outputs) => ("the jet of one sample", outputs * widest.max(self.outputs())),
        };
        plan::at_once(&self.engine, elements, what)
    }

    /// Bytes that running takes, whatever the number of samples.
    pub fn scratch_bytes(&self) -> u64 {
        (self.scratch * self.engine.parallelism() * size_of::<E::Scalar>()) as u64
    }

    /// Bytes that a pass holds at its peak for each sample, its result included.
    pub fn bytes_per_sample(&self, jets_of: Option<usize>) -> u64 {
        let elements = match jets_of {
            None => self.forward_peak(),
            Some(outputs) => {
                // What derivatives read again stays from the forward pass, the derivative of one activation beside it.
                let remembered = self.steps.iter().filter(|step| step.remembered);
                let values: usize = remembered.map(Step::held).sum::<usize>();
                let widest = self.steps.iter().map(Step::held).max().unwrap_or(0);
                let (directions, ends) = if self.runs_forward(outputs) {
                    (self.dimension(), self.dimension() * (self.dimension() + self.outputs()))
                } else {
                    (outputs, outputs * (self.outputs() + self.dimension()))
                };
                let backward = widest + directions * self.directions_peak() + ends;
                values + self.outputs() + self.forward_peak().max(backward)
            }
        };
        (elements * size_of::<E::Scalar>()) as u64
    }

    /// Operations in the products of a pass for each sample, with nothing skipped.
    pub fn flops_per_sample(&self, jets_of: Option<usize>) -> u64 {
        let forward: u64 = self.steps.iter().filter(|step| step.varies()).map(|step| step.flops).sum();
        let directions = jets_of.map_or(0, |outputs| outputs.min(self.dimension()));
        forward * (1 + directions as u64)
    }

    pub(super) fn runs_forward(&self, outputs: usize) -> bool {
        self.dimension() < outputs
    }

    /// Elements of one sample alive at once in a forward pass.
    pub(super) fn forward_peak(&self) -> usize {
        let (mut alive, mut peak) = (self.dimension(), self.dimension());
        for (i, step) in self.steps.iter().enumerate().skip(1) {
            alive += step.held();
            peak = peak.max(alive + self.working(step, step.intermediates.saturating_sub(1)));
            let mut inputs = step.inputs.clone();
            inputs.sort_unstable();
            inputs.dedup();
            let done = inputs.iter().filter(|&&j| self.steps[j].last_use == i);
            alive -= done.map(|&j| self.steps[j].held()).sum::<usize>();
        }
        peak
    }

    /// Elements of so many arrays as large as the inputs of a step.
    fn working(&self, step: &Step<E>, arrays: usize) -> usize {
        arrays * step.inputs.iter().map(|&j| self.steps[j].held()).sum::<usize>()
    }

    /// Elements of one direction alive at once in a backward pass (a forward one has no more): the cotangent of
    /// a step, those of its inputs, its intermediates, and those waiting at branches.
    pub(super) fn directions_peak(&self) -> usize {
        let mut has_cotangent = vec![false; self.steps.len()];
        let (mut alive, mut peak) = (0, 0);
        for (i, step) in self.steps.iter().enumerate().rev() {
            if !has_cotangent[i] {
                alive += step.held();
            }
            peak = peak.max(alive + self.working(step, 1 + step.intermediates));
            for &j in &step.inputs {
                if !has_cotangent[j] {
                    has_cotangent[j] = true;
                    alive += self.steps[j].held();
                }
            }
            alive -= if i == 0 { 0 } else { step.held() };
        }
        peak
    }
}
