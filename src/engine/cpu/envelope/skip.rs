//! Envelopes over the anchors that can matter, in high dimension: bounds rule the others out, exactly.
//!
//! For a tile of similar points every score `sign T_i - bend d_i^2` is bounded from above by a few numbers:
//!
//! ```text
//! d_i^2 >= |Q^T (x - x_i)|^2 + (|x_rest| - |x_i,rest|)^2      Q orthonormal, and what lies beyond it
//! J_i x <= c_i . y + |J_i,b| |x_b| + ...                      a few coordinates, and norms block by block
//! ```
//!
//! both as small products (the orthogonal projections of exact nearest-neighbour and maximum-inner-product search). In
//! the second `x` is scaled so that neither it nor the Jacobians have much beyond the first coordinates; distances are
//! shared by all outputs. A piece is computed in full where its bound reaches what the best of a few likely pieces
//! attains. Margins cover how far either side is off by rounding, so that values and pieces are those of all pairs.

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::cpu::best::{Scores, number, of_number};
use crate::engine::cpu::pairs::{PointTiles, PreparedJets};
use crate::engine::cpu::tile::{Aligned, Order, Shape, left_len, multiply};

use super::basis::{Basis, Projected, samples};
use super::bounds::{ALONG, Along, Bounds, NEAR, OfOutput, Test, unit};
use super::{Half, Layout, SIGNS};

/// Below so many elements a score in full costs little more than its bound.
pub(super) const LEAST_DIMENSION: usize = 64;

/// What the bases and projections cost is as much as so many points against all anchors, about.
pub(super) const LEAST_POINTS: usize = 512;
pub(super) const LEAST_ANCHORS: usize = 512;

/// Tiles that are compared with all anchors first: their winners are likely ones elsewhere.
const PILOTS: usize = 2;

/// Likely winners of each output and half.
const LIKELY: usize = 16;

/// The share of pieces from which on all are computed instead, at a higher rate.
const MANY: f64 = 0.4;

/// Points in an order in which neighbours are alike, and what bounds need of them.
pub(super) struct Skip<S> {
    /// Where each point came from.
    pub order: Vec<u32>,
    near: Basis,
    /// Of the centred points.
    projected: Projected,
    /// Known from the first jets on.
    along: Option<Along<S>>,
    /// Whether bounds turned out to rule out too little.
    hopeless: bool,
}

impl<S: Scalar> Skip<S> {
    /// Orders points `[N, D]`, given centred, into tiles of so many.
    pub(super) fn new(centered: &[S], dimension: usize, width: usize) -> Self {
        let count = centered.len() / dimension;
        let row = |n: usize| &centered[n * dimension..][..dimension];
        let rows: Vec<Vec<f64>> = samples(count).map(|n| row(n).iter().map(|x| x.f64()).collect()).collect();
        let near = Basis::of(&rows, vec![1.0; dimension], NEAR.min(dimension));
        let projected = near.project(count, row);
        let mut order: Vec<u32> = (0..count as u32).collect();
        divide(&projected, &mut order, width);
        let coordinates = order.iter().flat_map(|&n| projected.row(n as usize)).copied().collect();
        let of = |values: &[f64]| order.iter().map(|&n| values[n as usize]).collect();
        let (squared, lengths) = (of(&projected.squared), of(&projected.lengths));
        Self {
            order,
            near,
            projected: Projected { coordinates, squared, lengths },
            along: None,
            hopeless: false,
        }
    }

    /// Takes the anchors of `jets` into the only family's envelopes. Returns how many triples of point, anchor and output
    /// were computed in full; `None` where bounds rule so little out that all anchors are better taken at once.
    pub(super) fn add(
        &mut self,
        points: &PointTiles<S>,
        layout: &Layout,
        tiles: &mut [[Half<S>; 2]],
        jets: &PreparedJets<'_, S>,
        first: usize,
    ) -> Option<u64> {
        if self.hopeless {
            return None;
        }
        let known = self.along.take();
        // Later jets meet what earlier ones attain.
        let first_jets = known.is_none();
        let along = known.unwrap_or_else(|| Along::new(points, &self.projected, jets, layout.outputs));
        let bounds = Bounds::new(points.shape(), &self.near, &along.basis, jets, layout.outputs);
        let along = self.along.insert(along);
        let search = Search { points, layout, jets, first, along, bounds: &bounds };

        // The pilots lie evenly spread.
        let step = tiles.len().div_ceil(PILOTS);
        let pilots: Vec<usize> =
            (0..tiles.len()).skip(step / 2).step_by(step).filter(|_| first_jets).collect();
        let every: Vec<u32> = (0..jets.anchors() as u32).collect();
        let of_pilots = tiles.par_iter_mut().enumerate().filter(|(tile, _)| pilots.contains(tile));
        of_pilots.for_each(|(tile, halves)| {
            let all = vec![every.clone(); layout.outputs];
            search.compute(&mut Scratch::new(), tile, &all, halves);
        });
        let mut computed = (pilots.len() * points.width() * jets.anchors() * layout.outputs) as u64;
        let likely = first_jets.then(|| search.likely(pilots.iter().map(|&tile| &tiles[tile])));
        let all = every.len() * layout.outputs;
        if first_jets && all > 0 {
            let tile = (step / 2 + step / 4 + 1) % tiles.len();
            let lists = search.survivors(&mut Scratch::new(), tile, likely.as_deref(), &tiles[tile]).0;
            let left: usize = lists.iter().map(Vec::len).sum();
            if left as f64 > MANY * all as f64 {
                self.hopeless = true;
                return None;
            }
        }

        let per_task = tiles.len().div_ceil(4 * rayon::current_num_threads()).max(1);
        computed += tiles
            .par_chunks_mut(per_task)
            .enumerate()
            .map(|(task, tiles)| {
                let mut scratch = Scratch::new();
                let mut computed = 0;
                for (i, halves) in tiles.iter_mut().enumerate() {
                    let tile = task * per_task + i;
                    if pilots.contains(&tile) {
                        continue;
                    }
                    let (lists, tried) = search.survivors(&mut scratch, tile, likely.as_deref(), halves);
                    let left: usize = lists.iter().map(Vec::len).sum();
                    search.compute(&mut scratch, tile, &lists, halves);
                    computed += ((left + tried) * points.width()) as u64;
                }
                computed
            })
            .sum::<u64>();
        self.hopeless = computed as f64 > MANY * (tiles.len() * points.width() * all) as f64;
        Some(computed)
    }
}

/// Sorts rows so that each part of `width` is alike: halves, each along the coordinate in which it is widest.
fn divide(projected: &Projected, order: &mut [u32], width: usize) {
    /// Coordinates that are looked at.
    const FIRST: usize = 8;
    if order.len() <= width {
        return;
    }
    let at = |n: u32, axis: usize| projected.row(n as usize)[axis];
    let spread = |axis: usize| {
        let ends = order.iter().map(|&n| at(n, axis));
        ends.clone().fold(f64::MIN, f64::max) - ends.fold(f64::MAX, f64::min)
    };
    let axes = 0..FIRST.min(projected.rank());
    let axis = axes.max_by(|&a, &b| spread(a).total_cmp(&spread(b))).unwrap_or(0);
    let middle = (order.len() / 2).next_multiple_of(width).min(order.len() - 1);
    order.select_nth_unstable_by(middle, |&a, &b| at(a, axis).total_cmp(&at(b, axis)).then(a.cmp(&b)));
    let (before, after) = order.split_at_mut(middle);
    rayon::join(|| divide(projected, before, width), || divide(projected, after, width));
}

/// What a thread computes in.
struct Scratch<S> {
    /// Lower bounds of squared distances `[M, width]`.
    near: Aligned<S>,
    left: Aligned<S>,
    products: Aligned<S>,
    /// Squared distances `[some anchors, width]`.
    squared: Aligned<S>,
    /// Those of the anchors of a tile.
    gathered: Aligned<S>,
    /// Where the squared distances of each anchor are.
    places: Vec<u32>,
}

impl<S: Scalar> Scratch<S> {
    fn new() -> Self {
        let empty = || Aligned::new(0);
        Self {
            near: empty(),
            left: empty(),
            products: empty(),
            squared: empty(),
            gathered: empty(),
            places: vec![],
        }
    }
}

struct Search<'a, S> {
    points: &'a PointTiles<S>,
    layout: &'a Layout,
    jets: &'a PreparedJets<'a, S>,
    /// The number of the jets' first anchor.
    first: usize,
    along: &'a Along<S>,
    bounds: &'a Bounds<S>,
}

impl<S: Scalar> Search<'_, S> {
    /// For each output the anchors that were active most often in either half.
    fn likely<'b>(&self, tiles: impl Iterator<Item = &'b [Half<S>; 2]> + Clone) -> Vec<Vec<u32>>
    where
        S: 'b,
    {
        let width = self.points.width();
        let new = self.first as u32..(self.first + self.jets.anchors()) as u32;
        let of_output = |output: usize| {
            let mut likely = vec![];
            for side in 0..2 {
                for variant in 0..self.layout.halves.len() {
                    let row = self.layout.row(0, variant, 0, output);
                    let pieces =
                        |halves: &'b [Half<S>; 2]| halves[side].pieces.get(row * width..(row + 1) * width);
                    let mut active: Vec<u32> = tiles
                        .clone()
                        .flat_map(|halves| pieces(halves).unwrap_or_default())
                        .map(|&piece| number(piece))
                        .filter(|piece| new.contains(piece))
                        .collect();
                    active.sort_unstable();
                    let mut often: Vec<(usize, u32)> = active
                        .chunk_by(|a, b| a == b)
                        .map(|same| (same.len(), same[0] - new.start))
                        .collect();
                    often.sort_unstable_by_key(|&(count, piece)| (std::cmp::Reverse(count), piece));
                    likely.extend(often.into_iter().take(LIKELY).map(|(_, piece)| piece));
                }
            }
            likely
        };
        (0..self.layout.outputs).map(of_output).collect()
    }

    /// The anchors that may matter to a tile of points, for each output, and how many scores were computed to say so.
    fn survivors(
        &self,
        scratch: &mut Scratch<S>,
        tile: usize,
        likely: Option<&[Vec<u32>]>,
        halves: &[Half<S>; 2],
    ) -> (Vec<Vec<u32>>, usize) {
        let width = self.points.width();
        let nearest = self.bound_distances(scratch, tile);
        // What can be attained: before these jets, or by pieces that are near or active elsewhere.
        let tried: Vec<Vec<u32>> = likely
            .unwrap_or_default()
            .iter()
            .map(|likely| {
                let mut all: Vec<u32> = likely.iter().chain(&nearest).copied().collect();
                all.sort_unstable();
                all.dedup();
                all
            })
            .collect();
        let mut attained =
            halves.each_ref().map(|half| Half { values: half.values.clone(), exact: vec![], pieces: vec![] });
        self.compute(scratch, tile, &tried, &mut attained);
        let seen = self.points.points().saturating_sub(tile * width).min(width);
        for half in &mut attained {
            // Nothing matters to what is no point.
            half.values.chunks_exact_mut(width).for_each(|row| row[seen..].fill(S::max_value()));
        }
        let lists =
            (0..self.layout.outputs).map(|output| self.test(scratch, tile, output, &attained)).collect();
        (lists, tried.iter().map(Vec::len).sum())
    }

    /// Bounds all distances of a tile from below, and finds the anchors that seem nearest to its points.
    fn bound_distances(&self, scratch: &mut Scratch<S>, tile: usize) -> Vec<u32> {
        let Shape { arch, width, rows } = self.bounds.shape;
        let depth = self.along.near.len() / width / self.points.tiles().len() - 2;
        let panel = &self.along.near[tile * (depth + 2) * width..][..(depth + 2) * width];
        let (panel, own) = panel.split_at(depth * width);
        let (own, lengths) = own.split_at(width);
        let margin = S::of(2.0 * unit::<S>(self.jets.dimension()));
        scratch.near.resize(self.bounds.anchors() * width);
        let (mut best, mut nearest) = (vec![S::min_value(); width], vec![of_number(u32::MAX); width]);
        let zeros = vec![S::zero(); rows];
        let mut at = 0;
        for anchors in self.bounds.tiles() {
            let left = &self.bounds.near[at..][..left_len(anchors.len(), depth)];
            at += left.len();
            let out = &mut scratch.near[anchors.start * width..anchors.end * width];
            multiply(self.bounds.shape, anchors.len(), left, panel, Order::Panel, false, out);
            let terms =
                self.bounds.squared[anchors.clone()].iter().zip(&self.bounds.lengths[anchors.clone()]);
            let two = S::of(2.0);
            super::wide(
                arch,
                #[inline(always)]
                || {
                    for (row, (&squared, &length)) in out.chunks_exact_mut(width).zip(terms.clone()) {
                        for ((bound, &own), &own_length) in row.iter_mut().zip(own).zip(lengths) {
                            let reach = own_length + length;
                            *bound = (own + squared - two * *bound) - margin * reach * reach;
                        }
                    }
                },
            );
            let scores = Scores {
                sign: -S::one(),
                bend: S::zero(),
                slopes: out,
                squared: out,
                offsets: &zeros[..anchors.len()],
                first: anchors.start as u32,
                numbers: &[],
            };
            scores.take(arch, &mut best, &mut nearest);
        }
        let mut nearest: Vec<u32> = nearest.into_iter().map(number).filter(|&n| n != u32::MAX).collect();
        nearest.sort_unstable();
        nearest.dedup();
        nearest
    }

    /// The anchors whose bound of one output reaches what is attained at some point of the tile.
    fn test(
        &self,
        scratch: &mut Scratch<S>,
        tile: usize,
        output: usize,
        attained: &[Half<S>; 2],
    ) -> Vec<u32> {
        let Shape { arch, width, rows } = self.bounds.shape;
        let OfOutput { along, terms } = &self.bounds.outputs[output];
        let panel = &self.along.panels[tile * ALONG * width..][..ALONG * width];
        let offsets = self.jets.offsets_of(output);
        scratch.products.resize(rows * width);
        let mut halves: Vec<(S, S, &[S])> = vec![];
        for (variant, bends) in self.layout.halves.iter().enumerate() {
            let row = self.layout.row(0, variant, 0, output);
            for side in 0..2 {
                let values = &attained[side].values[row * width..][..width];
                halves.push((S::of(SIGNS[side]), S::of(bends[output][side]), values));
            }
        }
        let (mut kept, mut at) = (vec![], 0);
        for anchors in self.bounds.tiles() {
            let left = &along[at..][..left_len(anchors.len(), ALONG)];
            at += left.len();
            let products = &mut scratch.products[..anchors.len() * width];
            multiply(self.bounds.shape, anchors.len(), left, panel, Order::Panel, false, products);
            let test = Test {
                products,
                near: &scratch.near[anchors.start * width..anchors.end * width],
                terms: terms.each_ref().map(|terms| &terms[anchors.clone()]),
                offsets: &offsets[anchors.clone()],
                norms: &self.along.norms[tile * 4 * width..][..4 * width],
                halves: &halves,
                first: anchors.start as u32,
                kept: &mut kept,
            };
            test.run(arch);
        }
        kept
    }

    /// Computes the scores of these anchors, a list for each output, and takes them into the halves.
    fn compute(&self, scratch: &mut Scratch<S>, tile: usize, lists: &[Vec<u32>], halves: &mut [Half<S>; 2]) {
        let Shape { arch, width, rows } = self.bounds.shape;
        let mut union: Vec<u32> = lists.concat();
        union.sort_unstable();
        union.dedup();
        scratch.places.resize(self.jets.anchors(), 0);
        scratch.squared.resize(union.len() * width);
        scratch.products.resize(rows * width);
        scratch.gathered.resize(rows * width);
        scratch.left.resize(self.points.left_len(rows));
        for (block, anchors) in union.chunks(rows).enumerate() {
            let row = |i: usize| self.jets.centered(anchors[i] as usize);
            let squared = &mut scratch.squared[block * rows * width..][..anchors.len() * width];
            self.points.rows_product(tile, anchors.len(), row, &mut scratch.left, squared);
            let norms: Vec<S> = anchors.iter().map(|&i| self.jets.norm(i as usize)).collect();
            self.points.square(tile, &norms, squared);
            for (i, &anchor) in anchors.iter().enumerate() {
                scratch.places[anchor as usize] = (block * rows + i) as u32;
            }
        }
        for (output, list) in lists.iter().enumerate() {
            let offsets = self.jets.offsets_of(output);
            for anchors in list.chunks(rows) {
                let row = |i: usize| self.jets.slope(anchors[i] as usize, output);
                let products = &mut scratch.products[..anchors.len() * width];
                self.points.rows_product(tile, anchors.len(), row, &mut scratch.left, products);
                for (to, &anchor) in scratch.gathered.chunks_exact_mut(width).zip(anchors) {
                    let from = scratch.places[anchor as usize] as usize * width;
                    to.copy_from_slice(&scratch.squared[from..from + width]);
                }
                let of_anchors: Vec<S> = anchors.iter().map(|&i| offsets[i as usize]).collect();
                for (variant, bends) in self.layout.halves.iter().enumerate() {
                    let row = self.layout.row(0, variant, 0, output) * width;
                    for (side, half) in halves.iter_mut().enumerate() {
                        let scores = Scores {
                            sign: S::of(SIGNS[side]),
                            bend: S::of(bends[output][side]),
                            slopes: &*products,
                            squared: &scratch.gathered[..anchors.len() * width],
                            offsets: &of_anchors,
                            first: self.first as u32,
                            numbers: anchors,
                        };
                        let pieces = half.pieces.get_mut(row..row + width).unwrap_or_default();
                        scores.take(arch, &mut half.values[row..row + width], pieces);
                    }
                }
            }
        }
    }
}
