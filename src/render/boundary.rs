//! Boundaries of categories: the pixels they pass through are looked at more closely.

use std::collections::VecDeque;
use std::ops::Range;

use rayon::prelude::*;

use crate::Result;
use crate::engine::{Context, Engine};
use crate::spline::slice::center;

use super::window::Window;
use super::{Band, Field};

/// Up to so many samples a group may hold more that are not needed than are: a call costs as much as they do.
const FEW: usize = 1 << 10;

/// The categories of a field at `side` x `side` samples of single pixels of a picture of `size` `[H, W]`.
pub(super) struct Closely<'a, E: Engine> {
    pub(super) field: &'a dyn Field<E>,
    pub(super) size: [usize; 2],
    pub(super) side: usize,
    /// Samples at a time, if that is more than those of one pixel.
    pub(super) most: usize,
}

/// The columns of a row whose category differs from that of one of the eight pixels around: a straight boundary passes
/// through no other pixel.
fn columns(categories: &Window<u32>, row: usize) -> Vec<u32> {
    let Some(middle) = categories.row(row) else { return vec![] };
    let rows = [row.checked_sub(1), Some(row), row.checked_add(1)];
    let rows: Vec<&[u32]> = rows.into_iter().flatten().filter_map(|row| categories.row(row)).collect();
    // Most of a picture is far from boundaries: what differs from the next pixel or the one above or below is found
    // without a branch.
    let mut changes: Vec<bool> = middle.windows(2).map(|pair| pair[0] != pair[1]).collect();
    changes.push(false);
    for row in &rows {
        changes.iter_mut().zip(middle.iter().zip(*row)).for_each(|(change, (a, b))| *change |= a != b);
    }
    let differs = |x: usize| {
        let around = x.saturating_sub(1)..(x + 2).min(middle.len());
        let near = changes[around.clone()].iter().any(|change| *change);
        near && rows.iter().any(|row| row[around.clone()].iter().any(|category| *category != middle[x]))
    };
    (0..middle.len()).filter(|&x| differs(x)).map(|x| x as u32).collect()
}

/// Two ascending lists as one.
fn union(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut all: Vec<u32> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl<E: Engine> Closely<'_, E> {
    /// Looks at the pixels of some rows that boundaries pass through; `categories` holds these rows and those beside them
    /// in the picture. `each` hears of every such pixel its row, its column and its samples, row by row from the top left;
    /// the pixels of a row come in order. The number of samples that were needed is returned.
    ///
    /// # Errors
    /// What the field says.
    pub(super) fn look(
        &self,
        rows: Range<usize>,
        categories: &Window<u32>,
        context: &Context,
        mut each: impl FnMut(usize, usize, &[u32]),
    ) -> Result<u64> {
        let pixel = self.side * self.side;
        let found: Vec<(usize, Vec<u32>)> =
            rows.into_par_iter().map(|row| (row, columns(categories, row))).collect();
        let found: Vec<_> = found.into_iter().filter(|(_, columns)| !columns.is_empty()).collect();
        let mut rest = &found[..];
        while let Some((first, others)) = rest.split_first() {
            let (mut all, mut needed, mut count) = (first.1.clone(), first.1.len(), 1);
            for (_, columns) in others {
                let more = union(&all, columns);
                let samples = more.len() * (count + 1) * pixel;
                let is_lean = 2 * (needed + columns.len()) * pixel >= samples || samples <= FEW;
                if !is_lean || samples > self.most {
                    break;
                }
                (all, needed, count) = (more, needed + columns.len(), count + 1);
            }
            let (group, others) = rest.split_at(count);
            for part in all.chunks((self.most / (count * pixel)).max(1)) {
                self.sample(group, part, context, &mut each)?;
            }
            rest = others;
        }
        Ok(found.iter().map(|(_, columns)| (columns.len() * pixel) as u64).sum())
    }

    /// Samples the pixels of some rows and columns, and tells of those that are needed.
    fn sample(
        &self,
        rows: &[(usize, Vec<u32>)],
        columns: &[u32],
        context: &Context,
        each: &mut impl FnMut(usize, usize, &[u32]),
    ) -> Result<()> {
        let ([height, width], n) = (self.size, self.side);
        let of =
            |pixel: usize, count: usize| (0..n).map(move |i| center::<E::Scalar>(n * pixel + i, n * count));
        let across: Vec<E::Scalar> = columns.iter().flat_map(|&x| of(x as usize, width)).collect();
        // From the top down, where t is largest.
        let up = rows.iter().flat_map(|(y, _)| {
            (0..n).map(move |i| center::<E::Scalar>(n * (height - y) - 1 - i, n * height))
        });
        let up: Vec<E::Scalar> = up.collect();
        let Band::Categories(values) = self.field.band(&across, &up, rows[0].0 * width, context)? else {
            unreachable!("only fields of categories are looked at closely");
        };
        let mut samples = vec![0; n * n];
        for (i, (row, needed)) in rows.iter().enumerate() {
            let mut needed = needed.iter().peekable();
            for (j, column) in columns.iter().enumerate() {
                while needed.next_if(|x| *x < column).is_some() {}
                if needed.peek() != Some(&column) {
                    continue;
                }
                for (k, samples) in samples.chunks_exact_mut(n).enumerate() {
                    let start = (n * i + k) * across.len() + n * j;
                    samples.copy_from_slice(&values[start..start + n]);
                }
                each(*row, *column as usize, &samples);
            }
        }
        Ok(())
    }
}

/// Rows of a field of categories, with closer looks at its boundaries, to draw these as lines.
pub(super) struct Boundaries<'a, E: Engine> {
    closely: Closely<'a, E>,
    edges: Edges,
}

/// Where boundaries pass.
pub(super) struct Edges {
    side: usize,
    centers: Window<u32>,
    /// The first row that is looked at, and of each from there on the columns and their samples.
    first: usize,
    rows: VecDeque<(Vec<u32>, Vec<u32>)>,
}

impl<'a, E: Engine> Boundaries<'a, E> {
    /// No rows yet.
    pub(super) fn new(closely: Closely<'a, E>) -> Self {
        let (side, centers) = (closely.side, Window::new(closely.size[1]));
        Self { closely, edges: Edges { side, centers, first: 0, rows: VecDeque::new() } }
    }

    /// Adds rows at their centres `across` and `up`, and looks closely at all whose neighbours are known. Returns the
    /// number of further samples.
    ///
    /// # Errors
    /// What the field says.
    pub(super) fn extend(
        &mut self,
        across: &[E::Scalar],
        up: &[E::Scalar],
        context: &Context,
    ) -> Result<u64> {
        let ([height, width], edges) = (self.closely.size, &mut self.edges);
        let first = edges.centers.end() * width;
        let Band::Categories(values) = self.closely.field.band(across, up, first, context)? else {
            unreachable!("draw has checked that lines have categories");
        };
        let centers = values.len() as u64;
        edges.centers.push(values);
        let known = edges.centers.end();
        let from = edges.first + edges.rows.len();
        let to = if known == height { height } else { known.saturating_sub(1).max(from) };
        edges.rows.extend((from..to).map(|_| (vec![], vec![])));
        let (start, rows) = (edges.first, &mut edges.rows);
        let further = self.closely.look(from..to, &edges.centers, context, |row, column, samples| {
            let (columns, all) = &mut rows[row - start];
            columns.push(column as u32);
            all.extend(samples);
        })?;
        Ok(centers + further)
    }

    /// Where boundaries pass, in the rows so far.
    pub(super) fn edges(&self) -> &Edges {
        &self.edges
    }

    /// Gives up all rows before one.
    pub(super) fn forget(&mut self, before: usize) {
        let edges = &mut self.edges;
        // The centres of the row above belong to the first row's look.
        edges.centers.take(before.saturating_sub(1).min(edges.centers.end()));
        while edges.first < before && edges.rows.pop_front().is_some() {
            edges.first += 1;
        }
    }
}

impl Edges {
    /// The samples of a pixel that a boundary passes through.
    fn samples(&self, row: usize, column: usize) -> Option<&[u32]> {
        let (columns, samples) = self.rows.get(row.checked_sub(self.first)?)?;
        let at = columns.binary_search(&(column as u32)).ok()?;
        let pixel = self.side * self.side;
        Some(&samples[pixel * at..pixel * (at + 1)])
    }

    /// Where samples beside each other differ within a row of pixels and at its edges: `[x, y]` half-way, in pixels.
    pub(super) fn each(&self, row: usize, mut each: impl FnMut([f64; 2])) {
        let Some((columns, samples)) = row.checked_sub(self.first).and_then(|at| self.rows.get(at)) else {
            return;
        };
        let n = self.side;
        let place = |pixel: usize, part: f64| pixel as f64 - 0.5 + part / n as f64;
        for (&column, samples) in columns.iter().zip(samples.chunks_exact(n * n)) {
            let column = column as usize;
            for i in 0..n {
                let middle = i as f64 + 0.5;
                for j in 1..n {
                    if samples[n * i + j - 1] != samples[n * i + j] {
                        each([place(column, j as f64), place(row, middle)]);
                    }
                    if samples[n * (j - 1) + i] != samples[n * j + i] {
                        each([place(column, middle), place(row, j as f64)]);
                    }
                }
                let right = self.beside(row, column + 1, n * i);
                if right.is_some_and(|(category, _)| category != samples[n * i + n - 1]) {
                    each([place(column + 1, 0.0), place(row, middle)]);
                }
                let below = self.beside(row + 1, column, i);
                if below.is_some_and(|(category, _)| category != samples[n * (n - 1) + i]) {
                    each([place(column, middle), place(row + 1, 0.0)]);
                }
                // What is looked at to the left and above has told of these edges itself.
                let left = column.checked_sub(1).and_then(|column| self.beside(row, column, n * i + n - 1));
                if left.is_some_and(|(category, closely)| !closely && category != samples[n * i]) {
                    each([place(column, 0.0), place(row, middle)]);
                }
                let above = row.checked_sub(1).and_then(|row| self.beside(row, column, n * (n - 1) + i));
                if above.is_some_and(|(category, closely)| !closely && category != samples[i]) {
                    each([place(column, middle), place(row, 0.0)]);
                }
            }
        }
    }

    /// The category of a sample of a pixel, where that is known, and whether it was looked at.
    fn beside(&self, row: usize, column: usize, sample: usize) -> Option<(u32, bool)> {
        match self.samples(row, column) {
            Some(samples) => Some((samples[sample], true)),
            None => Some((*self.centers.row(row)?.get(column)?, false)),
        }
    }
}
