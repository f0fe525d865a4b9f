//! Spline files: safetensors with a JSON header, written and read block by block.
//!
//! The JSON document is the value of `fenchel` in the safetensors metadata: a [`Header`]. Tensors, with `M` anchors of
//! `D` elements, `K` outputs and `r` coordinates of the metric:
//!
//! | tensor | shape | there |
//! |---|---|---|
//! | `anchors.indices` (rows of the data), `anchors.points`, `anchors.values`, `anchors.slopes` | `[M]`, `[M, D]`, `[M, K]`, `[M, K, D]` | always: the unmodified jets |
//! | `curvature`, `certificate.curvature` (`a`, `b`) | `[K, 2]` | always |
//! | `lower.selection`, `upper.selection` (positions among the anchors) | any | where the half does not take all anchors |
//! | `metric.weights` | `[D]`, or `[r]` beside a basis | unless the metric is the identity |
//! | `metric.basis`, `metric.rest` (the form along all else) | `[r, D]`, `[1]` | where the metric has directions |
//! | `planes.center` | `[r]` | where pieces are no tangents |
//! | `lower.slopes`, `lower.offsets`, and likewise `upper` | `[K, P, r]`, `[K, P]` | where pieces are no tangents |

mod read;
mod write;

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use crate::Scalar;
use crate::data::Normalization;

use super::{Form, Label, Softness, Spline};

pub use read::SplineFile;
pub use write::save;

/// The version of the format that this version writes and reads.
const VERSION: u32 = 2;

/// The JSON document in a spline file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of this format: 2.
    pub version: u32,
    /// The version of Fenchel that wrote it.
    pub fenchel: String,
    /// Where the jets come from.
    pub provenance: Provenance,
    /// How values of data became inputs of the network; applies to points as well.
    pub normalization: Normalization,
    /// What pieces are: `tangents` or `planes`.
    pub form: String,
    /// What multiplies the slopes of tangents.
    pub slopes: f64,
    /// How pieces share a point.
    pub softness: Softness,
    /// Where the certificate's curvature comes from.
    pub certificate: Label,
}

/// Where jets come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The model's file name.
    pub model: String,
    /// SHA-256 of the model.
    pub model_sha256: String,
    /// The node whose value is approximated; the model's output where absent.
    pub node: Option<String>,
    /// The chosen outputs, as numbered in the model.
    pub outputs: Vec<usize>,
    /// The data's file name.
    pub data: String,
    /// SHA-256 of the data's shape, type and values.
    pub data_sha256: String,
    /// How the pieces were chosen, such as `all` or `random`.
    pub selection: String,
    /// How the curvature was chosen, such as `given` or `secant`.
    pub curvature: String,
    /// How the metric was chosen, such as `identity`.
    pub metric: String,
    /// How the slopes were chosen, such as `given` or `refined`.
    pub slopes: String,
    /// The seed of everything random.
    pub seed: u64,
}

impl Header {
    /// A header of the present version.
    pub fn new(provenance: Provenance, normalization: Normalization, spline: &Spline) -> Self {
        let (form, slopes, softness) = match &spline.form {
            Form::Tangents(tangents) => ("tangents", tangents.slopes, tangents.softness),
            Form::Planes(_) => ("planes", 1.0, Softness::Hard),
        };
        Self {
            version: VERSION,
            fenchel: env!("CARGO_PKG_VERSION").to_owned(),
            provenance,
            normalization,
            form: form.to_owned(),
            slopes,
            softness,
            certificate: spline.certificate.label,
        }
    }
}

/// The type's name in the format.
fn dtype<S: Scalar>() -> Dtype {
    if S::NAME == "f32" { Dtype::F32 } else { Dtype::F64 }
}
