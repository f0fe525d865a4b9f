//! Elementwise activations and their first two derivatives.
//!
//! The formulas stand once, over [`Elementary`]; all of them stay finite wherever the true value is.

mod elementary;
#[cfg(test)]
mod tests;

use std::any::TypeId;

use rayon::prelude::*;

use crate::Scalar;
use crate::activation::Activation;

use super::CpuTensor;
use super::arithmetic::SERIAL;
use super::wide::wide;
use elementary::{Elementary, limited, select};

/// Beyond it the bell curves under the derivatives of smooth activations are 0 in `f64` (and squares of it are
/// finite in `f32`).
const FAR: f64 = 40.0;

pub(super) fn activate<S: Scalar>(activation: Activation, order: u8, x: &CpuTensor<S>) -> CpuTensor<S> {
    let mut values = vec![S::zero(); x.len()];
    // The two types have elementary functions of their own, which `Scalar` does not know.
    if TypeId::of::<S>() == TypeId::of::<f32>() {
        spread::<f32>(
            activation,
            order,
            bytemuck::cast_slice(x.values()),
            bytemuck::cast_slice_mut(&mut values),
        );
    } else {
        spread::<f64>(
            activation,
            order,
            bytemuck::cast_slice(x.values()),
            bytemuck::cast_slice_mut(&mut values),
        );
    }
    CpuTensor::of(x.shape(), values)
}

/// `exp` of each element, in place.
pub(super) fn exponentials<S: Scalar>(values: &mut [S]) {
    if TypeId::of::<S>() == TypeId::of::<f32>() {
        exponentials_of::<f32>(bytemuck::cast_slice_mut(values));
    } else {
        exponentials_of::<f64>(bytemuck::cast_slice_mut(values));
    }
}

fn exponentials_of<S: Elementary>(values: &mut [S]) {
    wide(
        pulp::Arch::new(),
        #[inline(always)]
        || values.iter_mut().for_each(|v| *v = v.exponential()),
    );
}

fn spread<S: Elementary>(activation: Activation, order: u8, x: &[S], y: &mut [S]) {
    if x.len() <= SERIAL {
        evaluate(activation, Loop { order, x, y });
    } else {
        y.par_chunks_mut(SERIAL)
            .zip(x.par_chunks(SERIAL))
            .for_each(|(y, x)| evaluate(activation, Loop { order, x, y }));
    }
}

/// One pass over a chunk.
struct Loop<'a, S> {
    order: u8,
    x: &'a [S],
    y: &'a mut [S],
}

impl<S: Elementary> Loop<'_, S> {
    /// Applies the one of three functions that the order asks for: value, first and second derivative.
    fn of(self, value: impl Fn(S) -> S, slope: impl Fn(S) -> S, bend: impl Fn(S) -> S) {
        match self.order {
            0 => self.run(value),
            1 => self.run(slope),
            _ => self.run(bend),
        }
    }

    fn run(self, f: impl Fn(S) -> S) {
        let Self { x, y, .. } = self;
        // One compiled copy of the loop for each instruction set, chosen by the processor at hand.
        wide(
            pulp::Arch::new(),
            #[inline(always)]
            move || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = f(x);
                }
            },
        );
    }
}

/// Long formulas are functions of their own, which are always inlined; a loop that calls one is not vectorised.
/// Closures own what they capture: a reference could point into the output, which would keep loops from being
/// vectorised. Comparisons are written so that the derivative at a kink is that of the side below, and NaN passes through.
fn evaluate<S: Elementary>(activation: Activation, over: Loop<'_, S>) {
    let (zero, one, two, half) = (S::zero(), S::one(), S::of(2.0), S::of(0.5));
    match activation {
        Activation::Relu => {
            over.of(move |x| if x <= zero { zero } else { x }, move |x| step(x, zero, one), flat)
        }
        Activation::LeakyRelu { slope } => {
            let slope = S::of(slope);
            over.of(move |x| if x <= zero { slope * x } else { x }, move |x| step(x, slope, one), flat);
        }
        Activation::Clip { low, high } => {
            let (low, high) = (S::of(low), S::of(high));
            let slope = move |x| if x <= low || x > high { zero } else { one + flat(x) };
            over.of(move |x| limited(x, low, high), slope, flat);
        }
        Activation::Abs => over.of(move |x| x.abs(), move |x| step(x, -one, one), flat),
        Activation::HardSigmoid { alpha, beta } => {
            let (alpha, beta) = (S::of(alpha), S::of(beta));
            // The side below a kink is where `y` is smaller or larger, as `alpha` has it.
            let slope = move |x: S| {
                let y = alpha * x + beta;
                let y = if alpha < zero { one - y } else { y };
                if y <= zero || y > one { zero } else { alpha + flat(x) }
            };
            over.of(move |x| limited(alpha * x + beta, zero, one), slope, flat);
        }
        Activation::HardSwish => {
            let (three, sixth) = (S::of(3.0), S::of(1.0 / 6.0));
            let piece = move |x: S, below: S, between: S, above: S| {
                if x <= -three {
                    below
                } else if x > three {
                    above
                } else {
                    between
                }
            };
            over.of(
                move |x| piece(x, zero, x * (x * sixth + half), x),
                move |x| piece(x, zero, two * x * sixth + half, one),
                move |x| piece(x, zero, two * sixth + flat(x), zero),
            );
        }
        Activation::Softsign => over.of(
            move |x| x / (one + x.abs()),
            move |x| {
                let r = (one + x.abs()).recip();
                r * r
            },
            move |x| {
                let r = (one + x.abs()).recip();
                step(x, two, -two) * r * r * r
            },
        ),
        Activation::Elu { alpha } => exponential(over, S::of(alpha), one, one),
        Activation::Selu { alpha, gamma } => exponential(over, S::of(gamma * alpha), one, S::of(gamma)),
        Activation::Celu { alpha } => exponential(over, S::of(alpha), S::of(alpha), one),
        Activation::Sigmoid => over.of(sigmoid, sigmoid_slope, sigmoid_bend),
        Activation::Tanh => over.of(
            move |x| half_tanh(two * x),
            move |x| S::of(4.0) * sigmoid_slope(two * x),
            move |x| S::of(8.0) * sigmoid_bend(two * x),
        ),
        Activation::Softplus => over.of(softplus, sigmoid, sigmoid_slope),
        Activation::Silu => over.of(
            move |x| x * sigmoid(x),
            move |x| sigmoid(x) + x * sigmoid_slope(x),
            move |x| sigmoid_slope(x) * (two - x * half_tanh(x)),
        ),
        Activation::Gelu => over.of(gelu, gelu_slope, gelu_bend),
        Activation::GeluTanh => over.of(gelu_tanh, gelu_tanh_slope, gelu_tanh_bend),
        Activation::Mish => over.of(mish, mish_slope, mish_bend),
        Activation::Erf => over.of(S::error_function, erf_slope, erf_bend),
        Activation::Exp => over.of(S::exponential, S::exponential, S::exponential),
        Activation::Log => over.of(
            move |x| x.ln(),
            move |x| if x < zero { S::nan() } else { x.recip() },
            move |x| if x < zero { S::nan() } else { -(x.recip() / x) },
        ),
        Activation::Sqrt => {
            over.of(move |x| x.sqrt(), move |x| half / x.sqrt(), move |x| S::of(-0.25) / x.sqrt() / x);
        }
        Activation::Power { exponent } => {
            let (first, second) = (exponent, exponent * (exponent - 1.0));
            match over.order {
                0 => power(over, 1.0, exponent),
                1 => power(over, first, exponent - 1.0),
                _ => power(over, second, exponent - 2.0),
            }
        }
        Activation::Sin => over.of(move |x| x.sin(), move |x| x.cos(), move |x| -x.sin()),
        Activation::Cos => over.of(move |x| x.cos(), move |x| -x.sin(), move |x| -x.cos()),
    }
}

/// `below` up to 0, `above` after it.
#[inline(always)]
fn step<S: Scalar>(x: S, below: S, above: S) -> S {
    if x <= S::zero() {
        below
    } else if x > S::zero() {
        above
    } else {
        x
    }
}

/// 0, unless `x` is NaN.
#[inline(always)]
fn flat<S: Scalar>(x: S) -> S {
    if x.is_nan() { x } else { S::zero() }
}

/// `x` where [`FAR`] is no limit to it.
#[inline(always)]
fn near<S: Scalar>(x: S) -> S {
    limited(x, S::of(-FAR), S::of(FAR))
}

/// `scale (exp(x / shape) - 1)` below 0, `slope x` above.
fn exponential<S: Elementary>(over: Loop<'_, S>, scale: S, shape: S, slope: S) {
    let zero = S::zero();
    over.of(
        move |x| if x > zero { slope * x } else { scale * (x / shape).exponential_less_one() },
        move |x| if x > zero { slope } else { scale / shape * (x / shape).exponential() },
        move |x| if x > zero { zero } else { scale / shape / shape * (x / shape).exponential() },
    );
}

/// `coefficient * x^exponent`; small integers, which are most, by products.
fn power<S: Elementary>(over: Loop<'_, S>, coefficient: f64, exponent: f64) {
    let c = S::of(coefficient);
    if coefficient == 0.0 {
        over.run(flat);
    } else if exponent == 0.0 {
        over.run(move |x| c + flat(x));
    } else if exponent == 1.0 {
        over.run(move |x| c * x);
    } else if exponent == 2.0 {
        over.run(move |x| c * x * x);
    } else if exponent == 3.0 {
        over.run(move |x| c * x * x * x);
    } else if exponent == -1.0 {
        over.run(move |x| c / x);
    } else if exponent == -2.0 {
        over.run(move |x| c / x / x);
    } else if exponent == -3.0 {
        over.run(move |x| c / x / x / x);
    } else {
        let exponent = S::of(exponent);
        over.run(move |x| c * x.powf(exponent));
    }
}

/// `1 / (1 + exp(-x))`; the exponential is never of a positive number.
#[inline(always)]
fn sigmoid<S: Elementary>(x: S) -> S {
    let e = (-x.abs()).exponential();
    select(x < S::zero(), e, S::one()) / (S::one() + e)
}

/// `s (1 - s)`, with all digits in the tails.
#[inline(always)]
fn sigmoid_slope<S: Elementary>(x: S) -> S {
    let e = (-x.abs()).exponential();
    let r = (S::one() + e).recip();
    e * r * r
}

/// `s (1 - s) (1 - 2 s)`
#[inline(always)]
fn sigmoid_bend<S: Elementary>(x: S) -> S {
    -sigmoid_slope(x) * half_tanh(x)
}

/// `tanh(x / 2)`, with all digits near 0.
#[inline(always)]
fn half_tanh<S: Elementary>(x: S) -> S {
    let m = (-x.abs()).exponential_less_one();
    let t = m / (S::of(2.0) + m);
    select(x < S::zero(), t, -t)
}

/// Distribution function and density of the normal distribution.
#[inline(always)]
fn normal<S: Elementary>(x: S) -> (S, S) {
    let gauss = (S::of(-0.5) * x * x).exponential();
    let tail = x.abs().normal_tail(gauss);
    let scale = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    (select(x < S::zero(), tail, S::one() - tail), S::of(scale) * gauss)
}

/// `2 sqrt(2 / pi) (x + 0.044715 x^3)` and its first two derivatives: GELU with tanh is `x sigmoid` of it.
#[inline(always)]
fn gelu_inner<S: Scalar>(x: S) -> [S; 3] {
    let scale = 2.0 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    let (scale, cubic) = (S::of(scale), S::of(0.044715 * scale));
    [x * (scale + cubic * x * x), scale + S::of(3.0) * cubic * x * x, S::of(6.0) * cubic * x]
}

/// `tanh(softplus(x))` and its first two derivatives, as fractions in `exp(-|x|)`.
#[inline(always)]
fn mish_gate<S: Elementary>(x: S) -> [S; 3] {
    let (one, two) = (S::one(), S::of(2.0));
    let e = (-x.abs()).exponential();
    let below = x < S::zero();
    // tanh(ln(1 + exp(x))) is ((1 + exp(x))^2 - 1) / ((1 + exp(x))^2 + 1), here n / (n + h).
    let n = select(below, e * (e + two), one + two * e);
    let h = select(below, two, two * e * e);
    let r = (n + h).recip();
    let (gate, rest) = (n * r, h * (n + n + h) * r * r);
    let s = select(below, e, one) / (one + e);
    let slope = sigmoid_slope(x);
    [gate, rest * s, rest * (slope - two * gate * s * s)]
}

/// `ln(1 + exp(x))`
#[inline(always)]
fn softplus<S: Elementary>(x: S) -> S {
    select(x > S::zero(), x, S::zero()) + (-x.abs()).exponential().log_of_one_plus()
}

#[inline(always)]
fn gelu<S: Elementary>(x: S) -> S {
    x * normal(near(x)).0
}

#[inline(always)]
fn gelu_slope<S: Elementary>(x: S) -> S {
    let x = near(x);
    let (distribution, density) = normal(x);
    distribution + x * density
}

#[inline(always)]
fn gelu_bend<S: Elementary>(x: S) -> S {
    let x = near(x);
    normal(x).1 * (S::of(2.0) - x * x)
}

#[inline(always)]
fn gelu_tanh<S: Elementary>(x: S) -> S {
    x * sigmoid(gelu_inner(x)[0])
}

#[inline(always)]
fn gelu_tanh_slope<S: Elementary>(x: S) -> S {
    let x = near(x);
    let [v, slope, _] = gelu_inner(x);
    sigmoid(v) + x * sigmoid_slope(v) * slope
}

#[inline(always)]
fn gelu_tanh_bend<S: Elementary>(x: S) -> S {
    let x = near(x);
    let [v, slope, bend] = gelu_inner(x);
    sigmoid_slope(v) * (S::of(2.0) * slope + x * (bend - half_tanh(v) * slope * slope))
}

#[inline(always)]
fn mish<S: Elementary>(x: S) -> S {
    x * mish_gate(x)[0]
}

#[inline(always)]
fn mish_slope<S: Elementary>(x: S) -> S {
    let [gate, slope, _] = mish_gate(x);
    gate + x * slope
}

#[inline(always)]
fn mish_bend<S: Elementary>(x: S) -> S {
    let [_, slope, bend] = mish_gate(x);
    S::of(2.0) * slope + x * bend
}

/// `2 / sqrt(pi) exp(-x^2)`
#[inline(always)]
fn erf_slope<S: Elementary>(x: S) -> S {
    let x = near(x);
    S::of(std::f64::consts::FRAC_2_SQRT_PI) * (-x * x).exponential()
}

#[inline(always)]
fn erf_bend<S: Elementary>(x: S) -> S {
    S::of(-2.0) * near(x) * erf_slope(x)
}
