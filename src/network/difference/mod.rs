//! A piecewise affine network as the difference of two convex ones: the same graph, computed with pairs.
//!
//! Every value `u` becomes a pair of convex functions of the input with `u = convex - subtracted`. How an operator acts
//! on pairs stands in the table ([`ConvexRule`]), what the rules are made of in [`Rewriting`]. A part that is zero is no
//! node, and what is still affine in the input is one part alone, whatever the signs of the weights: the graph doubles
//! only from where it must.

mod rewriting;

use std::collections::HashMap;

use crate::{Error, Result};

use super::{Constant, Network, Slot};

pub use rewriting::Rewriting;
pub(super) use rewriting::SignedOp;

/// What refusals call the rewriting.
const TOOL: &str = "the difference of convex functions";

/// Which part of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is subtracted from.
    Convex,
    /// What is subtracted, convex too.
    Subtracted,
}

impl Side {
    /// Both, in the order of the outputs.
    pub const BOTH: [Self; 2] = [Self::Convex, Self::Subtracted];

    /// The name of this part of the value `name`: `NAME (convex)`, `NAME (subtracted)`.
    pub fn of(self, name: &str) -> String {
        match self {
            Self::Convex => format!("{name} (convex)"),
            Self::Subtracted => format!("{name} (subtracted)"),
        }
    }
}

/// A convex function of the input: a node of the network that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    node: usize,
    /// Affine functions stay convex under factors of any sign.
    affine: bool,
}

/// A value as `convex - subtracted`; `None` is zero. What is subtracted is never affine: that is in the convex part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pair {
    convex: Option<Part>,
    subtracted: Option<Part>,
}

impl Pair {
    fn sides(self) -> [Option<Part>; 2] {
        [self.convex, self.subtracted]
    }

    /// The pair as terms of a sum that counts it `factor` times.
    fn terms(self, factor: &Constant) -> Result<Vec<(Constant, Part)>> {
        let minus = factor.map(|_, v| -v)?;
        let [convex, subtracted] = self.sides();
        let convex = convex.map(|part| (factor.clone(), part));
        Ok(convex.into_iter().chain(subtracted.map(|part| (minus, part))).collect())
    }
}

/// How an operator acts on pairs of convex functions.
pub trait ConvexRule {
    /// The pair of its output from those of its inputs, of which at least one depends on the input of the network.
    ///
    /// # Errors
    /// [`Error::Argument`] where a weight is beyond what floating-point numbers hold.
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair>;
}

impl Network {
    /// The network as the difference of two convex ones: an ordinary network of the same inputs with two outputs, the
    /// convex part `OUTPUT (convex)` and the part `OUTPUT (subtracted)`, convex too, that is subtracted from it
    /// ([`Side::of`]). Several outputs count as one, side by side.
    ///
    /// The parts of every other value are nodes under such names too; one that is zero is no node, and one that is
    /// another node's is a further name of it. Max-affine pieces come as jets: a part's gradient is the slope of its
    /// active piece. Where the network is affine all of it is convex, and zeros are subtracted.
    ///
    /// # Errors
    /// [`Error::MissingSlot`] for an operator on the way from the input that is not continuous and piecewise affine;
    /// [`Error::Argument`] where a weight is beyond what floating-point numbers hold.
    pub fn convex_difference(&self) -> Result<Self> {
        let whole = self.joined()?;
        let empty = Self { nodes: vec![], outputs: vec![], names: HashMap::new() };
        let mut rewriting = Rewriting::new(empty);
        let mut pairs: Vec<Pair> = vec![];
        for (node, varying) in whole.nodes.iter().zip(whole.varying()) {
            rewriting.at(node, &whole);
            let first = rewriting.network.nodes.len();
            let inputs: Vec<Pair> = node.inputs.iter().map(|&i| pairs[i]).collect();
            let pair = match &node.op {
                None => rewriting.input(node),
                Some(op) if !varying => rewriting.alone(op, &inputs)?,
                Some(op) => {
                    node.require(TOOL, Slot::ConvexDifference)?;
                    match op.operator().convex_rule() {
                        Some(rule) => rule.pair(&mut rewriting, &inputs)?,
                        None => unreachable!("the slot was asked for"),
                    }
                }
            };
            for (part, side) in pair.sides().into_iter().zip(Side::BOTH) {
                if let Some(part) = part.filter(|part| part.node >= first && node.op.is_some()) {
                    rewriting.rename(part.node, &side.of(&node.value));
                }
            }
            pairs.push(pair);
        }
        let (end, last) = (whole.outputs[0], &whole.nodes[whole.outputs[0]]);
        rewriting.at(last, &whole);
        for (part, side) in pairs[end].sides().into_iter().zip(Side::BOTH) {
            let node = match part {
                Some(part) => part.node,
                None => {
                    let zero = rewriting.or_zero(None)?.node;
                    rewriting.rename(zero, &side.of(&last.value));
                    zero
                }
            };
            rewriting.network.outputs.push(node);
        }
        let mut network = rewriting.network;
        for (name, &i) in &whole.names {
            for (part, side) in pairs[i].sides().into_iter().zip(Side::BOTH) {
                if let Some(part) = part {
                    network.names.entry(side.of(name)).or_insert(part.node);
                }
            }
        }
        Ok(network)
    }

    /// The network with other outputs, by their names.
    ///
    /// # Errors
    /// [`Error::Argument`] for an unknown name.
    pub fn with_outputs(&self, names: &[String]) -> Result<Self> {
        let outputs: Vec<usize> = names.iter().map(|name| self.position(name)).collect::<Result<_>>()?;
        if outputs.is_empty() {
            return Err(Error::Argument("a network needs an output".to_owned()));
        }
        Ok(Self { outputs, ..self.clone() })
    }
}
