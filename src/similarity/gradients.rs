//! The layers with parameters and their gradients, in factors.

use std::cell::OnceCell;
use std::ops::Range;

use ndarray::Array2;

use crate::data::Dataset;
use crate::engine::plan::{self, Chunks};
use crate::engine::{Context, Engine, TensorOf};
use crate::network::operators::ParameterFactors;
use crate::network::{Network, ParameterLayer, Program};
use crate::{Error, Result, Scalar};

use super::{Combine, Shape};

/// Samples whose gradients are made at once at most: more gains nothing.
const SAMPLES: usize = 1024;

/// The gradients of a network's outputs by its parameters.
pub struct Gradients<E: Engine> {
    program: Program<E>,
    layers: Vec<ParameterLayer>,
    shapes: Vec<Shape>,
    /// Which sums of the outputs, `[r, K]`.
    directions: Array2<f64>,
    combine: Combine,
}

impl<E: Engine> Gradients<E> {
    /// Of the chosen outputs, by the parameters of the layers of these names (of all, see
    /// [`Network::parameter_layers`]).
    ///
    /// # Errors
    /// As [`Network::parameter_layers`]; [`Error::Argument`] for an output that is not there, or none; what the engine
    /// says.
    pub fn new(
        network: &Network,
        engine: &E,
        outputs: &[usize],
        combine: Combine,
        names: Option<&[String]>,
    ) -> Result<Self> {
        let layers = network.parameter_layers(names)?;
        let program = network.compile_unfolded(engine)?;
        let all = program.outputs();
        if let Some(wrong) = outputs.iter().find(|&&k| k >= all) {
            return Err(Error::Argument(format!("there is no output {wrong}: expected 0 to {}", all - 1)));
        }
        if outputs.is_empty() {
            return Err(Error::Argument("at least one output is needed".to_owned()));
        }
        let directions = match combine {
            Combine::Sum => {
                Array2::from_shape_fn((1, all), |(_, k)| f64::from(u8::from(outputs.contains(&k))))
            }
            Combine::Trace | Combine::Pairs => {
                Array2::from_shape_fn((outputs.len(), all), |(r, k)| f64::from(u8::from(outputs[r] == k)))
            }
        };
        let mut new = Self { program, layers, shapes: vec![], directions, combine };
        // One sample tells how gradients come in factors.
        let shapes: Vec<OnceCell<Shape>> = vec![OnceCell::new(); new.layers.len()];
        let zeros = vec![E::Scalar::of(0.0); new.program.dimension()];
        let sample = new.program.engine().upload(&zeros, &[1, zeros.len()])?;
        new.factors(&sample, 0..new.layers.len(), |layer, factors| {
            shapes[layer].get_or_init(|| Shape::of(&factors, new.directions.nrows()));
            Ok(())
        })?;
        new.shapes = shapes.into_iter().map(|shape| shape.into_inner().unwrap_or_default()).collect();
        Ok(new)
    }

    /// The network they are of, as it stands in its file.
    pub fn program(&self) -> &Program<E> {
        &self.program
    }

    /// The layers.
    pub fn layers(&self) -> &[ParameterLayer] {
        &self.layers
    }

    /// How the gradients of each layer come in factors.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// What of several outputs is compared.
    pub fn combine(&self) -> Combine {
        self.combine
    }

    /// How many sums of outputs gradients are taken of.
    pub fn directions(&self) -> usize {
        self.directions.nrows()
    }

    /// Rows and columns of a Gram matrix to each sample.
    pub fn rows(&self) -> usize {
        if self.combine == Combine::Pairs { self.directions() } else { 1 }
    }

    /// The number of parameters.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.parameters).sum()
    }

    /// Those of one layer alone.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_layer(&self, network: &Network, layer: usize) -> Result<Self> {
        let names = [self.layers[layer].name.clone()];
        let outputs: Vec<usize> = (0..self.program.outputs())
            .filter(|&k| self.directions.column(k).iter().any(|&weight| weight != 0.0))
            .collect();
        Self::new(network, self.program.engine(), &outputs, self.combine, Some(&names))
    }

    /// Calls `each` with the factors of some layers at `x [N, D]`, the last layer first.
    pub(super) fn factors(
        &self,
        x: &TensorOf<E>,
        layers: Range<usize>,
        mut each: impl FnMut(usize, ParameterFactors<E>) -> Result<()>,
    ) -> Result<()> {
        let positions: Vec<usize> = self.layers[layers].iter().map(|layer| layer.position).collect();
        self.program.parameter_factors(x, self.directions.view(), &positions, |position, factors| match self
            .layers
            .iter()
            .position(|layer| layer.position == position)
        {
            Some(layer) => each(layer, factors),
            None => unreachable!("only these positions were asked for"),
        })
    }

    /// Bytes that making the gradients of one sample holds: what a pass does, and the largest layer's factors with what
    /// they are made of (patches twice over).
    pub(super) fn making(&self) -> u64 {
        let widest =
            self.shapes.iter().map(|shape| 3 * shape.factors() + shape.gradient()).max().unwrap_or(0);
        self.program.parameter_bytes(self.directions()) + (widest * size_of::<E::Scalar>()) as u64
    }

    /// How many samples' gradients may be made at once, so that no tensor is larger than the engine takes.
    pub(super) fn at_once(&self) -> Result<usize> {
        let widest = self.shapes.iter().map(|shape| shape.factors().max(shape.gradient())).max().unwrap_or(0);
        let most = plan::at_once(self.program.engine(), widest, "the parameter gradient of one sample")?;
        Ok(most.min(self.program.at_once(Some(self.directions()))?).min(SAMPLES))
    }

    /// Calls `each` with every layer's gradients at rows of data, of as many samples at a time as the budget has room
    /// for beside `held` bytes: the range of rows, the layer, the gradient by its weights (`[N, r, G, I, O]`, flattened)
    /// and by its bias.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::Cancelled`], and whatever the engine and `each` say.
    pub(super) fn explicit(
        &self,
        data: &Dataset,
        held: u64,
        context: &Context,
        mut each: impl FnMut(Range<usize>, usize, Vec<E::Scalar>, Vec<E::Scalar>) -> Result<()>,
    ) -> Result<()> {
        let engine = self.program.engine();
        let widest = self.shapes.iter().map(Shape::gradient).max().unwrap_or(0);
        // Once more as they are read back.
        let bytes = self.making() + (widest * size_of::<E::Scalar>()) as u64;
        let what = "the parameter gradient of one sample";
        let chunks = Chunks::within(
            what,
            data.len(),
            bytes,
            self.program.scratch_bytes() + held,
            context.memory(),
            self.at_once()?,
        )?;
        for range in chunks.iter() {
            context.check()?;
            let x = self.program.upload(data.rows(range.clone())?.view())?;
            self.factors(&x, 0..self.layers.len(), |layer, factors| {
                let weights =
                    factors.gradient(engine)?.map(|gradient| engine.download(&gradient)).transpose()?;
                let bias = factors.bias.as_ref().map(|bias| engine.download(bias)).transpose()?;
                each(range.clone(), layer, weights.unwrap_or_default(), bias.unwrap_or_default())
            })?;
            context.progress().advance(range.len() as u64);
        }
        Ok(())
    }
}
