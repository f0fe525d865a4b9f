//! Networks as polynomials (NN2Poly; Morala, Cifuentes, Lillo & Ucar 2023): Taylor polynomials of the activations
//! composed through all layers and truncated at a total order.
//!
//! [`Composition::polynomial`] expands a network around a point, in all inputs or in some; a [`Polynomial`] has its
//! monomials in the published order, values and gradients. [`diagnose`] compares both with the network on data, layer by
//! layer, and says where an expansion cannot hold; [`weight_norms`] are those that the method wants constrained.
//!
//! # Example
//!
//! ```
//! use fenchel::engine::{Activation, Context, Cpu};
//! use fenchel::network::{Constant, Network, operators::Dense};
//! use fenchel::polynomial::{Centre, Composition, Settings};
//! use ndarray::array;
//!
//! // tanh(x / 4 + y / 2): x / 4 + y / 2 - (x / 4 + y / 2)^3 / 3 + ..
//! let mut builder = Network::builder();
//! builder.input("x", &[2])?;
//! builder.layer(Dense::new(Constant::f64([2, 1], vec![0.25, 0.5])?, None)?)?;
//! let output = builder.layer(Activation::Tanh)?;
//! let program = builder.finish(&[output])?.compile(&Cpu::<f64>::new())?;
//!
//! let settings = Settings { order: 3, taylor: vec![8], centre: Centre::At(vec![0.0]), smooth: None };
//! let composition = Composition::new(&program, settings, vec![0.0, 0.0])?;
//! let polynomial = composition.polynomial(&[0, 1], &[0], &Context::default())?;
//! let value = polynomial.values(array![[0.2, 0.1]].view())?[[0, 0]];
//! assert!((value - (0.1 - 0.1_f64.powi(3) / 3.0)).abs() < 1e-14);
//! # Ok::<(), fenchel::Error>(())
//! ```

mod composition;
mod diagnosis;
mod evaluation;
mod function;
mod monomials;
mod norms;
mod rules;

pub use composition::{Centre, Composition, Layer, Settings};
pub use diagnosis::{Comparison, Diagnosis, Errors, LayerDiagnosis, QUANTILES, diagnose};
pub use evaluation::Polynomial;
pub use function::Function;
pub use monomials::Monomials;
pub use norms::{WeightNorms, weight_norms};
