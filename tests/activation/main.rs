//! What is known of activations: ranges, series, pieces and splits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod rational;
mod splits;

use fenchel::activation::Activation;
use fenchel::tolerance::{EXACT, relative_difference};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use rational::{Fraction, factorial};

const INFINITY: f64 = f64::INFINITY;

/// Of the series that are compared in exact arithmetic.
const ORDER: usize = 16;

const ALL: [Activation; 32] = [
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.2 },
    Activation::Clip { low: -0.5, high: 1.5 },
    Activation::Clip { low: 0.0, high: INFINITY },
    Activation::Abs,
    Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Activation::HardSigmoid { alpha: -0.3, beta: 0.4 },
    Activation::HardSwish,
    Activation::Softsign,
    Activation::Elu { alpha: 1.0 },
    Activation::Elu { alpha: 0.7 },
    Activation::Selu { alpha: 1.673_263_2, gamma: 1.050_701 },
    Activation::Celu { alpha: 49.0 },
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
    Activation::Power { exponent: 2.0 },
    Activation::Power { exponent: 3.0 },
    Activation::Power { exponent: 4.0 },
    Activation::Power { exponent: -2.0 },
    Activation::Power { exponent: 1.3 },
    Activation::Sin,
    Activation::Cos,
];

fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A box of the domain, without poles.
fn random_box(rng: &mut ChaCha8Rng, activation: Activation, reach: f64) -> (f64, f64) {
    let (first, _) = activation.domain();
    let scale = reach * 10.0_f64.powf(rng.random_range(-9.0..0.0));
    let pole = matches!(activation, Activation::Power { exponent } if exponent < 0.0);
    let low =
        if first == 0.0 || pole { rng.random_range(0.01..reach) } else { rng.random_range(-reach..reach) };
    (low, low + scale)
}

#[test]
fn ranges_hold_every_value() {
    let mut rng = generator(1);
    for activation in ALL {
        for order in 0..3 {
            for reach in [3.0, 30.0, 1e3, 1e200] {
                for _ in 0..40 {
                    let (low, high) = random_box(&mut rng, activation, reach);
                    let (least, most) = activation.range(order, low, high);
                    for _ in 0..60 {
                        let x = (low + (high - low) * rng.random_range(0.0..1.0)).clamp(low, high);
                        // The true value is in both enclosures.
                        let (a, b) = activation.range(order, x, x);
                        assert!(
                            b >= least && a <= most,
                            "{activation:?}, {order} at {x} of [{low}, {high}]: [{a}, {b}] apart from [{least}, {most}]"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn ranges_of_points_are_narrow_and_right() {
    let mut rng = generator(2);
    for activation in ALL {
        for order in 0..3 {
            for _ in 0..2000 {
                let (x, _) = random_box(&mut rng, activation, 30.0);
                let (least, most) = activation.range(order, x, x);
                let value = activation.derivative(order.into(), x);
                let margin = EXACT * value.abs().max(1.0);
                assert!(
                    least - margin <= value && value <= most + margin && most - least <= margin,
                    "{activation:?}, {order} at {x}: {value} and [{least}, {most}]"
                );
            }
        }
    }
}

/// The largest value of a function near the best of a grid.
fn largest(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let count = 400;
    let step = (high - low) / f64::from(count);
    let grid = (0..=count).map(|i| if i == count { high } else { low + step * f64::from(i) });
    let best = grid.max_by(|&a, &b| f(a).total_cmp(&f(b))).unwrap();
    let (mut a, mut b) = ((best - step).max(low), (best + step).min(high));
    for _ in 0..80 {
        let (c, d) = (a + (b - a) / 3.0, b - (b - a) / 3.0);
        if f(c) < f(d) { a = c } else { b = d }
    }
    f(best).max(f(a)).max(f(b))
}

#[test]
fn ranges_are_tight() {
    let mut rng = generator(3);
    for activation in ALL {
        for order in 0..3 {
            for _ in 0..25 {
                let (low, _) = random_box(&mut rng, activation, 6.0);
                let high = low + rng.random_range(0.01..6.0);
                let range = activation.range(order, low, high);
                if range == (-INFINITY, INFINITY) {
                    let kink = activation.kinks().into_iter().any(|k| low <= k && k <= high);
                    assert!(order == 2 && kink, "{activation:?} over [{low}, {high}]");
                    continue;
                }
                let f = |x: f64| activation.derivative(order.into(), x);
                // Where a derivative jumps the range holds limits too, which a point just above attains.
                let most = largest(low, high, f).max(jumps(activation, low, high, f));
                let least = -largest(low, high, |x| -f(x)).max(jumps(activation, low, high, |x| -f(x)));
                let scale = 1e-9 * least.abs().max(most.abs()).max(f64::MIN_POSITIVE);
                assert!(
                    (range.0 - least).abs() <= scale && (range.1 - most).abs() <= scale,
                    "{activation:?}, {order} over [{low}, {high}]: {range:?}, seen [{least}, {most}]"
                );
            }
        }
    }
}

fn jumps(activation: Activation, low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let softsign =
        matches!(activation, Activation::Softsign | Activation::Elu { .. } | Activation::Celu { .. });
    let joints = activation.kinks().into_iter().chain(softsign.then_some(0.0));
    joints.filter(|&k| low <= k && k <= high).map(|k| f(k.next_up()).max(f(k))).fold(-INFINITY, f64::max)
}

#[test]
fn ranges_at_the_edges() {
    let range = |a: Activation, order, low, high| a.range(order, low, high);
    let line = (-INFINITY, INFINITY);
    assert_eq!(range(Activation::Relu, 0, -1.0, 2.0), (0.0, 2.0));
    assert_eq!(range(Activation::Relu, 1, 0.0, 2.0), (0.0, 1.0));
    assert_eq!(range(Activation::Relu, 1, 0.5, INFINITY), (1.0, 1.0));
    assert_eq!(range(Activation::Relu, 2, 0.5, INFINITY), (0.0, 0.0));
    // The kink belongs to the side below.
    assert_eq!(range(Activation::Relu, 1, -1.0, 0.0), (0.0, 0.0));
    assert_eq!(range(Activation::Relu, 2, -1.0, 0.0), (0.0, 0.0));
    assert_eq!(range(Activation::Abs, 1, -1.0, 0.0), (-1.0, -1.0));
    assert_eq!(range(Activation::Relu, 2, 0.0, 1.0), line);
    assert_eq!(range(Activation::Relu, 2, -1.0, 1.0), line);
    assert_eq!(range(Activation::Abs, 1, -INFINITY, INFINITY), (-1.0, 1.0));
    assert_eq!(range(Activation::Celu { alpha: 49.0 }, 1, 1.0, 2.0), (1.0, 1.0));
    assert_eq!(range(Activation::Log, 0, -1.0, 1.0), line);
    assert_eq!(range(Activation::Power { exponent: -1.0 }, 1, -1.0, 1.0), line);
    assert_eq!(range(Activation::Power { exponent: -1.0 }, 0, 0.5, INFINITY).0.max(0.0), 0.0);
    assert_eq!(range(Activation::Sigmoid, 0, -INFINITY, INFINITY), (0.0, 1.0));
    assert_eq!(range(Activation::Tanh, 0, -INFINITY, INFINITY), (-1.0, 1.0));
    assert_eq!(range(Activation::Sin, 2, -1e300, 1e300), (-1.0, 1.0));
    assert_eq!(range(Activation::Tanh, 0, 1.0, -1.0), line);
    assert_eq!(range(Activation::Tanh, 0, f64::NAN, 1.0), line);
    assert_eq!(range(Activation::Tanh, 3, 0.0, 1.0), line);
    let (least, most) = range(Activation::Sqrt, 1, 0.0, 1.0);
    assert!((0.5 - least).abs() < EXACT && most == INFINITY, "[{least}, {most}]");
    for gate in [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Mish] {
        let (least, most) = gate.range(0, -INFINITY, INFINITY);
        assert!((-0.31..-0.16).contains(&least) && most == INFINITY, "{gate:?}: [{least}, {most}]");
        let (least, most) = gate.range(1, -INFINITY, INFINITY);
        assert!((-0.2..-0.08).contains(&least) && (1.05..1.2).contains(&most), "{gate:?}: [{least}, {most}]");
        let (least, most) = gate.range(2, -INFINITY, INFINITY);
        assert!((-0.3..-0.03).contains(&least) && (0.4..0.9).contains(&most), "{gate:?}: [{least}, {most}]");
    }
}

/// The first coefficients of a series in exact arithmetic, times a factor.
fn assert_series(activation: Activation, center: f64, factor: f64, exact: impl Fn(usize) -> Fraction) {
    let taylor = activation.taylor(center, ORDER).unwrap();
    assert_eq!(taylor.len(), ORDER + 1);
    for (n, found) in taylor.into_iter().enumerate() {
        let expected = factor * exact(n).value();
        let difference = relative_difference([found], [expected]);
        assert!(
            difference < EXACT || (expected == 0.0 && found == 0.0),
            "{activation:?} at {center}, coefficient {n}: {found} for {expected}"
        );
    }
}

#[test]
fn taylor_coefficients_are_the_exact_ones() {
    let of = Fraction::new;
    let zero = of(0, 1);
    let sign = |n: usize| if n.is_multiple_of(2) { 1 } else { -1 };
    let two = |n: usize| 1_i128 << n;
    let tanh = rational::tanh(ORDER);
    let sigmoid = |n: usize| if n == 0 { of(1, 2) } else { tanh[n] * of(1, two(n + 1)) };
    let erf = |n: usize| {
        let k = n / 2;
        if n % 2 == 1 { of(sign(k), factorial(k) * (2 * k as i128 + 1)) } else { zero }
    };
    let root = std::f64::consts::FRAC_2_SQRT_PI;
    assert_series(Activation::Exp, 0.0, 1.0, |n| of(1, factorial(n)));
    assert_series(Activation::Exp, 1.0, std::f64::consts::E, |n| of(1, factorial(n)));
    assert_series(Activation::Tanh, 0.0, 1.0, |n| tanh[n]);
    assert_series(Activation::Sigmoid, 0.0, 1.0, sigmoid);
    assert_series(Activation::Silu, 0.0, 1.0, |n| if n == 0 { zero } else { sigmoid(n - 1) });
    let softplus = Activation::Softplus.taylor(0.0, ORDER).unwrap();
    assert!((softplus[0] - std::f64::consts::LN_2).abs() < EXACT);
    for (n, found) in softplus.iter().enumerate().skip(1) {
        assert!(
            (found - (sigmoid(n - 1) * of(1, n as i128)).value()).abs() < EXACT,
            "softplus, coefficient {n}"
        );
    }
    assert_series(Activation::Erf, 0.0, root, erf);
    // x Phi(x) = x/2 + x/2 erf(x / sqrt 2)
    let gelu = Activation::Gelu.taylor(0.0, ORDER).unwrap();
    for (n, found) in gelu.into_iter().enumerate() {
        let odd = if n == 1 { 0.5 } else { 0.0 };
        let even =
            if n > 0 { 0.5 * root * erf(n - 1).value() * 0.5_f64.powf(0.5 * (n as f64 - 1.0)) } else { 0.0 };
        assert!(
            (found - odd - even).abs() < EXACT * found.abs().max(f64::MIN_POSITIVE),
            "GELU, coefficient {n}"
        );
    }
    let gate = rational::mish_gate(8);
    for (n, found) in Activation::Mish.taylor(0.0, 9).unwrap().into_iter().enumerate().skip(1) {
        assert!((found - gate[n - 1].value()).abs() < EXACT, "Mish, coefficient {n}");
    }
    assert_series(Activation::Log, 1.0, 1.0, |n| if n == 0 { zero } else { of(-sign(n), n as i128) });
    assert_series(Activation::Softsign, 1.0, 1.0, |n| of(if n == 0 { 1 } else { -sign(n) }, two(n + 1)));
    assert_series(Activation::Softsign, -1.0, 1.0, |n| of(if n == 0 { -1 } else { 1 }, two(n + 1)));
    assert_series(Activation::Sqrt, 4.0, 2.0, |n| rational::binomial(of(1, 2), n) * of(1, two(2 * n)));
    let power = |exponent| Activation::Power { exponent };
    assert_series(power(-1.0), 2.0, 1.0, |n| of(sign(n), two(n + 1)));
    assert_series(power(2.5), 1.0, 1.0, |n| rational::binomial(of(5, 2), n));
    assert_series(power(5.0), 0.0, 1.0, |n| of(i128::from(n == 5), 1));
    assert_series(power(5.0), -2.0, -32.0, |n| rational::binomial(of(5, 1), n) * of(sign(n), two(n)));
    let wave = |n: usize| of(sign(n / 2), factorial(n));
    assert_series(Activation::Sin, 0.0, 1.0, |n| if n % 2 == 1 { wave(n) } else { zero });
    assert_series(Activation::Cos, 0.0, 1.0, |n| if n % 2 == 0 { wave(n) } else { zero });
}

/// GELU with tanh has an irrational factor inside: the exact series of tanh composed with it in `f64`.
#[test]
fn a_composed_series() {
    let scale = (2.0 / std::f64::consts::PI).sqrt();
    let mut inner = [0.0; ORDER];
    (inner[1], inner[3]) = (scale, 0.044715 * scale);
    let mut power = [0.0; ORDER];
    power[0] = 1.0;
    let mut sum = [0.0; ORDER];
    for coefficient in rational::tanh(ORDER - 1) {
        for (sum, power) in sum.iter_mut().zip(power) {
            *sum += coefficient.value() * power;
        }
        power = std::array::from_fn(|n| (0..=n).map(|k| power[k] * inner[n - k]).sum());
    }
    let expected = (0..=ORDER).map(|n| match n {
        0 => 0.0,
        1 => 0.5,
        _ => 0.5 * sum[n - 1],
    });
    let difference = relative_difference(Activation::GeluTanh.taylor(0.0, ORDER).unwrap(), expected);
    assert!(difference < EXACT, "{difference:e}");
}

#[test]
fn series_sum_to_the_function_around_their_center() {
    let mut rng = generator(4);
    for activation in ALL {
        for _ in 0..200 {
            let (center, _) = random_box(&mut rng, activation, 6.0);
            let center = if activation.domain().0 == 0.0 { center + 0.5 } else { center };
            let kinked = activation.kinks().into_iter().chain([0.0]).any(|k| (k - center).abs() < 0.4);
            if kinked {
                continue;
            }
            let taylor = activation.taylor(center, 24).unwrap();
            for step in [-0.1, 0.07] {
                let sum = taylor.iter().rev().fold(0.0, |sum, c| sum * step + c);
                let value = activation.derivative(0, center + step);
                assert!((sum - value).abs() < EXACT * value.abs().max(1.0), "{activation:?} at {center}");
            }
        }
    }
}

#[test]
fn there_is_no_series_where_pieces_join_or_outside_the_domain() {
    let none =
        |activation: Activation, center| assert_eq!(activation.taylor(center, 3), None, "{activation:?}");
    none(Activation::Relu, 0.0);
    none(Activation::Softsign, 0.0);
    none(Activation::HardSwish, 3.0);
    none(Activation::Elu { alpha: 1.0 }, 0.0);
    none(Activation::Log, 0.0);
    none(Activation::Sqrt, -1.0);
    none(Activation::Power { exponent: -1.0 }, 0.0);
    none(Activation::Tanh, f64::NAN);
    assert_eq!(Activation::Relu.taylor(2.0, 2), Some(vec![2.0, 1.0, 0.0]));
    assert_eq!(Activation::Relu.taylor(-2.0, 2), Some(vec![0.0, 0.0, 0.0]));
    assert_eq!(Activation::Tanh.taylor(0.0, 0), Some(vec![0.0]));
}
