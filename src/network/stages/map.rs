//! The linear maps between stages, and how they grow within a budget.

use crate::{Error, Result};

/// A map with fewer elements that are not 0 than one in so many is kept as those alone.
const SPARSE: usize = 4;

/// A linear map, row by row: what each unit of its source adds to each element of its target.
pub(crate) enum Map {
    /// `[units, n]`
    Dense(Vec<f64>),
    /// Those that are not 0.
    Sparse { ends: Vec<usize>, positions: Vec<u32>, weights: Vec<f64> },
}

/// A map whose rows come one after the other: its elements that are not 0.
pub(super) struct Growing {
    pub length: usize,
    pub ends: Vec<usize>,
    pub positions: Vec<u32>,
    pub weights: Vec<f64>,
}

impl Growing {
    pub(super) fn new(length: usize) -> Self {
        Self { length, ends: vec![], positions: vec![], weights: vec![] }
    }

    pub(super) fn append(&mut self, rows: &[f64], left: &mut u64) -> Result<()> {
        let before = self.weights.len();
        for row in rows.chunks_exact(self.length) {
            for (position, &weight) in row.iter().enumerate().filter(|&(_, &weight)| weight != 0.0) {
                self.positions.push(position as u32);
                self.weights.push(weight);
            }
            self.ends.push(self.weights.len());
        }
        spend(left, (self.weights.len() - before) * (size_of::<u32>() + size_of::<f64>()))
    }

    pub(super) fn finish(self) -> Map {
        let Self { length, ends, positions, weights } = self;
        if weights.len() * SPARSE < ends.len() * length {
            return Map::Sparse { ends, positions, weights };
        }
        let mut dense = vec![0.0; ends.len() * length];
        let mut first = 0;
        for (row, end) in dense.chunks_exact_mut(length).zip(ends) {
            let entries = positions[first..end].iter().zip(&weights[first..end]);
            entries.for_each(|(&position, &weight)| row[position as usize] = weight);
            first = end;
        }
        Map::Dense(dense)
    }
}

/// Takes bytes of what is left of a budget.
pub(super) fn spend(left: &mut u64, bytes: usize) -> Result<()> {
    let bytes = bytes as u64;
    let budget = *left;
    *left = budget.checked_sub(bytes).ok_or_else(|| Error::Memory {
        what: "a linear map between the bending layers, beside those before it,".to_owned(),
        needed: bytes,
        budget,
    })?;
    Ok(())
}
