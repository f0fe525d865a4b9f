//! From the graph of a file to a network.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::UnsupportedOperator;
use crate::network::{Builder, Network, NodeId};
use crate::{Error, Result};

use super::batch::Batch;
use super::call::{Call, MOST_AXES, Setting, Step, Stop, Value, wrong};
use super::decode::{Element, Graph, Input, Length, Node};
use super::external::Weights;
use super::order;
use super::tensor::Tensor;
use super::{LoadOptions, operators};

/// What the graph says of a name before any node is imported.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    Input,
    Initializer(usize),
    /// An output of a node.
    Node(usize),
}

/// Where every name of the graph comes from.
pub(super) type Origins<'a> = HashMap<&'a str, Origin>;

/// What messages call a node: its name, or that of its first output.
pub(super) fn label(node: &Node) -> &str {
    let first = node.outputs.iter().map(String::as_str).find(|name| !name.is_empty());
    if node.name.is_empty() { first.unwrap_or("") } else { &node.name }
}

/// How many elements of constants nodes may make beyond those that the file has bytes for.
const SHARED: u64 = 1 << 24;

fn fault<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Graph(message.into()))
}

/// Imports a graph.
///
/// # Errors
/// [`Error::Graph`] for the first contradiction; else [`Error::Unsupported`] with all that is not supported.
pub(super) fn import(
    graph: &Graph,
    opset: i64,
    options: &LoadOptions,
    weights: &mut Weights<'_>,
) -> Result<(Network, Option<usize>)> {
    let origins = origins(graph)?;
    let order = order::order(&graph.nodes, &origins)?;
    let batch = batch(graph, &origins)?;
    let mut import = Import {
        graph,
        setting: Setting { opset, batch },
        options,
        weights,
        builder: Network::builder(),
        origins,
        values: HashMap::new(),
        spent: 0,
        used: graph.nodes.iter().flat_map(|node| &node.inputs).map(String::as_str).collect(),
        results: graph.outputs.iter().map(String::as_str).collect(),
        refused: BTreeMap::new(),
    };
    import.inputs()?;
    for &i in &order {
        import.node(i)?;
    }
    import.finish()
}

/// Checks that every name is made once.
fn origins(graph: &Graph) -> Result<Origins<'_>> {
    let mut origins: Origins<'_> = HashMap::new();
    for (i, tensor) in graph.initializers.iter().enumerate() {
        if origins.insert(&tensor.name, Origin::Initializer(i)).is_some() {
            return fault(format!("two initializers are called '{}'", tensor.name));
        }
    }
    let mut inputs = HashSet::new();
    for input in &graph.inputs {
        if !inputs.insert(&input.name) {
            return fault(format!("two inputs are called '{}'", input.name));
        }
        // Files before IR version 4 list initializers among the inputs.
        if let Entry::Vacant(entry) = origins.entry(&input.name) {
            entry.insert(Origin::Input);
        }
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        let (operator, label) = (&node.operator, label(node));
        if label.is_empty() || node.outputs.first().is_none_or(String::is_empty) {
            return fault(format!("node {i} ({operator}) makes no value"));
        }
        for output in node.outputs.iter().filter(|name| !name.is_empty()) {
            if origins.insert(output, Origin::Node(i)).is_some() {
                return fault(format!(
                    "{operator} ('{label}') makes '{output}', which is made elsewhere too"
                ));
            }
        }
    }
    let mut outputs = HashSet::new();
    for output in &graph.outputs {
        if !outputs.insert(output) {
            return fault(format!("two outputs are called '{output}'"));
        }
        if !origins.contains_key(output.as_str()) {
            return fault(format!("nothing makes the output '{output}'"));
        }
    }
    if graph.outputs.is_empty() {
        return fault("the graph has no outputs");
    }
    Ok(origins)
}

/// The batch that the inputs fix, if they do.
fn batch(graph: &Graph, origins: &Origins<'_>) -> Result<Option<usize>> {
    let mut batch: Option<(usize, &str)> = None;
    for input in inputs(graph, origins) {
        let Some(Length::Known(length)) = input.shape.as_deref().and_then(<[Length]>::first) else {
            continue;
        };
        let Some(length) = usize::try_from(*length).ok().filter(|&length| length > 0) else { continue };
        match batch {
            Some((other, name)) if other != length => {
                return fault(format!(
                    "the inputs '{name}' and '{}' have batches (axis 0) of {other} and {length}",
                    input.name
                ));
            }
            _ => batch = Some((length, &input.name)),
        }
    }
    Ok(batch.map(|(length, _)| length))
}

/// The inputs of the graph that are no constants.
fn inputs<'a>(graph: &'a Graph, origins: &Origins<'_>) -> impl Iterator<Item = &'a Input> {
    graph.inputs.iter().filter(|input| matches!(origins.get(input.name.as_str()), Some(Origin::Input)))
}

/// The shape of a sample of an input.
fn sample(input: &Input) -> Result<Vec<usize>> {
    let name = &input.name;
    if name.is_empty() {
        return fault("an input has no name");
    }
    if !matches!(input.element, Element::F32 | Element::F64) {
        let element = input.element.name();
        return fault(format!(
            "the input '{name}' has elements of type {element}; FLOAT and DOUBLE are supported"
        ));
    }
    let Some(shape) = &input.shape else {
        return fault(format!(
            "the input '{name}' has no shape; every axis but the batch must have a length"
        ));
    };
    let [_, sample @ ..] = &shape[..] else {
        return fault(format!("the input '{name}' has no axes; the first must be the batch"));
    };
    if sample.is_empty() {
        return fault(format!(
            "the input '{name}' has one axis only; it needs the batch as axis 0 and its features behind it"
        ));
    }
    if sample.len() > MOST_AXES {
        return fault(format!("the input '{name}' has more than {MOST_AXES} axes"));
    }
    let lengths = sample.iter().enumerate().map(|(i, length)| match length {
        Length::Known(length) if *length > 0 => Ok(usize::try_from(*length).unwrap_or(usize::MAX)),
        Length::Known(length) => {
            fault(format!("axis {} of the input '{name}' has the length {length}", i + 1))
        }
        Length::Symbol(symbol) => fault(format!(
            "axis {} of the input '{name}' has no fixed length ('{}'); only the batch (axis 0) may be open",
            i + 1,
            symbol.escape_debug()
        )),
    });
    lengths.collect()
}

struct Import<'a, 'w> {
    graph: &'a Graph,
    setting: Setting,
    options: &'a LoadOptions,
    weights: &'a mut Weights<'w>,
    builder: Builder,
    origins: Origins<'a>,
    values: HashMap<&'a str, Value>,
    /// Elements of constants that nodes made so far, beyond those that the file holds.
    spent: u64,
    /// Names that nodes take, and names of the graph's outputs.
    used: HashSet<&'a str>,
    results: HashSet<&'a str>,
    /// Nodes that are not supported, in the order of the file, and why.
    refused: BTreeMap<usize, String>,
}

impl<'a> Import<'a, '_> {
    fn inputs(&mut self) -> Result<()> {
        for input in inputs(self.graph, &self.origins) {
            let id = self.builder.input(&input.name, &sample(input)?)?;
            self.values.insert(&input.name, Value::Data(id, Batch::FIRST));
        }
        // Initializers wait for the first node that takes them: what nobody uses need not be supported.
        Ok(())
    }

    fn node(&mut self, i: usize) -> Result<()> {
        let node = &self.graph.nodes[i];
        let values = match self.step(node) {
            Ok(values) => values,
            Err(Stop::Unknown) => vec![],
            Err(Stop::Unsupported(reason)) => {
                self.refused.insert(i, reason);
                vec![]
            }
            Err(Stop::Wrong(error)) => return Err(error),
        };
        // An output that was not made is used by nobody, which was checked, or it is unknown with the node.
        let mut values = values.into_iter();
        for output in &node.outputs {
            self.values.insert(output, values.next().unwrap_or(Value::Unknown));
        }
        Ok(())
    }

    fn step(&mut self, node: &'a Node) -> Step<Vec<Value>> {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            let domain = node.domain.escape_debug();
            return Err(Stop::Unsupported(format!("the domain '{domain}'; only that of ONNX is supported")));
        }
        let inputs = node.inputs.iter().map(|name| self.value(name)).collect::<Step<Vec<_>>>()?;
        let last = !self.used.contains(node.outputs[0].as_str());
        let nodes = &self.graph.nodes;
        let mut call =
            Call::new(self.setting, &mut self.builder, (nodes, node), &self.origins, label(node), inputs);
        let made = match call.operator() {
            "Constant" => vec![operators::constant(&mut call, self.weights)?],
            "ConstantOfShape" => vec![operators::constant_of_shape(&mut call, self.weights)?],
            "Softmax" | "LogSoftmax" if last && self.options.logits => vec![operators::logits(&mut call)?],
            _ => operators::import(&mut call)?,
        };
        let is_used = |name: &str| self.used.contains(name) || self.results.contains(name);
        let missing = node.outputs.iter().skip(made.len()).find(|name| !name.is_empty() && is_used(name));
        if let Some(name) = missing {
            return Err(Stop::Unsupported(format!("its output '{name}'")));
        }
        self.spent += call.spent;
        // A small file can make many nodes share large weights, of which each makes a copy in its own layout.
        if self.spent > SHARED + self.weights.bytes {
            return Err(wrong(format!(
                "the nodes up to '{}' hold far more constants than the file",
                label(node)
            )));
        }
        call.finish(&made)
    }

    /// What a name stands for; `None` for one that is left out.
    fn value(&mut self, name: &'a str) -> Step<Option<Value>> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.clone()));
        }
        // Everything computed comes before its users, so that only initializers are left.
        let Some(&Origin::Initializer(i)) = self.origins.get(name) else {
            return Err(wrong(format!("nothing makes '{name}'")));
        };
        let value = Value::Constant(Tensor::read(&self.graph.initializers[i], name, self.weights)?);
        self.values.insert(name, value.clone());
        Ok(Some(value))
    }

    fn finish(mut self) -> Result<(Network, Option<usize>)> {
        let mut outputs: Vec<NodeId> = vec![];
        for name in &self.graph.outputs {
            match self.values.get(name.as_str()) {
                Some(Value::Data(id, Batch::FIRST)) => outputs.push(*id),
                // With a batch of 1 it makes no difference where that stands.
                Some(Value::Data(id, _)) if self.setting.batch == Some(1) => outputs.push(*id),
                Some(Value::Data(..)) => {
                    if let Some(&Origin::Node(i)) = self.origins.get(name.as_str()) {
                        let reason = format!("the batch is not axis 0 of its output '{name}'");
                        self.refused.insert(i, reason);
                    }
                }
                Some(Value::Unknown) if !self.refused.is_empty() => {}
                _ => return fault(format!("the output '{name}' is a constant")),
            }
        }
        if !self.refused.is_empty() {
            let operators = self.refused.into_iter().map(|(i, reason)| {
                let node = &self.graph.nodes[i];
                UnsupportedOperator { operator: node.operator.clone(), node: label(node).to_owned(), reason }
            });
            return Err(Error::Unsupported { operators: operators.collect() });
        }
        // Two names for one value are one output.
        let mut seen = HashSet::new();
        outputs.retain(|id| seen.insert(*id));
        let network = self.builder.finish(&outputs)?;
        if let Some(node) = network.outputs().find(|node| node.op().is_none()) {
            return fault(format!("the input '{}' is an output too, with no layer between", node.name()));
        }
        Ok((network, self.setting.batch))
    }
}
