//! The ONNX importer: every operator against numbers worked out here, every refusal, and hostile files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dense;
mod graphs;
mod hostile;
mod layout;
mod model;
mod refusals;
mod windows;
