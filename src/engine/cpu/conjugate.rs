//! The discrete Legendre-Fenchel conjugate on grids: lower hulls and merges (Lucet 1997), one axis after the other.

use pulp::Arch;
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::ConjugateValues;

use super::wide::wide;
use super::{CpuTensor, pool};

/// Lines that are taken out of the columns of a matrix together: a cache line of `f32`, two of `f64`.
const LINES: usize = 16;

/// Elements between the ends of lines: without them a power of two would bring all lines to the same sets of the cache.
const GAP: usize = 8;

pub(super) fn conjugate<S: Scalar>(
    values: &CpuTensor<S>,
    axes: &[&[S]],
    slopes: &[&[S]],
) -> ConjugateValues<S> {
    let mut found: Option<(Vec<S>, Vec<u32>)> = None;
    for (points, slopes) in axes.iter().zip(slopes) {
        let wide = |axis: &[S]| axis.iter().map(|x| x.f64()).collect::<Vec<f64>>();
        let pass = Pass { arch: Arch::new(), points: wide(points), slopes: wide(slopes) };
        let next = match &found {
            None => pass.run(values.values(), None),
            Some((values, picked)) => pass.run(values, Some(picked)),
        };
        if let Some((before, _)) = found.replace(next) {
            drop(pool::Buffer::new(before));
        }
    }
    let (values, maximisers) = found.unwrap_or_default();
    ConjugateValues { values, maximisers }
}

/// The pass over one axis. Whatever the type of the values, lines are computed in `f64`: differences of neighbours on
/// a fine grid have no digits left in `f32`.
struct Pass {
    arch: Arch,
    points: Vec<f64>,
    slopes: Vec<f64>,
}

impl Pass {
    /// From `[n, columns]` to `[columns, m]`: after a pass over each axis they lie in their order again. `picked` are
    /// the elements that the pass before picked; its maxima count as a function by their negatives.
    fn run<S: Scalar>(&self, values: &[S], picked: Option<&[u32]>) -> (Vec<S>, Vec<u32>) {
        let (n, m) = (self.points.len(), self.slopes.len());
        let columns = values.len() / n;
        let sign = if picked.is_some() { -1.0 } else { 1.0 };
        let mut maxima = pool::take(columns * m);
        let mut picks = vec![0; columns * m];
        let tiles = maxima.par_chunks_mut(m * LINES).zip(picks.par_chunks_mut(m * LINES)).enumerate();
        let stride = n + GAP;
        let start = || (vec![0.0; stride * LINES.min(columns)], Hull::new(n));
        tiles.for_each_init(start, |(lines, hull), (tile, (maxima, picks))| {
            let first = tile * LINES;
            let count = maxima.len() / m;
            wide(
                self.arch,
                #[inline(always)]
                || {
                    for (i, row) in values.chunks_exact(columns).enumerate() {
                        for (line, value) in row[first..first + count].iter().enumerate() {
                            lines[line * stride + i] = sign * value.f64();
                        }
                    }
                    let results = maxima.chunks_exact_mut(m).zip(picks.chunks_exact_mut(m));
                    for (line, (maxima, picks)) in results.enumerate() {
                        hull.find(&self.points, &lines[line * stride..][..n], S::max_value().f64());
                        let column = first + line;
                        hull.merge(&self.slopes, |i, maximum, vertex| {
                            maxima[i] = S::of(maximum);
                            let element = vertex as usize * columns + column;
                            picks[i] = picked.map_or(element as u32, |picked| picked[element]);
                        });
                        if hull.count == 0 {
                            maxima.fill(S::min_value());
                            picks.fill(u32::MAX);
                        }
                    }
                },
            );
        });
        (maxima, picks)
    }
}

/// The vertices of the lower convex hull of a function's graph on a line.
struct Hull {
    /// `(x, f)` of each, by increasing `x`.
    vertices: Vec<[f64; 2]>,
    /// Which points they are.
    numbers: Vec<u32>,
    /// The slope of the edge that ends at each, strictly increasing; of the first, minus infinity.
    edges: Vec<f64>,
    count: usize,
}

impl Hull {
    fn new(points: usize) -> Self {
        Self {
            vertices: vec![[0.0; 2]; points],
            numbers: vec![0; points],
            edges: vec![0.0; points],
            count: 0,
        }
    }

    /// The hull of the points whose values are below `absent`. What lies on an edge is no vertex.
    #[inline(always)]
    fn find(&mut self, points: &[f64], values: &[f64], absent: f64) {
        let n = points.len();
        let (vertices, numbers, edges) =
            (&mut self.vertices[..n], &mut self.numbers[..n], &mut self.edges[..n]);
        let mut count = 0;
        for (number, (&x, &f)) in points.iter().zip(values).enumerate() {
            if f >= absent {
                continue;
            }
            let mut edge = f64::NEG_INFINITY;
            while count > 0 {
                let [before, below] = vertices[count - 1];
                edge = (f - below) / (x - before);
                // The first has no edge, and stays.
                if edge > edges[count - 1] {
                    break;
                }
                count -= 1;
            }
            (vertices[count], numbers[count], edges[count]) = ([x, f], number as u32, edge);
            count += 1;
        }
        self.count = count;
    }

    /// Calls `found` with each slope's number, `max_x (s x - f)` and the first point that attains it. The maximisers of
    /// increasing slopes lie ever farther to the right: vertices and slopes are merged like sorted lists.
    #[inline(always)]
    fn merge(&self, slopes: &[f64], mut found: impl FnMut(usize, f64, u32)) {
        let (vertices, numbers) = (&self.vertices[..self.count], &self.numbers[..self.count]);
        let edges = &self.edges[..self.count];
        if self.count == 0 {
            return;
        }
        let mut at = 0;
        for (i, &slope) in slopes.iter().enumerate() {
            while at + 1 < edges.len() && slope > edges[at + 1] {
                at += 1;
            }
            let [x, f] = vertices[at];
            found(i, slope * x - f, numbers[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hull(points: &[f64], values: &[f64]) -> Hull {
        let mut hull = Hull::new(points.len());
        hull.find(points, values, f64::MAX);
        hull
    }

    #[test]
    fn hulls_have_no_points_on_edges_or_outside_the_domain() {
        let found = hull(&[0.0, 1.0, 2.0, 3.0, 5.0, 6.0], &[f64::INFINITY, 1.0, 1.0, 1.0, 1.5, 9.0]);
        assert_eq!(found.numbers[..found.count], [1, 3, 4, 5]);
        assert_eq!(found.edges[..found.count], [f64::NEG_INFINITY, 0.0, 0.25, 7.5]);
        assert_eq!(hull(&[0.0, 1.0], &[f64::INFINITY; 2]).count, 0);
        assert_eq!(hull(&[3.0], &[-2.0]).count, 1);
    }

    #[test]
    fn equal_maxima_go_to_the_first_point() {
        let found = hull(&[-1.0, 0.0, 1.0, 2.0], &[1.0, 0.0, 1.0, 4.0]);
        let mut all = vec![];
        found.merge(&[-9.0, -1.0, 0.0, 1.0, 1.5, 3.0], |_, maximum, point| all.push((maximum, point)));
        assert_eq!(all, [(8.0, 0), (0.0, 0), (0.0, 1), (0.0, 1), (0.5, 2), (2.0, 2)]);
    }
}
