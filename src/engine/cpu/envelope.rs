//! The lower and the upper envelope of many affine pieces, with the active pieces of each.

use std::any::TypeId;
use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::{Curvature, EnvelopeSpec, EnvelopeValues, Jets, Search};

use super::best::{Scores, insert, number, of_number, take_row};
use super::max_affine::blocks::FEW;
use super::max_affine::few::{Family, best_pieces};
use super::pairs::{PairTile, PointTiles, PreparedJets, centered};
use super::select::select;
use super::tile::{Aligned, Element, Shape, VECTORS};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

mod basis;
mod bounds;
mod skip;

use skip::Skip;

/// Envelopes of a batch of points over the anchors seen so far.
pub struct CpuEnvelope<S> {
    points: PointTiles<S>,
    layout: Layout,
    /// For each tile of points its lower and its upper half.
    tiles: Vec<[Half<S>; 2]>,
    /// What rules anchors out, in high dimension; then the points lie in its order.
    skip: Option<Skip<S>>,
    search: Search,
    /// Whether anchors count as affine pieces: in few dimensions, of a single family.
    planes: bool,
    /// Pairs of point and anchor whose scores were computed, of each output.
    scored: u64,
}

/// How the envelopes of a tile lie in memory: rows `[families, C, slots, K]`, of each the best pieces `[top, width]`.
struct Layout {
    outputs: usize,
    families: usize,
    slots: usize,
    top: usize,
    /// Half the curvatures `[C][K]`, `a / 2` and `b / 2`.
    halves: Vec<Vec<[f64; 2]>>,
}

/// One half. The upper one is kept negated, so that both take maxima: of `sign * T - half * d^2`.
struct Half<S> {
    /// Scores, as they were compared: what comes later is compared with the same, so that the winner does not depend on
    /// where one batch of anchors ends and the next begins. Of few dimensions without the `half * |x|^2` of all.
    values: Vec<S>,
    /// The values of active anchors from the difference itself; empty where `values` are to stand for them.
    exact: Vec<S>,
    /// Active anchors, as [numbers](of_number); empty if not wanted.
    pieces: Vec<S>,
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
        let dimension = center.len();
        let skips = spec.search == Search::Pruned
            && (spec.families * spec.slots, spec.top) == (1, 1)
            && dimension >= skip::LEAST_DIMENSION
            && points.rows() >= skip::LEAST_POINTS;
        let skip = skips.then(|| Skip::new(&centered(points, center), dimension, Shape::new::<S>().width));
        let points = match &skip {
            Some(skip) => PointTiles::new(&select(points, 0, &skip.order), center),
            None => PointTiles::new(points, center),
        };
        let halves = |c: &Vec<_>| c.iter().map(half_curvatures).collect();
        let layout = Layout {
            outputs,
            families: spec.families,
            slots: spec.slots,
            top: spec.top,
            halves: spec.curvatures.iter().map(halves).collect(),
        };
        let size = layout.rows() * layout.top * points.width();
        let planes = layout.families * layout.slots == 1 && (1..=FEW).contains(&dimension);
        let keeps = layout.top == 1 && (planes || spec.pieces);
        let half = || Half {
            values: vec![S::min_value(); size],
            exact: vec![S::min_value(); if keeps { size } else { 0 }],
            pieces: vec![of_number(u32::MAX); if spec.pieces { size } else { 0 }],
        };
        let tiles = points.tiles().map(|_| [half(), half()]).collect();
        Self { points, layout, tiles, skip, search: spec.search, planes, scored: 0 }
    }

    pub(super) fn add(&mut self, jets: &Jets<CpuBuffer<S>>, first: usize, slots: &[u32]) {
        let Self { points, layout, tiles, skip, .. } = self;
        let prepared = points.prepare(jets);
        let anchors = jets.points.rows();
        if self.planes {
            self.scored += add_planes(points, layout, tiles, &prepared, (first, slots), self.search);
            return;
        }
        let alone = layout.families * layout.slots == 1 && slots.iter().all(|&slot| slot == 0);
        let all = (points.points() * anchors * layout.outputs) as u64;
        let slots = (!alone).then_some(slots);
        let skip = skip.as_mut().filter(|_| alone && anchors >= skip::LEAST_ANCHORS);
        match skip.and_then(|skip| skip.add(points, layout, tiles, &prepared, first)) {
            Some(computed) => self.scored += computed.min(all),
            None => {
                points.for_each(&prepared, tiles, |halves, pairs| {
                    let scalar = PhantomData::<S>;
                    Fold { layout, halves, pairs: &pairs, first, slots, scalar }.run(points.arch());
                });
                self.scored += all;
            }
        }
        tiles.par_iter_mut().zip(points.tiles().collect::<Vec<_>>()).for_each(|(halves, tile)| {
            wide(
                points.arch(),
                #[inline(always)]
                || {
                    for (column, n) in tile.clone().enumerate() {
                        refine(layout, halves, column, points.point(n), &prepared, first..first + anchors);
                    }
                },
            );
        });
    }

    pub(super) fn finish(self) -> EnvelopeValues<S> {
        let Self { points, layout, tiles, skip, scored, .. } = self;
        let (count, width) = (points.points(), points.width());
        fn gather<S: Scalar, T: Copy + Send + Sync + Default>(
            (rows, count, width): (usize, usize, usize),
            order: Option<&[u32]>,
            tiles: &[[Half<S>; 2]],
            values: impl Fn(&[Half<S>; 2]) -> &[S] + Sync,
            convert: impl Fn(S) -> T + Sync,
        ) -> Vec<T> {
            let mut all = vec![T::default(); rows * count];
            all.par_chunks_mut(count.max(1)).enumerate().for_each(|(row, all)| {
                let values = tiles.iter().flat_map(|tile| &values(tile)[row * width..][..width]);
                for (n, &value) in values.take(count).enumerate() {
                    all[order.map_or(n, |order| order[n] as usize)] = convert(value);
                }
            });
            all
        }
        let size = (layout.rows() * layout.top, count, width);
        let wants_pieces = tiles.iter().any(|[lower, _]| !lower.pieces.is_empty());
        let pieces = if wants_pieces { size } else { (0, count, width) };
        let order = skip.as_ref().map(|skip| &skip.order[..]);
        EnvelopeValues {
            lower: gather(size, order, &tiles, |[lower, _]| lower.found(), |value| value),
            upper: gather(size, order, &tiles, |[_, upper]| upper.found(), |value: S| -value),
            lower_piece: gather(pieces, order, &tiles, |[lower, _]| &lower.pieces, number),
            upper_piece: gather(pieces, order, &tiles, |[_, upper]| &upper.pieces, number),
            scored,
        }
    }
}

impl<S> Half<S> {
    fn found(&self) -> &[S] {
        if self.exact.is_empty() { &self.values } else { &self.exact }
    }
}

fn half_curvatures(c: &Curvature) -> [f64; 2] {
    [c.a / 2.0, c.b / 2.0]
}

/// Takes a tile of pairs into the envelopes of its points.
struct Fold<'a, S, T> {
    layout: &'a Layout,
    halves: &'a mut [Half<S>; 2],
    pairs: &'a PairTile<'a, S>,
    /// The number of the jets' first anchor.
    first: usize,
    /// `[families, M]`; without them every anchor feeds the only slot.
    slots: Option<&'a [u32]>,
    scalar: PhantomData<T>,
}

impl<S: Scalar> Fold<'_, S, S> {
    fn run(self, arch: Arch) {
        let Self { layout, halves, pairs, first, slots, .. } = self;
        if TypeId::of::<S>() == TypeId::of::<f32>() {
            arch.dispatch(Fold { layout, halves, pairs, first, slots, scalar: PhantomData::<f32> });
        } else {
            arch.dispatch(Fold { layout, halves, pairs, first, slots, scalar: PhantomData::<f64> });
        }
    }
}

impl<S: Scalar, T: Element> WithSimd for Fold<'_, S, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Self { layout, halves, pairs, first, slots, .. } = self;
        let size = layout.top * pairs.width;
        let mut feeds = vec![];
        if let Some(slots) = slots {
            let of_family = slots.chunks_exact(slots.len() / layout.families).enumerate();
            for (family, slots) in of_family {
                let fed =
                    slots[pairs.anchors.clone()].iter().enumerate().filter(|(_, slot)| **slot != u32::MAX);
                feeds
                    .extend(fed.map(|(i, &slot)| (i as u32, layout.row(family, 0, slot as usize, 0) * size)));
            }
            feeds.sort_by_key(|&(local, _)| local);
        }
        let mut rows = Aligned::new(if feeds.is_empty() { 0 } else { pairs.anchors.len() * pairs.width });
        for output in 0..layout.outputs {
            for (variant, bends) in layout.halves.iter().enumerate() {
                for (side, half) in halves.iter_mut().enumerate() {
                    let values = cast_slice_mut::<S, T>(&mut half.values);
                    let pieces = cast_slice_mut::<S, T>(&mut half.pieces);
                    let scores = Scores {
                        sign: T::of(SIGNS[side]),
                        bend: T::of(bends[output][side]),
                        slopes: cast_slice(pairs.slopes_of(output)),
                        squared: cast_slice(pairs.squared),
                        offsets: cast_slice(pairs.offsets_of(output)),
                        first: (first + pairs.anchors.start) as u32,
                        numbers: &[],
                    };
                    let row = layout.row(0, variant, 0, output) * size;
                    if slots.is_none() {
                        let pieces = pieces.get_mut(row..row + size).unwrap_or_default();
                        scores.take_with::<V>(simd, &mut values[row..row + size], pieces);
                        continue;
                    }
                    let (rows, _) = T::vectors_mut::<V>(&mut rows).as_chunks_mut::<VECTORS>();
                    let mut next = rows.iter_mut();
                    scores.for_each(simd, |_, scores| {
                        if let Some(row) = next.next() {
                            *row = scores;
                        }
                    });
                    for &(local, start) in &feeds {
                        let range = row + start..row + start + size;
                        let pieces = pieces.get_mut(range.clone()).unwrap_or_default();
                        let number = scores.first + local;
                        take_row::<T, V>(simd, &rows[local as usize], number, &mut values[range], pieces);
                    }
                }
            }
        }
    }
}

/// Takes anchors of few dimensions that feed the only slot into the only family's envelopes, as affine pieces: a score is
/// `(sign J_i + 2 bend x_i) . x + sign (v_i - J_i x_i) - bend |x_i|^2`, less `bend |x|^2` that all have in common.
/// Returns how many pairs were compared, of all outputs and both halves half each.
fn add_planes<S: Scalar>(
    points: &PointTiles<S>,
    layout: &Layout,
    tiles: &mut [[Half<S>; 2]],
    jets: &PreparedJets<'_, S>,
    (first, slots): (usize, &[u32]),
    search: Search,
) -> u64 {
    let rows = layout.rows();
    let sides: Vec<(usize, usize)> = (0..2).flat_map(|side| (0..rows).map(move |row| (side, row))).collect();
    let families: Vec<Family<S>> = sides
        .par_iter()
        .map(|&(side, row)| {
            let (output, bend) = layout.of_row(row, side);
            let mut family = Family::default();
            for anchor in (0..jets.anchors()).filter(|&anchor| slots[anchor] == 0) {
                let (x, slope) = (jets.centered(anchor), jets.slope(anchor, output));
                let (mut norm, mut rise) = (0.0, 0.0);
                for (x, slope) in x.iter().zip(slope) {
                    let (x, slope) = (x.f64(), SIGNS[side] * slope.f64());
                    norm += x * x;
                    rise += slope * x;
                    family.slopes.push(S::of(slope + 2.0 * bend * x));
                }
                let value = SIGNS[side] * jets.value(anchor, output);
                family.offsets.push(S::of(value - rise - bend * norm));
                family.numbers.push(anchor as u32);
            }
            family
        })
        .collect();
    let (top, width, dimension) = (layout.top, points.width(), jets.dimension());
    let found = best_pieces(&points.centered(), dimension, &families, (top, true), search);
    let size = top * width;
    tiles.par_iter_mut().zip(points.tiles().collect::<Vec<_>>()).for_each(|(halves, tile)| {
        for (column, n) in tile.enumerate() {
            let of_point = &found.entries[n * sides.len() * top..][..sides.len() * top];
            for (&(side, row), best) in sides.iter().zip(of_point.chunks_exact(top)) {
                let (output, bend) = layout.of_row(row, side);
                let Half { values, exact, pieces } = &mut halves[side];
                let range = row * size..(row + 1) * size;
                let pieces = pieces.get_mut(range.clone()).unwrap_or_default();
                for entry in best.iter().filter(|entry| entry.number != u32::MAX) {
                    let (tangent, squared) = jets.exact(points.point(n), entry.number as usize, output);
                    let value = S::of(SIGNS[side] * tangent - bend * squared);
                    let number = first as u32 + entry.number;
                    let Some(exact) = exact.get_mut(range.start + column) else {
                        insert(&mut values[range.clone()], pieces, width, column, value, number);
                        continue;
                    };
                    let before = &mut values[range.start + column];
                    if entry.score > *before {
                        (*before, *exact) = (entry.score, value);
                        if let Some(piece) = pieces.get_mut(column) {
                            *piece = of_number(number);
                        }
                    }
                }
            }
        }
    });
    found.scored / 2
}

/// Recomputes the values of those pieces of a point that are among `anchors`, from the difference itself; several of a
/// row are put into the order that this gives them.
#[inline(always)]
fn refine<S: Scalar>(
    layout: &Layout,
    halves: &mut [Half<S>; 2],
    column: usize,
    point: &[S],
    jets: &PreparedJets<'_, S>,
    anchors: Range<usize>,
) {
    for (side, half) in halves.iter_mut().enumerate() {
        let width = half.values.len() / layout.rows() / layout.top;
        let size = layout.top * width;
        for (row, (pieces, values)) in
            half.pieces.chunks_exact_mut(size).zip(half.values.chunks_exact_mut(size)).enumerate()
        {
            let (output, bend) = layout.of_row(row, side);
            for at in (column..size).step_by(width) {
                let anchor = number(pieces[at]) as usize;
                if anchors.contains(&anchor) {
                    let (tangent, squared) = jets.exact(point, anchor - anchors.start, output);
                    let value = S::of(SIGNS[side] * tangent - bend * squared);
                    match half.exact.get_mut(row * size + at) {
                        Some(exact) => *exact = value,
                        None => values[at] = value,
                    }
                }
                let mut at = at;
                while at >= width && values[at] > values[at - width] {
                    values.swap(at, at - width);
                    pieces.swap(at, at - width);
                    at -= width;
                }
            }
        }
    }
}
