//! Derivatives: cotangents backward through the steps, tangents forward.

use crate::engine::{Arithmetic, Engine, TensorOf};
use crate::{Result, Scalar};

use super::{Program, Step, Trace, Work};

impl<E: Engine> Program<E> {
    /// Jacobians `[N, outputs, D]` by cotangents of the outputs, all of them as one batch; `each` sees the cotangent of
    /// every step's value.
    pub(super) fn cotangents(
        &self,
        trace: &Trace<E>,
        rows: usize,
        outputs: &[usize],
        each: impl FnMut(usize, &TensorOf<E>) -> Result<()>,
    ) -> Result<TensorOf<E>> {
        let needed: Vec<bool> = self.steps.iter().map(Step::varies).collect();
        let seed = self.seed(rows, &self.units(outputs))?;
        let input = self.backward(trace, seed, &needed, each)?;
        Self::there(input).reshaped([rows, outputs.len(), self.dimension()])
    }

    /// The unit vectors of outputs, `[outputs, K]`.
    pub(super) fn units(&self, outputs: &[usize]) -> Vec<E::Scalar> {
        let all = self.outputs();
        let mut units = vec![E::Scalar::of(0.0); outputs.len() * all];
        for (&output, row) in outputs.iter().zip(units.chunks_exact_mut(all)) {
            row[output] = E::Scalar::of(1.0);
        }
        units
    }

    /// Cotangents of the output, the same `weights [r, K]` for each sample: `[N * r, ..]`.
    pub(super) fn seed(&self, rows: usize, weights: &[E::Scalar]) -> Result<TensorOf<E>> {
        let directions = weights.len() / self.outputs().max(1);
        let shape = self.steps.last().map_or(&[][..], |step| &step.shape[..]);
        self.engine.upload(&weights.repeat(rows), &[&[rows * directions], shape].concat())
    }

    /// Takes a cotangent of the output back to the steps where it is needed; `each` sees the cotangent of every step's
    /// value. The result is that of the input.
    pub(super) fn backward(
        &self,
        trace: &Trace<E>,
        seed: TensorOf<E>,
        needed: &[bool],
        mut each: impl FnMut(usize, &TensorOf<E>) -> Result<()>,
    ) -> Result<Option<TensorOf<E>>> {
        self.pull_back(seed, |i, cotangent| {
            let step = &self.steps[i];
            let Work::Operator(op) = &step.work else { return Ok(vec![]) };
            each(i, cotangent)?;
            let is_wanted = |&j: &usize| self.steps[j].varies() && needed[j];
            let wanted: Vec<bool> = step.inputs.iter().map(is_wanted).collect();
            if !wanted.contains(&true) {
                return Ok(vec![]);
            }
            op.vector_jacobian(&self.engine, &self.pass(trace, i), cotangent, &wanted)
        })
    }

    /// The cotangent of the input from that of the output; `below` makes those of a step's inputs from that of its value.
    pub(super) fn pull_back(
        &self,
        seed: TensorOf<E>,
        mut below: impl FnMut(usize, &TensorOf<E>) -> Result<Vec<Option<TensorOf<E>>>>,
    ) -> Result<Option<TensorOf<E>>> {
        let mut cotangents: Vec<Option<TensorOf<E>>> = vec![None; self.steps.len()];
        cotangents[self.steps.len() - 1] = Some(seed);
        for (i, step) in self.steps.iter().enumerate().skip(1).rev() {
            let Some(cotangent) = cotangents[i].take() else { continue };
            for (&j, new) in step.inputs.iter().zip(below(i, &cotangent)?) {
                cotangents[j] = match (cotangents[j].take(), new) {
                    (Some(old), Some(new)) => Some(self.engine.arithmetic(Arithmetic::Add, &old, &new)?),
                    (old, new) => old.or(new),
                };
            }
        }
        Ok(cotangents[0].take())
    }

    /// The cotangent of the input of what was cut.
    pub(super) fn there(input: Option<TensorOf<E>>) -> TensorOf<E> {
        match input {
            Some(cotangent) => cotangent,
            None => unreachable!("the output depends on the input: cut sees to it"),
        }
    }

    /// The unit vectors of the input space as tangents, `[N * D, ..]`.
    pub(super) fn every_direction(&self, rows: usize) -> Result<TensorOf<E>> {
        let dimension = self.dimension();
        let mut seed = vec![E::Scalar::of(0.0); rows * dimension * dimension];
        for (direction, row) in seed.chunks_exact_mut(dimension).enumerate() {
            row[direction % dimension] = E::Scalar::of(1.0);
        }
        self.engine.upload(&seed, &[&[rows * dimension], &self.steps[0].shape[..]].concat())
    }

    /// The tangent of step `i` from those before it.
    pub(super) fn tangent(
        &self,
        trace: &Trace<E>,
        i: usize,
        tangents: &[Option<TensorOf<E>>],
    ) -> Result<Option<TensorOf<E>>> {
        let step = &self.steps[i];
        let Work::Operator(op) = &step.work else { return Ok(None) };
        let inputs: Vec<Option<&TensorOf<E>>> = step.inputs.iter().map(|&j| tangents[j].as_ref()).collect();
        op.jacobian_vector(&self.engine, &self.pass(trace, i), &inputs).map(Some)
    }

    /// Jacobians `[N, K, D]` by tangents along every input element.
    pub(super) fn tangents(&self, trace: &Trace<E>, rows: usize) -> Result<TensorOf<E>> {
        let dimension = self.dimension();
        let mut tangents = vec![Some(self.every_direction(rows)?)];
        for (i, step) in self.steps.iter().enumerate().skip(1) {
            let tangent = self.tangent(trace, i, &tangents)?;
            for &j in step.inputs.iter().filter(|&&j| self.steps[j].last_use == i) {
                tangents[j] = None;
            }
            tangents.push(tangent);
        }
        match tangents.pop().flatten() {
            // [N, D, K] to [N, K, D]
            Some(tangent) => {
                let tangent = tangent.reshaped([rows, dimension, self.outputs()])?;
                self.engine.permute(&tangent, &[0, 2, 1])
            }
            None => unreachable!("the output depends on the input: cut sees to it"),
        }
    }
}
