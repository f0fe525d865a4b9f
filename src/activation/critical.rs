//! Where derivatives of curves are 0, proved to be complete.

use std::sync::OnceLock;

use super::branch::{Bend, Curve};
use super::interval::Interval;
use super::number::Number;

/// Orders of which critical points are known: the value and its first two derivatives.
pub(super) const ORDERS: usize = 3;

/// Where [`Bend`]s are searched. Outside it each derivative is `exp` of minus a growing function, times a
/// polynomial without zeros there, to a relative error below 1e-3: it has no zeros (the tests follow the intervals
/// until they underflow). The ends are such that no zero lies on the edge of a cell.
const SEARCHED: [f64; 2] = [-16.1, 16.3];

/// Cells that are still undecided at this width are taken for zeros: a point too many harms no range.
const NARROWEST: f64 = 1e-7;

/// More zeros of waves than this are not listed.
const WAVES: f64 = 65536.0;

impl Curve {
    /// Where the `order`-th derivative may have an extreme value within `[low, high]`: enclosures of all zeros of
    /// the next derivative, ascending. `None` where they are too many to list.
    pub(super) fn critical(self, order: usize, low: f64, high: f64) -> Option<Vec<Interval>> {
        let mut found = match self {
            Self::Polynomial([_, slope, bend]) if order == 0 && bend != 0.0 => {
                vec![Interval::from(-0.5) * Interval::from(slope) / Interval::from(bend)]
            }
            Self::Power { exponent } if exponent > order as f64 && exponent.fract() == 0.0 => {
                vec![0.0.into()]
            }
            // Zeros of the sine are multiples of pi, of the cosine those and a half; each derivative changes places.
            Self::Sin => wave(if order.is_multiple_of(2) { 0.5 } else { 0.0 }, low, high)?,
            Self::Cos => wave(if order.is_multiple_of(2) { 0.0 } else { 0.5 }, low, high)?,
            Self::Bend(bend) => bend.critical()[order].clone(),
            _ => vec![],
        };
        found.retain(|at| low <= at.high && at.low <= high);
        Some(found)
    }

    /// Where the second derivative changes its sign within `(low, high)`, ascending.
    pub(super) fn inflections(self, low: f64, high: f64) -> Option<Vec<f64>> {
        let zeros: Vec<f64> = self.critical(1, low, high)?.into_iter().map(Interval::middle).collect();
        // A sample between each two neighbours, and one beyond either end.
        let (Some(&first), Some(&last)) = (zeros.first(), zeros.last()) else { return Some(vec![]) };
        let between = zeros.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
        let samples: Vec<f64> = std::iter::once(first - 1.0).chain(between).chain([last + 1.0]).collect();
        let signs: Vec<f64> = samples.into_iter().map(|x| self.derivative(2, x).signum()).collect();
        let changes = zeros.into_iter().zip(signs.windows(2)).filter(|(_, pair)| pair[0] != pair[1]);
        Some(changes.map(|(zero, _)| zero).filter(|&zero| low < zero && zero < high).collect())
    }
}

/// The numbers `(k + shift) pi` near `[low, high]`.
fn wave(shift: f64, low: f64, high: f64) -> Option<Vec<Interval>> {
    let count = |x: f64| x / std::f64::consts::PI - shift;
    // One more on either side, since the quotient is rounded.
    let (first, last) = (count(low).floor(), count(high).ceil());
    if !(last - first <= WAVES && first.abs().max(last.abs()) < 1.0 / f64::EPSILON) {
        return None;
    }
    let at = |k: i64| Interval::from(k as f64 + shift) * Interval::near(std::f64::consts::PI);
    Some((first as i64..=last as i64).map(at).collect())
}

impl Bend {
    /// The zeros of the first, second and third derivative, found once.
    fn critical(self) -> &'static [Vec<Interval>; ORDERS] {
        static FOUND: [OnceLock<[Vec<Interval>; ORDERS]>; 8] = [const { OnceLock::new() }; 8];
        FOUND[self as usize].get_or_init(|| std::array::from_fn(|order| zeros(Curve::Bend(self), order + 1)))
    }
}

/// The zeros of the `order`-th derivative of a curve, by bisection: cells where its enclosure has one sign have no
/// zero, cells where the next derivative's has one sign at most one.
fn zeros(curve: Curve, order: usize) -> Vec<Interval> {
    let mut found = vec![];
    let mut cells = vec![Interval::new(SEARCHED[0], SEARCHED[1])];
    let sign = |x: f64| curve.derivative(order, Interval::from(x)).sign();
    while let Some(cell) = cells.pop() {
        if curve.derivative(order, cell).sign().is_some() {
            continue;
        }
        let monotone = curve.derivative(order + 1, cell).sign().is_some();
        match (sign(cell.low), sign(cell.high)) {
            (Some(a), Some(b)) if monotone && a == b => {}
            (Some(a), Some(_)) if monotone => {
                found.push(narrowed(cell, |x| sign(x) == Some(a), |x| sign(x) == Some(-a)))
            }
            _ if cell.high - cell.low < NARROWEST => found.push(cell),
            // The left half is searched first, so that what is found ascends.
            _ => cells
                .extend([Interval::new(cell.middle(), cell.high), Interval::new(cell.low, cell.middle())]),
        }
    }
    found
}

/// The narrowest interval within a cell around its zero, on whose ends the signs are still certain.
fn narrowed(cell: Interval, is_left: impl Fn(f64) -> bool, is_right: impl Fn(f64) -> bool) -> Interval {
    let low = boundary(cell.low, cell.high, is_left);
    let high = boundary(cell.high, cell.low, is_right);
    Interval::new(low, high)
}

/// The last number from `inside` towards `outside` of which `holds` is true.
fn boundary(mut inside: f64, mut outside: f64, holds: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = f64::midpoint(inside, outside);
        if middle == inside || middle == outside {
            return inside;
        }
        *(if holds(middle) { &mut inside } else { &mut outside }) = middle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tolerance::EXACT;

    const BENDS: [Bend; 8] = [
        Bend::Sigmoid,
        Bend::Tanh,
        Bend::Erf,
        Bend::Softplus,
        Bend::Gelu,
        Bend::GeluTanh,
        Bend::Silu,
        Bend::Mish,
    ];

    #[test]
    fn zeros_are_where_closed_forms_have_them() {
        let third = (2.0 + 3.0_f64.sqrt()).ln();
        let root = 2.0_f64.sqrt();
        let expected: [(Bend, [&[f64]; 3]); 5] = [
            (Bend::Sigmoid, [&[], &[0.0], &[-third, third]]),
            (Bend::Tanh, [&[], &[0.0], &[-third / 2.0, third / 2.0]]),
            (Bend::Erf, [&[], &[0.0], &[-1.0 / root, 1.0 / root]]),
            (Bend::Softplus, [&[], &[], &[0.0]]),
            (Bend::Gelu, [&[-0.751_791_524_693_564_5], &[-root, root], &[-2.0, 0.0, 2.0]]),
        ];
        for (bend, expected) in expected {
            for (order, expected) in expected.into_iter().enumerate() {
                let found = &bend.critical()[order];
                assert_eq!(found.len(), expected.len(), "{bend:?}, derivative {}: {found:?}", order + 1);
                for (found, at) in found.iter().zip(expected) {
                    assert!(found.low <= *at && *at <= found.high, "{bend:?}: {at} is not in {found:?}");
                    assert!(found.high - found.low < EXACT, "{bend:?}: {found:?}");
                }
            }
        }
        for bend in [Bend::Silu, Bend::GeluTanh, Bend::Mish] {
            let counts = bend.critical().each_ref().map(Vec::len);
            assert_eq!(counts, [1, 2, 3], "{bend:?}");
        }
    }

    #[test]
    fn there_are_no_zeros_beyond_the_search() {
        for bend in BENDS {
            for order in 1..=ORDERS {
                for (mut from, side) in [(-SEARCHED[0], -1.0), (SEARCHED[1], 1.0)] {
                    // Cell by cell, until the enclosures underflow.
                    let mut cells = 0;
                    let first = Curve::Bend(bend).derivative(order, Interval::from(side * from)).sign();
                    loop {
                        let to = from + 1.0 / 64.0;
                        let cell = Interval::new((side * from).min(side * to), (side * from).max(side * to));
                        let enclosed = Curve::Bend(bend).derivative(order, cell);
                        if enclosed.low.abs().min(enclosed.high.abs()) < 1e-250 {
                            break;
                        }
                        assert_eq!(
                            enclosed.sign(),
                            first,
                            "{bend:?}, derivative {order} near {}",
                            side * from
                        );
                        (from, cells) = (to, cells + 1);
                        if from > 700.0 {
                            break;
                        }
                    }
                    assert!(cells > 100 || bend == Bend::GeluTanh, "{bend:?}: {cells} cells");
                }
            }
        }
    }
}
