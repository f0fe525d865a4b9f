//! Sums, means and maxima over axes.

use crate::engine::{Arithmetic, Engine, IndicesOf, Packing, TensorOf, Window};
use crate::{Error, Result, Scalar};

use super::layout::inverse;
use super::pooling::picked;
use super::{ConvexRule, Kind, Operator, Pair, Pass, Rewriting, Unary, batched, expand};

/// The sum or the mean over axes of a sample; global average pooling is the mean over those of the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduce {
    /// The axes, ascending.
    pub axes: Vec<usize>,
    /// Whether they stay, with length 1.
    pub keep: bool,
    /// Whether the sum is divided by the number of its terms.
    pub mean: bool,
}

/// The largest value over axes of a sample, the first in row-major order where several are largest; global
/// max-pooling is that over the axes of the image.
#[derive(Debug, Clone, PartialEq)]
pub struct ReduceMax {
    /// The axes, ascending.
    pub axes: Vec<usize>,
    /// Whether they stay, with length 1.
    pub keep: bool,
}

/// The shape of a sample with `axes` reduced.
fn reduced(sample: &[usize], axes: &[usize], keep: bool) -> Result<Vec<usize>> {
    let ascending = axes.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || axes.last().is_some_and(|&last| last >= sample.len()) {
        return Err(Error::Shape(format!("{axes:?} are no axes of {sample:?} in ascending order")));
    }
    let lengths = sample.iter().enumerate();
    let lengths =
        lengths.map(|(i, &length)| if axes.contains(&i) { keep.then_some(1) } else { Some(length) });
    Ok(lengths.flatten().collect())
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        if self.mean { "ReduceMean" } else { "ReduceSum" }
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        reduced(inputs[0], &self.axes, self.keep)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for Reduce {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.alike(&self.clone().into(), inputs[0])
    }
}

impl Reduce {
    /// What each term counts.
    fn share(&self, sample: &[usize]) -> f64 {
        if self.mean {
            1.0 / self.axes.iter().map(|&axis| sample[axis]).product::<usize>() as f64
        } else {
            1.0
        }
    }

    pub(super) fn apply<E: Engine>(&self, engine: &E, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        let sample = &x.shape()[1..];
        let axes: Vec<usize> = self.axes.iter().map(|axis| axis + 1).collect();
        let mut sum = engine.sum(x, &axes)?;
        if self.mean {
            let share = E::Scalar::of(self.share(sample));
            let share = engine.upload(&[share], &vec![1; x.shape().len()])?;
            sum = engine.arithmetic(Arithmetic::Mul, &sum, &share)?;
        }
        sum.reshaped(batched(x.rows(), &reduced(sample, &self.axes, self.keep)?))
    }
}

impl<E: Engine> Unary<E> for Reduce {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((self.apply(engine, x)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        self.apply(engine, tangent)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        let sample = pass.shape(0);
        let kept = cotangent.reshaped(batched(cotangent.rows(), &reduced(sample, &self.axes, true)?))?;
        if !self.mean {
            return expand(engine, &kept, sample);
        }
        let shares = vec![E::Scalar::of(self.share(sample)); sample.iter().product()];
        engine.arithmetic(Arithmetic::Mul, &kept, &engine.upload(&shares, &batched(1, sample))?)
    }
}

impl Operator for ReduceMax {
    fn name(&self) -> &'static str {
        "ReduceMax"
    }

    fn kind(&self) -> Kind {
        Kind::PiecewiseAffine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        reduced(inputs[0], &self.axes, self.keep)
    }

    /// One for each element that is compared.
    fn pieces_of_unit(&self, inputs: &[&[usize]]) -> Option<usize> {
        let [_, terms] = self.counts(inputs[0]);
        Some(terms)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for ReduceMax {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let sum = Reduce { axes: self.axes.clone(), keep: self.keep, mean: false };
        rewriting.largest(&self.clone().into(), &sum.into(), inputs[0])
    }
}

impl ReduceMax {
    /// The axes of a batch with the reduced ones last.
    fn order(&self, rank: usize) -> Vec<usize> {
        let reduced = |axis: &usize| *axis > 0 && self.axes.contains(&(axis - 1));
        let (last, first): (Vec<usize>, Vec<usize>) = (0..rank).partition(reduced);
        [first, last].concat()
    }

    /// Number of results of a sample, and of terms of each.
    fn counts(&self, sample: &[usize]) -> [usize; 2] {
        let terms = self.axes.iter().map(|&axis| sample[axis]).product::<usize>();
        [sample.iter().product::<usize>() / terms, terms]
    }

    /// `[N, ..]` as `[N, results, 1, terms]`: a pooling with one window for each result.
    fn lines<E: Engine>(&self, engine: &E, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        let [results, terms] = self.counts(&x.shape()[1..]);
        engine.permute(x, &self.order(x.shape().len()))?.reshaped([x.rows(), results, 1, terms])
    }

    fn finish<E: Engine>(&self, y: &TensorOf<E>, sample: &[usize]) -> Result<TensorOf<E>> {
        y.reshaped(batched(y.rows(), &reduced(sample, &self.axes, self.keep)?))
    }
}

impl<E: Engine> Unary<E> for ReduceMax {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let lines = self.lines(engine, x)?;
        let (y, picked) = engine.max_pool(&lines, Window::new([1, lines.shape()[3]]))?;
        Ok((self.finish::<E>(&y, &x.shape()[1..])?, Some(picked)))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        let y = engine.max_pool_gather(&self.lines(engine, tangent)?, picked(pass))?;
        self.finish::<E>(&y, &tangent.shape()[1..])
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        let sample = pass.shape(0);
        let [results, terms] = self.counts(sample);
        let lines = cotangent.reshaped([cotangent.rows(), results, 1, 1])?;
        let lines = engine.max_pool_scatter(&lines, picked(pass), [1, terms])?;
        let order = self.order(sample.len() + 1);
        let shape = batched(cotangent.rows(), sample);
        let lines = lines.reshaped(order.iter().map(|&axis| shape[axis]).collect::<Vec<_>>())?;
        engine.permute(&lines, &inverse(&order))
    }
    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        let [_, terms] = self.counts(pass.shape(0));
        engine.code_picks(codes, picked(pass), Window::new([1, terms]), [1, terms], packing)
    }
}
