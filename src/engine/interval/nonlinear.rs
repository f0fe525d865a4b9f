//! Arithmetic of two tensors, maxima and softmax of intervals.

use std::sync::Arc;

use super::{Interval, Intervals, high, join, low};
use crate::Result;
use crate::engine::cpu::CpuTensor;
use crate::engine::kernels::{Arithmetic, Window};
use crate::engine::{Engine, Tensor};

/// For each maximum the elements that may be the largest, as positions in their image.
pub(super) type Candidates = Arc<Vec<Vec<u32>>>;

/// The relative error of a few elementary functions and operations on the way to one result.
const FEW_ULPS: f64 = 16.0 * f64::EPSILON;

impl Interval {
    pub(super) fn arithmetic_of_intervals(
        &self,
        operation: Arithmetic,
        a: &Intervals,
        b: &Intervals,
    ) -> Result<Intervals> {
        let of = |a: &CpuTensor<f64>, b: &CpuTensor<f64>| self.inner.arithmetic(operation, a, b);
        let ([low_a, high_a], [low_b, high_b]) = ([low(a), high(a)], [low(b), high(b)]);
        match operation {
            Arithmetic::Min | Arithmetic::Max => Ok(join(&of(&low_a, &low_b)?, &of(&high_a, &high_b)?)),
            Arithmetic::AtLeast => Ok(join(&of(&low_a, &high_b)?, &of(&high_a, &low_b)?)),
            Arithmetic::Add => self.outward(&[of(&low_a, &low_b)?, of(&high_a, &high_b)?]),
            Arithmetic::Sub => self.outward(&[of(&low_a, &high_b)?, of(&high_a, &low_b)?]),
            Arithmetic::Mul => self.outward(&[
                of(&low_a, &low_b)?,
                of(&low_a, &high_b)?,
                of(&high_a, &low_b)?,
                of(&high_a, &high_b)?,
            ]),
            Arithmetic::Div => {
                // A divisor that may be 0 makes the whole line: infinite ends times anything do.
                let divisor = self.map(b, |low, high| {
                    if low <= 0.0 && high >= 0.0 { (f64::NAN, f64::NAN) } else { (1.0 / high, 1.0 / low) }
                })?;
                let inverse = self.map(&divisor, |low, high| (low.next_down(), high.next_up()))?;
                self.arithmetic_of_intervals(Arithmetic::Mul, a, &inverse)
            }
        }
    }

    /// The hull of results of one operation each, rounded outward.
    fn outward(&self, corners: &[CpuTensor<f64>]) -> Result<Intervals> {
        let count = corners[0].len();
        let (mut low, mut high) = (vec![f64::INFINITY; count], vec![f64::NEG_INFINITY; count]);
        for corner in corners {
            for (i, value) in self.inner.download(corner)?.into_iter().enumerate() {
                // 0 times an infinite end, or the difference of two: nothing is known.
                let (l, h) = if value.is_nan() { (f64::NEG_INFINITY, f64::INFINITY) } else { (value, value) };
                low[i] = low[i].min(l);
                high[i] = high[i].max(h);
            }
        }
        low.iter_mut().for_each(|v| *v = v.next_down());
        high.iter_mut().for_each(|v| *v = v.next_up());
        self.boxes(&low, &high, corners[0].shape())
    }

    pub(super) fn max_pool_intervals(
        &self,
        x: &Intervals,
        window: Window,
    ) -> Result<(Intervals, Tensor<Candidates>)> {
        let ((new_low, _), (new_high, _)) =
            (self.inner.max_pool(&low(x), window)?, self.inner.max_pool(&high(x), window)?);
        let &[_, _, height, width] = x.shape() else { unreachable!("images have four axes") };
        let &[_, _, out_height, out_width] = new_low.shape() else { unreachable!("images have four axes") };
        let ends = self.inner.download(&high(x))?;
        let floors = self.inner.download(&new_low)?;
        let mut candidates = Vec::with_capacity(floors.len());
        for (i, floor) in floors.iter().enumerate() {
            let (plane, y, x) = (i / (out_height * out_width), i / out_width % out_height, i % out_width);
            let image = &ends[plane * height * width..][..height * width];
            let rows = window.coordinates(0, y, height).flatten();
            let positions = rows.flat_map(|row| {
                window.coordinates(1, x, width).flatten().map(move |column| row * width + column)
            });
            candidates.push(positions.filter(|&p| image[p] >= *floor).map(|p| p as u32).collect());
        }
        let picked = Tensor::new(new_low.shape(), Arc::new(candidates));
        Ok((join(&new_low, &new_high), picked))
    }

    /// For each output plane of `[N * r, c]` the candidates of its sample, and the image it reads or writes.
    fn planes<'a>(
        picked: &'a Tensor<Candidates>,
        rows: usize,
    ) -> impl Iterator<Item = (usize, &'a [Vec<u32>])> + 'a {
        let (channels, positions) = (picked.shape()[1], picked.shape()[2] * picked.shape()[3]);
        let repeats = rows / picked.rows().max(1);
        (0..rows * channels).map(move |plane| {
            let (row, channel) = (plane / channels, plane % channels);
            (plane, &picked.buffer()[(row / repeats * channels + channel) * positions..][..positions])
        })
    }

    /// The hull of what each candidate would give.
    pub(super) fn gather(&self, tangents: &Intervals, picked: &Tensor<Candidates>) -> Result<Intervals> {
        let image = tangents.shape()[2] * tangents.shape()[3];
        let [low, high] = self.bounds(tangents)?;
        let (mut new_low, mut new_high) = (vec![], vec![]);
        for (plane, candidates) in Self::planes(picked, tangents.rows()) {
            for candidates in candidates {
                let all = candidates.iter().map(|&p| plane * image + p as usize);
                new_low.push(all.clone().fold(f64::INFINITY, |m, i| m.min(low[i])));
                new_high.push(all.fold(f64::NEG_INFINITY, |m, i| m.max(high[i])));
            }
        }
        let shape = [&tangents.shape()[..2], &picked.shape()[2..]].concat();
        self.boxes(&new_low, &new_high, &shape)
    }

    /// The transpose: where several are candidates, each gets its cotangent or nothing.
    pub(super) fn scatter(
        &self,
        cotangents: &Intervals,
        picked: &Tensor<Candidates>,
        size: [usize; 2],
    ) -> Result<Intervals> {
        let (image, positions) = (size[0] * size[1], picked.shape()[2] * picked.shape()[3]);
        let [low, high] = self.bounds(cotangents)?;
        let count = cotangents.shape()[0] * cotangents.shape()[1] * image;
        let (mut new_low, mut new_high) = (vec![0.0_f64; count], vec![0.0_f64; count]);
        for (plane, candidates) in Self::planes(picked, cotangents.rows()) {
            for (position, candidates) in candidates.iter().enumerate() {
                let at = plane * positions + position;
                let (mut l, mut h) = (low[at], high[at]);
                if candidates.len() > 1 {
                    (l, h) = (l.min(0.0), h.max(0.0));
                }
                for &p in candidates {
                    let i = plane * image + p as usize;
                    new_low[i] = (new_low[i] + l).next_down();
                    new_high[i] = (new_high[i] + h).next_up();
                }
            }
        }
        let shape = [&cotangents.shape()[..2], &size[..]].concat();
        self.boxes(&new_low, &new_high, &shape)
    }

    /// `1 / (1 + sum of exp(x_j - x_i))` over `j` other than `i` falls in every `x_j` and rises in `x_i`.
    pub(super) fn softmax_of_intervals(&self, x: &Intervals, axis: usize, log: bool) -> Result<Intervals> {
        let length = x.shape()[axis];
        let inner: usize = x.shape()[axis + 1..].iter().product();
        let [low, high] = self.bounds(x)?;
        let (mut new_low, mut new_high) = (vec![0.0; low.len()], vec![0.0; low.len()]);
        let share = |own: f64, others: &mut dyn Iterator<Item = f64>| {
            let sum: f64 = others.map(|other| (other - own).exp()).sum();
            if log { -sum.ln_1p() } else { 1.0 / (1.0 + sum) }
        };
        let slack = FEW_ULPS + length as f64 * f64::EPSILON;
        for i in 0..low.len() {
            let (outer, position, rest) = (i / (length * inner), i / inner % length, i % inner);
            let line = |j: usize| (outer * length + j) * inner + rest;
            let others = || (0..length).filter(move |&j| j != position).map(line);
            let least = share(low[i], &mut others().map(|j| high[j]));
            let most = share(high[i], &mut others().map(|j| low[j]));
            let whole = least.is_nan() || most.is_nan();
            let (floor, ceiling) = if log { (f64::NEG_INFINITY, 0.0) } else { (0.0, 1.0) };
            new_low[i] = if whole { floor } else { (least - slack * least.abs()).next_down().max(floor) };
            new_high[i] = if whole { ceiling } else { (most + slack * most.abs()).next_up().min(ceiling) };
        }
        self.boxes(&new_low, &new_high, x.shape())
    }
}
