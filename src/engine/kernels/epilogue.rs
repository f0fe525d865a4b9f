//! What follows a product while its elements are at hand.

use crate::activation::Activation;
use crate::engine::Tensor;

/// What happens to a product's elements while they are at hand: `activation(product + bias)`.
#[derive(Debug)]
pub struct Epilogue<'a, B> {
    /// One number for each output feature (the last axis of a matrix product) or channel (of a convolution).
    pub bias: Option<&'a Tensor<B>>,
    /// The function of each element.
    pub activation: Option<Activation>,
}

impl<B> Epilogue<'_, B> {
    /// Nothing but the product.
    pub const NONE: Self = Self { bias: None, activation: None };
}

// Derived, these would ask the same of the buffer.
impl<B> Clone for Epilogue<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Epilogue<'_, B> {}
