//! Arrays that live where an engine computes.

use crate::{Error, Result};

/// A dense row-major array of any rank in an engine's buffer `B`.
///
/// Axis 0 is the batch in everything a network computes. Cloning and reshaping are free: buffers are
/// reference-counted and never written after they are made.
#[derive(Debug, Clone)]
pub struct Tensor<B> {
    shape: Vec<usize>,
    buffer: B,
}

impl<B: Clone> Tensor<B> {
    /// Wraps a buffer that holds exactly the product of `shape` elements (the engine sees to that).
    pub fn new(shape: impl Into<Vec<usize>>, buffer: B) -> Self {
        Self { shape: shape.into(), buffer }
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The length of axis 0.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The engine's buffer.
    pub fn buffer(&self) -> &B {
        &self.buffer
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Self> {
        let shape = shape.into();
        if shape.iter().product::<usize>() != self.len() {
            return Err(Error::Shape(format!("{:?} cannot be reshaped to {shape:?}", self.shape)));
        }
        Ok(Self { shape, buffer: self.buffer.clone() })
    }
}
