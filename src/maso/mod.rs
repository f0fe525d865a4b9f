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
//!
//! # Example
//!
//! ```
//! use fenchel::data::{Dataset, ReadOptions};
//! use fenchel::engine::{Context, Cpu};
//! use fenchel::maso::{Codes, LayerChoice, SplineOperators, templates};
//! use fenchel::network::onnx;
//!
//! let model = onnx::load("assets/moons.onnx".as_ref(), &onnx::LoadOptions::default())?;
//! let (engine, context) = (Cpu::<f64>::new(), Context::default());
//! let data = Dataset::open("assets/moons.npz".as_ref(), &ReadOptions::default())?.select_range(0..50)?;
//!
//! // Two layers of 16 units of two pieces each, and what follows them, which is affine.
//! let operators = SplineOperators::new(&model.network)?;
//! let pieces: Vec<usize> = operators.layers().iter().map(|layer| layer.pieces()).collect();
//! assert_eq!(pieces, [2, 2, 1]);
//!
//! // Inputs with equal codes see the same affine map A x + b.
//! let codes = Codes::new(&engine, &model.network, &LayerChoice::All, "an example")?;
//! let packed = codes.of(&data, &context)?;
//! let mut maps = vec![];
//! templates(&model.network.compile(&engine)?, &data, &[0, 1], true, &context, |part| {
//!     maps.extend(part.slopes.chunks(4).map(<[f64]>::to_vec));
//!     Ok(())
//! })?;
//! for (i, j) in (0..50).flat_map(|i| (0..i).map(move |j| (i, j))) {
//!     if packed.row(i) == packed.row(j) {
//!         assert!(maps[i].iter().zip(&maps[j]).all(|(a, b)| (a - b).abs() < 1e-11));
//!     }
//! }
//! # Ok::<(), fenchel::Error>(())
//! ```

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
