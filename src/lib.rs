//! Fenchel turns trained neural networks into affine pieces and computes with them.
//!
//! A network out of an ONNX file becomes a max-affine spline by the Legendre transform of its convex-concave
//! representation: two envelopes of affine pieces, one from below and one from above, whose mean approximates
//! the network and whose distance bounds the error.
//!
//! # Quickstart
//!
//! ```
//! use fenchel::data::{Dataset, Normalization, ReadOptions};
//! use fenchel::engine::{Context, Cpu, Search};
//! use fenchel::network::onnx::{self, LoadOptions};
//! use fenchel::spline::{NetworkJets, Spline, evaluate};
//!
//! // A network, laid out on the CPU in f32.
//! let model = onnx::load("assets/digits_sigmoid.onnx".as_ref(), &LoadOptions::default())?;
//! let program = model.network.compile(&Cpu::<f32>::new())?;
//!
//! // Its jets (values and Jacobians) at 1,000 images are the pieces.
//! let sixteenth = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
//! let options = ReadOptions { key: None, normalization: sixteenth };
//! let digits = Dataset::open("assets/digits.npz".as_ref(), &options)?;
//! let outputs: Vec<usize> = (0..program.outputs()).collect();
//! let jets = NetworkJets::new(&program, digits.select_range(0..1000)?, outputs)?;
//!
//! // The published spline at curvature 3, at images that are no anchors.
//! let spline = Spline::isotropic(3.0, program.outputs())?;
//! let test = digits.select_range(1400..1797)?;
//! let mut wrong = 0;
//! evaluate(&spline, &jets, &test, Search::Pruned, &Context::default(), |chunk| {
//!     let truth = program.values(test.rows(chunk.range.clone())?.view(), &Context::default())?;
//!     for (spline, network) in chunk.value.chunks(10).zip(truth.rows()) {
//!         let largest = |v: &[f32]| (0..10).max_by(|&i, &j| v[i].total_cmp(&v[j]));
//!         wrong += usize::from(largest(spline) != largest(network.as_slice().unwrap()));
//!     }
//!     Ok(())
//! })?;
//! assert!(wrong < 8, "spline and network disagree on {wrong} of 397 digits");
//! # Ok::<(), fenchel::Error>(())
//! ```
//!
//! # The house
//!
//! Each room knows only the rooms below it.
//!
//! | module | what is there |
//! |---|---|
//! | [`cli`] | arguments, progress, tables, exit codes |
//! | [`report`] | sweeps, tables, plots, pages that hold it all |
//! | [`render`] | planes, fields, pictures of any size, contact sheets |
//! | [`spline`] | max-affine splines, curvatures, certificates, spline files |
//! | [`conjugate`] | discrete conjugates on grids, envelopes, Legendre splines without gradients |
//! | [`difference`] | networks as exact differences of convex functions, checked |
//! | [`regions`] | the regions of piecewise affine networks: exact partitions of planes, polytopes, enumerations, paths; their affine maps, reduced and compared |
//! | [`polynomial`] | networks as polynomials, by Taylor series of their activations |
//! | [`similarity`] | inputs compared by the network's parameter gradients: Gram matrices, metrics, classes |
//! | [`maso`] | max-affine spline operators: activations as splines, codes, templates, distances |
//! | [`network`] | graphs, ONNX import, the table of operators, forward passes and jets |
//! | [`engine`] | tensors and kernels, the planner, the context, device choice |
//! | [`activation`] | elementwise functions, and what is known of each |
//! | [`data`] | arrays and images in, arrays out |
//!
//! Everything above [`engine`] is written once, over its trait [`Engine`](engine::Engine).

pub mod activation;
pub mod cli;
pub mod conjugate;
pub mod data;
pub mod difference;
pub mod engine;
pub mod error;
pub mod maso;
pub mod network;
pub mod polynomial;
pub mod regions;
pub mod render;
pub mod report;
pub mod scalar;
pub mod similarity;
pub mod spline;
pub mod tolerance;

pub use error::{Error, Result};
pub use scalar::Scalar;
