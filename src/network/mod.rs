//! Networks: graphs of named nodes, from ONNX files or built in code, and what they compute on any engine.
//!
//! A [`Network`] is free of any engine and keeps every node of its file, so that it can be cut at any of them.
//! [`Network::compile`] makes a [`Program`] of it, which simplifies, lays out weights, and runs.
//!
//! # Example
//!
//! ```
//! use fenchel::engine::{Context, Cpu};
//! use fenchel::network::{Kind, onnx};
//! use ndarray::array;
//!
//! let model = onnx::load("assets/moons.onnx".as_ref(), &onnx::LoadOptions::default())?;
//! assert_eq!(model.network.kind(), Kind::PiecewiseAffine);
//!
//! // Outputs and Jacobians, in f64.
//! let program = model.network.compile(&Cpu::<f64>::new())?;
//! let x = array![[0.5, 0.25]];
//! let values = program.values(x.view(), &Context::default())?;
//! let jets = program.jets(&program.upload(x.view())?, &[0, 1])?;
//! assert_eq!((values.dim(), jets.jacobians.shape()), ((1, 2), &[1, 2, 2][..]));
//!
//! // Any node may be the output.
//! let hidden = model.network.cut(None, Some("relu1"))?.compile(&Cpu::<f64>::new())?;
//! assert_eq!(hidden.outputs(), 16);
//! # Ok::<(), fenchel::Error>(())
//! ```

mod builder;
mod constant;
mod difference;
pub mod onnx;
pub mod operators;
mod program;
mod simplify;
mod slice;
mod stages;

use std::collections::HashMap;

use crate::{Error, Result};
use operators::{Concat, Fixed, Reshape};

pub use builder::{Builder, NodeId};
pub use constant::Constant;
pub use difference::{ConvexRule, Pair, Part, Rewriting, Side};
pub(crate) use operators::{Bend, Table, Windows};
pub use operators::{Kind, Op, SeriesRule, Slot};
pub use program::{CodedLayer, ParameterLayer, Program};
pub(crate) use program::{Series, SeriesRules, check_finite, columns, lengthened};
pub(crate) use stages::{Bending, Map, Stages};

/// A node of a graph: an input, or an operator with its output.
#[derive(Debug, Clone)]
pub struct Node {
    name: String,
    value: String,
    op: Option<Op>,
    inputs: Vec<usize>,
    shape: Vec<usize>,
}

impl Node {
    /// The node's name in the file, or that of its value where it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the value it makes.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What it computes; `None` for an input of the graph.
    pub fn op(&self) -> Option<&Op> {
        self.op.as_ref()
    }

    /// The positions of its inputs among the network's nodes.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// The shape of its value for one sample, without the batch.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Refuses its operator, by name, if it lacks a slot that `tool` needs.
    fn require(&self, tool: &'static str, slot: Slot) -> Result<()> {
        match self.op.as_ref().map(Op::operator) {
            Some(operator) if !operator.has(slot) => Err(Error::MissingSlot {
                tool,
                slot: slot.name(),
                operator: operator.name().to_owned(),
                node: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// A graph of named nodes in an order in which they can be computed.
#[derive(Debug, Clone)]
pub struct Network {
    nodes: Vec<Node>,
    outputs: Vec<usize>,
    names: HashMap<String, usize>,
}

impl Network {
    /// Begins a network in code.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The nodes, inputs first used before their users.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The inputs of the graph.
    pub fn inputs(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.op.is_none())
    }

    /// The outputs of the graph.
    pub fn outputs(&self) -> impl Iterator<Item = &Node> {
        self.outputs.iter().map(|&i| &self.nodes[i])
    }

    /// The elements of a sample of the first input.
    pub(crate) fn dimension(&self) -> usize {
        self.inputs().next().map_or(0, |node| node.shape.iter().product())
    }

    /// The elements of an output sample, of all outputs together.
    pub(crate) fn output_len(&self) -> usize {
        self.outputs().map(|node| node.shape.iter().product::<usize>()).sum()
    }

    /// Whether each node is an input or depends on one.
    pub(crate) fn varying(&self) -> Vec<bool> {
        let mut varies: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            varies.push(node.op.is_none() || node.inputs.iter().any(|&j| varies[j]));
        }
        varies
    }

    /// The number of parameters.
    pub fn parameters(&self) -> usize {
        self.nodes.iter().filter_map(|node| node.op.as_ref()).map(|op| op.operator().parameters()).sum()
    }

    /// How the network as a whole depends on its input.
    pub fn kind(&self) -> Kind {
        let kinds = self.nodes.iter().filter_map(|node| node.op.as_ref()).map(|op| op.operator().kind());
        kinds.max().unwrap_or(Kind::Affine)
    }

    /// Refuses, by name, the first operator that lacks a slot that `tool` needs.
    ///
    /// # Errors
    /// [`Error::MissingSlot`].
    pub fn require(&self, tool: &'static str, slot: Slot) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.require(tool, slot))
    }

    /// Finds a node by the name of its value or its own.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is none, with the closest names.
    pub fn find(&self, name: &str) -> Result<&Node> {
        self.position(name).map(|i| &self.nodes[i])
    }

    fn position(&self, name: &str) -> Result<usize> {
        self.names.get(name).copied().ok_or_else(|| {
            let names: Vec<&str> = self.nodes.iter().map(Node::name).collect();
            let shown = names.iter().take(12).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            let more = if names.len() > 12 { ", .. (see fenchel inspect)" } else { "" };
            Error::Argument(format!("no node is called '{name}'; there are {shown}{more}"))
        })
    }

    /// The network with an input fixed at a value, the same for every sample.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such input; [`Error::Shape`] where the value has another number of
    /// elements than its sample.
    pub fn fix(&self, input: &str, value: &Constant) -> Result<Self> {
        let i = self.position(input)?;
        let mut network = self.clone();
        let node = &mut network.nodes[i];
        if node.op.is_some() {
            let inputs = list(self.inputs());
            return Err(Error::Argument(format!("'{input}' is no input of the network; there is {inputs}")));
        }
        let fitting = value.reshaped(&node.shape[..]).map_err(|_| {
            let (shape, needed) = (value.shape(), &node.shape);
            Error::Shape(format!("the input '{input}' has samples of shape {needed:?}, not {shape:?}"))
        });
        node.op = Some(Op::Fixed(Fixed { value: fitting? }));
        Ok(network)
    }

    /// The network cut to its only input and output, with products such as `x * sigmoid(x)` and GELU written with `erf`
    /// as one activation: every node is one that is computed, under the name of its value in the file.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub fn merged(&self) -> Result<Self> {
        simplify::merge_products(&self.cut(None, None)?)
    }

    /// The same with normalisation and constant shifts folded into the layers below: few nodes, and each activation one of
    /// its own.
    ///
    /// # Errors
    /// As [`cut`](Self::cut).
    pub fn merged_layers(&self) -> Result<Self> {
        simplify::merge_affine(&self.cut(None, None)?)
    }

    /// The network with other operators in the place of those at some positions.
    ///
    /// # Errors
    /// [`Error::Argument`] for a position that is not there or an input; [`Error::Shape`] where an operator gives
    /// another shape.
    pub fn with_ops(&self, ops: impl IntoIterator<Item = (usize, Op)>) -> Result<Self> {
        let mut network = self.clone();
        for (i, op) in ops {
            let node = self.nodes.get(i).filter(|node| node.op.is_some());
            let node = node.ok_or_else(|| Error::Argument(format!("no operator is number {i}")))?;
            let inputs: Vec<&[usize]> = node.inputs.iter().map(|&j| self.nodes[j].shape()).collect();
            let shape = op.operator().shape(&inputs)?;
            if shape != node.shape {
                let (name, wanted) = (&node.name, &node.shape);
                return Err(Error::Shape(format!("'{name}' has the shape {wanted:?}, not {shape:?}")));
            }
            network.nodes[i].op = Some(op);
        }
        Ok(network)
    }

    /// The network with one output: its outputs side by side, flattened, where it has several.
    ///
    /// # Errors
    /// None for a network that a builder made.
    pub fn joined(&self) -> Result<Self> {
        if self.outputs.len() == 1 {
            return Ok(self.clone());
        }
        let mut network = self.clone();
        let mut parts = vec![];
        for &i in &self.outputs {
            let shape = vec![self.nodes[i].shape.iter().product()];
            let value = network.free_name(&format!("{} (flat)", self.nodes[i].value));
            parts.push(network.push(value, Op::Reshape(Reshape { shape: shape.clone() }), vec![i], shape));
        }
        let shape = vec![parts.iter().map(|&i| network.nodes[i].shape[0]).sum()];
        let value = network.free_name("outputs");
        network.outputs = vec![network.push(value, Op::Concat(Concat { axis: 0 }), parts, shape)];
        Ok(network)
    }

    fn free_name(&self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.names.contains_key(&name) {
            name.push('\'');
        }
        name
    }

    fn push(&mut self, value: String, op: Op, inputs: Vec<usize>, shape: Vec<usize>) -> usize {
        let i = self.nodes.len();
        self.names.insert(value.clone(), i);
        self.nodes.push(Node { name: value.clone(), value, op: Some(op), inputs, shape });
        i
    }

    /// The part from one node to another: `input` becomes the only input (the graph's own where `None`), and
    /// `output` the only output (all of the graph's side by side where `None`).
    ///
    /// # Errors
    /// [`Error::Argument`] for an unknown name, or where the graph has several inputs and none was named;
    /// [`Error::Graph`] where the output does not depend on the input, or also on another one that is not
    /// [fixed](Self::fix).
    pub fn cut(&self, input: Option<&str>, output: Option<&str>) -> Result<Self> {
        if output.is_none() && self.outputs.len() > 1 {
            return self.joined()?.cut(input, None);
        }
        let end = output.map_or(Ok(self.outputs[0]), |name| self.position(name))?;
        let start = match input {
            Some(name) => self.position(name)?,
            None => {
                let inputs: Vec<usize> =
                    (0..self.nodes.len()).filter(|&i| self.nodes[i].op.is_none()).collect();
                match inputs[..] {
                    [start] => start,
                    [] => return Err(Error::Argument("every input of the network is fixed".to_owned())),
                    _ => {
                        let names = list(self.inputs());
                        return Err(Error::Argument(format!(
                            "the network has several inputs; one must be chosen and the others fixed: {names}"
                        )));
                    }
                }
            }
        };
        self.cut_at(start, end)
    }

    /// The part from one position to another.
    fn cut_at(&self, start: usize, end: usize) -> Result<Self> {
        let mut needed = vec![false; self.nodes.len()];
        needed[end] = true;
        for i in (0..=end).rev() {
            if needed[i] && i != start {
                self.nodes[i].inputs.iter().for_each(|&j| needed[j] = true);
            }
        }
        if !needed[start] || start == end {
            return Err(Error::Graph(format!(
                "'{}' does not depend on '{}'",
                self.nodes[end].name, self.nodes[start].name
            )));
        }
        let mut position = vec![usize::MAX; self.nodes.len()];
        let mut nodes: Vec<Node> = Vec::new();
        // The input comes first, whatever lies before it: that does not depend on it.
        for i in std::iter::once(start).chain((0..=end).filter(|&i| needed[i] && i != start)) {
            let mut node = self.nodes[i].clone();
            if i == start {
                (node.op, node.inputs) = (None, vec![]);
            } else if node.op.is_none() {
                return Err(Error::Graph(format!(
                    "'{}' depends not only on '{}' but on '{}' too, which is not fixed",
                    self.nodes[end].name, self.nodes[start].name, node.name
                )));
            }
            position[i] = nodes.len();
            node.inputs.iter_mut().for_each(|j| *j = position[*j]);
            nodes.push(node);
        }
        let names = self.names.iter().filter(|&(_, &i)| needed[i]);
        let names = names.map(|(name, &i)| (name.clone(), position[i])).collect();
        Ok(Self { nodes, outputs: vec![position[end]], names })
    }

    /// The part from one of some nodes to another, the others at 0.
    ///
    /// # Errors
    /// [`Error::Graph`] where the other depends on an input that is none of these nodes.
    pub(crate) fn between(&self, nodes: &[usize], input: usize, output: usize) -> Result<Self> {
        let mut network = self.clone();
        for &i in nodes.iter().filter(|&&i| i != input) {
            let node = &mut network.nodes[i];
            let zeros = vec![0.0; node.shape.iter().product()];
            let value = Constant::f64(&node.shape[..], zeros)?;
            (node.op, node.inputs) = (Some(Op::Fixed(Fixed { value })), vec![]);
        }
        network.cut_at(input, output)
    }
}

/// Names for messages.
fn list<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    nodes.map(|node| format!("'{}'", node.value)).collect::<Vec<_>>().join(", ")
}
