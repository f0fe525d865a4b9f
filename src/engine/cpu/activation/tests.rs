//! The kernel against differences, series and the other width.

use super::*;
use crate::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};

const ALL: [Activation; 33] = [
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.03 },
    Activation::Clip { low: -0.5, high: 1.5 },
    Activation::Abs,
    Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Activation::HardSigmoid { alpha: -0.3, beta: 0.4 },
    Activation::HardSwish,
    Activation::Softsign,
    Activation::Elu { alpha: 1.0 },
    Activation::Elu { alpha: 0.7 },
    Activation::Selu { alpha: 1.673_263_2, gamma: 1.050_701 },
    Activation::Celu { alpha: 1.7 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Softplus,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Mish,
    Activation::Erf,
    Activation::Exp,
    Activation::Log,
    Activation::Sqrt,
    Activation::Power { exponent: -1.0 },
    Activation::Power { exponent: 0.0 },
    Activation::Power { exponent: 1.0 },
    Activation::Power { exponent: 2.0 },
    Activation::Power { exponent: 3.0 },
    Activation::Power { exponent: 5.0 },
    Activation::Power { exponent: -2.0 },
    Activation::Power { exponent: 1.3 },
    Activation::Sin,
    Activation::Cos,
];

/// Points of the domain, away from its ends, poles and every kink by more than the step of the differences.
fn grid(activation: Activation) -> Vec<f64> {
    let (low, high) = activation.domain();
    let pole = matches!(activation, Activation::Power { exponent } if exponent < 0.0);
    let inside = |x: &f64| low + 0.3 < *x && *x < high && (!pole || x.abs() > 0.3);
    (0..400).map(|i| -8.0 + 0.0401 * f64::from(i)).filter(inside).collect()
}

fn at<S: Scalar>(activation: Activation, order: u8, x: &[S]) -> Vec<f64> {
    let y = activate(activation, order, &CpuTensor::of([x.len()], x.to_vec()));
    y.values().iter().map(|v| v.f64()).collect()
}

#[test]
fn derivatives_equal_central_differences() {
    let step = 1e-5;
    for activation in ALL {
        let moved = |by: f64| grid(activation).iter().map(|x| x + by).collect::<Vec<_>>();
        for order in 0..2 {
            let (right, left) = (at(activation, order, &moved(step)), at(activation, order, &moved(-step)));
            let difference = right.iter().zip(left).map(|(r, l)| (r - l) / (2.0 * step));
            let difference = relative_difference(at(activation, order + 1, &grid(activation)), difference);
            assert!(difference < APPROXIMATE, "{activation:?}, derivative {}: {difference:e}", order + 1);
        }
    }
}

#[test]
fn f32_equals_f64() {
    for activation in ALL {
        for order in 0..3 {
            let narrow: Vec<f32> = grid(activation).iter().map(|&x| x as f32).collect();
            let wide: Vec<f64> = narrow.iter().map(|&x| f64::from(x)).collect();
            let difference =
                relative_difference(at(activation, order, &narrow), at(activation, order, &wide));
            assert!(difference < CLOSE, "{activation:?}, derivative {order}: {difference:e}");
        }
    }
}

/// The kernel's formulas and the power series of the facts are two roads to the same numbers.
#[test]
fn f64_equals_the_series() {
    for activation in ALL {
        for order in 0..3 {
            let x = grid(activation);
            let series = x.iter().map(|&x| activation.derivative(order.into(), x));
            let difference = relative_difference(at(activation, order, &x), series);
            assert!(difference < EXACT, "{activation:?}, derivative {order}: {difference:e}");
        }
    }
}

#[test]
fn kinks_take_the_side_below() {
    let slopes = |activation, x: &[f64]| at(activation, 1, x);
    assert_eq!(slopes(Activation::Relu, &[0.0, -0.0]), [0.0, 0.0]);
    assert_eq!(slopes(Activation::LeakyRelu { slope: 0.1 }, &[0.0]), [0.1]);
    assert_eq!(slopes(Activation::Clip { low: 0.0, high: 6.0 }, &[0.0, 6.0]), [0.0, 1.0]);
    assert_eq!(slopes(Activation::Abs, &[0.0, -0.0]), [-1.0, -1.0]);
    assert_eq!(slopes(Activation::HardSigmoid { alpha: 0.25, beta: 0.5 }, &[-2.0, 2.0]), [0.0, 0.25]);
    assert_eq!(slopes(Activation::HardSigmoid { alpha: -0.25, beta: 0.5 }, &[-2.0, 2.0]), [0.0, -0.25]);
    assert_eq!(slopes(Activation::HardSwish, &[-3.0, 3.0]), [0.0, 1.5]);
    assert_eq!(slopes(Activation::Elu { alpha: 0.5 }, &[0.0]), [0.5]);
    assert_eq!(slopes(Activation::Selu { alpha: 2.0, gamma: 1.5 }, &[0.0]), [3.0]);
    assert_eq!(at(Activation::Softsign, 2, &[0.0, 1e-300]), [2.0, -2.0]);
    assert_eq!(at(Activation::Elu { alpha: 1.0 }, 2, &[0.0]), [1.0]);
}

#[test]
fn far_from_zero_nothing_overflows() {
    for activation in ALL {
        // What is infinite far out is so in truth.
        let grows = matches!(activation, Activation::Exp | Activation::Power { .. });
        for order in 0..3 {
            let outside = |x: f64| x < activation.domain().0;
            let far = [-1e18, -1e4, -200.0, -90.0, 90.0, 200.0, 1e4, 1e18];
            let x: Vec<f32> = far.into_iter().filter(|&x| !outside(x)).map(|x| x as f32).collect();
            let wide: Vec<f64> = [-1e150, 1e150].into_iter().filter(|&x| !outside(x)).collect();
            let y = [at(activation, order, &x), at(activation, order, &wide)].concat();
            assert!(
                y.iter().all(|v| if grows { !v.is_nan() } else { v.is_finite() }),
                "{activation:?}, {order}: {y:?}"
            );
        }
    }
}

#[test]
fn nan_passes() {
    for activation in ALL {
        for order in 0..3 {
            assert!(at(activation, order, &[f32::NAN])[0].is_nan(), "{activation:?}, derivative {order}");
            assert!(at(activation, order, &[f64::NAN])[0].is_nan(), "{activation:?}, derivative {order}");
        }
    }
    for order in 0..3 {
        assert!(at(Activation::Log, order, &[-1.0])[0].is_nan(), "outside the domain");
        assert!(at(Activation::Sqrt, order, &[-1.0])[0].is_nan(), "outside the domain");
        assert!(at(Activation::Power { exponent: 0.3 }, order, &[-1.0])[0].is_nan(), "outside the domain");
    }
}

#[test]
fn an_element_has_the_same_bits_wherever_it_stands() {
    for activation in ALL {
        for order in 0..3 {
            let x: Vec<f32> = (0..SERIAL + 77).map(|i| (i as f32 * 0.37).sin() * 9.0).collect();
            let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let whole = bits(&at(activation, order, &x));
            for (start, length) in [(0, 1), (3, 5), (SERIAL - 4, 13), (SERIAL + 70, 7)] {
                let part = bits(&at(activation, order, &x[start..start + length]));
                assert_eq!(part, whole[start..start + length], "{activation:?}, derivative {order}");
            }
        }
    }
}
