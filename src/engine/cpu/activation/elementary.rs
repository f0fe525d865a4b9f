//! Elementary functions that a loop over `f32` vectorises, and those of the platform in `f64`.
//!
//! The `f32` ones have no branches and only operations that every instruction set rounds alike, so an element
//! has the same bits wherever it stands in its batch. All let NaN pass.

use std::f32::consts::{LOG2_E, SQRT_2};

use crate::Scalar;

/// What the formulas of activations are made of.
pub(super) trait Elementary: Scalar {
    /// `exp(x)`
    fn exponential(self) -> Self;

    /// `exp(x) - 1`, with all digits near 0.
    fn exponential_less_one(self) -> Self;

    /// `ln(1 + x)` for `x` in `[0, 1]`.
    fn log_of_one_plus(self) -> Self;

    /// `1 - Phi(x)` for `x >= 0`, with all digits in the tail, given `exp(-x^2 / 2)`.
    fn normal_tail(self, gauss: Self) -> Self;

    /// `erf(x)`
    fn error_function(self) -> Self;
}

impl Elementary for f64 {
    #[inline(always)]
    fn exponential(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn exponential_less_one(self) -> Self {
        self.exp_m1()
    }

    #[inline(always)]
    fn log_of_one_plus(self) -> Self {
        self.ln_1p()
    }

    #[inline(always)]
    fn normal_tail(self, _gauss: Self) -> Self {
        0.5 * libm::erfc(self * std::f64::consts::FRAC_1_SQRT_2)
    }

    #[inline(always)]
    fn error_function(self) -> Self {
        libm::erf(self)
    }
}

/// Adding it rounds to an integer, which is then in the low bits.
const SHIFT: f32 = 12_582_912.0;

/// `ln 2` in two parts, the first so short that its product with an exponent is exact (Cody & Waite 1980).
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

/// `(1 - Phi(x)) exp(x^2 / 2) = t P(t)` with `t = 1 / (1 + 0.25 x)`: the polynomial of least relative error (1e-8)
/// over `x` in `[0, 15]`, by Remez exchange; beyond 15 `exp(-x^2 / 2)` is 0 in `f32`.
const TAIL_SCALE: f32 = 0.25;
const TAIL: [f32; 10] = [
    0.099_744_99,
    0.099_546_336,
    0.095_089_68,
    0.073_902_3,
    0.081_368_595,
    0.022_210_976,
    0.017_387_282,
    0.059_691_206,
    -0.066_118_4,
    0.017_177_036,
];

/// `exp(x) = 2^k (1 + p)` with `|ln(1 + p)| <= ln(2) / 2`: the integer `k` and `p`.
#[inline(always)]
fn reduce(x: f32) -> (i32, f32) {
    let shifted = x * LOG2_E + SHIFT;
    let k = shifted - SHIFT;
    let r = (x - k * LN_2[0]) - k * LN_2[1];
    // The series of exp: the first term left out is below 6e-9 of the sum.
    let q = r * (1.0 / 5040.0) + 1.0 / 720.0;
    let q = r * q + 1.0 / 120.0;
    let q = r * q + 1.0 / 24.0;
    let q = r * q + 1.0 / 6.0;
    let q = r * q + 0.5;
    ((shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32), r + r * r * q)
}

/// `2^k` for `k` in `-126..=127`.
#[inline(always)]
fn power_of_two(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) as u32) << 23)
}

/// `x 2^k` in two steps, since `2^k` alone may leave the range where the product does not.
#[inline(always)]
fn scaled(x: f32, k: i32) -> f32 {
    let half = k >> 1;
    x * power_of_two(half) * power_of_two(k.wrapping_sub(half))
}

impl Elementary for f32 {
    #[inline(always)]
    fn exponential(self) -> Self {
        let (k, p) = reduce(limited(self, -104.0, 89.0));
        scaled(1.0 + p, k)
    }

    #[inline(always)]
    fn exponential_less_one(self) -> Self {
        // Reduced as above, so that a formula with both computes it once.
        let (k, p) = reduce(limited(self, -104.0, 89.0));
        let (scale, large) = (scaled(1.0, k), scaled(1.0 + p, k) - 1.0);
        let small = scale * p + (scale - 1.0);
        select(self > 1.0, large, small)
    }

    #[inline(always)]
    fn log_of_one_plus(self) -> Self {
        // The series of 2 artanh(s), s <= 1/3.
        let s = self / (2.0 + self);
        let z = s * s;
        let q = z * (1.0 / 15.0) + 1.0 / 13.0;
        let q = z * q + 1.0 / 11.0;
        let q = z * q + 1.0 / 9.0;
        let q = z * q + 1.0 / 7.0;
        let q = z * q + 1.0 / 5.0;
        let q = z * q + 1.0 / 3.0;
        2.0 * (s + s * z * q)
    }

    #[inline(always)]
    fn normal_tail(self, gauss: Self) -> Self {
        let t = 1.0 / (1.0 + TAIL_SCALE * self);
        // Written out: a loop over the coefficients would keep the one over elements from being vectorised.
        let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9] = TAIL;
        let p = ((((c9 * t + c8) * t + c7) * t + c6) * t + c5) * t + c4;
        let p = (((p * t + c3) * t + c2) * t + c1) * t + c0;
        gauss * t * p
    }

    #[inline(always)]
    fn error_function(self) -> Self {
        let (a, z) = (self.abs(), self * self);
        // The series: the first term left out is below 3e-8 of the sum.
        let q = z * (1.0 / 9360.0) - 1.0 / 1320.0;
        let q = z * q + 1.0 / 216.0;
        let q = z * q - 1.0 / 42.0;
        let q = z * q + 1.0 / 10.0;
        let q = z * q - 1.0 / 3.0;
        let near = std::f32::consts::FRAC_2_SQRT_PI * (self + self * z * q);
        let far = 1.0 - 2.0 * (SQRT_2 * a).normal_tail((-z).exponential());
        select(a < 0.5, near, far.copysign(self))
    }
}

/// `x` brought into `[low, high]`.
#[inline(always)]
pub(super) fn limited<S: Scalar>(x: S, low: S, high: S) -> S {
    let x = select(x < low, low, x);
    select(x > high, high, x)
}

/// `a` where `condition` is true, else `b`: never a jump, so that loops are vectorised whatever surrounds it.
#[inline(always)]
pub(super) fn select<S>(condition: bool, a: S, b: S) -> S {
    std::hint::select_unpredictable(condition, a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error of `f32` values, in units in the last place of the result.
    fn ulps(of: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let points = (0..200_000).map(|i| low + (high - low) * (i as f32 / 199_999.0));
        points.fold(0.0, |worst, x| {
            let truth = truth(f64::from(x));
            let ulp = f64::from((truth.abs() as f32).next_up() - truth.abs() as f32);
            worst.max((f64::from(of(x)) - truth).abs() / ulp)
        })
    }

    #[test]
    fn elementary_functions_are_a_few_ulp_from_the_truth() {
        let within = |name: &str, limit: f64, found: f64| {
            assert!(found <= limit, "{name}: {found} ulp, where {limit} are stated");
        };
        within("exp", 1.5, ulps(f32::exponential, f64::exp, -87.0, 88.7));
        within("exp - 1", 2.5, ulps(f32::exponential_less_one, f64::exp_m1, -20.0, 88.7));
        within("exp - 1 near 0", 2.0, ulps(f32::exponential_less_one, f64::exp_m1, -1e-3, 1e-3));
        within("ln(1 + x)", 2.5, ulps(f32::log_of_one_plus, f64::ln_1p, 1e-9, 1.0));
        within("erf", 3.0, ulps(f32::error_function, libm::erf, -6.0, 6.0));
        let tail = |x: f32| x.normal_tail((-0.5 * x * x).exponential());
        let truth = |x: f64| 0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2);
        // The square in the exponent is rounded, which counts twice the exponent.
        within("normal tail", 8.0, ulps(tail, truth, 0.0, 2.0));
    }

    #[test]
    fn the_ends_of_exp() {
        assert_eq!(0.0_f32.exponential(), 1.0);
        assert_eq!(f32::INFINITY.exponential(), f32::INFINITY);
        assert_eq!(89.0_f32.exponential(), f32::INFINITY);
        assert!(88.72_f32.exponential().is_finite(), "the largest result is not cut off");
        assert_eq!(f32::NEG_INFINITY.exponential(), 0.0);
        assert!((-100.0_f32).exponential() > 0.0, "gradual underflow");
        assert_eq!((-1e30_f32).exponential_less_one(), -1.0);
        assert!(f32::NAN.exponential().is_nan() && f32::NAN.error_function().is_nan());
    }
}
