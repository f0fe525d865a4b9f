//! What power series compute with: numbers, or intervals that enclose them.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A real number, as an `f64` near it or as an interval that holds it.
pub(super) trait Number:
    Copy
    + From<f64>
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// A number of which only the nearest `f64` is at hand.
    fn near(value: f64) -> Self;

    /// `f(self)` for a nondecreasing function. An interval takes it at its two ends apart, so that `f` always sees
    /// a single point and may ask for its sign.
    fn increasing(self, f: impl Fn(Self) -> Self) -> Self;

    /// Whether it is below 0, of a single point.
    fn is_negative(self) -> bool;

    /// `|x|`
    fn magnitude(self) -> Self;
    /// `exp(x)`; at most 1 where `x` is at most 0.
    fn exp(self) -> Self;
    /// `exp(x) - 1`
    fn exp_m1(self) -> Self;
    /// `ln(x)`
    fn ln(self) -> Self;
    /// `ln(1 + x)`
    fn ln_1p(self) -> Self;
    /// `tanh(x)`
    fn tanh(self) -> Self;
    /// `erf(x)`
    fn erf(self) -> Self;
    /// `1 - erf(x)`
    fn erfc(self) -> Self;
    /// `x^(exponent - less)`; an interval lies on one side of 0.
    fn pow(self, exponent: f64, less: usize) -> Self;
    /// `sin(x)`
    fn sin(self) -> Self;
    /// `cos(x)`
    fn cos(self) -> Self;
}

impl Number for f64 {
    fn near(value: f64) -> Self {
        value
    }

    fn increasing(self, f: impl Fn(Self) -> Self) -> Self {
        f(self)
    }

    fn is_negative(self) -> bool {
        self < 0.0
    }

    fn magnitude(self) -> Self {
        self.abs()
    }

    fn exp(self) -> Self {
        f64::exp(self)
    }

    fn exp_m1(self) -> Self {
        f64::exp_m1(self)
    }

    fn ln(self) -> Self {
        f64::ln(self)
    }

    fn ln_1p(self) -> Self {
        f64::ln_1p(self)
    }

    fn tanh(self) -> Self {
        f64::tanh(self)
    }

    fn erf(self) -> Self {
        libm::erf(self)
    }

    fn erfc(self) -> Self {
        libm::erfc(self)
    }

    fn pow(self, exponent: f64, less: usize) -> Self {
        self.powf(exponent - less as f64)
    }

    fn sin(self) -> Self {
        f64::sin(self)
    }

    fn cos(self) -> Self {
        f64::cos(self)
    }
}

/// `1 / (1 + exp(-x))`, with all digits in both tails.
pub(super) fn logistic<T: Number>(x: T) -> T {
    x.increasing(|x| {
        let e = (-x.magnitude()).exp();
        let one = T::from(1.0);
        if x.is_negative() { e / (one + e) } else { one / (one + e) }
    })
}

/// `1 - tanh(x)^2`, without its cancellation: `4 e / (1 + e)^2` with `e = exp(-2 |x|)`, which grows with `e`.
pub(super) fn sech_squared<T: Number>(x: T) -> T {
    (T::from(-2.0) * x.magnitude()).exp().increasing(|e| {
        let sum = T::from(1.0) + e;
        T::from(4.0) * e / (sum * sum)
    })
}

/// `ln(1 + exp(x))`
pub(super) fn softplus<T: Number>(x: T) -> T {
    x.increasing(|x| {
        let rest = (-x.magnitude()).exp().ln_1p();
        if x.is_negative() { rest } else { x + rest }
    })
}

/// The distribution function of the normal distribution, with all digits in the tail.
pub(super) fn normal<T: Number>(x: T) -> T {
    T::from(0.5) * (T::near(-std::f64::consts::FRAC_1_SQRT_2) * x).erfc()
}
