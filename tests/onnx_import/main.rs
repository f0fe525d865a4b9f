//! The ONNX importer: every operator against numbers worked out here, every refusal, and hostile files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attention;
mod dense;
mod functions;
mod graphs;
mod hostile;
mod layout;
mod model;
mod normalization;
#[path = "../common/protobuf.rs"]
mod protobuf;
mod reductions;
mod refusals;
mod selections;
mod splines;
mod windows;
