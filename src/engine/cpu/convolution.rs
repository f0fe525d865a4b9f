//! Convolution and its transpose: register tiles over the columns of patches, which are never all in memory.
//!
//! Images are staged, a few rows and channels of them with their padding, and tiles read the stage or panels gathered
//! from it (see [`stage`](super::stage)). Every output position sums over its window in one order, so equal windows
//! give equal values. The transpose is gathered like the convolution, not scattered: no two tasks write the same
//! element.

#[cfg(test)]
mod tests;

use std::ops::Range;

use rayon::prelude::*;

use crate::engine::kernels::Epilogue;
use crate::{Result, Scalar};

use super::copy::{by_length, interleaved_line, line};
use super::epilogue::{Finish, each};
use super::filters::{CpuFilters, Layer, Phase};
use super::pool;
use super::stage::{Block, Image, Run, SLACK, Stage, gather};
use super::tile::{Aligned, Order, Shape, multiply};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

/// Panels of columns that are gathered at once: the filters come once from memory for so many columns, and a piece
/// of the panels (512 KiB with vectors of 64 bytes) stays in L2.
const PANELS: usize = 8;

/// Elements of unfinished tiles at most (512 KiB in f32), where they wait for other pieces or phases.
const TILES: usize = 1 << 17;

/// From so many outputs of a group on, a task should have columns enough to pay for reading the filters.
const MANY_OUTPUTS: usize = 128;

pub(super) fn convolve<S: Scalar>(
    x: &CpuTensor<S>,
    filters: &CpuFilters<S>,
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> Result<CpuTensor<S>> {
    let output = filters.window.output([x.shape()[2], x.shape()[3]])?;
    Ok(run(filters.forward(), x, None, output, epilogue))
}

pub(super) fn convolve_transposed<S: Scalar>(
    y: &CpuTensor<S>,
    gate: Option<&CpuTensor<S>>,
    filters: &CpuFilters<S>,
    size: [usize; 2],
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> CpuTensor<S> {
    run(filters.backward(), y, gate, size, epilogue)
}

/// What one task computes: rows of the image of some channels and samples.
struct Task<'a, S> {
    samples: Range<usize>,
    rows: Range<usize>,
    /// Channels, the same of each group.
    channels: Range<usize>,
    /// For each sample and channel these rows.
    planes: Vec<&'a mut [S]>,
}

fn run<S: Scalar>(
    layer: &Layer<S>,
    x: &CpuTensor<S>,
    gate: Option<&CpuTensor<S>>,
    output: [usize; 2],
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> CpuTensor<S> {
    let &[samples, channels, height, width] = x.shape() else { unreachable!("images have four axes") };
    let repeats = gate.map_or(1, |gate| samples / gate.rows().max(1)).max(1);
    let gate = gate.map(|gate| gate.values());
    let image = Image { values: x.values(), gate, repeats, channels, size: [height, width] };
    let outputs = layer.groups * layer.outputs;
    let mut values = pool::take(samples * outputs * output[0] * output[1]);
    let finish = Finish::new(epilogue);
    let columns = output[1].div_ceil(layer.stride[1]);
    let stage = Stage::new(layer, columns);
    let work = Work { layer, stage, shape: Shape::new::<S>(), finish: &finish, columns, width: output[1] };
    tasks(layer, &mut values, samples, output)
        .into_par_iter()
        .for_each_init(Scratch::default, |scratch, mut task| scratch.run(&work, &mut task, &image));
    finish.tensor(CpuTensor::of([samples, outputs, output[0], output[1]], values))
}

/// Cuts the work: into samples where there are many, else into rows of the image, then channels.
fn tasks<'a, S: Scalar>(
    layer: &Layer<S>,
    values: &'a mut [S],
    samples: usize,
    [height, width]: [usize; 2],
) -> Vec<Task<'a, S>> {
    let threads = rayon::current_num_threads();
    let shape = Shape::new::<S>();
    let step = layer.stride[0];
    let columns = samples * height * width / (step * step);
    let chunks = if layer.outputs < MANY_OUTPUTS {
        8 * threads
    } else {
        (columns / (PANELS * shape.width)).clamp(1, 4 * threads)
    };
    let samples_per_task = samples.div_ceil(chunks).max(1);
    // Whole panels, or nearly so.
    let most = (height * width).div_ceil(2 * shape.width * step * step).max(1);
    let bands = chunks.min(4 * threads).div_ceil(samples.max(1)).min(most).min(height);
    let bands = if threads == 1 { 1 } else { bands };
    let rows_per_task = height.div_ceil(bands.max(1)).next_multiple_of(step).max(1);
    let number = samples.div_ceil(samples_per_task) * height.div_ceil(rows_per_task);
    let splits = if layer.groups > 1 { 1 } else { threads.div_ceil(number.max(1)) };
    // Whole tiles, unless one has all there is.
    let block = layer.phases[0].block.min(layer.outputs);
    let channels_per_task = (layer.outputs.div_ceil(block).div_ceil(splits) * block).max(1);
    let plane = height * width;
    let sample_len = layer.groups * layer.outputs * plane;
    let mut tasks = vec![];
    for (i, values) in values.chunks_mut((sample_len * samples_per_task).max(1)).enumerate() {
        let first = i * samples_per_task;
        let samples = first..first + values.len() / sample_len;
        let mut planes: Vec<&mut [S]> = values.chunks_exact_mut(plane).collect();
        for start in (0..height).step_by(rows_per_task) {
            let rows = start..(start + rows_per_task).min(height);
            let mut parts: Vec<Option<&mut [S]>> =
                planes.iter_mut().map(|plane| plane.split_off_mut(..rows.len() * width)).collect();
            for start in (0..layer.outputs).step_by(channels_per_task) {
                let channels = start..(start + channels_per_task).min(layer.outputs);
                let wanted = |i: usize| channels.contains(&(i % layer.outputs));
                let parts = parts.iter_mut().enumerate().filter(|&(i, _)| wanted(i));
                let planes = parts.filter_map(|(_, part)| part.take()).collect();
                tasks.push(Task { samples: samples.clone(), rows: rows.clone(), channels, planes });
            }
        }
    }
    tasks
}

/// What all tasks share.
struct Work<'a, S> {
    layer: &'a Layer<S>,
    stage: Stage,
    shape: Shape,
    finish: &'a Finish<'a, S>,
    /// Positions in a row of the grid, and elements in a row of the output.
    columns: usize,
    width: usize,
}

struct Scratch<S> {
    stage: Aligned<S>,
    /// Gathered panels `[depth, width]`.
    panels: Aligned<S>,
    /// Tiles `[phases, panels, rows, width]`, or one that is finished at once.
    tiles: Aligned<S>,
    block: Block,
    offsets: Vec<u32>,
}

impl<S: Scalar> Default for Scratch<S> {
    fn default() -> Self {
        let [stage, panels, tiles] = [(); 3].map(|()| Aligned::new(0));
        Self { stage, panels, tiles, block: Block::default(), offsets: vec![] }
    }
}

impl<S: Scalar> Scratch<S> {
    fn run(&mut self, work: &Work<'_, S>, task: &mut Task<'_, S>, image: &Image<'_, S>) {
        let Work { layer, shape, .. } = work;
        let width = shape.width;
        let rows = task.rows.len().div_ceil(layer.stride[0]);
        let row = task.rows.start / layer.stride[0];
        let channels = layer.pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
        let staged = work.stage.rows(rows, task.samples.len(), channels);
        let gathered = work.stage.gathers(rows, staged, layer.phases[0].rows, width);
        let tile_rows: usize = layer.phases.iter().map(|phase| phase.tile_rows(&task.channels)).sum();
        let waits = layer.pieces.len() > 1 || layer.stride != [1; 2];
        let mut step = if gathered { PANELS * width } else { staged * work.columns };
        if waits {
            let most = TILES / tile_rows.max(1);
            step = step.min(if gathered { most / width * width } else { most / work.columns * work.columns });
            step = step.max(if gathered { width } else { work.columns });
        }
        let positions = task.samples.len() * rows * work.columns;
        for start in (0..positions).step_by(step.max(1)) {
            let positions = start..(start + step).min(positions);
            work.stage.cut(positions, rows, width, gathered, &mut self.block);
            let Self { stage, panels, tiles, block, offsets } = self;
            tiles.resize(if waits { block.panels.len() * tile_rows } else { shape.rows } * width);
            for group in 0..layer.groups {
                for (number, piece) in layer.pieces.iter().enumerate() {
                    let length = work.stage.len(block, piece.len());
                    stage.resize(length + width + SLACK);
                    let inputs = group * layer.inputs..(group + 1) * layer.inputs;
                    let inputs = inputs.start + piece.start..inputs.start + piece.end;
                    wide(
                        shape.arch,
                        #[inline(always)]
                        || {
                            let first = [task.samples.start, row];
                            work.stage.fill(block, image, first, inputs.clone(), &mut stage[..length]);
                        },
                    );
                    let mut rest = &mut tiles[..];
                    for phase in &layer.phases {
                        work.stage.offsets(block, phase, piece.len(), offsets);
                        let depth = offsets.len();
                        if gathered {
                            panels.resize(block.panels.len() * depth * width + SLACK);
                            wide(
                                shape.arch,
                                #[inline(always)]
                                || {
                                    for (i, runs) in block.panels.iter().enumerate() {
                                        gather(stage, offsets, runs, width, &mut panels[i * depth * width..]);
                                    }
                                },
                            );
                        }
                        let right = |panel: usize| {
                            if gathered {
                                (&panels[panel * depth * width..][..depth * width], Order::Panel)
                            } else {
                                (&stage[panel * width..], Order::Offsets(offsets))
                            }
                        };
                        let filters =
                            |block| phase.filters([group, layer.pieces.len(), number], depth, block);
                        for (panel, runs) in block.panels.iter().enumerate() {
                            let (right, order) = right(panel);
                            for block in phase.blocks(&task.channels) {
                                let length = phase.block * width;
                                let tile = if waits {
                                    let (tile, after) = std::mem::take(&mut rest).split_at_mut(length);
                                    rest = after;
                                    tile
                                } else {
                                    &mut rest[..length]
                                };
                                multiply(*shape, phase.block, filters(block), right, order, number > 0, tile);
                                if !waits {
                                    let first = block * phase.block;
                                    let channels = first..(first + phase.block).min(layer.outputs);
                                    work.finish(task, group, channels, runs, tile);
                                }
                            }
                        }
                    }
                }
                if waits {
                    work.finish_waiting(task, group, block, tiles);
                }
            }
        }
    }
}

impl<S: Scalar> Phase<S> {
    /// The blocks of rows that compute some channels.
    fn blocks(&self, channels: &Range<usize>) -> Range<usize> {
        if self.rows <= self.block {
            0..1
        } else {
            channels.start / self.block..channels.end.div_ceil(self.block)
        }
    }

    /// Rows of these blocks.
    fn tile_rows(&self, channels: &Range<usize>) -> usize {
        self.blocks(channels).len() * self.block
    }
}

impl<S: Scalar> Work<'_, S> {
    /// The number of a channel among a task's planes, for its first sample, and the planes of a sample.
    fn plane(&self, task: &Task<'_, S>, group: usize, channel: usize) -> [usize; 2] {
        let per_sample = task.planes.len() / task.samples.len().max(1);
        let per_group = per_sample / self.layer.groups;
        [group * per_group + channel - task.channels.start, per_sample]
    }

    /// Adds the bias, applies the activation.
    #[inline(always)]
    fn epilogue(&self, group: usize, channel: usize, row: &mut [S]) {
        if let Some(bias) = self.finish.bias {
            let bias = bias[group * self.layer.outputs + channel];
            each(row, |x| x + bias);
        }
        self.finish.activate(row);
    }

    /// Takes a tile into the planes of its channels and samples.
    fn finish(
        &self,
        task: &mut Task<'_, S>,
        group: usize,
        channels: Range<usize>,
        runs: &[Run],
        tile: &mut [S],
    ) {
        let width = self.shape.width;
        let [first, per_sample] = self.plane(task, group, channels.start);
        wide(
            self.shape.arch,
            #[inline(always)]
            || {
                for (row, channel) in tile.chunks_exact_mut(width).zip(channels.clone()) {
                    self.epilogue(group, channel, row);
                }
                for run in runs {
                    let planes = &mut task.planes[run.sample * per_sample + first..][..channels.len()];
                    let to = run.y * self.width + run.x;
                    by_length!(run.length, N => for (r, plane) in planes.iter_mut().enumerate() {
                        line::<N, S>(&mut plane[to..][..run.length], &tile[r * width + run.column..]);
                    });
                }
            },
        );
    }

    /// Takes the tiles of all phases.
    fn finish_waiting(&self, task: &mut Task<'_, S>, group: usize, block: &Block, tiles: &mut [S]) {
        let Self { layer, shape, .. } = self;
        let (width, [rows, columns]) = (shape.width, layer.stride);
        if layer.stride == [1; 2] {
            let phase = &layer.phases[0];
            let blocks = phase.blocks(&task.channels);
            let mut tiles = tiles.chunks_exact_mut(phase.block * width);
            for runs in &block.panels {
                for (block, tile) in blocks.clone().zip(&mut tiles) {
                    let first = block * phase.block;
                    self.finish(task, group, first..(first + phase.block).min(layer.outputs), runs, tile);
                }
            }
            return;
        }
        let channels = task.channels.clone();
        // Where the phase of a part begins, the rows of one of its panels, and the row that is the first channel's.
        let mut places = vec![];
        for part in 0..rows * columns {
            let mut start = 0;
            for phase in &layer.phases {
                let tile_rows = phase.tile_rows(&channels);
                if let Some(row) = phase.row(part, channels.start, layer.outputs) {
                    places.push((start, tile_rows, row - phase.blocks(&channels).start * phase.block));
                }
                start += tile_rows * block.panels.len();
            }
        }
        wide(
            shape.arch,
            #[inline(always)]
            || {
                for (i, runs) in block.panels.iter().enumerate() {
                    for channel in channels.clone() {
                        let at = |part: usize| {
                            let (start, tile_rows, row) = places[part];
                            (start + i * tile_rows + row + channel - channels.start) * width
                        };
                        for part in 0..rows * columns {
                            self.epilogue(group, channel, &mut tiles[at(part)..][..width]);
                        }
                        let [plane, per_sample] = self.plane(task, group, channel);
                        for run in runs {
                            let lines =
                                task.planes[run.sample * per_sample + plane].chunks_exact_mut(self.width);
                            let lines = lines.skip(run.y * rows).take(rows);
                            for (y, to) in lines.enumerate() {
                                let from =
                                    |x: usize| &tiles[at(y * columns + x) + run.column..][..run.length];
                                spread(&mut to[run.x * columns..], columns, from);
                            }
                        }
                    }
                }
            },
        );
    }
}

/// Sets `to[i * step + j] = from(j)[i]` as far as both reach.
#[inline(always)]
fn spread<'a, S: Scalar>(to: &mut [S], step: usize, from: impl Fn(usize) -> &'a [S]) {
    match step {
        1 => {
            let from = from(0);
            by_length!(from.len(), N => line::<N, S>(&mut to[..from.len()], from));
        }
        2 => {
            let (even, odd) = (from(0), from(1));
            let (pairs, rest) = to.as_chunks_mut::<2>();
            let length = pairs.len().min(even.len());
            by_length!(length, N => interleaved_line::<N, S>(&mut pairs[..length], even, odd));
            if let ([last], Some(value)) = (rest, even.get(length)) {
                *last = *value;
            }
        }
        _ => (0..step.min(to.len())).for_each(|j| {
            to[j..].iter_mut().step_by(step).zip(from(j)).for_each(|(to, from)| *to = *from);
        }),
    }
}
