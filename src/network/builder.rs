//! Building networks node by node, or layer by layer.

use std::collections::HashMap;

use crate::engine::Activation;
use crate::{Error, Result};

use super::operators::{
    ArithmeticConstant, AveragePool, Branches, Concat, Convolution, ConvolutionTransposed, Dense, Expand,
    Fixed, Interpolate, MaxPool, PRelu, Pad, Permute, PiecewiseAffine, Product, Reduce, ReduceMax, Reshape,
    ScaleShift, Select, Softmax, Standardize,
};
use super::{Network, Node, Op};

/// A node of a network that is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub(super) usize);

/// Collects nodes; shapes are inferred and checked as they come.
///
/// ```
/// use fenchel::engine::Activation;
/// use fenchel::network::{Constant, Network, operators::Dense};
///
/// let mut builder = Network::builder();
/// builder.input("x", &[2])?;
/// builder.layer(Dense::new(Constant::f32([2, 3], vec![1.0, 0.0, -1.0, 0.5, 2.0, 1.0])?, None)?)?;
/// builder.layer(Activation::Tanh)?;
/// let output = builder.layer(Dense::new(Constant::f32([3, 1], vec![1.0; 3])?, None)?)?;
/// let network = builder.finish(&[output])?;
/// assert_eq!(network.parameters(), 9);
/// # Ok::<(), fenchel::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Builder {
    nodes: Vec<Node>,
    /// Names of values, which are unique.
    values: HashMap<String, usize>,
    /// Names of nodes and aliases; `None` where two share one.
    others: HashMap<String, Option<usize>>,
}

impl Builder {
    /// Adds an input of the graph; `shape` is that of one sample.
    ///
    /// # Errors
    /// [`Error::Graph`] where the name is taken or a length is 0.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<NodeId> {
        self.push(name, name, None, vec![], shape.to_vec())
    }

    /// Adds an operator under a name of its own.
    ///
    /// # Errors
    /// [`Error::Graph`] where the name is taken, or the operator does not fit its inputs.
    pub fn add(&mut self, name: &str, op: impl Into<Op>, inputs: &[NodeId]) -> Result<NodeId> {
        self.add_value(name, name, op, inputs)
    }

    /// Adds an operator on top of the last node, named after it and its position (`Gemm1`).
    ///
    /// # Errors
    /// As [`add`](Self::add); and where there is no node yet.
    pub fn layer(&mut self, op: impl Into<Op>) -> Result<NodeId> {
        let op = op.into();
        let last = self.nodes.len().checked_sub(1).map(NodeId);
        let last = last.ok_or_else(|| Error::Graph("a layer needs an input below it".to_owned()))?;
        self.add(&format!("{}{}", op.operator().name(), self.nodes.len()), op, &[last])
    }

    /// Adds an operator whose node and value have different names, as in ONNX files.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_value(
        &mut self,
        name: &str,
        value: &str,
        op: impl Into<Op>,
        inputs: &[NodeId],
    ) -> Result<NodeId> {
        let op = op.into();
        let shapes: Vec<&[usize]> = inputs.iter().map(|&id| self.shape(id)).collect();
        let shape = op.operator().shape(&shapes);
        let shape = shape.map_err(|e| Error::Graph(format!("{} ('{name}'): {e}", op.operator().name())))?;
        self.push(name, value, Some(op), inputs.iter().map(|id| id.0).collect(), shape)
    }

    /// Lets a node be found under another name too (of an Identity, say, which is no node of its own).
    pub fn alias(&mut self, name: &str, id: NodeId) {
        let entry = self.others.entry(name.to_owned()).or_insert(Some(id.0));
        if *entry != Some(id.0) {
            *entry = None;
        }
    }

    /// The shape of one sample at a node.
    pub fn shape(&self, id: NodeId) -> &[usize] {
        &self.nodes[id.0].shape
    }

    /// The network with these outputs.
    ///
    /// # Errors
    /// [`Error::Graph`] without an input or an output.
    pub fn finish(self, outputs: &[NodeId]) -> Result<Network> {
        if outputs.is_empty() || self.nodes.iter().all(|node| node.op.is_some()) {
            return Err(Error::Graph("a network needs an input and an output".to_owned()));
        }
        let mut names: HashMap<String, usize> =
            self.others.into_iter().filter_map(|(name, i)| i.map(|i| (name, i))).collect();
        names.extend(self.values);
        Ok(Network { nodes: self.nodes, outputs: outputs.iter().map(|id| id.0).collect(), names })
    }

    fn push(
        &mut self,
        name: &str,
        value: &str,
        op: Option<Op>,
        inputs: Vec<usize>,
        shape: Vec<usize>,
    ) -> Result<NodeId> {
        let count = shape.iter().try_fold(1_usize, |n, &l| n.checked_mul(l));
        // A sample beyond this cannot be meant; within it, positions fit 32 bits.
        if count.is_none_or(|n| n == 0 || n > 1 << 31) {
            return Err(Error::Graph(format!("'{name}' has samples of shape {shape:?}")));
        }
        let id = NodeId(self.nodes.len());
        if self.values.insert(value.to_owned(), id.0).is_some() {
            return Err(Error::Graph(format!("two nodes are called '{value}'")));
        }
        self.alias(name, id);
        self.nodes.push(Node { name: name.to_owned(), value: value.to_owned(), op, inputs, shape });
        Ok(id)
    }
}

macro_rules! into_op {
    ($($name:ident),*) => {
        $(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        })*
    };
}

into_op!(
    Dense,
    Product,
    Convolution,
    ConvolutionTransposed,
    ScaleShift,
    Standardize,
    Softmax,
    MaxPool,
    AveragePool,
    Reduce,
    ReduceMax,
    Activation,
    PiecewiseAffine,
    PRelu,
    ArithmeticConstant,
    Branches,
    Concat,
    Pad,
    Reshape,
    Permute,
    Expand,
    Select,
    Interpolate,
    Fixed
);
