//! Proved bounds: tensors whose elements are intervals, in f64 with outward rounding.
//!
//! A program that runs on this engine over a box of inputs gives, for each value, an interval that holds it at every
//! point of the box (interval arithmetic; Moore 1966). Its jets hold every Jacobian, and on
//! [`Dual<Interval>`](super::Dual) every second derivative along the direction.
//!
//! What is proved concerns the network whose constants are those of the file as f64, in exact arithmetic. Products
//! take midpoints and radii through the f64 kernels, with a bound on their rounding (Rump 1999); what only moves or
//! compares elements is exact; everything else rounds outward by the ulp. Elementary functions are trusted to a few
//! ulp (see [`Activation::range`](super::Activation::range)). An interval that cannot be bounded is the whole line.

mod linear;
mod nonlinear;

use super::cpu::{Cpu, CpuFilters, CpuMatrix, CpuTensor};
use super::kernels::{Activation, Arithmetic, Epilogue, Packing, Window};
use super::{Engine, IndicesOf, Tensor, TensorOf};
use crate::activation::PiecewiseAffine;
use crate::{Error, Result};

use nonlinear::Candidates;

/// The engine of intervals, on the CPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interval {
    inner: Cpu<f64>,
}

/// Lower and upper ends.
#[derive(Debug, Clone)]
pub struct IntervalBuffer {
    low: <Cpu<f64> as Engine>::Buffer,
    high: <Cpu<f64> as Engine>::Buffer,
}

/// A tensor of intervals.
type Intervals = TensorOf<Interval>;

/// A matrix or filters, and those of their magnitudes.
#[derive(Debug)]
pub struct Weights<W> {
    values: W,
    magnitudes: W,
    /// The most terms that one result sums.
    terms: usize,
    /// As many for the transpose.
    terms_transposed: usize,
}

impl Interval {
    /// The engine; it holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The box with these corners.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fill the shape; [`Error::Argument`] where a lower end is not at most its
    /// upper end.
    pub fn boxes(&self, low: &[f64], high: &[f64], shape: &[usize]) -> Result<TensorOf<Self>> {
        if low.len() != high.len() {
            let (low, high) = (low.len(), high.len());
            return Err(Error::Shape(format!("{low} lower and {high} upper ends do not make intervals")));
        }
        if let Some(i) = (0..low.len()).find(|&i| low[i].is_nan() || high[i].is_nan() || low[i] > high[i]) {
            return Err(Error::Argument(format!("interval {i} goes from {} to {}", low[i], high[i])));
        }
        Ok(join(&self.inner.upload(low, shape)?, &self.inner.upload(high, shape)?))
    }

    /// The lower and the upper ends of a tensor.
    ///
    /// # Errors
    /// None on this engine.
    pub fn bounds(&self, x: &TensorOf<Self>) -> Result<[Vec<f64>; 2]> {
        Ok([self.inner.download(&low(x))?, self.inner.download(&high(x))?])
    }

    /// A tensor from a function of each element's ends; what is no number becomes the whole line.
    fn map(&self, x: &Intervals, f: impl Fn(f64, f64) -> (f64, f64)) -> Result<Intervals> {
        let [low, high] = self.bounds(x)?;
        let (mut new_low, mut new_high) = (Vec::with_capacity(low.len()), Vec::with_capacity(low.len()));
        for (low, high) in low.into_iter().zip(high) {
            let (low, high) = f(low, high);
            new_low.push(if low.is_nan() { f64::NEG_INFINITY } else { low });
            new_high.push(if high.is_nan() { f64::INFINITY } else { high });
        }
        self.boxes(&new_low, &new_high, x.shape())
    }
}

fn low(x: &Intervals) -> CpuTensor<f64> {
    Tensor::new(x.shape(), x.buffer().low.clone())
}

fn high(x: &Intervals) -> CpuTensor<f64> {
    Tensor::new(x.shape(), x.buffer().high.clone())
}

fn join(low: &CpuTensor<f64>, high: &CpuTensor<f64>) -> Intervals {
    Tensor::new(low.shape(), IntervalBuffer { low: low.buffer().clone(), high: high.buffer().clone() })
}

impl Engine for Interval {
    type Scalar = f64;
    type Buffer = IntervalBuffer;
    type Indices = Candidates;
    type Request = Intervals;
    type Matrix = Weights<CpuMatrix<f64>>;
    type Filters = Weights<CpuFilters<f64>>;
    /// There are none: an interval may reach over several pieces.
    type Codes = std::convert::Infallible;
    type CodesRequest = std::convert::Infallible;

    fn describe(&self) -> String {
        format!("{}, intervals", self.inner.describe())
    }

    fn parallelism(&self) -> usize {
        self.inner.parallelism()
    }

    fn largest_tensor(&self) -> u64 {
        self.inner.largest_tensor()
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }

    /// Single points.
    fn upload(&self, values: &[f64], shape: &[usize]) -> Result<Intervals> {
        let points = self.inner.upload(values, shape)?;
        Ok(join(&points, &points))
    }

    /// The midpoints; [`bounds`](Interval::bounds) gives the ends.
    fn request(&self, x: &Intervals) -> Result<Intervals> {
        Ok(x.clone())
    }

    fn receive(&self, request: Intervals) -> Result<Vec<f64>> {
        let [low, high] = self.bounds(&request)?;
        Ok(low.iter().zip(high).map(|(low, high)| low / 2.0 + high / 2.0).collect())
    }

    fn matrix(&self, values: &[f64], k: usize, n: usize) -> Result<Self::Matrix> {
        Ok(Weights {
            values: self.inner.matrix(values, k, n)?,
            magnitudes: self.inner.matrix(&linear::magnitudes(values), k, n)?,
            terms: k,
            terms_transposed: n,
        })
    }

    fn matmul(
        &self,
        x: &Intervals,
        gate: Option<&Intervals>,
        matrix: &Self::Matrix,
        epilogue: Epilogue<'_, IntervalBuffer>,
    ) -> Result<Intervals> {
        self.layer(x, gate, matrix.terms, epilogue, |part, x, epilogue| {
            let weights = if part.is_radius() { &matrix.magnitudes } else { &matrix.values };
            self.inner.matmul(x, None, weights, epilogue)
        })
    }

    fn multiply(&self, a: &Intervals, b: &Intervals, transposed: [bool; 2]) -> Result<Intervals> {
        self.multiply_intervals(a, b, transposed)
    }

    fn filters(
        &self,
        values: &[f64],
        shape: [usize; 4],
        window: Window,
        groups: usize,
    ) -> Result<Self::Filters> {
        let kernel = shape[2] * shape[3];
        Ok(Weights {
            values: self.inner.filters(values, shape, window, groups)?,
            magnitudes: self.inner.filters(&linear::magnitudes(values), shape, window, groups)?,
            terms: shape[1] * kernel,
            terms_transposed: shape[0] / groups * kernel,
        })
    }

    fn convolve(
        &self,
        x: &Intervals,
        filters: &Self::Filters,
        epilogue: Epilogue<'_, IntervalBuffer>,
    ) -> Result<Intervals> {
        self.layer(x, None, filters.terms, epilogue, |part, x, epilogue| {
            let weights = if part.is_radius() { &filters.magnitudes } else { &filters.values };
            self.inner.convolve(x, weights, epilogue)
        })
    }

    fn convolve_transposed(
        &self,
        y: &Intervals,
        gate: Option<&Intervals>,
        filters: &Self::Filters,
        size: [usize; 2],
        epilogue: Epilogue<'_, IntervalBuffer>,
    ) -> Result<Intervals> {
        self.layer(y, gate, filters.terms_transposed, epilogue, |part, y, epilogue| {
            let weights = if part.is_radius() { &filters.magnitudes } else { &filters.values };
            self.inner.convolve_transposed(y, None, weights, size, epilogue)
        })
    }

    fn max_pool(&self, x: &Intervals, window: Window) -> Result<(Intervals, Tensor<Candidates>)> {
        self.max_pool_intervals(x, window)
    }

    fn max_pool_gather(&self, tangents: &Intervals, picked: &Tensor<Candidates>) -> Result<Intervals> {
        self.gather(tangents, picked)
    }

    fn max_pool_scatter(
        &self,
        cotangents: &Intervals,
        picked: &Tensor<Candidates>,
        size: [usize; 2],
    ) -> Result<Intervals> {
        self.scatter(cotangents, picked, size)
    }

    fn average_pool(&self, x: &Intervals, window: Window, counted: [usize; 4]) -> Result<Intervals> {
        let terms = window.kernel[0] * window.kernel[1];
        self.monotone(x, terms, |x| self.inner.average_pool(x, window, counted))
    }

    fn average_pool_transposed(
        &self,
        y: &Intervals,
        window: Window,
        counted: [usize; 4],
        size: [usize; 2],
    ) -> Result<Intervals> {
        let terms = window.kernel[0] * window.kernel[1];
        self.monotone(y, terms, |y| self.inner.average_pool_transposed(y, window, counted, size))
    }

    fn activate(&self, activation: Activation, order: u8, x: &Intervals) -> Result<Intervals> {
        self.map(x, |low, high| activation.range(order, low, high))
    }

    fn piecewise(&self, function: &PiecewiseAffine, order: u8, x: &Intervals) -> Result<Intervals> {
        self.map(x, |low, high| function.range(order, low, high))
    }

    fn arithmetic(&self, operation: Arithmetic, a: &Intervals, b: &Intervals) -> Result<Intervals> {
        self.arithmetic_of_intervals(operation, a, b)
    }

    fn sum(&self, x: &Intervals, axes: &[usize]) -> Result<Intervals> {
        let terms = axes.iter().map(|&axis| x.shape()[axis]).product();
        self.monotone(x, terms, |x| self.inner.sum(x, axes))
    }

    fn softmax(&self, x: &Intervals, axis: usize, log: bool) -> Result<Intervals> {
        self.softmax_of_intervals(x, axis, log)
    }

    fn select(&self, x: &Intervals, axis: usize, indices: &[u32]) -> Result<Intervals> {
        self.moved(x, |x| self.inner.select(x, axis, indices))
    }

    fn select_transposed(
        &self,
        y: &Intervals,
        axis: usize,
        indices: &[u32],
        length: usize,
    ) -> Result<Intervals> {
        self.monotone(y, indices.len(), |y| self.inner.select_transposed(y, axis, indices, length))
    }

    fn permute(&self, x: &Intervals, order: &[usize]) -> Result<Intervals> {
        self.moved(x, |x| self.inner.permute(x, order))
    }

    fn pad(&self, x: &Intervals, before: &[isize], after: &[isize], value: f64) -> Result<Intervals> {
        self.moved(x, |x| self.inner.pad(x, before, after, value))
    }

    fn concat(&self, parts: &[&Intervals], axis: usize) -> Result<Intervals> {
        let joined = |end: fn(&Intervals) -> CpuTensor<f64>| {
            let parts: Vec<CpuTensor<f64>> = parts.iter().map(|part| end(part)).collect();
            self.inner.concat(&parts.iter().collect::<Vec<_>>(), axis)
        };
        Ok(join(&joined(low)?, &joined(high)?))
    }

    fn codes(&self, _: usize, _: usize) -> Result<Self::Codes> {
        Err(Error::Argument("intervals have no codes: they may reach over several pieces".to_owned()))
    }

    fn code_values(&self, codes: &mut Self::Codes, _: &Intervals, _: &[f64], _: Packing) -> Result<()> {
        match *codes {}
    }

    fn code_picks(
        &self,
        codes: &mut Self::Codes,
        _: &IndicesOf<Self>,
        _: Window,
        _: [usize; 2],
        _: Packing,
    ) -> Result<()> {
        match *codes {}
    }

    fn request_codes(&self, codes: Self::Codes) -> Result<Self::CodesRequest> {
        match codes {}
    }

    fn receive_codes(&self, request: Self::CodesRequest) -> Result<Vec<u32>> {
        match request {}
    }
}
