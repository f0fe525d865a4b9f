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

mod curvature;
mod evaluate;
mod file;
mod jets;
mod selection;
pub mod slice;
mod stream;

use serde::{Deserialize, Serialize};

use crate::engine::Curvature;
use crate::{Error, Result};

pub use curvature::secant;
pub use evaluate::{Evaluated, evaluate};
pub use file::{Header, Provenance, SplineFile, save};
pub(crate) use jets::check_rows;
pub use jets::{JetSource, NetworkJets, Unchecked};
pub use selection::{Selection, shuffled};
pub use stream::{Demand, PointBlock, envelopes};

/// Where a certificate's curvature comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// It holds everywhere on the domain.
    Proved,
    /// It holds over the pairs it was tested on.
    Tested,
    /// The user gave it.
    Given,
}

impl Label {
    /// The origin as a phrase.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Tested => "holds over tested pairs",
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

/// What makes a spline of jets.
#[derive(Debug, Clone, PartialEq)]
pub struct Spline {
    /// Curvatures of the approximation, for each output.
    pub curvature: Vec<Curvature>,
    /// Anchors of the lower envelope.
    pub lower: Selection,
    /// Anchors of the upper envelope.
    pub upper: Selection,
    /// The curvatures of the error bars, from all anchors.
    pub certificate: Certificate,
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
        Ok(Self { curvature, lower: Selection::All, upper: Selection::All, certificate })
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
