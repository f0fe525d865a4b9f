//! Affine pieces that follow the derivatives of a loss.

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::{MaxAffineSpec, MaxAffineValues, Pulls, Step};

use super::CpuTensor;
use super::max_affine::max_affine_of;

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
        let d = self.dimension;
        let kept = Step::KEPT.map(S::of);
        let rate = S::of(step.corrected());
        let least = S::of(Step::LEAST);
        let groups: Vec<_> = pulls.groups().collect();
        let touched = |piece: usize| groups.binary_search_by_key(&(piece as u32), |(piece, _)| *piece);
        let pieces = self.slopes.par_chunks_exact_mut(d).zip(&mut self.conjugates);
        let pieces = pieces.zip(self.moments.par_chunks_exact_mut(2 * (d + 1)));
        pieces.enumerate().for_each(|(piece, ((slope, conjugate), moments))| {
            let Ok(group) = touched(piece) else { return };
            let mut derivative = vec![S::zero(); d + 1];
            for at in groups[group].1.clone() {
                let (point, pull) = (pulls.points[at] as usize, pulls.derivatives[at]);
                let (of_slope, of_conjugate) = derivative.split_at_mut(d);
                let row = points.row_range(point..point + 1);
                of_slope.iter_mut().zip(row).for_each(|(sum, &x)| *sum += pull * x);
                of_conjugate[0] -= pull;
            }
            let (means, squares) = moments.split_at_mut(d + 1);
            let coefficients = slope.iter_mut().chain(std::iter::once(conjugate));
            let moments = means.iter_mut().zip(squares);
            for ((coefficient, derivative), (mean, square)) in coefficients.zip(derivative).zip(moments) {
                *mean = kept[0] * *mean + (S::one() - kept[0]) * derivative;
                *square = kept[1] * *square + (S::one() - kept[1]) * derivative * derivative;
                *coefficient -= rate * *mean / (square.sqrt() + least);
            }
        });
    }

    pub(super) fn finish(self) -> [Vec<S>; 2] {
        [self.slopes, self.conjugates]
    }
}
