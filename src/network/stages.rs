//! Piecewise affine networks in normal form: stages that bend, and explicit linear maps from each to those behind it.
//!
//! With `y_j` the values of stage `j`, what stage `k` takes is `u_k = r_k(x) + sum_{j < k} y_j M_jk`, `r_k` affine in the
//! input `x` of the network, and `y_k = bend_k(u_k)`. Whatever lies between (dense layers, convolutions, normalisation,
//! average pools, sums of branches) is in the `M_jk`, which the table of operators gives column by column.

mod making;
mod map;

use crate::{Error, Result};

use super::operators::{Slot, repeated_elements};
use super::{Bend, Kind, Network, Node, Op};

use making::Making;

pub(crate) use map::Map;

/// A network of few inputs in normal form.
pub(crate) struct Stages {
    /// What bends, each before those that depend on it.
    pub stages: Vec<Stage>,
    /// What each stage takes, and last the network's outputs.
    pub targets: Vec<Target>,
}

/// A node that bends.
pub(crate) struct Stage {
    /// The node's name.
    pub name: String,
    pub bend: Bend,
    /// Elements of its value.
    pub units: usize,
    /// Targets that its value enters by a linear map, ascending.
    pub links: Vec<(usize, Map)>,
}

/// A node that bends, in a graph as it is.
pub(crate) struct Bending {
    /// Its position in the graph.
    pub node: usize,
    /// The node's name.
    pub name: String,
    pub bend: Bend,
    /// Elements of its value.
    pub units: usize,
    /// The nodes that it takes, side by side; of which element `i` is element `positions[i]`, where not the same.
    pub inputs: Vec<(usize, Option<Vec<usize>>)>,
}

/// What a stage takes.
pub(crate) struct Target {
    /// The part that is affine in the network's input: the values at 0, then the slopes along each input, `[1 + D, n]`.
    pub direct: Vec<f64>,
    /// The Euclidean norm of the weights of each element.
    pub norms: Vec<f64>,
}

impl Network {
    /// The network, of one input and one output, in normal form. What its linear maps take beside the weights stays
    /// within `memory` bytes.
    ///
    /// # Errors
    /// As [`cut`](Self::cut); [`Error::MissingSlot`] for an operator that is not piecewise affine, and [`Error::Graph`] for
    /// one that jumps; [`Error::Memory`].
    pub(crate) fn stages(&self, tool: &'static str, memory: u64) -> Result<Stages> {
        let network = self.cut(None, None)?;
        let making = Making::new(&network, tool)?;
        let targets = making.targets();
        let mut left = memory;
        let mut stages = vec![];
        for (number, &node) in making.bending.iter().enumerate() {
            let links = making.links(number, &mut left)?;
            let (at, bend) = (&network.nodes[node], network.bend(node, tool)?);
            stages.push(Stage { name: at.name.clone(), bend, units: at.shape.iter().product(), links });
        }
        let mut stages = Stages { stages, targets };
        stages.measure();
        Ok(stages)
    }

    /// The nodes that bend and vary with the input, each before those that depend on it.
    ///
    /// # Errors
    /// [`Error::MissingSlot`] for an operator that is not piecewise affine, and [`Error::Graph`] for one that jumps.
    pub(crate) fn bending(&self, tool: &'static str) -> Result<Vec<Bending>> {
        let bending = |i: usize| {
            let node = &self.nodes[i];
            let inputs = node.inputs.iter().map(|&j| (j, self.positions(node, j))).collect();
            let (name, units) = (node.name.clone(), node.shape.iter().product());
            Ok(Bending { node: i, name, bend: self.bend(i, tool)?, units, inputs })
        };
        self.bending_nodes(tool)?.into_iter().map(bending).collect()
    }

    /// The positions of these nodes.
    fn bending_nodes(&self, tool: &'static str) -> Result<Vec<usize>> {
        let mut bending = vec![];
        for ((i, node), _) in self.nodes.iter().enumerate().zip(self.varying()).filter(|(_, varies)| *varies)
        {
            node.require(tool, Slot::AffinePieces)?;
            if node.op.as_ref().is_some_and(|op| op.operator().kind() != Kind::Affine) {
                bending.push(i);
            }
        }
        Ok(bending)
    }

    /// How a node bends.
    fn bend(&self, node: usize, tool: &'static str) -> Result<Bend> {
        let at = &self.nodes[node];
        let shapes: Vec<&[usize]> = at.inputs.iter().map(|&j| self.nodes[j].shape()).collect();
        let bend = at.op.as_ref().and_then(|op| op.bend(&shapes, &at.shape));
        bend.ok_or_else(|| {
            let (name, node) = (at.op.as_ref().map_or("", |op| op.operator().name()), &at.name);
            Error::Graph(format!(
                "{tool} takes continuous piecewise affine operators, which {name} ('{node}') is not"
            ))
        })
    }

    /// The element of node `j` for each that a bending node takes of it, where that is not the same.
    fn positions(&self, node: &Node, j: usize) -> Option<Vec<usize>> {
        let from = self.nodes[j].shape();
        let wide = node.inputs.len() > 1 || matches!(node.op, Some(Op::ArithmeticConstant(_)));
        (wide && from != node.shape()).then(|| repeated_elements(from, node.shape()))
    }
}

impl Stages {
    /// Fills in the norms.
    fn measure(&mut self) {
        for stage in &self.stages {
            for (target, map) in &stage.links {
                let norms = &mut self.targets[*target].norms;
                let count = norms.len();
                match map {
                    Map::Dense(weights) => {
                        for row in weights.chunks_exact(count) {
                            norms.iter_mut().zip(row).for_each(|(norm, w)| *norm += w * w);
                        }
                    }
                    Map::Sparse { positions, weights, .. } => {
                        let entries = positions.iter().zip(weights);
                        entries.for_each(|(&i, w)| norms[i as usize] += w * w);
                    }
                }
            }
        }
        self.targets.iter_mut().flat_map(|target| &mut target.norms).for_each(|norm| *norm = norm.sqrt());
    }
}
