//! How far a spline is from its network: the sums over points, and the row that they make.

use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::engine::{Context, Search, SplineEngine};
use crate::network::Program;
use crate::spline::{Evaluated, JetSource, Label, Spline, evaluate, largest};
use crate::{Error, Result, Scalar, classes, tolerance};

/// How a spline was made, in the words of the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// How its pieces were chosen.
    pub selection: String,
    /// The metric.
    pub metric: String,
    /// How the curvature was chosen: the number itself where it was given.
    pub curvature_choice: String,
    /// The factor on slopes, or how it was chosen.
    pub slopes: String,
    /// The softness.
    pub softness: String,
    /// Steps of refinement.
    pub refine: usize,
    /// The strength of warps in it, 0 for none.
    pub warp: String,
}

impl Made {
    /// The published spline: a random subset, the identity, tangents as they are.
    pub fn published(curvature_choice: String) -> Self {
        Self {
            selection: "random".to_owned(),
            metric: "identity".to_owned(),
            curvature_choice,
            slopes: "1".to_owned(),
            softness: "hard".to_owned(),
            refine: 0,
            warp: "0".to_owned(),
        }
    }

    /// A name for lines of diagrams: what is not as published, and the curvature.
    pub fn name(&self) -> String {
        let usual = Self::published(String::new());
        let mut parts = vec![];
        if self.selection != usual.selection {
            parts.push(self.selection.clone());
        }
        if self.metric != usual.metric {
            parts.push(format!("metric {}", self.metric));
        }
        if self.slopes != usual.slopes {
            parts.push(format!("slopes {}", self.slopes));
        }
        if self.softness != usual.softness {
            parts.push(format!("soft {}", self.softness));
        }
        if self.refine > 0 {
            parts.push(format!("refined {}", self.refine));
        }
        if self.warp != usual.warp {
            parts.push(format!("warped {}", self.warp));
        }
        parts.push(format!("curvature {}", self.curvature_choice));
        parts.join(", ")
    }
}

/// One row of a table; lengths are in units of the outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Pieces of each half.
    pub pieces: usize,
    /// The curvature, the largest of both halves and all outputs.
    pub curvature: f64,
    /// The seed of its random choices.
    pub seed: u64,
    /// Points judged on.
    pub points: usize,
    /// Root mean square error over the standard deviation of the outputs, both pooled over points and outputs.
    pub relative_rmse: f64,
    /// Mean absolute error.
    pub mean_abs: f64,
    /// Largest absolute error.
    pub max_abs: f64,
    /// Share of points at which spline and network have the same largest output; absent with one output.
    pub agreement: Option<f64>,
    /// Share of points at which the spline's largest output is the label; absent without labels.
    pub accuracy: Option<f64>,
    /// Mean half-width `(U - L) / 2` of the certificate.
    pub certificate: f64,
    /// The same over the standard deviation of the outputs, pooled over points and outputs: useless where above 1.
    pub relative_certificate: f64,
    /// Share of points and outputs at which the network lies outside the certificate.
    pub violations: f64,
    /// The certificate's curvature.
    pub certificate_curvature: f64,
    /// Where that comes from.
    pub certificate_label: Label,
    /// How the spline was made.
    #[serde(flatten)]
    pub made: Made,
}

/// Sums of the network's outputs over points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Outputs {
    /// Of values.
    sum: f64,
    /// Of their squares.
    squares: f64,
}

impl Outputs {
    pub(super) fn take(&mut self, truth: &[f64]) {
        for g in truth {
            self.sum += g;
            self.squares += g * g;
        }
    }

    /// Whether values can have made these sums.
    pub(super) fn are_sound(&self) -> bool {
        self.sum.is_finite() && self.squares.is_finite() && self.squares >= 0.0
    }
}

/// Sums over points of how far one spline is from its network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    squared: f64,
    absolute: f64,
    largest: f64,
    agree: usize,
    correct: usize,
    width: f64,
    violated: usize,
}

impl Sums {
    /// Adds one point: the spline's values `[K]`, its certificate `[K]`, the network's outputs `[K]`, and its class.
    pub(super) fn take(
        &mut self,
        outputs: &[usize],
        spline: impl Fn(usize) -> f64,
        certificate: impl Fn(usize) -> [f64; 2],
        truth: &[f64],
        label: Option<u32>,
    ) {
        for (k, &g) in truth.iter().enumerate() {
            let [low, high] = certificate(k);
            let error = (spline(k) - g).abs();
            self.squared += error * error;
            self.absolute += error;
            self.largest = self.largest.max(error);
            self.width += (high - low) / 2.0;
            // Bounds are sums in the engine's precision: a distance within their rounding is none.
            let rounding = tolerance::CLOSE * low.abs().max(high.abs()).max(g.abs());
            self.violated += usize::from(g < low - rounding || g > high + rounding);
        }
        let best = classes::largest((0..truth.len()).map(spline));
        self.agree += usize::from(best == classes::largest(truth));
        self.correct += usize::from(label.is_some_and(|label| outputs[best] == label as usize));
    }

    /// Whether so many points can have made these sums.
    pub(super) fn are_sound(&self, points: usize, outputs: usize) -> bool {
        let Self { squared, absolute, largest, agree, correct, width, violated } = *self;
        width.is_finite()
            && [squared, absolute, largest].iter().all(|sum| sum.is_finite() && *sum >= 0.0)
            && agree.max(correct) <= points
            && violated <= points.saturating_mul(outputs)
    }

    /// The row of sums over so many points; `row` has what is not measured.
    pub(super) fn row(&self, all: &Outputs, outputs: usize, has_labels: bool, row: Unmeasured) -> Row {
        let Unmeasured { pieces, curvature, seed, points, certificate, made } = row;
        let values = (points * outputs) as f64;
        let variance = all.squares / values - (all.sum / values).powi(2);
        // The error of a constant is reported as it is.
        let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        Row {
            pieces,
            curvature,
            seed,
            points,
            relative_rmse: (self.squared / values).sqrt() / deviation,
            mean_abs: self.absolute / values,
            max_abs: self.largest,
            agreement: (outputs > 1).then_some(self.agree as f64 / points as f64),
            accuracy: has_labels.then_some(self.correct as f64 / points as f64),
            certificate: self.width / values,
            relative_certificate: self.width / values / deviation,
            violations: self.violated as f64 / values,
            certificate_curvature: certificate.0,
            certificate_label: certificate.1,
            made,
        }
    }
}

/// What is known of a row before anything is measured.
#[derive(Debug, Clone)]
pub(super) struct Unmeasured {
    pub pieces: usize,
    pub curvature: f64,
    pub seed: u64,
    pub points: usize,
    /// The curvature of the error bars, and where it comes from.
    pub certificate: (f64, Label),
    pub made: Made,
}

/// Judges one spline of `pieces` pieces at all points.
///
/// # Errors
/// [`Error::Argument`] for labels that do not fit; as [`evaluate`].
pub fn judge<E: SplineEngine>(
    (program, outputs): (&Program<E>, &[usize]),
    (spline, source): (&Spline, &dyn JetSource<E>),
    (points, labels): (&Dataset, Option<&[u32]>),
    (pieces, made): (usize, Made),
    context: &Context,
) -> Result<Row> {
    if labels.is_some_and(|labels| labels.len() != points.len()) {
        let labels = labels.map_or(0, <[u32]>::len);
        return Err(Error::Argument(format!("{labels} labels for {} points", points.len())));
    }
    let (mut sums, mut all) = (Sums::default(), Outputs::default());
    let least = program.bytes_per_sample(None) + program.scratch_bytes();
    let for_values = least.max(context.memory() / 8);
    let inner = context.clone().with_memory(for_values);
    let outer = context.clone().with_memory(context.memory().saturating_sub(for_values));
    let k = outputs.len();
    evaluate(spline, source, points, Search::Pruned, &outer, |block| {
        let Evaluated { range, value, lower, upper, .. } = block;
        let rows = points.rows::<E::Scalar>(range.clone())?;
        let network = program.values(rows.view(), &inner)?;
        for (i, n) in range.enumerate() {
            let truth: Vec<f64> = outputs.iter().map(|&k| network[[i, k]].f64()).collect();
            all.take(&truth);
            let spline = |output: usize| value[i * k + output].f64();
            let bars = |output: usize| [lower[i * k + output].f64(), upper[i * k + output].f64()];
            sums.take(outputs, spline, bars, &truth, labels.map(|labels| labels[n]));
        }
        Ok(())
    })?;
    let unmeasured = Unmeasured {
        pieces,
        curvature: largest(&spline.curvature),
        seed: context.seed(),
        points: points.len(),
        certificate: (largest(&spline.certificate.curvature), spline.certificate.label),
        made,
    };
    Ok(sums.row(&all, k, labels.is_some(), unmeasured))
}
