//! Classes: which output of a network is the largest, and how often two answers are the same.

/// The place of the largest of some values, of equals the first; 0 of none.
pub(crate) fn largest<S: PartialOrd>(values: impl IntoIterator<Item = S>) -> usize {
    let mut values = values.into_iter().enumerate();
    let first = values.next();
    let larger = |best: (usize, S), next: (usize, S)| if next.1 > best.1 { next } else { best };
    first.map_or(0, |first| values.fold(first, larger).0)
}

/// The share of classes that are right.
pub fn accuracy(classes: &[u32], labels: &[u32]) -> f64 {
    let right = classes.iter().zip(labels).filter(|(a, b)| a == b).count();
    right as f64 / labels.len().max(1) as f64
}
