//! Which anchors become pieces.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result};

/// Anchors of one half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// These, ascending.
    Some(Vec<u32>),
}

impl Selection {
    /// A random subset of `pieces` out of `anchors`; all of them where there are no more.
    ///
    /// Subsets of one seed are nested: they are beginnings of one shuffled order.
    ///
    /// # Errors
    /// [`Error::Argument`] for 0 pieces, or more than there are anchors.
    pub fn random(pieces: usize, anchors: usize, seed: u64) -> Result<Self> {
        if pieces == 0 || pieces > anchors {
            return Err(Error::Argument(format!(
                "{pieces} pieces cannot be chosen from {anchors} anchors: expected 1 to {anchors}"
            )));
        }
        if pieces == anchors {
            return Ok(Self::All);
        }
        let mut chosen = shuffled(anchors, seed)[..pieces].to_vec();
        chosen.sort_unstable();
        Ok(Self::Some(chosen))
    }

    /// Whether an anchor is in it.
    pub fn contains(&self, anchor: u32) -> bool {
        match self {
            Self::All => true,
            Self::Some(chosen) => chosen.binary_search(&anchor).is_ok(),
        }
    }
}

/// The anchors in the random order of a seed (ChaCha with 8 rounds, Fisher-Yates).
pub fn shuffled(anchors: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..anchors as u32).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_of_a_seed_are_nested_and_of_two_seeds_differ() {
        let chosen = |pieces, seed| match Selection::random(pieces, 100, seed).unwrap() {
            Selection::Some(chosen) => chosen,
            Selection::All => (0..100).collect(),
        };
        let (few, many) = (chosen(10, 7), chosen(40, 7));
        assert!(few.iter().all(|i| many.contains(i)) && few.is_sorted() && few.len() == 10);
        assert_ne!(chosen(10, 8), few);
        assert_eq!(Selection::random(100, 100, 7).unwrap(), Selection::All);
        assert!(Selection::random(0, 100, 7).is_err() && Selection::random(101, 100, 7).is_err());
    }
}
