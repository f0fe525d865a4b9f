//! The user's own file with splines in the place of activations.
//!
//! A message is a list of fields. All of them are copied as they are, but for the nodes that made the activations:
//! operators of ONNX that compute the largest and the smallest of affine pieces take their place, and what nobody uses
//! any more is left out. Whatever else the file says, it says still.

use std::collections::{HashMap, HashSet};

use crate::activation::AffinePiece;
use crate::network::Network;
use crate::{Error, Result};

use super::decode::{self, Attribute, Element, Graph, Storage};
use super::opset;
use super::write::{Constant, Message, fields};

/// A node to be replaced, by the names that values have in the network.
#[derive(Debug, Clone, PartialEq)]
pub struct SplinedNode<'a> {
    /// The value it makes.
    pub value: &'a str,
    /// The value it takes.
    pub input: &'a str,
    /// The pieces of the convex part, of which the largest counts.
    pub convex: Vec<AffinePiece>,
    /// The pieces of the concave part, of which the smallest counts; the spline is the sum of both.
    pub concave: Vec<AffinePiece>,
}

/// Fields of GraphProto.
const NODE: u64 = 1;
const INITIALIZER: u64 = 5;
const VALUE_INFO: u64 = 13;

/// What an activation that is written as a product is made of, and how many of these lie one below the other.
const ELEMENTWISE: [&str; 7] = ["Mul", "Div", "Add", "Erf", "Tanh", "Sigmoid", "Pow"];
const DEEPEST: usize = 10;

fn fault<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Graph(message.into()))
}

fn read(bytes: &[u8]) -> Result<decode::File> {
    decode::decode(bytes).map_err(|reason| Error::Graph(format!("no valid ONNX file: {reason}")))
}

/// Whether a file keeps weights in other files.
///
/// # Errors
/// [`Error::Graph`] for a damaged file.
pub fn has_external_weights(bytes: &[u8]) -> Result<bool> {
    let graph = read(bytes)?.graph;
    let is_external = |tensor: &decode::Tensor| matches!(tensor.storage, Storage::External(_));
    Ok(graph.is_some_and(|graph| {
        let mut constants = graph.nodes.iter().flat_map(|node| &node.attributes);
        let constants = constants.any(|(_, value)| matches!(value, Attribute::Tensor(t) if is_external(t)));
        constants || graph.initializers.iter().any(is_external)
    }))
}

/// The bytes of a file in which splines stand for some activations of `network`, which is what
/// [`from_bytes`](super::from_bytes) makes of it.
///
/// # Errors
/// [`Error::Graph`] for a damaged file, or an activation that is no node of its own in the file.
pub fn with_splines(bytes: &[u8], network: &Network, splines: &[SplinedNode<'_>]) -> Result<Vec<u8>> {
    let file = read(bytes)?;
    let opset = opset(&file.opsets)?;
    let Some(graph) = file.graph else { return fault("the file holds no graph") };
    let element = element(&graph)?;
    let producers: HashMap<&str, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.outputs.iter().map(move |o| (&o[..], i)))
        .collect();
    let mut replaced: HashMap<usize, (&str, &SplinedNode<'_>)> = HashMap::new();
    for spline in splines {
        let value = spline.value;
        let Some(&i) = producers.get(value) else {
            return fault(format!("'{value}' cannot be saved: it is made within another node of the file"));
        };
        let is_input = |name: &str| network.find(name).is_ok_and(|node| node.value() == spline.input);
        match input_of(&graph, &producers, i, is_input) {
            Some(input) if graph.nodes[i].outputs.len() == 1 => {
                replaced.insert(i, (input, spline));
            }
            _ => {
                return fault(format!(
                    "'{value}' cannot be saved: its input has no name in the file, since one node computes both"
                ));
            }
        }
    }
    let (unused, dropped) = unused(&graph, &replaced);
    let names = Names::of(&graph);
    let mut whole = Message::default();
    for field in fields(bytes) {
        if field.number != 7 {
            whole.copy(field.whole);
            continue;
        }
        let (mut inner, mut node) = (Message::default(), 0);
        for field in fields(field.content) {
            match field.number {
                NODE => {
                    match replaced.get(&node) {
                        Some((input, spline)) => {
                            let prefix = names.free(spline.value);
                            Emitter { graph: &mut inner, prefix, opset, element }.spline(input, spline);
                        }
                        None if unused.contains(&node) => {}
                        None => inner.copy(field.whole),
                    }
                    node += 1;
                }
                INITIALIZER if dropped.contains(name_of(field.content, 8)) => {}
                VALUE_INFO if dropped.contains(name_of(field.content, 1)) => {}
                _ => inner.copy(field.whole),
            }
        }
        whole.message(7, &inner);
    }
    Ok(whole.into_bytes())
}

/// The name in the file of what a node, together with the elementwise ones below it, takes. The file may know it by
/// another name, with its axes in another order: it is the one that these nodes themselves take which counts.
fn input_of<'a>(
    graph: &'a Graph,
    producers: &HashMap<&str, usize>,
    node: usize,
    is_input: impl Fn(&str) -> bool,
) -> Option<&'a str> {
    let mut level = vec![node];
    for _ in 0..DEEPEST {
        let mut inputs = level.iter().flat_map(|&i| &graph.nodes[i].inputs);
        if let Some(input) = inputs.clone().find(|input| is_input(input)) {
            return Some(input);
        }
        let below = inputs.by_ref().filter_map(|input| producers.get(&input[..]).copied());
        let elementwise = |&i: &usize| ELEMENTWISE.contains(&&graph.nodes[i].operator[..]);
        level = below.filter(elementwise).collect();
        level.sort_unstable();
        level.dedup();
    }
    None
}

/// The name in a message, its field `number`.
fn name_of(message: &[u8], number: u64) -> &str {
    let name = fields(message).filter(|field| field.number == number).last();
    name.and_then(|field| std::str::from_utf8(field.content).ok()).unwrap_or_default()
}

/// The one type of floating-point numbers in a graph.
fn element(graph: &Graph) -> Result<Element> {
    let constants =
        graph.nodes.iter().flat_map(|node| &node.attributes).filter_map(|(_, value)| match value {
            Attribute::Tensor(tensor) => Some(tensor.element),
            _ => None,
        });
    let casts = graph.nodes.iter().filter(|node| node.operator == "Cast").flat_map(|node| &node.attributes);
    let casts = casts.filter_map(|(name, value)| match value {
        Attribute::Int(to) if name == "to" => i32::try_from(*to).ok().map(Element::of),
        _ => None,
    });
    let all = graph.inputs.iter().map(|input| input.element);
    let all = all.chain(graph.initializers.iter().map(|tensor| tensor.element)).chain(constants).chain(casts);
    let mut floats: Vec<Element> = vec![];
    for element in all.filter(|e| !matches!(e, Element::I32 | Element::I64 | Element::Bool)) {
        if !floats.contains(&element) {
            floats.push(element);
        }
    }
    match floats[..] {
        [only @ (Element::F32 | Element::F64)] => Ok(only),
        _ => {
            let names: Vec<String> = floats.iter().map(|element| element.name()).collect();
            fault(format!(
                "a network of mixed types ({}) cannot be saved with splines; all numbers must be FLOAT or all DOUBLE",
                names.join(", ")
            ))
        }
    }
}

/// Nodes, and the names of values and constants, that nobody uses when others are replaced but somebody used before.
fn unused<'a>(
    graph: &'a Graph,
    replaced: &HashMap<usize, (&'a str, &SplinedNode<'_>)>,
) -> (HashSet<usize>, HashSet<&'a str>) {
    let mut users: HashMap<&str, usize> = HashMap::new();
    for name in graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs) {
        *users.entry(name).or_default() += 1;
    }
    let mut released: Vec<&str> = vec![];
    for (&i, &(input, _)) in replaced {
        *users.entry(input).or_default() += 1;
        released.extend(graph.nodes[i].inputs.iter().map(String::as_str));
    }
    let declared: HashSet<&str> = graph.inputs.iter().map(|input| &input.name[..]).collect();
    let (mut unused, mut dropped) = (HashSet::new(), HashSet::new());
    while let Some(name) = released.pop() {
        let Some(count) = users.get_mut(name) else { continue };
        *count -= 1;
        if *count > 0 || name.is_empty() {
            continue;
        }
        // Old files declare constants as inputs too.
        if !declared.contains(name) {
            dropped.insert(name);
        }
        let maker = graph.nodes.iter().position(|node| node.outputs.iter().any(|output| output == name));
        if let Some(i) = maker.filter(|i| !replaced.contains_key(i) && !unused.contains(i)) {
            let node = &graph.nodes[i];
            if node.outputs.iter().all(|output| users.get(&output[..]).is_none_or(|&count| count == 0)) {
                unused.insert(i);
                released.extend(node.inputs.iter().map(String::as_str));
            }
        }
    }
    (unused, dropped)
}

/// All names in a graph.
struct Names<'a>(HashSet<&'a str>);

impl<'a> Names<'a> {
    fn of(graph: &'a Graph) -> Self {
        let of_nodes = graph.nodes.iter().flat_map(|node| {
            node.inputs.iter().chain(&node.outputs).chain(std::iter::once(&node.name)).map(String::as_str)
        });
        let others = graph.initializers.iter().map(|tensor| &tensor.name[..]);
        let inputs = graph.inputs.iter().map(|input| &input.name[..]);
        Self(of_nodes.chain(others).chain(inputs).collect())
    }

    /// What no name begins with.
    fn free(&self, value: &str) -> String {
        let mut prefix = format!("{value}/spline");
        while self.0.iter().any(|name| name.starts_with(&prefix)) {
            prefix.push('\'');
        }
        prefix
    }
}

/// Adds nodes to a graph.
struct Emitter<'a> {
    graph: &'a mut Message,
    prefix: String,
    opset: i64,
    element: Element,
}

impl Emitter<'_> {
    /// The nodes of one spline. The elements of the input stand in a column, so that its axes and their number do not
    /// matter: `max over j of (slope_j u + offset_j) + min over j of (..)`, and back into the input's shape.
    fn spline(&mut self, input: &str, spline: &SplinedNode<'_>) {
        let shape = self.node("Shape", "shape", &[input]);
        let column = self.constant("column", &Constant::Integers(&[-1, 1]));
        let u = self.node("Reshape", "input", &[input, &column]);
        let convex = self.part("convex", "ReduceMax", &u, &spline.convex);
        let concave = self.part("concave", "ReduceMin", &u, &spline.concave);
        let sum = self.node("Add", "sum", &[&convex, &concave]);
        let name = self.name("output");
        self.add("Reshape", &name, &[&sum, &shape], spline.value, &Message::default());
    }

    fn part(&mut self, name: &str, reduction: &str, u: &str, pieces: &[AffinePiece]) -> String {
        let numbers = |of: fn(&AffinePiece) -> f64| pieces.iter().map(of).collect::<Vec<f64>>();
        let (slopes, offsets) = (numbers(|piece| piece.slope), numbers(|piece| piece.offset));
        let slopes = self.floats(&format!("{name}_slopes"), &slopes);
        let offsets = self.floats(&format!("{name}_offsets"), &offsets);
        let lines = self.node("Mul", &format!("{name}_products"), &[u, &slopes]);
        let lines = self.node("Add", &format!("{name}_lines"), &[&lines, &offsets]);
        let mut attributes = Message::default();
        attributes.integer_attribute("keepdims", 0);
        let output = self.name(name);
        // Axes are an attribute before opset 18 and an input from there.
        if self.opset < 18 {
            attributes.integers_attribute("axes", &[1]);
            self.add(reduction, &output, &[&lines], &output, &attributes);
        } else {
            let axes = self.constant(&format!("{name}_axes"), &Constant::Integers(&[1]));
            self.add(reduction, &output, &[&lines, &axes], &output, &attributes);
        }
        output
    }

    fn floats(&mut self, name: &str, values: &[f64]) -> String {
        match self.element {
            Element::F64 => self.constant(name, &Constant::Doubles(values)),
            _ => {
                self.constant(name, &Constant::Floats(&values.iter().map(|&v| v as f32).collect::<Vec<_>>()))
            }
        }
    }

    /// A node for a constant: old files must declare initializers as inputs too.
    fn constant(&mut self, name: &str, value: &Constant<'_>) -> String {
        let name = self.name(name);
        let mut attributes = Message::default();
        attributes.constant_attribute(value);
        self.add("Constant", &name, &[], &name, &attributes);
        name
    }

    fn node(&mut self, operator: &str, name: &str, inputs: &[&str]) -> String {
        let name = self.name(name);
        self.add(operator, &name, inputs, &name, &Message::default());
        name
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    fn add(&mut self, operator: &str, name: &str, inputs: &[&str], output: &str, attributes: &Message) {
        let mut node = Message::default();
        inputs.iter().for_each(|input| node.bytes(1, input.as_bytes()));
        node.bytes(2, output.as_bytes());
        node.bytes(3, name.as_bytes());
        node.bytes(4, operator.as_bytes());
        node.append(attributes);
        self.graph.message(NODE, &node);
    }
}
