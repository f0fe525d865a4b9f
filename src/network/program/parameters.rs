//! Gradients by parameters: the layers that have some, and the factors of their gradients at a batch.

use ndarray::ArrayView2;

use crate::engine::{Engine, TensorOf};
use crate::network::operators::{ParameterFactors, ParameterValues};
use crate::network::{Network, Op, Slot};
use crate::{Error, Result, Scalar};

use super::{Program, Work};

/// A layer with parameters.
#[derive(Debug, Clone)]
pub struct ParameterLayer {
    /// The position of its node in the network cut to its only input and output.
    pub position: usize,
    /// The name of its node.
    pub name: String,
    /// The name of its operator.
    pub operator: &'static str,
    /// How many parameters it has.
    pub parameters: usize,
    /// The parameters.
    pub values: ParameterValues,
}

impl Network {
    /// The layers with parameters that have factors: those of these names, or all that have parameters by which networks
    /// are trained. Constants that act on the input before any layer normalise it, and single numbers are factors of
    /// formulas: neither are parameters unless they are named.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that is no such layer, or where there is none; [`Error::MissingSlot`] for a layer
    /// without factors; as [`cut`](Self::cut).
    pub fn parameter_layers(&self, names: Option<&[String]>) -> Result<Vec<ParameterLayer>> {
        let network = self.cut(None, None)?;
        let varies = network.varying();
        let mut behind = vec![false; network.nodes.len()];
        let (mut layers, mut fitting) = (vec![], vec![]);
        for (i, node) in network.nodes.iter().enumerate() {
            behind[i] = node.inputs.iter().any(|&j| behind[j]);
            let Some(op) = node.op.as_ref().filter(|op| varies[i] && op.operator().parameters() > 0) else {
                continue;
            };
            let is_layer = match op {
                Op::ArithmeticConstant(op) => behind[i] && op.constant.len() > 1,
                _ => true,
            };
            behind[i] |= is_layer;
            fitting.push(node.name.clone());
            if !names.map_or(is_layer, |names| names.contains(&node.name)) {
                continue;
            }
            node.require("gradient similarity", Slot::ParameterFactors)?;
            layers.push(ParameterLayer {
                position: i,
                name: node.name.clone(),
                operator: op.operator().name(),
                parameters: op.operator().parameters(),
                values: op.operator().parameter_values()?,
            });
        }
        let unknown = names.into_iter().flatten().find(|name| !fitting.contains(name));
        if let Some(name) = unknown {
            let there = fitting.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            return Err(Error::Argument(format!(
                "no layer with parameters is called '{name}'; there are {there}"
            )));
        }
        if layers.is_empty() {
            return Err(Error::Argument("the network has no layer with parameters".to_owned()));
        }
        Ok(layers)
    }
}

impl<E: Engine> Program<E> {
    /// Calls `each` with the factors of the gradient by the parameters of some layers, and the layer's position, at
    /// `x [N, D]`: of `r` sums of the outputs, with the weights `directions [r, K]`. The last layer comes first, and the
    /// factors of only one layer are held at a time. Positions are those of the graph's nodes in a program that was
    /// compiled [unfolded](Network::compile_unfolded).
    ///
    /// # Errors
    /// [`Error::Shape`] where rows do not have `D` elements or directions `K`; what the engine says, and `each`.
    pub fn parameter_factors(
        &self,
        x: &TensorOf<E>,
        directions: ArrayView2<'_, f64>,
        layers: &[usize],
        mut each: impl FnMut(usize, ParameterFactors<E>) -> Result<()>,
    ) -> Result<()> {
        if directions.ncols() != self.outputs() {
            return Err(Error::Shape(format!(
                "directions of {} numbers in the space of {} outputs",
                directions.ncols(),
                self.outputs()
            )));
        }
        let mut needed = vec![false; self.steps.len()];
        for (i, step) in self.steps.iter().enumerate() {
            needed[i] = layers.contains(&i) || step.inputs.iter().any(|&j| needed[j]);
        }
        let mut kept: Vec<bool> = self.steps.iter().map(|step| step.remembered).collect();
        layers.iter().flat_map(|&i| &self.steps[i].inputs).for_each(|&j| kept[j] = true);
        let trace = self.visited(x, |i| kept[i], |_, _| Ok(()))?;
        let weights: Vec<E::Scalar> = directions.iter().map(|&w| E::Scalar::of(w)).collect();
        let seed = self.seed(x.rows(), &weights)?;
        self.backward(&trace, seed, &needed, |i, cotangent| match &self.steps[i].work {
            Work::Operator(op) if layers.contains(&i) => {
                let factors = op.parameter_factors(&self.engine, &self.pass(&trace, i), cotangent)?;
                factors.map_or(Ok(()), |factors| each(i, factors))
            }
            _ => Ok(()),
        })?;
        Ok(())
    }

    /// Bytes that [`parameter_factors`](Self::parameter_factors) holds for each sample beside the factors themselves.
    pub(crate) fn parameter_bytes(&self, directions: usize) -> u64 {
        let values: usize = self.steps.iter().map(super::Step::held).sum();
        let elements = self.dimension() + values + directions * self.directions_peak();
        (elements * size_of::<E::Scalar>()) as u64
    }
}
