//! How far Taylor series reach.

use super::Activation;

impl Activation {
    /// How far around `center` the Taylor series there is the function: to the nearest singularity in the complex plane,
    /// or to where another curve joins or the domain ends. `None` where there is no series.
    pub fn taylor_radius(&self, center: f64) -> Option<f64> {
        use std::f64::consts::{FRAC_PI_2, LN_2, PI};
        let branches = self.branches();
        let branch = branches.iter().find(|b| b.from < center && center < b.to)?;
        let ends = (center - branch.from).min(branch.to - center);
        let pole = |re: f64, im: f64| (center - re).hypot(im);
        let singularity = match self {
            Self::Tanh => pole(0.0, FRAC_PI_2),
            Self::Sigmoid | Self::Softplus | Self::Silu => pole(0.0, PI),
            // tanh(ln(1 + e^x)) = ((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1) has poles at e^x = -1 +- i.
            Self::Mish => pole(0.5 * LN_2, 0.75 * PI),
            Self::GeluTanh => {
                gelu_tanh_poles().map(|[re, im]| (center.abs() - re).hypot(im)).fold(ends, f64::min)
            }
            // x / (1 + |x|) on one side of 0.
            Self::Softsign => 1.0 + center.abs(),
            _ => f64::INFINITY,
        };
        Some(ends.min(singularity))
    }
}

/// Some of the poles of `tanh(sqrt(2 / pi) (x + 0.044715 x^3))` in the first quadrant, those nearest to the origin: with
/// `x = i y` they solve `c y^3 - y + w = 0` for `w = k pi / 2 / sqrt(2 / pi)`, `k` odd. One root is real.
fn gelu_tanh_poles() -> impl Iterator<Item = [f64; 2]> {
    use std::f64::consts::{FRAC_PI_2, PI};
    const CUBIC: f64 = 0.044715;
    (0..64).map(|i| {
        let w = f64::from(2 * i + 1) * FRAC_PI_2 / (2.0 / PI).sqrt();
        let mut y = -1.0 / CUBIC.sqrt() - (w / CUBIC).cbrt();
        for _ in 0..40 {
            y -= (CUBIC * y * y * y - y + w) / (3.0 * CUBIC * y * y - 1.0);
        }
        // The others are -y/2 +- i s with |..|^2 = -w / (c y).
        [(-w / (CUBIC * y) - 0.25 * y * y).sqrt(), -0.5 * y]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the root test: `|c_n|^(-1/n)` comes close to the radius, slowly where `c_n` has a power of `n` in it (0.96 of it
    /// for a square root after 240 terms).
    #[test]
    fn radii_are_those_of_the_coefficients() {
        let functions = [
            Activation::Tanh,
            Activation::Sigmoid,
            Activation::Softplus,
            Activation::Silu,
            Activation::Mish,
            Activation::GeluTanh,
            Activation::Log,
            Activation::Sqrt,
            Activation::Power { exponent: -1.0 },
            Activation::Softsign,
        ];
        for activation in functions {
            for center in [0.3, 1.1, 3.0] {
                let coefficients = activation.taylor(center, 240).expect("is analytic there");
                let tail = coefficients.iter().enumerate().skip(200);
                let largest = tail.map(|(n, c)| c.abs().powf(1.0 / n as f64)).fold(0.0, f64::max);
                let pole = match activation {
                    // Where its curve ends the function has no singularity.
                    Activation::Softsign => 1.0 + center,
                    _ => activation.taylor_radius(center).expect("is analytic there"),
                };
                assert!((largest * pole - 1.0).abs() < 0.06, "{activation:?} at {center}: {largest} {pole}");
            }
        }
        let radius = |activation: Activation, center| activation.taylor_radius(center);
        assert_eq!(radius(Activation::Gelu, 0.5), Some(f64::INFINITY));
        assert_eq!(radius(Activation::Elu { alpha: 1.0 }, -0.25), Some(0.25));
        assert_eq!(radius(Activation::Softsign, 0.5), Some(0.5));
        assert_eq!((radius(Activation::Relu, 0.0), radius(Activation::Log, -1.0)), (None, None));
    }
}
