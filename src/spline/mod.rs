//! Max-affine splines of networks by the Legendre transform, with an error bar on each value.
//!
//! From the jets of a network `g` at anchors `x_i`, with `T_i(x) = v_i + J_i (x - x_i)`, `d_i = |x - x_i|` and
//! curvatures `(a, b)` of each output,
//!
//! ```text
//! L(x) = max_i [ T_i(x) - (a/2) d_i^2 ]      convex envelope  - (a/2) |x|^2
//! U(x) = min_i [ T_i(x) + (b/2) d_i^2 ]      concave envelope + (b/2) |x|^2
//! spline(x) = (b L + a U) / (a + b)          the quadratic terms cancel: piecewise affine
//! ```
//!
//! which is the convex-concave representation of Perrett, Wood & Brown (2023), rearranged so that both halves
//! and all outputs share their distances. Where the curvatures are valid, `L <= g <= U`: the certificate.
//!
//! Anchors and points are streamed: no array of points times anchors is ever stored.
//!
//! # Example
//!
//! ```
//! use fenchel::data::{Dataset, ReadOptions};
//! use fenchel::engine::{Context, Cpu, Search};
//! use fenchel::network::onnx;
//! use fenchel::spline::{Certificate, Label, NetworkJets, Spline, evaluate, secant};
//!
//! let model = onnx::load("assets/moons.onnx".as_ref(), &onnx::LoadOptions::default())?;
//! let program = model.network.compile(&Cpu::<f64>::new())?;
//! let data = Dataset::open("assets/moons.npz".as_ref(), &ReadOptions::default())?;
//! let context = Context::default();
//!
//! // Tangents at 600 points, at the smallest curvature for which they bound the network at 150 others.
//! let jets = NetworkJets::new(&program, data.select_range(0..600)?, vec![0, 1])?;
//! let curvature = secant(&jets, &program, &[0, 1], &data.select_range(600..750)?, &context)?;
//! let certificate = Certificate { curvature: curvature.clone(), label: Label::Tested };
//! let spline = Spline { curvature, certificate, ..Spline::isotropic(1.0, 2)? };
//!
//! // There they hold; elsewhere they are an estimate.
//! let tested = data.select_range(600..750)?;
//! evaluate(&spline, &jets, &tested, Search::Pruned, &context, |chunk| {
//!     let network = program.values(tested.rows(chunk.range.clone())?.view(), &context)?;
//!     for ((lower, upper), g) in chunk.lower.iter().zip(&chunk.upper).zip(&network) {
//!         assert!(lower - 1e-9 < *g && *g < upper + 1e-9);
//!     }
//!     Ok(())
//! })?;
//! # Ok::<(), fenchel::Error>(())
//! ```

mod active;
pub mod curvature;
mod evaluate;
mod file;
mod fit;
mod jets;
pub mod metric;
pub mod planes;
mod recipe;
mod refine;
pub mod selection;
pub mod slice;
pub mod statistics;
mod stream;
mod tune;

use serde::{Deserialize, Serialize};

use crate::engine::Curvature;
use crate::{Error, Result};

pub use active::{Active, ActiveRow, active};
pub use curvature::secant;
pub use evaluate::{Evaluated, evaluate, values};
pub use file::{Header, Provenance, SplineFile, save};
pub use fit::{Fitted, Subject};
pub use jets::{HeldJets, JetSource, NetworkJets, Unchecked};
pub use metric::Metric;
pub use planes::Planes;
pub use recipe::{CurvatureChoice, Domain, MetricChoice, Recipe, SlopesChoice};
pub use refine::{Refinement, Warp, refine};
pub use selection::{
    Choice, ClusterMeans, Clusters, Features, Method, Selection, cluster_means, clusters, select, shuffled,
};
pub use stream::{Demand, PointBlock, envelopes, soft_envelopes};
pub use tune::{Choices, SoftnessChoice, Tuned, Validation, tune};

/// Where a certificate's curvature comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// It holds everywhere on the domain.
    Proved,
    /// It holds over the pairs it was tested on.
    Tested,
    /// It holds for the Hessians at some samples.
    Sampled,
    /// The user gave it.
    Given,
}

impl Label {
    /// The origin as a phrase.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Tested => "holds over tested pairs",
            Self::Sampled => "holds for Hessians at samples",
            Self::Given => "given",
        }
    }
}

/// Curvatures with their origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// For each output.
    pub curvature: Vec<Curvature>,
    /// Their origin.
    pub label: Label,
}

/// A spline of a network, with its error bars.
#[derive(Debug, Clone, PartialEq)]
pub struct Spline {
    /// The metric of the distances.
    pub metric: Metric,
    /// Curvatures of the approximation with respect to the metric, for each output; they weigh its halves.
    pub curvature: Vec<Curvature>,
    /// Its pieces.
    pub form: Form,
    /// The curvatures of the error bars, which unmodified tangents at all anchors give, in the identity metric.
    pub certificate: Certificate,
}

/// What the pieces of a spline are.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Tangents at anchors.
    Tangents(Tangents),
    /// Affine pieces of their own.
    Planes(Planes),
}

/// Tangents at anchors as pieces.
#[derive(Debug, Clone, PartialEq)]
pub struct Tangents {
    /// Anchors of the lower half.
    pub lower: Selection,
    /// Anchors of the upper half.
    pub upper: Selection,
    /// Multiplies their slopes: 1 for tangents as they are, 0 for the value of the anchor alone.
    pub slopes: f64,
    /// How pieces share a point.
    pub softness: Softness,
}

/// How pieces share a point. What is soft is smooth, no longer piecewise affine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Softness {
    /// One piece of each half is active.
    #[default]
    Hard,
    /// The mean of tangents, weighed by `exp(-d_i^2 / (2 tau))`; `tau` in units of squared distance.
    Nearest(f64),
    /// Soft maxima and minima of the halves at a temperature in units of the outputs.
    Halves(f64),
}

impl Default for Tangents {
    /// The published pieces: all tangents as they are.
    fn default() -> Self {
        let (lower, upper) = (Selection::All, Selection::All);
        Self { lower, upper, slopes: 1.0, softness: Softness::Hard }
    }
}

impl Tangents {
    /// # Errors
    /// [`Error::Argument`] for soft tangents of which a half does not take all.
    fn check_soft(&self) -> Result<()> {
        if self.softness == Softness::Hard
            || [&self.lower, &self.upper].iter().all(|half| **half == Selection::All)
        {
            return Ok(());
        }
        Err(Error::Argument("a soft spline takes all anchors into both halves".to_owned()))
    }
}

impl Form {
    /// The tangents where they are hard and as the network has them.
    fn unmodified(&self) -> Option<&Tangents> {
        match self {
            Self::Tangents(tangents) => Some(tangents)
                .filter(|tangents| tangents.slopes == 1.0 && tangents.softness == Softness::Hard),
            Self::Planes(_) => None,
        }
    }
}

impl Spline {
    /// The published spline: one curvature for all outputs and both halves, all anchors, error bars at the same
    /// curvature.
    ///
    /// # Errors
    /// [`Error::Argument`] for a curvature that is negative or not finite.
    pub fn isotropic(curvature: f64, outputs: usize) -> Result<Self> {
        if !(curvature.is_finite() && curvature >= 0.0) {
            return Err(Error::Argument(format!(
                "a curvature must be finite and at least 0, not {curvature}"
            )));
        }
        let curvature = vec![Curvature::isotropic(curvature); outputs];
        let certificate = Certificate { curvature: curvature.clone(), label: Label::Given };
        Ok(Self {
            metric: Metric::Identity,
            curvature,
            form: Form::Tangents(Tangents::default()),
            certificate,
        })
    }

    /// The spline's value of output `k` from both envelopes.
    pub fn value(&self, k: usize, lower: f64, upper: f64) -> f64 {
        let [low, high] = self.curvature[k].weights();
        low * lower + high * upper
    }
}

/// One curvature for all outputs and both halves, the largest of `curvatures`.
pub fn largest(curvatures: &[Curvature]) -> f64 {
    curvatures.iter().fold(0.0, |largest, c| largest.max(c.a).max(c.b))
}
