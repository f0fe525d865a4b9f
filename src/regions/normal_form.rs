//! Networks in normal form, with the places of their units in codes.

use crate::network::{Kind, Network, Stages};
use crate::{Error, Result};

use super::codes::CodeLayer;

/// A piecewise affine network in normal form.
pub(super) struct Affine {
    pub dimension: usize,
    pub stages: Stages,
    pub layers: Vec<CodeLayer>,
}

impl Affine {
    /// Of a network of one input and one output.
    ///
    /// # Errors
    /// As [`Network::cut`]; [`Error::MissingSlot`], [`Error::Graph`] where it is not piecewise affine; [`Error::Memory`]
    /// where the affine functions of all units, or the maps between them, do not fit.
    pub(super) fn new(network: &Network, tool: &'static str, memory: u64) -> Result<Self> {
        let network = network.cut(None, None)?;
        let dimension = network.dimension();
        plan(&network, memory)?;
        let stages = network.stages(tool, memory / 4)?;
        let layers = CodeLayer::of(&stages);
        Ok(Self { dimension, stages, layers })
    }

    pub(super) fn words(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.words.end)
    }
}

/// That the affine functions of all that bends fit.
///
/// # Errors
/// [`Error::Memory`].
pub(super) fn plan(network: &Network, memory: u64) -> Result<()> {
    let (functions, dimension) = (functions(network), network.dimension());
    // What stages take at the beginning and on the way, walls, and a dictionary of walls; the directions of a box.
    let needed = (((functions * 5 + dimension) * (1 + dimension)) * size_of::<f64>()) as u64;
    if needed > memory / 2 {
        let what = format!("the affine functions of {functions} units of {dimension} inputs");
        return Err(Error::Memory { what, needed: 2 * needed, budget: memory });
    }
    Ok(())
}

/// That each of some threads can hold the linear programs of a region with the ends of a box.
///
/// # Errors
/// [`Error::Memory`].
pub(super) fn programs_fit(network: &Network, threads: usize, memory: u64) -> Result<()> {
    let (functions, dimension) = (functions(network), network.dimension());
    let needed = (threads * 2 * (functions + 3 * dimension) * (2 + dimension) * size_of::<f64>()) as u64;
    if needed > memory / 2 {
        let what = format!(
            "the linear programs of {functions} units in {dimension} dimensions by {threads} threads"
        );
        return Err(Error::Memory { what, needed: 2 * needed, budget: memory });
    }
    Ok(())
}

/// How many affine functions of the input a network has: of all that bends, and of what is affine from the input on.
fn functions(network: &Network) -> usize {
    let length = |i: usize| network.nodes()[i].shape().iter().product::<usize>();
    let bends = |i: usize| network.nodes()[i].op().is_some_and(|op| op.operator().kind() != Kind::Affine);
    let nodes = 0..network.nodes().len();
    let inputs =
        nodes.filter(|&i| bends(i)).flat_map(|i| network.nodes()[i].inputs().iter().map(|&j| length(j)));
    inputs.sum::<usize>() + network.output_len()
}
