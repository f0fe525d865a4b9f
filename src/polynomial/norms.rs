//! Norms of weights: what NN2Poly wants constrained.

use serde::Serialize;

use crate::network::{Constant, Network, Op};

/// Norms of the weights of each unit of a layer, its bias included. With inputs in `[-1, 1]` and L1 norms of at most 1
/// every potential stays in `[-1, 1]`, where the Taylor series about 0 of sigmoid, tanh and softplus converge; that is
/// the constraint of the method.
#[derive(Debug, Clone, Serialize)]
pub struct WeightNorms {
    /// The name of the layer's node.
    pub layer: String,
    /// Units, or channels of a convolution.
    pub units: usize,
    /// The largest and the mean L1 norm.
    pub l1: [f64; 2],
    /// The largest and the mean L2 norm.
    pub l2: [f64; 2],
}

/// The norms of the dense layers and convolutions of a network, in the order of its nodes.
pub fn weight_norms(network: &Network) -> Vec<WeightNorms> {
    let layer = |(name, op): (&str, &Op)| {
        let (weights, bias, units): (Vec<f64>, Option<&Constant>, _) = match op {
            Op::Dense(dense) => {
                let units = dense.weights().shape()[1];
                (dense.weights().to(), dense.bias(), units)
            }
            Op::Convolution(convolution) => {
                // [c_out, ..] as [.., c_out], like dense weights.
                let (filters, units) = (convolution.filters().to::<f64>(), convolution.filters().shape()[0]);
                let size = filters.len() / units;
                (
                    (0..filters.len()).map(|i| filters[i % units * size + i / units]).collect(),
                    convolution.bias(),
                    units,
                )
            }
            _ => return None,
        };
        let (mut l1, mut squares) = (vec![0.0; units], vec![0.0; units]);
        let bias = bias.map(Constant::to::<f64>).unwrap_or_default();
        for row in weights.chunks_exact(units).chain(bias.chunks_exact(units)) {
            for (unit, w) in row.iter().enumerate() {
                l1[unit] += w.abs();
                squares[unit] += w * w;
            }
        }
        let l2: Vec<f64> = squares.iter().map(|s: &f64| s.sqrt()).collect();
        let both = |norms: &[f64]| {
            [norms.iter().copied().fold(0.0, f64::max), norms.iter().sum::<f64>() / units as f64]
        };
        Some(WeightNorms { layer: name.to_owned(), units, l1: both(&l1), l2: both(&l2) })
    };
    let nodes = network.nodes().iter().filter_map(|node| node.op().map(|op| (node.name(), op)));
    nodes.filter_map(layer).collect()
}
