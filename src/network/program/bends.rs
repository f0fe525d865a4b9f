//! What second derivatives are made of, where elementwise functions bend a network.

use crate::Result;
use crate::activation::Activation;
use crate::engine::{Engine, TensorOf};

use super::{Program, Step, Trace};

impl<E: Engine> Program<E> {
    /// Whether all that bends is elementwise functions: what [`bends`](Self::bends) needs.
    pub(crate) fn bends_elementwise(&self) -> bool {
        self.steps.iter().all(|step| !step.mixes)
    }

    /// What second derivatives are made of, at `x [N, D]`: with the Jacobian `J` of the input of an elementwise function
    /// `s` and the cotangent `d` of its output, the Hessian of an output is the sum of `J^T diag(d s'') J` over all
    /// functions, where everything between them is affine.
    ///
    /// On the way forward `narrow` may replace the input `[N, ..]` of each function, given its tangents `[N * D, ..]`.
    /// On the way back `each` sees, for each function, the last first: the function, its input, the tangents, and the
    /// cotangents `[N * K', ..]` for the chosen outputs. All values and the tangents at every function are held.
    ///
    /// # Errors
    /// As [`jets`](Self::jets), and whatever the closures say.
    pub(crate) fn bends(
        &self,
        x: &TensorOf<E>,
        outputs: &[usize],
        mut narrow: impl FnMut(&TensorOf<E>, &TensorOf<E>) -> Result<TensorOf<E>>,
        mut each: impl FnMut(Activation, &TensorOf<E>, &TensorOf<E>, &TensorOf<E>) -> Result<()>,
    ) -> Result<()> {
        self.check_outputs(outputs)?;
        let rows = x.rows();
        let mut bent = vec![false; self.steps.len()];
        for step in self.steps.iter().filter(|step| step.activation.is_some()) {
            bent[step.inputs[0]] = true;
        }
        let mut trace = Trace { values: vec![Some(self.sample(x)?)], picked: vec![None] };
        let mut tangents = vec![Some(self.every_direction(rows)?)];
        for (i, step) in self.steps.iter().enumerate().skip(1) {
            if step.activation.is_some()
                && let (Some(value), Some(tangent)) =
                    (&trace.values[step.inputs[0]], &tangents[step.inputs[0]])
            {
                trace.values[step.inputs[0]] = Some(narrow(value, tangent)?);
            }
            self.take(step, &mut trace)?;
            let tangent = self.tangent(&trace, i, &tangents)?;
            for &j in step.inputs.iter().filter(|&&j| self.steps[j].last_use == i && !bent[j]) {
                tangents[j] = None;
            }
            tangents.push(tangent);
        }
        self.cotangents(&trace, rows, outputs, |i, cotangent| {
            let step = &self.steps[i];
            let Some(activation) = step.activation else { return Ok(()) };
            match (&trace.values[step.inputs[0]], &tangents[step.inputs[0]]) {
                (Some(value), Some(tangents)) => each(activation, value, tangents, cotangent),
                _ => unreachable!("nothing was dropped, and the function varies"),
            }
        })?;
        Ok(())
    }

    /// Bytes that [`bends`](Self::bends) holds for each sample, with as much again for what is made on the way.
    pub(crate) fn bends_bytes(&self, outputs: usize) -> u64 {
        let inputs = self.steps.iter().filter(|step| step.activation.is_some()).map(|step| step.len());
        let widest = self.steps.iter().map(Step::held).max().unwrap_or(0);
        let values: usize = self.steps.iter().map(Step::held).sum();
        let tangents = self.dimension() * (self.dimension() + inputs.sum::<usize>() + 4 * widest);
        (2 * (values + tangents + outputs * 4 * widest) * size_of::<E::Scalar>()) as u64
    }
}
