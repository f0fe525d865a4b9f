//! What a node computes, step by step: its inputs as operands, operators of the table on them, and the names that
//! the results get.

use std::sync::Arc;

use ndarray::{ArrayD, Axis, IxDyn};

use crate::engine::{Cpu, Engine};
use crate::network::operators::{Fixed, Reshape};
use crate::network::{Constant, NodeId, Op};

use super::batch::{Batch, Layout, product};
use super::call::{Call, Step, Stop, Value, unsupported};
use super::graph;
use super::tensor::{Integer, Tensor};

/// The most elements that a result of constants may have beyond those they have: broadcasting makes large ones out
/// of small files.
pub(super) const LARGEST: usize = 1 << 22;

/// Something that an operator takes.
#[derive(Clone)]
pub(super) struct Operand {
    pub(super) source: Source,
    pub(super) layout: Layout,
}

/// Where an operand comes from.
#[derive(Clone)]
pub(super) enum Source {
    Node(NodeId),
    /// A step of the node that is being imported.
    Step(usize),
    Constant(Tensor),
}

/// An operator that waits for its name.
pub(super) struct Pending {
    op: Op,
    inputs: Vec<Source>,
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Self {
        Self { layout: Layout::constant(tensor.shape()), source: Source::Constant(tensor) }
    }
}

impl Operand {
    pub(super) fn is_constant(&self) -> bool {
        matches!(self.source, Source::Constant(_))
    }

    /// The elements, where they are constant.
    pub(super) fn tensor(&self) -> Option<&Tensor> {
        match &self.source {
            Source::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    pub(super) fn rank(&self) -> usize {
        self.layout.rank()
    }
}

impl Call<'_> {
    /// An operator on operands that fit each other; `batch` is where the result has the batch.
    pub(super) fn step(&mut self, op: impl Into<Op>, inputs: &[&Operand], batch: Batch) -> Step<Operand> {
        let op = op.into();
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| &input.layout.sample[..]).collect();
        let shape = self.checked(op.operator().shape(&shapes))?;
        self.checked_axes(shape.len() + 1)?;
        self.spent += cost(&op);
        if !inputs.is_empty() && inputs.iter().all(|input| input.is_constant()) {
            let tensors: Vec<&Tensor> = inputs.iter().filter_map(|input| input.tensor()).collect();
            let tensor = self.folded(&op, &tensors, shape)?;
            return Ok(Operand::from(tensor));
        }
        let mut sources = vec![];
        for input in inputs {
            sources.push(match &input.source {
                Source::Constant(Tensor::Float(constant)) => {
                    // The layout may have another shape than the tensor: without the axis of the batch.
                    let value = self.checked(constant.reshaped(input.layout.sample.clone()))?;
                    self.push(Op::Fixed(Fixed { value }), vec![])
                }
                Source::Constant(other) => {
                    return unsupported(format!("it computes with a constant that holds {}", other.kind()));
                }
                computed => computed.clone(),
            });
        }
        let source = self.push(op, sources);
        Ok(Operand { source, layout: Layout { sample: shape, batch } })
    }

    fn push(&mut self, op: Op, inputs: Vec<Source>) -> Source {
        self.steps.push(Pending { op, inputs });
        Source::Step(self.steps.len() - 1)
    }

    /// A constant that depends on the batch only by its length, in this layout.
    pub(super) fn fixed(&mut self, value: Constant, layout: Layout) -> Step<Operand> {
        self.spent += value.len() as u64;
        let value = self.checked(value.reshaped(layout.sample.clone()))?;
        let source = self.push(Op::Fixed(Fixed { value }), vec![]);
        Ok(Operand { source, layout })
    }

    /// A function of one operand that keeps its shape.
    pub(super) fn function(&mut self, op: impl Into<Op>, x: &Operand) -> Step<Operand> {
        self.step(op, &[x], x.layout.batch)
    }

    /// The same elements in another layout; no step where a sample stays as it is.
    pub(super) fn relabelled(&mut self, x: Operand, layout: Layout) -> Step<Operand> {
        self.checked_axes(layout.rank())?;
        if let Source::Constant(tensor) = &x.source {
            let tensor = self.checked(tensor.reshaped(layout.sample.clone()))?;
            return Ok(Operand { source: Source::Constant(tensor), layout });
        }
        if x.layout.sample == layout.sample {
            return Ok(Operand { layout, ..x });
        }
        self.step(Reshape { shape: layout.sample }, &[&x], layout.batch)
    }

    /// The same elements under another shape of the file.
    pub(super) fn reshaped(&mut self, x: Operand, target: &[Integer]) -> Step<Operand> {
        self.checked_axes(target.len())?;
        let layout = x.layout.reshaped(target, self.setting.batch);
        let layout =
            layout.map_err(
                |(reason, is_contradiction)| {
                    if is_contradiction { self.wrong(reason) } else { Stop::Unsupported(reason) }
                },
            )?;
        let single = !x.is_constant() && self.setting.batch == Some(1);
        self.relabelled(x, layout.with_single_batch(single))
    }

    /// A value of a file with a batch of 1, with all axes of the file as axes of a sample; anything else as it is.
    pub(super) fn outside(&mut self, x: Operand) -> Step<Operand> {
        let sample = x.layout.single();
        if self.setting.batch != Some(1) || x.is_constant() {
            return Ok(x);
        }
        self.relabelled(x, Layout { sample, batch: Batch::None })
    }

    /// An operand of which these axes of the file are none of the batch's.
    pub(super) fn exposed(&mut self, x: Operand, axes: &[usize], what: &str) -> Step<Operand> {
        let hidden = |x: &Operand| axes.iter().any(|&axis| x.layout.along(axis).is_none());
        let x = if hidden(&x) { self.outside(x)? } else { x };
        if hidden(&x) {
            return unsupported(format!("{what} the batch"));
        }
        Ok(x)
    }

    /// The operands with the batch in the same axis, counted from the last, and where it is then: what
    /// broadcasting needs. Constants lose that axis, along which they must not differ.
    pub(super) fn aligned(&mut self, operands: Vec<Operand>) -> Step<(Vec<Operand>, Batch)> {
        let rank = operands.iter().map(Operand::rank).max().unwrap_or(0);
        let behind = |x: &Operand| match x.layout.batch {
            Batch::Axis { axis, outer, inner } => Some((x.rank() - axis, outer, inner)),
            Batch::None => None,
        };
        let mut places = operands.iter().filter(|x| !x.is_constant()).map(behind);
        let Some(place) = places.next() else { return Ok((operands, Batch::None)) };
        let agree = places.all(|other| other == place);
        let Some((from_last, outer, inner)) = place.filter(|_| agree) else {
            if self.setting.batch == Some(1) {
                let outside = operands.into_iter().map(|x| self.outside(x)).collect::<Step<Vec<_>>>()?;
                return Ok((outside, Batch::None));
            }
            // All are in the layout of a constant, or differ.
            return if place.is_none() && agree {
                Ok((operands, Batch::None))
            } else {
                unsupported("the batches of its inputs do not line up")
            };
        };
        let differs = |x: &Operand| {
            let axis = x.rank().checked_sub(from_last);
            x.is_constant() && axis.is_some_and(|axis| x.layout.sample[axis] != 1)
        };
        if let Some(x) = operands.iter().find(|x| differs(x)) {
            if self.setting.batch == Some(1) {
                let outside = operands.into_iter().map(|x| self.outside(x)).collect::<Step<Vec<_>>>()?;
                return Ok((outside, Batch::None));
            }
            return unsupported(format!(
                "a constant of shape {:?} differs along the batch, or would mix it with other axes",
                x.layout.sample
            ));
        }
        let batch = Batch::Axis { axis: rank - from_last, outer, inner };
        let factors = usize::from(outer > 1) + usize::from(inner > 1);
        let mut aligned = vec![];
        for x in operands {
            let x = match (x.is_constant(), x.rank().checked_sub(from_last)) {
                (true, Some(axis)) => {
                    let mut sample = x.layout.sample.clone();
                    sample.splice(axis..=axis, std::iter::repeat_n(1, factors));
                    self.relabelled(x, Layout { sample, batch: Batch::None })?
                }
                _ => x,
            };
            aligned.push(x);
        }
        Ok((aligned, batch))
    }

    /// The result of an operator on constants.
    fn folded(&mut self, op: &Op, tensors: &[&Tensor], shape: Vec<usize>) -> Step<Tensor> {
        let count = product(&shape);
        let taken: usize = tensors.iter().map(|tensor| tensor.len()).sum();
        let Some(count) = count.filter(|&count| count <= LARGEST + taken) else {
            return unsupported(format!("its constant result of shape {shape:?} is too large"));
        };
        self.spent += (count + taken) as u64;
        if let Some(picked) = moved(op, tensors) {
            return self.checked(gathered(tensors, &shape, &picked)).and_then(|tensor| {
                tensor.ok_or_else(|| Stop::Unsupported("it moves constants of different types".to_owned()))
            });
        }
        let mut floats = vec![];
        for tensor in tensors {
            match tensor {
                Tensor::Float(constant) if !constant.is_empty() => floats.push(constant),
                other => {
                    return unsupported(format!("it computes with a constant that holds {}", other.kind()));
                }
            }
        }
        let values = self.checked(computed(op, &floats))?;
        Ok(Tensor::Float(self.checked(Constant::f64(shape, values))?))
    }

    /// Adds the steps to the network and gives the outputs their names.
    pub(super) fn finish(self, outputs: &[Operand]) -> Step<Vec<Value>> {
        let Self { builder, node, origins, steps, .. } = self;
        let named = |i: usize| {
            outputs.iter().position(|output| matches!(output.source, Source::Step(step) if step == i))
        };
        let mut ids: Vec<NodeId> = vec![];
        for (i, Pending { op, inputs }) in steps.iter().enumerate() {
            let inputs: Vec<NodeId> = inputs
                .iter()
                .filter_map(|input| match input {
                    Source::Node(id) => Some(*id),
                    Source::Step(step) => Some(ids[*step]),
                    Source::Constant(_) => None,
                })
                .collect();
            let name = match named(i).and_then(|k| node.outputs.get(k)) {
                Some(name) if !name.is_empty() => name.clone(),
                _ => {
                    let mut name = format!("{}/{}{i}", node.outputs[0], op.operator().name());
                    while origins.contains_key(name.as_str()) {
                        name.push('_');
                    }
                    name
                }
            };
            let label = if named(i) == Some(0) { graph::label(node) } else { &name };
            ids.push(builder.add_value(label, &name, op.clone(), &inputs).map_err(Stop::Wrong)?);
        }
        let mut values = vec![];
        for (k, output) in outputs.iter().enumerate() {
            let id = match &output.source {
                Source::Constant(tensor) => {
                    values.push(Value::Constant(tensor.clone()));
                    continue;
                }
                Source::Node(id) => *id,
                Source::Step(step) => ids[*step],
            };
            if let Some(name) = node.outputs.get(k).filter(|name| !name.is_empty()) {
                builder.alias(name, id);
            }
            if k == 0 {
                builder.alias(graph::label(node), id);
            }
            values.push(Value::Data(id, output.layout.batch));
        }
        Ok(values)
    }
}

/// Elements of constants that an operator holds.
fn cost(op: &Op) -> u64 {
    let indices = match op {
        Op::Select(select) => select.indices.len(),
        Op::Interpolate(interpolate) => 4 * interpolate.low.len(),
        _ => 0,
    };
    (op.operator().parameters() + indices) as u64
}

/// For an operator that only moves elements: which of the inputs' elements, counted through all inputs, each element
/// of the output is.
fn moved(op: &Op, tensors: &[&Tensor]) -> Option<ArrayD<usize>> {
    let mut start = 0;
    let mut inputs = vec![];
    for tensor in tensors {
        let end = start + tensor.len();
        inputs.push(ArrayD::from_shape_vec(tensor.shape(), (start..end).collect()).ok()?);
        start = end;
    }
    let first = inputs.first()?;
    match op {
        Op::Reshape(op) => first.clone().into_shape_with_order(IxDyn(&op.shape)).ok(),
        Op::Permute(op) => {
            Some(first.clone().permuted_axes(IxDyn(&op.order)).as_standard_layout().to_owned())
        }
        Op::Expand(op) => Some(first.broadcast(IxDyn(&op.shape))?.to_owned()),
        Op::Select(op) => {
            let indices: Vec<usize> = op.indices.iter().map(|&i| i as usize).collect();
            Some(first.select(Axis(op.axis), &indices))
        }
        Op::Concat(op) => {
            let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
            ndarray::concatenate(Axis(op.axis), &views).ok()
        }
        _ => None,
    }
}

/// The picked elements; `None` where the tensors differ in type.
fn gathered(tensors: &[&Tensor], shape: &[usize], picked: &ArrayD<usize>) -> crate::Result<Option<Tensor>> {
    let shape = shape.to_vec();
    let mut floats: Vec<&Constant> = vec![];
    let mut integers: Vec<Integer> = vec![];
    let mut truths: Vec<bool> = vec![];
    for tensor in tensors {
        match tensor {
            Tensor::Float(constant) => floats.push(constant),
            Tensor::Int { values, .. } => integers.extend(values.iter()),
            Tensor::Bool { values, .. } => truths.extend(values.iter()),
            Tensor::Infinite(_) => return Ok(None),
        }
    }
    Ok(match (floats.is_empty(), integers.is_empty(), truths.is_empty()) {
        (false, true, true) if floats.iter().all(|constant| constant.is_f32()) => {
            let all: Vec<f32> = floats.iter().flat_map(|constant| constant.to::<f32>()).collect();
            Some(Tensor::Float(Constant::f32(shape, picked.iter().map(|&i| all[i]).collect())?))
        }
        (false, true, true) => {
            let all: Vec<f64> = floats.iter().flat_map(|constant| constant.to::<f64>()).collect();
            Some(Tensor::Float(Constant::f64(shape, picked.iter().map(|&i| all[i]).collect())?))
        }
        (true, false, true) => {
            let values = Arc::new(picked.iter().map(|&i| integers[i]).collect());
            Some(Tensor::Int { shape, values })
        }
        (true, true, false) => {
            Some(Tensor::Bool { shape, values: Arc::new(picked.iter().map(|&i| truths[i]).collect()) })
        }
        // Nothing but empty tensors.
        (true, true, true) => match tensors.first() {
            Some(Tensor::Bool { .. }) => Some(Tensor::Bool { shape, values: Arc::new(vec![]) }),
            _ => Some(Tensor::Int { shape, values: Arc::new(vec![]) }),
        },
        _ => None,
    })
}

/// The value of an operator of the table, in f64: what is folded must not be rounded before an engine in f64 sees it.
fn computed(op: &Op, constants: &[&Constant]) -> crate::Result<Vec<f64>> {
    let engine = Cpu::<f64>::new();
    let shapes: Vec<&[usize]> = constants.iter().map(|constant| constant.shape()).collect();
    let inputs = constants
        .iter()
        .map(|constant| engine.upload(&constant.to::<f64>(), &[&[1], constant.shape()].concat()))
        .collect::<crate::Result<Vec<_>>>()?;
    let prepared = op.prepare(&engine, &shapes)?;
    let (value, _) = prepared.forward(&engine, &inputs.iter().collect::<Vec<_>>())?;
    engine.download(&value)
}
