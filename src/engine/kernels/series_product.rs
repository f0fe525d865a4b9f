//! Products of power series.

/// Which terms of two power series make each term of their product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProductTable {
    /// Where the pairs of each term begin, and where the last ends.
    pub starts: Vec<u32>,
    /// A term of the first series and one of the second.
    pub pairs: Vec<[u32; 2]>,
}

impl ProductTable {
    /// How many terms the product has.
    pub fn terms(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The pairs of a term.
    pub fn pairs_of(&self, term: usize) -> &[[u32; 2]] {
        &self.pairs[self.starts[term] as usize..self.starts[term + 1] as usize]
    }
}
