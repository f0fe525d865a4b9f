//! The best pieces of each column of a tile, kept in lanes.

use std::any::TypeId;

use bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Simd, WithSimd};

use crate::Scalar;

use super::tile::{Element, VECTORS};

/// Scores `sign * (slope + offset) - bend * d^2` of a few anchors at a tile of points, for one output and one side.
#[derive(Clone, Copy)]
pub(super) struct Scores<'a, T> {
    pub sign: T,
    pub bend: T,
    /// `[anchors, width]`
    pub slopes: &'a [T],
    /// `[anchors, width]`
    pub squared: &'a [T],
    /// `[anchors]`
    pub offsets: &'a [T],
    /// What is added to the anchors' numbers.
    pub first: u32,
    /// The anchors' numbers, ascending; empty if they count from 0.
    pub numbers: &'a [u32],
}

impl<'a, S: Scalar> Scores<'a, S> {
    /// Takes them into the best `values` and `pieces` `[top, width]`, which are empty if not wanted.
    pub(super) fn take(self, arch: pulp::Arch, values: &mut [S], pieces: &mut [S]) {
        fn cast<T: Element>(value: impl Scalar) -> T {
            T::of(value.f64())
        }
        macro_rules! run {
            ($scalar:ty) => {
                arch.dispatch(Take::<$scalar> {
                    scores: Scores {
                        sign: cast(self.sign),
                        bend: cast(self.bend),
                        slopes: cast_slice(self.slopes),
                        squared: cast_slice(self.squared),
                        offsets: cast_slice(self.offsets),
                        first: self.first,
                        numbers: self.numbers,
                    },
                    values: cast_slice_mut(values),
                    pieces: cast_slice_mut(pieces),
                })
            };
        }
        if TypeId::of::<S>() == TypeId::of::<f32>() { run!(f32) } else { run!(f64) }
    }
}

struct Take<'a, T> {
    scores: Scores<'a, T>,
    values: &'a mut [T],
    pieces: &'a mut [T],
}

impl<T: Element> WithSimd for Take<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        self.scores.take_with::<V>(simd, self.values, self.pieces);
    }
}

impl<T: Element> Scores<'_, T> {
    /// Takes them into the best `values` and `pieces` `[top, width]`, which are empty if not wanted.
    #[inline(always)]
    pub(super) fn take_with<V: Simd>(self, simd: V, values: &mut [T], pieces: &mut [T]) {
        let width = self.slopes.len() / self.offsets.len();
        match (values.len() == width, pieces.is_empty()) {
            (true, true) => self.take_largest::<V>(simd, values),
            (true, false) => self.take_best::<V>(simd, values, pieces),
            (false, _) => self.take_top::<V>(simd, values, pieces),
        }
    }

    /// Calls `visit` with each anchor and its scores.
    #[inline(always)]
    pub(super) fn for_each<V: Simd>(&self, simd: V, mut visit: impl FnMut(u32, [T::Vector<V>; VECTORS])) {
        let (slopes, _) = T::vectors::<V>(self.slopes).as_chunks::<VECTORS>();
        let (squared, _) = T::vectors::<V>(self.squared).as_chunks::<VECTORS>();
        let (sign, bend) = (T::splat(simd, self.sign), T::splat(simd, -self.bend));
        for (i, ((slopes, squared), &offset)) in slopes.iter().zip(squared).zip(self.offsets).enumerate() {
            let number = self.first + self.numbers.get(i).copied().unwrap_or(i as u32);
            let offset = T::splat(simd, self.sign * offset);
            let score = |v: usize| {
                T::multiply_add(simd, sign, slopes[v], T::multiply_add(simd, bend, squared[v], offset))
            };
            visit(number, std::array::from_fn(score));
        }
    }

    #[inline(always)]
    fn take_largest<V: Simd>(&self, simd: V, values: &mut [T]) {
        let Some(values) = T::vectors_mut::<V>(values).first_chunk_mut::<VECTORS>() else { return };
        let mut best = *values;
        self.for_each(simd, |_, scores| {
            for v in 0..VECTORS {
                best[v] = T::maximum(simd, scores[v], best[v]);
            }
        });
        *values = best;
    }

    #[inline(always)]
    fn take_best<V: Simd>(&self, simd: V, values: &mut [T], pieces: &mut [T]) {
        let Some(values) = T::vectors_mut::<V>(values).first_chunk_mut::<VECTORS>() else { return };
        let Some(pieces) = T::vectors_mut::<V>(pieces).first_chunk_mut::<VECTORS>() else { return };
        let (mut best, mut active) = (*values, *pieces);
        self.for_each(simd, |number, scores| {
            let number = T::splat(simd, of_number(number));
            for v in 0..VECTORS {
                let better = T::greater(simd, scores[v], best[v]);
                best[v] = T::maximum(simd, scores[v], best[v]);
                active[v] = T::select(simd, better, number, active[v]);
            }
        });
        (*values, *pieces) = (best, active);
    }

    /// Nearly always no score of a tile is among the best.
    #[inline(always)]
    fn take_top<V: Simd>(&self, simd: V, values: &mut [T], pieces: &mut [T]) {
        let width = self.slopes.len() / self.offsets.len();
        let last = values.len() - width;
        let mut largest = [T::splat(simd, T::min_value()); VECTORS];
        self.for_each(simd, |_, scores| {
            for v in 0..VECTORS {
                largest[v] = T::maximum(simd, scores[v], largest[v]);
            }
        });
        if !exceeds::<T, V>(simd, &largest, &values[last..]) {
            return;
        }
        self.for_each(simd, |number, scores| take_row::<T, V>(simd, &scores, number, values, pieces));
    }
}

/// Takes one anchor's scores into the best `values` and `pieces` `[top, width]`, which are empty if not wanted.
#[inline(always)]
pub(super) fn take_row<T: Element, V: Simd>(
    simd: V,
    scores: &[T::Vector<V>; VECTORS],
    anchor: u32,
    values: &mut [T],
    pieces: &mut [T],
) {
    let width = VECTORS * size_of::<T::Vector<V>>() / size_of::<T>();
    if values.len() > width {
        if exceeds::<T, V>(simd, scores, &values[values.len() - width..]) {
            insert_all::<T, V>(simd, values, pieces, scores, anchor);
        }
        return;
    }
    let Some(values) = T::vectors_mut::<V>(values).first_chunk_mut::<VECTORS>() else { return };
    if let Some(pieces) = T::vectors_mut::<V>(pieces).first_chunk_mut::<VECTORS>() {
        let anchor = T::splat(simd, of_number(anchor));
        for v in 0..VECTORS {
            pieces[v] = T::select(simd, T::greater(simd, scores[v], values[v]), anchor, pieces[v]);
        }
    }
    for v in 0..VECTORS {
        values[v] = T::maximum(simd, scores[v], values[v]);
    }
}

/// Whether any score is larger than the value of its column.
#[inline(always)]
pub(super) fn exceeds<T: Element, V: Simd>(simd: V, scores: &[T::Vector<V>], values: &[T]) -> bool {
    let (zero, one) = (T::splat(simd, T::zero()), T::splat(simd, T::one()));
    let mut any = zero;
    for (score, &value) in scores.iter().zip(T::vectors::<V>(values)) {
        any = T::select(simd, T::greater(simd, *score, value), one, any);
    }
    T::largest(simd, any) > T::zero()
}

/// Takes a score of each column into its best `[top, width]`, which are in order; of equals the earlier one stays ahead.
#[inline(always)]
pub(super) fn insert_all<T: Element, V: Simd>(
    simd: V,
    values: &mut [T],
    pieces: &mut [T],
    scores: &[T::Vector<V>],
    of_all: u32,
) {
    let values = T::vectors_mut::<V>(values);
    let pieces = T::vectors_mut::<V>(pieces);
    let of_all = T::splat(simd, of_number(of_all));
    for (v, &score) in scores.iter().enumerate() {
        let last = values.len() - scores.len() + v;
        let mut better = T::greater(simd, score, values[last]);
        for at in (v..=last).rev().step_by(scores.len()) {
            // What is worse moves one place down; the score goes where what is before it is no worse.
            let before = at.checked_sub(scores.len());
            let better_before = before.map(|before| T::greater(simd, score, values[before]));
            let place = |moved: Option<T::Vector<V>>, new: T::Vector<V>| match (better_before, moved) {
                (Some(mask), Some(moved)) => T::select(simd, mask, moved, new),
                _ => new,
            };
            values[at] = T::select(simd, better, place(before.map(|at| values[at]), score), values[at]);
            if !pieces.is_empty() {
                let moved = place(before.map(|at| pieces[at]), of_all);
                pieces[at] = T::select(simd, better, moved, pieces[at]);
            }
            if let Some(mask) = better_before {
                better = mask;
            }
        }
    }
}

/// Takes a score into the best of one column, which are in order; of equals the earlier one stays ahead.
#[inline(always)]
pub(super) fn insert<T: Scalar>(
    values: &mut [T],
    pieces: &mut [T],
    width: usize,
    column: usize,
    score: T,
    number: u32,
) {
    let mut at = values.len() - width + column;
    if score <= values[at] {
        return;
    }
    while at >= width && score > values[at - width] {
        values[at] = values[at - width];
        if !pieces.is_empty() {
            pieces[at] = pieces[at - width];
        }
        at -= width;
    }
    values[at] = score;
    if let Some(piece) = pieces.get_mut(at) {
        *piece = of_number(number);
    }
}

/// A number in a lane, as bits: it is blended, never computed with.
pub(super) fn of_number<S: Scalar>(number: u32) -> S {
    let mut lane = S::zero();
    bytemuck::bytes_of_mut(&mut lane)[..4].copy_from_slice(&number.to_ne_bytes());
    lane
}

pub(super) fn number<S: Scalar>(lane: S) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&bytemuck::bytes_of(&lane)[..4]);
    u32::from_ne_bytes(bytes)
}
