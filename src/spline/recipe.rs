//! How a spline is to be made.

use serde::{Deserialize, Serialize};

use crate::engine::Curvature;
use crate::{Error, Result};

use super::tune::SoftnessChoice;
use super::{Choice, Label, Metric, Refinement, Softness, metric};

/// How a curvature is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CurvatureChoice {
    /// These, for all outputs.
    Given(Curvature),
    /// The one with the least error on the validation points.
    Chosen,
    /// The smallest that holds over all pairs of anchors and validation points.
    Secant,
    /// From the extreme eigenvalues of Hessians at the first 64 rows of the anchors' data.
    Hessian,
    /// Proved on the domain.
    Proved,
}

impl CurvatureChoice {
    /// What can be said of bounds at such a curvature; nothing of one that is chosen for its error.
    pub fn label(self) -> Option<Label> {
        match self {
            Self::Given(_) => Some(Label::Given),
            Self::Chosen => None,
            Self::Secant => Some(Label::Tested),
            Self::Hessian => Some(Label::Sampled),
            Self::Proved => Some(Label::Proved),
        }
    }
}

/// What the slopes of pieces are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlopesChoice {
    /// Those of the tangents times a factor.
    Given(f64),
    /// The factor with the least error on the validation points.
    Chosen,
    /// Means of the jets in clusters of the anchors' inputs: one piece for each.
    Averaged,
}

/// The metric that a spline is fitted in.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricChoice {
    /// This one.
    Given(Metric),
    /// One of a family, with the power of gradient metrics and how many directions count (by default as many as the
    /// family says).
    Found {
        /// The family.
        family: metric::Family,
        /// The power.
        power: f64,
        /// The directions.
        rank: Option<usize>,
    },
}

/// A box that curvatures are proved on.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// The smallest coordinates `[D]`.
    pub low: Vec<f64>,
    /// The largest coordinates `[D]`.
    pub high: Vec<f64>,
    /// How many boxes it may be split into.
    pub boxes: usize,
}

/// How a spline is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Pieces of each half.
    pub pieces: usize,
    /// How anchors are chosen.
    pub selection: Choice,
    /// The metric.
    pub metric: MetricChoice,
    /// The curvature.
    pub curvature: CurvatureChoice,
    /// Whether each output has a curvature of its own.
    pub per_output: bool,
    /// The slopes.
    pub slopes: SlopesChoice,
    /// The softness.
    pub softness: SoftnessChoice,
    /// Steps of refinement; none with 0.
    pub refine: usize,
    /// Rows are images: the strength of the warps at which a refinement asks the network too.
    pub warp: Option<f64>,
    /// The rate at which a round of refinement begins.
    pub rate: f64,
    /// The curvature of the error bars; where absent that of the spline, or the secant's where it says nothing of them
    /// (chosen on validation, or in another metric).
    pub certificate: Option<CurvatureChoice>,
    /// Where curvatures are proved.
    pub domain: Option<Domain>,
}

impl Recipe {
    /// The published spline of so many pieces, with its curvature chosen on validation.
    pub fn new(pieces: usize) -> Self {
        Self {
            pieces,
            selection: Choice::default(),
            metric: MetricChoice::Given(Metric::Identity),
            curvature: CurvatureChoice::Chosen,
            per_output: false,
            slopes: SlopesChoice::Given(1.0),
            softness: SoftnessChoice::Given(Softness::Hard),
            refine: 0,
            warp: None,
            rate: Refinement::RATE,
            certificate: None,
            domain: None,
        }
    }

    /// # Errors
    /// [`Error::Argument`] for choices that do not fit together.
    pub fn check(&self) -> Result<()> {
        let bad = |what: &str| Err(Error::Argument(what.to_owned()));
        let hard = self.softness == SoftnessChoice::Given(Softness::Hard);
        if self.refine > 0 && !hard {
            return bad("refined pieces are hard: leave out the softness or the refinement");
        }
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return bad("the rate of a refinement must be finite and above 0");
        }
        if self.warp.is_some() && self.refine == 0 {
            return bad("warped images are for refinement: leave out the warp, or refine");
        }
        if self.slopes == SlopesChoice::Averaged && !hard {
            return bad("averaged pieces are hard: leave out the softness, or take other slopes");
        }
        let plain = self.metric == MetricChoice::Given(Metric::Identity);
        if !plain && matches!(self.curvature, CurvatureChoice::Hessian | CurvatureChoice::Proved) {
            return bad("Hessian and proved curvatures are those of the identity metric: take that, or auto");
        }
        let uses = |choice| self.curvature == choice || self.certificate == Some(choice);
        if uses(CurvatureChoice::Proved) && self.domain.is_none() {
            return bad("a proved curvature needs the box that it is to hold on");
        }
        if self.certificate == Some(CurvatureChoice::Chosen) {
            return bad("the curvature of least error bounds nothing: choose another for the error bars");
        }
        Ok(())
    }

    /// Whether something is chosen or estimated on validation points.
    pub fn needs_validation(&self) -> bool {
        let estimated =
            |choice: &CurvatureChoice| matches!(choice, CurvatureChoice::Chosen | CurvatureChoice::Secant);
        let given = matches!(self.curvature, CurvatureChoice::Given(_));
        estimated(&self.curvature)
            || (self.selection.needs_curvature() && !given)
            || self.certificate.as_ref().is_some_and(estimated)
            || self.slopes == SlopesChoice::Chosen
            || !matches!(self.softness, SoftnessChoice::Given(_))
            || self.refine > 0
            || self.metric != MetricChoice::Given(Metric::Identity)
    }
}
