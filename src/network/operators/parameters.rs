//! Gradients by parameters, in factors.

use crate::engine::{Engine, TensorOf, Window};
use crate::network::Constant;
use crate::{Result, Scalar};

use super::{directions, expand};

/// The gradient of a layer's output, times a cotangent, by the layer's own parameters.
///
/// With `N` samples, `r` cotangents of each, `G` groups that share no parameters and `P` positions that share all, the
/// gradient by the weights is `sum over p of a[p, i] d[p, o]` for activations `a` and deltas `d` (Racz & Daroczy
/// 2021). A factor that is the same for all cotangents has the length 1 in the place of `r`.
pub struct ParameterFactors<E: Engine> {
    /// `a [N, r, G, P, I]` and `d [N, r, G, P, O]`; `None` where only a bias is added.
    pub weights: Option<[TensorOf<E>; 2]>,
    /// The gradient by the bias, `[N, r, G, O]`; `None` without one.
    pub bias: Option<TensorOf<E>>,
    /// Whether that is the sum of the deltas over positions, group by group.
    pub sums_deltas: bool,
}

/// Parameters as [`ParameterFactors`] lay their gradient out.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterValues {
    /// `[G, I, O]`
    pub weights: Option<Constant>,
    /// `[G, O]`, flattened.
    pub bias: Option<Constant>,
}

impl ParameterValues {
    /// Filters `[G * O, c, kernel_h, kernel_w]` with a bias.
    pub(super) fn filters(filters: &Constant, bias: Option<&Constant>, groups: usize) -> Result<Self> {
        let outputs = filters.shape()[0] / groups;
        let rows = filters.reshaped([groups, outputs, filters.len() / (groups * outputs)])?;
        Ok(Self { weights: Some(rows.permuted(&[0, 2, 1])?), bias: bias.cloned() })
    }

    /// Parameters that each are a group of their own.
    pub(super) fn elementwise(weights: Option<&Constant>, bias: Option<&Constant>) -> Result<Self> {
        let weights = weights.map(|weights| weights.reshaped([weights.len(), 1, 1])).transpose()?;
        Ok(Self { weights, bias: bias.map(|bias| bias.reshaped([bias.len()])).transpose()? })
    }
}

impl<E: Engine> ParameterFactors<E> {
    /// The gradient by the weights, `[N, r, G, I, O]`.
    ///
    /// # Errors
    /// What the engine says.
    pub fn gradient(&self, engine: &E) -> Result<Option<TensorOf<E>>> {
        self.weights.as_ref().map(|[a, d]| engine.multiply(a, d, [true, false])).transpose()
    }

    /// The sum over positions of deltas `[N, r, G, P, O]`: the gradient by a bias.
    pub(super) fn sum(engine: &E, deltas: &TensorOf<E>) -> Result<TensorOf<E>> {
        let shape = deltas.shape().to_vec();
        engine.sum(deltas, &[3])?.reshaped([shape[0], shape[1], shape[2], shape[4]])
    }

    /// Parameters `[G]` that each belong to the elements of a sample `joined` along the axes where their own shape
    /// `wide` has length 1: deltas `d [N * r, joined..]` and, where the parameters are factors, what they multiply,
    /// `a [N, joined..]`.
    pub(super) fn elementwise(
        engine: &E,
        wide: &[usize],
        factor: Option<&TensorOf<E>>,
        deltas: &TensorOf<E>,
        samples: usize,
    ) -> Result<Self> {
        let joined = deltas.shape()[1..].to_vec();
        let (own, shared): (Vec<usize>, Vec<usize>) = (0..joined.len()).partition(|&axis| wide[axis] != 1);
        let groups: usize = own.iter().map(|&axis| joined[axis]).product();
        let positions: usize = shared.iter().map(|&axis| joined[axis]).product();
        let order: Vec<usize> =
            std::iter::once(0).chain(own.iter().chain(&shared).map(|axis| axis + 1)).collect();
        let arrange = |t: &TensorOf<E>| {
            let t = engine.permute(&expand(engine, t, &joined)?, &order)?;
            t.reshaped([samples, t.rows() / samples.max(1), groups, positions, 1])
        };
        let right = arrange(deltas)?;
        Ok(match factor {
            Some(factor) => Self { weights: Some([arrange(factor)?, right]), bias: None, sums_deltas: false },
            None => Self { weights: None, bias: Some(Self::sum(engine, &right)?), sums_deltas: false },
        })
    }

    /// Those of a convolution from `wide` to `narrow` images, `[N, c, h, w]` or `[N * r, c, h, w]` each: `a` the patches
    /// of the first and `d` the second, a position for each window; `bias` is the cotangent that a bias sums, if there
    /// is one.
    pub(super) fn windows(
        engine: &E,
        [wide, narrow]: [&TensorOf<E>; 2],
        bias: Option<&TensorOf<E>>,
        window: Window,
        groups: usize,
        samples: usize,
    ) -> Result<Self> {
        let patches = directions(&Self::patches(engine, wide, window, groups)?, samples)?;
        let pixels = directions(&Self::pixels(engine, narrow, groups)?, samples)?;
        let bias = bias.map(|cotangent| Self::channels(engine, cotangent, samples)).transpose()?;
        Ok(Self { weights: Some([patches, pixels]), bias, sums_deltas: false })
    }

    /// Patches of images, `[N, c, h, w]` to `[N, G, P, c / G * kernel]`: each window's elements, channel by channel.
    fn patches(engine: &E, x: &TensorOf<E>, window: Window, groups: usize) -> Result<TensorOf<E>> {
        let &[n, channels, height, width] = x.shape() else { unreachable!("images have four axes") };
        let [rows, columns] = window.output([height, width])?;
        let pads = window.pads.map(|pad| pad as isize);
        let zero = E::Scalar::of(0.0);
        let padded = engine.pad(x, &[0, 0, pads[0], pads[1]], &[0, 0, pads[2], pads[3]], zero)?;
        let indices = |axis: usize, count: usize| -> Vec<u32> {
            let taps = 0..window.kernel[axis];
            let at = |k: usize, i: usize| (k * window.dilations[axis] + i * window.strides[axis]) as u32;
            taps.flat_map(|k| (0..count).map(move |i| at(k, i))).collect()
        };
        let taps = engine.select(&engine.select(&padded, 2, &indices(0, rows))?, 3, &indices(1, columns))?;
        let ([kh, kw], own) = (window.kernel, channels / groups);
        let taps = engine
            .permute(&taps.reshaped([n, groups, own, kh, rows, kw, columns])?, &[0, 1, 4, 6, 2, 3, 5])?;
        taps.reshaped([n, groups, rows * columns, own * kh * kw])
    }

    /// Images `[N, c, h, w]` as `[N, G, P, c / G]`.
    fn pixels(engine: &E, x: &TensorOf<E>, groups: usize) -> Result<TensorOf<E>> {
        let &[n, channels, height, width] = x.shape() else { unreachable!("images have four axes") };
        let x = x.reshaped([n, groups, channels / groups, height * width])?;
        engine.permute(&x, &[0, 1, 3, 2])
    }

    /// The gradient by a bias of each channel, from `[N * r, c, h, w]` to `[N, r, 1, c]`.
    fn channels(engine: &E, cotangent: &TensorOf<E>, samples: usize) -> Result<TensorOf<E>> {
        let sum = engine.sum(cotangent, &[2, 3])?;
        let channels = cotangent.shape()[1];
        sum.reshaped([samples, cotangent.rows() / samples.max(1), 1, channels])
    }
}
