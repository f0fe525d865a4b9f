//! Piecewise affine functions by a table of pieces.

use crate::{Error, Result};

use super::AffinePiece;

/// One row of the table: `value + slope (u - at)`, which does not cancel where `u` is near `at`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// A point at or near the piece: the knot below it, or for the first one where its data begins.
    pub at: f64,
    /// The value there.
    pub value: f64,
    /// The slope.
    pub slope: f64,
}

/// A piecewise affine function of one variable. Piece `i` holds between knots `i - 1` (not included) and `i`
/// (included), the outer ones without end: at a knot the piece below counts, as everywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct PiecewiseAffine {
    knots: Vec<f64>,
    table: Vec<Piece>,
}

impl Piece {
    /// The value of the line at `u`.
    pub fn value_at(&self, u: f64) -> f64 {
        self.value + self.slope * (u - self.at)
    }
}

impl PiecewiseAffine {
    /// Pieces and the knots between them; neighbours should meet there, but for rounding.
    ///
    /// # Errors
    /// [`Error::Argument`] unless there is one piece more than knots, knots ascend, and all numbers are finite.
    pub fn new(knots: Vec<f64>, table: Vec<Piece>) -> Result<Self> {
        let numbers = table.iter().flat_map(|piece| [piece.at, piece.value, piece.slope]);
        let finite = numbers.chain(knots.iter().copied()).all(f64::is_finite);
        let ascending = knots.windows(2).all(|pair| pair[0] < pair[1]);
        if table.len() != knots.len() + 1 || !ascending || !finite {
            return Err(Error::Argument(format!(
                "{} pieces with {} knots: expected finite numbers, one piece more than knots, and ascending knots",
                table.len(),
                knots.len()
            )));
        }
        Ok(Self { knots, table })
    }

    /// Where pieces meet, ascending.
    pub fn knots(&self) -> &[f64] {
        &self.knots
    }

    /// The pieces, ascending.
    pub fn table(&self) -> &[Piece] {
        &self.table
    }

    /// The number of the piece at `u`: its code.
    pub fn piece(&self, u: f64) -> usize {
        self.knots.partition_point(|&knot| knot < u)
    }

    /// The value at `u`.
    pub fn value(&self, u: f64) -> f64 {
        self.table[self.piece(u)].value_at(u)
    }

    /// The slope at `u`, at a knot that of the side below.
    pub fn slope(&self, u: f64) -> f64 {
        self.table[self.piece(u)].slope
    }

    /// The pieces as lines with their values at 0.
    pub fn pieces(&self) -> Vec<AffinePiece> {
        let from = std::iter::once(f64::NEG_INFINITY).chain(self.knots.iter().copied());
        let to = self.knots.iter().copied().chain([f64::INFINITY]);
        let ends = from.zip(to).zip(&self.table);
        ends.map(|((from, to), piece)| AffinePiece {
            from,
            to,
            slope: piece.slope,
            offset: piece.value_at(0.0),
        })
        .collect()
    }

    /// The sum of two, with the knots of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut knots = [&self.knots[..], &other.knots[..]].concat();
        knots.sort_by(f64::total_cmp);
        knots.dedup();
        let (mut i, mut j) = (0, 0);
        let mut table = Vec::with_capacity(knots.len() + 1);
        for step in 0..=knots.len() {
            // The piece above this knot; the first begins where the first piece of `self` does.
            let at = if step == 0 { self.table[0].at } else { knots[step - 1] };
            if step > 0 {
                i += usize::from(self.knots.get(i) == Some(&at));
                j += usize::from(other.knots.get(j) == Some(&at));
            }
            let (a, b) = (self.table[i], other.table[j]);
            table.push(Piece { at, value: a.value_at(at) + b.value_at(at), slope: a.slope + b.slope });
        }
        Self { knots, table }
    }

    /// The function's values over an interval, or its first derivative (order 1) or second (0 within one piece, the
    /// whole line where a knot lies between), with outward rounding. Ends may be infinite.
    pub(crate) fn range(&self, order: u8, low: f64, high: f64) -> (f64, f64) {
        let touched = self.piece(low)..=self.piece(high);
        match order {
            0 => {
                let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
                for i in touched {
                    let from = if i == 0 { low } else { low.max(self.knots[i - 1]) };
                    let to = self.knots.get(i).map_or(high, |&knot| high.min(knot));
                    for end in [from, to] {
                        let (below, above) = self.table[i].enclosed(end);
                        (least, most) = (least.min(below), most.max(above));
                    }
                }
                (least, most)
            }
            1 => touched
                .map(|i| self.table[i].slope)
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| (l.min(s), h.max(s))),
            _ if touched.start() == touched.end() => (0.0, 0.0),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

impl Piece {
    /// An interval that holds the exact value of the line at `u`.
    fn enclosed(&self, u: f64) -> (f64, f64) {
        if self.slope == 0.0 {
            return (self.value, self.value);
        }
        let away = u - self.at;
        let ends = [away.next_down(), away.next_up()].map(|away| self.slope * away);
        let (least, most) = (ends[0].min(ends[1]).next_down(), ends[0].max(ends[1]).next_up());
        ((self.value + least).next_down(), (self.value + most).next_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bump() -> PiecewiseAffine {
        let piece = |at, value, slope| Piece { at, value, slope };
        let table = vec![piece(-1.0, 0.5, 0.0), piece(-1.0, 0.5, 2.0), piece(0.25, 3.0, -1.0)];
        PiecewiseAffine::new(vec![-1.0, 0.25], table).expect("the table is sound")
    }

    #[test]
    fn a_knot_belongs_to_the_side_below() {
        let f = bump();
        assert_eq!([f.slope(-1.0), f.slope(-0.9), f.slope(0.25), f.slope(9.0)], [0.0, 2.0, 2.0, -1.0]);
        assert_eq!([f.value(-5.0), f.value(0.25), f.value(1.25)], [0.5, 3.0, 2.0]);
        let pieces = f.pieces();
        assert_eq!((pieces[1].from, pieces[1].to, pieces[1].offset), (-1.0, 0.25, 2.5));
    }

    #[test]
    fn sums_have_the_knots_of_both() {
        let (f, g) = (bump(), bump());
        let line = PiecewiseAffine::new(vec![], vec![Piece { at: 0.0, value: 1.0, slope: 3.0 }]);
        let sum = f.plus(&g).plus(&line.expect("a line"));
        assert_eq!(sum.knots(), f.knots());
        for u in [-3.0, -1.0, -0.5, 0.25, 0.5, 4.0] {
            assert!((sum.value(u) - 2.0 * f.value(u) - 1.0 - 3.0 * u).abs() < 1e-14, "{u}");
        }
    }

    #[test]
    fn ranges_are_hulls_of_the_pieces_touched() {
        let f = bump();
        let (low, high) = f.range(0, -0.5, 1.25);
        assert!(low <= 1.5 && low > 1.5 - 1e-14 && (3.0..3.0 + 1e-14).contains(&high), "{low} {high}");
        assert_eq!(f.range(1, -2.0, -1.0), (0.0, 0.0));
        assert_eq!(f.range(1, -1.0, 0.3), (-1.0, 2.0));
        assert_eq!(f.range(2, -0.5, 0.25), (0.0, 0.0));
        assert_eq!(f.range(2, -0.5, 0.26).1, f64::INFINITY);
        assert_eq!(f.range(0, f64::NEG_INFINITY, -2.0), (0.5, 0.5));
        assert_eq!(f.range(0, 0.0, f64::INFINITY).0, f64::NEG_INFINITY);
    }

    #[test]
    fn tables_that_contradict_themselves_are_refused() {
        let piece = |value| Piece { at: 0.0, value, slope: 1.0 };
        for (knots, table) in [
            (vec![], vec![]),
            (vec![0.0], vec![piece(0.0)]),
            (vec![1.0, 1.0], vec![piece(0.0); 3]),
            (vec![], vec![piece(f64::NAN)]),
        ] {
            assert!(PiecewiseAffine::new(knots, table).is_err());
        }
    }
}
