//! The matrix product: register tiles over a right operand that is laid out once.

use std::ops::Range;

use rayon::prelude::*;

use crate::Scalar;
use crate::engine::kernels::Epilogue;

use super::copy::copy;
use super::epilogue::{Finish, add};
use super::pool;
use super::tile::{Aligned, CHUNK, Order, Shape, lay_out, left_at, left_len, multiply, pieces};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

/// Rows of the left operand that one task takes at most: laid out, a piece of them (256 KiB in f32) stays in L2.
const ROWS: usize = 126;

/// Panels that a tile of rows meets one after the other: they stay in L2 (512 KiB with vectors of 64 bytes) for the
/// next rows, and each row of the result is written 1 KiB at a time. On
/// `[10000, 256] x [256, 784]` that took 49 ms of one core where panel after panel for all rows took 64.
const PANELS: usize = 8;

/// Multiplications that are not shared among threads: they take some 10 us, and to wake the others takes as long.
const SERIAL: usize = 1 << 18;

/// From so many directions on a gate's closed units are skipped: a tile of fewer rows has about as many
/// loads as multiplications (5 and 6 with 3 rows, 16 and 28 in a full tile), which would eat what skipping saves.
const DIRECTIONS: usize = 4;

/// A right operand `[k, n]`, in pieces of the inner dimension, each in panels `[depth, width]` of columns.
#[derive(Debug)]
pub struct CpuMatrix<S> {
    panels: Aligned<S>,
    k: usize,
    n: usize,
    shape: Shape,
}

impl<S: Scalar> CpuMatrix<S> {
    pub(super) fn new(values: &[S], k: usize, n: usize) -> Self {
        debug_assert_eq!(values.len(), k * n);
        let shape = Shape::new::<S>();
        let width = shape.width;
        let mut panels = Aligned::new(k * n.div_ceil(width) * width);
        let mut rest: &mut [S] = &mut panels;
        for piece in pieces(k, 1) {
            for column in (0..n).step_by(width) {
                let count = width.min(n - column);
                let (panel, after) = rest.split_at_mut(piece.len() * width);
                for (row, k) in panel.chunks_exact_mut(width).zip(piece.clone()) {
                    row[..count].copy_from_slice(&values[k * n + column..][..count]);
                }
                rest = after;
            }
        }
        Self { panels, k, n, shape }
    }

    fn panel(&self, piece: &Range<usize>, panel: usize) -> &[S] {
        let (width, across) = (self.shape.width, self.n.div_ceil(self.shape.width));
        &self.panels[(piece.start * across + piece.len() * panel) * width..][..piece.len() * width]
    }
}

/// The left operand `x [rows, k]` with its gate.
struct Left<'a, S> {
    values: &'a [S],
    k: usize,
    gate: Option<&'a [S]>,
    /// How many directions share a sample's gate, and how many rows a direction has.
    repeats: usize,
    inner: usize,
}

impl<'a, S: Scalar> Left<'a, S> {
    fn new(x: &'a CpuTensor<S>, gate: Option<&'a CpuTensor<S>>, k: usize) -> Self {
        let repeats = gate.map_or(1, |gate| x.rows() / gate.rows().max(1)).max(1);
        let inner = x.len() / k.max(1) / x.rows().max(1);
        Self { values: x.values(), k, gate: gate.map(|gate| gate.values()), repeats, inner: inner.max(1) }
    }

    /// Whether a tile takes the directions of one sample and skips what its gate shuts off. This depends on shapes
    /// alone, as a row's result must not depend on its batch even where something skipped is infinite.
    fn skips(&self) -> bool {
        self.gate.is_some() && self.repeats >= DIRECTIONS && self.inner == 1
    }

    fn gate(&self, row: usize) -> Option<&'a [S]> {
        let sample = row / (self.repeats * self.inner) * self.inner + row % self.inner;
        self.gate.map(|gate| &gate[sample * self.k..][..self.k])
    }

    /// Lays out a piece of some rows for a tile.
    #[inline(always)]
    fn pack(&self, rows: &Range<usize>, piece: &Range<usize>, to: &mut [S]) {
        for (r, row) in rows.clone().enumerate() {
            let x = &self.values[row * self.k..][piece.clone()];
            lay_out(x, r, rows.len(), to);
            if let Some(gate) = self.gate(row) {
                for (i, gate) in gate[piece.clone()].chunks(CHUNK).enumerate() {
                    to[left_at(rows.len(), r, i * CHUNK)..][..gate.len()]
                        .iter_mut()
                        .zip(gate)
                        .for_each(|(x, &gate)| *x *= gate);
                }
            }
        }
    }

    /// The indices within a piece that the gate of a row lets through.
    #[inline(always)]
    fn active(&self, row: usize, piece: &Range<usize>, to: &mut Vec<u32>) {
        let gate = self.gate(row).unwrap_or_default();
        let start = to.len();
        to.resize(start + piece.len(), 0);
        let mut count = start;
        for (k, &gate) in gate[piece.clone()].iter().enumerate() {
            to[count] = k as u32;
            count += usize::from(gate != S::zero());
        }
        to.truncate(count);
    }
}

/// What one task computes: some rows, of each a range of columns (whole panels).
struct Task<'a, S> {
    first: usize,
    panels: Range<usize>,
    rows: Vec<&'a mut [S]>,
}

struct Scratch<S> {
    left: Aligned<S>,
    active: Vec<u32>,
    /// Where each tile's indices end in `active`.
    ends: Vec<usize>,
    out: Aligned<S>,
}

impl<S: Scalar> Default for Scratch<S> {
    fn default() -> Self {
        Self { left: Aligned::new(0), active: vec![], ends: vec![], out: Aligned::new(0) }
    }
}

pub(super) fn matmul<S: Scalar>(
    x: &CpuTensor<S>,
    gate: Option<&CpuTensor<S>>,
    matrix: &CpuMatrix<S>,
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> CpuTensor<S> {
    let (k, n, tile) = (matrix.k, matrix.n, matrix.shape);
    let mut shape = x.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = n;
    }
    let rows: usize = shape[..shape.len() - 1].iter().product();
    let mut result = pool::take(rows * n);
    let left = Left::new(x, gate, k);
    let finish = Finish::new(epilogue);
    // Tiles of one sample's directions, or of any rows.
    let unit = if left.skips() { left.repeats } else { tile.rows };
    let serial = rows * k * n.next_multiple_of(tile.width) <= SERIAL;
    let threads = if serial { 1 } else { rayon::current_num_threads() };
    let most = (ROWS / unit).max(1) * unit;
    let per_task = if serial { rows } else { rows.div_ceil(4 * threads) }.next_multiple_of(unit).min(most);
    let panels = n.div_ceil(tile.width);
    let across = if serial { 1 } else { 2 * threads }.div_ceil(rows.div_ceil(per_task.max(1)).max(1));
    let panels_per_task = if across < 3 { panels } else { panels.div_ceil(across) }.max(1);
    let mut tasks = vec![];
    for (i, block) in result.chunks_mut((per_task * n).max(1)).enumerate() {
        let mut rests: Vec<&mut [S]> = block.chunks_exact_mut(n).collect();
        for start in (0..panels).step_by(panels_per_task) {
            let panels = start..(start + panels_per_task).min(panels);
            let width = (panels.end * tile.width).min(n) - start * tile.width;
            let rows = rests.iter_mut().map(|rest| rest.split_off_mut(..width).unwrap_or_default()).collect();
            tasks.push(Task { first: i * per_task, panels, rows });
        }
    }
    if serial {
        let mut scratch = Scratch::default();
        tasks.into_iter().for_each(|task| run(task, &left, matrix, &finish, unit, &mut scratch));
    } else {
        tasks.into_par_iter().for_each_init(Scratch::default, |scratch, task| {
            run(task, &left, matrix, &finish, unit, scratch);
        });
    }
    finish.tensor(CpuTensor::of(shape, result))
}

fn run<S: Scalar>(
    mut task: Task<'_, S>,
    left: &Left<'_, S>,
    matrix: &CpuMatrix<S>,
    finish: &Finish<'_, S>,
    unit: usize,
    scratch: &mut Scratch<S>,
) {
    let Shape { arch, width, .. } = matrix.shape;
    let rows = task.first..task.first + task.rows.len();
    let tiles = || {
        rows.clone().step_by(unit).flat_map(|start| {
            let end = (start + unit).min(rows.end);
            let height = matrix.shape.height(end - start);
            (start..end).step_by(height).map(move |start| start..(start + height).min(end))
        })
    };
    scratch.out.resize(matrix.shape.rows * width);
    let skips = left.skips();
    for piece in pieces(matrix.k, 1) {
        scratch.left.resize(left_len(rows.len(), piece.len()));
        scratch.active.clear();
        scratch.ends.clear();
        wide(
            arch,
            #[inline(always)]
            || {
                for tile in tiles() {
                    let at = left_len(tile.start - rows.start, piece.len());
                    left.pack(&tile, &piece, &mut scratch.left[at..][..left_len(tile.len(), piece.len())]);
                    if skips {
                        left.active(tile.start, &piece, &mut scratch.active);
                        scratch.ends.push(scratch.active.len());
                    }
                }
            },
        );
        for first in task.panels.clone().step_by(PANELS) {
            let group = first..(first + PANELS).min(task.panels.end);
            let mut start = 0;
            for (i, tile) in tiles().enumerate() {
                let at = left_len(tile.start - rows.start, piece.len());
                let packed = &scratch.left[at..][..left_len(tile.len(), piece.len())];
                let order = if skips {
                    let begin = std::mem::replace(&mut start, scratch.ends[i]);
                    Order::Active(&scratch.active[begin..start])
                } else {
                    Order::Panel
                };
                let out = &mut scratch.out[..tile.len() * width];
                let rows = &mut task.rows[tile.start - rows.start..][..tile.len()];
                let last = (piece.end == matrix.k).then_some(finish);
                for panel in group.clone() {
                    let columns = [(panel - task.panels.start) * width, panel * width];
                    multiply(
                        matrix.shape,
                        tile.len(),
                        packed,
                        matrix.panel(&piece, panel),
                        order,
                        false,
                        out,
                    );
                    wide(
                        arch,
                        #[inline(always)]
                        || store(out, width, rows, columns, piece.start > 0, last),
                    );
                }
            }
        }
    }
}

/// Takes a tile into its rows, from the first of two columns on (the second is that column's number in the matrix).
#[inline(always)]
fn store<S: Scalar>(
    out: &mut [S],
    width: usize,
    rows: &mut [&mut [S]],
    [column, absolute]: [usize; 2],
    accumulate: bool,
    finish: Option<&Finish<'_, S>>,
) {
    for (out, row) in out.chunks_exact_mut(width).zip(rows) {
        let count = width.min(row.len() - column);
        let row = &mut row[column..][..count];
        if accumulate {
            add(&mut out[..count], row);
        }
        if let Some(finish) = finish {
            if let Some(bias) = finish.bias {
                add(&mut out[..count], &bias[absolute..][..count]);
            }
            finish.activate(out);
        }
        copy(row, &out[..count]);
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::engine::kernels::Activation;
    use crate::tolerance::{CLOSE, relative_difference};

    fn random(seed: u64, count: usize) -> Vec<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| rng.random_range(-1.0..2.0)).collect()
    }

    #[test]
    fn a_row_has_the_same_bits_in_every_batch() {
        for (k, n) in [(784, 256), (784, 10), (60, 1), (2, 3), (1100, 33)] {
            let rows = 150;
            let (a, b) = (random(3, rows * k), random(4, k * n));
            let matrix = CpuMatrix::new(&b, k, n);
            let whole = matmul(&CpuTensor::of([rows, k], a.clone()), None, &matrix, Epilogue::NONE);
            for chunk in [1, 2, 7, 64, 131] {
                let parts: Vec<f32> = a
                    .chunks(chunk * k)
                    .flat_map(|a| {
                        let part = matmul(
                            &CpuTensor::of([a.len() / k, k], a.to_vec()),
                            None,
                            &matrix,
                            Epilogue::NONE,
                        );
                        part.values().to_vec()
                    })
                    .collect();
                assert!(parts == *whole.values(), "k = {k}, n = {n}, {chunk} rows at a time");
            }
        }
    }

    #[test]
    fn gates_and_epilogues_equal_sums_in_f64() {
        // Directions on either side of DIRECTIONS, rows beyond one task, more axes, one row alone.
        for (samples, repeats, inner, k, n) in
            [(40, 10, 1, 600, 37), (5, 3, 1, 33, 70), (3, 5, 2, 20, 9), (1, 1, 1, 530, 300), (2, 17, 1, 8, 1)]
        {
            let rows = samples * repeats * inner;
            let x = CpuTensor::of([samples * repeats, inner, k], random(5, rows * k));
            let open = |v: f32| if v < 0.0 { 0.0 } else { v };
            let gate: Vec<f32> = random(6, samples * inner * k).into_iter().map(open).collect();
            let gate = CpuTensor::of([samples, inner, k], gate);
            let (weights, bias) = (random(7, k * n), CpuTensor::of([n], random(8, n)));
            let matrix = CpuMatrix::new(&weights, k, n);
            let epilogue =
                Epilogue { bias: Some(&bias), activation: Some(Activation::LeakyRelu { slope: 0.5 }) };
            let y = matmul(&x, Some(&gate), &matrix, epilogue);
            assert_eq!(y.shape(), [samples * repeats, inner, n]);
            let reference = (0..rows * n).map(|i| {
                let (row, column) = (i / n, i % n);
                let sample = row / (repeats * inner) * inner + row % inner;
                let term = |j: usize| {
                    let gated = x.values()[row * k + j] * gate.values()[sample * k + j];
                    f64::from(gated) * f64::from(weights[j * n + column])
                };
                let sum = (0..k).map(term).sum::<f64>() + f64::from(bias.values()[column]);
                if sum <= 0.0 { 0.5 * sum } else { sum }
            });
            let difference = relative_difference(y.values().iter().map(|&v| f64::from(v)), reference);
            assert!(difference < CLOSE, "{samples} x {repeats} x {inner}, [{k}, {n}]: {difference:e}");
            // Each sample alone has the same bits.
            let each = repeats * inner;
            for sample in 0..samples {
                let part =
                    CpuTensor::of([repeats, inner, k], x.values()[sample * each * k..][..each * k].to_vec());
                let gate = CpuTensor::of([1, inner, k], gate.row_range(sample..sample + 1).to_vec());
                let part = matmul(&part, Some(&gate), &matrix, epilogue);
                assert!(part.values()[..] == y.values()[sample * each * n..][..each * n]);
            }
        }
    }
}
