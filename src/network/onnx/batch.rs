//! Where the batch is among the axes of a value.
//!
//! In a network the batch is axis 0 of everything and shapes are those of samples. A file may move it: attention, as
//! PyTorch writes it, has the sequence first and the batch second, and joins the batch with the heads or with the
//! sequence on the way. As long as it is known where the batch stands, none of that moves an element within a
//! sample, so that such nodes only change the [`Layout`] that an operator reads a sample with.

use super::tensor::Integer;

/// The axis of a value, as the file sees it, that holds the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    /// This one, whose length is `outer * batch * inner`.
    Axis { axis: usize, outer: usize, inner: usize },
    /// None: the value is constant, or the file is one for a single sample and says nothing of where its batch of 1 is.
    None,
}

impl Batch {
    /// The batch alone in axis 0.
    pub(super) const FIRST: Self = Self::Axis { axis: 0, outer: 1, inner: 1 };
}

/// The shape of a sample, and how the file sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// What the batch shares an axis with has axes of its own here, unless it has the length 1.
    pub(super) sample: Vec<usize>,
    pub(super) batch: Batch,
}

/// The product, unless it overflows.
pub(super) fn product(lengths: &[usize]) -> Option<usize> {
    lengths.iter().try_fold(1_usize, |n, &length| n.checked_mul(length))
}

impl Layout {
    pub(super) fn constant(shape: &[usize]) -> Self {
        Self { sample: shape.to_vec(), batch: Batch::None }
    }

    /// How many axes a sample has in the place of the batch.
    fn factors(&self) -> usize {
        match self.batch {
            Batch::Axis { outer, inner, .. } => usize::from(outer > 1) + usize::from(inner > 1),
            Batch::None => 1,
        }
    }

    /// The number of axes in the file.
    pub(super) fn rank(&self) -> usize {
        self.sample.len() + 1 - self.factors()
    }

    /// The axes of a sample that an axis of the file stands for.
    pub(super) fn axes(&self, axis: usize) -> std::ops::Range<usize> {
        match self.batch {
            Batch::Axis { axis: batch, .. } if axis == batch => axis..axis + self.factors(),
            Batch::Axis { axis: batch, .. } if axis > batch => {
                let start = axis - 1 + self.factors();
                start..start + 1
            }
            _ => axis..axis + 1,
        }
    }

    /// The axis of a sample that is this axis of the file; `None` for that of the batch.
    pub(super) fn along(&self, axis: usize) -> Option<usize> {
        match self.batch {
            Batch::Axis { axis: batch, .. } if axis == batch => None,
            _ => Some(self.axes(axis).start),
        }
    }

    /// The length of an axis in the file.
    pub(super) fn length(&self, axis: usize) -> Integer {
        match (self.along(axis), self.batch) {
            (Some(axis), _) => Integer::Known(self.sample[axis] as i64),
            (None, Batch::Axis { outer, inner, .. }) => Integer::Batch((outer * inner) as i64),
            (None, Batch::None) => Integer::Batch(1),
        }
    }

    /// The length of each axis in the file.
    pub(super) fn lengths(&self) -> Vec<Integer> {
        (0..self.rank()).map(|axis| self.length(axis)).collect()
    }

    /// The shape in a file whose batch is 1.
    pub(super) fn single(&self) -> Vec<usize> {
        let length = |axis| match self.length(axis) {
            Integer::Known(length) | Integer::Batch(length) => length as usize,
        };
        (0..self.rank()).map(length).collect()
    }

    /// The order of a sample's axes, and its layout, when those of the file come in this order (a permutation).
    pub(super) fn permuted(&self, order: &[usize]) -> (Vec<usize>, Self) {
        let axes: Vec<usize> = order.iter().flat_map(|&axis| self.axes(axis)).collect();
        let batch = match self.batch {
            Batch::Axis { axis, outer, inner } => {
                let axis = order.iter().position(|&from| from == axis).unwrap_or(0);
                Batch::Axis { axis, outer, inner }
            }
            Batch::None => Batch::None,
        };
        let sample = axes.iter().map(|&axis| self.sample[axis]).collect();
        (axes, Self { sample, batch })
    }

    /// The layout of the same elements under another shape of the file, in which one -1 stands for what is left.
    ///
    /// `length` is the batch, where the file fixes it; a file that does not may still write 1 for it.
    ///
    /// # Errors
    /// Why there is none, as a clause; whether that is a contradiction in the file.
    pub(super) fn reshaped(
        &self,
        target: &[Integer],
        length: Option<usize>,
    ) -> Result<Self, (String, IsContradiction)> {
        let mut lengths = vec![];
        for (i, &length) in target.iter().enumerate() {
            lengths.push(match length {
                Integer::Known(-1) if !lengths.contains(&Target::Free) => Target::Free,
                Integer::Known(-1) => return Err(("its shape has more than one -1".to_owned(), true)),
                Integer::Known(length) => match usize::try_from(length) {
                    Ok(length) => Target::Length(length),
                    Err(_) => return Err((format!("its shape has the length {length} at axis {i}"), true)),
                },
                Integer::Batch(factor) => Target::Batch(usize::try_from(factor).unwrap_or(0)),
            });
        }
        match self.batch {
            Batch::Axis { .. } if length != Some(1) => self.around_batch(&lengths, length.unwrap_or(1)),
            _ => self.filled(&lengths, length == Some(1)),
        }
    }

    /// The layout where the batch has no axis, or is known to be 1.
    fn filled(&self, target: &[Target], single: bool) -> Result<Self, (String, IsContradiction)> {
        let count = product(&self.sample).unwrap_or(usize::MAX);
        let mut shape = vec![];
        for length in target {
            shape.push(match length {
                Target::Length(length) => *length,
                Target::Batch(factor) if single => *factor,
                Target::Batch(_) => {
                    return Err(("it gives a constant the length of the batch".to_owned(), false));
                }
                Target::Free => 1,
            });
        }
        let misfit = || (format!("{} do not fill {}", show(&self.sample), describe(target)), true);
        let others = product(&shape).ok_or_else(misfit)?;
        if let Some(free) = target.iter().position(|length| *length == Target::Free) {
            if others == 0 || !count.is_multiple_of(others) {
                return Err((
                    format!("{} does not divide {} evenly", describe(target), show(&self.sample)),
                    true,
                ));
            }
            shape[free] = count / others;
        } else if others != count {
            return Err(misfit());
        }
        Ok(Self { sample: shape, batch: Batch::None }.with_single_batch(single && self.batch != Batch::None))
    }

    /// In a file with a batch of 1, any axis of length 1 may be called the batch: here the first one.
    pub(super) fn with_single_batch(mut self, single: bool) -> Self {
        if single
            && self.batch == Batch::None
            && let Some(axis) = self.sample.iter().position(|&length| length == 1)
        {
            self.sample.remove(axis);
            self.batch = Batch::Axis { axis, outer: 1, inner: 1 };
        }
        self
    }

    /// The layout where the batch has an axis before and after: the elements before it in memory stay before it.
    fn around_batch(&self, target: &[Target], length: usize) -> Result<Self, (String, IsContradiction)> {
        let Batch::Axis { axis: from, outer, inner } = self.batch else { return self.filled(target, false) };
        let after = from + self.factors();
        let counts = product(&self.sample[..from])
            .and_then(|n| n.checked_mul(outer))
            .zip(product(&self.sample[after..]).and_then(|n| n.checked_mul(inner)));
        let Some((before, behind)) = counts else { return Err(("its shape is too large".to_owned(), true)) };
        let symbols: Vec<usize> =
            (0..target.len()).filter(|&i| matches!(target[i], Target::Batch(_))).collect();
        if symbols.len() > 1 {
            return Err(("its shape holds the length of the batch twice".to_owned(), false));
        }
        let found = |axis: usize| place(target, axis, [before, behind], length);
        let pure = |axis: &usize| found(*axis).is_some_and(|place| place.outer == 1 && place.inner == 1);
        let free = target.iter().position(|length| *length == Target::Free);
        // Where several axes could be the batch: the one that says so, then one that is the batch alone (best where it
        // was), then the -1, which files made for any batch write in its place.
        let axis = symbols
            .first()
            .copied()
            .or_else(|| {
                [Some(from), free].into_iter().flatten().filter(|&axis| axis < target.len()).find(pure)
            })
            .or_else(|| (0..target.len()).find(pure))
            .or_else(|| free.filter(|&axis| found(axis).is_some()))
            .or_else(|| (0..target.len()).find(|&axis| found(axis).is_some()));
        let place = axis.and_then(|axis| Some((axis, found(axis)?)));
        let Some((axis, Place { mut lengths, outer, inner })) = place else {
            let reason = format!(
                "samples of shape {} do not fill {}, so that it mixes the batch with other axes",
                show(&self.sample),
                describe(target)
            );
            return Err((reason, false));
        };
        let factors = [outer, inner].into_iter().filter(|&factor| factor > 1);
        lengths.splice(axis..=axis, factors);
        Ok(Self { sample: lengths, batch: Batch::Axis { axis, outer, inner } })
    }
}

/// Whether a file that says so contradicts itself, or asks for something that is not supported.
pub(super) type IsContradiction = bool;

/// A length of the shape that is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Length(usize),
    /// The batch, so many times.
    Batch(usize),
    Free,
}

/// An axis of a target as that of the batch.
struct Place {
    /// All lengths; that of the axis itself means nothing.
    lengths: Vec<usize>,
    outer: usize,
    inner: usize,
}

/// What `axis` of a target is when it holds the batch, with `counts` elements before and behind that in memory.
fn place(target: &[Target], axis: usize, [before, behind]: [usize; 2], length: usize) -> Option<Place> {
    let known = |lengths: &[Target]| -> Option<(usize, Option<usize>)> {
        let mut free = None;
        let mut count = 1_usize;
        for (i, length) in lengths.iter().enumerate() {
            match length {
                Target::Length(length) => count = count.checked_mul(*length)?,
                Target::Free => free = Some(i),
                Target::Batch(_) => return None,
            }
        }
        Some((count, free))
    };
    let divided = |whole: usize, part: usize| (part > 0 && whole.is_multiple_of(part)).then(|| whole / part);
    let (front, free_front) = known(&target[..axis])?;
    let (back, free_back) = known(&target[axis + 1..])?;
    // outer * inner
    let shared = match target[axis] {
        Target::Batch(factor) => Some(factor),
        Target::Length(own) => Some(divided(own, length)?),
        Target::Free => None,
    };
    let mut lengths: Vec<usize> =
        target.iter().map(|own| if let Target::Length(own) = own { *own } else { 1 }).collect();
    let (outer, inner) = if let Some(free) = free_front {
        let inner = divided(behind, back)?;
        let outer = divided(shared?, inner)?;
        lengths[free] = divided(divided(before, outer)?, front)?;
        (outer, inner)
    } else if let Some(free) = free_back {
        let outer = divided(before, front)?;
        let inner = divided(shared?, outer)?;
        lengths[axis + 1 + free] = divided(divided(behind, inner)?, back)?;
        (outer, inner)
    } else {
        (divided(before, front)?, divided(behind, back)?)
    };
    let fits = shared.is_none_or(|shared| outer.checked_mul(inner) == Some(shared));
    fits.then_some(Place { lengths, outer, inner })
}

fn show(lengths: &[usize]) -> String {
    format!("{lengths:?}")
}

fn describe(target: &[Target]) -> String {
    let lengths = target.iter().map(|length| match length {
        Target::Length(length) => length.to_string(),
        Target::Batch(1) => "N".to_owned(),
        Target::Batch(factor) => format!("{factor} N"),
        Target::Free => "-1".to_owned(),
    });
    format!("[{}]", lengths.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(layout: &Layout, target: &[i64], length: Option<usize>) -> Layout {
        // 1000 stands for the batch.
        let symbol = |&own: &i64| {
            if own % 1000 == 0 && own > 0 { Integer::Batch(own / 1000) } else { Integer::Known(own) }
        };
        layout.reshaped(&target.iter().map(symbol).collect::<Vec<_>>(), length).unwrap()
    }

    #[test]
    fn attention_moves_the_batch_but_no_element_of_a_sample() {
        let start = Layout { sample: vec![17, 96], batch: Batch::FIRST };
        let (order, moved) = start.permuted(&[1, 0, 2]);
        assert_eq!((order, moved.batch), (vec![0, 1], Batch::Axis { axis: 1, outer: 1, inner: 1 }));
        for heads in [[17, -1, 24], [17, 4000, 24]] {
            let joined = after(&moved, &heads, None);
            assert_eq!(joined.sample, [17, 4, 24]);
            assert_eq!(joined.lengths(), [Integer::Known(17), Integer::Batch(4), Integer::Known(24)]);
            let (_, front) = joined.permuted(&[1, 0, 2]);
            for apart in [[-1, 4, 17, 24], [1000, 4, 17, 24]] {
                let apart = after(&front, &apart, None);
                assert_eq!(apart, Layout { sample: vec![4, 17, 24], batch: Batch::FIRST });
                let (_, last) = apart.permuted(&[2, 0, 1, 3]);
                for flat in [[-1, 96], [17_000, 96]] {
                    let flat = after(&last, &flat, None);
                    assert_eq!(flat.batch, Batch::Axis { axis: 0, outer: 17, inner: 1 });
                    assert_eq!(after(&flat, &[17, -1, 96], None), moved);
                }
            }
        }
    }

    #[test]
    fn a_batch_of_one_may_be_any_axis_of_length_one() {
        let start = Layout { sample: vec![17, 96], batch: Batch::Axis { axis: 1, outer: 1, inner: 1 } };
        let heads = after(&start, &[17, 4, 24], Some(1));
        assert_eq!(heads, Layout { sample: vec![17, 4, 24], batch: Batch::None });
        assert_eq!(
            after(&start, &[1, 17, 96], Some(1)),
            Layout { sample: vec![17, 96], batch: Batch::FIRST }
        );
    }

    #[test]
    fn what_splits_samples_is_refused() {
        let start = Layout { sample: vec![6], batch: Batch::FIRST };
        let refused = |target: &[i64], length| {
            let target: Vec<Integer> = target.iter().map(|&own| Integer::Known(own)).collect();
            start.reshaped(&target, length).unwrap_err()
        };
        assert!(refused(&[4, 3], Some(4)).0.contains("mixes the batch"));
        assert!(refused(&[-1, 4], None).0.contains("mixes the batch"));
        assert!(refused(&[-1, -1], None).1);
        assert!(refused(&[-2, 6], None).1);
    }
}
