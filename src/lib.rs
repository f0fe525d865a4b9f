//! Fenchel.
pub mod data;
pub mod engine;
pub mod error;
pub mod network;
pub mod scalar;
pub mod tolerance;
pub use error::{Error, Result};
pub use scalar::Scalar;
