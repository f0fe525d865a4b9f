//! Piecewise affine functions by a table of pieces, elementwise.

use rayon::prelude::*;

use crate::Scalar;
use crate::activation::PiecewiseAffine;

use super::CpuTensor;
use super::arithmetic::SERIAL;

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

    /// The piece of `u`: as many as there are knots below it. The same steps for every `u`, so that nothing is to
    /// be predicted.
    #[inline(always)]
    fn piece(&self, u: S) -> &[S; 3] {
        let (mut first, mut length) = (0, self.knots.len());
        while length > 0 {
            let half = length.div_ceil(2);
            first += if self.knots[first + half - 1] < u { half } else { 0 };
            length -= half;
        }
        &self.pieces[first]
    }
}

pub(super) fn piecewise<S: Scalar>(function: &PiecewiseAffine, order: u8, x: &CpuTensor<S>) -> CpuTensor<S> {
    let table = Table::<S>::new(function);
    let mut values = vec![S::zero(); x.len()];
    let run = |y: &mut [S], x: &[S]| {
        for (y, &u) in y.iter_mut().zip(x) {
            let &[at, value, slope] = table.piece(u);
            *y = if order == 0 { value + slope * (u - at) } else { slope };
        }
    };
    match order {
        0 | 1 if x.len() <= SERIAL => run(&mut values, x.values()),
        0 | 1 => {
            values.par_chunks_mut(SERIAL).zip(x.values().par_chunks(SERIAL)).for_each(|(y, x)| run(y, x));
        }
        _ => {}
    }
    CpuTensor::of(x.shape(), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Piece;

    #[test]
    fn every_number_of_knots_is_searched_right() {
        for count in 0..20 {
            let knots: Vec<f64> = (0..count).map(f64::from).collect();
            let piece = |i| Piece { at: 0.0, value: f64::from(i), slope: 0.0 };
            let function = PiecewiseAffine::new(knots, (0..=count).map(piece).collect()).expect("a table");
            let u: Vec<f64> = (-3..45).map(|i| f64::from(i) / 2.0).collect();
            let y = piecewise(&function, 0, &CpuTensor::of([u.len()], u.clone()));
            let expected: Vec<f64> = u.iter().map(|&u| function.piece(u) as f64).collect();
            assert_eq!(*y.values(), expected, "{count} knots");
        }
    }
}
