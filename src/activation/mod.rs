//! Elementwise functions, and what is known of each: kinks, inflections, proved ranges, Taylor series, affine
//! pieces, convex and concave parts.
//!
//! All facts follow from one table (`branch.rs`): each function as analytic curves joined end to end.
//! A curve is known by its power series alone, over `f64` or over intervals with outward rounding. The series
//! at a number gives Taylor coefficients; the series at an interval encloses derivatives, which proves ranges and
//! finds every critical point.
//!
//! Fast evaluation is an engine's kernel; facts are pure `f64`.
//!
//! # Example
//!
//! ```
//! use fenchel::engine::Activation;
//!
//! // The sigmoid bends up to 0 and down from there.
//! assert_eq!(Activation::Sigmoid.inflections_in(-5.0, 5.0), Some(vec![0.0]));
//! let split = Activation::Sigmoid.convex_split(-5.0, 5.0).expect("it has a split");
//! let (convex, concave) = split.values(1.5);
//! assert!((convex + concave - 1.0 / (1.0 + (-1.5_f64).exp())).abs() < 1e-15);
//!
//! // Its slope is proved to lie within these bounds, and its series converges within pi.
//! let (low, high) = Activation::Sigmoid.range(1, -5.0, 5.0);
//! assert!(low > 0.0 && (0.25..0.2501).contains(&high));
//! let radius = Activation::Sigmoid.taylor_radius(0.0).expect("it is analytic");
//! assert!((radius - std::f64::consts::PI).abs() < 1e-12);
//! ```

mod branch;
mod convex;
mod critical;
mod interval;
mod number;
mod piecewise;
mod radius;
mod range;
mod series;

pub use convex::{ConvexSplit, Region};
pub use piecewise::{Piece, PiecewiseAffine};

/// An elementwise function. Its derivatives at kinks are those of the side below (0 for ReLU at 0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `x` above 0, `slope * x` at and below 0.
    LeakyRelu {
        /// The slope below 0.
        slope: f64,
    },
    /// `min(max(x, low), high)`
    Clip {
        /// Lower limit, possibly minus infinity.
        low: f64,
        /// Upper limit, possibly infinity.
        high: f64,
    },
    /// `|x|`
    Abs,
    /// `min(max(alpha x + beta, 0), 1)`
    HardSigmoid {
        /// The slope between the kinks.
        alpha: f64,
        /// The value at 0, unless cut off.
        beta: f64,
    },
    /// `x min(max(x / 6 + 1/2, 0), 1)` (Howard et al. 2019).
    HardSwish,
    /// `x / (1 + |x|)`
    Softsign,
    /// `x` above 0, `alpha (exp(x) - 1)` at and below 0 (Clevert, Unterthiner & Hochreiter 2016).
    Elu {
        /// Minus the limit far below 0.
        alpha: f64,
    },
    /// `gamma x` above 0, `gamma alpha (exp(x) - 1)` at and below 0 (Klambauer et al. 2017).
    Selu {
        /// The ratio of the slopes at 0.
        alpha: f64,
        /// The slope above 0.
        gamma: f64,
    },
    /// `x` above 0, `alpha (exp(x / alpha) - 1)` at and below 0 (Barron 2017); `alpha` is not 0.
    Celu {
        /// Minus the limit far below 0, and the width of the bend.
        alpha: f64,
    },
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `ln(1 + exp(x))`
    Softplus,
    /// `x * Phi(x)`, with the distribution function of the normal distribution (Hendrycks & Gimpel 2016).
    Gelu,
    /// The form of GELU with `tanh`: `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))` (Hendrycks & Gimpel 2016).
    GeluTanh,
    /// `x * sigmoid(x)`, also called Swish.
    Silu,
    /// `x * tanh(softplus(x))` (Misra 2019).
    Mish,
    /// The error function `2 / sqrt(pi) * integral of exp(-t^2) from 0 to x`.
    Erf,
    /// `exp(x)`
    Exp,
    /// The natural logarithm, of positive numbers.
    Log,
    /// The square root, of numbers from 0 on.
    Sqrt,
    /// `x^exponent`: of any number if the exponent is an integer (of any but 0 if it is negative), else of positive
    /// ones.
    Power {
        /// The exponent: -1 for the reciprocal, 2 for the square.
        exponent: f64,
    },
    /// `sin(x)`
    Sin,
    /// `cos(x)`
    Cos,
}

/// One affine piece of an elementwise function: `slope * u + offset` for `u` in `(from, to]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AffinePiece {
    /// The end below (not included), possibly minus infinity.
    pub from: f64,
    /// The end above (included), possibly infinity.
    pub to: f64,
    /// Slope.
    pub slope: f64,
    /// Value of the piece at 0.
    pub offset: f64,
}

impl Activation {
    /// The name of the ONNX operator, or the usual one where there is none.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Relu => "Relu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::Clip { .. } => "Clip",
            Self::Abs => "Abs",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::HardSwish => "HardSwish",
            Self::Softsign => "Softsign",
            Self::Elu { .. } => "Elu",
            Self::Selu { .. } => "Selu",
            Self::Celu { .. } => "Celu",
            Self::Sigmoid => "Sigmoid",
            Self::Tanh => "Tanh",
            Self::Softplus => "Softplus",
            Self::Gelu | Self::GeluTanh => "Gelu",
            Self::Silu => "Silu",
            Self::Mish => "Mish",
            Self::Erf => "Erf",
            Self::Exp => "Exp",
            Self::Log => "Log",
            Self::Sqrt => "Sqrt",
            Self::Power { .. } => "Pow",
            Self::Sin => "Sin",
            Self::Cos => "Cos",
        }
    }

    /// The closed interval outside which the function has no value. Ends where it is infinite belong to it: 0 for
    /// the logarithm; powers with a negative integer exponent have the whole line, with a pole at 0.
    pub fn domain(&self) -> (f64, f64) {
        let branches = self.branches();
        (branches[0].from, branches[branches.len() - 1].to)
    }

    /// Where the slope jumps, ascending.
    pub fn kinks(&self) -> Vec<f64> {
        self.joints().filter(|&(_, [below, above])| below != above).map(|(at, _)| at).collect()
    }

    /// The `order`-th derivative (0: the value) at `x`, in `f64`: of the side below where two branches join, NaN
    /// outside the domain.
    pub fn derivative(&self, order: usize, x: f64) -> f64 {
        match self.branches().iter().find(|b| x <= b.to && (b.from < x || x == self.domain().0)) {
            Some(branch) => branch.curve.derivative(order, x),
            None => f64::NAN,
        }
    }

    /// The Taylor coefficients `f^(n)(center) / n!` for `n` up to `order`, by recurrences on power series. Of a
    /// function in pieces they are those of the piece; `None` where pieces join and at or outside the ends of the
    /// domain, where there is no series.
    pub fn taylor(&self, center: f64, order: usize) -> Option<Vec<f64>> {
        let branches = self.branches();
        let branch = branches.iter().find(|b| b.from < center && center < b.to)?;
        Some(branch.curve.series(center, order).into_coefficients())
    }

    /// The affine pieces of a piecewise affine function, ascending.
    pub fn pieces(&self) -> Option<Vec<AffinePiece>> {
        let piece = |b: &branch::Branch| {
            let (slope, offset) = b.curve.affine()?;
            Some(AffinePiece { from: b.from, to: b.to, slope, offset })
        };
        self.branches().iter().map(piece).collect()
    }

    /// Where analytic curves join within `(low, high)`, ascending: kinks, and where only higher derivatives jump.
    pub fn joins_in(&self, low: f64, high: f64) -> Vec<f64> {
        self.joints().map(|(at, _)| at).filter(|&at| low < at && at < high).collect()
    }

    /// The line that the function is on `[low, high]`, if it is one there.
    pub fn line_on(&self, low: f64, high: f64) -> Option<AffinePiece> {
        let branches = self.branches();
        let branch = branches.iter().find(|branch| branch.from <= low && high <= branch.to)?;
        let (slope, offset) = branch.curve.affine()?;
        Some(AffinePiece { from: branch.from, to: branch.to, slope, offset })
    }

    /// Where the curvature changes its sign within `(low, high)`, kinks aside, ascending; `None` where that is
    /// infinitely often. To full precision.
    pub fn inflections_in(&self, low: f64, high: f64) -> Option<Vec<f64>> {
        let mut found = vec![];
        for branch in self.branches() {
            found.extend(branch.curve.inflections(low.max(branch.from), high.min(branch.to))?);
        }
        let bends = |(at, [below, above]): (f64, [f64; 2])| {
            let [left, right] = self.bends_at(at);
            (below == above && left * right < 0.0).then_some(at)
        };
        found.extend(self.joints().filter_map(bends));
        found.retain(|&at| low < at && at < high);
        found.sort_by(f64::total_cmp);
        Some(found)
    }

    /// Whether the slope at `x` can be read from the value there: `f'(x) == f'(f(x))` for every `x`, exactly. Then
    /// a backward pass needs no inputs, only outputs.
    pub fn slope_from_output(&self) -> bool {
        match *self {
            Self::Relu => true,
            Self::LeakyRelu { slope } => slope >= 0.0,
            Self::Clip { high, .. } => high == f64::INFINITY,
            _ => false,
        }
    }
}
