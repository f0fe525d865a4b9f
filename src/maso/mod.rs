//! Max-affine spline operators: networks as compositions of maxima and minima of affine pieces (Balestriero &
//! Baraniuk 2018).
//!
//! A smooth activation is no such operator. [`SplinedActivation`] puts one in its place: the activation is split at its
//! inflections into a convex and a concave part, and each part becomes the largest or smallest of a few affine pieces,
//! placed for the least maximum error on the range that data visits. [`Layers`] does so with every smooth activation of
//! a network. What is left is an ordinary [`Network`](crate::network::Network) that is exactly piecewise affine.
//!
//! Layer by layer such a network is its [`SplineOperators`], with the slopes and offsets of all pieces of each unit.
//!
//! What such a network does at an input is told by its [`Codes`], which piece each unit picks: how many there are
//! ([`populations`]) and how far two inputs lie apart ([`Distances`]). Given the codes the network is affine, with
//! [`templates()`] as its slopes.

mod activation;
mod codes;
mod distance;
mod network;
mod operators;
mod orthogonality;
mod place;
mod population;
mod root;
mod templates;

pub use activation::SplinedActivation;
pub use codes::{CodedPoints, Codes, LayerChoice, Packed, hash};
pub use distance::{Distances, Neighbours};
pub use network::{Layer, Layers};
pub use operators::{Form, LayerInput, LayerMap, Rows, SplineOperator, SplineOperators, UnitPieces};
pub use orthogonality::{Orthogonality, correlation, gram, last_layer_penalty, penalty};
pub use population::{Population, populations};
pub use templates::{LayerTemplates, Templates, layer_templates, smooth_nodes, templates};
