//! Series in exact arithmetic, by other roads than the library's.

use std::ops::{Add, Mul};

/// A fraction in lowest terms; overflow panics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fraction(i128, i128);

impl Fraction {
    pub(crate) fn new(numerator: i128, denominator: i128) -> Self {
        assert!(denominator != 0);
        let (mut a, mut b) = (numerator, denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = if (denominator < 0) == (a < 0) { a } else { -a };
        Self(numerator / divisor, denominator / divisor)
    }

    pub(crate) fn value(self) -> f64 {
        self.0 as f64 / self.1 as f64
    }
}

impl Add for Fraction {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let product = |a: i128, b: i128| a.checked_mul(b).unwrap();
        let top = product(self.0, other.1).checked_add(product(other.0, self.1)).unwrap();
        Self::new(top, product(self.1, other.1))
    }
}

impl Mul for Fraction {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        // Crosswise first, so that less overflows.
        let (a, b) = (Self::new(self.0, other.1), Self::new(other.0, self.1));
        Self::new(a.0.checked_mul(b.0).unwrap(), a.1.checked_mul(b.1).unwrap())
    }
}

pub(crate) fn factorial(n: usize) -> i128 {
    (1..=n as i128).product()
}

/// `p (p - 1) .. (p - n + 1) / n!`
pub(crate) fn binomial(p: Fraction, n: usize) -> Fraction {
    (0..n as i128).fold(Fraction::new(1, 1), |product, k| {
        product * (p + Fraction::new(-k, 1)) * Fraction::new(1, k + 1)
    })
}

/// `tanh(x) = sum of 4^k (4^k - 1) B_2k / (2k)! x^(2k - 1)`, with Bernoulli's numbers.
pub(crate) fn tanh(order: usize) -> Vec<Fraction> {
    let one = Fraction::new(1, 1);
    let mut bernoulli: Vec<Fraction> = vec![one];
    for n in 1..=order + 1 {
        let choose = |k: usize| binomial(Fraction::new(n as i128 + 1, 1), k);
        let sum = (0..n).fold(Fraction::new(0, 1), |sum, k| sum + choose(k) * bernoulli[k]);
        bernoulli.push(sum * Fraction::new(-1, n as i128 + 1));
    }
    let coefficient = |n: usize| {
        let four = 1_i128 << (n + 1);
        if n.is_multiple_of(2) {
            Fraction::new(0, 1)
        } else {
            Fraction::new(four * (four - 1), factorial(n + 1)) * bernoulli[n + 1]
        }
    };
    (0..=order).map(coefficient).collect()
}

/// `tanh(ln(1 + exp(x))) = (e^2 + 2 e) / (e^2 + 2 e + 2)` with `e = exp(x)`, by long division.
pub(crate) fn mish_gate(order: usize) -> Vec<Fraction> {
    let top: Vec<Fraction> = (0..=order).map(|n| Fraction::new((1 << n) + 2, factorial(n))).collect();
    let mut quotient: Vec<Fraction> = vec![];
    for n in 0..=order {
        let known = (1..=n).fold(top[n], |rest, k| rest + Fraction::new(-1, 1) * top[k] * quotient[n - k]);
        quotient.push(known * Fraction::new(1, 5));
    }
    quotient
}
