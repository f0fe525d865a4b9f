//! How densely the boundaries of a network's regions lie on a plane.
//!
//! A straight line of length `l` in a direction drawn at random meets curves of length `L` in an area `A` on average
//! `2 l L / (pi A)` times (the needle of Buffon; Crofton's formula). The two edges of a pixel along `s`, of length `ds`,
//! and the two along `t`, of length `dt`, are met `n_s` and `n_t` times on average, so that `pi n_s / (2 ds)` and
//! `pi n_t / (2 dt)` both estimate the length of boundaries in a unit of area. Their mean,
//!
//! ```text
//! density = pi/4 (n_s / ds + n_t / dt)
//! ```
//!
//! is right on average for boundaries of all directions alike. Of a single straight boundary at an angle `w` it has the
//! share `pi/4 (|sin w| + |cos w|)`, between 0.79 and 1.11. An edge meets the boundaries of as many units as have
//! another code at one of its ends than at the other; a unit whose boundary it meets twice is not seen.

use std::f64::consts::PI;
use std::ops::Range;

use rayon::prelude::*;

use crate::engine::plan::Chunks;
use crate::engine::{Context, Engine};
use crate::maso::{Codes, LayerChoice};
use crate::network::Network;
use crate::spline::slice::Slice;
use crate::{Result, Scalar};

use super::region::on_plane;
use super::{Band, Field};

/// Pixels along a side of what is computed at once. The corners along two of its edges are computed again, which is
/// 0.4 % of all.
const TILE: usize = 512;

/// The length of the boundaries of regions in a unit of area, both as `s` and `t` are measured, at each pixel.
pub struct DensityField<E: Engine> {
    codes: Codes<E>,
    /// Pixels of the picture, `[H, W]`.
    size: [usize; 2],
}

impl<E: Engine> DensityField<E> {
    /// The boundaries of the chosen layers' regions at the pixels of a picture of `size` `[H, W]` of the whole plane
    /// (samples, where a pixel has several). A point has the density of the pixel that it lies in.
    ///
    /// # Errors
    /// As [`LayerChoice::part`], [`Network::on_slice`] and [`Codes::new`].
    pub fn new(
        engine: &E,
        network: &Network,
        slice: &Slice,
        layers: &LayerChoice,
        size: [usize; 2],
    ) -> Result<Self> {
        Ok(Self { codes: on_plane(engine, network, slice, layers)?, size })
    }

    /// Densities of the pixels in so many rows and columns, ascending, from the top left.
    fn tile(&self, rows: &[usize], columns: &[usize], context: &Context) -> Result<Vec<f64>> {
        let [height, width] = self.size;
        let corner = |i: usize, count: usize| E::Scalar::of((2 * i) as f64 / count as f64 - 1.0);
        let (down, along) = (corners(rows), corners(columns));
        let words = self.codes.words();
        let mut codes: Vec<u32> = Vec::with_capacity(down.len() * along.len() * words);
        let points = |range: Range<usize>| {
            let count = range.len();
            let point = |i: usize| {
                let (row, column) = (down[i / along.len()], along[i % along.len()]);
                [corner(column, width), corner(height - row, height)]
            };
            let points: Vec<E::Scalar> = range.flat_map(point).collect();
            self.codes.engine().upload(&points, &[count, 2])
        };
        let what = "the network at the corners of pixels, counted row by row";
        let first = rows.first().map_or(0, |row| row * (width + 1));
        self.codes.each(down.len() * along.len(), (what, first), context, points, |coded| {
            codes.extend(coded.words);
            Ok(())
        })?;
        let at = |row: usize, column: usize| &codes[(row * along.len() + column) * words..][..words];
        let differing =
            |a: [usize; 2], b: [usize; 2]| f64::from(self.codes.differing(at(a[0], a[1]), at(b[0], b[1])));
        let place = |corners: &[usize], pixel: usize| corners.partition_point(|&corner| corner < pixel);
        let [per_s, per_t] = [width, height].map(|count| count as f64 / 2.0);
        let density = |&row: &usize| {
            let y = place(&down, row);
            let pixel = |&column: &usize| {
                let x = place(&along, column);
                let along_s = differing([y, x], [y, x + 1]) + differing([y + 1, x], [y + 1, x + 1]);
                let along_t = differing([y, x], [y + 1, x]) + differing([y, x + 1], [y + 1, x + 1]);
                PI / 4.0 * (along_s / 2.0 * per_s + along_t / 2.0 * per_t)
            };
            columns.iter().map(pixel).collect::<Vec<f64>>()
        };
        Ok(rows.par_iter().flat_map_iter(density).collect())
    }
}

/// The corners that pixels have along an axis.
fn corners(pixels: &[usize]) -> Vec<usize> {
    let mut corners: Vec<usize> = pixels.iter().flat_map(|&pixel| [pixel, pixel + 1]).collect();
    corners.dedup();
    corners
}

/// The pixels that coordinates lie in, each once, where pixels count from the end that has the coordinate -1.
fn pixels<S: Scalar>(coordinates: &[S], count: usize) -> Vec<usize> {
    let pixel = |x: &S| ((x.f64() + 1.0) / 2.0 * count as f64).clamp(0.0, count as f64 - 1.0) as usize;
    coordinates.iter().map(pixel).collect()
}

/// The different ones of some pixels, ascending, and where each of them stands among these.
fn distinct(pixels: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut all = pixels.to_vec();
    all.sort_unstable();
    all.dedup();
    let places = pixels.iter().map(|&pixel| all.partition_point(|&other| other < pixel)).collect();
    (all, places)
}

impl<E: Engine> Field<E> for DensityField<E> {
    fn is_categorical(&self) -> bool {
        false
    }

    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], _: usize, context: &Context) -> Result<Band> {
        let [height, width] = self.size;
        let (columns, x) = distinct(&pixels(across, width));
        let from_below = pixels(up, height);
        let (rows, y) = distinct(&from_below.iter().map(|row| height - 1 - row).collect::<Vec<_>>());
        // The corners of a tile keep their codes, of which half the budget is for the passes that make them.
        let half = context.memory() / 2;
        let bytes = (4 * (self.codes.words() * size_of::<u32>() + size_of::<f64>())) as u64;
        let most = Chunks::within("the corners of a pixel", TILE * TILE, bytes, 0, half, TILE * TILE)?.size();
        let side = most.isqrt().max(1);
        let inner = context.clone().with_memory(half);
        let mut densities = vec![0.0; rows.len() * columns.len()];
        for down in Chunks::new(rows.len(), side).iter() {
            for along in Chunks::new(columns.len(), side).iter() {
                let tile = self.tile(&rows[down.clone()], &columns[along.clone()], &inner)?;
                for (row, tile) in down.clone().zip(tile.chunks_exact(along.len())) {
                    densities[row * columns.len()..][along.clone()].copy_from_slice(tile);
                }
            }
        }
        let value = |(&row, &column): (&usize, &usize)| densities[row * columns.len() + column] as f32;
        let pairs = y.iter().flat_map(|row| x.iter().map(move |column| (row, column)));
        Ok(Band::Numbers(pairs.map(value).collect()))
    }
}
