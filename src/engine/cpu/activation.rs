//! Elementwise activations and their first two derivatives.

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::Activation;

use super::CpuTensor;
use super::arithmetic::SERIAL;

pub(super) fn activate<S: Scalar>(activation: Activation, order: u8, x: &CpuTensor<S>) -> CpuTensor<S> {
    let (zero, one, two, half) = (S::zero(), S::one(), S::of(2.0), S::of(0.5));
    // At a kink the derivative is that of the side below. Comparisons are written so that NaN passes through.
    match activation {
        Activation::Relu => match order {
            0 => map(x, |x| if x <= zero { zero } else { x }),
            1 => map(x, |x| if x <= zero { zero } else { one }),
            _ => map(x, |_| zero),
        },
        Activation::LeakyRelu { slope } => {
            let slope = S::of(slope);
            match order {
                0 => map(x, |x| if x <= zero { slope * x } else { x }),
                1 => map(x, |x| if x <= zero { slope } else { one }),
                _ => map(x, |_| zero),
            }
        }
        Activation::Clip { low, high } => {
            let (low, high) = (S::of(low), S::of(high));
            match order {
                0 => map(x, |x| {
                    if x <= low {
                        low
                    } else if x > high {
                        high
                    } else {
                        x
                    }
                }),
                1 => map(x, |x| if x <= low || x > high { zero } else { one }),
                _ => map(x, |_| zero),
            }
        }
        Activation::Sigmoid => match order {
            0 => map(x, sigmoid),
            1 => map(x, sigmoid_slope),
            _ => map(x, |x| sigmoid_slope(x) * (one - two * sigmoid(x))),
        },
        Activation::Tanh => match order {
            0 => map(x, |x| x.tanh()),
            1 => map(x, sech_squared),
            _ => map(x, |x| -two * x.tanh() * sech_squared(x)),
        },
        Activation::Softplus => match order {
            0 => map(x, |x| x.max(zero) + (-x.abs()).exp().ln_1p()),
            1 => map(x, sigmoid),
            _ => map(x, sigmoid_slope),
        },
        Activation::Gelu => {
            let density = |x: S| {
                (-half * x * x).exp()
                    * S::of(0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2)
            };
            let distribution = |x: S| half * (one + (x * S::of(std::f64::consts::FRAC_1_SQRT_2)).erf());
            match order {
                0 => map(x, |x| x * distribution(x)),
                1 => map(x, |x| distribution(x) + x * density(x)),
                _ => map(x, |x| density(x) * (two - x * x)),
            }
        }
        Activation::GeluTanh => {
            let (scale, cubic) =
                (S::of(std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2), S::of(0.044715));
            let three = S::of(3.0);
            // The inner function u and its first two derivatives.
            let inner = |x: S| scale * (x + cubic * x * x * x);
            let inner_slope = |x: S| scale * (one + three * cubic * x * x);
            let inner_bend = |x: S| scale * S::of(6.0) * cubic * x;
            match order {
                0 => map(x, |x| half * x * (one + inner(x).tanh())),
                1 => map(x, |x| {
                    let u = inner(x);
                    half * (one + u.tanh()) + half * x * sech_squared(u) * inner_slope(x)
                }),
                _ => map(x, |x| {
                    let (u, slope) = (inner(x), inner_slope(x));
                    sech_squared(u) * (slope + half * x * (inner_bend(x) - two * u.tanh() * slope * slope))
                }),
            }
        }
        Activation::Power { exponent } => {
            let power = |x: S, e: f64| if e == 2.0 { x * x } else { x.powf(S::of(e)) };
            match order {
                0 => map(x, |x| power(x, exponent)),
                1 => map(x, |x| S::of(exponent) * power(x, exponent - 1.0)),
                _ => map(x, |x| S::of(exponent * (exponent - 1.0)) * power(x, exponent - 2.0)),
            }
        }
        Activation::Silu => match order {
            0 => map(x, |x| x * sigmoid(x)),
            1 => map(x, |x| sigmoid(x) + x * sigmoid_slope(x)),
            _ => map(x, |x| sigmoid_slope(x) * (two + x * (one - two * sigmoid(x)))),
        },
    }
}

/// Without overflow on either side: `exp` of large numbers only ever divides.
fn sigmoid<S: Scalar>(x: S) -> S {
    S::one() / (S::one() + (-x).exp())
}

fn sigmoid_slope<S: Scalar>(x: S) -> S {
    sigmoid(x) * sigmoid(-x)
}

/// `1 - tanh(x)^2`, without its cancellation.
fn sech_squared<S: Scalar>(x: S) -> S {
    let inverse = x.cosh().recip();
    inverse * inverse
}

fn map<S: Scalar>(x: &CpuTensor<S>, f: impl Fn(S) -> S + Sync) -> CpuTensor<S> {
    let mut values = vec![S::zero(); x.len()];
    values.par_chunks_mut(SERIAL).zip(x.values().par_chunks(SERIAL)).for_each(|(y, x)| {
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x));
    });
    CpuTensor::of(x.shape(), values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tolerance::{APPROXIMATE, CLOSE, relative_difference};

    const ALL: [Activation; 9] = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.03 },
        Activation::Clip { low: -0.5, high: 1.5 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Softplus,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
    ];

    /// Points away from every kink by more than the step of the differences.
    fn grid() -> Vec<f64> {
        (0..400).map(|i| -8.0 + 0.0401 * f64::from(i)).collect()
    }

    fn at(activation: Activation, order: u8, x: &[f64]) -> Vec<f64> {
        activate(activation, order, &CpuTensor::of([x.len()], x.to_vec())).values().to_vec()
    }

    #[test]
    fn derivatives_equal_central_differences() {
        let step = 1e-5;
        let moved = |by: f64| grid().iter().map(|x| x + by).collect::<Vec<_>>();
        for activation in ALL {
            for order in 0..2 {
                let (right, left) =
                    (at(activation, order, &moved(step)), at(activation, order, &moved(-step)));
                let difference = right.iter().zip(left).map(|(r, l)| (r - l) / (2.0 * step));
                let difference = relative_difference(at(activation, order + 1, &grid()), difference);
                assert!(difference < APPROXIMATE, "{activation:?}, derivative {}: {difference:e}", order + 1);
            }
        }
    }

    #[test]
    fn f32_equals_f64() {
        for activation in ALL {
            for order in 0..3 {
                let narrow: Vec<f32> = grid().iter().map(|&x| x as f32).collect();
                let y = activate(activation, order, &CpuTensor::of([narrow.len()], narrow.clone()));
                let wide: Vec<f64> = narrow.iter().map(|&x| f64::from(x)).collect();
                let difference = relative_difference(
                    y.values().iter().map(|&v| f64::from(v)),
                    at(activation, order, &wide),
                );
                assert!(difference < CLOSE, "{activation:?}, derivative {order}: {difference:e}");
            }
        }
    }

    #[test]
    fn kinks_take_the_side_below() {
        assert_eq!(at(Activation::Relu, 1, &[0.0, -0.0]), [0.0, 0.0]);
        assert_eq!(at(Activation::LeakyRelu { slope: 0.1 }, 1, &[0.0]), [0.1]);
        assert_eq!(at(Activation::Clip { low: 0.0, high: 6.0 }, 1, &[0.0, 6.0]), [0.0, 1.0]);
    }

    #[test]
    fn far_from_zero_nothing_overflows() {
        for activation in ALL {
            for order in 0..3 {
                let x: Vec<f32> = vec![-1e4, -200.0, 200.0, 1e4];
                let y = activate(activation, order, &CpuTensor::of([4], x));
                assert!(
                    y.values().iter().all(|v| v.is_finite()),
                    "{activation:?}, derivative {order}: {y:?}"
                );
            }
        }
        assert!(at(Activation::Relu, 0, &[f64::NAN])[0].is_nan(), "NaN must not be hidden");
    }
}
