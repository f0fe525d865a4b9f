//! Networks whose smooth activations are splines.

use crate::activation::{Activation, PiecewiseAffine};
use crate::data::Dataset;
use crate::engine::{Context, Engine};
use crate::network::{Kind, Network, Op};
use crate::{Error, Result, Scalar};

use super::SplinedActivation;

/// A smooth activation of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its position among the nodes of [`Layers::network`].
    pub node: usize,
    /// The node's name.
    pub name: String,
    /// What it computes.
    pub activation: Activation,
    /// The smallest and the largest input that the data gave it.
    pub range: [f64; 2],
}

/// The smooth activations of a network, and what data they see.
#[derive(Debug, Clone)]
pub struct Layers {
    /// The network, with `x * sigmoid(x)` and GELU written as a product as one activation each.
    pub network: Network,
    /// Its smooth activations, in the order of its nodes.
    pub layers: Vec<Layer>,
}

impl Layers {
    /// Runs data through a network and keeps the range of the inputs of each smooth activation. Rows are streamed.
    ///
    /// # Errors
    /// [`Error::Graph`] where no activation is smooth; [`Error::NonFinite`] where a row makes an input that is no
    /// number; as [`Network::compile`] and [`Program::values`](crate::network::Program::values).
    pub fn measure<E: Engine>(
        network: &Network,
        engine: &E,
        data: &Dataset,
        context: &Context,
    ) -> Result<Self> {
        let network = network.merged()?;
        let mut layers: Vec<Layer> = vec![];
        for (node, at) in network.nodes().iter().enumerate() {
            if let Some(&Op::Activation(activation)) = at.op()
                && activation.pieces().is_none()
            {
                let range = [f64::INFINITY, f64::NEG_INFINITY];
                layers.push(Layer { node, name: at.name().to_owned(), activation, range });
            }
        }
        if layers.is_empty() {
            return Err(Error::Graph(format!(
                "no activation of the network is smooth: it is {} as it stands",
                network.kind()
            )));
        }
        if data.is_empty() {
            return Err(Error::Argument("there are no rows to take ranges from".to_owned()));
        }
        let program = network.compile_exact(engine)?;
        let inputs: Vec<usize> = layers.iter().map(|layer| network.nodes()[layer.node].inputs()[0]).collect();
        context.progress().start("ranges", data.len() as u64);
        for chunk in program.chunks(data.len(), None, context.memory())?.iter() {
            context.check()?;
            let x = program.upload(data.rows::<E::Scalar>(chunk.clone())?.view())?;
            program.visit(&x, |node, value| {
                if !inputs.contains(&node) {
                    return Ok(());
                }
                let values = engine.download(value)?;
                if let Some(at) = values.iter().position(|v| !v.f64().is_finite()) {
                    let row = chunk.start + at / (values.len() / value.rows().max(1)).max(1);
                    let what = format!("the value of '{}'", network.nodes()[node].name());
                    return Err(Error::NonFinite { what, row });
                }
                let low = values.iter().fold(f64::INFINITY, |low, v| low.min(v.f64()));
                let high = values.iter().fold(f64::NEG_INFINITY, |high, v| high.max(v.f64()));
                for (layer, _) in layers.iter_mut().zip(&inputs).filter(|&(_, &input)| input == node) {
                    layer.range = [layer.range[0].min(low), layer.range[1].max(high)];
                }
                Ok(())
            })?;
            context.progress().advance(chunk.len() as u64);
        }
        context.progress().finish();
        Ok(Self { network, layers })
    }

    /// The splines of all layers, with at most `pieces` pieces for each part.
    ///
    /// # Errors
    /// [`Error::Argument`] with the layer's name, as [`SplinedActivation::new`].
    pub fn splines(&self, pieces: usize) -> Result<Vec<SplinedActivation>> {
        let spline = |layer: &Layer| {
            SplinedActivation::new(layer.activation, layer.range, pieces)
                .map_err(|e| Error::Argument(format!("{} ('{}'): {e}", layer.activation.name(), layer.name)))
        };
        self.layers.iter().map(spline).collect()
    }

    /// The network with splines in the place of some of its layers, by their number.
    ///
    /// # Errors
    /// [`Error::Argument`] for a layer that is not there.
    pub fn replaced(&self, splines: &[(usize, &PiecewiseAffine)]) -> Result<Network> {
        let ops = splines.iter().map(|&(layer, spline)| {
            let found = self.layers.get(layer);
            let found = found.ok_or_else(|| Error::Argument(format!("there is no layer {layer}")))?;
            Ok((found.node, Op::PiecewiseAffine(spline.clone())))
        });
        self.network.with_ops(ops.collect::<Result<Vec<_>>>()?)
    }

    /// The network with splines in the place of all layers.
    ///
    /// # Errors
    /// None for as many splines as there are layers.
    pub fn splined(&self, splines: &[SplinedActivation]) -> Result<Network> {
        self.replaced(&splines.iter().map(|spline| &spline.sum).enumerate().collect::<Vec<_>>())
    }

    /// The names of nodes that are smooth but are no activations of one input: they stay as they are.
    pub fn smooth(&self) -> Vec<String> {
        let smooth = |node: &&crate::network::Node| match node.op() {
            None | Some(Op::Activation(_)) => false,
            Some(op) => op.operator().kind() == Kind::Smooth,
        };
        self.network.nodes().iter().filter(smooth).map(|node| node.name().to_owned()).collect()
    }
}
