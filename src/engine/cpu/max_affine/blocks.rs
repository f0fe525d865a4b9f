//! Affine pieces of few dimensions: points in lanes, pieces broadcast.
//!
//! Pieces are compared block by block: a point remembers in which block its largest score was, and only that block is
//! looked through for the piece. So the index costs nearly nothing: `D + 1` operations a pair are left.

use pulp::{Arch, Simd, WithSimd};

use crate::engine::cpu::best::{exceeds, insert, insert_all, number, of_number};
use crate::engine::cpu::tile::Element;

/// Dimensions at most.
pub(in crate::engine::cpu) const FEW: usize = 8;

/// Pieces of a block.
const BLOCK: usize = 32;

/// Up to so many pieces their numbers are kept in lanes: two more operations a pair, against some 25 cycles a point for
/// looking a block through.
const NUMBERED: usize = 256;

/// Affine pieces `x -> p . x + c`.
#[derive(Debug, Clone)]
pub(in crate::engine::cpu) struct Blocks<T> {
    dimension: usize,
    /// `[blocks, D + 2, BLOCK]`: elements of the slopes, offsets, and sizes: bounds of `sum |p_d x_d| + |c|`. What
    /// fills the last block is never better than anything.
    values: Vec<T>,
    /// Of each piece, among all.
    numbers: Vec<u32>,
}

/// The smallest box around some points.
#[derive(Debug, Clone)]
pub(in crate::engine::cpu) struct Bounds<T> {
    pub low: Vec<T>,
    pub high: Vec<T>,
}

impl<T: Element> Bounds<T> {
    pub(in crate::engine::cpu) fn of<'a>(dimension: usize, points: impl Iterator<Item = &'a [T]>) -> Self {
        let mut new = Self { low: vec![T::max_value(); dimension], high: vec![T::min_value(); dimension] };
        for point in points {
            for ((low, high), &x) in new.low.iter_mut().zip(&mut new.high).zip(point) {
                *low = low.min(x);
                *high = high.max(x);
            }
        }
        new
    }

    /// The largest magnitudes in each dimension.
    fn reach(&self) -> impl Iterator<Item = T> + '_ {
        self.low.iter().zip(&self.high).map(|(low, high)| low.abs().max(high.abs()))
    }
}

/// Calls a generic function with the dimension as a constant: the next larger one of a few, whose further elements are
/// 0 in pieces and points alike.
macro_rules! with_dimension {
    ($dimension:expr, $call:ident :: <$t:ty, $v:ty> ($($argument:expr),*)) => {
        match $dimension {
            1 => $call::<$t, $v, 1>($($argument),*),
            2 => $call::<$t, $v, 2>($($argument),*),
            3 => $call::<$t, $v, 3>($($argument),*),
            4 => $call::<$t, $v, 4>($($argument),*),
            6 => $call::<$t, $v, 6>($($argument),*),
            _ => $call::<$t, $v, 8>($($argument),*),
        }
    };
}

/// The dimension that kernels are compiled for.
pub(in crate::engine::cpu) fn padded(dimension: usize) -> usize {
    [1, 2, 3, 4, 6].into_iter().find(|&d| d >= dimension).unwrap_or(FEW)
}

/// Vectors of a strip: with the points' elements they leave registers for the pieces.
const fn vectors(dimension: usize) -> usize {
    if dimension <= 4 { 4 } else { 2 }
}

/// Points that are compared with all pieces at once.
pub(in crate::engine::cpu) fn strip<T: Element>(arch: Arch, dimension: usize) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<V: Simd>(self, _: V) -> usize {
            size_of::<V::f32s>()
        }
    }
    vectors(dimension) * (arch.dispatch(Lanes) / size_of::<T>()).max(1)
}

impl<T: Element> Blocks<T> {
    /// Pieces `(number, slope, offset)`, numbers ascending, for points within `bounds`; all that is finite.
    pub(in crate::engine::cpu) fn new<'a>(
        dimension: usize,
        bounds: &Bounds<T>,
        pieces: impl Iterator<Item = (u32, &'a [T], T)>,
    ) -> Self {
        let mut new = Self::empty(padded(dimension));
        let reach: Vec<T> = bounds.reach().collect();
        for (number, slope, offset) in pieces {
            let size = slope.iter().zip(&reach).fold(offset.abs(), |sum, (p, reach)| sum + p.abs() * *reach);
            let at = new.push(number);
            for (d, &p) in slope.iter().enumerate() {
                new.values[at + d * BLOCK] = p;
            }
            new.values[at + new.dimension * BLOCK] = offset;
            new.values[at + (new.dimension + 1) * BLOCK] = size;
        }
        new
    }

    fn empty(dimension: usize) -> Self {
        Self { dimension, values: vec![], numbers: vec![] }
    }

    /// Makes room for a piece; where its first element goes.
    fn push(&mut self, number: u32) -> usize {
        let (block, lane) = (self.len() / BLOCK, self.len() % BLOCK);
        let rows = self.dimension + 2;
        if lane == 0 {
            self.values.resize((block + 1) * rows * BLOCK, T::zero());
            let offsets = (block * rows + self.dimension) * BLOCK;
            self.values[offsets..][..BLOCK].fill(T::min_value());
        }
        self.numbers.push(number);
        block * rows * BLOCK + lane
    }

    /// The pieces at these positions.
    pub(in crate::engine::cpu) fn take(&self, positions: &[u32]) -> Self {
        let mut new = Self::empty(self.dimension);
        for &position in positions {
            let position = position as usize;
            let from = self.start(position);
            let at = new.push(self.numbers[position]);
            for row in 0..self.dimension + 2 {
                new.values[at + row * BLOCK] = self.values[from + row * BLOCK];
            }
        }
        new
    }

    pub(in crate::engine::cpu) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The padded dimension.
    pub(in crate::engine::cpu) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(in crate::engine::cpu) fn number(&self, position: usize) -> u32 {
        self.numbers[position]
    }

    fn start(&self, position: usize) -> usize {
        position / BLOCK * (self.dimension + 2) * BLOCK + position % BLOCK
    }

    /// The best pieces of a strip of `points [D, width]`: their scores `[top, width]`, and their positions as numbers
    /// in lanes, or `u32::MAX` where there are no more. Of equals the first.
    pub(in crate::engine::cpu) fn search(
        &self,
        arch: Arch,
        points: &[T],
        scores: &mut [T],
        positions: &mut [T],
    ) {
        scores.fill(T::min_value());
        positions.fill(of_number(u32::MAX));
        arch.dispatch(Search { blocks: self, points, scores, positions, locate: true });
    }

    /// The largest scores alone.
    pub(in crate::engine::cpu) fn largest(
        &self,
        arch: Arch,
        points: &[T],
        scores: &mut [T],
        scratch: &mut [T],
    ) {
        scores.fill(T::min_value());
        arch.dispatch(Search { blocks: self, points, scores, positions: scratch, locate: false });
    }

    /// Positions of the pieces that may be among the best `top` somewhere within `bounds`: all but those that so many
    /// of `references` exceed everywhere, by more than what rounding could turn round.
    pub(in crate::engine::cpu) fn prune(
        &self,
        arch: Arch,
        bounds: &Bounds<T>,
        references: &[usize],
        top: usize,
    ) -> Vec<u32> {
        let mut kept = Vec::with_capacity(self.len() / 4);
        arch.dispatch(Prune { blocks: self, bounds, references, top, kept: &mut kept });
        kept
    }
}

struct Search<'a, T> {
    blocks: &'a Blocks<T>,
    points: &'a [T],
    scores: &'a mut [T],
    positions: &'a mut [T],
    locate: bool,
}

impl<T: Element> WithSimd for Search<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        with_dimension!(self.blocks.dimension, search::<T, V>(simd, self));
    }
}

#[inline(always)]
fn search<T: Element, V: Simd, const D: usize>(simd: V, search: Search<'_, T>) {
    if D <= 4 { run::<T, V, D, 4>(simd, search) } else { run::<T, V, D, 2>(simd, search) }
}

/// `p . x + c`, in the one order that makes equal bits everywhere.
#[inline(always)]
fn score<T: Element, V: Simd, const D: usize>(
    simd: V,
    slope: [T::Vector<V>; D],
    x: [T::Vector<V>; D],
    offset: T::Vector<V>,
) -> T::Vector<V> {
    let mut sum = offset;
    for d in (0..D).rev() {
        sum = T::multiply_add(simd, slope[d], x[d], sum);
    }
    sum
}

// Arrays of arrays are indexed: what registers they become is plain then, to the compiler as well.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
fn run<T: Element, V: Simd, const D: usize, const P: usize>(simd: V, search: Search<'_, T>) {
    let Search { blocks, points, scores, positions, locate } = search;
    let width = points.len() / D;
    let lowest = T::splat(simd, T::min_value());
    let mut x = [[lowest; D]; P];
    for (d, row) in points.chunks_exact(width).enumerate() {
        for (x, &vector) in x.iter_mut().zip(T::vectors::<V>(row)) {
            x[d] = vector;
        }
    }
    let alone = scores.len() == width;
    let numbered = alone && locate && blocks.len() <= NUMBERED;
    let (mut best, mut at) = ([lowest; P], [T::splat(simd, of_number(u32::MAX)); P]);
    let last = scores.len() - width;
    for (block, values) in blocks.values.chunks_exact((D + 2) * BLOCK).enumerate() {
        let (rows, _) = values.as_chunks::<BLOCK>();
        if numbered {
            for i in 0..BLOCK.min(blocks.len() - block * BLOCK) {
                let slope: [T::Vector<V>; D] = std::array::from_fn(|d| T::splat(simd, rows[d][i]));
                let offset = T::splat(simd, rows[D][i]);
                let number = T::splat(simd, of_number((block * BLOCK + i) as u32));
                for v in 0..P {
                    let score = score::<T, V, D>(simd, slope, x[v], offset);
                    at[v] = T::select(simd, T::greater(simd, score, best[v]), number, at[v]);
                    best[v] = T::maximum(simd, score, best[v]);
                }
            }
            continue;
        }
        let mut largest = [lowest; P];
        for i in 0..BLOCK {
            let slope: [T::Vector<V>; D] = std::array::from_fn(|d| T::splat(simd, rows[d][i]));
            let offset = T::splat(simd, rows[D][i]);
            for v in 0..P {
                largest[v] = T::maximum(simd, score::<T, V, D>(simd, slope, x[v], offset), largest[v]);
            }
        }
        if alone {
            let number = T::splat(simd, of_number(block as u32));
            for v in 0..P {
                at[v] = T::select(simd, T::greater(simd, largest[v], best[v]), number, at[v]);
                best[v] = T::maximum(simd, largest[v], best[v]);
            }
        } else if exceeds::<T, V>(simd, &largest, &scores[last..]) {
            // The best pieces are in the best blocks: a block that so many others exceed, or equal and precede, has
            // none of them.
            insert_all::<T, V>(simd, scores, positions, &largest, block as u32);
        }
    }
    if alone {
        T::vectors_mut::<V>(scores).copy_from_slice(&best);
        T::vectors_mut::<V>(positions).copy_from_slice(&at);
    }
    let mut best = vec![];
    for column in 0..if locate && !numbered { width } else { 0 } {
        if alone {
            locate_first::<T, V, D>(simd, blocks, points, column, scores, positions);
        } else {
            locate_best::<T, V, D>(simd, blocks, points, column, &mut best, scores, positions);
        }
    }
}

/// Scores of a block's pieces at one point.
#[inline(always)]
fn of_block<T: Element, V: Simd, const D: usize>(
    simd: V,
    blocks: &Blocks<T>,
    block: usize,
    points: &[T],
    column: usize,
) -> [T; BLOCK] {
    let width = points.len() / D;
    let (rows, _) = blocks.values[block * (D + 2) * BLOCK..][..(D + 2) * BLOCK].as_chunks::<BLOCK>();
    let x: [T::Vector<V>; D] = std::array::from_fn(|d| T::splat(simd, points[d * width + column]));
    let mut scores = [T::zero(); BLOCK];
    for (v, to) in T::vectors_mut::<V>(&mut scores).iter_mut().enumerate() {
        let slope = std::array::from_fn(|d| T::vectors::<V>(&rows[d])[v]);
        *to = score::<T, V, D>(simd, slope, x, T::vectors::<V>(&rows[D])[v]);
    }
    scores
}

/// Replaces the block of the largest score of a column by the first piece that has it.
#[inline(always)]
fn locate_first<T: Element, V: Simd, const D: usize>(
    simd: V,
    blocks: &Blocks<T>,
    points: &[T],
    column: usize,
    scores: &[T],
    positions: &mut [T],
) {
    let block = number(positions[column]);
    if block != u32::MAX {
        let all = of_block::<T, V, D>(simd, blocks, block as usize, points, column);
        let lane = all.iter().position(|&score| score == scores[column]).unwrap_or(0);
        positions[column] = of_number(block * BLOCK as u32 + lane as u32);
    }
}

/// Replaces the best blocks of a column by the best pieces in them.
#[inline(always)]
fn locate_best<T: Element, V: Simd, const D: usize>(
    simd: V,
    blocks: &Blocks<T>,
    points: &[T],
    column: usize,
    best: &mut Vec<u32>,
    scores: &mut [T],
    positions: &mut [T],
) {
    let width = points.len() / D;
    // As many pieces as are wanted have at least this score, if there are so many blocks.
    let least = scores[scores.len() - width + column];
    best.clear();
    for at in (column..scores.len()).step_by(width) {
        best.push(number(positions[at]));
        scores[at] = T::min_value();
        positions[at] = of_number(u32::MAX);
    }
    // Of equal scores the lower number goes first.
    best.sort_unstable();
    for &block in best.iter().filter(|&&block| block != u32::MAX) {
        let all = of_block::<T, V, D>(simd, blocks, block as usize, points, column);
        for (&score, position) in all.iter().zip(block * BLOCK as u32..) {
            if score >= least {
                insert(scores, positions, width, column, score, position);
            }
        }
    }
}

struct Prune<'a, T> {
    blocks: &'a Blocks<T>,
    bounds: &'a Bounds<T>,
    references: &'a [usize],
    top: usize,
    kept: &'a mut Vec<u32>,
}

impl<T: Element> WithSimd for Prune<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        with_dimension!(self.blocks.dimension, prune::<T, V>(simd, self));
    }
}

/// By how much of both sizes a difference of scores is wrong at most. With `u = epsilon / 2` each of two scores is off
/// by `(D + 1) u` of its size, the difference at the centre by `(D + 3) u` of both, its change up to the border, at
/// most twice their sizes, by `2 (D + 4) u`, and the sizes by `(D + 2) u` of themselves.
fn slack<T: Element>(dimension: usize) -> T {
    T::of(4.0 * (dimension + 4) as f64) * T::epsilon()
}

#[inline(always)]
fn prune<T: Element, V: Simd, const D: usize>(simd: V, prune: Prune<'_, T>) {
    let Prune { blocks, bounds, references, top, kept } = prune;
    // Outward: what rounding takes from a radius is within the slack, and so is what the centre is off.
    let mut center = [T::splat(simd, T::zero()); D];
    let mut radius = center;
    for (d, (&low, &high)) in bounds.low.iter().zip(&bounds.high).enumerate() {
        let middle = T::of(0.5 * (low.f64() + high.f64()));
        center[d] = T::splat(simd, middle);
        radius[d] = T::splat(simd, -T::of((high.f64() - middle.f64()).max(middle.f64() - low.f64())));
    }
    let slack = T::splat(simd, slack::<T>(D));
    let tiny = T::splat(simd, T::min_positive_value());
    let (zero, one) = (T::splat(simd, T::zero()), T::splat(simd, T::one()));
    let (number, mut exceeded, top) = (blocks.len(), [T::zero(); BLOCK], T::of(top as f64));
    for (block, values) in blocks.values.chunks_exact((D + 2) * BLOCK).enumerate() {
        let (rows, _) = values.as_chunks::<BLOCK>();
        for (v, exceeded) in T::vectors_mut::<V>(&mut exceeded).iter_mut().enumerate() {
            let row = |row: usize| T::vectors::<V>(&rows[row])[v];
            *exceeded = zero;
            for &reference in references {
                let start = blocks.start(reference);
                let of = |row: usize| T::splat(simd, blocks.values[start + row * BLOCK]);
                // The least of their difference within the bounds.
                let mut least = T::subtract(simd, of(D), row(D));
                for d in 0..D {
                    let slope = T::subtract(simd, of(d), row(d));
                    least = T::multiply_add(simd, slope, center[d], least);
                    least = T::multiply_add(simd, T::absolute(simd, slope), radius[d], least);
                }
                let sizes = T::plus(simd, of(D + 1), row(D + 1));
                let margin = T::multiply_add(simd, sizes, slack, tiny);
                let more = T::select(simd, T::greater(simd, least, margin), one, zero);
                *exceeded = T::plus(simd, *exceeded, more);
            }
        }
        for (lane, &exceeded) in exceeded.iter().enumerate().take(number - block * BLOCK) {
            if exceeded < top {
                kept.push((block * BLOCK + lane) as u32);
            }
        }
    }
}
