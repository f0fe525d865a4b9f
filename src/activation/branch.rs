//! The table of facts: each activation as analytic curves joined end to end.

use super::Activation;
use super::number::Number;
use super::series::Series;

/// One analytic curve, on the interval `(from, to]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Branch {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) curve: Curve,
}

/// An analytic function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Curve {
    /// `c_0 + c_1 x + c_2 x^2`
    Polynomial([f64; 3]),
    /// `scale (exp(x / shape) - 1)`
    Exponential { scale: f64, shape: f64 },
    /// `x / (1 + side x)`, `side` 1 or -1, on that side of 0.
    Hyperbola { side: f64 },
    /// `x^exponent`
    Power { exponent: f64 },
    /// `ln x`
    Log,
    /// `exp x`
    Exp,
    /// `sin x`
    Sin,
    /// `cos x`
    Cos,
    /// A function that is close to a line on either side.
    Bend(Bend),
}

/// Functions that go from 0 or -1 to 1 or to the diagonal: all derivatives from the second on (of sigmoids from the
/// first on) die out on both sides like `exp` of minus something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bend {
    Sigmoid,
    Tanh,
    Erf,
    Softplus,
    Gelu,
    GeluTanh,
    Silu,
    Mish,
}

impl Curve {
    /// The power series at `center`: coefficients `f^(n)(center) / n!`.
    pub(super) fn series<T: Number>(self, center: T, order: usize) -> Series<T> {
        let x = Series::variable(center, order);
        match self {
            Self::Polynomial(c) => {
                let [c0, c1, c2] = c.map(T::from);
                Series::from_fn(order, |n| match n {
                    0 => c0 + center * (c1 + center * c2),
                    1 => c1 + T::from(2.0) * c2 * center,
                    2 => c2,
                    _ => T::from(0.0),
                })
            }
            Self::Exponential { scale, shape } => {
                let (scale, shape) = (T::from(scale), T::from(shape));
                let mut term = scale * (center / shape).exp();
                let slopes = Series::from_fn(order, |n| {
                    if n > 0 {
                        term = term / shape / T::from(n as f64);
                    }
                    term
                });
                slopes.with_value(scale * (center / shape).exp_m1())
            }
            Self::Hyperbola { side } => {
                // side - side / (1 + side x), of which only the value would lose digits, near 0.
                let (one, side) = (T::from(1.0), T::from(side));
                let below = x.scaled(side).with_value(one + side * center);
                let constant = Series::from_fn(order, |n| if n == 0 { -side } else { T::from(0.0) });
                (&constant / &below).with_value(one / (side + one / center))
            }
            Self::Power { exponent } => Series::power(center, exponent, order),
            Self::Log => x.ln(),
            Self::Exp => x.exp(),
            Self::Sin => x.sin_cos().0,
            Self::Cos => x.sin_cos().1,
            Self::Bend(bend) => match bend {
                Bend::Sigmoid => x.logistic(),
                Bend::Tanh => x.tanh(),
                Bend::Erf => x.erf(),
                Bend::Softplus => x.softplus(),
                Bend::Gelu => &x * &x.normal(),
                Bend::GeluTanh => {
                    // 1/2 (1 + tanh(u)) is the sigmoid of 2 u, with all digits in the left tail.
                    let scale = T::from(2.0)
                        * T::near(std::f64::consts::FRAC_2_SQRT_PI)
                        * T::near(std::f64::consts::FRAC_1_SQRT_2);
                    let cube = Series::power(center, 3.0, order).scaled(T::from(0.044715));
                    &x * &(&x + &cube).scaled(scale).logistic()
                }
                Bend::Silu => &x * &x.logistic(),
                Bend::Mish => &x * &x.softplus().tanh(),
            },
        }
    }

    /// The `order`-th derivative at `x`.
    pub(super) fn derivative<T: Number>(self, order: usize, x: T) -> T {
        let factorial = (1..=order).fold(1.0, |product, n| product * n as f64);
        self.series(x, order).into_coefficients()[order] * T::from(factorial)
    }

    /// Slope and value at 0, of a line.
    pub(super) fn affine(self) -> Option<(f64, f64)> {
        match self {
            Self::Polynomial([offset, slope, 0.0]) => Some((slope, offset)),
            _ => None,
        }
    }
}

impl Activation {
    /// The curves of the function, from the left to the right end of its domain.
    pub(super) fn branches(&self) -> Vec<Branch> {
        let line = |slope: f64, offset: f64| Curve::Polynomial([offset, slope, 0.0]);
        let from_zero =
            |exponent: f64| Branch { from: 0.0, to: f64::INFINITY, curve: Curve::Power { exponent } };
        match *self {
            Self::Relu => joined(&[0.0], &[line(0.0, 0.0), line(1.0, 0.0)]),
            Self::LeakyRelu { slope } => joined(&[0.0], &[line(slope, 0.0), line(1.0, 0.0)]),
            Self::Clip { low, high } => {
                joined(&[low, high], &[line(0.0, low), line(1.0, 0.0), line(0.0, high)])
            }
            Self::Abs => joined(&[0.0], &[line(-1.0, 0.0), line(1.0, 0.0)]),
            Self::HardSigmoid { alpha, beta } => {
                let [zero, one] = [-beta / alpha, (1.0 - beta) / alpha];
                let between = line(alpha, beta);
                if alpha > 0.0 {
                    joined(&[zero, one], &[line(0.0, 0.0), between, line(0.0, 1.0)])
                } else if alpha < 0.0 {
                    joined(&[one, zero], &[line(0.0, 1.0), between, line(0.0, 0.0)])
                } else {
                    joined(&[], &[line(0.0, beta.clamp(0.0, 1.0))])
                }
            }
            Self::HardSwish => {
                let between = Curve::Polynomial([0.0, 0.5, 1.0 / 6.0]);
                joined(&[-3.0, 3.0], &[line(0.0, 0.0), between, line(1.0, 0.0)])
            }
            Self::Softsign => {
                joined(&[0.0], &[Curve::Hyperbola { side: -1.0 }, Curve::Hyperbola { side: 1.0 }])
            }
            Self::Elu { alpha } => {
                joined(&[0.0], &[Curve::Exponential { scale: alpha, shape: 1.0 }, line(1.0, 0.0)])
            }
            Self::Selu { alpha, gamma } => {
                joined(&[0.0], &[Curve::Exponential { scale: gamma * alpha, shape: 1.0 }, line(gamma, 0.0)])
            }
            Self::Celu { alpha } => {
                joined(&[0.0], &[Curve::Exponential { scale: alpha, shape: alpha }, line(1.0, 0.0)])
            }
            Self::Sigmoid => joined(&[], &[Curve::Bend(Bend::Sigmoid)]),
            Self::Tanh => joined(&[], &[Curve::Bend(Bend::Tanh)]),
            Self::Softplus => joined(&[], &[Curve::Bend(Bend::Softplus)]),
            Self::Gelu => joined(&[], &[Curve::Bend(Bend::Gelu)]),
            Self::GeluTanh => joined(&[], &[Curve::Bend(Bend::GeluTanh)]),
            Self::Silu => joined(&[], &[Curve::Bend(Bend::Silu)]),
            Self::Mish => joined(&[], &[Curve::Bend(Bend::Mish)]),
            Self::Erf => joined(&[], &[Curve::Bend(Bend::Erf)]),
            Self::Exp => joined(&[], &[Curve::Exp]),
            Self::Log => vec![Branch { curve: Curve::Log, ..from_zero(0.0) }],
            Self::Sqrt => vec![from_zero(0.5)],
            Self::Power { exponent } if exponent.fract() != 0.0 => vec![from_zero(exponent)],
            Self::Power { exponent } if exponent < 0.0 => {
                let above = from_zero(exponent);
                vec![Branch { from: f64::NEG_INFINITY, to: 0.0, ..above }, above]
            }
            Self::Power { exponent: 0.0 } => joined(&[], &[line(0.0, 1.0)]),
            Self::Power { exponent: 1.0 } => joined(&[], &[line(1.0, 0.0)]),
            Self::Power { exponent: 2.0 } => joined(&[], &[Curve::Polynomial([0.0, 0.0, 1.0])]),
            Self::Power { exponent } => joined(&[], &[Curve::Power { exponent }]),
            Self::Sin => joined(&[], &[Curve::Sin]),
            Self::Cos => joined(&[], &[Curve::Cos]),
        }
    }

    /// Where two curves meet, with the slope of each.
    pub(super) fn joints(&self) -> impl Iterator<Item = (f64, [f64; 2])> {
        self.neighbours()
            .filter(|(below, at, _)| below.derivative(0, *at).is_finite())
            .map(|(below, at, above)| (at, [below.derivative(1, at), above.derivative(1, at)]))
    }

    /// The second derivative on both sides of a joint.
    pub(super) fn bends_at(&self, joint: f64) -> [f64; 2] {
        self.neighbours()
            .find(|&(_, at, _)| at == joint)
            .map_or([0.0; 2], |(below, at, above)| [below.derivative(2, at), above.derivative(2, at)])
    }

    /// Where the function is infinite on both sides.
    pub(super) fn poles(&self) -> impl Iterator<Item = f64> {
        self.neighbours().filter(|(below, at, _)| below.derivative(0, *at).is_infinite()).map(|(_, at, _)| at)
    }

    /// Neighbouring curves and what lies between them.
    fn neighbours(&self) -> impl Iterator<Item = (Curve, f64, Curve)> {
        let branches = self.branches();
        (1..branches.len()).map(move |i| (branches[i - 1].curve, branches[i].from, branches[i].curve))
    }
}

/// Curves over the whole line, cut at ascending `ends`; empty branches are left out and equal neighbours are one.
fn joined(ends: &[f64], curves: &[Curve]) -> Vec<Branch> {
    let mut branches: Vec<Branch> = vec![];
    for (i, &curve) in curves.iter().enumerate() {
        let from = if i == 0 { f64::NEG_INFINITY } else { ends[i - 1] };
        let to = ends.get(i).copied().unwrap_or(f64::INFINITY);
        match branches.last_mut() {
            Some(last) if last.curve == curve && from < to => last.to = to,
            _ if from < to => branches.push(Branch { from, to, curve }),
            _ => {}
        }
    }
    branches
}
