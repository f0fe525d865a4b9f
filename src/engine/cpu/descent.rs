//! Affine pieces that follow the derivatives of a loss.

use pulp::Arch;
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::{MaxAffineSpec, MaxAffineValues, Pulls, Step};

use super::CpuTensor;
use super::max_affine::max_affine_of;
use super::wide::wide;

/// Affine pieces that are being fitted.
#[derive(Debug)]
pub struct CpuDescent<S> {
    dimension: usize,
    slopes: Vec<S>,
    conjugates: Vec<S>,
    /// Of each piece the means of its derivatives and of their squares, slope and conjugate: `[M, 2, D + 1]`.
    moments: Vec<S>,
}

impl<S: Scalar> CpuDescent<S> {
    pub(super) fn new(slopes: &[S], conjugates: &[S]) -> Self {
        let dimension = slopes.len() / conjugates.len().max(1);
        let moments = vec![S::zero(); 2 * (slopes.len() + conjugates.len())];
        Self { dimension, slopes: slopes.to_vec(), conjugates: conjugates.to_vec(), moments }
    }

    pub(super) fn active(&self, points: &CpuTensor<S>) -> MaxAffineValues<S> {
        max_affine_of(&self.slopes, &self.conjugates, points, &MaxAffineSpec::default())
    }

    pub(super) fn descend(&mut self, points: &CpuTensor<S>, pulls: &Pulls<S>, step: Step) {
        let (d, arch, rates) = (self.dimension, Arch::new(), Rates::of(step));
        let mut pieces = self
            .slopes
            .chunks_exact_mut(d)
            .zip(&mut self.conjugates)
            .zip(self.moments.chunks_exact_mut(2 * (d + 1)));
        let mut next = 0;
        let touched: Vec<_> = pulls
            .groups()
            .filter_map(|(piece, range)| {
                let skipped = piece as usize - next;
                next = piece as usize + 1;
                pieces.nth(skipped).map(|piece| (piece, range))
            })
            .collect();
        touched.into_par_iter().with_min_len(AT_ONCE).for_each_init(
            || vec![S::zero(); d],
            |derivative, (((slope, conjugate), moments), range)| {
                derivative.fill(S::zero());
                let mut of_conjugate = S::zero();
                let (means, squares) = moments.split_at_mut(d + 1);
                wide(
                    arch,
                    #[inline(always)]
                    || {
                        for at in range.clone() {
                            let (point, pull) = (pulls.points[at] as usize, pulls.derivatives[at]);
                            let row = points.row_range(point..point + 1);
                            derivative.iter_mut().zip(row).for_each(|(sum, &x)| *sum += pull * x);
                            of_conjugate -= pull;
                        }
                        rates.take(slope, derivative, &mut means[..d], &mut squares[..d]);
                    },
                );
                let last = d..d + 1;
                rates.take(
                    std::slice::from_mut(conjugate),
                    &[of_conjugate],
                    &mut means[last.clone()],
                    &mut squares[last],
                );
            },
        );
    }

    pub(super) fn finish(self) -> [Vec<S>; 2] {
        [self.slopes, self.conjugates]
    }
}

/// Pieces that a thread takes at least: each is well below a microsecond.
const AT_ONCE: usize = 16;

/// A step, in the engine's precision.
#[derive(Clone, Copy)]
struct Rates<S> {
    kept: [S; 2],
    rate: S,
    least: S,
}

impl<S: Scalar> Rates<S> {
    fn of(step: Step) -> Self {
        Self { kept: Step::KEPT.map(S::of), rate: S::of(step.corrected()), least: S::of(Step::LEAST) }
    }

    /// Moves coefficients along their derivatives.
    #[inline(always)]
    fn take(self, coefficients: &mut [S], derivatives: &[S], means: &mut [S], squares: &mut [S]) {
        let Self { kept, rate, least } = self;
        let new = kept.map(|kept| S::one() - kept);
        let moments = means.iter_mut().zip(squares);
        for ((coefficient, &derivative), (mean, square)) in
            coefficients.iter_mut().zip(derivatives).zip(moments)
        {
            *mean = kept[0] * *mean + new[0] * derivative;
            *square = kept[1] * *square + new[1] * derivative * derivative;
            *coefficient -= rate * *mean / (square.sqrt() + least);
        }
    }
}
