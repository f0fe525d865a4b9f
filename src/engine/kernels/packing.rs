//! How codes are packed into words.

use std::ops::Range;

/// Where the codes of a layer lie in a row of packed ones: from word `first` on, `bits` for each unit, the first unit in
/// the lowest bits, as many units in a word as fit whole. What is left of a word is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Packing {
    /// The first word.
    pub first: usize,
    /// Bits for each unit, from 1 to 32.
    pub bits: u32,
}

impl Packing {
    /// The bits that so many pieces need, at least 1.
    pub fn bits(pieces: usize) -> u32 {
        (usize::BITS - pieces.saturating_sub(1).leading_zeros()).max(1)
    }

    /// Units in a word.
    pub fn per_word(self) -> usize {
        (u32::BITS / self.bits) as usize
    }

    /// The words that so many units take.
    pub fn words(self, units: usize) -> usize {
        units.div_ceil(self.per_word())
    }

    /// The code of a unit in a row of words.
    #[inline]
    pub fn get(self, row: &[u32], unit: usize) -> u32 {
        let (word, shift) = self.place(unit);
        row[word] >> shift & self.mask()
    }

    /// Sets the code of a unit in a row of words.
    #[inline]
    pub(crate) fn set(self, row: &mut [u32], unit: usize, code: u32) {
        let (word, shift) = self.place(unit);
        row[word] = row[word] & !(self.mask() << shift) | code << shift;
    }

    /// Word and shift of a unit.
    #[inline]
    fn place(self, unit: usize) -> (usize, u32) {
        let per_word = self.per_word();
        (self.first + unit / per_word, (unit % per_word) as u32 * self.bits)
    }

    /// The bits of the first unit of a word.
    pub(crate) fn mask(self) -> u32 {
        u32::MAX >> (u32::BITS - self.bits)
    }

    /// In how many units the words of two samples differ.
    pub fn differing(self, a: &[u32], b: &[u32]) -> u32 {
        let lowest = self.lowest();
        a.iter().zip(b).map(|(a, b)| self.folded(a ^ b, lowest).count_ones()).sum()
    }

    /// The lowest bit of each unit of a word.
    pub(crate) fn lowest(self) -> u32 {
        (0..self.per_word()).map(|unit| 1 << (unit as u32 * self.bits)).sum()
    }

    /// What differs between two words, any bit of a unit as its lowest.
    #[inline(always)]
    pub(crate) fn folded(self, differences: u32, lowest: u32) -> u32 {
        (1..self.bits).fold(differences, |any, shift| any | differences >> shift) & lowest
    }

    /// Word and shift of the unit after the one at these.
    #[inline(always)]
    pub(crate) fn after(self, word: usize, shift: u32) -> (usize, u32) {
        let next = shift + self.bits;
        if next + self.bits > u32::BITS { (word + 1, 0) } else { (word, next) }
    }
}

/// Words side by side of a row of packed codes whose units have equally many bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitWords {
    /// Which words.
    pub words: Range<usize>,
    /// Bits of each unit.
    pub bits: u32,
}

impl UnitWords {
    pub(crate) fn packing(&self) -> Packing {
        Packing { first: self.words.start, bits: self.bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_any_width_are_kept_apart() {
        for (pieces, bits) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (9, 4), (17, 5), (1 << 20, 20)] {
            let packing = Packing { first: 1, bits: Packing::bits(pieces) };
            assert_eq!(packing.bits, bits);
            let mut row = vec![u32::MAX; 1 + packing.words(23)];
            let code = |unit: usize| (unit * 7 + 3) as u32 % pieces as u32;
            (0..23).for_each(|unit| packing.set(&mut row, unit, code(unit)));
            (0..23).for_each(|unit| assert_eq!(packing.get(&row, unit), code(unit)));
            assert_eq!(row[0], u32::MAX);
        }
        // Ten units of three bits in a word, the eleventh in the next.
        let three = Packing { first: 0, bits: 3 };
        let mut row = vec![0; 2];
        for (unit, code) in [(0, 1), (1, 2), (9, 5), (10, 4)] {
            three.set(&mut row, unit, code);
        }
        assert_eq!(row, [1 | 2 << 3 | 5 << 27, 4]);
    }

    #[test]
    fn units_that_differ_are_counted_once() {
        let three = Packing { first: 0, bits: 3 };
        // Units 0, 1 and 9 of ten; unit 1 in all of its bits.
        let a = 0b101 | 0b111 << 3 | 0b001 << 27;
        assert_eq!(three.differing(&[a, 7], &[0, 0]), 4);
        assert_eq!(Packing { first: 0, bits: 1 }.differing(&[a], &[0]), a.count_ones());
        assert_eq!(Packing { first: 0, bits: 20 }.differing(&[0xF_FFFF], &[1]), 1);
        assert_eq!(Packing { first: 0, bits: 32 }.differing(&[u32::MAX], &[0]), 1);
        assert_eq!(three.differing(&[a, 7], &[a, 7]), 0);
    }
}
