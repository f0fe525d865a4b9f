//! What is drawn: a number or a category at each point of a plane.

use std::ops::Range;

use crate::engine::plan::overlapped;
use crate::engine::{Context, Engine};
use crate::network::{Network, Program};
use crate::spline::slice::Slice;
use crate::{Error, Result, Scalar};

/// Values at the points of a grid, row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub enum Band {
    /// Numbers, shown on a [`Scale`](super::Scale).
    Numbers(Vec<f32>),
    /// Categories, each with its [colour](super::category).
    Categories(Vec<u32>),
}

/// A function on a plane.
pub trait Field<E: Engine> {
    /// Whether it has categories as values, not numbers.
    fn is_categorical(&self) -> bool;

    /// Its values at all pairs of `s` in `across` and `t` in `up`, the first of these at the top. `first` counts the
    /// points of the picture before them, for messages.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the number of the point where a value is not finite; [`Error::Memory`] where one point
    /// does not fit the context's budget; [`Error::Cancelled`]; what the engine says.
    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], first: usize, context: &Context) -> Result<Band>;
}

/// What of a network's outputs is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The one output that was chosen.
    Value,
    /// Which of the chosen outputs is the largest, by its number among all; of equals the first.
    Class,
    /// By how much the largest of the chosen outputs is above the second largest.
    Margin,
}

/// A network on a plane: only what comes behind its first affine layers is computed for each point.
pub struct NetworkField<E: Engine> {
    program: Program<E>,
    quantity: Quantity,
    /// The chosen outputs, as the engine takes them.
    outputs: Vec<u32>,
}

impl<E: Engine> NetworkField<E> {
    /// The chosen `outputs` of a network on a plane, laid out on an engine.
    ///
    /// # Errors
    /// As [`Network::on_slice`] and [`Network::compile`]; [`Error::Argument`] for an output that is not there or chosen
    /// twice, and where there are too few or too many for the quantity: one for a value, at least two else.
    pub fn new(
        engine: &E,
        network: &Network,
        slice: &Slice,
        quantity: Quantity,
        outputs: &[usize],
    ) -> Result<Self> {
        let program = network.on_slice(&slice.origin, &[&slice.u, &slice.v])?.compile(engine)?;
        check_quantity(quantity, outputs, program.outputs())?;
        let outputs = outputs.iter().map(|&k| k as u32).collect();
        Ok(Self { program, quantity, outputs })
    }
}

/// # Errors
/// [`Error::Argument`] for an output that is not there among `all` or chosen twice, and where there are too few or too
/// many for a quantity: one for a value, at least two else.
pub(super) fn check_quantity(quantity: Quantity, outputs: &[usize], all: usize) -> Result<()> {
    let twice = |(i, k): (usize, &usize)| outputs[..i].contains(k);
    if let Some(wrong) = outputs.iter().find(|&&k| k >= all) {
        return Err(Error::Argument(format!("output {wrong} of a network with {all}")));
    }
    if outputs.iter().enumerate().any(twice) {
        return Err(Error::Argument("an output is chosen twice".to_owned()));
    }
    match (quantity, outputs.len()) {
        (Quantity::Value, 1) | (Quantity::Class | Quantity::Margin, 2..) => Ok(()),
        (Quantity::Value, count) => Err(Error::Argument(format!(
            "a picture shows the value of one output, not of {count}: choose one with --outputs"
        ))),
        (_, count) => {
            Err(Error::Argument(format!("classes and margins need at least two outputs, not {count}")))
        }
    }
}

/// The largest of some numbers with its position, and the largest of the others.
pub(super) fn two_largest(values: impl Iterator<Item = f64>) -> (usize, f64, f64) {
    let (mut at, mut largest, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (i, value) in values.enumerate() {
        if value > largest {
            (at, second, largest) = (i, largest, value);
        } else {
            second = second.max(value);
        }
    }
    (at, largest, second)
}

impl<E: Engine> Field<E> for NetworkField<E> {
    fn is_categorical(&self) -> bool {
        self.quantity == Quantity::Class
    }

    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], first: usize, context: &Context) -> Result<Band> {
        let (engine, width, count) = (self.program.engine(), across.len(), self.outputs.len());
        let total = width * up.len();
        let chunks = self.program.chunks(total, None, context.memory())?;
        let is_all = self.outputs.iter().copied().eq(0..self.program.outputs() as u32);
        let (mut numbers, mut categories) = (vec![], vec![]);
        if self.is_categorical() {
            categories.reserve(total)
        } else {
            numbers.reserve(total)
        };
        let start = |range: Range<usize>| {
            context.check()?;
            let points: Vec<E::Scalar> =
                range.clone().flat_map(|i| [across[i % width], up[i / width]]).collect();
            let values = self.program.forward(&engine.upload(&points, &[range.len(), 2])?)?;
            engine.request(&if is_all { values } else { engine.select(&values, 1, &self.outputs)? })
        };
        overlapped(engine, chunks, start, |range, request| {
            let values = engine.receive(request)?;
            if let Some(at) = values.iter().position(|v| !v.f64().is_finite()) {
                let what = "the network at the points of a picture, counted row by row".to_owned();
                return Err(Error::NonFinite { what, row: first + range.start + at / count });
            }
            let rows = values.chunks_exact(count);
            match self.quantity {
                Quantity::Value => numbers.extend(values.iter().map(|v| v.f64() as f32)),
                Quantity::Class => {
                    categories
                        .extend(rows.map(|row| self.outputs[two_largest(row.iter().map(|v| v.f64())).0]));
                }
                Quantity::Margin => numbers.extend(rows.map(|row| {
                    let (_, largest, second) = two_largest(row.iter().map(|v| v.f64()));
                    (largest - second) as f32
                })),
            }
            Ok(())
        })?;
        Ok(if self.is_categorical() { Band::Categories(categories) } else { Band::Numbers(numbers) })
    }
}
