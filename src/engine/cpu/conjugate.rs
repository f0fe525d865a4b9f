//! The discrete Legendre-Fenchel conjugate on grids: lower hulls and merges (Lucet 1997), one axis after the other.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::ConjugateValues;

use super::{CpuTensor, pool};

/// Lines that are taken out of the columns of a matrix together: two cache lines of `f32`, four of `f64`.
const LINES: usize = 32;

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
        if columns == 1 && picked.is_none() {
            self.line(&mut Hull::default(), values, &mut maxima, &mut picks);
            return (pool::Buffer::new(maxima), pool::Buffer::new(picks));
        }
        let sign = if picked.is_some() { -S::one() } else { S::one() };
        let tiles = maxima.par_chunks_mut(m * LINES).zip(picks.par_chunks_mut(m * LINES)).enumerate();
        let stride = n + GAP;
        let start = || (vec![S::zero(); stride * LINES.min(columns)], Hull::default());
        tiles.for_each_init(start, |(lines, hull), (tile, (maxima, picks))| {
            let first = tile * LINES;
            gather(values, columns, first..first + maxima.len() / m, sign, lines, stride);
            hull.rough = false;
            let lines =
                lines.chunks_exact(stride).zip(maxima.chunks_exact_mut(m).zip(picks.chunks_exact_mut(m)));
            for (column, (line, (maxima, picks))) in (first..).zip(lines) {
                self.line(hull, &line[..n], maxima, picks);
                for pick in picks.iter_mut().filter(|pick| **pick != u32::MAX) {
                    let element = *pick as usize * columns + column;
                    *pick = picked.map_or(element as u32, |picked| picked[element]);
                }
            }
        });
        (pool::Buffer::new(maxima), pool::Buffer::new(picks))
    }

    /// The maxima of one line, and which points attain them.
    fn line(&self, hull: &mut Hull, values: &[S], maxima: &mut [S], picks: &mut [u32]) {
        hull.find(self.points, values);
        if hull.numbers.is_empty() {
            maxima.fill(S::min_value());
            picks.fill(u32::MAX);
        } else {
            hull.merge(self.points, values, self.slopes, maxima, picks);
        }
    }
}

/// Some columns of `[n, columns]`, times `sign`, as lines that are `stride` apart.
fn gather<S: Scalar>(
    values: &[S],
    columns: usize,
    some: Range<usize>,
    sign: S,
    lines: &mut [S],
    stride: usize,
) {
    for (i, row) in values.chunks_exact(columns).enumerate() {
        for (line, &value) in lines.chunks_exact_mut(stride).zip(&row[some.clone()]) {
            line[i] = sign * value;
        }
    }
}

/// The vertices of the lower convex hull of a function's graph on a line.
///
/// Whatever the type of the values, edges are computed in `f64`: differences of neighbours on a fine grid have no digits
/// left in `f32`.
#[derive(Default)]
struct Hull {
    /// Which points they are, by increasing `x`.
    numbers: Vec<u32>,
    /// The slope of the edge that ends at each, strictly increasing; of the first, minus infinity.
    edges: Vec<f64>,
    /// Points that may be vertices.
    kept: Vec<u32>,
    /// Whether functions are rough: then most points are dropped before.
    rough: bool,
}

impl Hull {
    /// The hull of the points whose values are below the largest number. What lies on an edge is no vertex.
    ///
    /// Points that are taken back are what costs: the processor cannot foresee them (of 512 random values, 13 ns a
    /// point, and 1.4 ns of a convex function). A function that takes back more than a few counts as rough.
    fn find<S: Scalar>(&mut self, points: &[S], values: &[S]) {
        let patience = points.len() / 32 + 16;
        if !self.rough {
            self.rough = !self.take(points, values, 0..points.len() as u32, patience);
        }
        if self.rough {
            let kept = self.drop_by_neighbours(points, values);
            let candidates = std::mem::take(&mut self.kept);
            self.take(points, values, candidates[..kept].iter().copied(), usize::MAX);
            self.kept = candidates;
        }
    }

    /// The hull of some points, by increasing `x` (Andrew 1979), unless more than so many are taken back.
    fn take<S: Scalar>(
        &mut self,
        points: &[S],
        values: &[S],
        candidates: impl Iterator<Item = u32>,
        patience: usize,
    ) -> bool {
        let n = points.len();
        self.numbers.resize(n, 0);
        self.edges.resize(n, 0.0);
        let (numbers, edges, values) = (&mut self.numbers[..n], &mut self.edges[..n], &values[..n]);
        let (mut count, mut back) = (0, 0);
        for number in candidates {
            let f = values[number as usize];
            if f >= S::max_value() {
                continue;
            }
            let mut edge = f64::NEG_INFINITY;
            while count > 0 {
                let last = numbers[count - 1] as usize;
                edge = rise(values, last, number as usize) / rise(points, last, number as usize);
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
        true
    }

    /// Drops points that do not lie below the segment between their neighbours, several times, without a branch for each
    /// (2.8 ns a point for random values, of which a few are left); returns how many of `kept` remain.
    fn drop_by_neighbours<S: Scalar>(&mut self, points: &[S], values: &[S]) -> usize {
        let n = points.len();
        self.kept.resize(n, 0);
        let kept = &mut self.kept[..n];
        let below = |[a, b, c]: [usize; 3]| {
            rise(values, a, b) * rise(points, b, c) < rise(values, b, c) * rise(points, a, b)
        };
        let mut count = 1;
        kept[0] = 0;
        for number in 1..n - 1 {
            kept[count] = number as u32;
            count += usize::from(below([number - 1, number, number + 1]));
        }
        kept[count] = n as u32 - 1;
        count += 1;
        for _ in 0..4 {
            let (mut fewer, mut before) = (1, kept[0]);
            for i in 1..count - 1 {
                let number = kept[i];
                kept[fewer] = number;
                fewer += usize::from(below([before, number, kept[i + 1]].map(|number| number as usize)));
                before = number;
            }
            kept[fewer] = kept[count - 1];
            fewer += 1;
            let done = fewer * 8 > count * 7;
            count = fewer;
            if done {
                break;
            }
        }
        count
    }

    /// For each slope `max_x (s x - f(x))` and the first point that attains it. The maximisers of
    /// increasing slopes lie ever farther to the right: vertices and slopes are merged like sorted lists.
    fn merge<S: Scalar>(
        &self,
        points: &[S],
        values: &[S],
        slopes: &[S],
        maxima: &mut [S],
        picks: &mut [u32],
    ) {
        let edges = &self.edges[..self.numbers.len()];
        let vertex = |i: usize| {
            let number = self.numbers[i];
            (number, points[number as usize].f64(), values[number as usize].f64())
        };
        if edges.len() * 8 < slopes.len() {
            // Few vertices, with many slopes each.
            let mut start = 0;
            for i in 0..edges.len() {
                let next = edges.get(i + 1).copied().unwrap_or(f64::INFINITY);
                let end = start + slopes[start..].partition_point(|slope| slope.f64() <= next);
                let (number, x, f) = vertex(i);
                for (maximum, slope) in maxima[start..end].iter_mut().zip(&slopes[start..end]) {
                    *maximum = S::of(slope.f64() * x - f);
                }
                picks[start..end].fill(number);
                start = end;
            }
            return;
        }
        let mut at = 0;
        for ((maximum, pick), slope) in maxima.iter_mut().zip(picks).zip(slopes) {
            let slope = slope.f64();
            while at + 1 < edges.len() && slope > edges[at + 1] {
                at += 1;
            }
            let (number, x, f) = vertex(at);
            *maximum = S::of(slope * x - f);
            *pick = number;
        }
    }
}

/// How much larger number `b` is than number `a`.
#[inline]
fn rise<S: Scalar>(numbers: &[S], a: usize, b: usize) -> f64 {
    numbers[b].f64() - numbers[a].f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hull(points: &[f64], values: &[f64]) -> Hull {
        let mut hull = Hull::default();
        hull.find(points, values);
        hull
    }

    #[test]
    fn hulls_have_no_points_on_edges_or_outside_the_domain() {
        let found = hull(&[0.0, 1.0, 2.0, 3.0, 5.0, 6.0], &[f64::INFINITY, 1.0, 1.0, 1.0, 1.5, 9.0]);
        assert_eq!(found.numbers, [1, 3, 4, 5]);
        assert_eq!(found.edges, [f64::NEG_INFINITY, 0.0, 0.25, 7.5]);
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
            assert!(found.rough || values[1] == f64::MAX);
            let mut plain = Hull::default();
            assert!(plain.take(&points, &values, 0..1000, usize::MAX));
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
            found.merge(&points, &values, &slopes, &mut maxima, &mut picks);
            let first: Vec<(f64, u32)> = maxima.into_iter().zip(picks).step_by(times).collect();
            assert_eq!(first, [(8.0, 0), (0.0, 0), (0.0, 1), (0.0, 1), (0.5, 2), (2.0, 2)]);
        }
    }
}
