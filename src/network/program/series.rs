//! Power series through a network: all terms of all units of a layer at once.
//!
//! A series has a constant term and further ones, which are rows of a tensor. Affine operators take the constant terms
//! as a sample and the others as its tangents; what bends is left to [`SeriesRules`].

use crate::engine::{Arithmetic, Engine, TensorOf};
use crate::network::operators::{batched, broadcast};
use crate::{Error, Result, Scalar};

use super::{Activation, Program, SeriesRule, Slot, Trace, Work};

/// Power series of the units of a layer.
pub(crate) struct Series<E: Engine> {
    /// `[1, ..]`
    pub constant: TensorOf<E>,
    /// `[rows, ..]`, the lowest degrees first; `None` where there are none.
    pub terms: Option<TensorOf<E>>,
}

impl<E: Engine> Clone for Series<E> {
    fn clone(&self) -> Self {
        Self { constant: self.constant.clone(), terms: self.terms.clone() }
    }
}

/// What becomes of power series where a network bends. Steps are counted as in [`Program::visit`].
pub(crate) trait SeriesRules<E: Engine> {
    /// An elementwise function of a series.
    fn elementwise(&mut self, step: usize, function: Activation, input: &Series<E>) -> Result<Series<E>>;

    /// The product of two series, element by element; both have the shape of the result.
    fn product(&mut self, step: usize, factors: [&Series<E>; 2]) -> Result<Series<E>>;

    /// Sees the series of every step.
    fn visit(&mut self, _step: usize, _series: &Series<E>) -> Result<()> {
        Ok(())
    }
}

/// What a pass of series left behind: their constant terms.
pub(crate) struct SeriesTrace<E: Engine>(Trace<E>);

impl<E: Engine> Program<E> {
    /// # Errors
    /// [`Error::MissingSlot`] naming the first operator that power series do not go through.
    pub(crate) fn require_series(&self, tool: &'static str) -> Result<()> {
        let lacks = |work: &Work<E>| matches!(work, Work::Operator(_));
        match self.steps.iter().find(|step| lacks(&step.work) && step.series.is_none()) {
            None => Ok(()),
            Some(step) => Err(Error::MissingSlot {
                tool,
                slot: Slot::TaylorSeries.name(),
                operator: step.operator.to_owned(),
                node: step.name.clone(),
            }),
        }
    }

    /// The steps at which series bend: number, name, elements, and the function, where it is elementwise.
    pub(crate) fn series_bends(&self) -> impl Iterator<Item = (usize, &str, usize, Option<Activation>)> {
        self.steps.iter().enumerate().filter_map(|(i, step)| match step.series {
            Some(SeriesRule::Elementwise(function)) => Some((i, &step.name[..], step.len(), Some(function))),
            Some(SeriesRule::Product) => Some((i, &step.name[..], step.len(), None)),
            _ => None,
        })
    }

    /// The step that a step of one input takes.
    pub(crate) fn source(&self, step: usize) -> usize {
        self.steps[step].inputs[0]
    }

    /// The step whose value is the output.
    pub(crate) fn last_step(&self) -> usize {
        self.steps.len() - 1
    }

    /// Elements alive at once for each row of terms.
    pub(crate) fn series_peak(&self) -> usize {
        self.forward_peak() + 2 * self.steps.iter().map(super::Step::held).max().unwrap_or(0)
    }

    /// Series of the output `[.., K]` from those of the input `[.., D]`.
    ///
    /// # Errors
    /// What the rules and the engine say.
    pub(crate) fn series(
        &self,
        input: &Series<E>,
        rules: &mut impl SeriesRules<E>,
    ) -> Result<(Series<E>, SeriesTrace<E>)> {
        let shaped = |t: &TensorOf<E>| t.reshaped(batched(t.rows(), &self.steps[0].shape));
        let terms = input.terms.as_ref().map(shaped).transpose()?;
        let first = Series { constant: shaped(&input.constant)?, terms };
        rules.visit(0, &first)?;
        let mut trace = Trace { values: vec![Some(first.constant.clone())], picked: vec![None] };
        let mut all: Vec<Option<Series<E>>> = vec![Some(first)];
        for (i, step) in self.steps.iter().enumerate().skip(1) {
            let inputs: Vec<&Series<E>> = step.inputs.iter().filter_map(|&j| all[j].as_ref()).collect();
            let series = match (&step.work, step.series) {
                (Work::Fixed(value), _) => Series { constant: value.clone(), terms: None },
                (Work::Operator(_), Some(SeriesRule::Elementwise(function))) => {
                    rules.elementwise(i, function, inputs[0])?
                }
                (Work::Operator(_), Some(SeriesRule::Product)) => {
                    let [a, b] = [self.widened(inputs[0], i)?, self.widened(inputs[1], i)?];
                    rules.product(i, [&a, &b])?
                }
                _ => {
                    let constants: Vec<&TensorOf<E>> = inputs.iter().map(|series| &series.constant).collect();
                    let (constant, picked) = self.run(step, &constants)?;
                    trace.values.push(Some(constant.clone()));
                    trace.picked.push(picked);
                    let terms = self.linear(&trace, i, &inputs)?;
                    trace.values.pop();
                    trace.picked.pop();
                    Series { constant, terms }
                }
            };
            rules.visit(i, &series)?;
            trace.values.push(Some(series.constant.clone()));
            trace.picked.push(None);
            for &j in step.inputs.iter().filter(|&&j| self.steps[j].last_use == i) {
                all[j] = None;
            }
            all.push(Some(series));
        }
        let flat = |t: &TensorOf<E>| t.reshaped([t.rows(), self.outputs()]);
        match all.pop().flatten() {
            Some(Series { constant, terms }) => {
                let terms = terms.as_ref().map(flat).transpose()?;
                Ok((Series { constant: flat(&constant)?, terms }, SeriesTrace(trace)))
            }
            None => unreachable!("the last step has no user"),
        }
    }

    /// The terms of an affine step; those that an input does not have are 0.
    fn linear(&self, trace: &Trace<E>, i: usize, inputs: &[&Series<E>]) -> Result<Option<TensorOf<E>>> {
        let Work::Operator(op) = &self.steps[i].work else { unreachable!("only operators have rules") };
        let rows = inputs.iter().filter_map(|series| series.terms.as_ref()).map(|terms| terms.rows()).max();
        let Some(rows) = rows else { return Ok(None) };
        let padded = |series: &&Series<E>| {
            series.terms.as_ref().map(|terms| lengthened(&self.engine, terms, rows)).transpose()
        };
        let tangents: Vec<Option<TensorOf<E>>> = inputs.iter().map(padded).collect::<Result<_>>()?;
        let tangents: Vec<Option<&TensorOf<E>>> = tangents.iter().map(Option::as_ref).collect();
        op.jacobian_vector(&self.engine, &self.pass(trace, i), &tangents).map(Some)
    }

    /// A factor of step `i` repeated to its shape.
    fn widened(&self, series: &Series<E>, i: usize) -> Result<Series<E>> {
        let shape = &self.steps[i].shape;
        let widen = |t: &TensorOf<E>| {
            let [wide, _, _] = broadcast(&t.shape()[1..], shape)?;
            let t = t.reshaped(batched(t.rows(), &wide))?;
            if wide == *shape {
                return Ok(t);
            }
            let zeros = vec![E::Scalar::of(0.0); shape.iter().product()];
            self.engine.arithmetic(Arithmetic::Add, &t, &self.engine.upload(&zeros, &batched(1, shape))?)
        };
        let terms = series.terms.as_ref().map(widen).transpose()?;
        Ok(Series { constant: widen(&series.constant)?, terms })
    }

    /// How the terms of the highest degree go on from each step to the chosen outputs, linearly: calls `each` with the
    /// cotangents `[K', ..]` of the value of every step that has some, the last first. `slope` gives the linear
    /// coefficients `[1, ..]` at elementwise functions.
    ///
    /// # Errors
    /// As [`jets`](Self::jets), and whatever the closures say.
    pub(crate) fn series_cotangents(
        &self,
        SeriesTrace(trace): &SeriesTrace<E>,
        outputs: &[usize],
        slope: impl Fn(usize) -> Result<TensorOf<E>>,
        mut each: impl FnMut(usize, &TensorOf<E>) -> Result<()>,
    ) -> Result<()> {
        self.check_outputs(outputs)?;
        let input = self.pull_back(self.seed(1, &self.units(outputs))?, |i, cotangent| {
            each(i, cotangent)?;
            let step = &self.steps[i];
            match (&step.work, step.series) {
                (Work::Operator(_), Some(SeriesRule::Elementwise(_))) => {
                    let below = self.engine.arithmetic(Arithmetic::Mul, cotangent, &slope(i)?)?;
                    Ok(vec![Some(below)])
                }
                (Work::Operator(op), _) => {
                    let wanted: Vec<bool> = step.inputs.iter().map(|&j| self.steps[j].varies()).collect();
                    op.vector_jacobian(&self.engine, &self.pass(trace, i), cotangent, &wanted)
                }
                _ => Ok(vec![]),
            }
        })?;
        each(0, &Self::there(input))
    }
}

/// Rows of terms, with zeros for those that are not there.
pub(crate) fn lengthened<E: Engine>(engine: &E, terms: &TensorOf<E>, rows: usize) -> Result<TensorOf<E>> {
    if terms.rows() == rows {
        return Ok(terms.clone());
    }
    let (before, mut after) = (vec![0; terms.shape().len()], vec![0; terms.shape().len()]);
    after[0] = rows as isize - terms.rows() as isize;
    engine.pad(terms, &before, &after, E::Scalar::of(0.0))
}
