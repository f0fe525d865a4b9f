//! Sliding windows.

use crate::{Error, Result};

/// Sliding windows over the last two axes, as ONNX has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub strides: [usize; 2],
    /// Steps between the elements of one window.
    pub dilations: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pads: [usize; 4],
}

impl Window {
    /// A window with stride 1, no dilation and no padding.
    pub fn new(kernel: [usize; 2]) -> Self {
        Self { kernel, strides: [1, 1], dilations: [1, 1], pads: [0; 4] }
    }

    /// The same with other strides.
    #[must_use]
    pub fn with_strides(self, strides: [usize; 2]) -> Self {
        Self { strides, ..self }
    }

    /// The same with padding: top, left, bottom, right.
    #[must_use]
    pub fn with_pads(self, pads: [usize; 4]) -> Self {
        Self { pads, ..self }
    }

    /// The same with other dilations.
    #[must_use]
    pub fn with_dilations(self, dilations: [usize; 2]) -> Self {
        Self { dilations, ..self }
    }

    /// How many windows fit into an image of `[height, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where none fits, or a length is 0 or overflows.
    pub fn output(&self, size: [usize; 2]) -> Result<[usize; 2]> {
        let along = |i: usize| -> Option<usize> {
            let reach = self.kernel[i].checked_sub(1)?.checked_mul(self.dilations[i])?.checked_add(1)?;
            let padded = size[i].checked_add(self.pads[i])?.checked_add(self.pads[i + 2])?;
            let steps = padded.checked_sub(reach)?.checked_div(self.strides[i])?;
            (self.dilations[i] > 0).then_some(steps + 1)
        };
        match (along(0), along(1)) {
            (Some(h), Some(w)) => Ok([h, w]),
            _ => Err(Error::Shape(format!("{self:?} does not fit into an image of {size:?}"))),
        }
    }

    /// The rows or columns (`axis` 0 or 1) of the image that window number `position` sees: for each element of
    /// the window its coordinate, `None` in the padding.
    pub fn coordinates(
        &self,
        axis: usize,
        position: usize,
        size: usize,
    ) -> impl Iterator<Item = Option<usize>> + '_ {
        let start = position * self.strides[axis];
        (0..self.kernel[axis]).map(move |k| {
            (start + k * self.dilations[axis]).checked_sub(self.pads[axis]).filter(|&i| i < size)
        })
    }
}
