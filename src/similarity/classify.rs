//! Classes by the most similar samples.

use std::collections::BTreeMap;

use crate::Scalar;

use super::gap::cosine;

/// The `count` columns of a row of similarities that are most similar, the most similar first; of equals the first. With
/// `selves`, the similarity of the row and those of all columns with themselves, by cosine. `without` is left out.
pub fn nearest<S: Scalar>(
    row: &[S],
    selves: Option<(f64, &[f64])>,
    count: usize,
    without: Option<usize>,
) -> Vec<(usize, f64)> {
    let of = |(j, value): (usize, &S)| match selves {
        Some((own, others)) => (j, cosine(value.f64(), own, others[j])),
        None => (j, value.f64()),
    };
    let mut all: Vec<(usize, f64)> =
        row.iter().enumerate().filter(|&(j, _)| Some(j) != without).map(of).collect();
    let order = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count > 0 && count < all.len() {
        all.select_nth_unstable_by(count - 1, order);
    }
    all.truncate(count);
    all.sort_unstable_by(order);
    all
}

/// The classes of the samples nearest to some, the nearest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Votes {
    classes: Vec<Vec<u32>>,
}

impl Votes {
    /// Takes the neighbours of another sample, with the classes of all.
    pub fn add(&mut self, neighbours: &[(usize, f64)], labels: &[u32]) {
        self.classes.push(neighbours.iter().map(|&(j, _)| labels[j]).collect());
    }

    /// The class of each sample by `k` neighbours: the most frequent; of equally frequent ones that of the nearest.
    pub fn classes(&self, k: usize) -> Vec<u32> {
        let class = |all: &Vec<u32>| {
            let all = &all[..k.min(all.len())];
            let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
            all.iter().for_each(|&class| *votes.entry(class).or_default() += 1);
            let most = votes.values().max().copied().unwrap_or(0);
            all.iter().copied().find(|class| votes[class] == most).unwrap_or(0)
        };
        self.classes.iter().map(class).collect()
    }
}
