//! Maxima of affine pieces at many points of few dimensions: all pairs, or those that could matter.
//!
//! Points are put into boxes within boxes. On the way down each box keeps only the pieces that can be best somewhere in
//! it, so that few are left for its points. What is compared at the end is compared as if all were.

use std::any::TypeId;

use bytemuck::cast_slice;
use pulp::Arch;
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::cpu::best::number;
use crate::engine::cpu::tile::Element;
use crate::engine::kernels::Search;

use super::blocks::{Blocks, Bounds, strip};

/// Points of a box that is not divided: comparing pieces with a strip of samples would cost half as much.
const LEAF: usize = 128;

/// Pieces that are not sorted out any more.
pub(in crate::engine::cpu) const FEW_PIECES: usize = 48;

/// Points that one thread compares at a time.
const CHUNK: usize = 1024;

/// Boxes that a box is divided into, about.
const PARTS: usize = 64;

/// Pieces that others are compared with, at most.
const REFERENCES: usize = 16;

/// Boxes within boxes at most; equal points end in one.
const DEEPEST: usize = 24;

/// A score and the position of its piece.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::cpu) struct Entry<T> {
    pub score: T,
    pub number: u32,
}

/// The best pieces of several families at each point.
#[derive(Debug)]
pub(in crate::engine::cpu) struct Found<T> {
    /// `[N, families, top]`; lowest scores and `u32::MAX` where there are no more.
    pub entries: Vec<Entry<T>>,
    /// How many pairs of point and piece were compared, samples included.
    pub scored: u64,
}

/// Affine pieces `x -> p . x + c`, numbers ascending.
#[derive(Debug, Default)]
pub(in crate::engine::cpu) struct Family<S> {
    pub numbers: Vec<u32>,
    /// `[M, D]`
    pub slopes: Vec<S>,
    pub offsets: Vec<S>,
}

/// The best `top` pieces of each family at `points [N, D]`; without `pieces` their numbers have no meaning.
pub(in crate::engine::cpu) fn best_pieces<S: Scalar>(
    points: &[S],
    dimension: usize,
    families: &[Family<S>],
    (top, pieces): (usize, bool),
    search: Search,
) -> Found<S> {
    macro_rules! run {
        ($scalar:ty, $run:ident) => {{
            let points: &[$scalar] = cast_slice(points);
            let bounds = Bounds::of(dimension, points.chunks_exact(dimension));
            let blocks = |family: &Family<S>| {
                let slopes = cast_slice(&family.slopes).chunks_exact(dimension);
                let offsets: &[$scalar] = cast_slice(&family.offsets);
                let pieces = family.numbers.iter().zip(slopes).zip(offsets);
                Blocks::new(
                    dimension,
                    &bounds,
                    pieces.map(|((&number, slope), &offset)| (number, slope, offset)),
                )
            };
            let families: Vec<Blocks<$scalar>> = families.iter().map(blocks).collect();
            let found = $run(&Query { arch: Arch::new(), points, dimension, top, pieces }, &families, search);
            // The same type, which the compiler cannot know.
            let entry =
                |entry: &Entry<$scalar>| Entry { score: S::of(entry.score.f64()), number: entry.number };
            Found { entries: found.entries.par_iter().map(entry).collect(), scored: found.scored }
        }};
    }
    if TypeId::of::<S>() == TypeId::of::<f32>() { run!(f32, run_f32) } else { run!(f64, run_f64) }
}

// Not generic, so that the kernels are compiled once, here, and not again in every program that names an engine.
#[inline(never)]
fn run_f32(query: &Query<'_, f32>, families: &[Blocks<f32>], search: Search) -> Found<f32> {
    query.run(families, search)
}

#[inline(never)]
fn run_f64(query: &Query<'_, f64>, families: &[Blocks<f64>], search: Search) -> Found<f64> {
    query.run(families, search)
}

struct Query<'a, T> {
    arch: Arch,
    /// `[N, D]`
    points: &'a [T],
    dimension: usize,
    top: usize,
    pieces: bool,
}

/// A part of the points, with where their results go.
struct Part<'a, T> {
    order: &'a mut [u32],
    entries: &'a mut [Entry<T>],
}

impl<T: Element> Query<'_, T> {
    fn run(&self, families: &[Blocks<T>], search: Search) -> Found<T> {
        let count = self.points.len() / self.dimension;
        let size = families.len() * self.top;
        let lowest = Entry { score: T::min_value(), number: u32::MAX };
        let mut entries = vec![lowest; count * size];
        let mut order: Vec<u32> = (0..count as u32).collect();
        if families.is_empty() || count == 0 {
            return Found { entries, scored: 0 };
        }
        match search {
            Search::Exhaustive => {
                let part = Part { order: &mut order, entries: &mut entries };
                let scored = self.compare_in_parts(part, families);
                Found { entries, scored }
            }
            Search::Pruned => {
                let mut found = vec![lowest; count * size];
                // Several times as many roots as threads, as dividing the first box is no work for many.
                let chunk = count.div_ceil(2 * rayon::current_num_threads()).max(2 * PARTS * LEAF);
                let parts = order.par_chunks_mut(chunk).zip(found.par_chunks_mut(chunk * size));
                let scored =
                    parts.map(|(order, entries)| self.descend(Part { order, entries }, families, 0)).sum();
                for (&n, from) in order.iter().zip(found.chunks_exact(size)) {
                    entries[n as usize * size..][..size].copy_from_slice(from);
                }
                Found { entries, scored }
            }
        }
    }

    fn point(&self, n: u32) -> &[T] {
        &self.points[n as usize * self.dimension..][..self.dimension]
    }

    /// Fills a strip `[D, width]` with points; the last one again and again where there are too few.
    fn fill(&self, strip: &mut [T], width: usize, points: impl Iterator<Item = u32>) {
        let mut last = 0;
        for (column, n) in points.take(width).enumerate() {
            for (d, &x) in self.point(n).iter().enumerate() {
                strip[d * width + column] = x;
            }
            last = column;
        }
        for row in strip.chunks_exact_mut(width) {
            let value = row[last];
            row[last..].fill(value);
        }
    }

    /// Compares all points of a part with all pieces.
    fn compare(&self, part: Part<'_, T>, families: &[Blocks<T>]) -> u64 {
        let width = strip::<T>(self.arch, families[0].dimension());
        let size = families.len() * self.top;
        let mut points = vec![T::zero(); families[0].dimension() * width];
        let (mut scores, mut positions) =
            (vec![T::zero(); self.top * width], vec![T::zero(); self.top * width]);
        for (order, entries) in part.order.chunks(width).zip(part.entries.chunks_mut(width * size)) {
            self.fill(&mut points, width, order.iter().copied());
            for (family, blocks) in families.iter().enumerate() {
                if self.pieces || self.top > 1 {
                    blocks.search(self.arch, &points, &mut scores, &mut positions);
                } else {
                    blocks.largest(self.arch, &points, &mut scores, &mut positions);
                }
                for (column, entries) in entries.chunks_exact_mut(size).enumerate() {
                    for (t, entry) in entries[family * self.top..][..self.top].iter_mut().enumerate() {
                        let position = number(positions[t * width + column]);
                        *entry = Entry { score: scores[t * width + column], number: position };
                        if self.pieces && position != u32::MAX {
                            entry.number = blocks.number(position as usize);
                        }
                    }
                }
            }
        }
        part.order.len() as u64 * families.iter().map(|blocks| blocks.len() as u64).sum::<u64>()
    }

    /// The same, without pieces that cannot be among the best.
    fn descend(&self, part: Part<'_, T>, families: &[Blocks<T>], depth: usize) -> u64 {
        let most = families.iter().map(Blocks::len).max().unwrap_or(0);
        if part.order.len() <= LEAF || most <= FEW_PIECES.max(self.top) || depth == DEEPEST {
            return self.compare_in_parts(part, families);
        }
        let bounds = Bounds::of(self.dimension, part.order.iter().map(|&n| self.point(n)));
        let width = strip::<T>(self.arch, families[0].dimension());
        let mut points = vec![T::zero(); families[0].dimension() * width];
        let step = part.order.len().div_ceil(width);
        self.fill(&mut points, width, part.order.iter().step_by(step).copied());
        let mut scored = 0;
        let few: Vec<Blocks<T>> = families
            .iter()
            .map(|blocks| {
                scored += (width * blocks.len()) as u64;
                thin(self.arch, blocks, &bounds, &points, self.top)
            })
            .collect();
        let parts = self.divide(part, few.len() * self.top, &bounds);
        if parts.len() == 1 {
            return scored + parts.into_iter().map(|part| self.compare_in_parts(part, &few)).sum::<u64>();
        }
        scored + parts.into_par_iter().map(|part| self.descend(part, &few, depth + 1)).sum::<u64>()
    }

    fn compare_in_parts(&self, part: Part<'_, T>, families: &[Blocks<T>]) -> u64 {
        let size = families.len() * self.top;
        if part.order.len() <= CHUNK {
            return self.compare(part, families);
        }
        let parts = part.order.par_chunks_mut(CHUNK).zip(part.entries.par_chunks_mut(CHUNK * size));
        parts.map(|(order, entries)| self.compare(Part { order, entries }, families)).sum()
    }

    /// Divides points into boxes of equal sides; those without points are left out.
    fn divide<'a>(&self, part: Part<'a, T>, size: usize, bounds: &Bounds<T>) -> Vec<Part<'a, T>> {
        let sides = match self.dimension {
            1 => PARTS,
            2 => 8,
            3 => 4,
            _ => 2,
        };
        // The widest dimensions first, as many as there are parts for.
        let mut axes: Vec<(f64, usize)> = (0..self.dimension)
            .map(|d| (bounds.high[d].f64() - bounds.low[d].f64(), d))
            .filter(|&(extent, _)| extent > 0.0)
            .collect();
        axes.sort_by(|a, b| b.0.total_cmp(&a.0));
        axes.truncate(PARTS.ilog(sides) as usize);
        let scales: Vec<(usize, T, T)> =
            axes.iter().map(|&(extent, d)| (d, bounds.low[d], T::of(sides as f64 / extent))).collect();
        let cell = |n: u32| {
            let point = self.point(n);
            scales.iter().fold(0, |cell, &(d, low, scale)| {
                let side = ((point[d] - low) * scale).f64() as usize;
                cell * sides + side.min(sides - 1)
            })
        };
        let cells: Vec<u8> = part.order.iter().map(|&n| cell(n) as u8).collect();
        let mut starts = [0; PARTS + 1];
        for &cell in &cells {
            starts[cell as usize + 1] += 1;
        }
        let mut counts = starts;
        for i in 1..=PARTS {
            starts[i] += starts[i - 1];
        }
        let mut sorted = vec![0; part.order.len()];
        let mut next = starts;
        for (&cell, &n) in cells.iter().zip(&*part.order) {
            sorted[next[cell as usize]] = n;
            next[cell as usize] += 1;
        }
        part.order.copy_from_slice(&sorted);
        let (mut order, mut entries) = (part.order, part.entries);
        let mut parts = vec![];
        for count in counts[1..].iter_mut().filter(|count| **count > 0) {
            let (first, rest) = order.split_at_mut(*count);
            let (of_first, of_rest) = entries.split_at_mut(*count * size);
            parts.push(Part { order: first, entries: of_first });
            (order, entries) = (rest, of_rest);
        }
        parts
    }
}

/// The pieces that may be among the best `top` within some bounds, judged by the best ones at a strip of samples there.
pub(in crate::engine::cpu) fn thin<T: Element>(
    arch: Arch,
    blocks: &Blocks<T>,
    bounds: &Bounds<T>,
    samples: &[T],
    top: usize,
) -> Blocks<T> {
    let width = samples.len() / blocks.dimension();
    let (mut scores, mut positions) = (vec![T::zero(); top * width], vec![T::zero(); top * width]);
    blocks.search(arch, samples, &mut scores, &mut positions);
    let mut best: Vec<usize> = positions.iter().map(|&p| number(p) as usize).collect();
    best.sort_unstable();
    best.dedup();
    best.retain(|&position| position < blocks.len());
    let step = best.len().div_ceil(REFERENCES * top).max(1);
    let references: Vec<usize> = best.into_iter().step_by(step).collect();
    blocks.take(&blocks.prune(arch, bounds, &references, top))
}
