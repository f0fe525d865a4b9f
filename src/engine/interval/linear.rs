//! What is linear in its input, with a bound on the rounding of the f64 kernels below.

use super::{Interval, Intervals, high, join, low};
use crate::Result;
use crate::engine::cpu::CpuTensor;
use crate::engine::kernels::{Arithmetic, Epilogue};
use crate::engine::{Engine, IntervalBuffer};

/// Whether midpoints or radii go through a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Midpoints,
    Radii,
}

impl Part {
    pub(super) fn is_radius(self) -> bool {
        self == Self::Radii
    }
}

pub(super) fn magnitudes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

/// A bound on the relative error of a sum of so many products in any order, fused or not, `n u / (1 - n u)` with
/// `u = 2^-53` (Higham 2002, section 3.1), and of a bias and a scale beside it.
fn rounding(terms: usize) -> f64 {
    let n = (terms + 4) as f64 * f64::EPSILON / 2.0;
    n / (1.0 - n)
}

/// `center` plus and minus `radius`, rounded outward; the whole line where either is no number.
fn around(center: f64, radius: f64) -> (f64, f64) {
    let (low, high) = ((center - radius).next_down(), (center + radius).next_up());
    if low.is_nan() || high.is_nan() { (f64::NEG_INFINITY, f64::INFINITY) } else { (low, high) }
}

impl Interval {
    /// Midpoints of intervals, and radii that reach both ends.
    fn middle(&self, x: &Intervals) -> Result<[CpuTensor<f64>; 2]> {
        let [low, high] = self.bounds(x)?;
        let middle: Vec<f64> = low.iter().zip(&high).map(|(low, high)| low / 2.0 + high / 2.0).collect();
        let ends = low.iter().zip(&high).zip(&middle);
        let radius: Vec<f64> = ends
            .map(
                |((low, high), middle)| {
                    if low == high { 0.0 } else { (middle - low).max(high - middle).next_up() }
                },
            )
            .collect();
        Ok([self.inner.upload(&middle, x.shape())?, self.inner.upload(&radius, x.shape())?])
    }

    /// Intervals around `center` whose radii are the sums `reach` of `terms` products each, computed in f64.
    fn widened(&self, center: &CpuTensor<f64>, reach: &CpuTensor<f64>, terms: usize) -> Result<Intervals> {
        let (center_values, reach) = (self.inner.download(center)?, self.inner.download(reach)?);
        let (mut low, mut high) = (Vec::with_capacity(reach.len()), Vec::with_capacity(reach.len()));
        for (&center, &reach) in center_values.iter().zip(&reach) {
            // The radii's own sum is rounded too.
            let (l, h) = around(center, reach * (1.0 + 2.0 * rounding(terms)));
            low.push(l);
            high.push(h);
        }
        self.boxes(&low, &high, center.shape())
    }

    /// `r + g |m|` for midpoints `m` and radii `r`: what a sum of products with these may differ by, rounding `g` of
    /// the midpoints' sum included.
    fn reach(
        &self,
        middle: &CpuTensor<f64>,
        radius: &CpuTensor<f64>,
        terms: usize,
    ) -> Result<CpuTensor<f64>> {
        let rounding = rounding(terms);
        let (middle, radii) = (self.inner.download(middle)?, self.inner.download(radius)?);
        let reach: Vec<f64> = middle
            .iter()
            .zip(&radii)
            .map(|(m, r)| if *m == 0.0 && *r == 0.0 { 0.0 } else { (r + rounding * m.abs()).next_up() })
            .collect();
        self.inner.upload(&reach, radius.shape())
    }

    /// A layer `f`, linear with weights or their magnitudes: of the midpoints, and of the radii.
    pub(super) fn layer(
        &self,
        x: &Intervals,
        gate: Option<&Intervals>,
        terms: usize,
        epilogue: Epilogue<'_, IntervalBuffer>,
        f: impl Fn(
            Part,
            &CpuTensor<f64>,
            Epilogue<'_, <crate::engine::Cpu<f64> as Engine>::Buffer>,
        ) -> Result<CpuTensor<f64>>,
    ) -> Result<Intervals> {
        let x = match gate {
            Some(gate) => {
                let directions = x.rows() / gate.rows().max(1);
                let shape = x.shape().to_vec();
                let wide = |t: &Intervals, r| t.reshaped([&[gate.rows(), r], &t.shape()[1..]].concat());
                let product =
                    self.arithmetic_of_intervals(Arithmetic::Mul, &wide(x, directions)?, &wide(gate, 1)?)?;
                product.reshaped(shape)?
            }
            None => x.clone(),
        };
        let [middle, radius] = self.middle(&x)?;
        let reach = self.reach(&middle, &radius, terms)?;
        // Biases are points; they are rounded once when they are added.
        let bias = epilogue.bias.map(low);
        let magnitudes = match &bias {
            Some(bias) => {
                let scaled: Vec<f64> =
                    self.inner.download(bias)?.iter().map(|b| b.abs() * rounding(terms)).collect();
                Some(self.inner.upload(&scaled, bias.shape())?)
            }
            None => None,
        };
        let of = |bias| Epilogue { bias, activation: None };
        let center = f(Part::Midpoints, &middle, of(bias.as_ref()))?;
        let result = self.widened(&center, &f(Part::Radii, &reach, of(magnitudes.as_ref()))?, terms)?;
        match epilogue.activation {
            Some(activation) => self.activate(activation, 0, &result),
            None => Ok(result),
        }
    }

    /// Products of two tensors of intervals: with `a = m + r`, `b = n + s`, the result is within
    /// `|m| s + r (|n| + s)` of `m n`.
    pub(super) fn multiply_intervals(
        &self,
        a: &Intervals,
        b: &Intervals,
        transposed: [bool; 2],
    ) -> Result<Intervals> {
        let terms =
            if transposed[0] { a.shape()[a.shape().len() - 2] } else { a.shape()[a.shape().len() - 1] };
        let [middle_a, radius_a] = self.middle(a)?;
        let [middle_b, radius_b] = self.middle(b)?;
        let magnitudes = |t: &CpuTensor<f64>| -> Result<CpuTensor<f64>> {
            self.inner.upload(&magnitudes(&self.inner.download(t)?), t.shape())
        };
        let (size_a, size_b) = (magnitudes(&middle_a)?, magnitudes(&middle_b)?);
        let product = |a: &CpuTensor<f64>, b: &CpuTensor<f64>| self.inner.multiply(a, b, transposed);
        let add = |a: &CpuTensor<f64>, b: &CpuTensor<f64>| self.inner.arithmetic(Arithmetic::Add, a, b);
        // With the reach of `a` in the place of its radius, the rounding of `m n` is covered too.
        let reach_a = self.reach(&middle_a, &radius_a, terms + 4)?;
        let reach = add(&product(&size_a, &radius_b)?, &product(&reach_a, &add(&size_b, &radius_b)?)?)?;
        self.widened(&product(&middle_a, &middle_b)?, &reach, terms + 4)
    }

    /// A linear function with coefficients of at least 0 whose results sum at most so many terms.
    pub(super) fn monotone(
        &self,
        x: &Intervals,
        terms: usize,
        f: impl Fn(&CpuTensor<f64>) -> Result<CpuTensor<f64>>,
    ) -> Result<Intervals> {
        let [ends_low, ends_high] = self.bounds(x)?;
        let size: Vec<f64> = ends_low.iter().zip(&ends_high).map(|(l, h)| l.abs().max(h.abs())).collect();
        let size = self.inner.download(&f(&self.inner.upload(&size, x.shape())?)?)?;
        let (new_low, new_high) = (f(&low(x))?, f(&high(x))?);
        let slack = size.iter().map(|size| 2.0 * rounding(terms) * size);
        let ends = self.inner.download(&new_low)?.into_iter().zip(self.inner.download(&new_high)?).zip(slack);
        let (low, high): (Vec<f64>, Vec<f64>) =
            ends.map(|((low, high), slack)| (around(low, slack).0, around(high, slack).1)).unzip();
        self.boxes(&low, &high, new_low.shape())
    }

    /// A function that only moves elements.
    pub(super) fn moved(
        &self,
        x: &Intervals,
        f: impl Fn(&CpuTensor<f64>) -> Result<CpuTensor<f64>>,
    ) -> Result<Intervals> {
        Ok(join(&f(&low(x))?, &f(&high(x))?))
    }
}
