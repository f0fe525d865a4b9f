//! Max-affine spline operators: networks as compositions of maxima and minima of affine pieces (Balestriero &
//! Baraniuk 2018).
//!
//! A smooth activation is no such operator. [`SplinedActivation`] puts one in its place: the activation is split at its
//! inflections into a convex and a concave part, and each part becomes the largest or smallest of a few affine pieces,
//! placed for the least maximum error on the range that data visits. [`Layers`] does so with every smooth activation of
//! a network. What is left is an ordinary [`Network`](crate::network::Network) that is exactly piecewise affine.
//!
//! What such a network does at an input is told by its [`Codes`]: which piece each unit picks.

mod activation;
mod codes;
mod network;
mod place;
mod root;

pub use activation::SplinedActivation;
pub use codes::{CodedPoints, Codes, LayerChoice};
pub use network::{Layer, Layers};
