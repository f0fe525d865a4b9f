//! Fenchel.
pub mod cli;
pub mod data;
pub mod engine;
pub mod error;
pub mod network;
pub mod report;
pub mod scalar;
pub mod spline;
pub mod tolerance;
pub use error::{Error, Result};
pub use scalar::Scalar;
