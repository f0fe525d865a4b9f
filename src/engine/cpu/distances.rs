//! Squared distances from the differences themselves: twice the work of a product, and all digits.

use std::any::TypeId;

use bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Arch, Simd, WithSimd};

use crate::Scalar;

use super::tile::Element;

/// So many elements of all points of a tile stay in L2 while the anchors pass (64 KiB in f32); their sum is added to
/// the rest, so that errors grow with the blocks.
const DEPTH: usize = 64;

/// Anchors that share what is read of the points: with two vectors of these, eight sums hide the latency of each.
const ANCHORS: usize = 4;

/// `|x - x_i|^2` `[M, width]` of points laid out `[D, width]`, a multiple of 16, and anchors `[M, D]`.
pub(super) fn squared_distances<S: Scalar>(points: &[S], anchors: &[S], width: usize, squared: &mut [S]) {
    squared.fill(S::zero());
    let arch = Arch::new();
    if TypeId::of::<S>() == TypeId::of::<f32>() {
        let (points, anchors, squared) = (cast_slice(points), cast_slice(anchors), cast_slice_mut(squared));
        arch.dispatch(Distances::<f32> { points, anchors, width, squared });
    } else {
        let (points, anchors, squared) = (cast_slice(points), cast_slice(anchors), cast_slice_mut(squared));
        arch.dispatch(Distances::<f64> { points, anchors, width, squared });
    }
}

struct Distances<'a, T> {
    points: &'a [T],
    anchors: &'a [T],
    width: usize,
    squared: &'a mut [T],
}

impl<T: Element> WithSimd for Distances<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Self { points, anchors, width, squared } = self;
        let (dimension, number) = (points.len() / width, squared.len() / width);
        for (points, start) in points.chunks(DEPTH * width).zip((0..dimension).step_by(DEPTH)) {
            let depth = points.len() / width;
            for (block, squared) in squared.chunks_mut(ANCHORS * width).enumerate() {
                // The last one fills a block: again it is not kept.
                let anchors: [&[T]; ANCHORS] = std::array::from_fn(|i| {
                    let anchor = (block * ANCHORS + i).min(number - 1);
                    &anchors[anchor * dimension + start..][..depth]
                });
                let vectors = T::vectors::<V>(&points[..width]).len();
                let mut at = 0;
                while at + 2 <= vectors {
                    strip::<T, V, 2>(simd, points, anchors, width, at, squared);
                    at += 2;
                }
                if at < vectors {
                    strip::<T, V, 1>(simd, points, anchors, width, at, squared);
                }
            }
        }
    }
}

/// Adds what the points' elements at hand make of `N` vectors of columns, from vector `at` on.
// Arrays of arrays are indexed: what registers they become is plain then, to the compiler as well.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
fn strip<T: Element, V: Simd, const N: usize>(
    simd: V,
    points: &[T],
    anchors: [&[T]; ANCHORS],
    width: usize,
    at: usize,
    squared: &mut [T],
) {
    let mut sums = [[T::splat(simd, T::default()); N]; ANCHORS];
    let [a, b, c, d] = anchors;
    let elements = a.iter().zip(b).zip(c).zip(d);
    for (row, (((&a, &b), &c), &d)) in points.chunks_exact(width).zip(elements) {
        let Some((x, _)) = T::vectors::<V>(row)[at..].split_first_chunk::<N>() else { return };
        let anchors = [a, b, c, d].map(|a| T::splat(simd, a));
        for i in 0..ANCHORS {
            for v in 0..N {
                let difference = T::subtract(simd, x[v], anchors[i]);
                sums[i][v] = T::multiply_add(simd, difference, difference, sums[i][v]);
            }
        }
    }
    for (row, sums) in squared.chunks_exact_mut(width).zip(sums) {
        for (to, sum) in T::vectors_mut::<V>(row)[at..].iter_mut().zip(sums) {
            *to = T::plus(simd, *to, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::tolerance::CLOSE;

    #[test]
    fn keep_their_digits_far_from_the_origin() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for (number, dimension) in [(1, 1), (7, 3), (4, 64), (9, 300), (2, 3000)] {
            let width = 48;
            let mut random = |count: usize| -> Vec<f32> {
                (0..count).map(|_| 50.0 + rng.random_range(-1.0_f32..2.0)).collect()
            };
            let (points, anchors) = (random(dimension * width), random(number * dimension));
            let mut squared = vec![1.0; number * width];
            squared_distances(&points, &anchors, width, &mut squared);
            for (i, &found) in squared.iter().enumerate() {
                let (anchor, column) = (i / width, i % width);
                let exact: f64 = (0..dimension)
                    .map(|j| {
                        f64::from(points[j * width + column]) - f64::from(anchors[anchor * dimension + j])
                    })
                    .map(|difference| difference * difference)
                    .sum();
                let error = (f64::from(found) - exact).abs() / exact;
                assert!(error < CLOSE, "[{number}, {dimension}]: {error:e}");
            }
        }
    }
}
