//! Codes: which piece each unit is on, packed.

use std::ops::Range;

use crate::engine::Packing;
use crate::network::Stages;

/// Where the units of a layer that bends lie in a code: in the layer's words as [`Packing`] says, or nowhere where all of
/// them have one piece.
///
/// The number of a unit is that of its knots strictly below its input; of a maximum it is the number of the winner within
/// its window, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeLayer {
    /// The node's name.
    pub name: String,
    /// Units.
    pub units: usize,
    /// Pieces of each, at most.
    pub choices: usize,
    /// The layer's words in a code.
    pub words: Range<usize>,
}

impl CodeLayer {
    /// How its units are packed.
    fn packing(&self) -> Packing {
        Packing { first: self.words.start, bits: Packing::bits(self.choices) }
    }

    /// Bits of a unit.
    pub fn bits(&self) -> usize {
        if self.choices > 1 { self.packing().bits as usize } else { 0 }
    }

    /// The number of a unit in a code.
    pub fn get(&self, code: &[u32], unit: usize) -> u32 {
        if self.choices > 1 { self.packing().get(code, unit) } else { 0 }
    }

    /// Sets the number of a unit in a code.
    pub(super) fn set(&self, code: &mut [u32], unit: usize, number: u32) {
        if self.choices > 1 {
            self.packing().set(code, unit, number);
        }
    }

    /// Those of a network.
    pub(super) fn of(stages: &Stages) -> Vec<Self> {
        Self::of_bends(stages.stages.iter().map(|stage| (&stage.name[..], stage.units, stage.bend.choices())))
    }

    /// Those of layers with their names, units and choices.
    pub(super) fn of_bends<'a>(layers: impl Iterator<Item = (&'a str, usize, usize)>) -> Vec<Self> {
        let mut first = 0;
        let layer = |(name, units, choices): (&str, usize, usize)| {
            let mut layer = Self { name: name.to_owned(), units, choices, words: 0..0 };
            let words = if choices > 1 { layer.packing().words(units) } else { 0 };
            layer.words = first..first + words;
            first = layer.words.end;
            layer
        };
        layers.map(layer).collect()
    }
}
