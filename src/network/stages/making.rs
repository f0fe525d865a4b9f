//! The normal form of one network in the making: unit vectors pushed from each stage to those behind it.

use crate::Result;
use crate::engine::{Cpu, Engine, TensorOf};
use crate::network::operators::{Dense, Pass, Prepared};
use crate::network::{Network, Node, Op};

use super::map::{Growing, spend};
use super::{Map, Target};

type Tensor = TensorOf<Cpu<f64>>;

/// Elements of tangents that are pushed through the graph at once.
const AT_ONCE: usize = 1 << 22;

/// Where the value of a node goes: element `i` of a target, from `first` on, is element `positions[i]` of the node.
struct Port {
    target: usize,
    first: usize,
    positions: Option<Vec<usize>>,
}

/// Normal form in the making.
pub(super) struct Making<'a> {
    network: &'a Network,
    engine: Cpu<f64>,
    /// Whether each node varies with the input.
    varies: Vec<bool>,
    /// The nodes that bend.
    pub bending: Vec<usize>,
    /// What each node feeds.
    ports: Vec<Vec<Port>>,
    /// The elements of each target.
    lengths: Vec<usize>,
    prepared: Vec<Option<Box<dyn Prepared<Cpu<f64>>>>>,
    /// The value of each node at 0 where all that bends gives 0, `[1, ..]`, and its slopes `[D, ..]` if it has any.
    direct: Vec<(Tensor, Option<Tensor>)>,
}

impl<'a> Making<'a> {
    pub(super) fn new(network: &'a Network, tool: &'static str) -> Result<Self> {
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

    pub(super) fn targets(&self) -> Vec<Target> {
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
    pub(super) fn links(&self, number: usize, left: &mut u64) -> Result<Vec<(usize, Map)>> {
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
