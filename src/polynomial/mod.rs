//! Networks as polynomials (NN2Poly; Morala, Cifuentes, Lillo & Ucar 2023): Taylor polynomials of the activations
//! composed through all layers and truncated at a total order.
//!
//! [`Composition::polynomial`] expands a network around a point, in all inputs or in some; a [`Polynomial`] has its
//! monomials in the published order, values and gradients. [`diagnose`] compares both with the network on data, layer by
//! layer, and says where an expansion cannot hold; [`weight_norms`] are those that the method wants constrained.

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
