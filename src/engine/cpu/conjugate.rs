//! The discrete Legendre-Fenchel conjugate on grids: lower hulls and merges (Lucet 1997), one axis after the other.

use std::ops::Range;
use std::sync::Arc;

use pulp::Arch;
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::ConjugateValues;

use super::wide::wide;
use super::{CpuTensor, pool};

/// Lines that are taken out of the columns of a matrix together: two cache lines of `f32`, four of `f64`.
const LINES: usize = 32;

/// Neighbours whose least value stands for them first.
const BLOCK: usize = 16;

/// Elements between the ends of lines: without them a power of two would bring all lines to the same sets of the cache.
const GAP: usize = 8;

/// A conjugate, and the elements that attain it.
pub struct CpuConjugate<S> {
    values: CpuTensor<S>,
    maximisers: pool::Buffer<u32>,
}

impl<S: Scalar> CpuConjugate<S> {
    pub(super) fn new(values: &CpuTensor<S>, axes: &[&[S]], slopes: &[&[S]]) -> Self {
        let shape: Vec<usize> = slopes.iter().map(|slopes| slopes.len()).collect();
        let passes: Vec<_> =
            axes.iter().zip(slopes).map(|(points, slopes)| Pass { points, slopes }).collect();
        let (first, later) = match passes.split_first() {
            Some((first, later)) => (first.run(values.values(), None), later),
            None => unreachable!("a grid has axes"),
        };
        let (values, maximisers) =
            later.iter().fold(first, |(values, picked), pass| pass.run(&values, Some(&picked)));
        Self { values: CpuTensor::new(shape, Arc::new(values)), maximisers }
    }

    pub(super) fn values(&self) -> CpuTensor<S> {
        self.values.clone()
    }

    pub(super) fn finish(self) -> ConjugateValues<S> {
        ConjugateValues { values: self.values.values().to_vec(), maximisers: self.maximisers.to_vec() }
    }
}

/// The pass over one axis.
struct Pass<'a, S> {
    points: &'a [S],
    slopes: &'a [S],
}

impl<S: Scalar> Pass<'_, S> {
    /// From `[n, columns]` to `[columns, m]`: after a pass over each axis they lie in their order again. `picked` are
    /// the elements that the pass before picked; its maxima count as a function by their negatives.
    fn run(&self, values: &[S], picked: Option<&[u32]>) -> (pool::Buffer<S>, pool::Buffer<u32>) {
        let (n, m) = (self.points.len(), self.slopes.len());
        let columns = values.len() / n;
        let mut maxima = pool::take(columns * m);
        let mut picks = pool::take(columns * m);
        let absent = S::max_value().f64();
        if columns == 1 && picked.is_none() {
            Line { points: self.points, values, absent }.maxima(
                &mut Hull::default(),
                self.slopes,
                &mut maxima,
                &mut picks,
            );
            return (pool::Buffer::new(maxima), pool::Buffer::new(picks));
        }
        // Converted once: each number of a line is read several times.
        let wide = |axis: &[S]| axis.iter().map(|x| x.f64()).collect::<Vec<f64>>();
        let (points, slopes) = (&wide(self.points)[..], &wide(self.slopes)[..]);
        let sign = if picked.is_some() { -1.0 } else { 1.0 };
        let tiles = maxima.par_chunks_mut(m * LINES).zip(picks.par_chunks_mut(m * LINES)).enumerate();
        let stride = n + GAP;
        let start = || (vec![0.0; stride * LINES.min(columns)], Hull::default());
        tiles.for_each_init(start, |(lines, hull), (tile, (maxima, picks))| {
            let first = tile * LINES;
            gather(values, columns, first..first + maxima.len() / m, sign, lines, stride);
            hull.looks = Looks::default();
            let lines =
                lines.chunks_exact(stride).zip(maxima.chunks_exact_mut(m).zip(picks.chunks_exact_mut(m)));
            for (column, (line, (maxima, picks))) in (first..).zip(lines) {
                Line { points, values: &line[..n], absent }.maxima(hull, slopes, maxima, picks);
                for pick in picks.iter_mut().filter(|pick| **pick != u32::MAX) {
                    let element = *pick as usize * columns + column;
                    *pick = picked.map_or(element as u32, |picked| picked[element]);
                }
            }
        });
        (pool::Buffer::new(maxima), pool::Buffer::new(picks))
    }
}

/// A function on one line; values from `absent` on are outside its domain.
#[derive(Clone, Copy)]
struct Line<'a, T> {
    points: &'a [T],
    values: &'a [T],
    absent: f64,
}

impl<T: Scalar> Line<'_, T> {
    /// For each slope `max_x (s x - f(x))`, and which point attains it.
    fn maxima<S: Scalar>(self, hull: &mut Hull, slopes: &[T], maxima: &mut [S], picks: &mut [u32]) {
        hull.find(self);
        if hull.numbers.is_empty() {
            maxima.fill(S::min_value());
            picks.fill(u32::MAX);
        } else {
            hull.merge(self, slopes, maxima, picks);
        }
    }

    /// The slope of the edge from point `a` to point `b`.
    #[inline]
    fn edge(self, a: usize, b: usize) -> f64 {
        rise(self.values, a, b) / rise(self.points, a, b)
    }
}

/// Some columns of `[n, columns]`, times `sign`, as lines that are `stride` apart.
fn gather<S: Scalar>(
    values: &[S],
    columns: usize,
    some: Range<usize>,
    sign: f64,
    lines: &mut [f64],
    stride: usize,
) {
    for (i, row) in values.chunks_exact(columns).enumerate() {
        for (line, &value) in lines.chunks_exact_mut(stride).zip(&row[some.clone()]) {
            line[i] = sign * value.f64();
        }
    }
}

/// What a function seemed to be so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Looks {
    #[default]
    Convex,
    Smooth,
    Rough,
}

/// The vertices of the lower convex hull of a function's graph on a line.
///
/// Whatever the type of the values, edges are computed in `f64`: differences of neighbours on a fine grid have no digits
/// left in `f32`.
#[derive(Default)]
struct Hull {
    /// Which points they are, by increasing `x`.
    numbers: Vec<u32>,
    /// The slope of the edge that ends at each, strictly increasing; of the first, minus infinity. Then infinity.
    edges: Vec<f64>,
    /// Points that may be vertices.
    kept: Vec<u32>,
    /// How the next function is treated first.
    looks: Looks,
}

impl Hull {
    /// The hull of the points that are there. What lies on an edge is no vertex.
    ///
    /// Points that are taken back are what costs: the processor cannot foresee them (of 512 random values 13 ns a point,
    /// of a convex function 1.4 ns). A function that takes back more than a few counts as rough, and its points are
    /// thinned before.
    fn find<T: Scalar>(&mut self, line: Line<'_, T>) {
        let n = line.points.len();
        if self.looks == Looks::Convex && !self.take_all(line) {
            self.looks = Looks::Smooth;
        }
        if self.looks == Looks::Smooth && !self.take(line, 0..n as u32, n / 32 + 16) {
            self.looks = Looks::Rough;
        }
        if self.looks == Looks::Rough {
            self.thin(line);
            let kept = std::mem::take(&mut self.kept);
            self.take(line, kept.iter().copied(), usize::MAX);
            self.kept = kept;
        }
    }

    /// Every point, if that is the hull: without a branch for each.
    fn take_all<T: Scalar>(&mut self, line: Line<'_, T>) -> bool {
        let Line { points, values, absent } = line;
        self.edges.resize(points.len() + 1, 0.0);
        self.edges[points.len()] = f64::INFINITY;
        let edges = &mut self.edges[..points.len()];
        let mut convex = true;
        wide(
            Arch::new(),
            #[inline(always)]
            || {
                edges[0] = f64::NEG_INFINITY;
                let neighbours = values.windows(2).zip(points.windows(2));
                for (edge, (f, x)) in edges[1..].iter_mut().zip(neighbours) {
                    *edge = rise(f, 0, 1) / rise(x, 0, 1);
                }
                convex = values.iter().fold(true, |there, f| there & (f.f64() < absent))
                    & edges.windows(2).fold(true, |ascend, pair| ascend & (pair[0] < pair[1]));
            },
        );
        if convex {
            self.numbers.clear();
            self.numbers.extend(0..points.len() as u32);
        }
        convex
    }

    /// The hull of some points, by increasing `x` (Andrew 1979), unless more than so many are taken back.
    fn take<T: Scalar>(
        &mut self,
        line: Line<'_, T>,
        candidates: impl Iterator<Item = u32>,
        patience: usize,
    ) -> bool {
        let n = line.points.len();
        self.numbers.resize(n, 0);
        self.edges.resize(n, 0.0);
        let (numbers, edges) = (&mut self.numbers[..n], &mut self.edges[..n]);
        let (mut count, mut back) = (0, 0);
        for number in candidates {
            if line.values[number as usize].f64() >= line.absent {
                continue;
            }
            let mut edge = f64::NEG_INFINITY;
            while count > 0 {
                edge = line.edge(numbers[count - 1] as usize, number as usize);
                // The first has no edge, and stays.
                if edge > edges[count - 1] {
                    break;
                }
                count -= 1;
                back += 1;
            }
            if back > patience {
                return false;
            }
            (numbers[count], edges[count]) = (number, edge);
            count += 1;
        }
        self.numbers.truncate(count);
        self.edges.truncate(count);
        self.edges.push(f64::INFINITY);
        true
    }

    /// Leaves in `kept` the points that may be vertices: those below the hull of the least values of every 16 neighbours
    /// (of random values few are left: 2.4 ns a point in all).
    fn thin<T: Scalar>(&mut self, line: Line<'_, T>) {
        let Line { points, values, .. } = line;
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        let arch = Arch::new();
        wide(
            arch,
            #[inline(always)]
            || {
                let (blocks, rest) = values.as_chunks::<BLOCK>();
                let end = blocks.len() * BLOCK;
                kept.extend(
                    (0..).step_by(BLOCK).zip(blocks).map(|(start, block)| start + least(block) as u32),
                );
                kept.extend((0..rest.len()).map(|i| (end + i) as u32));
            },
        );
        self.take(line, kept.iter().copied(), usize::MAX);
        kept.clear();
        let n = points.len() as u32;
        let (Some(&first), Some(&last)) = (self.numbers.first(), self.numbers.last()) else {
            self.kept = kept;
            return;
        };
        kept.extend(0..first);
        for (ends, &edge) in self.numbers.windows(2).zip(&self.edges[1..]) {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            kept.push(ends[0]);
            let (x, f) = (points[start].f64(), values[start].f64());
            let below = |(&point, &value): (&T, &T)| value.f64() - f < edge * (point.f64() - x);
            for from in (start + 1..end).step_by(2 * BLOCK) {
                let some = from..(from + 2 * BLOCK).min(end);
                let points = || points[some.clone()].iter().zip(&values[some.clone()]);
                let mut any = false;
                wide(
                    arch,
                    #[inline(always)]
                    || any = points().fold(false, |any, point| any | below(point)),
                );
                if any {
                    let numbered = (from as u32..).zip(points());
                    kept.extend(numbered.filter(|&(_, point)| below(point)).map(|(number, _)| number));
                }
            }
        }
        kept.extend(last..n);
        self.kept = kept;
    }

    /// For each slope `max_x (s x - f(x))` and the first point that attains it. The maximisers of
    /// increasing slopes lie ever farther to the right: vertices and slopes are merged like sorted lists.
    fn merge<T: Scalar, S: Scalar>(
        &self,
        line: Line<'_, T>,
        slopes: &[T],
        maxima: &mut [S],
        picks: &mut [u32],
    ) {
        let (numbers, edges) = (&self.numbers[..], &self.edges[..]);
        let vertex = |at: usize| {
            let number = numbers[at];
            (number, line.points[number as usize].f64(), line.values[number as usize].f64())
        };
        if numbers.len() * 8 < slopes.len() {
            // Few vertices, with many slopes each.
            let mut start = 0;
            for at in 0..numbers.len() {
                // A search by halves is foreseen no better than one by strides, and takes twice as long.
                let mut end = start;
                while slopes.get(end + BLOCK).is_some_and(|slope| slope.f64() <= edges[at + 1]) {
                    end += BLOCK;
                }
                while slopes.get(end).is_some_and(|slope| slope.f64() <= edges[at + 1]) {
                    end += 1;
                }
                let (number, x, f) = vertex(at);
                wide(
                    Arch::new(),
                    #[inline(always)]
                    || {
                        for (maximum, slope) in maxima[start..end].iter_mut().zip(&slopes[start..end]) {
                            *maximum = S::of(slope.f64() * x - f);
                        }
                        picks[start..end].fill(number);
                    },
                );
                start = end;
            }
            return;
        }
        let mut at = 0;
        for ((maximum, pick), slope) in maxima.iter_mut().zip(picks).zip(slopes) {
            let slope = slope.f64();
            while slope > edges[at + 1] {
                at += 1;
            }
            let (number, x, f) = vertex(at);
            *maximum = S::of(slope * x - f);
            *pick = number;
        }
    }
}

/// Where the least of some values is, of equals the first: by halves, and to the end, as where it stops could not be
/// foreseen.
#[inline(always)]
fn least<T: Scalar>(values: &[T; BLOCK]) -> usize {
    let mut low = *values;
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            low[i] = if low[i + half] < low[i] { low[i + half] } else { low[i] };
        }
    }
    (0..BLOCK).rev().fold(0, |at, i| if values[i] == low[0] { i } else { at })
}

/// How much larger number `b` is than number `a`.
#[inline(always)]
fn rise<S: Scalar>(numbers: &[S], a: usize, b: usize) -> f64 {
    numbers[b].f64() - numbers[a].f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hull(points: &[f64], values: &[f64]) -> Hull {
        let mut hull = Hull::default();
        hull.find(Line { points, values, absent: f64::MAX });
        hull
    }

    #[test]
    fn hulls_have_no_points_on_edges_or_outside_the_domain() {
        let found = hull(&[0.0, 1.0, 2.0, 3.0, 5.0, 6.0], &[f64::INFINITY, 1.0, 1.0, 1.0, 1.5, 9.0]);
        assert_eq!(found.numbers, [1, 3, 4, 5]);
        assert_eq!(found.edges, [f64::NEG_INFINITY, 0.0, 0.25, 7.5, f64::INFINITY]);
        assert!(hull(&[0.0, 1.0], &[f64::INFINITY; 2]).numbers.is_empty());
        assert_eq!(hull(&[3.0], &[-2.0]).numbers, [0]);
    }

    /// Whether or not points are dropped before.
    #[test]
    fn rough_functions_have_the_same_hull() {
        let points: Vec<f64> = (0..1000).map(f64::from).collect();
        // Whole numbers: edges are exact, and many points lie on them.
        let rough: Vec<f64> =
            points.iter().map(|x| ((x * 7919.0) % 101.0) + ((x - 500.0) / 10.0).powi(2).floor()).collect();
        let holes: Vec<f64> =
            rough.iter().enumerate().map(|(i, &v)| if i % 3 == 0 { f64::MAX } else { v }).collect();
        for values in [rough, holes, vec![f64::MAX; 1000]] {
            let found = hull(&points, &values);
            assert!(found.looks == Looks::Rough || values[1] == f64::MAX);
            let mut plain = Hull::default();
            assert!(plain.take(
                Line { points: &points, values: &values, absent: f64::MAX },
                0..1000,
                usize::MAX
            ));
            assert_eq!((found.numbers, found.edges), (plain.numbers, plain.edges));
        }
    }

    #[test]
    fn equal_maxima_go_to_the_first_point() {
        let (points, values) = ([-1.0, 0.0, 1.0, 2.0], [1.0, 0.0, 1.0, 4.0]);
        let found = hull(&points, &values);
        let slopes = [-9.0, -1.0, 0.0, 1.0, 1.5, 3.0];
        // With few slopes to a vertex, and with many.
        for times in [1, 20] {
            let slopes: Vec<f64> = slopes.iter().flat_map(|&slope| vec![slope; times]).collect();
            let (mut maxima, mut picks) = (vec![0.0; slopes.len()], vec![0; slopes.len()]);
            let line = Line { points: &points[..], values: &values[..], absent: f64::MAX };
            found.merge(line, &slopes, &mut maxima, &mut picks);
            let first: Vec<(f64, u32)> = maxima.into_iter().zip(picks).step_by(times).collect();
            assert_eq!(first, [(8.0, 0), (0.0, 0), (0.0, 1), (0.0, 1), (0.5, 2), (2.0, 2)]);
        }
    }
}
