//! Networks restricted to a slice of their input space: everything affine that comes first becomes one layer of as many
//! inputs as the slice has directions.

use crate::engine::{Cpu, Engine};
use crate::{Error, Result};

use super::operators::{Dense, Kind, Reshape};
use super::{Constant, Network, Node, Op};

impl Network {
    /// The network as a function of the coordinates on a slice `x = origin + sum_i c_i directions[i]`: one input of as
    /// many elements as there are directions, the same output.
    ///
    /// Whatever depends on the input through affine operators alone is affine in the coordinates too, whatever those
    /// operators are (shifts and scales, dense layers, convolutions, average pools): where something else reads its
    /// value, that is one dense layer of the coordinates. A first layer of 784 inputs so costs two multiplications for
    /// each of its units instead of 784. The coefficients are computed in `f64`, so that a slice may be small against
    /// its origin.
    ///
    /// # Errors
    /// As [`cut`](Self::cut) to the only input and output; [`Error::Shape`] where `origin` or a direction does not have
    /// as many elements as the input; [`Error::Argument`] without directions, or where one of their elements or of the
    /// coefficients is not finite.
    pub fn on_slice(&self, origin: &[f64], directions: &[&[f64]]) -> Result<Self> {
        let network = self.cut(None, None)?;
        let dimension: usize = network.nodes[0].shape.iter().product();
        if let Some(wrong) = std::iter::once(&origin).chain(directions).find(|x| x.len() != dimension) {
            return Err(Error::Shape(format!(
                "a slice of points of {} elements does not fit a network of {dimension} inputs",
                wrong.len()
            )));
        }
        if directions.is_empty() {
            return Err(Error::Argument("a slice needs at least one direction".to_owned()));
        }
        let count = directions.len();
        let input = layer(origin.to_vec(), directions.iter().flat_map(|row| row.iter().copied()).collect())?;
        let affine = network.affine();
        let is_read = |i: usize| {
            let by = |(j, node): (usize, &Node)| !affine[j] && node.inputs.contains(&i);
            network.outputs.contains(&i) || network.nodes.iter().enumerate().any(by)
        };

        let slice = Node {
            name: network.free_name("slice"),
            value: network.free_name("slice"),
            op: None,
            inputs: vec![],
            shape: vec![count],
        };
        let mut sliced = Self { nodes: vec![slice], outputs: vec![], names: [].into() };
        sliced.names.insert(sliced.nodes[0].value.clone(), 0);
        let mut position = vec![usize::MAX; network.nodes.len()];
        for (i, node) in network.nodes.iter().enumerate() {
            if !affine[i] {
                let mut node = node.clone();
                node.inputs.iter_mut().for_each(|j| *j = position[*j]);
                position[i] = sliced.nodes.len();
                sliced.nodes.push(node);
            } else if is_read(i) {
                let dense = if i == 0 { input.clone() } else { network.coefficients(&input, i)? };
                position[i] = sliced.place(&network, dense, node);
            }
        }
        sliced.outputs = network.outputs.iter().map(|&i| position[i]).collect();
        let kept = network.names.iter().filter(|&(_, &i)| position[i] != usize::MAX);
        sliced.names.extend(kept.map(|(name, &i)| (name.clone(), position[i])));
        Ok(sliced)
    }

    /// Which nodes vary with the input, which comes first, and do so through affine operators alone.
    fn affine(&self) -> Vec<bool> {
        let varies = self.varying();
        let mut affine = vec![false; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            let is_affine = node.op.as_ref().is_none_or(|op| op.operator().kind() == Kind::Affine);
            affine[i] = varies[i] && is_affine && node.inputs.iter().all(|&j| affine[j] || !varies[j]);
        }
        affine
    }

    /// Node `i`, flattened, as a dense layer of the coordinates, where the input is the dense layer `input` of them.
    fn coefficients(&self, input: &Dense, i: usize) -> Result<Dense> {
        let part = self.cut(Some(&self.nodes[0].value), Some(&self.nodes[i].value))?;
        let count = input.weights().shape()[0];
        let name = part.free_name("slice");
        let root = Node { name: name.clone(), value: name, op: None, inputs: vec![], shape: vec![count] };
        let mut whole = Self { nodes: vec![root], outputs: vec![], names: [].into() };
        let mut position = vec![whole.place(&part, input.clone(), &part.nodes[0])];
        for node in &part.nodes[1..] {
            let mut node = node.clone();
            node.inputs.iter_mut().for_each(|j| *j = position[*j]);
            position.push(whole.nodes.len());
            whole.nodes.push(node);
        }
        whole.outputs = part.outputs.iter().map(|&i| position[i]).collect();
        whole.names = whole.nodes.iter().enumerate().map(|(i, node)| (node.value.clone(), i)).collect();
        // An affine function is its value and its Jacobian at 0.
        let engine = Cpu::<f64>::new();
        let program = whole.compile_unfolded(&engine)?;
        let outputs: Vec<usize> = (0..program.outputs()).collect();
        let jets = program.jets(&engine.upload(&vec![0.0; count], &[1, count])?, &outputs)?;
        let slopes = engine.download(&jets.jacobians)?;
        let weights = (0..count).flat_map(|c| slopes.iter().skip(c).step_by(count).copied()).collect();
        layer(engine.download(&jets.values)?, weights)
    }

    /// Puts a dense layer of the first node in the place of a node of `network`, under its name and shape; returns its
    /// position.
    fn place(&mut self, network: &Self, dense: Dense, node: &Node) -> usize {
        let flat = vec![dense.weights().shape()[1]];
        if node.shape == flat {
            let at = self.push(node.value.clone(), Op::Dense(dense), vec![0], flat);
            self.nodes[at].name.clone_from(&node.name);
            return at;
        }
        let mut name = network.free_name(&format!("{} (flat)", node.value));
        while self.names.contains_key(&name) {
            name.push('\'');
        }
        let below = self.push(name, Op::Dense(dense), vec![0], flat);
        let reshape = Op::Reshape(Reshape { shape: node.shape.clone() });
        let at = self.push(node.value.clone(), reshape, vec![below], node.shape.clone());
        self.nodes[at].name.clone_from(&node.name);
        at
    }
}

/// `bias + sum_i c_i weights[i]`, of weights `[count, out]`.
fn layer(bias: Vec<f64>, weights: Vec<f64>) -> Result<Dense> {
    let outputs = bias.len();
    let weights = Constant::f64([weights.len() / outputs.max(1), outputs], weights)?;
    Dense::new(weights, Some(Constant::f64([outputs], bias)?))
}
