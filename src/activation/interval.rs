//! Intervals with outward rounding.
//!
//! Sums, products and quotients are rounded outward exactly: an operation without a rounding error is not widened.
//! Elementary functions are taken at both ends and widened by [`ULPS`] units in the last place.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::number::Number;

/// The error that the platform's elementary functions are trusted to stay below, in units in the last place: twice
/// the largest that is known of current ones (Gladman et al., "Accuracy of Mathematical Functions", 2024).
const ULPS: f64 = 4.0;

/// Below it the error of a product may itself be rounded away.
const TINY: f64 = 1e-250;

/// A closed interval, with infinite ends where nothing better is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Interval {
    /// The whole line: nothing is known.
    pub(super) const LINE: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// The interval between two ends; the whole line where one of them is NaN.
    pub(super) fn new(low: f64, high: f64) -> Self {
        if low <= high { Self { low, high } } else { Self::LINE }
    }

    /// The smallest interval that holds both.
    pub(super) fn hull(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// 1 or -1 where all its numbers have this sign.
    pub(super) fn sign(self) -> Option<f64> {
        if self.low > 0.0 {
            Some(1.0)
        } else if self.high < 0.0 {
            Some(-1.0)
        } else {
            None
        }
    }

    /// The number in its middle.
    pub(super) fn middle(self) -> f64 {
        f64::midpoint(self.low, self.high)
    }

    /// A nondecreasing elementary function, computed to within [`ULPS`] and never outside `bounds`.
    fn elementary(self, bounds: (f64, f64), f: impl Fn(f64) -> f64) -> Self {
        let (low, high) = (f(self.low), f(self.high));
        let margin = |v: f64| if v.is_finite() { ULPS * f64::EPSILON * v.abs() } else { 0.0 };
        Self::new(
            (low - margin(low)).next_down().clamp(bounds.0, bounds.1),
            (high + margin(high)).next_up().clamp(bounds.0, bounds.1),
        )
    }

    /// A function that changes by at most the change of its argument.
    fn contraction(self, f: impl Fn(f64) -> f64) -> Self {
        let value = Self::from(self.middle()).elementary_value(f);
        let radius = (Self::from(self.high) - Self::from(self.low)).high;
        let moved = Self::new(value.low - radius, value.high + radius);
        Self::new(moved.low.next_down().max(-1.0), moved.high.next_up().min(1.0))
    }

    /// Any elementary function at a single point.
    fn elementary_value(self, f: impl Fn(f64) -> f64) -> Self {
        self.elementary((f64::NEG_INFINITY, f64::INFINITY), f)
    }
}

impl From<f64> for Interval {
    fn from(value: f64) -> Self {
        Self::new(value, value)
    }
}

impl Neg for Interval {
    type Output = Self;

    fn neg(self) -> Self {
        Self { low: -self.high, high: -self.low }
    }
}

/// `value` and both its neighbours on the sides where the true result may lie, given the sign of `error`, which is
/// the true result less the value (NaN where that is unknown).
fn rounded(value: f64, error: f64) -> Interval {
    if value.is_nan() {
        return Interval::LINE;
    }
    let low = if error >= 0.0 { value } else { value.next_down() };
    let high = if error <= 0.0 { value } else { value.next_up() };
    Interval { low, high }
}

/// `a + b`: the error of a sum is a number, found as by Knuth. Sums with an infinite end are that end.
fn sum(a: f64, b: f64) -> Interval {
    let s = a + b;
    if a.is_infinite() || b.is_infinite() {
        return rounded(s, 0.0);
    }
    let seen = s - a;
    rounded(s, (a - (s - seen)) + (b - seen))
}

/// `a b`, where 0 times infinity is 0: an infinite end stands for arbitrarily large numbers.
fn product(a: f64, b: f64) -> Interval {
    if a == 0.0 || b == 0.0 {
        return Interval::from(0.0);
    }
    let p = a * b;
    let known = p.abs() > TINY && p.is_finite();
    let exact = a.is_infinite() || b.is_infinite();
    rounded(
        p,
        if exact {
            0.0
        } else if known {
            a.mul_add(b, -p)
        } else {
            f64::NAN
        },
    )
}

/// `a / b` for `b > 0`, or 0 of either sign as the limit from above.
fn quotient(a: f64, b: f64) -> Interval {
    if a == 0.0 {
        return Interval::from(0.0);
    }
    let q = a / b.abs();
    let known = a.abs() > TINY && q.abs() > TINY && q.is_finite();
    let exact = a.is_infinite() || b == 0.0;
    rounded(
        q,
        if exact {
            0.0
        } else if known {
            (-q).mul_add(b, a)
        } else {
            f64::NAN
        },
    )
}

impl Add for Interval {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(sum(self.low, other.low).low, sum(self.high, other.high).high)
    }
}

impl Sub for Interval {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Interval {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let corner = |a, b| product(a, b);
        let low = corner(self.low, other.low).hull(corner(self.low, other.high));
        low.hull(corner(self.high, other.low)).hull(corner(self.high, other.high))
    }
}

impl Div for Interval {
    type Output = Self;

    /// The whole line where the divisor has numbers of both signs; an end at 0 counts by its limit.
    fn div(self, other: Self) -> Self {
        if other.low < 0.0 {
            return if other.high <= 0.0 { -self / -other } else { Self::LINE };
        }
        let corner = |a, b| quotient(a, b);
        let low = corner(self.low, other.low).hull(corner(self.low, other.high));
        low.hull(corner(self.high, other.low)).hull(corner(self.high, other.high))
    }
}

impl Number for Interval {
    fn near(value: f64) -> Self {
        Self { low: value.next_down(), high: value.next_up() }
    }

    fn increasing(self, f: impl Fn(Self) -> Self) -> Self {
        Self::new(f(self.low.into()).low, f(self.high.into()).high)
    }

    fn is_negative(self) -> bool {
        self.high < 0.0
    }

    fn magnitude(self) -> Self {
        let (a, b) = (self.low.abs(), self.high.abs());
        let least = if self.low <= 0.0 && self.high >= 0.0 { 0.0 } else { a.min(b) };
        Self { low: least, high: a.max(b) }
    }

    fn exp(self) -> Self {
        let most = if self.high <= 0.0 { 1.0 } else { f64::INFINITY };
        self.elementary((0.0, most), f64::exp)
    }

    fn exp_m1(self) -> Self {
        self.elementary((-1.0, f64::INFINITY), f64::exp_m1)
    }

    fn ln(self) -> Self {
        self.elementary((f64::NEG_INFINITY, f64::INFINITY), f64::ln)
    }

    fn ln_1p(self) -> Self {
        self.elementary((f64::NEG_INFINITY, f64::INFINITY), f64::ln_1p)
    }

    fn tanh(self) -> Self {
        self.elementary((-1.0, 1.0), f64::tanh)
    }

    fn erf(self) -> Self {
        self.elementary((-1.0, 1.0), libm::erf)
    }

    fn erfc(self) -> Self {
        (-self).elementary((0.0, 2.0), |x| libm::erfc(-x))
    }

    fn pow(self, exponent: f64, less: usize) -> Self {
        // The difference may be rounded; a power is monotone in its exponent too.
        let exponent = Self::from(exponent) - Self::from(less as f64);
        let at = |x: f64, e: f64| Self::from(x).elementary_value(|x| x.powf(e));
        let along = |x: f64| at(x, exponent.low).hull(at(x, exponent.high));
        along(self.low).hull(along(self.high))
    }

    fn sin(self) -> Self {
        self.contraction(f64::sin)
    }

    fn cos(self) -> Self {
        self.contraction(f64::cos)
    }
}
