//! Bounds of scores by few numbers: of distances in one space, of tangents in another.

use std::any::TypeId;
use std::ops::Range;

use bytemuck::cast_slice;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::Scalar;
use crate::engine::cpu::pairs::{PointTiles, PreparedJets};
use crate::engine::cpu::tile::{Element, Shape, VECTORS, lay_out, left_len};

use super::basis::{Basis, Projected, samples};

/// Coordinates of the bound on distances, and of that on tangents: those that are multiplied, and all of which norms
/// are taken. Projecting the Jacobians costs as much as comparing them with `NORMED` points. None, 16 and 32 multiplied
/// left 6.2, 1.1 and 0.7 % of the pieces of an MNIST network (sigmoid, curvature 3, bases from all Jacobians).
pub(super) const NEAR: usize = 96;
pub(super) const ALONG: usize = 16;
const NORMED: usize = 48;

/// The space in which tangents are bounded.
pub(super) struct Along<S> {
    pub basis: Basis,
    /// Each tile's `[ALONG, width]`.
    pub panels: Vec<S>,
    /// Each tile's `[4, width]`: norms of the two blocks behind, and what margins grow with: `|x|` and that of the
    /// scaled point, both times the unit of rounding.
    pub norms: Vec<S>,
    /// Each tile's `[NEAR + 1, width]`: coordinates, the norm of the rest; then `[2, width]`: `|x|^2` and `|x|`.
    pub near: Vec<S>,
}

/// Bounds of the anchors of some jets.
pub(super) struct Bounds<S> {
    pub shape: Shape,
    /// `[M, NEAR + 1]`, in tiles.
    pub near: Vec<S>,
    /// `|x_i|^2` of these coordinates, and `|x_i|`.
    pub squared: Vec<S>,
    pub lengths: Vec<S>,
    /// `[K]`
    pub outputs: Vec<OfOutput<S>>,
}

/// Bounds of one output.
pub(super) struct OfOutput<S> {
    /// `[M, ALONG]`, in tiles.
    pub along: Vec<S>,
    /// `[M]` each: norms of the two blocks behind, `|J|`, that of the scaled one, and `|v| + |J| |x_i|` times the unit of
    /// rounding.
    pub terms: [Vec<S>; 5],
}

/// By what all sums of products are off at most, relative to the products of norms: `D + 3` roundings of a score, as many
/// of what it is compared with, and those of the bound. Twice that.
pub(super) fn unit<S: Scalar>(dimension: usize) -> f64 {
    (dimension + 2 * NEAR) as f64 * S::epsilon().f64()
}

impl<S: Scalar> Along<S> {
    pub(super) fn new(
        points: &PointTiles<S>,
        near: &Projected,
        jets: &PreparedJets<'_, S>,
        outputs: usize,
    ) -> Self {
        let centered = points.centered();
        let row = |n: usize| &centered[n * jets.dimension()..][..jets.dimension()];
        let (dimension, count) = (jets.dimension(), near.squared.len());
        let wide = |row: &[S]| -> Vec<f64> { row.iter().map(|x| x.f64()).collect() };
        let of_points: Vec<Vec<f64>> = samples(count).map(|n| wide(row(n))).collect();
        let of_slopes: Vec<Vec<f64>> =
            samples(jets.anchors() * outputs).map(|i| wide(jets.slope(i / outputs, i % outputs))).collect();
        // Scales that make both vary alike in each element, powers of two so that scaling is exact.
        let power = |rows: &[Vec<f64>]| -> Vec<f64> {
            (0..dimension)
                .map(|d| rows.iter().map(|row| row[d] * row[d]).sum::<f64>() / rows.len() as f64)
                .collect()
        };
        let (x, j) = (power(&of_points), power(&of_slopes));
        let mean = |v: &[f64]| (v.iter().sum::<f64>() / v.len() as f64).max(f64::MIN_POSITIVE);
        let (least_x, least_j) = (1e-2 * mean(&x), 1e-4 * mean(&j));
        let scale = |(x, j): (&f64, &f64)| ((j + least_j) / (x + least_x)).powf(0.25).log2().round().exp2();
        let scales: Vec<f64> = x.iter().zip(&j).map(scale).collect();
        // Both sets of rows count alike.
        let rows = |rows: Vec<Vec<f64>>, inverse: bool| -> Vec<Vec<f64>> {
            let scaled = |row: Vec<f64>| -> Vec<f64> {
                row.iter()
                    .zip(&scales)
                    .map(|(x, scale)| if inverse { x / scale } else { x * scale })
                    .collect()
            };
            let mut rows: Vec<Vec<f64>> = rows.into_iter().map(scaled).collect();
            let total: f64 = rows.iter().flatten().map(|x| x * x).sum();
            let factor = total.max(f64::MIN_POSITIVE).sqrt().recip();
            rows.iter_mut().flatten().for_each(|x| *x *= factor);
            rows
        };
        let mut both = rows(of_points, false);
        both.extend(rows(of_slopes, true));
        let basis = Basis::of(&both, vec![1.0; dimension], NORMED.min(dimension)).scaled(scales);

        let width = points.width();
        let tiles = count.div_ceil(width);
        let projected = basis.project(count, row);
        let unit = unit::<S>(dimension);
        let along = ALONG.min(basis.rank());
        let rank = near.rank() + 1;
        let mut new = Self {
            panels: vec![S::zero(); tiles * ALONG * width],
            norms: vec![S::zero(); tiles * 4 * width],
            near: vec![S::zero(); tiles * (rank + 2) * width],
            basis,
        };
        for n in 0..count {
            let (tile, column) = (n / width, n % width);
            let coordinates = projected.row(n);
            for (d, &x) in coordinates[..along].iter().enumerate() {
                new.panels[(tile * ALONG + d) * width + column] = S::of(x);
            }
            let norms = [
                length(&coordinates[along..]),
                projected.rest(n),
                unit * near.squared[n].sqrt(),
                unit * projected.squared[n].sqrt(),
            ];
            for (i, norm) in norms.into_iter().enumerate() {
                new.norms[(tile * 4 + i) * width + column] = S::of(norm);
            }
            let terms = near.row(n).iter().copied().chain([near.rest(n)]);
            let squared: f64 = terms.clone().map(|x| x * x).sum();
            for (d, x) in terms.chain([squared, near.squared[n].sqrt()]).enumerate() {
                new.near[(tile * (rank + 2) + d) * width + column] = S::of(x);
            }
        }
        new
    }
}

fn length(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

impl<S: Scalar> Bounds<S> {
    pub(super) fn new(
        shape: Shape,
        near: &Basis,
        along: &Basis,
        jets: &PreparedJets<'_, S>,
        outputs: usize,
    ) -> Self {
        let count = jets.anchors();
        let projected = near.project(count, |i| jets.centered(i));
        let rows: Vec<Vec<S>> = (0..count)
            .map(|i| projected.row(i).iter().copied().chain([projected.rest(i)]).map(S::of).collect())
            .collect();
        let squared = |row: &Vec<S>| S::of(row.iter().map(|x| x.f64() * x.f64()).sum());
        let lengths = &projected.lengths;
        let unit = unit::<S>(jets.dimension());
        let inverse = along.inverse();
        let of_output = |output: usize| {
            let projected = inverse.project(count, |i| jets.slope(i, output));
            let first = ALONG.min(projected.rank());
            let mut terms: [Vec<S>; 5] = Default::default();
            let rows: Vec<Vec<S>> = (0..count)
                .map(|i| {
                    let slope = projected.lengths[i];
                    let coordinates = projected.row(i);
                    let of_anchor = [
                        length(&coordinates[first..]),
                        projected.rest(i),
                        slope,
                        projected.squared[i].sqrt(),
                        unit * (jets.value(i, output).abs() + slope * lengths[i]),
                    ];
                    terms.iter_mut().zip(of_anchor).for_each(|(terms, term)| terms.push(S::of(term)));
                    let mut row: Vec<S> = coordinates[..first].iter().map(|&x| S::of(x)).collect();
                    row.resize(ALONG, S::zero());
                    row
                })
                .collect();
            OfOutput { along: tiled(shape, &rows), terms }
        };
        Self {
            shape,
            near: tiled(shape, &rows),
            squared: rows.iter().map(squared).collect(),
            lengths: lengths.iter().map(|&length| S::of(length)).collect(),
            outputs: (0..outputs).into_par_iter().map(of_output).collect(),
        }
    }

    pub(super) fn anchors(&self) -> usize {
        self.squared.len()
    }

    /// The anchors of each tile.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<S> {
        let (count, height) = (self.anchors(), self.shape.height(self.anchors()));
        (0..count).step_by(height).map(move |start| start..(start + height).min(count))
    }
}

/// Rows laid out for products, tile by tile.
fn tiled<S: Scalar>(shape: Shape, rows: &[Vec<S>]) -> Vec<S> {
    let depth = rows.first().map_or(0, Vec::len);
    let mut all = vec![S::zero(); left_len(rows.len(), depth)];
    let mut rest = &mut all[..];
    for tile in rows.chunks(shape.height(rows.len())) {
        let to = rest.split_off_mut(..left_len(tile.len(), depth)).unwrap_or_default();
        for (r, row) in tile.iter().enumerate() {
            lay_out(row, r, tile.len(), to);
        }
    }
    all
}

/// Which anchors of a tile may matter to a tile of points.
pub(super) struct Test<'a, S> {
    /// `[anchors, width]`
    pub products: &'a [S],
    /// `[anchors, width]`
    pub near: &'a [S],
    pub terms: [&'a [S]; 5],
    pub offsets: &'a [S],
    /// `[4, width]`
    pub norms: &'a [S],
    /// Of each half its sign, half its curvature, and what is attained.
    pub halves: &'a [(S, S, &'a [S])],
    pub first: u32,
    pub kept: &'a mut Vec<u32>,
}

impl<S: Scalar> Test<'_, S> {
    pub(super) fn run(self, arch: Arch) {
        macro_rules! run {
            ($scalar:ty) => {{
                let halves: Vec<($scalar, $scalar, &[$scalar])> = self
                    .halves
                    .iter()
                    .map(|(sign, bend, values)| {
                        (sign.f64() as $scalar, bend.f64() as $scalar, cast_slice(values))
                    })
                    .collect();
                arch.dispatch(Typed(Test::<$scalar> {
                    products: cast_slice(self.products),
                    near: cast_slice(self.near),
                    terms: self.terms.map(cast_slice),
                    offsets: cast_slice(self.offsets),
                    norms: cast_slice(self.norms),
                    halves: &halves,
                    first: self.first,
                    kept: self.kept,
                }));
            }};
        }
        if TypeId::of::<S>() == TypeId::of::<f32>() { run!(f32) } else { run!(f64) }
    }
}

struct Typed<'a, T>(Test<'a, T>);

impl<T: Element> WithSimd for Typed<'_, T> {
    type Output = ();

    // Arrays of arrays are indexed: what registers they become is plain then, to the compiler as well.
    #[allow(clippy::needless_range_loop)]
    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Test { products, near, terms, offsets, norms, halves, first, kept } = self.0;
        let (products, _) = T::vectors::<V>(products).as_chunks::<VECTORS>();
        let (near, _) = T::vectors::<V>(near).as_chunks::<VECTORS>();
        let (norms, _) = T::vectors::<V>(norms).as_chunks::<VECTORS>();
        let Some(norms) = norms.first_chunk::<4>() else { return };
        for (row, (product, near)) in products.iter().zip(near).enumerate() {
            let of = |term: usize| T::splat(simd, terms[term][row]);
            let offset = T::splat(simd, offsets[row]);
            let mut most = T::splat(simd, T::min_value());
            for v in 0..VECTORS {
                let mut reach = of(4);
                for term in 0..4 {
                    reach = T::multiply_add(simd, of(term), norms[term][v], reach);
                }
                let value = T::plus(simd, product[v], offset);
                for &(sign, bend, attained) in halves {
                    let attained = T::vectors::<V>(attained)[v];
                    let bent = T::multiply_add(simd, T::splat(simd, -bend), near[v], reach);
                    let bound = T::multiply_add(simd, T::splat(simd, sign), value, bent);
                    most = T::maximum(simd, most, T::subtract(simd, bound, attained));
                }
            }
            if T::largest(simd, most) >= T::zero() {
                kept.push(first + row as u32);
            }
        }
    }
}
