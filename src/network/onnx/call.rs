//! One node on its way into a network: its inputs and attributes, and the ways it can fail.

use std::ops::RangeInclusive;

use crate::network::{Builder, Constant, NodeId};
use crate::{Error, Result};

use super::batch::{Batch, Layout};
use super::decode::{self, Attribute};
use super::graph::{Origin, Origins};
use super::operand::{Operand, Pending, Source};
use super::tensor::{Integer, Tensor};

/// Why a node cannot be imported.
pub(super) enum Stop {
    /// It asks for something that is not supported; the reason.
    Unsupported(String),
    /// It contradicts itself or its inputs.
    Wrong(Error),
    /// It depends on a node that is not supported, so no more can be said of it.
    Unknown,
}

/// The result of a step of an import.
pub(super) type Step<T> = Result<T, Stop>;

/// What a name in the graph stands for.
#[derive(Clone)]
pub(super) enum Value {
    /// Computed from an input of the graph, with the batch in this axis.
    Data(NodeId, Batch),
    /// The same whatever the input.
    Constant(Tensor),
    /// The output of a node that is not supported.
    Unknown,
}

/// A fault in the graph, as one clause.
pub(super) fn wrong(message: impl Into<String>) -> Stop {
    Stop::Wrong(Error::Graph(message.into()))
}

/// Something that is not supported.
pub(super) fn unsupported<T>(reason: impl Into<String>) -> Step<T> {
    Err(Stop::Unsupported(reason.into()))
}

/// The most axes that anything may have; shapes are kept for every node, so that they must not grow with it.
pub(super) const MOST_AXES: usize = 64;

/// What holds for the whole graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Version of the operator set.
    pub(super) opset: i64,
    /// The batch that the inputs of the graph fix, if they do.
    pub(super) batch: Option<usize>,
}

/// A node that is being imported.
pub(super) struct Call<'a> {
    pub(super) setting: Setting,
    pub(super) builder: &'a mut Builder,
    pub(super) node: &'a decode::Node,
    /// All nodes of the graph.
    nodes: &'a [decode::Node],
    /// All names of the graph, which intermediate results must not take.
    pub(super) origins: &'a Origins<'a>,
    /// What messages call it.
    label: &'a str,
    inputs: Vec<Option<Value>>,
    /// Names of the attributes that were asked for.
    seen: Vec<&'static str>,
    /// What it computes, step by step.
    pub(super) steps: Vec<Pending>,
    /// Elements of constants that it made.
    pub(super) spent: u64,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        setting: Setting,
        builder: &'a mut Builder,
        (nodes, node): (&'a [decode::Node], &'a decode::Node),
        origins: &'a Origins<'a>,
        label: &'a str,
        inputs: Vec<Option<Value>>,
    ) -> Self {
        Self { setting, builder, node, nodes, origins, label, inputs, seen: vec![], steps: vec![], spent: 0 }
    }

    /// The operator, as the file names it.
    pub(super) fn operator(&self) -> &'a str {
        &self.node.operator
    }

    /// What messages call the node.
    pub(super) fn label(&self) -> &'a str {
        self.label
    }

    /// How many outputs it names.
    pub(super) fn outputs(&self) -> usize {
        self.node.outputs.len()
    }

    /// Whether an output beyond the first is named.
    pub(super) fn names_further_outputs(&self) -> bool {
        self.node.outputs.iter().skip(1).any(|name| !name.is_empty())
    }

    /// A fault of this node.
    pub(super) fn wrong(&self, message: impl std::fmt::Display) -> Stop {
        wrong(format!("{} ('{}'): {message}", self.node.operator, self.label))
    }

    /// A fault of this node, told by what it is made of.
    pub(super) fn checked<T>(&self, result: Result<T>) -> Step<T> {
        result.map_err(|error| self.wrong(error))
    }

    // Attributes. Each is asked for by name, and `no_more_attributes` refuses those that nobody asked for.

    fn attribute(&mut self, name: &'static str) -> Step<Option<&'a Attribute>> {
        self.seen.push(name);
        let mut all = self.node.attributes.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(self.wrong(format_args!("the attribute '{name}' is there twice"))),
            (value, None) => Ok(value),
        }
    }

    fn mistyped<T>(&self, name: &str, wanted: &str, found: &Attribute) -> Step<T> {
        Err(self.wrong(format_args!("the attribute '{name}' must be {wanted}, but is {}", found.kind())))
    }

    /// An attribute that is an integer.
    pub(super) fn int(&mut self, name: &'static str) -> Step<Option<i64>> {
        match self.attribute(name)? {
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(other) => self.mistyped(name, "an integer", other),
            None => Ok(None),
        }
    }

    /// An attribute that is 0 or 1; 0 where it is absent.
    pub(super) fn flag(&mut self, name: &'static str) -> Step<bool> {
        match self.int(name)? {
            None | Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => {
                Err(self.wrong(format_args!("the attribute '{name}' must be 0 or 1, but is {other}")))
            }
        }
    }

    /// An attribute that is a finite number.
    pub(super) fn float(&mut self, name: &'static str) -> Step<Option<f32>> {
        match self.attribute(name)? {
            Some(Attribute::Float(value)) if value.is_finite() => Ok(Some(*value)),
            Some(Attribute::Float(value)) => {
                Err(self.wrong(format_args!("the attribute '{name}' is {value}")))
            }
            Some(other) => self.mistyped(name, "a number", other),
            None => Ok(None),
        }
    }

    /// An attribute that is a number, possibly infinite.
    pub(super) fn bound(&mut self, name: &'static str) -> Step<Option<f32>> {
        match self.attribute(name)? {
            Some(Attribute::Float(value)) if value.is_infinite() => Ok(Some(*value)),
            _ => self.float(name),
        }
    }

    /// An attribute that is a string.
    pub(super) fn string(&mut self, name: &'static str) -> Step<Option<&'a str>> {
        match self.attribute(name)? {
            Some(Attribute::String(value)) => Ok(Some(value)),
            Some(other) => self.mistyped(name, "a string", other),
            None => Ok(None),
        }
    }

    /// An attribute that is a list of integers.
    pub(super) fn ints(&mut self, name: &'static str) -> Step<Option<&'a [i64]>> {
        match self.attribute(name)? {
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(other) => self.mistyped(name, "a list of integers", other),
            None => Ok(None),
        }
    }

    /// An attribute that is a list of numbers.
    pub(super) fn floats(&mut self, name: &'static str) -> Step<Option<&'a [f32]>> {
        match self.attribute(name)? {
            Some(Attribute::Floats(values)) => Ok(Some(values)),
            Some(other) => self.mistyped(name, "a list of numbers", other),
            None => Ok(None),
        }
    }

    /// An attribute that is a tensor.
    pub(super) fn tensor(&mut self, name: &'static str) -> Step<Option<&'a decode::Tensor>> {
        match self.attribute(name)? {
            Some(Attribute::Tensor(tensor)) => Ok(Some(tensor)),
            Some(other) => self.mistyped(name, "a tensor", other),
            None => Ok(None),
        }
    }

    /// Refuses the first attribute that was not asked for.
    pub(super) fn no_more_attributes(&self) -> Step<()> {
        match self.node.attributes.iter().find(|(key, _)| !self.seen.iter().any(|name| name == key)) {
            Some((key, _)) => {
                unsupported(format!("attribute '{key}' is not known to it in opset {}", self.setting.opset))
            }
            None => Ok(()),
        }
    }

    // Inputs.

    /// Checks the number of inputs.
    pub(super) fn arity(&self, range: RangeInclusive<usize>) -> Step<()> {
        let count = self.inputs.len();
        if range.contains(&count) {
            return Ok(());
        }
        let (least, most) = (range.start(), range.end());
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Err(self.wrong(format_args!("it takes {wanted} inputs and has {count}")))
    }

    /// The number of inputs.
    pub(super) fn count(&self) -> usize {
        self.inputs.len()
    }

    /// Whether an input is given.
    pub(super) fn has(&self, i: usize) -> bool {
        self.inputs.get(i).is_some_and(Option::is_some)
    }

    /// What an input is.
    pub(super) fn value(&self, i: usize) -> Step<&Value> {
        match self.inputs.get(i) {
            Some(Some(Value::Unknown)) => Err(Stop::Unknown),
            Some(Some(value)) => Ok(value),
            _ => Err(self.wrong(format_args!("input {i} is missing"))),
        }
    }

    /// The name of an input.
    pub(super) fn name(&self, i: usize) -> &'a str {
        self.node.inputs.get(i).map_or("", String::as_str)
    }

    /// The operator that makes an input, if one does.
    pub(super) fn maker(&self, i: usize) -> Option<&'a str> {
        match self.origins.get(self.name(i)) {
            Some(&Origin::Node(maker)) => Some(&self.nodes[maker].operator),
            _ => None,
        }
    }

    /// An input, computed or constant.
    pub(super) fn operand(&self, i: usize) -> Step<Operand> {
        Ok(match self.value(i)? {
            Value::Data(id, batch) => {
                let layout = Layout { sample: self.builder.shape(*id).to_vec(), batch: *batch };
                Operand { source: Source::Node(*id), layout }
            }
            Value::Constant(tensor) => Operand::from(tensor.clone()),
            Value::Unknown => return Err(Stop::Unknown),
        })
    }

    /// All inputs.
    pub(super) fn operands(&self) -> Step<Vec<Operand>> {
        (0..self.count()).map(|i| self.operand(i)).collect()
    }

    /// An input that is computed.
    pub(super) fn computed(&self, i: usize) -> Step<Operand> {
        let operand = self.operand(i)?;
        if operand.is_constant() {
            return unsupported(format!("its input '{}' is a constant", self.name(i)));
        }
        Ok(operand)
    }

    /// An input that is computed, with the batch alone in axis 0, and the shape of its samples.
    pub(super) fn samples(&mut self, i: usize) -> Step<(Operand, Vec<usize>)> {
        let mut operand = self.computed(i)?;
        if operand.layout.batch != Batch::FIRST {
            operand = self.outside(operand)?;
        }
        if operand.layout.batch == Batch::None && operand.layout.sample.first() == Some(&1) {
            let layout = Layout { sample: operand.layout.sample[1..].to_vec(), batch: Batch::FIRST };
            operand = self.relabelled(operand, layout)?;
        }
        match operand.layout.batch {
            Batch::FIRST => {
                let sample = operand.layout.sample.clone();
                Ok((operand, sample))
            }
            _ => unsupported(format!("the batch is not axis 0 of its input '{}'", self.name(i))),
        }
    }

    /// An input that is constant; `what` is its part in the operator.
    pub(super) fn constant(&self, i: usize, what: &str) -> Step<&Tensor> {
        match self.value(i)? {
            Value::Constant(tensor) => Ok(tensor),
            _ => unsupported(format!(
                "its {what} '{}' is computed; only a constant is supported",
                self.name(i)
            )),
        }
    }

    /// A constant input of finite numbers.
    pub(super) fn weights(&self, i: usize, what: &str) -> Step<&Constant> {
        match self.constant(i, what)? {
            Tensor::Float(constant) => Ok(constant),
            Tensor::Infinite(_) => {
                Err(wrong(format!("the constant '{}' holds a NaN or an infinity", self.name(i))))
            }
            other => Err(self.wrong(format_args!("its {what} '{}' holds {}", self.name(i), other.kind()))),
        }
    }

    /// A constant input of one number, possibly infinite.
    pub(super) fn number(&self, i: usize, what: &str) -> Step<f64> {
        match self.constant(i, what)? {
            Tensor::Infinite(value) => Ok(*value),
            Tensor::Float(constant) if constant.len() == 1 => Ok(constant.to::<f64>()[0]),
            _ => Err(self.wrong(format_args!("its {what} '{}' is not one number", self.name(i)))),
        }
    }

    /// A constant input that is a list of integers (or one), among which may be the length of the batch.
    pub(super) fn lengths(&self, i: usize, what: &str) -> Step<&[Integer]> {
        match self.constant(i, what)? {
            Tensor::Int { shape, values } if shape.len() <= 1 => Ok(values),
            _ => Err(self.wrong(format_args!("its {what} '{}' is not a list of integers", self.name(i)))),
        }
    }

    /// A constant input that is a list of integers (or one).
    pub(super) fn integers(&self, i: usize, what: &str) -> Step<Vec<i64>> {
        let known = |integer: &Integer| match integer {
            Integer::Known(value) => Ok(*value),
            Integer::Batch(_) => {
                unsupported(format!("its {what} '{}' depend on the length of the batch", self.name(i)))
            }
        };
        self.lengths(i, what)?.iter().map(known).collect()
    }

    // Axes. In the file axis 0 is the batch, in a network samples have none.

    /// An axis among `rank` of the file's, counted from the end where negative.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Step<usize> {
        let counted = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        let counted = counted.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
        counted.ok_or_else(|| self.wrong(format_args!("there is no axis {axis} among {rank}")))
    }

    /// Several axes as [`axis`](Self::axis), ascending; none may be there twice.
    pub(super) fn axes(&self, axes: &[i64], rank: usize) -> Step<Vec<usize>> {
        let mut found = axes.iter().map(|&axis| self.axis(axis, rank)).collect::<Step<Vec<usize>>>()?;
        found.sort_unstable();
        if let Some(twice) = found.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(self.wrong(format_args!("the axis {} is there twice", twice[0])));
        }
        Ok(found)
    }

    /// Checks the number of axes of something that this node makes.
    pub(super) fn checked_axes(&self, count: usize) -> Step<()> {
        if count > MOST_AXES {
            return Err(self.wrong(format_args!("{count} axes, the most are {MOST_AXES}")));
        }
        Ok(())
    }
}
