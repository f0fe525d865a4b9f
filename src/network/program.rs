//! A network laid out on an engine: forward passes and jets.

mod bends;
mod codes;
mod cost;
mod derivatives;
mod lay_out;
mod parameters;
mod series;

use ndarray::{Array2, ArrayView2};

use crate::activation::Activation;
use crate::engine::plan;
use crate::engine::{Context, Engine, IndicesOf, Jets, JetsOf, TensorOf};
use crate::{Error, Result, Scalar};

use super::operators::{Pass, Prepared};
use super::{SeriesRule, Slot};

pub use codes::CodedLayer;
pub use parameters::ParameterLayer;
pub(crate) use series::{Series, SeriesRules, lengthened};

use cost::SAMPLES;

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
            self.take(step, &mut trace)?;
            each(i, &trace)?;
            for &j in step.inputs.iter().filter(|&&j| self.steps[j].last_use == i && !keep(j)) {
                trace.values[j] = None;
            }
        }
        Ok(trace)
    }

    /// Takes the next step of a forward pass, whose inputs are there.
    fn take(&self, step: &Step<E>, trace: &mut Trace<E>) -> Result<()> {
        let (value, picked) = {
            let inputs: Vec<&TensorOf<E>> =
                step.inputs.iter().filter_map(|&j| trace.values[j].as_ref()).collect();
            self.run(step, &inputs)?
        };
        trace.values.push(Some(value));
        trace.picked.push(picked);
        Ok(())
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
