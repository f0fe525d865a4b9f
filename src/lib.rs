//! Fenchel turns trained neural networks into affine pieces and computes with them.
//!
//! A network out of an ONNX file becomes a max-affine spline by the Legendre transform of its convex-concave
//! representation: two envelopes of affine pieces, one from below and one from above, whose mean approximates
//! the network and whose distance bounds the error.
//!
//! # Quickstart
//!
//! From an ONNX file to a spline to its error bars:
//!
//! ```
//! use fenchel::data::{Dataset, Normalization, ReadOptions};
//! use fenchel::engine::{Context, Cpu, Search};
//! use fenchel::network::onnx::{self, LoadOptions};
//! use fenchel::spline::{Certificate, Label, NetworkJets, Spline, evaluate, secant};
//!
//! // A network, laid out on the CPU in f32.
//! let model = onnx::load("assets/digits_sigmoid.onnx".as_ref(), &LoadOptions::default())?;
//! let program = model.network.compile(&Cpu::<f32>::new())?;
//! let outputs: Vec<usize> = (0..program.outputs()).collect();
//!
//! // Its jets (values and Jacobians) at 1,000 images are the pieces.
//! let sixteenth = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
//! let options = ReadOptions { key: None, normalization: sixteenth };
//! let digits = Dataset::open("assets/digits.npz".as_ref(), &options)?;
//! let jets = NetworkJets::new(&program, digits.select_range(0..1000)?, outputs.clone())?;
//!
//! // The published spline at curvature 3. Its error bars: the smallest curvatures that hold at 400 other images.
//! let context = Context::default();
//! let curvature = secant(&jets, &program, &outputs, &digits.select_range(1000..1400)?, &context)?;
//! let certificate = Certificate { curvature, label: Label::Tested };
//! let spline = Spline { certificate, ..Spline::isotropic(3.0, outputs.len())? };
//!
//! // At images that are neither.
//! let test = digits.select_range(1400..1797)?;
//! let (mut wrong, mut outside) = (0, 0);
//! evaluate(&spline, &jets, &test, Search::Pruned, &context, |chunk| {
//!     let truth = program.values(test.rows(chunk.range.clone())?.view(), &context)?;
//!     for (spline, network) in chunk.value.chunks(10).zip(truth.rows()) {
//!         let largest = |v: &[f32]| (0..10).max_by(|&i, &j| v[i].total_cmp(&v[j]));
//!         wrong += usize::from(largest(spline) != largest(network.as_slice().unwrap()));
//!     }
//!     let bars = chunk.lower.iter().zip(&chunk.upper);
//!     outside += bars.zip(&truth).filter(|((lower, upper), g)| g < lower || g > upper).count();
//!     Ok(())
//! })?;
//! assert!(wrong < 8, "spline and network disagree on {wrong} of 397 digits");
//! // They hold over tested pairs; here one value in 170 lies outside.
//! assert!(outside < 40, "{outside} of 3970 values lie outside their error bars");
//! # Ok::<(), fenchel::Error>(())
//! ```
//!
//! Each module below begins with an example of its own. The guides are in `docs/` beside the source: what each tool does,
//! the mathematics, file formats, limits.
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
mod cholesky;
mod classes;
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
