//! Laying a network out on an engine.

use crate::Result;
use crate::engine::{Engine, TensorOf};
use crate::network::{Kind, Network, Op, simplify};

use super::{Program, Step, Work};

impl Network {
    /// Simplifies the network and lays its weights out on an engine.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) with several inputs or outputs ([`cut`](Self::cut) chooses);
    /// what the engine says of its weights.
    pub fn compile<E: Engine>(&self, engine: &E) -> Result<Program<E>> {
        simplify::simplify(&self.cut(None, None)?)?.lay_out(engine)
    }

    /// As [`compile`](Self::compile), with every node as it stands in the graph: for what concerns the parameters
    /// themselves.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_unfolded<E: Engine>(&self, engine: &E) -> Result<Program<E>> {
        self.cut(None, None)?.lay_out(engine)
    }

    /// As [`compile`](Self::compile), with the constants of the file to the bit: nothing is folded into weights, where
    /// it would be rounded. For proofs.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub(crate) fn compile_exact<E: Engine>(&self, engine: &E) -> Result<Program<E>> {
        simplify::merge(&self.cut(None, None)?)?.lay_out(engine)
    }

    /// Lays out a network that was cut.
    fn lay_out<E: Engine>(&self, engine: &E) -> Result<Program<E>> {
        let network = self;
        let mut last_use: Vec<usize> = (0..network.nodes.len()).collect();
        let mut remembered = vec![false; network.nodes.len()];
        let mut scratch = 0;
        let mut steps: Vec<Step<E>> = Vec::with_capacity(network.nodes.len());
        for (i, node) in network.nodes.iter().enumerate() {
            let shapes: Vec<&[usize]> = node.inputs.iter().map(|&j| network.nodes[j].shape()).collect();
            node.inputs.iter().for_each(|&j| last_use[j] = i);
            let (inputs, shape) = (node.inputs.clone(), node.shape.clone());
            let (mut intermediates, mut flops) = (0, 0);
            let (mut operator, mut pieces, mut series) = ("", Some(1), None);
            let work = match &node.op {
                None => Work::Input,
                Some(op) => {
                    scratch = scratch.max(op.operator().scratch(&shapes));
                    intermediates = op.operator().intermediates();
                    (operator, pieces) = (op.operator().name(), op.operator().pieces_of_unit(&shapes));
                    flops = op.operator().flops(&shapes);
                    let varies: Vec<bool> = inputs.iter().map(|&j| steps[j].varies()).collect();
                    series = if varies.contains(&true) { op.operator().series_rule(&varies) } else { None };
                    let remembers = op.operator().remembers();
                    remembered[i] |= remembers.output;
                    inputs.iter().for_each(|&j| remembered[j] |= remembers.inputs);
                    let prepared = op.prepare(engine, &shapes)?;
                    let fixed: Option<Vec<&TensorOf<E>>> = inputs.iter().map(|&j| steps[j].fixed()).collect();
                    match fixed {
                        Some(inputs) => Work::Fixed(prepared.forward(engine, &inputs)?.0),
                        None => Work::Operator(prepared),
                    }
                }
            };
            let (name, value) = (node.name.clone(), node.value.clone());
            let activation = match (&node.op, &work) {
                (Some(Op::Activation(activation)), Work::Operator(_)) => Some(*activation),
                _ => None,
            };
            let kind = node.op.as_ref().map_or(Kind::Affine, |op| op.operator().kind());
            let mixes = kind != Kind::Affine && activation.is_none() && matches!(work, Work::Operator(_));
            steps.push(Step {
                name,
                value,
                operator,
                work,
                pieces,
                activation,
                mixes,
                series,
                inputs,
                shape,
                flops,
                intermediates,
                last_use: 0,
                remembered: false,
            });
        }
        for (step, (last_use, remembered)) in steps.iter_mut().zip(last_use.into_iter().zip(remembered)) {
            (step.last_use, step.remembered) = (last_use, remembered);
        }
        Ok(Program { engine: engine.clone(), steps, scratch })
    }
}
