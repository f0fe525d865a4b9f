//! Piecewise affine functions by a table of pieces, elementwise.

use pulp::Arch;
use rayon::prelude::*;

use crate::Scalar;
use crate::activation::PiecewiseAffine;

use super::arithmetic::SERIAL;
use super::wide::wide;
use super::{CpuTensor, pool};

/// The table in the engine's type.
struct Table<S> {
    knots: Vec<S>,
    /// `[at, value, slope]` of each piece.
    pieces: Vec<[S; 3]>,
}

impl<S: Scalar> Table<S> {
    fn new(function: &PiecewiseAffine) -> Self {
        let pieces = function.table().iter().map(|p| [p.at, p.value, p.slope].map(S::of)).collect();
        Self { knots: function.knots().iter().map(|&knot| S::of(knot)).collect(), pieces }
    }

    /// The function at each element, or its slope.
    #[inline(always)]
    fn run(&self, order: u8, x: &[S], y: &mut [S]) {
        let of = |u: S, number: u32| {
            let [at, value, slope] = self.pieces[number as usize];
            if order == 0 { value + slope * (u - at) } else { slope }
        };
        let together = if self.knots.len() <= COUNTED { x.len() / TOGETHER } else { 0 };
        let (x, rest) = x.split_at(together * TOGETHER);
        let (y, last) = y.split_at_mut(x.len());
        for (y, x) in y.as_chunks_mut::<TOGETHER>().0.iter_mut().zip(x.as_chunks::<TOGETHER>().0) {
            let numbers = self.count(x);
            for ((y, &u), number) in y.iter_mut().zip(x).zip(numbers) {
                *y = of(u, number);
            }
        }
        last.iter_mut().zip(rest).for_each(|(y, &u)| *y = of(u, self.search(u)));
    }

    /// The pieces of some elements, as many as there are knots below each: counted, all elements at once. Of 127 knots
    /// that takes a fifth of the time of a search, whose steps wait for each other.
    #[inline(always)]
    fn count(&self, x: &[S; TOGETHER]) -> [u32; TOGETHER] {
        let mut numbers = [0; TOGETHER];
        for &knot in &self.knots {
            for i in 0..TOGETHER {
                numbers[i] += u32::from(knot < x[i]);
            }
        }
        numbers
    }

    /// The same of one element, by halves. The same steps for every `u`, so that nothing is to be predicted.
    #[inline(always)]
    fn search(&self, u: S) -> u32 {
        let (mut first, mut length) = (0, self.knots.len());
        while length > 0 {
            let half = length.div_ceil(2);
            first += if self.knots[first + half - 1] < u { half } else { 0 };
            length -= half;
        }
        first as u32
    }
}

/// Elements whose pieces are counted together.
const TOGETHER: usize = 64;

/// Knots up to which pieces are counted.
const COUNTED: usize = 1024;

pub(super) fn piecewise<S: Scalar>(function: &PiecewiseAffine, order: u8, x: &CpuTensor<S>) -> CpuTensor<S> {
    if order > 1 {
        return CpuTensor::of(x.shape(), vec![S::zero(); x.len()]);
    }
    let table = Table::<S>::new(function);
    let mut values = pool::take(x.len());
    let run = |y: &mut [S], x: &[S]| {
        wide(
            Arch::new(),
            #[inline(always)]
            || table.run(order, x, y),
        );
    };
    if x.len() <= SERIAL {
        run(&mut values, x.values());
    } else {
        values.par_chunks_mut(SERIAL).zip(x.values().par_chunks(SERIAL)).for_each(|(y, x)| run(y, x));
    }
    CpuTensor::of(x.shape(), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Piece;

    #[test]
    fn every_number_of_knots_is_searched_right() {
        for count in (0..20).chain([1100]) {
            let knots: Vec<f64> = (0..count).map(f64::from).collect();
            let piece = |i| Piece { at: 0.0, value: f64::from(i), slope: 0.0 };
            let function = PiecewiseAffine::new(knots, (0..=count).map(piece).collect()).expect("a table");
            let u: Vec<f64> = (-3..80).map(|i| f64::from(i) / 2.0).collect();
            let y = piecewise(&function, 0, &CpuTensor::of([u.len()], u.clone()));
            let expected: Vec<f64> = u.iter().map(|&u| function.piece(u) as f64).collect();
            assert_eq!(*y.values(), expected, "{count} knots");
        }
    }
}
