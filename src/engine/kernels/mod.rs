//! What kernels are told: the parameters that every engine shares, in a file of the kernel's name where one kernel
//! alone has them.

mod arithmetic;
mod conjugate;
mod descent;
mod envelope;
mod epilogue;
mod gram;
mod jets;
mod max_affine;
mod packing;
mod series_product;
mod slice;
mod soft_envelope;
mod taps;
mod window;

pub use crate::activation::Activation;
pub use arithmetic::Arithmetic;
pub use conjugate::ConjugateValues;
pub use descent::{Pulls, Step};
pub use envelope::{EnvelopeSpec, EnvelopeValues};
pub use epilogue::Epilogue;
pub use gram::Factors;
pub use jets::{Curvature, Jets};
pub use max_affine::{MaxAffineSpec, MaxAffineValues, Search};
pub use packing::{Packing, UnitWords};
pub use series_product::ProductTable;
pub use slice::SliceValues;
pub(super) use soft_envelope::Softness;
pub use soft_envelope::{SoftHalves, SoftSpec, SoftValues};
pub(super) use taps::Taps;
pub use window::Window;
