//! Tangents and squared distances of every pair of point and anchor, tile by tile, never all at once.
//!
//! The envelopes and the secant curvature consume these tiles while they are in L1: one product for the tangents of
//! all outputs, one for the distances that they share, or these from the differences themselves. Points are laid out
//! once, anchors once for each few hundred points.

use std::ops::Range;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::Jets;

use super::distances::squared_distances;
use super::tile::{Aligned, Order, Shape, lay_out, left_len, multiply, pieces};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

/// Elements of anchors and their Jacobians that are laid out at a time: 512 KiB in f32, so that they stay in L2
/// beside a tile of points.
const LAID_OUT: usize = 1 << 17;

/// Tiles of points that share what is laid out, at most: laying out a row takes as long as a fifth of its product with
/// one tile.
const TILES: usize = 64;

/// Centred points, in tiles as wide as a register tile.
pub(super) struct PointTiles<S> {
    center: Vec<f64>,
    points: CpuTensor<S>,
    shape: Shape,
    /// Each tile `[D, width]`.
    panels: Aligned<S>,
    /// The same not centred; empty where distances are expanded.
    own: Option<Aligned<S>>,
    /// `|x|^2` of each centred point, in whole tiles.
    norms: Vec<S>,
}

/// Centred anchors with what depends on them alone.
pub(super) struct PreparedJets<'a, S> {
    jets: &'a Jets<CpuBuffer<S>>,
    centered: Vec<S>,
    /// `v_i - J_i x_i` `[K, M]`.
    offsets: Vec<S>,
    norms: Vec<S>,
}

/// The pairs of one tile of points and a few anchors, as many as a register tile has rows.
pub(super) struct PairTile<'a, S> {
    /// Which points these are; the rest of the width is padding.
    pub points: Range<usize>,
    /// Which anchors of the jets these are.
    pub anchors: Range<usize>,
    /// Points, padding included: the length of every row.
    pub width: usize,
    /// `J_i x` `[K, anchors, width]`: tangents less their offsets.
    slopes: &'a [S],
    /// `v_i - J_i x_i` `[K, M]`.
    offsets: &'a [S],
    /// `|x - x_i|^2` `[anchors, width]`, at least 0. Expanded, they are wrong by 1e-7 of `|x|^2 + |x_i|^2`.
    pub squared: &'a [S],
    /// `|x_i|^2` of the centred anchors.
    pub norms: &'a [S],
    /// `|x|^2` of the centred points, as wide as the tile.
    pub own_norms: &'a [S],
}

impl<'a, S: Scalar> PairTile<'a, S> {
    /// `J_i x` `[anchors, width]` of one output.
    pub(super) fn slopes_of(&self, output: usize) -> &'a [S] {
        let size = self.anchors.len() * self.width;
        &self.slopes[output * size..][..size]
    }

    /// `v_i - J_i x_i` of one output, for each of the anchors.
    pub(super) fn offsets_of(&self, output: usize) -> &'a [S] {
        let outputs = self.slopes.len() / (self.anchors.len() * self.width);
        let all = self.offsets.len() / outputs;
        &self.offsets[output * all..][self.anchors.clone()]
    }
}

impl<S: Scalar> PointTiles<S> {
    /// Points whose distances are expanded: one product, and all digits but those that `|x|^2` takes.
    pub(super) fn new(points: &CpuTensor<S>, center: &[f64]) -> Self {
        Self::with_distances(points, center, false)
    }

    /// Points whose distances are computed from the difference itself.
    pub(super) fn with_exact_distances(points: &CpuTensor<S>, center: &[f64]) -> Self {
        Self::with_distances(points, center, true)
    }

    fn with_distances(points: &CpuTensor<S>, center: &[f64], exact: bool) -> Self {
        let (count, dimension) = (points.rows(), center.len());
        let shape = Shape::new::<S>();
        let width = shape.width;
        let tiles = count.div_ceil(width);
        let zeros = |length| {
            let mut new = Aligned::new(length);
            new.fill(S::zero());
            new
        };
        let mut panels = zeros(tiles * dimension * width);
        let mut own = exact.then(|| zeros(tiles * dimension * width));
        let mut norms = vec![S::zero(); tiles * width];
        let size = (dimension * width).max(1);
        let of_own = own.iter_mut().flat_map(|own| own.chunks_mut(size).map(Some));
        let of_own: Vec<_> = of_own.chain(std::iter::repeat_with(|| None)).take(tiles).collect();
        let tiles = panels.par_chunks_mut(size).zip(of_own).zip(norms.par_chunks_mut(width)).enumerate();
        tiles.for_each(|(tile, ((panel, mut own), norms))| {
            let range = tile * width..((tile + 1) * width).min(count);
            for (column, x) in points.row_range(range).chunks_exact(dimension.max(1)).enumerate() {
                let mut norm = 0.0;
                for (row, (&x, c)) in x.iter().zip(center).enumerate() {
                    if let Some(own) = &mut own {
                        own[row * width + column] = x;
                    }
                    let x = x.f64() - c;
                    norm += x * x;
                    panel[row * width + column] = S::of(x);
                }
                norms[column] = S::of(norm);
            }
        });
        Self { center: center.to_vec(), points: points.clone(), shape, panels, own, norms }
    }

    pub(super) fn points(&self) -> usize {
        self.points.rows()
    }

    /// A point as it came, not centred.
    pub(super) fn point(&self, n: usize) -> &[S] {
        self.points.row_range(n..n + 1)
    }

    /// The centred points `[N, D]`.
    pub(super) fn centered(&self) -> Vec<S> {
        centered(&self.points, &self.center)
    }

    /// Points of a tile, padding included.
    pub(super) fn width(&self) -> usize {
        self.shape.width
    }

    /// The tiles' size.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// The instructions that tiles are computed with.
    pub(super) fn arch(&self) -> pulp::Arch {
        self.shape.arch
    }

    /// The points of each tile.
    pub(super) fn tiles(&self) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
        let (count, width) = (self.points(), self.width());
        (0..count.div_ceil(width)).map(move |tile| tile * width..((tile + 1) * width).min(count))
    }

    pub(super) fn prepare<'a>(&'a self, jets: &'a Jets<CpuBuffer<S>>) -> PreparedJets<'a, S> {
        let dimension = self.center.len();
        let outputs = jets.values.len() / jets.points.rows().max(1);
        let mut centered = vec![S::zero(); jets.points.len()];
        let mut norms = vec![S::zero(); jets.points.rows()];
        let mut offsets = vec![S::zero(); jets.values.len()];
        let anchors = centered.par_chunks_mut(dimension).zip(&mut norms).zip(offsets.par_chunks_mut(outputs));
        anchors.enumerate().for_each(|(i, ((centered, norm), offsets))| {
            let x: Vec<f64> =
                jets.points.row_range(i..i + 1).iter().zip(&self.center).map(|(x, c)| x.f64() - c).collect();
            *norm = S::of(x.iter().map(|x| x * x).sum());
            centered.iter_mut().zip(&x).for_each(|(to, &x)| *to = S::of(x));
            let slopes = jets.jacobians.row_range(i..i + 1).chunks_exact(dimension);
            for ((offset, v), slope) in offsets.iter_mut().zip(jets.values.row_range(i..i + 1)).zip(slopes) {
                *offset = S::of(v.f64() - dot(slope, &x));
            }
        });
        let by_output = (0..outputs).flat_map(|k| offsets.iter().skip(k).step_by(outputs));
        PreparedJets { jets, centered, offsets: by_output.copied().collect(), norms }
    }

    /// Calls `fold` with every tile of pairs, anchors ascending, and the state of its tile of points.
    pub(super) fn for_each<T: Send>(
        &self,
        jets: &PreparedJets<'_, S>,
        states: &mut [T],
        fold: impl Fn(&mut T, PairTile<'_, S>) + Sync,
    ) {
        let dimension = self.center.len();
        let Shape { rows, width, .. } = self.shape;
        let anchors = jets.norms.len();
        let outputs = jets.offsets.len() / anchors.max(1);
        let exact = self.own.is_some();
        let sources = if exact { 1..outputs + 1 } else { 0..outputs + 1 };
        // The anchors, unless distances are exact, then the Jacobians of each output.
        let source = |number: usize, anchor: usize| match number.checked_sub(1) {
            None => jets.centered(anchor),
            Some(output) => jets.slope(anchor, output),
        };
        let scratch = || (Aligned::new(rows * outputs * width), Aligned::new(rows * width));
        self.for_each_tile(
            anchors,
            sources,
            source,
            states,
            scratch,
            |scratch, state, tile, anchors, left| {
                let count = anchors.len();
                let (slopes, squared) =
                    (&mut scratch.0[..outputs * count * width], &mut scratch.1[..count * width]);
                let norms = &jets.norms[anchors.clone()];
                let own_norms = &self.norms[tile * width..][..width];
                let mut left = left.chunks_exact(left.len() / (outputs + usize::from(!exact)));
                if let Some(own) = &self.own {
                    let panel = tile * dimension * width..(tile + 1) * dimension * width;
                    squared_distances(
                        &own[panel],
                        jets.jets.points.row_range(anchors.clone()),
                        width,
                        squared,
                    );
                } else {
                    self.product(tile, count, left.next().unwrap_or_default(), squared);
                    self.square(tile, norms, squared);
                }
                for (slopes, left) in slopes.chunks_exact_mut(count * width).zip(left) {
                    self.product(tile, count, left, slopes);
                }
                let pairs = PairTile {
                    points: tile * width..((tile + 1) * width).min(self.points()),
                    width,
                    slopes,
                    offsets: &jets.offsets,
                    squared,
                    norms,
                    own_norms,
                    anchors,
                };
                fold(state, pairs);
            },
        );
    }

    /// Calls `fold` with the products `[rows, width]` of every tile of points with a few of `count` rows, ascending.
    pub(super) fn for_each_product<'a, T: Send>(
        &self,
        count: usize,
        row: impl Fn(usize) -> &'a [S] + Sync,
        states: &mut [T],
        fold: impl Fn(&mut T, Range<usize>, &[S]) + Sync,
    ) {
        let Shape { rows, width, .. } = self.shape;
        let scratch = || Aligned::new(rows * width);
        let source = |_, number| row(number);
        self.for_each_tile(count, 0..1, source, states, scratch, |out, state, tile, range, left| {
            let out = &mut out[..range.len() * width];
            self.product(tile, range.len(), left, out);
            fold(state, range, out);
        });
    }

    /// Lays `count` rows of several sources out, a few at a time, and calls `visit` with scratch of the thread, the
    /// state of each tile of points, its number, which rows these are and they: those of one source after the other.
    fn for_each_tile<'a, T: Send, C>(
        &self,
        count: usize,
        sources: Range<usize>,
        source: impl Fn(usize, usize) -> &'a [S] + Sync,
        states: &mut [T],
        scratch: impl Fn() -> C + Sync + Send,
        visit: impl Fn(&mut C, &mut T, usize, Range<usize>, &[S]) + Sync,
    ) where
        S: 'a,
    {
        let rows = self.shape.rows;
        let length = |rows| self.left_len(rows);
        let group = (LAID_OUT / (length(1) * sources.len()).max(1)).next_multiple_of(rows).max(rows);
        let per_task = states.len().div_ceil(rayon::current_num_threads()).clamp(1, TILES);
        states.par_chunks_mut(per_task).enumerate().for_each_init(
            || (Aligned::new(0), scratch()),
            |(left, scratch), (task, states)| {
                for start in (0..count).step_by(group) {
                    let end = (start + group).min(count);
                    let height = self.shape.height(end - start);
                    let tiles = (start..end).step_by(height).map(|start| start..(start + height).min(end));
                    left.resize(length(end - start) * sources.len());
                    let mut rest: &mut [S] = left;
                    for tile in tiles.clone() {
                        for number in sources.clone() {
                            let to = rest.split_off_mut(..length(tile.len())).unwrap_or_default();
                            self.lay_out(tile.len(), |r| source(number, tile.start + r), to);
                        }
                    }
                    for (i, state) in states.iter_mut().enumerate() {
                        let mut at = 0;
                        for tile in tiles.clone() {
                            let left = &left[at..][..length(tile.len()) * sources.len()];
                            at += left.len();
                            visit(scratch, state, task * per_task + i, tile, left);
                        }
                    }
                }
            },
        );
    }

    /// Makes squared distances of the products of a tile's points with anchors of these squared norms.
    pub(super) fn square(&self, tile: usize, norms: &[S], products: &mut [S]) {
        let width = self.width();
        let own_norms = &self.norms[tile * width..][..width];
        let (two, zero) = (S::of(2.0), S::zero());
        wide(
            self.shape.arch,
            #[inline(always)]
            || {
                for (row, &norm) in products.chunks_exact_mut(width).zip(norms) {
                    for (s, &own) in row.iter_mut().zip(own_norms) {
                        let square = own + norm - two * *s;
                        *s = if square > zero { square } else { zero };
                    }
                }
            },
        );
    }

    /// Elements of so many rows, laid out.
    pub(super) fn left_len(&self, rows: usize) -> usize {
        pieces(self.center.len(), 1).map(|piece| left_len(rows, piece.len())).sum()
    }

    /// Lays a few rows out, in pieces of the inner dimension.
    fn lay_out<'a>(&self, rows: usize, row: impl Fn(usize) -> &'a [S], mut to: &mut [S])
    where
        S: 'a,
    {
        for piece in pieces(self.center.len(), 1) {
            let of_piece = to.split_off_mut(..left_len(rows, piece.len())).unwrap_or_default();
            for r in 0..rows {
                lay_out(&row(r)[piece.clone()], r, rows, of_piece);
            }
        }
    }

    /// `out [rows, width]`: the products of a few rows with the points of a tile, laid out in scratch memory.
    pub(super) fn rows_product<'a>(
        &self,
        tile: usize,
        rows: usize,
        row: impl Fn(usize) -> &'a [S],
        left: &mut [S],
        out: &mut [S],
    ) where
        S: 'a,
    {
        self.lay_out(rows, row, left);
        self.product(tile, rows, left, out);
    }

    /// `out [rows, width]`: the products of rows laid out with the points of a tile.
    fn product(&self, tile: usize, rows: usize, mut left: &[S], out: &mut [S]) {
        let (dimension, width) = (self.center.len(), self.width());
        let points = &self.panels[tile * dimension * width..][..dimension * width];
        for piece in pieces(dimension, 1) {
            let right = &points[piece.start * width..piece.end * width];
            let (of_piece, rest) = left.split_at(left_len(rows, piece.len()));
            multiply(self.shape, rows, of_piece, right, Order::Panel, piece.start > 0, out);
            left = rest;
        }
    }
}

impl<S: Scalar> PreparedJets<'_, S> {
    pub(super) fn anchors(&self) -> usize {
        self.norms.len()
    }

    /// The squared norm of anchor `i`, centred.
    pub(super) fn norm(&self, i: usize) -> S {
        self.norms[i]
    }

    /// `v_i - J_i x_i` of one output, for all anchors.
    pub(super) fn offsets_of(&self, output: usize) -> &[S] {
        &self.offsets[output * self.anchors()..][..self.anchors()]
    }

    pub(super) fn dimension(&self) -> usize {
        self.centered.len() / self.norms.len().max(1)
    }

    /// Anchor `i`, centred.
    pub(super) fn centered(&self, i: usize) -> &[S] {
        let dimension = self.dimension();
        &self.centered[i * dimension..(i + 1) * dimension]
    }

    /// The value of output `k` at anchor `i`.
    pub(super) fn value(&self, i: usize, k: usize) -> f64 {
        self.jets.values.row_range(i..i + 1)[k].f64()
    }

    /// The Jacobian's row of output `k` at anchor `i`.
    pub(super) fn slope(&self, i: usize, k: usize) -> &[S] {
        let dimension = self.dimension();
        &self.jets.jacobians.row_range(i..i + 1)[k * dimension..(k + 1) * dimension]
    }

    /// The tangent of output `k` at anchor `i`, and the squared distance, in f64 from the difference itself: in
    /// f32 the expanded distance is wrong by 1e-4 on MNIST, and half the curvature multiplies it.
    #[inline(always)]
    pub(super) fn exact(&self, point: &[S], i: usize, k: usize) -> (f64, f64) {
        let anchor = self.jets.points.row_range(i..i + 1);
        let slope = self.slope(i, k);
        // Sums in eight lanes: one alone waits for each addition before the next.
        let (mut rise, mut squared) = ([0.0; 8], [0.0; 8]);
        for ((p, x), j) in point.chunks(8).zip(anchor.chunks(8)).zip(slope.chunks(8)) {
            for lane in 0..p.len() {
                let difference = p[lane].f64() - x[lane].f64();
                rise[lane] += j[lane].f64() * difference;
                squared[lane] += difference * difference;
            }
        }
        (self.value(i, k) + rise.iter().sum::<f64>(), squared.iter().sum())
    }
}

/// Points `[N, D]`, centred.
pub(super) fn centered<S: Scalar>(points: &CpuTensor<S>, center: &[f64]) -> Vec<S> {
    points.values().iter().zip(center.iter().cycle()).map(|(x, c)| S::of(x.f64() - c)).collect()
}

fn dot<S: Scalar>(a: &[S], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.f64() * b).sum()
}
