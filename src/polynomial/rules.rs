//! Power series through activations and products of branches.

use std::collections::HashMap;

use crate::activation::Activation;
use crate::engine::{Arithmetic, Context, ProductTable, SplineEngine, TensorOf};
use crate::network::{Series, SeriesRules, lengthened};
use crate::{Result, Scalar};

use super::Monomials;
use super::composition::{Composition, Layer};
use super::function::shift;

/// What is known of a step at which series bend, for the terms of the highest degree.
pub(super) struct Bend<E: SplineEngine> {
    pub step: usize,
    /// The linear coefficient of each unit `[1, ..]`, of an activation.
    pub slope: Option<TensorOf<E>>,
    /// Two series `[terms, units]` whose product is the output beyond what is linear in the inputs.
    pub factors: Option<[TensorOf<E>; 2]>,
    /// Their degrees.
    pub degrees: [usize; 2],
}

/// Truncated power series whose terms are monomials, `lanes` of them side by side: a term's row is `[lanes, ..]`.
pub(super) struct Rules<'a, E: SplineEngine> {
    engine: E,
    layers: &'a [Layer],
    order: usize,
    monomials: &'a Monomials,
    lanes: usize,
    /// The highest degree that is carried on.
    forward: usize,
    tables: HashMap<[usize; 3], ProductTable>,
    pub bends: Vec<Bend<E>>,
    /// Steps whose values `each` is to see.
    pub wanted: &'a [usize],
    pub each: Option<&'a mut dyn FnMut(usize, Vec<f64>)>,
    context: &'a Context,
}

impl<'a, E: SplineEngine> Rules<'a, E> {
    pub(super) fn new(
        composition: &'a Composition<'_, E>,
        monomials: &'a Monomials,
        lanes: usize,
        forward: usize,
        context: &'a Context,
    ) -> Self {
        Self {
            engine: composition.program.engine().clone(),
            layers: &composition.layers,
            order: composition.settings.order,
            monomials,
            lanes,
            forward,
            tables: HashMap::new(),
            bends: vec![],
            wanted: &[],
            each: None,
            context,
        }
    }

    /// Terms `[rows * lanes, ..]` as `[rows, lanes * units]`, and their degree.
    fn flat(&self, terms: &TensorOf<E>) -> Result<(TensorOf<E>, usize)> {
        let rows = terms.rows() / self.lanes;
        Ok((terms.reshaped([rows, terms.len() / rows.max(1)])?, self.monomials.degree_of(rows)))
    }

    /// Terms `[rows, lanes * units]` as `[rows * lanes, ..]`.
    fn unflat(&self, terms: &TensorOf<E>, sample: &[usize]) -> Result<TensorOf<E>> {
        terms.reshaped([&[terms.rows() * self.lanes], sample].concat())
    }

    /// A number for each unit as a factor for each unit of each lane.
    fn factor(&self, constant: &TensorOf<E>) -> Result<TensorOf<E>> {
        let row = constant.reshaped([1, constant.len()])?;
        if self.lanes == 1 {
            return Ok(row);
        }
        self.engine.select(&row, 0, &vec![0; self.lanes])?.reshaped([1, self.lanes * constant.len()])
    }

    /// `scale a + a b` up to a degree; without `b` the first part alone.
    fn product(
        &mut self,
        (a, of_a): (&TensorOf<E>, usize),
        b: Option<(&TensorOf<E>, usize)>,
        scale: &TensorOf<E>,
        most: usize,
    ) -> Result<(TensorOf<E>, usize)> {
        let of_b = b.map_or(0, |(_, of_b)| of_b);
        let degree = most.min(of_a + of_b);
        let monomials = self.monomials;
        let key = [degree, of_a, of_b];
        let table = self.tables.entry(key).or_insert_with(|| monomials.products(1..degree + 1, of_a, of_b));
        let b = b.map_or(a, |(b, _)| b);
        Ok((self.engine.series_product(a, b, Some(scale), table)?, degree))
    }
}

impl<E: SplineEngine> SeriesRules<E> for Rules<'_, E> {
    /// With `t` the input without its constant term, the output is `a_0 + H_1` for
    /// `H_k = a_k t + t H_(k + 1)`, and of `H_k` only degrees up to the order less `k - 1` matter.
    fn elementwise(&mut self, step: usize, _: Activation, input: &Series<E>) -> Result<Series<E>> {
        let Some(layer) = self.layers.iter().find(|layer| layer.step == step) else {
            unreachable!("every activation is a layer")
        };
        let sample = input.constant.shape()[1..].to_vec();
        let potentials = self.engine.download(&input.constant)?;
        let highest = layer.taylor.min(self.order);
        let mut rows: Vec<Vec<E::Scalar>> = vec![Vec::with_capacity(potentials.len()); highest + 1];
        let common = layer.centre.map(|centre| layer.function.taylor(centre, layer.taylor));
        let common = match common {
            Some(None) => return Err(layer.no_series(layer.centre.unwrap_or_default())),
            Some(Some(series)) => Some(series),
            None => None,
        };
        let mut series = vec![];
        for potential in &potentials {
            let potential = potential.f64();
            match (&common, layer.centre) {
                (Some(common), Some(centre)) => {
                    series.clone_from(common);
                    shift(&mut series, potential - centre, highest);
                }
                _ => {
                    let own = layer.function.taylor(potential, highest);
                    series = own.ok_or_else(|| layer.no_series(potential))?;
                }
            }
            rows.iter_mut().zip(&series).for_each(|(row, &c)| row.push(E::Scalar::of(c)));
        }
        let shape = [&[1], &sample[..]].concat();
        let coefficients: Vec<TensorOf<E>> =
            rows.iter().map(|row| self.engine.upload(row, &shape)).collect::<Result<_>>()?;
        let mut bend = Bend { step, slope: Some(coefficients[1].clone()), factors: None, degrees: [0; 2] };
        let mut terms = None;
        if let Some(t) = &input.terms {
            let (t, of_t) = self.flat(t)?;
            let mut sum: Option<(TensorOf<E>, usize)> = None;
            for k in (1..=highest).rev() {
                let most = if k == 1 { self.forward } else { self.order + 1 - k };
                if let (1, Some((inner, of_inner))) = (k, &sum) {
                    bend.factors = Some([t.clone(), inner.clone()]);
                    bend.degrees = [of_t, *of_inner];
                }
                let scale = self.factor(&coefficients[k])?;
                sum = Some(self.product((&t, of_t), sum.as_ref().map(|(h, of)| (h, *of)), &scale, most)?);
            }
            terms = sum.map(|(sum, _)| self.unflat(&sum, &sample)).transpose()?;
        }
        self.bends.push(bend);
        Ok(Series { constant: coefficients[0].clone(), terms })
    }

    fn product(&mut self, step: usize, [a, b]: [&Series<E>; 2]) -> Result<Series<E>> {
        let constant = self.engine.arithmetic(Arithmetic::Mul, &a.constant, &b.constant)?;
        let sample = constant.shape()[1..].to_vec();
        let (Some(of_a), Some(of_b)) = (&a.terms, &b.terms) else {
            return Ok(Series { constant, terms: None });
        };
        let (flat_a, degree_a) = self.flat(of_a)?;
        let (flat_b, degree_b) = self.flat(of_b)?;
        let (scale_a, scale_b) = (self.factor(&b.constant)?, self.factor(&a.constant)?);
        let forward = self.forward;
        let (first, _) =
            Self::product(self, (&flat_a, degree_a), Some((&flat_b, degree_b)), &scale_a, forward)?;
        let (second, _) = Self::product(self, (&flat_b, degree_b), None, &scale_b, forward)?;
        let second = lengthened(&self.engine, &second, first.rows())?;
        let terms = self.engine.arithmetic(Arithmetic::Add, &first, &second)?;
        let terms = Some(self.unflat(&terms, &sample)?);
        let (factors, degrees) = (Some([flat_a, flat_b]), [degree_a, degree_b]);
        self.bends.push(Bend { step, slope: None, factors, degrees });
        Ok(Series { constant, terms })
    }

    /// The value of a series: all of its terms added up.
    fn visit(&mut self, step: usize, series: &Series<E>) -> Result<()> {
        self.context.check()?;
        let Some(each) = self.each.as_mut().filter(|_| self.wanted.contains(&step)) else { return Ok(()) };
        let units = series.constant.len();
        let mut value = series.constant.reshaped([1, 1, units])?;
        if let Some(terms) = &series.terms {
            let terms = terms.reshaped([terms.rows() / self.lanes, self.lanes, units])?;
            value = self.engine.arithmetic(Arithmetic::Add, &self.engine.sum(&terms, &[0])?, &value)?;
        }
        each(step, self.engine.download(&value)?.iter().map(|v| v.f64()).collect());
        Ok(())
    }
}
