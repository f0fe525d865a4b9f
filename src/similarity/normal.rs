//! Gradients normalised to the range from 0 to 1, sample by sample.

use crate::data::Dataset;
use crate::engine::{Context, Engine};
use crate::{Error, Result, Scalar};

use super::{Combine, Gradients, Metric, Weights};

/// What the normalisation `(g - low) / size` of a sample's gradient does to its similarities, as published (Racz & Daroczy
/// 2021): low is the least coordinate, size the largest less that.
///
/// With `u = <g, G 1>` and `w = <1, G 1>` the similarity of two normalised gradients is
/// `(k - low' u - low u' + low low' w) / (size size')`: nothing but the gradients' own is needed. In the sparse metric only
/// coordinates that are kept count; the published program sets the others to 0 first and then normalises them too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// The least coordinate.
    pub low: f64,
    /// The largest less the least.
    pub size: f64,
    /// `<g, G 1>`; 0 where the metric is a product of projections, which are normalised themselves.
    pub along: f64,
    /// `<1, G 1>`; likewise.
    pub ones: f64,
}

impl Extent {
    /// The similarity of two normalised gradients from that of the gradients.
    pub(super) fn similarity(&self, other: &Self, plain: f64) -> f64 {
        let shift = self.low * other.low * self.ones - other.low * self.along - self.low * other.along;
        if self.ones == 0.0 { plain } else { (plain + shift) / (self.size * other.size) }
    }
}

/// The extents of the gradients at rows of data.
///
/// # Errors
/// [`Error::Argument`] where more than the gradient of one sum of outputs is compared, or for a gradient whose coordinates
/// are all equal; [`Error::Memory`], [`Error::Cancelled`]; what the data and the engine say.
pub fn extents<E: Engine>(
    gradients: &Gradients<E>,
    metric: Metric,
    weights: Weights<'_>,
    data: &Dataset,
    context: &Context,
) -> Result<Vec<Extent>> {
    if gradients.combine() != Combine::Sum {
        let what = "normalised gradients are those of the sum of the outputs";
        return Err(Error::Argument(format!("{what}, not of each: leave --combine away")));
    }
    let all: Vec<Option<[Vec<f64>; 2]>> =
        gradients.layers().iter().enumerate().map(|(i, layer)| weights.values(i, layer)).collect();
    let squares = |of: &[Vec<f64>; 2]| of.iter().flatten().map(|w| w * w).sum::<f64>();
    let counted = gradients.layers().iter().zip(&all);
    let ones = counted.map(|(layer, of)| of.as_ref().map_or(layer.parameters as f64, squares)).sum::<f64>();
    let empty = Extent { low: f64::INFINITY, size: f64::NEG_INFINITY, along: 0.0, ones };
    let mut extents = vec![empty; data.len()];
    let held = (size_of_val(&extents[..])
        + all.iter().flatten().flatten().map(|v| size_of_val(&v[..])).sum::<usize>()) as u64;
    let is_masked = matches!(weights, Weights::Mask(_));
    context.progress().start("gradients", data.len() as u64);
    gradients.explicit(data, held, context, |range, layer, by_weights, by_bias| {
        let count = range.len();
        for (part, values) in
            [by_weights, by_bias].iter().enumerate().filter(|(_, values)| !values.is_empty())
        {
            let weights = all[layer].as_ref().map(|of| &of[part]);
            let rows = values.chunks_exact(values.len() / count);
            for (extent, row) in extents[range.clone()].iter_mut().zip(rows) {
                for (i, value) in row.iter().enumerate() {
                    let (value, weight) = (value.f64(), weights.map_or(1.0, |weights| weights[i]));
                    extent.along += weight * weight * value;
                    if !is_masked || weight != 0.0 {
                        extent.low = extent.low.min(value);
                        // The largest, until all layers were seen.
                        extent.size = extent.size.max(value);
                    }
                }
            }
        }
        Ok(())
    })?;
    context.progress().finish();
    for (row, extent) in extents.iter_mut().enumerate() {
        extent.size -= extent.low;
        if extent.size <= 0.0 || !extent.size.is_finite() {
            return Err(Error::Argument(format!(
                "the gradient at row {row} is the same in every coordinate: it has no range from 0 to 1"
            )));
        }
        if metric.is_projected() {
            (extent.along, extent.ones) = (0.0, 0.0);
        }
    }
    Ok(extents)
}
