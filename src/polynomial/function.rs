//! The elementwise functions of layers as they are expanded.

use crate::activation::Activation;

/// An elementwise function that has Taylor series: an analytic one, or a smooth one in the place of one with kinks.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    activation: Activation,
    smoothed: Option<Smoothed>,
}

/// `slope u + offset + sum of jump softplus(sharpness (u - at)) / sharpness` over the kinks: each kink of a continuous
/// piecewise affine function is a ReLU times the jump of the slope, and softplus is ReLU smoothed.
#[derive(Debug, Clone, PartialEq)]
struct Smoothed {
    slope: f64,
    offset: f64,
    /// Where, and how much the slope changes.
    kinks: Vec<[f64; 2]>,
    sharpness: f64,
}

impl Function {
    /// The function itself where it is smooth; a piecewise affine one with its kinks smoothed where a sharpness is
    /// given, else `None`.
    pub fn new(activation: Activation, sharpness: Option<f64>) -> Option<Self> {
        let pieces = activation.pieces().filter(|pieces| pieces.len() > 1);
        let smoothed = match (pieces, sharpness) {
            (None, _) => None,
            (Some(_), None) => return None,
            (Some(pieces), Some(sharpness)) => {
                let kinks = pieces.windows(2).map(|two| [two[1].from, two[1].slope - two[0].slope]).collect();
                Some(Smoothed { slope: pieces[0].slope, offset: pieces[0].offset, kinks, sharpness })
            }
        };
        Some(Self { activation, smoothed })
    }

    /// What it stands for.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Its value.
    pub fn value(&self, u: f64) -> f64 {
        match &self.smoothed {
            None => self.activation.derivative(0, u),
            Some(Smoothed { slope, offset, kinks, sharpness }) => {
                let softplus = |v: f64| Activation::Softplus.derivative(0, v);
                let bends = kinks.iter().map(|[at, jump]| jump * softplus(sharpness * (u - at)) / sharpness);
                slope * u + offset + bends.sum::<f64>()
            }
        }
    }

    /// Taylor coefficients `f^(n)(center) / n!` up to `degree`; `None` where there is no series.
    pub fn taylor(&self, center: f64, degree: usize) -> Option<Vec<f64>> {
        let Some(Smoothed { slope, offset, kinks, sharpness }) = &self.smoothed else {
            return self.activation.taylor(center, degree);
        };
        let mut sum = vec![0.0; degree + 1];
        sum[0] = slope * center + offset;
        if degree > 0 {
            sum[1] = *slope;
        }
        for [at, jump] in kinks {
            let softplus = Activation::Softplus.taylor(sharpness * (center - at), degree)?;
            let mut factor = jump / sharpness;
            for (sum, c) in sum.iter_mut().zip(softplus) {
                *sum += factor * c;
                factor *= sharpness;
            }
        }
        Some(sum)
    }

    /// How far around `center` the Taylor series there is the function ([`Activation::taylor_radius`]).
    pub fn radius(&self, center: f64) -> Option<f64> {
        match &self.smoothed {
            None => self.activation.taylor_radius(center),
            Some(Smoothed { kinks, sharpness, .. }) => {
                let pole = |[at, _]: &[f64; 2]| (center - at).hypot(std::f64::consts::PI / sharpness);
                Some(kinks.iter().map(pole).fold(f64::INFINITY, f64::min))
            }
        }
    }

    /// How far it is from the function that it stands for at most: `ln 2 / sharpness`, which is softplus at 0, times the
    /// jumps of the slope; 0 where nothing was smoothed.
    pub fn smoothing_error(&self) -> f64 {
        self.smoothed.as_ref().map_or(0.0, |Smoothed { kinks, sharpness, .. }| {
            kinks.iter().map(|[_, jump]| jump.abs()).sum::<f64>() * std::f64::consts::LN_2 / sharpness
        })
    }

    /// The largest interval around `center` on which the Taylor polynomial of a degree is within `tolerance` of the
    /// function, at most `REACH` to either side; `None` where there is no series. Found by steps of 1/64 and bisection
    /// in the last one: an excursion that is narrower than a step may be missed.
    pub fn good_interval(&self, center: f64, degree: usize, tolerance: f64) -> Option<[f64; 2]> {
        const STEP: f64 = 1.0 / 64.0;
        let coefficients = self.taylor(center, degree)?;
        let is_good = |u: f64| (horner(&coefficients, u - center) - self.value(u)).abs() <= tolerance;
        let reach = |direction: f64| {
            let steps = (REACH / STEP) as u32;
            let Some(bad) = (1..=steps).find(|&i| !is_good(center + direction * f64::from(i) * STEP)) else {
                return center + direction * REACH;
            };
            let [mut good, mut bad] = [f64::from(bad - 1), f64::from(bad)].map(|i| direction * i * STEP);
            for _ in 0..40 {
                let middle = 0.5 * (good + bad);
                *(if is_good(center + middle) { &mut good } else { &mut bad }) = middle;
            }
            center + good
        };
        Some([reach(-1.0), reach(1.0)])
    }
}

/// How far good intervals are followed.
pub(super) const REACH: f64 = 32.0;

/// A polynomial by its coefficients, the constant first.
pub(super) fn horner(coefficients: &[f64], t: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * t + c)
}

/// The coefficients of a polynomial about another point, `t` from its own: right up to `degree`, by synthetic division.
pub(super) fn shift(coefficients: &mut [f64], t: f64, degree: usize) {
    let last = coefficients.len() - 1;
    for done in 0..last.min(degree + 1) {
        for i in (done..last).rev() {
            coefficients[i] += t * coefficients[i + 1];
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::*;
    use crate::tolerance::{EXACT, relative_difference};

    #[test]
    fn smoothed_functions_are_near_and_have_their_series() {
        let sharpness = 5.0;
        for activation in [
            Activation::Relu,
            Activation::LeakyRelu { slope: 0.1 },
            Activation::Abs,
            Activation::Clip { low: 0.0, high: 6.0 },
            Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        ] {
            assert!(Function::new(activation, None).is_none());
            let function = Function::new(activation, Some(sharpness)).unwrap();
            let series = function.taylor(0.2, 30).unwrap();
            let mut largest: f64 = 0.0;
            for i in -4000..4000 {
                let u = f64::from(i) * 2e-3;
                largest = largest.max((function.value(u) - activation.derivative(0, u)).abs());
            }
            assert!(largest <= function.smoothing_error() && largest > 0.4 * function.smoothing_error());
            // Inside the radius of convergence, about 0.66.
            let near = [0.0, 0.1, 0.35].map(|u| horner(&series, u - 0.2));
            assert!(relative_difference(near, [0.0, 0.1, 0.35].map(|u| function.value(u))) < EXACT * 10.0);
        }
    }

    #[test]
    fn good_intervals_end_where_the_error_does() {
        let tanh = Function::new(Activation::Tanh, None).unwrap();
        let [low, high] = tanh.good_interval(0.0, 3, 1e-2).unwrap();
        assert_eq!(low, -high);
        let error = |u: f64| u - u * u * u / 3.0 - u.tanh();
        assert!((error(high).abs() - 1e-2).abs() < EXACT, "{high}");
        let exp = Function::new(Activation::Power { exponent: 2.0 }, None).unwrap();
        assert_eq!(exp.good_interval(1.0, 2, 1e-9).unwrap(), [1.0 - REACH, 1.0 + REACH]);
    }

    #[test]
    fn shifting_expands_about_another_point() {
        // 1 + 2 t + 3 t^2 + 4 t^3 at t = s + 0.5.
        let mut coefficients = [1.0, 2.0, 3.0, 4.0];
        shift(&mut coefficients, 0.5, 3);
        assert_eq!(coefficients, [3.25, 8.0, 9.0, 4.0]);
        let mut coefficients = [1.0, 2.0, 3.0, 4.0];
        shift(&mut coefficients, 0.5, 1);
        assert_eq!(coefficients[..2], [3.25, 8.0]);
    }
}
