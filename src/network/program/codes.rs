//! The code of a network's partition: which affine piece each unit picks (MASO; Balestriero & Baraniuk 2018).
//!
//! On the inputs of equal code a network is one affine function. A unit is an element of the value of a piecewise affine
//! operator; its code is the number of its piece:
//!
//! - elementwise functions: how many of their knots lie strictly below the unit's input (ReLU at 0 has code 0);
//! - maxima over windows and axes: which element, in row-major order within the window or the axes;
//! - the larger or smaller of two: 1 where the second counts, and with a constant where the input is above it.
//!
//! Codes are packed layer after layer into words of 32 bits. A layer begins with a word of its own, so that layers are
//! compared by counting bits: `bits` for each unit, the least that hold its pieces, the first unit in the lowest bits,
//! as many units in a word as fit whole, zeros above.

use std::ops::Range;

use crate::engine::plan::{self, Chunks};
use crate::engine::{Engine, Packing, TensorOf};
use crate::{Error, Result};

use super::{Program, SAMPLES, Slot, Step, Work};

/// The codes of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodedLayer {
    /// The name of its node.
    pub name: String,
    /// The name of its node's value.
    pub value: String,
    /// How many units it has.
    pub units: usize,
    /// How many pieces each has, at least 2.
    pub pieces: usize,
    /// Where its codes lie among the words of all layers.
    pub packing: Packing,
}

impl CodedLayer {
    /// Its words among those of all layers.
    pub fn words(&self) -> Range<usize> {
        self.packing.first..self.packing.first + self.packing.words(self.units)
    }

    /// The code of each unit, from the words of all layers of one sample.
    pub fn unpack<'a>(&self, row: &'a [u32]) -> impl Iterator<Item = u32> + use<'a> {
        let (packing, mask) = (self.packing, self.packing.mask());
        let (mut word, mut shift) = (packing.first, 0);
        (0..self.units).map(move |_| {
            let code = row[word] >> shift & mask;
            (word, shift) = packing.after(word, shift);
            code
        })
    }
}

impl<E: Engine> Step<E> {
    /// Whether its units have several pieces.
    fn is_coded(&self) -> bool {
        matches!(self.work, Work::Operator(_)) && self.pieces.is_some_and(|pieces| pieces > 1)
    }
}

impl<E: Engine> Program<E> {
    /// The layers that have codes, in the order in which they are computed, for a tool that needs them. There are none in
    /// an affine network.
    ///
    /// # Errors
    /// [`Error::MissingSlot`] for an operator that is not piecewise affine.
    pub fn coded_layers(&self, tool: &'static str) -> Result<Vec<CodedLayer>> {
        let smooth = |step: &&Step<E>| matches!(step.work, Work::Operator(_)) && step.pieces.is_none();
        if let Some(step) = self.steps.iter().find(smooth) {
            return Err(Error::MissingSlot {
                tool,
                slot: Slot::AffinePieces.name(),
                operator: step.operator.to_owned(),
                node: step.name.clone(),
            });
        }
        let mut first = 0;
        let layer = |step: &Step<E>| {
            let pieces = step.pieces.unwrap_or(1);
            let packing = Packing { first, bits: Packing::bits(pieces) };
            let layer = CodedLayer {
                name: step.name.clone(),
                value: step.value.clone(),
                units: step.len(),
                pieces,
                packing,
            };
            first = layer.words().end;
            layer
        };
        Ok(self.steps.iter().filter(|step| step.is_coded()).map(layer).collect())
    }

    /// The packed codes of `layers`, consecutive ones of [`coded_layers`](Self::coded_layers), at `x [N, D]`, and the
    /// outputs `[N, K]`; everything on the engine at once. Words are counted from the first of these layers on.
    ///
    /// # Errors
    /// [`Error::Shape`] where rows do not have `D` elements; what the engine says.
    pub fn codes(&self, x: &TensorOf<E>, layers: &[CodedLayer]) -> Result<(E::Codes, TensorOf<E>)> {
        let first = layers.first().map_or(0, |layer| layer.packing.first);
        let words = layers.last().map_or(0, |layer| layer.words().end) - first;
        let mut codes = self.engine.codes(x.rows(), words)?;
        let mut wanted = layers.iter().peekable();
        let trace = self.visited(
            x,
            |_| false,
            |i, trace| {
                let step = &self.steps[i];
                match (&step.work, wanted.peek()) {
                    (Work::Operator(op), Some(layer)) if step.is_coded() && layer.value == step.value => {
                        let packing = Packing { first: layer.packing.first - first, ..layer.packing };
                        wanted.next();
                        op.code(&self.engine, &self.pass(trace, i), &mut codes, packing)
                    }
                    _ => Ok(()),
                }
            },
        )?;
        match wanted.next() {
            Some(layer) => Err(Error::Argument(format!("'{}' is no layer with codes here", layer.name))),
            None => Ok((codes, self.result(&trace, x.rows())?)),
        }
    }

    /// Chunks of `samples` whose passes with the codes of so many words stay within `budget` bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] where one sample does not fit; [`Error::Tensor`] where its codes are too large for the engine.
    pub fn code_chunks(&self, samples: usize, words: usize, budget: u64) -> Result<Chunks> {
        let what = "the codes of one sample";
        // The words are held twice while they are read back; a maximum keeps what it picked until then.
        let elements =
            2 * words + self.steps.iter().filter(|step| step.is_coded()).map(Step::held).sum::<usize>();
        let bytes = self.bytes_per_sample(None) + (elements * size_of::<u32>()) as u64;
        let most = self.at_once(None)?.min(plan::at_once(&self.engine, words.max(1), what)?).min(SAMPLES);
        Chunks::within(
            what,
            samples,
            bytes * self.engine.in_flight() as u64,
            self.scratch_bytes(),
            budget,
            most,
        )
    }
}
