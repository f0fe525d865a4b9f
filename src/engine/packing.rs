//! How codes are packed into words.

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

#[cfg(test)]
mod tests {
    use super::*;

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
