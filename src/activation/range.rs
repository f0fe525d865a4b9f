//! Proved ranges.

use super::Activation;
use super::branch::{Bend, Curve};
use super::critical::ORDERS;
use super::interval::Interval;

/// Beyond it the derivatives of [`Bend`]s are within 1e-300 of their limits.
const FAR: f64 = 1000.0;

impl Activation {
    /// An interval that holds the `order`-th derivative (0: the value, 1, 2) at every `x` in `[low, high]`, ends may
    /// be infinite. Proved: it is the hull of enclosures at both ends and at all critical points between, each
    /// computed with outward rounding, from elementary functions trusted to 4 units in the last place.
    /// It is as narrow as that rounding allows.
    ///
    /// At a kink the slopes of both sides count, and likewise the second derivatives where only these jump; an
    /// interval that ends there at its upper end belongs to the side below, as the kink itself does. It is the whole
    /// line where nothing is known: outside the domain, at poles, for the second derivative at other kinks, for higher
    /// orders, and if `low <= high` is false. Ends of the domain count by the function's limit.
    pub fn range(&self, order: u8, low: f64, high: f64) -> (f64, f64) {
        let touches = |at: f64| low <= at && at <= high;
        let crosses = |at: f64| low <= at && at < high;
        let (first, last) = self.domain();
        let unknown = usize::from(order) >= ORDERS
            || !(first <= low && low <= high && high <= last)
            || self.poles().any(touches)
            || (order == 2 && self.kinks().into_iter().any(crosses));
        if unknown {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        let hull = self
            .branches()
            .into_iter()
            .filter(|branch| (branch.from < high || branch.from == first) && low <= branch.to)
            .map(|branch| branch.curve.enclose(order.into(), low.max(branch.from), high.min(branch.to)))
            .reduce(Interval::hull)
            .unwrap_or(Interval::LINE);
        (hull.low, hull.high)
    }
}

impl Curve {
    /// An enclosure of a derivative over an interval on which the curve is analytic.
    fn enclose(self, order: usize, low: f64, high: f64) -> Interval {
        let is_wave = matches!(self, Self::Sin | Self::Cos);
        let turns = if is_wave && high - low >= std::f64::consts::TAU {
            None
        } else {
            self.critical(order, low, high)
        };
        let Some(turns) = turns else { return Interval::new(-1.0, 1.0) };
        let ends = self.at_end(order, low).hull(self.at_end(order, high));
        turns.into_iter().fold(ends, |hull, at| hull.hull(self.derivative(order, at)))
    }

    /// An enclosure at the end of an interval, by the limit if the end is infinite.
    fn at_end(self, order: usize, x: f64) -> Interval {
        let Self::Bend(bend) = self else { return self.derivative(order, x.into()) };
        let grows = matches!(bend, Bend::Softplus | Bend::Gelu | Bend::GeluTanh | Bend::Silu | Bend::Mish);
        match order {
            // All but the sigmoids go from 0 to the diagonal.
            0 if grows && x.is_infinite() => Interval::from(x.max(0.0)),
            0 => self.derivative(0, x.into()),
            // Derivatives are monotone so far out: between their value there and the limit.
            _ if x.abs() > FAR => {
                let limit = if order == 1 && grows && x > 0.0 { 1.0 } else { 0.0 };
                self.derivative(order, Interval::from(FAR.copysign(x))).hull(limit.into())
            }
            _ => self.derivative(order, x.into()),
        }
    }
}
