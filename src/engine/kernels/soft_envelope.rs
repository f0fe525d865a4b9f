//! Soft envelopes of affine pieces over anchors.

use crate::Scalar;

use super::Curvature;

/// What soft envelopes are wanted: `T` means of tangents and `C` pairs of soft halves, all in one pass.
///
/// With `T_i(x) = v_i + J_i (x - x_i)` and `d_i = |x - x_i|`, sums over all anchors `i`:
///
/// ```text
/// nearest = sum_i w_i T_i / sum_i w_i        w_i = exp(-d_i^2 / (2 tau))
/// lower   =  tau' log sum_i exp( (T_i - (a/2) d_i^2) / tau')
/// upper   = -tau' log sum_i exp(-(T_i + (b/2) d_i^2) / tau')
/// ```
///
/// All are smooth, not piecewise affine. Towards temperature 0 they go over into the nearest tangent (the mean of
/// those equally near) and into the envelopes; `lower` lies above its envelope and `upper` below, by `tau' log M`
/// at most. Temperatures beyond `1e-30..1e30` count as these.
///
/// Accuracy: the exponents of `nearest` magnify what is wrong with distances by `1 / (2 tau)`. Every engine computes
/// distances from the difference itself, with a relative error `e` that was 5e-7 at most in `f32` (up to 3000 elements,
/// however far from the origin); the expanded form loses 1e-4 and more. A mean is off by `e d^2 / (2 tau)` times the
/// spread of the tangents that take part, `d^2` that of the nearest anchor, beside the rounding of the tangents: by
/// 3e-4 for 784 elements where `d^2 / (2 tau)` is 5000, by 2e-6 where it is 50. The halves magnify nothing: they are
/// as accurate as their largest score.
#[derive(Debug, Clone, Default)]
pub struct SoftSpec {
    /// `tau` of each mean of tangents, in units of squared distance; positive.
    pub nearest: Vec<f64>,
    /// The soft halves.
    pub halves: Vec<SoftHalves>,
}

/// The curvatures and the softness of a pair of soft halves.
#[derive(Debug, Clone)]
pub struct SoftHalves {
    /// For all `K` outputs.
    pub curvatures: Vec<Curvature>,
    /// `tau'`, in units of the outputs; positive.
    pub temperature: f64,
}

/// Finished soft envelopes. Where there was no anchor, `lower` is `-S::MAX` and the others are `S::MAX`.
#[derive(Debug, Clone)]
pub struct SoftValues<S> {
    /// Means of tangents `[T, K, N]`.
    pub nearest: Vec<S>,
    /// Soft maxima of the lower bounds `[C, K, N]`.
    pub lower: Vec<S>,
    /// Soft minima of the upper bounds `[C, K, N]`.
    pub upper: Vec<S>,
}

/// What one soft sum is over: `exp(s / temperature)` of scores `s = sign T - half d^2`.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Softness {
    /// 1 for lower halves, -1 for upper ones, 0 for means of tangents.
    pub sign: f64,
    /// Half the curvature; 1 for means of tangents.
    pub half: f64,
    pub temperature: f64,
}

impl Softness {
    /// How far below the largest a score can lie: farther ones count as there, where exp(-80) = 2e-35 weighs nothing
    /// in any type. Smaller weights would be subnormal in `f32`, which takes a hundred times as long.
    pub(in crate::engine) fn reach(self) -> f64 {
        80.0 * self.temperature
    }
}

impl SoftSpec {
    /// The soft sums `[T + 2 C, K]`: of the means of tangents, the lower halves and the upper ones.
    pub(in crate::engine) fn sums(&self, outputs: usize) -> Vec<Softness> {
        let within = |temperature: f64| temperature.clamp(1e-30, 1e30);
        let nearest = self.nearest.iter().flat_map(|&tau| {
            let one = Softness { sign: 0.0, half: 1.0, temperature: 2.0 * within(tau) };
            std::iter::repeat_n(one, outputs)
        });
        let halves = |sign: f64| {
            self.halves.iter().flat_map(move |halves| {
                let temperature = within(halves.temperature);
                halves.curvatures.iter().map(move |c| {
                    let half = if sign > 0.0 { c.a } else { c.b } / 2.0;
                    Softness { sign, half, temperature }
                })
            })
        };
        nearest.chain(halves(1.0)).chain(halves(-1.0)).collect()
    }
}

impl<S: Scalar> SoftValues<S> {
    /// Takes values `[T + 2 C, K, N]` apart, of which so many (`T K N`) are means of tangents.
    pub(in crate::engine) fn of(mut values: Vec<S>, means: usize) -> Self {
        let mut lower = values.split_off(means);
        let upper = lower.split_off(lower.len() / 2);
        Self { nearest: values, lower, upper }
    }
}
