//! A network laid out on an engine: forward passes and jets.

mod codes;
mod parameters;
mod series;

use ndarray::{Array2, ArrayView2};

use crate::activation::Activation;
use crate::engine::plan::{self, Chunks};
use crate::engine::{Arithmetic, Context, Engine, IndicesOf, Jets, JetsOf, TensorOf};
use crate::{Error, Result, Scalar};

use super::operators::{Pass, Prepared};
use super::{Kind, Network, Op, SeriesRule, Slot, simplify};

pub use codes::CodedLayer;
pub use parameters::ParameterLayer;
pub(crate) use series::{Series, SeriesRules, lengthened};

/// Samples that run at once at most: more gains nothing, the products inside are large enough long before.
const SAMPLES: usize = 1024;

/// A network of one input and one output, ready to run on an engine.
pub struct Program<E: Engine> {
    engine: E,
    steps: Vec<Step<E>>,
    /// Elements of scratch of one running task.
    scratch: usize,
}

struct Step<E: Engine> {
    name: String,
    /// The name of its value.
    value: String,
    /// The name of its operator.
    operator: &'static str,
    work: Work<E>,
    /// Affine pieces of each of its units; `None` where it is smooth.
    pieces: Option<usize>,
    /// The elementwise function that it is, if no layer has one fused into it.
    activation: Option<Activation>,
    /// Whether it is neither affine nor such a function.
    mixes: bool,
    /// How power series go through it; `None` also where nothing varies.
    series: Option<SeriesRule>,
    inputs: Vec<usize>,
    shape: Vec<usize>,
    /// Operations in its products for one sample.
    flops: u64,
    /// Arrays as large as its inputs that it holds while it works.
    intermediates: usize,
    /// The last step that reads this one's value.
    last_use: usize,
    /// Whether derivatives read this one's value again.
    remembered: bool,
}

/// Where a step's value comes from.
enum Work<E: Engine> {
    /// From outside: the input, which is step 0.
    Input,
    /// From a sample that is the same for all, `[1, ..]`: what does not depend on the input.
    Fixed(TensorOf<E>),
    /// From other steps, at least one of which varies.
    Operator(Box<dyn Prepared<E>>),
}

/// What a forward pass left behind at each step.
struct Trace<E: Engine> {
    /// `None` where derivatives do not read the value again.
    values: Vec<Option<TensorOf<E>>>,
    picked: Vec<Option<IndicesOf<E>>>,
}

impl Network {
    /// Simplifies the network and lays its weights out on an engine.
    ///
    /// # Errors
    /// [`Error::Argument`] with several inputs or outputs ([`cut`](Self::cut) chooses);
    /// what the engine says of its weights.
    pub fn compile<E: Engine>(&self, engine: &E) -> Result<Program<E>> {
        simplify::simplify(&self.cut(None, None)?)?.lay_out(engine)
    }

    /// As [`compile`](Self::compile), with every node as it stands in the graph: for what concerns the parameters
    /// themselves.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_unfolded<E: Engine>(&self, engine: &E) -> Result<Program<E>> {
        self.cut(None, None)?.lay_out(engine)
    }

    /// As [`compile`](Self::compile), with the constants of the file to the bit: nothing is folded into weights, where
    /// it would be rounded. For proofs.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub(crate) fn compile_exact<E: Engine>(&self, engine: &E) -> Result<Program<E>> {
        simplify::merge(&self.cut(None, None)?)?.lay_out(engine)
    }

    /// Lays out a network that was cut.
    fn lay_out<E: Engine>(&self, engine: &E) -> Result<Program<E>> {
        let network = self;
        let mut last_use: Vec<usize> = (0..network.nodes.len()).collect();
        let mut remembered = vec![false; network.nodes.len()];
        let mut scratch = 0;
        let mut steps: Vec<Step<E>> = Vec::with_capacity(network.nodes.len());
        for (i, node) in network.nodes.iter().enumerate() {
            let shapes: Vec<&[usize]> = node.inputs.iter().map(|&j| network.nodes[j].shape()).collect();
            node.inputs.iter().for_each(|&j| last_use[j] = i);
            let (inputs, shape) = (node.inputs.clone(), node.shape.clone());
            let (mut intermediates, mut flops) = (0, 0);
            let (mut operator, mut pieces, mut series) = ("", Some(1), None);
            let work = match &node.op {
                None => Work::Input,
                Some(op) => {
                    scratch = scratch.max(op.operator().scratch(&shapes));
                    intermediates = op.operator().intermediates();
                    (operator, pieces) = (op.operator().name(), op.operator().pieces_of_unit(&shapes));
                    flops = op.operator().flops(&shapes);
                    let varies: Vec<bool> = inputs.iter().map(|&j| steps[j].varies()).collect();
                    series = if varies.contains(&true) { op.operator().series_rule(&varies) } else { None };
                    let remembers = op.operator().remembers();
                    remembered[i] |= remembers.output;
                    inputs.iter().for_each(|&j| remembered[j] |= remembers.inputs);
                    let prepared = op.prepare(engine, &shapes)?;
                    let fixed: Option<Vec<&TensorOf<E>>> = inputs.iter().map(|&j| steps[j].fixed()).collect();
                    match fixed {
                        Some(inputs) => Work::Fixed(prepared.forward(engine, &inputs)?.0),
                        None => Work::Operator(prepared),
                    }
                }
            };
            let (name, value) = (node.name.clone(), node.value.clone());
            let activation = match (&node.op, &work) {
                (Some(Op::Activation(activation)), Work::Operator(_)) => Some(*activation),
                _ => None,
            };
            let kind = node.op.as_ref().map_or(Kind::Affine, |op| op.operator().kind());
            let mixes = kind != Kind::Affine && activation.is_none() && matches!(work, Work::Operator(_));
            steps.push(Step {
                name,
                value,
                operator,
                work,
                pieces,
                activation,
                mixes,
                series,
                inputs,
                shape,
                flops,
                intermediates,
                last_use: 0,
                remembered: false,
            });
        }
        for (step, (last_use, remembered)) in steps.iter_mut().zip(last_use.into_iter().zip(remembered)) {
            (step.last_use, step.remembered) = (last_use, remembered);
        }
        Ok(Program { engine: engine.clone(), steps, scratch })
    }
}

impl<E: Engine> Step<E> {
    /// Elements of its value for one sample.
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Elements that it holds for each sample.
    fn held(&self) -> usize {
        if self.varies() { self.len() } else { 0 }
    }

    /// Whether its value depends on the input.
    fn varies(&self) -> bool {
        self.fixed().is_none()
    }

    /// Its value, where that is the same for all samples.
    fn fixed(&self) -> Option<&TensorOf<E>> {
        match &self.work {
            Work::Fixed(value) => Some(value),
            Work::Input | Work::Operator(_) => None,
        }
    }
}

impl<E: Engine> Program<E> {
    /// The engine it runs on.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// `D`, the number of elements of an input sample.
    pub fn dimension(&self) -> usize {
        self.steps[0].len()
    }

    /// `K`, the number of elements of an output sample.
    pub fn outputs(&self) -> usize {
        self.steps.last().map_or(0, Step::len)
    }

    /// Outputs at `x [N, D]` as `[N, K]`; everything on the engine at once.
    ///
    /// # Errors
    /// [`Error::Shape`] where rows do not have `D` elements; what the engine says.
    pub fn forward(&self, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        let trace = self.trace(x, |_| false)?;
        self.result(&trace, x.rows())
    }

    /// Jets of the chosen outputs at `x [N, D]`: values `[N, K']` and Jacobians `[N, K', D]`; everything on the
    /// engine at once. Runs backward from the outputs, or forward along the inputs where those are fewer.
    ///
    /// # Errors
    /// [`Error::Shape`] where rows do not have `D` elements; [`Error::Argument`] for an output that is not
    /// there; what the engine says.
    pub fn jets(&self, x: &TensorOf<E>, outputs: &[usize]) -> Result<JetsOf<E>> {
        self.check_outputs(outputs)?;
        let rows = x.rows();
        let trace = self.trace(x, |step| step.remembered)?;
        let values = self.choose(&self.result(&trace, rows)?, outputs)?;
        let jacobians = if self.runs_forward(outputs.len()) {
            self.choose(&self.tangents(&trace, rows)?, outputs)?
        } else {
            self.cotangents(&trace, rows, outputs, |_, _| Ok(()))?
        };
        Ok(Jets { points: x.reshaped([rows, self.dimension()])?, values, jacobians })
    }

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
            let (value, picked) = {
                let inputs: Vec<&TensorOf<E>> =
                    step.inputs.iter().filter_map(|&j| trace.values[j].as_ref()).collect();
                self.run(step, &inputs)?
            };
            trace.values.push(Some(value));
            trace.picked.push(picked);
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

    /// A forward pass at `x [N, D]` that shows the value of each step to `each`, by its position: that of the node in a
    /// program of [`compile_exact`](Network::compile_exact).
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and whatever `each` says.
    pub(crate) fn visit(
        &self,
        x: &TensorOf<E>,
        mut each: impl FnMut(usize, &TensorOf<E>) -> Result<()>,
    ) -> Result<()> {
        let show =
            |i: usize, trace: &Trace<E>| trace.values[i].as_ref().map_or(Ok(()), |value| each(i, value));
        self.visited(x, |_| false, show).map(drop)
    }

    /// A forward pass; the output is kept, other values where `keep` says so.
    fn trace(&self, x: &TensorOf<E>, keep: impl Fn(&Step<E>) -> bool) -> Result<Trace<E>> {
        self.visited(x, |i| keep(&self.steps[i]), |_, _| Ok(()))
    }

    /// The same, with every step shown to `each` when its value is made and its inputs are still there.
    fn visited(
        &self,
        x: &TensorOf<E>,
        keep: impl Fn(usize) -> bool,
        mut each: impl FnMut(usize, &Trace<E>) -> Result<()>,
    ) -> Result<Trace<E>> {
        let mut trace = Trace { values: vec![Some(self.sample(x)?)], picked: vec![None] };
        each(0, &trace)?;
        for (i, step) in self.steps.iter().enumerate().skip(1) {
            let (value, picked) = {
                let inputs: Vec<&TensorOf<E>> =
                    step.inputs.iter().filter_map(|&j| trace.values[j].as_ref()).collect();
                self.run(step, &inputs)?
            };
            trace.values.push(Some(value));
            trace.picked.push(picked);
            each(i, &trace)?;
            for &j in step.inputs.iter().filter(|&&j| self.steps[j].last_use == i && !keep(j)) {
                trace.values[j] = None;
            }
        }
        Ok(trace)
    }

    /// The output of a pass, `[N, K]`.
    fn result(&self, trace: &Trace<E>, rows: usize) -> Result<TensorOf<E>> {
        match trace.values.last() {
            Some(Some(value)) => value.reshaped([rows, self.outputs()]),
            _ => unreachable!("the last step has no user"),
        }
    }

    /// # Errors
    /// [`Error::Argument`] for an output that is not there.
    fn check_outputs(&self, outputs: &[usize]) -> Result<()> {
        match outputs.iter().find(|&&k| k >= self.outputs()) {
            Some(wrong) => {
                Err(Error::Argument(format!("output {wrong} of a network with {}", self.outputs())))
            }
            None => Ok(()),
        }
    }

    /// Outputs of host rows `[N, D]`, in as many pieces as the memory budget asks for.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::NonFinite`] where an output is not a number,
    /// [`Error::Memory`], [`Error::Cancelled`].
    pub fn values(&self, x: ArrayView2<'_, E::Scalar>, context: &Context) -> Result<Array2<E::Scalar>> {
        let chunks = self.chunks(x.nrows(), None, context.memory())?;
        let mut values = Vec::with_capacity(x.nrows() * self.outputs());
        let start = |range| {
            context.check()?;
            self.engine.request(&self.forward(&self.upload(x.slice(ndarray::s![range, ..]))?)?)
        };
        plan::overlapped(&self.engine, chunks, start, |range, y| {
            let y = self.engine.receive(y)?;
            check_finite(&y, self.outputs(), range.start)?;
            values.extend(y);
            Ok(())
        })?;
        Array2::from_shape_vec((x.nrows(), self.outputs()), values).map_err(|e| Error::Shape(e.to_string()))
    }

    /// Copies host rows to the engine.
    ///
    /// # Errors
    /// What the engine says.
    pub fn upload(&self, rows: ArrayView2<'_, E::Scalar>) -> Result<TensorOf<E>> {
        match rows.as_slice() {
            Some(values) => self.engine.upload(values, rows.shape()),
            None => self.engine.upload(&rows.iter().copied().collect::<Vec<_>>(), rows.shape()),
        }
    }

    /// Chunks of `samples` whose passes stay within `budget` bytes: forward passes, or jets of so many outputs.
    ///
    /// # Errors
    /// [`Error::Memory`] where one sample does not fit.
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
    /// [`Error::Tensor`] where one sample is too large.
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

    fn runs_forward(&self, outputs: usize) -> bool {
        self.dimension() < outputs
    }

    /// Elements of one sample alive at once in a forward pass.
    fn forward_peak(&self) -> usize {
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
    fn directions_peak(&self) -> usize {
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

    /// The input as the first step wants it.
    fn sample(&self, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        if x.len() != x.rows() * self.dimension() {
            return Err(Error::Shape(format!(
                "the network takes samples of shape {:?} ({} elements), the rows have shape {:?}",
                self.steps[0].shape,
                self.dimension(),
                &x.shape()[1..]
            )));
        }
        x.reshaped([&[x.rows()], &self.steps[0].shape[..]].concat())
    }

    fn run(&self, step: &Step<E>, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        match &step.work {
            Work::Operator(op) => op.forward(&self.engine, inputs),
            Work::Fixed(value) => Ok((value.clone(), None)),
            Work::Input => unreachable!("only step 0 is an input"),
        }
    }

    fn pass<'a>(&'a self, trace: &'a Trace<E>, i: usize) -> Pass<'a, E> {
        let step = &self.steps[i];
        Pass::new(
            step.inputs.iter().map(|&j| trace.values[j].as_ref()).collect(),
            trace.values[i].as_ref(),
            step.inputs.iter().map(|&j| &self.steps[j].shape[..]).collect(),
            trace.picked[i].as_ref(),
        )
    }

    /// Jacobians `[N, outputs, D]` by cotangents of the outputs, all of them as one batch; `each` sees the cotangent of
    /// every step's value.
    fn cotangents(
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
    fn units(&self, outputs: &[usize]) -> Vec<E::Scalar> {
        let all = self.outputs();
        let mut units = vec![E::Scalar::of(0.0); outputs.len() * all];
        for (&output, row) in outputs.iter().zip(units.chunks_exact_mut(all)) {
            row[output] = E::Scalar::of(1.0);
        }
        units
    }

    /// Cotangents of the output, the same `weights [r, K]` for each sample: `[N * r, ..]`.
    fn seed(&self, rows: usize, weights: &[E::Scalar]) -> Result<TensorOf<E>> {
        let directions = weights.len() / self.outputs().max(1);
        let shape = self.steps.last().map_or(&[][..], |step| &step.shape[..]);
        self.engine.upload(&weights.repeat(rows), &[&[rows * directions], shape].concat())
    }

    /// Takes a cotangent of the output back to the steps where it is needed; `each` sees the cotangent of every step's
    /// value. The result is that of the input.
    fn backward(
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
    fn pull_back(
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
    fn there(input: Option<TensorOf<E>>) -> TensorOf<E> {
        match input {
            Some(cotangent) => cotangent,
            None => unreachable!("the output depends on the input: cut sees to it"),
        }
    }

    /// The unit vectors of the input space as tangents, `[N * D, ..]`.
    fn every_direction(&self, rows: usize) -> Result<TensorOf<E>> {
        let dimension = self.dimension();
        let mut seed = vec![E::Scalar::of(0.0); rows * dimension * dimension];
        for (direction, row) in seed.chunks_exact_mut(dimension).enumerate() {
            row[direction % dimension] = E::Scalar::of(1.0);
        }
        self.engine.upload(&seed, &[&[rows * dimension], &self.steps[0].shape[..]].concat())
    }

    /// The tangent of step `i` from those before it.
    fn tangent(
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
    fn tangents(&self, trace: &Trace<E>, rows: usize) -> Result<TensorOf<E>> {
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

    /// The chosen indices of axis 1.
    fn choose(&self, all: &TensorOf<E>, outputs: &[usize]) -> Result<TensorOf<E>> {
        if outputs.iter().copied().eq(0..all.shape()[1]) {
            return Ok(all.clone());
        }
        let rank = all.shape().len();
        let parts: Vec<TensorOf<E>> = outputs
            .iter()
            .map(|&k| {
                let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
                before[1] = -(k as isize);
                after[1] = -((all.shape()[1] - k - 1) as isize);
                self.engine.pad(all, &before, &after, E::Scalar::of(0.0))
            })
            .collect::<Result<_>>()?;
        self.engine.concat(&parts.iter().collect::<Vec<_>>(), 1)
    }
}

/// The chosen columns of rows `[N, all]`.
pub(crate) fn columns<T: Copy>(values: &[T], all: usize, chosen: &[usize]) -> Vec<T> {
    values.chunks_exact(all).flat_map(|row| chosen.iter().map(|&k| row[k])).collect()
}

/// # Errors
/// [`Error::NonFinite`] naming the first row (counted from `first`) of a network's output that holds no number.
pub(crate) fn check_finite<S: Scalar>(values: &[S], row_length: usize, first: usize) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => {
            let row = first + i / row_length.max(1);
            Err(Error::NonFinite { what: "the network's output".to_owned(), row })
        }
        None => Ok(()),
    }
}
