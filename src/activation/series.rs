//! Truncated power series: recurrences for the coefficients of a function of a series, each of quadratic cost in
//! the order (Moore 1966; Griewank & Walther 2008, chapter 13).

use std::ops::{Add, Div, Mul};

use super::number::{Number, logistic, normal, sech_squared, softplus};

/// The coefficients `c_0, .., c_order` of `sum of c_n t^n`.
#[derive(Debug, Clone)]
pub(super) struct Series<T>(Vec<T>);

impl<T: Number> Series<T> {
    /// `center + t`
    pub(super) fn variable(center: T, order: usize) -> Self {
        Self::from_fn(order, |n| match n {
            0 => center,
            1 => T::from(1.0),
            _ => T::from(0.0),
        })
    }

    /// A series by its coefficients.
    pub(super) fn from_fn(order: usize, coefficient: impl FnMut(usize) -> T) -> Self {
        Self((0..=order).map(coefficient).collect())
    }

    /// The coefficients, as many as the order and one.
    pub(super) fn into_coefficients(self) -> Vec<T> {
        self.0
    }

    /// The highest power.
    pub(super) fn order(&self) -> usize {
        self.0.len() - 1
    }

    /// The same with another constant term.
    pub(super) fn with_value(mut self, value: T) -> Self {
        self.0[0] = value;
        self
    }

    /// Every coefficient times a number.
    pub(super) fn scaled(&self, factor: T) -> Self {
        Self(self.0.iter().map(|&c| factor * c).collect())
    }

    /// Coefficient `n` of the product of `self` and `other`, of which only terms up to `n` are needed.
    fn product_term(&self, other: &[T], n: usize) -> T {
        (0..=n).fold(T::from(0.0), |sum, k| sum + self.0[k] * other[n - k])
    }

    /// `self / other`, coefficient by coefficient as long division has it.
    fn quotient(&self, other: &Self) -> Self {
        let mut q: Vec<T> = vec![];
        for n in 0..=self.order() {
            let known = (1..=n).fold(self.0[n], |rest, k| rest - other.0[k] * q[n - k]);
            q.push(known / other.0[0]);
        }
        Self(q)
    }

    /// Coefficient `n >= 1` of a function of `self` from the series `outer` of the function's derivative at `self`,
    /// up to `n - 1`: the chain rule, `n y_n = sum of k u_k g_(n - k)`.
    fn chain_term(&self, outer: &[T], n: usize) -> T {
        let sum = (1..=n).fold(T::from(0.0), |sum, k| sum + T::from(k as f64) * self.0[k] * outer[n - k]);
        sum / T::from(n as f64)
    }

    /// A function of `self` from its value and the series of its derivative at `self`.
    fn chain(&self, value: T, outer: &Self) -> Self {
        Self::from_fn(self.order(), |n| if n == 0 { value } else { self.chain_term(&outer.0, n) })
    }

    /// `exp(u)`
    pub(super) fn exp(&self) -> Self {
        let mut y = vec![self.0[0].exp()];
        for n in 1..=self.order() {
            y.push(self.chain_term(&y, n));
        }
        Self(y)
    }

    /// `ln(u)`
    pub(super) fn ln(&self) -> Self {
        let one = Self::from_fn(self.order(), |n| T::from(if n == 0 { 1.0 } else { 0.0 }));
        self.chain(self.0[0].ln(), &(&one / self))
    }

    /// `tanh(u)`, of which the derivative is `1 - tanh(u)^2`.
    pub(super) fn tanh(&self) -> Self {
        let mut y = Self(vec![self.0[0].tanh()]);
        let mut slope = vec![sech_squared(self.0[0])];
        for n in 1..=self.order() {
            y.0.push(self.chain_term(&slope, n));
            slope.push(-y.product_term(&y.0, n));
        }
        y
    }

    /// `1 / (1 + exp(-u))`, which is `(1 + tanh(u / 2)) / 2`.
    pub(super) fn logistic(&self) -> Self {
        let half = T::from(0.5);
        self.scaled(half).tanh().scaled(half).with_value(logistic(self.0[0]))
    }

    /// `ln(1 + exp(u))`
    pub(super) fn softplus(&self) -> Self {
        self.chain(softplus(self.0[0]), &self.logistic())
    }

    /// `erf(u)`
    pub(super) fn erf(&self) -> Self {
        let bell = (self * self).scaled(T::from(-1.0)).exp();
        self.chain(self.0[0].erf(), &bell.scaled(T::near(std::f64::consts::FRAC_2_SQRT_PI)))
    }

    /// The distribution function of the normal distribution.
    pub(super) fn normal(&self) -> Self {
        let bell = (self * self).scaled(T::from(-0.5)).exp();
        let scale = T::near(std::f64::consts::FRAC_2_SQRT_PI) * T::near(std::f64::consts::FRAC_1_SQRT_2);
        self.chain(normal(self.0[0]), &bell.scaled(T::from(0.5) * scale))
    }

    /// `sin(u)` and `cos(u)`
    pub(super) fn sin_cos(&self) -> (Self, Self) {
        let (mut sin, mut cos) = (vec![self.0[0].sin()], vec![self.0[0].cos()]);
        for n in 1..=self.order() {
            let (s, c) = (self.chain_term(&cos, n), -self.chain_term(&sin, n));
            sin.push(s);
            cos.push(c);
        }
        (Self(sin), Self(cos))
    }

    /// `(center + t)^exponent`, by the binomial series: it is finite where it ends and right at 0 for integers.
    pub(super) fn power(center: T, exponent: f64, order: usize) -> Self {
        let mut binomial = T::from(1.0);
        Self::from_fn(order, |n| {
            if n > 0 {
                let factor = T::from(exponent) - T::from((n - 1) as f64);
                binomial = binomial * factor / T::from(n as f64);
            }
            let ended = exponent >= 0.0 && exponent.fract() == 0.0 && n as f64 > exponent;
            if ended { T::from(0.0) } else { binomial * center.pow(exponent, n) }
        })
    }
}

impl<T: Number> Add for &Series<T> {
    type Output = Series<T>;

    fn add(self, other: Self) -> Series<T> {
        Series::from_fn(self.order(), |n| self.0[n] + other.0[n])
    }
}

impl<T: Number> Mul for &Series<T> {
    type Output = Series<T>;

    fn mul(self, other: Self) -> Series<T> {
        Series::from_fn(self.order(), |n| self.product_term(&other.0, n))
    }
}

impl<T: Number> Div for &Series<T> {
    type Output = Series<T>;

    fn div(self, other: Self) -> Series<T> {
        self.quotient(other)
    }
}
