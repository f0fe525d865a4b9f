//! Padded copies of a few rows of an image, from which a convolution's tiles load directly.
//!
//! Positions are counted along the padded rows, so the elements that neighbouring positions see through one tap are
//! neighbours, and nothing is copied tap by tap. The positions in the padding are computed for nothing: a tenth at
//! rows of 28, a quarter at rows of 7. That is less than gathering costs as long as the columns gathered are used
//! for few outputs.

use std::ops::Range;

use crate::Scalar;

use super::gather::{Grid, Image, Run, blank, copy, every_second};

/// Elements of a stage at most, if it has several rows: with vectors of 64 bytes half of L2 (a quarter on machines
/// with 512 KiB are still the rows that a tile is working on).
const ELEMENTS: usize = 1 << 16;

/// A tap along one axis: which of the interleaved residues it sees, and how far along.
#[derive(Clone, Copy)]
struct Tap {
    residue: usize,
    shift: usize,
}

/// Both taps along an axis and what they span.
struct Axis {
    taps: Vec<Tap>,
    /// The residues that are seen, of the step.
    residues: Vec<usize>,
    /// The least shift, and the largest less the least.
    least: isize,
    span: usize,
}

impl Axis {
    fn new(taps: &[(usize, isize)], step: usize) -> Self {
        let step = step as isize;
        let shifts = || taps.iter().map(|&(_, tap)| tap.div_euclid(step));
        let least = shifts().min().unwrap_or(0);
        let span = (shifts().max().unwrap_or(0) - least) as usize;
        let mut residues: Vec<usize> = taps.iter().map(|&(_, tap)| tap.rem_euclid(step) as usize).collect();
        residues.sort_unstable();
        residues.dedup();
        let taps = taps
            .iter()
            .map(|&(_, tap)| Tap {
                residue: residues.partition_point(|&r| r < tap.rem_euclid(step) as usize),
                shift: (tap.div_euclid(step) - least) as usize,
            })
            .collect();
        Self { taps, residues, least, span }
    }
}

/// How rows of a grid are staged.
pub(super) struct Stage<'a> {
    grid: &'a Grid<'a>,
    y: Axis,
    x: Axis,
    width: usize,
}

impl<'a> Stage<'a> {
    pub(super) fn new(grid: &'a Grid<'a>) -> Self {
        let y = Axis::new(&grid.gather.y, grid.gather.step[0]);
        let x = Axis::new(&grid.gather.x, grid.gather.step[1]);
        let width = grid.size[1] + x.span;
        Self { grid, y, x, width }
    }

    /// How many rows of the grid are staged at once for so many channels.
    pub(super) fn rows(&self, channels: usize) -> usize {
        let row = (channels * self.y.residues.len() * self.x.residues.len() * self.width).max(1);
        let rows = self.grid.size[0];
        let most = (ELEMENTS / row).saturating_sub(self.y.span).max(1);
        rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
    }

    fn plane(&self, rows: usize) -> usize {
        (rows + self.y.span) * self.width
    }

    /// Elements of a stage of so many rows and channels.
    pub(super) fn len(&self, channels: usize, rows: usize) -> usize {
        channels * self.y.residues.len() * self.x.residues.len() * self.plane(rows)
    }

    /// Where each tap of each channel begins in a stage of so many rows.
    pub(super) fn offsets(&self, channels: usize, rows: usize, offsets: &mut Vec<u32>) {
        offsets.clear();
        let (residues_y, residues_x) = (self.y.residues.len(), self.x.residues.len());
        for c in 0..channels {
            for y in &self.y.taps {
                for x in &self.x.taps {
                    let plane = (c * residues_y + y.residue) * residues_x + x.residue;
                    offsets.push((plane * self.plane(rows) + y.shift * self.width + x.shift) as u32);
                }
            }
        }
    }

    /// The positions of so many rows from `first` on, as runs of panels.
    pub(super) fn runs(&self, sample: usize, rows: Range<usize>, width: usize, panels: &mut Vec<Vec<Run>>) {
        let columns = self.grid.size[1];
        let end = (rows.len() * self.width).saturating_sub(self.x.span);
        panels.resize_with(end.div_ceil(width), Vec::new);
        for (i, runs) in panels.iter_mut().enumerate() {
            runs.clear();
            let (mut q, end) = (i * width, ((i + 1) * width).min(end));
            while q < end {
                let (row, x) = (q / self.width, q % self.width);
                if x < columns {
                    let length = (columns - x).min(end - q);
                    runs.push(self.grid.run(q - i * width, length, sample, [rows.start + row, x]));
                }
                q += self.width - x;
            }
        }
    }

    /// Copies rows of some channels of a sample, multiplied by the gate.
    #[inline(always)]
    pub(super) fn fill<S: Scalar>(
        &self,
        image: &Image<'_, S>,
        sample: usize,
        channels: Range<usize>,
        rows: &Range<usize>,
        stage: &mut [S],
    ) {
        let [height, row_len] = self.grid.input;
        let step = self.grid.gather.step;
        let mut lines = stage.chunks_exact_mut(self.width);
        for channel in channels {
            let at = |sample: usize| (sample * image.channels + channel) * height * row_len;
            let plane = &image.values[at(sample)..][..height * row_len];
            let gate = image.gate.map(|gate| &gate[at(sample / image.repeats)..][..height * row_len]);
            for &residue_y in &self.y.residues {
                for &residue_x in &self.x.residues {
                    // Columns `low..high` see the image.
                    let start = self.x.least * step[1] as isize + residue_x as isize;
                    let before =
                        |limit: isize| ((limit - start).max(0) as usize).div_ceil(step[1]).min(self.width);
                    let high = before(row_len as isize);
                    let low = before(0).min(high);
                    let from = (start + (low * step[1]) as isize).max(0) as usize;
                    for j in 0..rows.len() + self.y.span {
                        let Some(line) = lines.next() else { return };
                        let y = (self.grid.first + rows.start + j) as isize + self.y.least;
                        let y = y * step[0] as isize + residue_y as isize;
                        if !(0..height as isize).contains(&y) || low == high {
                            blank(line);
                            continue;
                        }
                        let at = y as usize * row_len + from;
                        blank(&mut line[..low]);
                        blank(&mut line[high..]);
                        let line = &mut line[low..high];
                        match step[1] {
                            1 => copy(line, &plane[at..][..high - low]),
                            2 => every_second(line, &plane[at..]),
                            step => {
                                let x = plane[at..].iter().step_by(step);
                                line.iter_mut().zip(x).for_each(|(to, &x)| *to = x);
                            }
                        }
                        if let Some(gate) = gate {
                            let gate = &gate[at..];
                            if step[1] == 1 {
                                line.iter_mut().zip(gate).for_each(|(to, &gate)| *to *= gate);
                            } else {
                                let gate = gate.iter().step_by(step[1]);
                                line.iter_mut().zip(gate).for_each(|(to, &gate)| *to *= gate);
                            }
                        }
                    }
                }
            }
        }
    }
}
