//! The largest of many planes at the pixels of an image.
//!
//! Tiles within tiles: each keeps the planes that can win at one of its pixels, so that the pixels of the smallest ones
//! are compared with a few. What is compared is compared as if all were.

use std::any::TypeId;
use std::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};
use pulp::Arch;
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::{Search, SliceValues};

use super::CpuTensor;
use super::best::number;
use super::max_affine::blocks::{Blocks, Bounds, strip};
use super::max_affine::few::{FEW_PIECES, thin};
use super::tile::Element;

/// Pixels along the sides of tiles, of which the larger ones hold whole smaller ones.
const COARSE: usize = 512;
const MIDDLE: usize = 64;
const FINE: usize = 16;

pub(super) fn slice<S: Scalar>(
    planes: &CpuTensor<S>,
    across: &[S],
    up: &[S],
    search: Search,
) -> SliceValues<S> {
    let size = across.len() * up.len();
    let (mut values, mut pieces) = (vec![S::min_value(); size], vec![u32::MAX; size]);
    macro_rules! run {
        ($scalar:ty, $fill:ident) => {{
            let planes: &[$scalar] = cast_slice(planes.values());
            let (planes, _) = planes.as_chunks::<3>();
            let image = Image { arch: Arch::new(), planes, across: cast_slice(across), up: cast_slice(up) };
            $fill(&image, search, cast_slice_mut(&mut values), &mut pieces)
        }};
    }
    let scored = match (size, TypeId::of::<S>() == TypeId::of::<f32>()) {
        (0, _) => 0,
        (_, true) => run!(f32, fill_f32),
        (_, false) => run!(f64, fill_f64),
    };
    SliceValues { values, pieces, scored }
}

// Not generic, so that the kernels are compiled once, here, and not again in every program that names an engine.
#[inline(never)]
fn fill_f32(image: &Image<'_, f32>, search: Search, values: &mut [f32], pieces: &mut [u32]) -> u64 {
    image.fill(search, values, pieces)
}

#[inline(never)]
fn fill_f64(image: &Image<'_, f64>, search: Search, values: &mut [f64], pieces: &mut [u32]) -> u64 {
    image.fill(search, values, pieces)
}

struct Image<'a, T> {
    arch: Arch,
    planes: &'a [[T; 3]],
    across: &'a [T],
    up: &'a [T],
}

/// A rectangle of pixels.
#[derive(Debug, Clone)]
struct Tile {
    columns: Range<usize>,
    rows: Range<usize>,
}

impl Tile {
    /// Its parts of at most `side` pixels a side, row by row.
    fn parts(&self, side: usize) -> impl Iterator<Item = Self> + use<> {
        let cut = move |range: Range<usize>| {
            let end = range.end;
            range.step_by(side).map(move |start| start..(start + side).min(end))
        };
        let columns = self.columns.clone();
        cut(self.rows.clone()).flat_map(move |rows| {
            cut(columns.clone()).map(move |columns| Self { columns, rows: rows.clone() })
        })
    }
}

impl<T: Element> Image<'_, T> {
    /// Returns how many pairs of pixel and plane were compared.
    fn fill(&self, search: Search, values: &mut [T], pieces: &mut [u32]) -> u64 {
        let whole = Tile { columns: 0..self.across.len(), rows: 0..self.up.len() };
        let numbered = self.planes.iter().enumerate();
        let planes = numbered.map(|(i, [slope @ .., offset])| (i as u32, &slope[..], *offset));
        let all = Blocks::new(2, &self.bounds(&whole), planes);
        let tiles: Vec<Tile> = whole.parts(COARSE).collect();
        let coarse: Vec<(Blocks<T>, u64)> = match search {
            Search::Pruned => tiles.par_iter().map(|tile| self.thin(&all, tile)).collect(),
            Search::Exhaustive => vec![(all, 0)],
        };
        let across = self.across.len().div_ceil(COARSE);
        let band = MIDDLE * self.across.len();
        let bands = values.par_chunks_mut(band).zip(pieces.par_chunks_mut(band)).enumerate();
        let scored = bands.map(|(number, (values, pieces))| {
            let start = number * MIDDLE;
            let mut band = Band { start, width: self.across.len(), values, pieces, scored: 0 };
            let rows = start..(start + MIDDLE).min(self.up.len());
            for tile in (Tile { columns: whole.columns.clone(), rows }).parts(MIDDLE) {
                let number = start / COARSE * across + tile.columns.start / COARSE;
                match search {
                    Search::Exhaustive => self.compare(&coarse[0].0, &tile, &mut band),
                    Search::Pruned => self.descend(&coarse[number].0, &tile, &mut band),
                }
            }
            band.scored
        });
        scored.sum::<u64>() + coarse.iter().map(|(_, scored)| scored).sum::<u64>()
    }

    fn bounds(&self, tile: &Tile) -> Bounds<T> {
        let [s, t] = [&self.across[tile.columns.clone()], &self.up[tile.rows.clone()]]
            .map(|coordinates| Bounds::of(1, coordinates.chunks_exact(1)));
        Bounds { low: vec![s.low[0], t.low[0]], high: vec![s.high[0], t.high[0]] }
    }

    /// The planes that can win in a tile, and how many pairs were compared for that.
    fn thin(&self, planes: &Blocks<T>, tile: &Tile) -> (Blocks<T>, u64) {
        let width = strip::<T>(self.arch, 2);
        let mut samples = vec![T::zero(); 2 * width];
        // From corner to corner, in columns and rows as equal in number as they can be.
        let columns = 1 << width.ilog2().div_ceil(2);
        let spread = |range: &Range<usize>, i: usize, count: usize| {
            range.start + (range.len() - 1) * i / (count - 1).max(1)
        };
        for sample in 0..width {
            let column = spread(&tile.columns, sample % columns, columns);
            let row = spread(&tile.rows, sample / columns, width / columns);
            samples[sample] = self.across[column];
            samples[width + sample] = self.up[row];
        }
        (thin(self.arch, planes, &self.bounds(tile), &samples, 1), (width * planes.len()) as u64)
    }

    /// Thins the planes of a middle tile, and of its fine tiles where many are left.
    fn descend(&self, planes: &Blocks<T>, tile: &Tile, band: &mut Band<'_, T>) {
        let mut thinned = |planes: &Blocks<T>, tile: &Tile| {
            let (few, scored) = self.thin(planes, tile);
            band.scored += scored;
            few
        };
        let few = if planes.len() > FEW_PIECES { &thinned(planes, tile) } else { planes };
        for tile in tile.parts(FINE) {
            if few.len() > FEW_PIECES {
                let fewer = self.thin(few, &tile);
                band.scored += fewer.1;
                self.compare(&fewer.0, &tile, band);
            } else {
                self.compare(few, &tile, band);
            }
        }
    }

    /// Compares all pixels of a tile with all of these planes.
    fn compare(&self, planes: &Blocks<T>, tile: &Tile, band: &mut Band<'_, T>) {
        let width = strip::<T>(self.arch, 2);
        let (mut points, mut scores, mut positions) =
            (vec![T::zero(); 2 * width], vec![T::zero(); width], vec![T::zero(); width]);
        let count = tile.columns.len() * tile.rows.len();
        band.scored += (count * planes.len()) as u64;
        for start in (0..count).step_by(width) {
            let pixels = || {
                let number = start..(start + width).min(count);
                number.map(|i| {
                    (tile.columns.start + i % tile.columns.len(), tile.rows.start + i / tile.columns.len())
                })
            };
            for (i, (column, row)) in pixels().enumerate() {
                points[i] = self.across[column];
                points[width + i] = self.up[row];
            }
            planes.search(self.arch, &points, &mut scores, &mut positions);
            for ((column, row), &position) in pixels().zip(&positions) {
                let position = number(position);
                if position != u32::MAX {
                    let number = planes.number(position as usize);
                    let [p, q, r] = self.planes[number as usize].map(T::f64);
                    let at = (row - band.start) * band.width + column;
                    band.values[at] = T::of(p * self.across[column].f64() + q * self.up[row].f64() + r);
                    band.pieces[at] = number;
                }
            }
        }
    }
}

/// Rows of the image from `start` on.
struct Band<'a, T> {
    start: usize,
    width: usize,
    values: &'a mut [T],
    pieces: &'a mut [u32],
    scored: u64,
}
