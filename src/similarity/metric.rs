//! Metrics on parameter space.

use super::{Gradients, Mask};
use crate::engine::{Engine, TensorOf};
use crate::network::ParameterLayer;
use crate::{Error, Result, Scalar};

use super::combine::Scale;

/// `G` of `<grad f(x), G grad f(y)>`, with the parameters `theta` (Racz & Daroczy 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// `I`: `<g, g'>`.
    Plain,
    /// `theta theta^T`: `<g, theta> <g', theta>`, of rank one.
    Full,
    /// The blocks of it that belong to one layer each: `sum over layers l of <g, theta_l> <g', theta_l>`. The published
    /// program sums `<g, theta_l>` over layers before it multiplies, which is [`Full`](Self::Full).
    Block,
    /// The diagonal of it: `sum over i of theta_i^2 g_i g'_i`.
    Diagonal,
    /// A diagonal of zeros and ones: the coordinates of a [`Mask`].
    Sparse,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Plain, Self::Full, Self::Block, Self::Diagonal, Self::Sparse];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Full => "full",
            Self::Block => "block",
            Self::Diagonal => "diagonal",
            Self::Sparse => "sparse",
        }
    }

    /// Whether it is made of one number for each sample, or layer and sample.
    pub fn is_projected(self) -> bool {
        matches!(self, Self::Full | Self::Block)
    }
}

/// The root of a diagonal metric, which gradients are multiplied with.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    /// Ones.
    None,
    /// The parameters.
    Parameters,
    /// The coordinates that are kept.
    Mask(&'a Mask),
}

impl<'a> Weights<'a> {
    /// Those of a metric.
    ///
    /// # Errors
    /// [`Error::Argument`] for the sparse metric without a mask.
    pub fn of(metric: Metric, mask: Option<&'a Mask>) -> Result<Self> {
        match (metric, mask) {
            (Metric::Sparse, None) => {
                Err(Error::Argument("the sparse metric needs the coordinates it keeps".to_owned()))
            }
            (Metric::Sparse, Some(mask)) => Ok(Self::Mask(mask)),
            (Metric::Diagonal, _) => Ok(Self::Parameters),
            (Metric::Plain | Metric::Full | Metric::Block, _) => Ok(Self::None),
        }
    }

    /// Of a layer's weights and of its bias, as their gradients lie; none where they are ones.
    pub(super) fn values(self, layer: usize, of: &ParameterLayer) -> Option<[Vec<f64>; 2]> {
        let own = || {
            let [weights, bias] = [&of.values.weights, &of.values.bias];
            [weights, bias].map(|values| values.as_ref().map_or(vec![], |values| values.to::<f64>()))
        };
        match self {
            Self::None => None,
            Self::Parameters => Some(own()),
            Self::Mask(mask) => {
                let [weights, bias] = own().map(|values| values.len());
                let all = mask.values(layer, weights + bias);
                Some([all[..weights].to_vec(), all[weights..].to_vec()])
            }
        }
    }

    /// The same on the engine.
    pub(super) fn scale<E: Engine>(self, gradients: &Gradients<E>, layer: usize) -> Result<Option<Scale<E>>> {
        let Some([weights, bias]) = self.values(layer, &gradients.layers()[layer]) else { return Ok(None) };
        let (shape, engine) = (gradients.shapes()[layer], gradients.program().engine());
        let upload = |values: Vec<f64>, shape: &[usize]| -> Result<Option<TensorOf<E>>> {
            if values.is_empty() {
                return Ok(None);
            }
            let values: Vec<E::Scalar> = values.into_iter().map(E::Scalar::of).collect();
            engine.upload(&values, shape).map(Some)
        };
        let [left, right] = shape.depths;
        let groups = shape.bias_groups;
        Ok(Some(Scale {
            weights: upload(weights, &[1, 1, shape.groups, left, right])?,
            bias: upload(bias, &[1, 1, groups, shape.bias / groups.max(1)])?,
        }))
    }
}
