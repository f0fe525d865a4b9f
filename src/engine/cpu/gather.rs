//! Where the elements lie that a position of a convolution sums over.

use std::ops::Range;

use crate::Scalar;
use crate::engine::kernels::Window;

use super::tile::Aligned;

/// One phase of a convolution or of its transpose: a grid of output positions that sum over the same taps.
///
/// Grid position `g` sees the input at `g * step + tap` and is output `origin + g * stride`. A convolution is one
/// phase with the window's strides as steps. Its transpose has a phase for each residue of the strides: input
/// `i` of the convolution was seen by output `o` through kernel element `k` where
/// `i + pad = o * stride + k * dilation`; for `i = residue + g * stride` the elements that can be are the same for
/// all `g`, and `o = g + (residue + pad - k * dilation) / stride`.
#[derive(Debug, Clone)]
pub(super) struct Gather {
    /// Kernel elements and taps along either axis.
    pub y: Vec<(usize, isize)>,
    pub x: Vec<(usize, isize)>,
    pub step: [usize; 2],
    pub origin: [usize; 2],
    pub stride: [usize; 2],
}

impl Gather {
    pub(super) fn forward(window: &Window) -> Self {
        let taps = |axis: usize| {
            (0..window.kernel[axis])
                .map(|k| (k, (k * window.dilations[axis]) as isize - window.pads[axis] as isize))
                .collect()
        };
        Self { y: taps(0), x: taps(1), step: window.strides, origin: [0; 2], stride: [1; 2] }
    }

    pub(super) fn backward(window: &Window) -> Vec<Self> {
        let taps = |axis: usize, residue: usize| -> Vec<(usize, isize)> {
            let stride = window.strides[axis] as isize;
            (0..window.kernel[axis])
                .map(|k| (k, (residue + window.pads[axis]) as isize - (k * window.dilations[axis]) as isize))
                .filter(|(_, numerator)| numerator % stride == 0)
                .map(|(k, numerator)| (k, numerator / stride))
                .collect()
        };
        let [rows, columns] = window.strides;
        let origins = (0..rows).flat_map(|y| (0..columns).map(move |x| [y, x]));
        origins
            .map(|origin| Self {
                y: taps(0, origin[0]),
                x: taps(1, origin[1]),
                step: [1; 2],
                origin,
                stride: window.strides,
            })
            .collect()
    }

    /// Elements of a window.
    pub(super) fn taps(&self) -> usize {
        self.y.len() * self.x.len()
    }

    /// The positions that lie in some rows of the output (from a multiple of the stride on).
    pub(super) fn grid<'a>(&'a self, input: [usize; 2], output: [usize; 2], rows: &Range<usize>) -> Grid<'a> {
        let along =
            |axis: usize, length: usize| length.saturating_sub(self.origin[axis]).div_ceil(self.stride[axis]);
        let size = [along(0, rows.len()), along(1, output[1])];
        let first = rows.start / self.stride[0];
        let plain = self.step == [1; 2] && self.stride == [1; 2] && input == output;
        let same = plain && matches!(self.y[..], [(_, 0)]) && matches!(self.x[..], [(_, 0)]);
        Grid { gather: self, input, output_width: output[1], size, first, same }
    }
}

/// Some rows of the grid of a phase.
pub(super) struct Grid<'a> {
    pub gather: &'a Gather,
    pub input: [usize; 2],
    output_width: usize,
    pub size: [usize; 2],
    /// The number of the first row.
    pub first: usize,
    /// Whether each position sees itself alone.
    same: bool,
}

/// Neighbouring columns of a panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub column: usize,
    pub length: usize,
    /// The sample within the task.
    pub sample: usize,
    /// The position on the grid.
    y: usize,
    x: usize,
    /// Where the first one is put in the task's rows, and the distance of the next.
    pub to: usize,
    pub step: usize,
}

/// The input of a convolution.
pub(super) struct Image<'a, S> {
    /// `[N * r, channels, height, width]`
    pub values: &'a [S],
    /// `[N, channels, height, width]`
    pub gate: Option<&'a [S]>,
    /// `r`
    pub repeats: usize,
    pub channels: usize,
    pub size: [usize; 2],
}

impl Grid<'_> {
    /// Positions of a sample.
    pub(super) fn positions(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Columns `x..x + length` of a row, as columns of a panel from `column` on.
    pub(super) fn run(&self, column: usize, length: usize, sample: usize, [row, x]: [usize; 2]) -> Run {
        let Gather { origin, stride, .. } = self.gather;
        let to = (origin[0] + row * stride[0]) * self.output_width + origin[1] + x * stride[1];
        Run { column, length, sample, y: self.first + row, x, to, step: stride[1] }
    }

    /// The columns of a panel, cut where a row ends.
    pub(super) fn runs(&self, columns: Range<usize>, runs: &mut Vec<Run>) {
        runs.clear();
        let mut column = columns.start;
        while column < columns.end {
            let (sample, position) = (column / self.positions(), column % self.positions());
            let (row, x) = (position / self.size[1], position % self.size[1]);
            let rest = if self.same { self.positions() - position } else { self.size[1] - x };
            let length = rest.min(columns.end - column);
            runs.push(self.run(column - columns.start, length, sample, [row, x]));
            column += length;
        }
    }

    /// Where the columns of some panels gather from: the image, or a copy of the rows and channels that they see,
    /// multiplied by the gate (each element is gathered once for each tap, but multiplied once).
    #[inline(always)]
    pub(super) fn source<'a, S: Scalar>(
        &self,
        image: &Image<'a, S>,
        first_sample: usize,
        channels: Range<usize>,
        runs: &[Vec<Run>],
        gated: &'a mut Aligned<S>,
    ) -> Source<'a, S> {
        let [height, row_len] = self.input;
        let plane = height * row_len;
        let Some(gate) = image.gate else {
            let values = &image.values[(first_sample * image.channels + channels.start) * plane..];
            return Source { values, sample: image.channels * plane, plane, first_row: 0, first_sample: 0 };
        };
        let mut all = runs.iter().flatten();
        let (Some(first), Some(last)) = (all.next(), runs.iter().flatten().last()) else {
            return Source { values: &[], sample: 0, plane: 0, first_row: 0, first_sample: 0 };
        };
        let rows = if first.sample == last.sample {
            let taps = self.gather.y.iter().map(|&(_, tap)| tap);
            let (low, high) = (taps.clone().min().unwrap_or(0), taps.max().unwrap_or(0));
            let at = |y: usize, tap: isize| (y * self.gather.step[0]).saturating_add_signed(tap).min(height);
            let end = if self.same { last.y + (last.x + last.length).div_ceil(row_len) } else { last.y + 1 };
            let start = at(first.y, low);
            start..at(end.saturating_sub(1), high + 1).max(start)
        } else {
            0..height
        };
        let length = rows.len() * row_len;
        gated.resize((last.sample - first.sample + 1) * channels.len() * length);
        let mut to: &mut [S] = gated;
        for sample in first_sample + first.sample..=first_sample + last.sample {
            for channel in channels.clone() {
                let at = |sample: usize| (sample * image.channels + channel) * plane + rows.start * row_len;
                let x = &image.values[at(sample)..][..length];
                let gate = &gate[at(sample / image.repeats)..][..length];
                let (plane, rest) = to.split_at_mut(length);
                plane.iter_mut().zip(x.iter().zip(gate)).for_each(|(to, (&x, &gate))| *to = x * gate);
                to = rest;
            }
        }
        Source {
            values: gated,
            sample: channels.len() * length,
            plane: length,
            first_row: rows.start,
            first_sample: first.sample,
        }
    }

    /// Gathers `[channels, taps, width]` for the columns of a panel.
    #[inline(always)]
    pub(super) fn fill<S: Scalar>(
        &self,
        source: &Source<'_, S>,
        channels: usize,
        runs: &[Run],
        width: usize,
        panel: &mut [S],
    ) {
        let [height, row_len] = self.input;
        let Gather { y: taps_y, x: taps_x, step, .. } = self.gather;
        let channel_len = taps_y.len() * taps_x.len() * width;
        if runs.last().is_some_and(|run| run.column + run.length < width) {
            panel.fill(S::zero());
        }
        for run in runs {
            let values = &source.values[(run.sample - source.first_sample) * source.sample..];
            for (i, &(_, tap_y)) in taps_y.iter().enumerate() {
                let row = (run.y * step[0]).checked_add_signed(tap_y).filter(|&y| y < height);
                for (j, &(_, tap_x)) in taps_x.iter().enumerate() {
                    let to = &mut panel[(i * taps_x.len() + j) * width + run.column..];
                    // Columns `low..high` of the run see the image.
                    let start = (run.x * step[1]) as isize + tap_x;
                    let before =
                        |limit: isize| ((limit - start).max(0) as usize).div_ceil(step[1]).min(run.length);
                    let (low, high) = match row {
                        Some(_) if self.same => (0, run.length),
                        Some(_) => (before(0), before(row_len as isize)),
                        None => (0, 0),
                    };
                    let low = low.min(high);
                    let mut blank = |columns: Range<usize>| {
                        if !columns.is_empty() {
                            let to = &mut to[columns.start..];
                            blank_lines(to, channel_len, columns.len(), channels);
                        }
                    };
                    blank(0..low);
                    blank(high..run.length);
                    let Some(row) = row.filter(|_| low < high) else { continue };
                    let at = ((row - source.first_row) * row_len) as isize + start;
                    let from = &values[(at + (low * step[1]) as isize) as usize..];
                    let to = &mut to[low..];
                    match step[1] {
                        1 => copy_lines(to, channel_len, from, source.plane, high - low, channels),
                        2 => {
                            for c in 0..channels {
                                let to = &mut to[c * channel_len..][..high - low];
                                every_second(to, &from[c * source.plane..]);
                            }
                        }
                        step => {
                            for c in 0..channels {
                                let from = from[c * source.plane..].iter().step_by(step);
                                to[c * channel_len..][..high - low]
                                    .iter_mut()
                                    .zip(from)
                                    .for_each(|(to, x)| *to = *x);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What panels are gathered from.
pub(super) struct Source<'a, S> {
    values: &'a [S],
    /// Distances of samples and of channels.
    sample: usize,
    plane: usize,
    first_row: usize,
    first_sample: usize,
}

/// Copies `length` elements `count` times, at these distances.
///
/// Lengths are short: as two vectors that overlap, chosen outside the loop, a copy costs two loads and two stores.
#[inline(always)]
fn copy_lines<S: Copy>(
    to: &mut [S],
    to_step: usize,
    from: &[S],
    from_step: usize,
    length: usize,
    count: usize,
) {
    #[inline(always)]
    fn lines<const N: usize, S: Copy>(
        to: &mut [S],
        to_step: usize,
        from: &[S],
        from_step: usize,
        length: usize,
        count: usize,
    ) {
        for i in 0..count {
            ends::<N, S>(&mut to[i * to_step..][..length], &from[i * from_step..][..length]);
        }
    }
    match length {
        0 => {}
        1 => lines::<1, S>(to, to_step, from, from_step, length, count),
        2..4 => lines::<2, S>(to, to_step, from, from_step, length, count),
        4..8 => lines::<4, S>(to, to_step, from, from_step, length, count),
        8..16 => lines::<8, S>(to, to_step, from, from_step, length, count),
        16..=32 => lines::<16, S>(to, to_step, from, from_step, length, count),
        _ => (0..count).for_each(|i| {
            to[i * to_step..][..length].copy_from_slice(&from[i * from_step..][..length]);
        }),
    }
}

/// Writes `length` zeros `count` times, at this distance.
#[inline(always)]
fn blank_lines<S: Scalar>(to: &mut [S], to_step: usize, length: usize, count: usize) {
    const SHORT: usize = 32;
    if length <= SHORT {
        copy_lines(to, to_step, &[S::zero(); SHORT], 0, length, count);
    } else {
        (0..count).for_each(|i| to[i * to_step..][..length].fill(S::zero()));
    }
}

/// `to.fill(0)` for a short slice, without a call.
#[inline(always)]
pub(super) fn blank<S: Scalar>(to: &mut [S]) {
    let length = to.len();
    blank_lines(to, 0, length, 1);
}

/// Copies the first and the last `N` elements.
#[inline(always)]
fn ends<const N: usize, S: Copy>(to: &mut [S], from: &[S]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *to = *from;
    }
}

/// `to.copy_from_slice(from)` for a short slice, without a call.
#[inline(always)]
pub(super) fn copy<S: Copy>(to: &mut [S], from: &[S]) {
    let length = to.len();
    copy_lines(to, 0, from, 0, length, 1);
}

/// Elements 0, 2, 4 and so on.
#[inline(always)]
pub(super) fn every_second<S: Copy>(to: &mut [S], from: &[S]) {
    let (pairs, rest) = from[..2 * to.len() - 1].as_chunks::<2>();
    let (last, to) = match to.split_last_mut() {
        Some(split) => split,
        None => return,
    };
    to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
    *last = rest[0];
}
