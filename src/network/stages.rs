//! Piecewise affine networks in normal form: stages that bend, and explicit linear maps from each to those behind it.
//!
//! With `y_j` the values of stage `j`, what stage `k` takes is `u_k = r_k(x) + sum_{j < k} y_j M_jk`, `r_k` affine in the
//! input `x` of the network, and `y_k = bend_k(u_k)`. Whatever lies between (dense layers, convolutions, normalisation,
//! average pools, sums of branches) is in the `M_jk`, which the table of operators gives column by column.

use crate::engine::{Cpu, Engine, TensorOf};
use crate::{Error, Result};

use super::bend::{Bend, repeated};
use super::operators::{Dense, Pass, Prepared, Slot};
use super::{Kind, Network, Node, Op};

type Tensor = TensorOf<Cpu<f64>>;

/// Elements of tangents that are pushed through the graph at once.
const AT_ONCE: usize = 1 << 22;

/// A map with fewer elements that are not 0 than one in so many is kept as those alone.
const SPARSE: usize = 4;

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

/// A linear map, row by row: what each unit of its source adds to each element of its target.
pub(crate) enum Map {
    /// `[units, n]`
    Dense(Vec<f64>),
    /// Those that are not 0.
    Sparse { ends: Vec<usize>, positions: Vec<u32>, weights: Vec<f64> },
}

/// Where the value of a node goes: element `i` of a target, from `first` on, is element `positions[i]` of the node.
struct Port {
    target: usize,
    first: usize,
    positions: Option<Vec<usize>>,
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
        let bend = at.op.as_ref().map(|op| Bend::of(op, &shapes, &at.shape)).transpose()?.flatten();
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
        (wide && from != node.shape()).then(|| repeated(from, node.shape()))
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

/// Normal form in the making.
struct Making<'a> {
    network: &'a Network,
    engine: Cpu<f64>,
    /// Whether each node varies with the input.
    varies: Vec<bool>,
    /// The nodes that bend.
    bending: Vec<usize>,
    /// What each node feeds.
    ports: Vec<Vec<Port>>,
    /// The elements of each target.
    lengths: Vec<usize>,
    prepared: Vec<Option<Box<dyn Prepared<Cpu<f64>>>>>,
    /// The value of each node at 0 where all that bends gives 0, `[1, ..]`, and its slopes `[D, ..]` if it has any.
    direct: Vec<(Tensor, Option<Tensor>)>,
}

impl<'a> Making<'a> {
    fn new(network: &'a Network, tool: &'static str) -> Result<Self> {
        let count = network.nodes.len();
        let (varies, bending) = (network.varying(), network.bending_nodes(tool)?);
        let mut ports: Vec<Vec<Port>> = (0..count).map(|_| vec![]).collect();
        let mut lengths = vec![];
        for (target, &i) in bending.iter().enumerate() {
            let node = &network.nodes[i];
            let mut first = 0;
            for &j in &node.inputs {
                let from = network.nodes[j].shape();
                let own: usize = from.iter().product();
                let positions = network.positions(node, j);
                let length = positions.as_ref().map_or(own, Vec::len);
                ports[j].push(Port { target, first, positions });
                first += length;
            }
            lengths.push(first);
        }
        let output = network.outputs[0];
        lengths.push(network.nodes[output].shape.iter().product());
        ports[output].push(Port { target: bending.len(), first: 0, positions: None });
        let prepared = (0..count).map(|_| None).collect();
        let engine = Cpu::new();
        let mut making = Self { network, engine, varies, bending, ports, lengths, prepared, direct: vec![] };
        for i in 0..count {
            let direct = making.at_zero(i)?;
            making.direct.push(direct);
        }
        Ok(making)
    }

    fn shape(&self, rows: usize, i: usize) -> Vec<usize> {
        [&[rows], self.network.nodes[i].shape()].concat()
    }

    fn len(&self, i: usize) -> usize {
        self.network.nodes[i].shape.iter().product()
    }

    fn zeros(&self, rows: usize, i: usize) -> Result<Tensor> {
        self.engine.upload(&vec![0.0; rows * self.len(i)], &self.shape(rows, i))
    }

    /// The dense layer that node `i` is, if it takes the value of a bending node as it is, whatever its shape: then its
    /// weights are the linear map.
    fn behind_bend(&self, i: usize) -> Option<(usize, &'a Dense)> {
        let node = &self.network.nodes[i];
        let Some(Op::Dense(dense)) = &node.op else { return None };
        let mut below = node.inputs[0];
        if self.network.nodes[below].shape.len() != 1 || dense.fused().is_some() {
            return None;
        }
        while let Some(Op::Reshape(_)) = &self.network.nodes[below].op {
            below = self.network.nodes[below].inputs[0];
        }
        self.bending.contains(&below).then_some((below, dense))
    }

    /// What a node gives where everything that bends gives 0.
    fn at_zero(&mut self, i: usize) -> Result<(Tensor, Option<Tensor>)> {
        let node = &self.network.nodes[i];
        let Some(op) = &node.op else {
            let count = self.len(i);
            let mut unit = vec![0.0; count * count];
            unit.iter_mut().step_by(count + 1).for_each(|x| *x = 1.0);
            return Ok((self.zeros(1, i)?, Some(self.engine.upload(&unit, &self.shape(count, i))?)));
        };
        if self.bending.contains(&i) {
            return Ok((self.zeros(1, i)?, None));
        }
        if let Some((_, dense)) = self.behind_bend(i) {
            let bias = dense.bias().map_or_else(|| vec![0.0; self.len(i)], |bias| bias.to());
            return Ok((self.engine.upload(&bias, &self.shape(1, i))?, None));
        }
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|&j| self.network.nodes[j].shape()).collect();
        let prepared = op.prepare(&self.engine, &shapes)?;
        let inputs: Vec<&Tensor> = node.inputs.iter().map(|&j| &self.direct[j].0).collect();
        let value = prepared.forward(&self.engine, &inputs)?.0;
        let tangents: Vec<Option<&Tensor>> = node.inputs.iter().map(|&j| self.direct[j].1.as_ref()).collect();
        let tangent = if tangents.iter().any(Option::is_some) {
            let pass = Pass::new(inputs.into_iter().map(Some).collect(), Some(&value), shapes, None);
            Some(prepared.jacobian_vector(&self.engine, &pass, &tangents)?)
        } else {
            None
        };
        if self.varies[i] {
            self.prepared[i] = Some(prepared);
        }
        Ok((value, tangent))
    }

    /// Adds rows of a node's value to the rows of its targets.
    fn record(&self, i: usize, values: &[f64], rows: usize, mut add: impl FnMut(usize, usize, usize, f64)) {
        let count = self.len(i);
        for port in &self.ports[i] {
            for row in 0..rows {
                let values = &values[row * count..][..count];
                match &port.positions {
                    None => {
                        values.iter().enumerate().for_each(|(e, &v)| add(port.target, row, port.first + e, v))
                    }
                    Some(positions) => positions
                        .iter()
                        .enumerate()
                        .for_each(|(e, &at)| add(port.target, row, port.first + e, values[at])),
                }
            }
        }
    }

    fn targets(&self) -> Vec<Target> {
        let inputs = self.len(0);
        let mut targets: Vec<Target> = self
            .lengths
            .iter()
            .map(|&n| Target { direct: vec![0.0; (1 + inputs) * n], norms: vec![0.0; n] })
            .collect();
        for (i, (value, tangent)) in
            self.direct.iter().enumerate().filter(|(i, _)| !self.ports[*i].is_empty())
        {
            let lengths = &self.lengths;
            self.record(i, value.buffer(), 1, |target, _, e, v| targets[target].direct[e] = v);
            if let Some(tangent) = tangent {
                self.record(i, tangent.buffer(), inputs, |target, row, e, v| {
                    targets[target].direct[(1 + row) * lengths[target] + e] = v;
                });
            }
        }
        targets
    }

    /// The linear maps from a stage to those behind it.
    fn links(&self, number: usize, left: &mut u64) -> Result<Vec<(usize, Map)>> {
        let from = self.bending[number];
        let units = self.len(from);
        let reached = self.reached(from);
        let mut targets: Vec<usize> = (from..self.network.nodes.len())
            .filter(|&i| reached[i])
            .flat_map(|i| self.ports[i].iter().map(|port| port.target))
            .filter(|&target| target > number)
            .collect();
        targets.sort_unstable();
        targets.dedup();
        let mut maps: Vec<Growing> = targets.iter().map(|&t| Growing::new(self.lengths[t])).collect();
        // Dense layers that nothing but stages read are their own map.
        let direct: Vec<usize> = (from..reached.len())
            .filter(|&i| {
                let reads =
                    |(k, node): (usize, &Node)| node.inputs.contains(&i) && !self.bending.contains(&k);
                let read = self.network.nodes.iter().enumerate().any(reads);
                !read && self.behind_bend(i).is_some_and(|(below, _)| below == from)
            })
            .collect();
        let pushed: Vec<usize> =
            (from..reached.len()).filter(|i| reached[*i] && !direct.contains(i)).collect();
        let others = pushed.iter().any(|&i| !self.ports[i].is_empty());
        let whole = |i: usize| match &self.ports[i][..] {
            [Port { target, first: 0, positions: None }] if self.lengths[*target] == self.len(i) => {
                Some(*target)
            }
            _ => None,
        };
        if let ([i], false) = (&direct[..], others)
            && let (Some(target), Some((_, dense))) = (whole(*i), self.behind_bend(*i))
        {
            let weights = dense.weights().to::<f64>();
            spend(left, size_of_val(&weights[..]))?;
            return Ok(vec![(target, Map::Dense(weights))]);
        }
        if direct.is_empty() && pushed[..] == [from] {
            return self.straight(from, &targets, left);
        }
        let alive =
            pushed.iter().map(|&i| self.len(i)).chain(maps.iter().map(|map| map.length)).sum::<usize>();
        let block = (AT_ONCE.min((*left / 32) as usize) / alive.max(1)).clamp(1, units);
        for first in (0..units).step_by(block) {
            let rows = block.min(units - first);
            let mut found: Vec<Vec<f64>> = maps.iter().map(|map| vec![0.0; rows * map.length]).collect();
            let mut put = |i: usize, values: &[f64]| {
                self.record(i, values, rows, |target, row, e, v| {
                    if let Ok(at) = targets.binary_search(&target) {
                        found[at][row * self.lengths[target] + e] = v;
                    }
                });
            };
            for &i in &direct {
                let Some((_, dense)) = self.behind_bend(i) else { continue };
                let weights = dense.weights().to::<f64>();
                put(i, &weights[first * self.len(i)..][..rows * self.len(i)]);
            }
            let mut tangents: Vec<Option<Tensor>> = vec![None; self.network.nodes.len()];
            let mut unit = vec![0.0; rows * units];
            (0..rows).for_each(|row| unit[row * units + first + row] = 1.0);
            tangents[from] = Some(self.engine.upload(&unit, &self.shape(rows, from))?);
            for &i in &pushed {
                let tangent = match tangents[i].take() {
                    Some(tangent) => tangent,
                    None => self.push(i, &tangents)?,
                };
                put(i, tangent.buffer());
                tangents[i] = Some(tangent);
            }
            for (map, rows) in maps.iter_mut().zip(&found) {
                map.append(rows, left)?;
            }
        }
        Ok(targets.into_iter().zip(maps.into_iter().map(Growing::finish)).collect())
    }

    /// The maps of a stage that others read as it is, of which few elements are not 0.
    fn straight(&self, from: usize, targets: &[usize], left: &mut u64) -> Result<Vec<(usize, Map)>> {
        let map = |&target: &usize| {
            let mut read: Vec<Vec<u32>> = vec![vec![]; self.len(from)];
            for port in self.ports[from].iter().filter(|port| port.target == target) {
                let count = port.positions.as_ref().map_or(self.len(from), Vec::len);
                for e in 0..count {
                    let unit = port.positions.as_ref().map_or(e, |positions| positions[e]);
                    read[unit].push((port.first + e) as u32);
                }
            }
            let mut map = Growing::new(self.lengths[target]);
            for positions in read {
                map.positions.extend(positions);
                map.weights.resize(map.positions.len(), 1.0);
                map.ends.push(map.weights.len());
            }
            spend(left, map.weights.len() * (size_of::<u32>() + size_of::<f64>()))?;
            Ok((target, map.finish()))
        };
        targets.iter().map(map).collect()
    }

    /// The node `from` and the affine nodes that depend on it through affine nodes alone.
    fn reached(&self, from: usize) -> Vec<bool> {
        let mut reached = vec![false; self.network.nodes.len()];
        reached[from] = true;
        for (i, node) in self.network.nodes.iter().enumerate().skip(from + 1) {
            reached[i] = !self.bending.contains(&i) && node.inputs.iter().any(|&j| reached[j]);
        }
        reached
    }

    /// The tangents of an affine node from those of its inputs.
    fn push(&self, i: usize, tangents: &[Option<Tensor>]) -> Result<Tensor> {
        let node = &self.network.nodes[i];
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|&j| self.network.nodes[j].shape()).collect();
        let own;
        let prepared = match (&self.prepared[i], &node.op) {
            (Some(prepared), _) => prepared,
            (None, Some(op)) => {
                own = op.prepare(&self.engine, &shapes)?;
                &own
            }
            (None, None) => unreachable!("an input depends on nothing"),
        };
        let inputs = node.inputs.iter().map(|&j| Some(&self.direct[j].0)).collect();
        let pass = Pass::new(inputs, Some(&self.direct[i].0), shapes, None);
        let tangents: Vec<Option<&Tensor>> = node.inputs.iter().map(|&j| tangents[j].as_ref()).collect();
        prepared.jacobian_vector(&self.engine, &pass, &tangents)
    }
}

/// A map whose rows come one after the other: its elements that are not 0.
struct Growing {
    length: usize,
    ends: Vec<usize>,
    positions: Vec<u32>,
    weights: Vec<f64>,
}

impl Growing {
    fn new(length: usize) -> Self {
        Self { length, ends: vec![], positions: vec![], weights: vec![] }
    }

    fn append(&mut self, rows: &[f64], left: &mut u64) -> Result<()> {
        let before = self.weights.len();
        for row in rows.chunks_exact(self.length) {
            for (position, &weight) in row.iter().enumerate().filter(|&(_, &weight)| weight != 0.0) {
                self.positions.push(position as u32);
                self.weights.push(weight);
            }
            self.ends.push(self.weights.len());
        }
        spend(left, (self.weights.len() - before) * (size_of::<u32>() + size_of::<f64>()))
    }

    fn finish(self) -> Map {
        let Self { length, ends, positions, weights } = self;
        if weights.len() * SPARSE < ends.len() * length {
            return Map::Sparse { ends, positions, weights };
        }
        let mut dense = vec![0.0; ends.len() * length];
        let mut first = 0;
        for (row, end) in dense.chunks_exact_mut(length).zip(ends) {
            let entries = positions[first..end].iter().zip(&weights[first..end]);
            entries.for_each(|(&position, &weight)| row[position as usize] = weight);
            first = end;
        }
        Map::Dense(dense)
    }
}

/// Takes bytes of what is left of a budget.
fn spend(left: &mut u64, bytes: usize) -> Result<()> {
    let bytes = bytes as u64;
    let budget = *left;
    *left = budget.checked_sub(bytes).ok_or_else(|| Error::Memory {
        what: "a linear map between the bending layers, beside those before it,".to_owned(),
        needed: bytes,
        budget,
    })?;
    Ok(())
}
