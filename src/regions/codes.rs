//! Codes: which piece each unit is on, packed.

use std::ops::Range;

use crate::network::Stages;

/// Where the units of a layer that bends lie in a code of `u32` words: unit `i` in bits `[i b, (i + 1) b)` of the layer's
/// words, the lowest bit first, where `b` is the number of [`bits`](Self::bits).
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
    /// Bits of a unit.
    pub fn bits(&self) -> usize {
        (usize::BITS - self.choices.saturating_sub(1).leading_zeros()) as usize
    }

    /// The number of a unit in a code.
    pub fn get(&self, code: &[u32], unit: usize) -> u32 {
        let words = &code[self.words.clone()];
        let bit = |at: usize| words[at / 32] >> (at % 32) & 1;
        (0..self.bits()).map(|i| bit(unit * self.bits() + i) << i).sum()
    }

    /// Sets the number of a unit in a code.
    pub(super) fn set(&self, code: &mut [u32], unit: usize, number: u32) {
        let (words, bits) = (&mut code[self.words.clone()], self.bits());
        for i in 0..bits {
            let at = unit * bits + i;
            let bit = 1 << (at % 32);
            if number >> i & 1 == 1 {
                words[at / 32] |= bit
            } else {
                words[at / 32] &= !bit
            };
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
            layer.words = first..first + (units * layer.bits()).div_ceil(32);
            first = layer.words.end;
            layer
        };
        layers.map(layer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_width_are_kept_apart() {
        for (choices, bits) in [(1, 0), (2, 1), (3, 2), (4, 2), (9, 4), (17, 5)] {
            let mut layer = CodeLayer { name: String::new(), units: 23, choices, words: 0..0 };
            assert_eq!(layer.bits(), bits);
            layer.words = 1..1 + (23 * bits).div_ceil(32);
            let mut code = vec![u32::MAX; layer.words.end];
            let number = |unit: usize| (unit * 7 + 3) as u32 % choices as u32;
            (0..23).for_each(|unit| layer.set(&mut code, unit, number(unit)));
            (0..23).for_each(|unit| assert_eq!(layer.get(&code, unit), number(unit)));
            assert_eq!(code[0], u32::MAX);
        }
        let layer = CodeLayer { name: String::new(), units: 3, choices: 5, words: 0..1 };
        let mut code = vec![0];
        (0..3).for_each(|unit| layer.set(&mut code, unit, unit as u32 + 1));
        assert_eq!(code, [1 | 2 << 3 | 3 << 6]);
    }
}
