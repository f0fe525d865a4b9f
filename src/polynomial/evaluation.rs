//! Polynomials with their coefficients: values and gradients.

use ndarray::{Array2, Array3, ArrayView2};
use rayon::prelude::*;

use crate::{Error, Result};

use super::Monomials;

/// `K` polynomials in some of `D` inputs, around a point: the sum over monomials of `c [K]` times the product of
/// `x_i - at_i` over the monomial's variables.
#[derive(Debug, Clone)]
pub struct Polynomial {
    pub(super) variables: Vec<usize>,
    pub(super) at: Vec<f64>,
    pub(super) outputs: usize,
    pub(super) monomials: Monomials,
    /// `[terms, K]`
    pub(super) coefficients: Vec<f64>,
    pub(super) seconds: f64,
}

impl Polynomial {
    /// From coefficients `[terms, K]` in the order of the monomials.
    ///
    /// # Errors
    /// [`Error::Argument`] for variables that are not ascending inputs; [`Error::Shape`] where coefficients do not fit.
    pub fn new(
        at: Vec<f64>,
        variables: Vec<usize>,
        order: usize,
        outputs: usize,
        coefficients: Vec<f64>,
    ) -> Result<Self> {
        let is_ascending = variables.windows(2).all(|two| two[0] < two[1]);
        if !is_ascending || variables.last().is_none_or(|&last| last >= at.len()) {
            return Err(Error::Argument(format!("inputs must be ascending numbers below {}", at.len())));
        }
        let misfit =
            || Error::Shape(format!("{} coefficients do not fit {outputs} outputs", coefficients.len()));
        let monomials = Monomials::new(variables.len(), order).ok_or_else(misfit)?;
        if monomials.len() * outputs != coefficients.len() || outputs == 0 {
            return Err(misfit());
        }
        Ok(Self { variables, at, outputs, monomials, coefficients, seconds: 0.0 })
    }

    /// The monomials, in terms of positions among the [variables](Self::variables).
    pub fn monomials(&self) -> &Monomials {
        &self.monomials
    }

    /// The inputs that are variables, ascending, counted from 0.
    pub fn variables(&self) -> &[usize] {
        &self.variables
    }

    /// The point around which it is an expansion, `[D]`.
    pub fn at(&self) -> &[f64] {
        &self.at
    }

    /// `K`
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `[terms, K]`
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// How long its composition took, from the network laid out on its engine to the coefficients.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The terms of an output by the size of their coefficients, the largest first, as many as asked for: the number of
    /// the monomial, its inputs (counted from 1), and the coefficient. Of equal ones the first comes first.
    pub fn largest(&self, output: usize, count: usize) -> Vec<(usize, Vec<usize>, f64)> {
        let of = |i: usize| self.coefficients[i * self.outputs + output];
        let mut numbers: Vec<usize> = (0..self.monomials.len()).collect();
        let descending = |&i: &usize, &j: &usize| of(j).abs().total_cmp(&of(i).abs()).then(i.cmp(&j));
        if count < numbers.len() {
            numbers.select_nth_unstable_by(count, descending);
            numbers.truncate(count);
        }
        numbers.sort_unstable_by(descending);
        let mut names: Vec<Option<Vec<usize>>> = vec![None; numbers.len()];
        let mut wanted: Vec<(usize, usize)> = numbers.iter().copied().zip(0..).collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        for (i, monomial) in self.monomials.iter().enumerate() {
            let Some(&(number, place)) = wanted.peek() else { break };
            if i == number {
                names[place] = Some(self.term(&monomial));
                wanted.next();
            }
        }
        let named = numbers.iter().zip(names);
        named.map(|(&i, name)| (i, name.unwrap_or_default(), of(i))).collect()
    }

    /// A monomial as the inputs that it is the product of, counted from 1.
    pub fn term(&self, monomial: &[usize]) -> Vec<usize> {
        monomial.iter().map(|&c| self.variables[c] + 1).collect()
    }

    /// Values `[N, K]` at `x [N, D]`.
    ///
    /// Monomials of a degree are those of the degree below times one variable, in runs: the ones that begin with `c` are
    /// `x_c` times the last ones of the degree below, from `c` on. So they cost a multiplication each, and the value a
    /// multiplication and an addition more for each output.
    ///
    /// # Errors
    /// [`Error::Shape`] where rows do not have `D` elements.
    pub fn values(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.check(x)?;
        let mut values = Array2::zeros((x.nrows(), self.outputs));
        let rows = values.as_slice_mut().unwrap_or_default().par_chunks_mut(self.outputs).enumerate();
        rows.for_each_init(Vec::new, |powers, (i, y)| {
            self.powers(&self.offsets(x, i), powers);
            for (power, row) in powers.iter().zip(self.coefficients.chunks_exact(self.outputs)) {
                y.iter_mut().zip(row).for_each(|(y, c)| *y += c * power);
            }
        });
        Ok(values)
    }

    /// Gradients `[N, K, D]` at `x [N, D]`, 0 for inputs that are no variables; by the derivative of every multiplication
    /// in [`values`](Self::values), backward.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn gradients(&self, x: ArrayView2<'_, f64>) -> Result<Array3<f64>> {
        self.check(x)?;
        let (k, d) = (self.outputs, self.at.len());
        let mut gradients = Array3::zeros((x.nrows(), k, d));
        let rows = gradients.as_slice_mut().unwrap_or_default().par_chunks_mut((k * d).max(1)).enumerate();
        rows.for_each_init(
            || (vec![], vec![]),
            |(powers, pulls), (i, rows)| {
                let offsets = self.offsets(x, i);
                self.powers(&offsets, powers);
                for (output, row) in rows.chunks_exact_mut(d).enumerate() {
                    pulls.clear();
                    pulls.extend(self.coefficients.chunks_exact(k).map(|row| row[output]));
                    self.pull(&offsets, powers, pulls, row);
                }
            },
        );
        Ok(gradients)
    }

    fn check(&self, x: ArrayView2<'_, f64>) -> Result<()> {
        if x.ncols() == self.at.len() {
            return Ok(());
        }
        let (given, needed) = (x.ncols(), self.at.len());
        Err(Error::Shape(format!("rows of {given} elements for a polynomial of {needed} inputs")))
    }

    /// How far row `i` is from the centre, in the variables.
    fn offsets(&self, x: ArrayView2<'_, f64>, i: usize) -> Vec<f64> {
        self.variables.iter().map(|&c| x[[i, c]] - self.at[c]).collect()
    }

    /// The value of every monomial.
    fn powers(&self, offsets: &[f64], powers: &mut Vec<f64>) {
        powers.clear();
        powers.reserve(self.monomials.len());
        powers.push(1.0);
        for degree in 1..=self.monomials.order() {
            let below = self.monomials.of_degree(degree - 1);
            for (c, offset) in offsets.iter().enumerate() {
                for i in below.start + self.monomials.tail(degree, c)..below.end {
                    powers.push(offset * powers[i]);
                }
            }
        }
    }

    /// The gradient by the variables, from the derivative by every monomial.
    fn pull(&self, offsets: &[f64], powers: &[f64], pulls: &mut [f64], gradient: &mut [f64]) {
        for degree in (1..=self.monomials.order()).rev() {
            let below = self.monomials.of_degree(degree - 1);
            let mut at = self.monomials.of_degree(degree).start;
            for (c, offset) in offsets.iter().enumerate() {
                let mut sum = 0.0;
                for i in below.start + self.monomials.tail(degree, c)..below.end {
                    sum += pulls[at] * powers[i];
                    pulls[i] += offset * pulls[at];
                    at += 1;
                }
                gradient[self.variables[c]] += sum;
            }
        }
    }
}
