//! The lower and the upper envelope of many affine pieces, with the active piece of each.

use std::ops::Range;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::{Curvature, EnvelopeSpec, EnvelopeValues, Jets};

use super::pairs::{PairTile, PointTiles, PreparedJets};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

/// Envelopes of a batch of points over the anchors seen so far.
pub struct CpuEnvelope<S> {
    points: PointTiles<S>,
    layout: Layout,
    /// For each tile of points its lower and its upper half.
    tiles: Vec<[Half<S>; 2]>,
}

/// How the envelopes of a tile lie in memory: rows `[families, C, slots, K]`, each as wide as the tile.
struct Layout {
    outputs: usize,
    families: usize,
    slots: usize,
    /// Half the curvatures `[C][K]`, `a / 2` and `b / 2`.
    halves: Vec<Vec<[f64; 2]>>,
}

/// One half. The upper one is kept negated, so that both take maxima: of `sign * T - half * d^2`.
struct Half<S> {
    values: Vec<S>,
    /// Active anchors; empty if not wanted.
    pieces: Vec<u32>,
}

/// The signs of the lower and of the upper half.
const SIGNS: [f64; 2] = [1.0, -1.0];

impl Layout {
    fn row(&self, family: usize, variant: usize, slot: usize, output: usize) -> usize {
        ((family * self.halves.len() + variant) * self.slots + slot) * self.outputs + output
    }

    fn rows(&self) -> usize {
        self.families * self.halves.len() * self.slots * self.outputs
    }

    /// The output of a row, and half its curvature on one side.
    fn of_row(&self, row: usize, side: usize) -> (usize, f64) {
        let (output, variant) = (row % self.outputs, row / self.outputs / self.slots % self.halves.len());
        (output, self.halves[variant][output][side])
    }
}

impl<S: Scalar> CpuEnvelope<S> {
    pub(super) fn new(points: &CpuTensor<S>, outputs: usize, center: &[f64], spec: &EnvelopeSpec) -> Self {
        let points = PointTiles::new(points, center);
        let halves = |c: &Vec<_>| c.iter().map(half_curvatures).collect();
        let layout = Layout {
            outputs,
            families: spec.families,
            slots: spec.slots,
            halves: spec.curvatures.iter().map(halves).collect(),
        };
        let size = layout.rows() * points.width();
        let half = || Half {
            values: vec![S::min_value(); size],
            pieces: vec![u32::MAX; if spec.pieces { size } else { 0 }],
        };
        let tiles = points.tiles().iter().map(|_| [half(), half()]).collect();
        Self { points, layout, tiles }
    }

    pub(super) fn add(&mut self, jets: &Jets<CpuBuffer<S>>, first: usize, slots: &[u32]) {
        let Self { points, layout, tiles } = self;
        let prepared = points.prepare(jets);
        let anchors = jets.points.rows();
        let arch = pulp::Arch::new();
        points.for_each(&prepared, tiles, |halves, _, pairs| {
            // One compiled copy of the loops for each instruction set, chosen by the processor at hand.
            wide(
                arch,
                #[inline(always)]
                || fold(layout, halves, &pairs, first, |family, anchor| slots[family * anchors + anchor]),
            );
        });
        tiles.par_iter_mut().zip(points.tiles()).for_each(|(halves, tile)| {
            for (column, n) in tile.range.clone().enumerate() {
                refine(layout, halves, column, points.point(n), &prepared, first..first + anchors);
            }
        });
    }

    pub(super) fn finish(self) -> EnvelopeValues<S> {
        let Self { points, layout, tiles } = self;
        let count = points.points();
        let width = points.width();
        fn gather<T: Copy>(
            (rows, count, width): (usize, usize, usize),
            empty: T,
            tiles: impl Iterator<Item = (usize, Vec<T>)>,
        ) -> Vec<T> {
            let mut all = vec![empty; rows * count];
            for (start, values) in tiles {
                let seen = width.min(count - start);
                for (row, values) in values.chunks_exact(width).enumerate() {
                    all[row * count + start..][..seen].copy_from_slice(&values[..seen]);
                }
            }
            all
        }
        let size = (layout.rows(), count, width);
        let wants_pieces = tiles.iter().any(|[lower, _]| !lower.pieces.is_empty());
        let piece_size = if wants_pieces { size } else { (0, count, width) };
        let (mut lower, mut upper, mut lower_piece, mut upper_piece) = (vec![], vec![], vec![], vec![]);
        for ([low, high], tile) in tiles.into_iter().zip(points.tiles()) {
            let start = tile.range.start;
            lower.push((start, low.values));
            upper.push((start, high.values));
            lower_piece.push((start, low.pieces));
            upper_piece.push((start, high.pieces));
        }
        let mut upper = gather(size, S::zero(), upper.into_iter());
        upper.iter_mut().for_each(|v| *v = -*v);
        EnvelopeValues {
            lower: gather(size, S::zero(), lower.into_iter()),
            upper,
            lower_piece: gather(piece_size, u32::MAX, lower_piece.into_iter()),
            upper_piece: gather(piece_size, u32::MAX, upper_piece.into_iter()),
        }
    }
}

fn half_curvatures(c: &Curvature) -> [f64; 2] {
    [c.a / 2.0, c.b / 2.0]
}

/// Takes a tile of pairs into the envelopes of its points.
#[inline(always)]
fn fold<S: Scalar>(
    layout: &Layout,
    halves: &mut [Half<S>; 2],
    pairs: &PairTile<'_, S>,
    first: usize,
    slot_of: impl Fn(usize, usize) -> u32,
) {
    let width = pairs.width;
    let mut scores = vec![S::zero(); width];
    for output in 0..layout.outputs {
        for variant in 0..layout.halves.len() {
            for (local, anchor) in pairs.anchors.clone().enumerate() {
                let at = local * layout.outputs + output;
                let slopes = &pairs.slopes[at * width..(at + 1) * width];
                let squared = &pairs.squared[local * width..(local + 1) * width];
                for (side, half) in halves.iter_mut().enumerate() {
                    let sign = S::of(SIGNS[side]);
                    let offset = sign * pairs.offsets[at];
                    let bend = S::of(layout.halves[variant][output][side]);
                    for ((score, &slope), &square) in scores.iter_mut().zip(slopes).zip(squared) {
                        *score = sign * slope + (offset - bend * square);
                    }
                    for family in 0..layout.families {
                        let slot = slot_of(family, anchor);
                        if slot == u32::MAX {
                            continue;
                        }
                        let row = layout.row(family, variant, slot as usize, output) * width;
                        let values = &mut half.values[row..row + width];
                        if half.pieces.is_empty() {
                            for (value, &score) in values.iter_mut().zip(&scores) {
                                *value = if score > *value { score } else { *value };
                            }
                        } else {
                            let piece = (first + anchor) as u32;
                            let pieces = &mut half.pieces[row..row + width];
                            for ((value, active), &score) in values.iter_mut().zip(pieces).zip(&scores) {
                                let better = score > *value;
                                *value = if better { score } else { *value };
                                *active = if better { piece } else { *active };
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Recomputes the values of those pieces of a point that are among `anchors`, from the difference itself.
fn refine<S: Scalar>(
    layout: &Layout,
    halves: &mut [Half<S>; 2],
    column: usize,
    point: &[S],
    jets: &PreparedJets<'_, S>,
    anchors: Range<usize>,
) {
    for (side, half) in halves.iter_mut().enumerate() {
        let width = half.values.len() / layout.rows();
        for (row, pieces) in half.pieces.chunks_exact(width).enumerate() {
            let anchor = pieces[column] as usize;
            if anchors.contains(&anchor) {
                let (output, bend) = layout.of_row(row, side);
                let (tangent, squared) = jets.exact(point, anchor - anchors.start, output);
                half.values[row * width + column] = S::of(SIGNS[side] * tangent - bend * squared);
            }
        }
    }
}
