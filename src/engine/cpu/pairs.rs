//! Tangents and squared distances of every pair of point and anchor, tile by tile, never all at once.
//!
//! The envelopes and the secant curvature consume these tiles: one product for the tangents of all outputs, one for
//! the distances that they share, or these from the differences themselves.

use std::ops::Range;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::Jets;

use super::distances::squared_distances;
use super::product::{View, product};
use super::{CpuBuffer, CpuTensor};

/// Points in a tile at most: a row of scores is then 1 KiB in f32, so the rows that a fold walks stay in L1.
pub(super) const POINTS: usize = 256;

/// Rows of scores in a tile (anchors times outputs): 256 KiB of scores in f32, half of a Zen 3 core's L2.
pub(super) const ROWS: usize = 256;

/// Points are padded to a multiple of this, the width of the widest register in f32.
pub(super) const LANES: usize = 16;

/// Centred points, each tile laid out `[D, width]` so that the product reads it without packing.
pub(super) struct PointTiles<S> {
    center: Vec<f64>,
    points: CpuTensor<S>,
    width: usize,
    exact: bool,
    tiles: Vec<PointTile<S>>,
}

pub(super) struct PointTile<S> {
    /// Which points these are; the rest of the width is padding.
    pub range: Range<usize>,
    transposed: Vec<S>,
    /// The same not centred; empty where distances are expanded.
    own: Vec<S>,
    /// `|x|^2` of each centred point.
    pub norms: Vec<S>,
}

/// Centred anchors with what depends on them alone.
pub(super) struct PreparedJets<'a, S> {
    jets: &'a Jets<CpuBuffer<S>>,
    centered: Vec<S>,
    /// `v_i - J_i x_i` for each anchor and output.
    offsets: Vec<S>,
    norms: Vec<S>,
}

/// The pairs of one tile of points and a few anchors.
pub(super) struct PairTile<'a, S> {
    /// Which anchors of the jets these are.
    pub anchors: Range<usize>,
    /// Points, padding included: the length of every row.
    pub width: usize,
    /// `J_i x` `[anchors, K, width]`: tangents less their offsets.
    pub slopes: &'a [S],
    /// `v_i - J_i x_i` `[anchors, K]`.
    pub offsets: &'a [S],
    /// `|x - x_i|^2` `[anchors, width]`, at least 0. Expanded, they are wrong by 1e-7 of `|x|^2 + |x_i|^2`.
    pub squared: &'a [S],
    /// `|x_i|^2` of the centred anchors.
    pub norms: &'a [S],
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
        let least = rayon::current_num_threads().min(count.div_ceil(LANES)).max(1);
        let number = count.div_ceil(POINTS).max(least);
        let width = count.div_ceil(number).next_multiple_of(LANES);
        let tiles = (0..count)
            .into_par_iter()
            .step_by(width)
            .map(|start| {
                let range = start..(start + width).min(count);
                let mut transposed = vec![S::zero(); dimension * width];
                let mut own = vec![S::zero(); if exact { dimension * width } else { 0 }];
                let mut norms = vec![S::zero(); width];
                for (column, x) in points.row_range(range.clone()).chunks_exact(dimension).enumerate() {
                    let mut norm = 0.0;
                    for (row, (&x, c)) in x.iter().zip(center).enumerate() {
                        if exact {
                            own[row * width + column] = x;
                        }
                        let x = x.f64() - c;
                        norm += x * x;
                        transposed[row * width + column] = S::of(x);
                    }
                    norms[column] = S::of(norm);
                }
                PointTile { range, transposed, own, norms }
            })
            .collect();
        Self { center: center.to_vec(), points: points.clone(), width, exact, tiles }
    }

    pub(super) fn points(&self) -> usize {
        self.points.rows()
    }

    /// A point as it came, not centred.
    pub(super) fn point(&self, n: usize) -> &[S] {
        self.points.row_range(n..n + 1)
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn tiles(&self) -> &[PointTile<S>] {
        &self.tiles
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
        PreparedJets { jets, centered, offsets, norms }
    }

    /// Calls `fold` with every tile of pairs, anchors ascending, and the state of its tile of points.
    pub(super) fn for_each<T: Send>(
        &self,
        jets: &PreparedJets<'_, S>,
        states: &mut [T],
        fold: impl Fn(&mut T, &PointTile<S>, PairTile<'_, S>) + Sync,
    ) {
        let (dimension, width) = (self.center.len(), self.width);
        let anchors = jets.norms.len();
        let outputs = jets.offsets.len() / anchors.max(1);
        let step = (ROWS / outputs).max(1);
        let (two, zero) = (S::of(2.0), S::zero());
        states.par_iter_mut().zip(&self.tiles).for_each_init(
            || (vec![zero; step * outputs * width], vec![zero; step * width]),
            |(slopes, squared), (state, tile)| {
                let points = View::new(&tile.transposed, dimension, width);
                for start in (0..anchors).step_by(step) {
                    let range = start..(start + step).min(anchors);
                    let slopes = &mut slopes[..range.len() * outputs * width];
                    let jacobians = jets.jets.jacobians.row_range(range.clone());
                    product(View::new(jacobians, range.len() * outputs, dimension), points, slopes, false);
                    let squared = &mut squared[..range.len() * width];
                    if self.exact {
                        squared_distances(
                            &tile.own,
                            jets.jets.points.row_range(range.clone()),
                            width,
                            squared,
                        );
                    } else {
                        let centered = &jets.centered[range.start * dimension..range.end * dimension];
                        product(View::new(centered, range.len(), dimension), points, squared, false);
                        for (row, &norm) in squared.chunks_exact_mut(width).zip(&jets.norms[range.clone()]) {
                            for (s, &n) in row.iter_mut().zip(&tile.norms) {
                                *s = (n + norm - two * *s).max(zero);
                            }
                        }
                    }
                    let pairs = PairTile {
                        width,
                        slopes,
                        offsets: &jets.offsets[range.start * outputs..range.end * outputs],
                        squared,
                        norms: &jets.norms[range.clone()],
                        anchors: range,
                    };
                    fold(state, tile, pairs);
                }
            },
        );
    }
}

impl<S: Scalar> PreparedJets<'_, S> {
    /// The tangent of output `k` at anchor `i`, and the squared distance, in f64 from the difference itself: in
    /// f32 the expanded distance is wrong by 1e-4 on MNIST, and half the curvature multiplies it.
    pub(super) fn exact(&self, point: &[S], i: usize, k: usize) -> (f64, f64) {
        let anchor = self.jets.points.row_range(i..i + 1);
        let dimension = point.len();
        let slope = &self.jets.jacobians.row_range(i..i + 1)[k * dimension..(k + 1) * dimension];
        // Sums in eight lanes: one alone waits for each addition before the next.
        let (mut rise, mut squared) = ([0.0; 8], [0.0; 8]);
        for ((p, x), j) in point.chunks(8).zip(anchor.chunks(8)).zip(slope.chunks(8)) {
            for lane in 0..p.len() {
                let difference = p[lane].f64() - x[lane].f64();
                rise[lane] += j[lane].f64() * difference;
                squared[lane] += difference * difference;
            }
        }
        let value = self.jets.values.row_range(i..i + 1)[k].f64();
        (value + rise.iter().sum::<f64>(), squared.iter().sum())
    }
}

fn dot<S: Scalar>(a: &[S], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.f64() * b).sum()
}
