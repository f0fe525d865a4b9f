//! Where the elements lie that a position of a convolution sums over.

use super::Window;

/// One part of the output of a convolution or of its transpose: the positions that sum over the same taps.
///
/// Position `g` of the grid sees the input at `g * step + tap` and is output `origin + g * stride`. A convolution is
/// one part with the window's strides as steps. Its transpose has a part for each residue of the strides: input `i` of
/// the convolution was seen by output `o` through kernel element `k` where `i + pad = o * stride + k * dilation`; for
/// `i = residue + g * stride` the elements that can be are the same for all `g`, and
/// `o = g + (residue + pad - k * dilation) / stride`.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Taps {
    /// Kernel elements along either axis and where they see the input.
    pub axes: [Vec<(usize, isize)>; 2],
}

impl Taps {
    /// Steps are the window's strides, strides are 1.
    pub(in crate::engine) fn forward(window: &Window) -> Vec<Self> {
        let taps = |axis: usize| {
            (0..window.kernel[axis])
                .map(|k| (k, (k * window.dilations[axis]) as isize - window.pads[axis] as isize))
                .collect()
        };
        vec![Self { axes: [taps(0), taps(1)] }]
    }

    /// The parts of all residues in row-major order. Steps are 1, strides are the window's.
    pub(in crate::engine) fn backward(window: &Window) -> Vec<Self> {
        let taps = |axis: usize, residue: usize| -> Vec<(usize, isize)> {
            let stride = window.strides[axis] as isize;
            (0..window.kernel[axis])
                .map(|k| (k, (residue + window.pads[axis]) as isize - (k * window.dilations[axis]) as isize))
                .filter(|(_, numerator)| numerator % stride == 0)
                .map(|(k, numerator)| (k, numerator / stride))
                .collect()
        };
        let [rows, columns] = window.strides;
        let residues = (0..rows).flat_map(|y| (0..columns).map(move |x| [y, x]));
        residues.map(|[y, x]| Self { axes: [taps(0, y), taps(1, x)] }).collect()
    }
}
