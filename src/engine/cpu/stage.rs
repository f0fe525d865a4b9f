//! Padded copies of rows of images, which a convolution's tiles read.
//!
//! Positions are counted along the padded rows, so the elements that neighbouring positions see through one tap are
//! neighbours, and a tile loads them as they lie. Positions in the padding are then computed for nothing: a tenth at
//! rows of 28, more than half at images of 7 x 7. Where that costs more, panels without them are gathered tap by tap
//! (see [`Stage::gathers`]); in a padded copy the elements of a row of a panel lie alike for every tap.

use std::ops::Range;

use crate::Scalar;

use super::copy::{by_length, every_second, gated_line, line};
use super::filters::{Layer, Phase};

/// Elements of a stage at most, if it has several rows: with vectors of 64 bytes half of L2 (a quarter on machines
/// with 512 KiB are still the rows that a tile is working on).
const ELEMENTS: usize = 1 << 16;

/// Elements that are gathered with one load and one store. What they hold beyond a run is overwritten by the next.
const COPY: usize = 16;

/// Elements behind a stage and behind a panel that copies may read and write.
pub(super) const SLACK: usize = COPY;

/// Cycles that one copy takes, in multiply-adds of a tile's row (14 rows of 2 vectors take 14 cycles): measured
/// on layers of 28 x 28 with 128 channels, where gathering and computing the padding took the same.
const COPY_COST: f64 = 3.0;

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

/// All taps along one axis and what they span.
struct Axis {
    step: isize,
    /// The residues that are seen, of the step: their elements lie apart.
    residues: Vec<usize>,
    /// The least shift, and the largest less the least.
    least: isize,
    span: usize,
}

impl Axis {
    fn new(taps: impl Iterator<Item = isize> + Clone, step: usize) -> Self {
        let step = step as isize;
        let shifts = taps.clone().map(|tap| tap.div_euclid(step));
        let least = shifts.clone().min().unwrap_or(0);
        let span = (shifts.max().unwrap_or(0) - least) as usize;
        let mut residues: Vec<usize> = taps.map(|tap| tap.rem_euclid(step) as usize).collect();
        residues.sort_unstable();
        residues.dedup();
        Self { step, residues, least, span }
    }

    /// Which of the residues a tap sees, and how far along.
    fn place(&self, tap: isize) -> [usize; 2] {
        let residue = self.residues.partition_point(|&r| r < tap.rem_euclid(self.step) as usize);
        [residue, (tap.div_euclid(self.step) - self.least) as usize]
    }

    /// Of `count` staged elements from position `first` of the grid on, those that see one of `length`, and the
    /// first one that they see.
    fn seen(&self, first: usize, count: usize, residue: usize, length: usize) -> (Range<usize>, usize) {
        let start = (first as isize + self.least) * self.step + residue as isize;
        let before = |limit: isize| ((limit - start).max(0) as usize).div_ceil(self.step as usize).min(count);
        let high = before(length as isize);
        let low = before(0).min(high);
        (low..high, (start + low as isize * self.step).max(0) as usize)
    }
}

/// How images are staged.
pub(super) struct Stage {
    y: Axis,
    x: Axis,
    /// Positions in a row of the grid, and what they span.
    columns: usize,
    width: usize,
    /// Whether rows follow each other without a gap, here and in the output.
    dense: bool,
}

/// Neighbouring columns of a panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub column: usize,
    pub length: usize,
    /// The sample within the task.
    pub sample: usize,
    /// The position on the grid, within the task.
    pub y: usize,
    pub x: usize,
    /// Where it lies in the stage.
    from: usize,
}

/// Rows of the grid of one sample.
#[derive(Debug, Clone)]
struct Segment {
    sample: usize,
    rows: Range<usize>,
    /// Its first line in the stage.
    line: usize,
}

/// Some positions of a task, in order: `[samples, rows, columns]`.
#[derive(Debug, Default)]
pub(super) struct Block {
    segments: Vec<Segment>,
    /// Lines of a staged channel.
    lines: usize,
    /// The panels that positions are computed in.
    pub panels: Vec<Vec<Run>>,
}

impl Stage {
    /// For `columns` positions in a row of the grid.
    pub(super) fn new<S: Scalar>(layer: &Layer<S>, columns: usize) -> Self {
        let taps = |axis: usize| layer.phases.iter().flat_map(move |phase| phase.taps[axis].iter().copied());
        let y = Axis::new(taps(0), layer.step[0]);
        let x = Axis::new(taps(1), layer.step[1]);
        let dense = x.span == 0 && layer.stride == [1; 2];
        let width = columns + x.span;
        Self { y, x, columns, width, dense }
    }

    /// How many of so many rows of so many samples are staged at once for so many channels, if tiles read the stage.
    pub(super) fn rows(&self, rows: usize, samples: usize, channels: usize) -> usize {
        let line = (channels * self.y.residues.len() * self.x.residues.len() * self.width).max(1);
        let lines = ELEMENTS / line;
        let whole = (lines / (rows + self.y.span)).min(samples);
        if whole > 0 {
            return rows * samples.div_ceil(samples.div_ceil(whole));
        }
        let most = lines.saturating_sub(self.y.span).max(1);
        rows.div_ceil(rows.div_ceil(most)).max(1)
    }

    /// Whether gathering panels costs less than computing padding, where so many rows of the grid of each sample are
    /// staged, `staged` at once.
    pub(super) fn gathers(&self, rows: usize, staged: usize, outputs: usize, width: usize) -> bool {
        let lines = if staged > rows { (rows + self.y.span) as f64 / rows as f64 } else { 1.0 };
        let waste = lines * self.width as f64 / self.columns as f64 - 1.0;
        let copies = width as f64 / self.columns.min(COPY) as f64 + 1.0;
        outputs as f64 * waste > COPY_COST * copies
    }

    /// Cuts some positions into runs of panels, with padding or without.
    pub(super) fn cut(
        &self,
        positions: Range<usize>,
        rows: usize,
        width: usize,
        gathered: bool,
        block: &mut Block,
    ) {
        let Block { segments, lines, panels } = block;
        segments.clear();
        panels.iter_mut().for_each(Vec::clear);
        *lines = 0;
        let mut number = 0;
        let mut put = |mut run: Run| {
            while run.length > 0 {
                let (panel, column) = (run.column / width, run.column % width);
                if panels.len() <= panel {
                    panels.resize_with(panel + 1, Vec::new);
                }
                number = panel + 1;
                let length = run.length.min(width - column);
                panels[panel].push(Run { column, length, ..run });
                run = Run {
                    column: run.column + length,
                    length: run.length - length,
                    x: run.x + length,
                    from: run.from + length,
                    ..run
                };
            }
        };
        let per_sample = rows * self.columns;
        let mut start = positions.start;
        while start < positions.end {
            let sample = start / per_sample;
            let end = positions.end.min((sample + 1) * per_sample);
            let [first, last] = [start, end - 1].map(|position| position % per_sample / self.columns);
            let segment = Segment { sample, rows: first..last + 1, line: *lines };
            *lines += segment.rows.len() + self.y.span;
            let together = if self.dense { segment.rows.len() } else { 1 };
            for y in segment.rows.clone().step_by(together) {
                let row = sample * per_sample + y * self.columns;
                let (from, to) = (start.max(row), end.min(row + together * self.columns));
                let x = from - row;
                let staged = (segment.line + y - first) * self.width + x;
                let column = if gathered { from - positions.start } else { staged };
                put(Run { column, length: to - from, sample, y, x, from: staged });
            }
            segments.push(segment);
            start = end;
        }
        panels.truncate(number);
    }

    fn plane(&self, block: &Block) -> usize {
        block.lines * self.width
    }

    /// Elements of a stage of so many channels.
    pub(super) fn len(&self, block: &Block, channels: usize) -> usize {
        channels * self.y.residues.len() * self.x.residues.len() * self.plane(block)
    }

    /// Where each tap of each channel begins in a stage.
    pub(super) fn offsets<S>(
        &self,
        block: &Block,
        phase: &Phase<S>,
        channels: usize,
        offsets: &mut Vec<u32>,
    ) {
        offsets.clear();
        let plane = self.plane(block);
        let residues = [self.y.residues.len(), self.x.residues.len()];
        for c in 0..channels {
            for &y in &phase.taps[0] {
                let [residue, shift] = self.y.place(y);
                let (start, line) = ((c * residues[0] + residue) * residues[1], shift * self.width);
                for &x in &phase.taps[1] {
                    let [residue, shift] = self.x.place(x);
                    offsets.push(((start + residue) * plane + line + shift) as u32);
                }
            }
        }
    }

    /// Copies what the positions of a block see of some channels, multiplied by the gate. Samples are counted from
    /// `sample` on and rows of the grid from `row` on.
    #[inline(always)]
    pub(super) fn fill<S: Scalar>(
        &self,
        block: &Block,
        image: &Image<'_, S>,
        [sample, row]: [usize; 2],
        channels: Range<usize>,
        stage: &mut [S],
    ) {
        let [height, width] = image.size;
        let mut planes = stage.chunks_exact_mut(self.plane(block).max(1));
        for channel in channels {
            for &residue_y in &self.y.residues {
                for &residue_x in &self.x.residues {
                    let Some(plane) = planes.next() else { return };
                    let (columns, x) = self.x.seen(0, self.width, residue_x, width);
                    if self.y.span > 0 || columns.len() < self.width {
                        plane.fill(S::zero());
                    }
                    for segment in &block.segments {
                        let lines = segment.rows.len() + self.y.span;
                        let (rows, y) = self.y.seen(row + segment.rows.start, lines, residue_y, height);
                        let sample = sample + segment.sample;
                        let at =
                            |sample: usize| ((sample * image.channels + channel) * height + y) * width + x;
                        let lines = Lines {
                            to: (segment.line + rows.start) * self.width + columns.start,
                            to_step: self.width,
                            from_step: self.y.step as usize * width,
                            length: columns.len(),
                            count: if columns.is_empty() { 0 } else { rows.len() },
                        };
                        if lines.count == 0 {
                            continue;
                        }
                        let from = &image.values[at(sample)..];
                        let gate = image.gate.map(|gate| &gate[at(sample / image.repeats)..]);
                        lines.copy(plane, from, gate, self.x.step as usize);
                    }
                }
            }
        }
    }
}

/// Lines of an image and where they are put.
struct Lines {
    to: usize,
    to_step: usize,
    from_step: usize,
    length: usize,
    count: usize,
}

impl Lines {
    #[inline(always)]
    fn copy<S: Scalar>(&self, to: &mut [S], from: &[S], gate: Option<&[S]>, step: usize) {
        let &Self { to: start, to_step, from_step, length, count } = self;
        let to = &mut to[start..];
        match (step, gate) {
            (1, None) if to_step == length && from_step == length => {
                by_length!(length * count, N => line::<N, S>(&mut to[..length * count], from));
            }
            (1, None) => by_length!(length, N => for i in 0..count {
                line::<N, S>(&mut to[i * to_step..][..length], &from[i * from_step..]);
            }),
            (1, Some(gate)) => by_length!(length, N => for i in 0..count {
                let at = i * from_step;
                gated_line::<N, S>(&mut to[i * to_step..][..length], &from[at..], &gate[at..]);
            }),
            _ => {
                for i in 0..count {
                    let (to, from) = (&mut to[i * to_step..][..length], &from[i * from_step..]);
                    match step {
                        2 => every_second(to, from),
                        _ => to.iter_mut().zip(from.iter().step_by(step)).for_each(|(to, &x)| *to = x),
                    }
                    if let Some(gate) = gate {
                        let gate = gate[i * from_step..].iter().step_by(step);
                        to.iter_mut().zip(gate).for_each(|(to, &gate)| *to *= gate);
                    }
                }
            }
        }
    }
}

/// Gathers a panel `[taps, width]`; stage and panel have [`SLACK`] elements more.
#[inline(always)]
pub(super) fn gather<S: Scalar>(stage: &[S], offsets: &[u32], runs: &[Run], width: usize, panel: &mut [S]) {
    for (k, &offset) in offsets.iter().enumerate() {
        let (to, from) = (&mut panel[k * width..], &stage[offset as usize..]);
        for run in runs {
            for part in (0..run.length).step_by(COPY) {
                let to = to[run.column + part..].first_chunk_mut::<COPY>();
                let from = from[run.from + part..].first_chunk::<COPY>();
                if let (Some(to), Some(from)) = (to, from) {
                    *to = *from;
                }
            }
        }
    }
}
