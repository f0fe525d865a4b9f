//! Gram matrices out of factors: two register tiles of products, multiplied and added while they are at hand.

use std::ops::Range;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::Factors;

use super::tile::{Aligned, Order, Shape, lay_out, left_len, multiply, pieces};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

/// Tiles of rows that one task takes: laid out (450 KiB for a depth of 1024 in f32) they stay in L2 while columns pass.
const TILES: usize = 8;

/// Numbers of a row that are laid out at once.
const SQUARE: usize = 16;

/// A Gram matrix in the making.
#[derive(Debug)]
pub struct CpuGram<S> {
    values: Vec<S>,
    columns: usize,
}

/// A factor `[N, r or 1, G, P, depth]`, whose rows are those of the Gram matrix for a group and a position.
struct Side<'a, S> {
    values: &'a [S],
    depth: usize,
    /// Elements from a row to the next.
    stride: usize,
    /// Rows of the Gram matrix that share a row.
    shared: usize,
}

impl<'a, S: Scalar> Side<'a, S> {
    fn new(tensor: &'a CpuTensor<S>, repeats: usize) -> Self {
        let shape = tensor.shape();
        let stride = shape[2..].iter().product();
        Self { values: tensor.values(), depth: shape[4], stride, shared: repeats / shape[1] }
    }

    /// Row `row` at block `at` of the `G P` blocks of groups and positions.
    fn row(&self, row: usize, at: usize) -> &'a [S] {
        &self.values[row / self.shared * self.stride + at * self.depth..][..self.depth]
    }

    /// The rows at all blocks as right operands, in panels `[depth, width]` of as many of them as a tile has columns.
    fn panels(&self, rows: usize, blocks: usize, width: usize) -> Panels<S> {
        let tiles = rows.div_ceil(width);
        let size = self.depth * width;
        let mut values = Aligned::new(blocks * tiles * size);
        values.par_chunks_mut(size.max(1)).enumerate().for_each(|(i, panel)| {
            let (at, tile) = (i / tiles, i % tiles);
            panel.fill(S::zero());
            let columns = tile * width..rows.min((tile + 1) * width);
            // A square after the other: what is written then stays in the first cache.
            for start in (0..self.depth).step_by(SQUARE) {
                let end = self.depth.min(start + SQUARE);
                let to = &mut panel[start * width..end * width];
                for (c, row) in columns.clone().enumerate() {
                    let from = &self.row(row, at)[start..end];
                    to[c..].iter_mut().step_by(width).zip(from).for_each(|(to, &value)| *to = value);
                }
            }
        });
        Panels { values, tiles, size }
    }

    /// Lays some rows of a left operand out, in pieces of the depth.
    fn lay_out(&self, rows: Range<usize>, at: usize, mut to: &mut [S]) {
        for piece in pieces(self.depth, 1) {
            let of_piece = to.split_off_mut(..left_len(rows.len(), piece.len())).unwrap_or_default();
            for (r, row) in rows.clone().enumerate() {
                lay_out(&self.row(row, at)[piece.clone()], r, rows.len(), of_piece);
            }
        }
    }

    fn left_len(&self, rows: usize) -> usize {
        pieces(self.depth, 1).map(|piece| left_len(rows, piece.len())).sum()
    }
}

/// Right operands, laid out.
struct Panels<S> {
    values: Aligned<S>,
    tiles: usize,
    size: usize,
}

impl<S: Scalar> Panels<S> {
    /// `out [rows, width]`: the products of rows laid out with the columns of a tile, at a block.
    fn product(&self, shape: Shape, rows: usize, mut left: &[S], (at, tile): (usize, usize), out: &mut [S]) {
        let panel = &self.values[(at * self.tiles + tile) * self.size..][..self.size];
        for piece in pieces(self.size / shape.width, 1) {
            let right = &panel[piece.start * shape.width..piece.end * shape.width];
            let (of_piece, rest) = left.split_at(left_len(rows, piece.len()));
            multiply(shape, rows, of_piece, right, Order::Panel, piece.start > 0, out);
            left = rest;
        }
    }
}

/// What a task holds: a few rows of both left operands laid out, a tile of each product, and the sum over positions.
struct Scratch<S> {
    left: [Aligned<S>; 2],
    tiles: [Aligned<S>; 3],
}

impl<S: Scalar> CpuGram<S> {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        Self { values: vec![S::zero(); rows * columns], columns }
    }

    pub(super) fn finish(self) -> Vec<S> {
        self.values
    }

    pub(super) fn add(
        &mut self,
        (x, row): (&Factors<CpuBuffer<S>>, usize),
        (y, column): (&Factors<CpuBuffer<S>>, usize),
        upper: bool,
    ) {
        let shape = Shape::new::<S>();
        let (repeats, blocks, positions) = (x.repeats(), x.blocks(), x.positions());
        let (rows, columns) = (x.rows(), y.rows());
        let constant = if x.constant { S::one() } else { S::zero() };
        let side = |tensor| Side::new(tensor, repeats);
        let (left, right) = (x.left.as_ref().map(side), side(&x.right));
        let panels = |side: &Side<'_, S>| side.panels(columns, blocks, shape.width);
        let left_panels = y.left.as_ref().map(|t| panels(&side(t)));
        let right_panels = panels(&side(&y.right));

        let per_task = (TILES * shape.rows).min(rows.div_ceil(rayon::current_num_threads())).max(1);
        let (width, row_length) = (shape.width, self.columns);
        let stripes = self.values[row * row_length..(row + rows) * row_length]
            .par_chunks_mut(per_task * row_length)
            .enumerate();
        let scratch = || Scratch {
            left: [Aligned::new(0), Aligned::new(0)],
            tiles: [0; 3].map(|_| Aligned::new(shape.rows * width)),
        };
        stripes.for_each_init(scratch, |Scratch { left: [of_left, of_right], tiles }, (task, stripe)| {
            let first = task * per_task;
            let count = stripe.len() / row_length;
            let height = shape.height(count);
            let groups = (0..count).step_by(height).map(|r| first + r..first + count.min(r + height));
            for at in 0..blocks {
                // All rows of the task, tile by tile.
                let lengths = [left.as_ref(), Some(&right)].map(|s| s.map_or(0, |s| s.left_len(height)));
                of_left.resize(lengths[0] * groups.len());
                of_right.resize(lengths[1] * groups.len());
                for (i, rows) in groups.clone().enumerate() {
                    if let Some(side) = &left {
                        side.lay_out(rows.clone(), at, &mut of_left[i * lengths[0]..]);
                    }
                    right.lay_out(rows, at, &mut of_right[i * lengths[1]..]);
                }
                // The first of the positions of this group.
                let others = at / positions * positions..(at / positions + 1) * positions;
                for tile in 0..right_panels.tiles {
                    let across = tile * width..columns.min((tile + 1) * width);
                    for (i, rows) in groups.clone().enumerate() {
                        if upper && across.end <= rows.start {
                            continue;
                        }
                        let [a, d, sum] = &mut *tiles;
                        let size = rows.len() * width;
                        sum[..size].fill(S::zero());
                        for other in others.clone() {
                            let place = (other, tile);
                            let laid_out = &of_right[i * lengths[1]..];
                            right_panels.product(shape, rows.len(), laid_out, place, d);
                            if let Some(panels) = &left_panels {
                                panels.product(shape, rows.len(), &of_left[i * lengths[0]..], place, a);
                                add_products(shape, constant, &a[..size], &d[..size], &mut sum[..size]);
                            } else {
                                add_to(shape, &d[..size], &mut sum[..size]);
                            }
                        }
                        for (r, sum) in rows.zip(sum[..size].chunks_exact(width)) {
                            let to = &mut stripe[(r - first) * row_length + column..][across.clone()];
                            to.iter_mut().zip(sum).for_each(|(to, &sum)| *to += sum);
                        }
                    }
                }
            }
        });
    }
}

/// `sum += (a + constant) * d`
fn add_products<S: Scalar>(shape: Shape, constant: S, a: &[S], d: &[S], sum: &mut [S]) {
    wide(
        shape.arch,
        #[inline(always)]
        || {
            for ((sum, &a), &d) in sum.iter_mut().zip(a).zip(d) {
                *sum += (a + constant) * d;
            }
        },
    );
}

/// `sum += d`
fn add_to<S: Scalar>(shape: Shape, d: &[S], sum: &mut [S]) {
    wide(
        shape.arch,
        #[inline(always)]
        || sum.iter_mut().zip(d).for_each(|(sum, &d)| *sum += d),
    );
}
