//! Secant curvatures: how strongly a network bends between anchors and points, from values alone.

use std::ops::Range;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::{Curvature, Jets};
use crate::tolerance;

use super::pairs::{PairTile, PointTiles, PreparedJets};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

/// Pairs closer than this share of `|x|^2 + |x_i|^2` are computed from the difference itself: the expanded
/// distance keeps four digits there in f32, and nothing is left of them much closer.
const NEAR: f64 = 0.05;

/// The largest ratios `2 (T_i - g) / d^2` and `2 (g - T_i) / d^2` over the pairs seen so far.
pub struct CpuSecant<S> {
    points: PointTiles<S>,
    /// `[K][N]`
    values: Vec<Vec<S>>,
    largest: Largest,
}

/// For each output the largest ratio of the lower and of the upper side.
type Largest = Vec<[f64; 2]>;

/// The extremes of one tile of points over a block of anchors.
struct Extremes<S> {
    /// `[K, 2, width]`: for each point the largest ratio on either side, rounded.
    ratios: Vec<S>,
    /// The anchors that attain them.
    anchors: Vec<u32>,
    /// Exact ratios of close pairs.
    near: Largest,
}

impl<S: Scalar> CpuSecant<S> {
    pub(super) fn new(points: &CpuTensor<S>, values: &CpuTensor<S>, center: &[f64]) -> Self {
        let outputs = values.len() / values.rows().max(1);
        let column = |k| values.values().iter().skip(k).step_by(outputs).copied().collect();
        Self {
            points: PointTiles::new(points, center),
            values: (0..outputs).map(column).collect(),
            largest: vec![[0.0; 2]; outputs],
        }
    }

    pub(super) fn add(&mut self, jets: &Jets<CpuBuffer<S>>) {
        let Self { points, values, largest } = self;
        let (outputs, width) = (values.len(), points.width());
        let prepared = points.prepare(jets);
        let empty = || Extremes {
            ratios: vec![S::zero(); outputs * 2 * width],
            anchors: vec![u32::MAX; outputs * 2 * width],
            near: vec![[0.0; 2]; outputs],
        };
        let mut tiles: Vec<Extremes<S>> = points.tiles().map(|_| empty()).collect();
        points.for_each(&prepared, &mut tiles, |extremes, pairs| {
            wide(
                points.arch(),
                #[inline(always)]
                || fold(values, extremes, &pairs),
            );
            take_near(points, values, extremes, &pairs, &prepared);
        });
        let exact: Vec<Largest> = tiles
            .into_par_iter()
            .zip(points.tiles().collect::<Vec<_>>())
            .map(|(extremes, tile)| recompute(points, values, extremes, tile, &prepared))
            .collect();
        for exact in exact {
            merge(largest, &exact);
        }
    }

    /// A little above the largest ratio: the pair that attains it was found among rounded ones.
    pub(super) fn finish(self) -> Vec<Curvature> {
        let above = 1.0 + tolerance::CLOSE;
        self.largest.iter().map(|&[a, b]| Curvature { a: a * above, b: b * above }).collect()
    }
}

fn merge(largest: &mut Largest, other: &Largest) {
    for (largest, other) in largest.iter_mut().zip(other) {
        *largest = [largest[0].max(other[0]), largest[1].max(other[1])];
    }
}

/// Takes the pairs of a tile that are far enough apart.
#[inline(always)]
fn fold<S: Scalar>(values: &[Vec<S>], extremes: &mut Extremes<S>, pairs: &PairTile<'_, S>) {
    let width = pairs.width;
    let (two, zero, near) = (S::of(2.0), S::zero(), S::of(NEAR));
    let mut ratios = vec![zero; width];
    for (output, values) in values.iter().enumerate() {
        let values = &values[pairs.points.clone()];
        let rows = pairs.slopes_of(output).chunks_exact(width).zip(pairs.squared.chunks_exact(width));
        let anchors = pairs.anchors.clone().zip(pairs.offsets_of(output)).zip(pairs.norms);
        for (((anchor, &offset), &norm), (slopes, squared)) in anchors.zip(rows) {
            let columns = slopes.iter().zip(squared).zip(pairs.own_norms).zip(values);
            for (ratio, (((&slope, &square), &own), &value)) in ratios.iter_mut().zip(columns) {
                let far = square > near * (norm + own);
                *ratio = if far { two * (slope + (offset - value)) / square } else { zero };
            }
            for (side, sign) in [S::one(), -S::one()].into_iter().enumerate() {
                let row = (output * 2 + side) * width;
                let largest = extremes.ratios[row..row + width].iter_mut();
                let anchors = &mut extremes.anchors[row..row + width];
                for ((largest, active), &ratio) in largest.zip(anchors).zip(&ratios[..values.len()]) {
                    let better = sign * ratio > *largest;
                    *largest = if better { sign * ratio } else { *largest };
                    *active = if better { anchor as u32 } else { *active };
                }
            }
        }
    }
}

/// Takes the pairs of a tile that are too close for the expanded distance; equal points say nothing.
fn take_near<S: Scalar>(
    points: &PointTiles<S>,
    values: &[Vec<S>],
    extremes: &mut Extremes<S>,
    pairs: &PairTile<'_, S>,
    jets: &PreparedJets<'_, S>,
) {
    for (local, anchor) in pairs.anchors.clone().enumerate() {
        let squared = &pairs.squared[local * pairs.width..][..pairs.points.len()];
        for (column, (&square, &own)) in squared.iter().zip(pairs.own_norms).enumerate() {
            if square <= S::of(NEAR) * (pairs.norms[local] + own) {
                let n = pairs.points.start + column;
                for (output, values) in values.iter().enumerate() {
                    let exact = ratio(jets, points.point(n), values[n].f64(), anchor, output);
                    let near = &mut extremes.near[output];
                    *near = [near[0].max(exact), near[1].max(-exact)];
                }
            }
        }
    }
}

/// The exact ratios of the pairs that came out on top.
fn recompute<S: Scalar>(
    points: &PointTiles<S>,
    values: &[Vec<S>],
    extremes: Extremes<S>,
    tile: Range<usize>,
    jets: &PreparedJets<'_, S>,
) -> Largest {
    let mut largest = extremes.near;
    for (column, n) in tile.enumerate() {
        for (row, anchors) in extremes.anchors.chunks_exact(points.width()).enumerate() {
            if anchors[column] != u32::MAX {
                let (output, side) = (row / 2, row % 2);
                let value = values[output][n].f64();
                let exact = ratio(jets, points.point(n), value, anchors[column] as usize, output);
                largest[output][side] = largest[output][side].max(if side == 0 { exact } else { -exact });
            }
        }
    }
    largest
}

/// `2 (T_i - g) / d^2`, 0 for equal points.
fn ratio<S: Scalar>(
    jets: &PreparedJets<'_, S>,
    point: &[S],
    value: f64,
    anchor: usize,
    output: usize,
) -> f64 {
    let (tangent, squared) = jets.exact(point, anchor, output);
    if squared > 0.0 { 2.0 * (tangent - value) / squared } else { 0.0 }
}
