//! How many codes a data set sees, layer by layer.

use std::collections::HashMap;
use std::ops::Range;

use crate::engine::Engine;
use crate::network::CodedLayer;

use super::{Codes, Packed};

/// The codes of a layer that a data set sees.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Population {
    /// The name of the layer's node.
    pub name: String,
    /// How many units it has.
    pub units: usize,
    /// How many pieces each has.
    pub pieces: usize,
    /// How many different codes of the layer there are.
    pub codes: usize,
    /// How many samples share the one that is there most often.
    pub largest: usize,
    /// How many different codes there are of this layer together with those before it.
    pub cumulative_codes: usize,
    /// How many samples share the one of these that is there most often.
    pub cumulative_largest: usize,
}

/// The populations of the layers of some codes, in the order in which they are computed.
pub fn populations<E: Engine>(codes: &Codes<E>, samples: &Packed) -> Vec<Population> {
    let counts = |words: Range<usize>| {
        let mut counts: HashMap<&[u32], usize> = HashMap::new();
        for i in 0..samples.len() {
            *counts.entry(&samples.row(i)[words.clone()]).or_default() += 1;
        }
        (counts.len(), counts.into_values().max().unwrap_or(0))
    };
    let of = |layer: &CodedLayer| {
        let words = codes.words_of(layer);
        let (own, largest) = counts(words.clone());
        let (cumulative_codes, cumulative_largest) = counts(0..words.end);
        Population {
            name: layer.name.clone(),
            units: layer.units,
            pieces: layer.pieces,
            codes: own,
            largest,
            cumulative_codes,
            cumulative_largest,
        }
    };
    codes.layers().iter().map(of).collect()
}
