//! The two floating-point types Fenchel computes in.

use bytemuck::Pod;
use ndarray::NdFloat;

/// A floating-point type that an engine computes in: `f32` or `f64`.
///
/// Conversions go through `f64`, which holds every `f32` exactly.
pub trait Scalar: NdFloat + Pod + npyz::AutoSerialize + std::iter::Sum + Default {
    /// The type's name as it stands in files and on the command line: `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// The nearest value of this type.
    fn of(value: f64) -> Self;

    /// The value as an `f64`, exactly.
    fn f64(self) -> f64;
}

impl Scalar for f32 {
    const NAME: &'static str = "f32";

    fn of(value: f64) -> Self {
        value as f32
    }

    fn f64(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "f64";

    fn of(value: f64) -> Self {
        value
    }

    fn f64(self) -> f64 {
        self
    }
}
