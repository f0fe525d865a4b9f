//! Convolution and its transpose: register tiles over the columns of patches, which are never all in memory.
//!
//! A group with few outputs reads its columns from padded copies of some rows (see [`stage`](super::stage)), one with
//! many from panels gathered tap by tap (see [`gather`](super::gather)), where small images fill tiles together. Both
//! sum the same terms in the same order, and every output position sums over its window in that order, so equal
//! windows give equal values. The transpose is gathered like the convolution, not scattered: no two tasks write the
//! same element.

use std::ops::Range;

use rayon::prelude::*;

use crate::engine::kernels::Epilogue;
use crate::{Result, Scalar};

use super::epilogue::{Finish, add, each};
use super::filters::{CpuFilters, Layer, Phase};
use super::gather::{Grid, Image, Run, copy};
use super::pool;
use super::stage::Stage;
use super::tile::{Aligned, Order, Shape, multiply, pieces};
use super::wide::wide;
use super::{CpuBuffer, CpuTensor};

/// Panels of columns that are gathered at once: the filters come once from memory for so many columns, and a piece
/// of the panels (512 KiB with vectors of 64 bytes) stays in L2.
const PANELS: usize = 8;

/// From so many outputs of a group on, columns are gathered tap by tap. With 3 outputs staging takes about half the
/// time and with 64 nine tenths; at 128 and beyond the two took the same, and gathering needs no padding columns.
const GATHER: usize = 128;

pub(super) fn convolve<S: Scalar>(
    x: &CpuTensor<S>,
    filters: &CpuFilters<S>,
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> Result<CpuTensor<S>> {
    let output = filters.window.output([x.shape()[2], x.shape()[3]])?;
    Ok(run(&filters.forward(), x, None, output, epilogue))
}

pub(super) fn convolve_transposed<S: Scalar>(
    y: &CpuTensor<S>,
    gate: Option<&CpuTensor<S>>,
    filters: &CpuFilters<S>,
    size: [usize; 2],
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> CpuTensor<S> {
    run(&filters.backward(), y, gate, size, epilogue)
}

/// What one task computes: rows of the image of some channels and samples.
struct Task<'a, S> {
    samples: Range<usize>,
    rows: Range<usize>,
    /// Blocks of channels, the same of each group.
    blocks: Range<usize>,
    /// For each sample and channel these rows.
    planes: Vec<&'a mut [S]>,
}

fn run<S: Scalar>(
    layer: &Layer<'_, S>,
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
    let (finish, shape) = (Finish::new(epilogue), Shape::new::<S>());
    tasks(layer, &mut values, samples, output).into_par_iter().for_each_init(
        Scratch::default,
        |scratch, mut task| {
            for phase in layer.phases {
                let grid = phase.gather.grid(image.size, output, &task.rows);
                scratch.run(&Part { layer, phase, shape, finish: &finish }, &mut task, &image, &grid);
            }
        },
    );
    finish.tensor(CpuTensor::of([samples, outputs, output[0], output[1]], values))
}

/// Cuts the work: into samples where there are many, else into rows of the image, then channels.
fn tasks<'a, S: Scalar>(
    layer: &Layer<'_, S>,
    values: &'a mut [S],
    samples: usize,
    [height, width]: [usize; 2],
) -> Vec<Task<'a, S>> {
    let threads = rayon::current_num_threads();
    let shape = Shape::new::<S>();
    let step = layer.phases[0].gather.stride[0];
    let columns = samples * height * width / (step * step);
    // What is gathered has many filters, which each task reads: it should have columns enough to pay for that.
    let chunks = if layer.outputs < GATHER {
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
    let blocks = layer.outputs.div_ceil(layer.block);
    let number = samples.div_ceil(samples_per_task) * height.div_ceil(rows_per_task);
    let splits = if layer.groups > 1 { 1 } else { threads.div_ceil(number.max(1)) };
    let blocks_per_task = blocks.div_ceil(splits).max(1);
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
            for start in (0..blocks).step_by(blocks_per_task) {
                let blocks = start..(start + blocks_per_task).min(blocks);
                let channels = blocks.start * layer.block..(blocks.end * layer.block).min(layer.outputs);
                let wanted = |i: usize| channels.contains(&(i % layer.outputs));
                let parts = parts.iter_mut().enumerate().filter(|&(i, _)| wanted(i));
                let planes = parts.filter_map(|(_, part)| part.take()).collect();
                tasks.push(Task { samples: samples.clone(), rows: rows.clone(), blocks, planes });
            }
        }
    }
    tasks
}

struct Scratch<S> {
    /// Gathered panels `[depth, width]`.
    panels: Aligned<S>,
    runs: Vec<Vec<Run>>,
    offsets: Vec<u32>,
    out: Aligned<S>,
    /// What is gathered from, multiplied by its gate.
    gated: Aligned<S>,
}

impl<S: Scalar> Default for Scratch<S> {
    fn default() -> Self {
        Self {
            panels: Aligned::new(0),
            runs: vec![],
            offsets: vec![],
            out: Aligned::new(0),
            gated: Aligned::new(0),
        }
    }
}

impl<S: Scalar> Scratch<S> {
    /// One phase of a task.
    fn run(&mut self, part: &Part<'_, S>, task: &mut Task<'_, S>, image: &Image<'_, S>, grid: &Grid<'_>) {
        self.out.resize(part.shape.rows * part.shape.width);
        if part.layer.outputs < GATHER {
            self.staged(part, task, image, grid);
        } else {
            self.gathered(part, task, image, grid);
        }
    }

    /// Tiles load from padded copies of rows of one sample.
    fn staged(&mut self, part: &Part<'_, S>, task: &mut Task<'_, S>, image: &Image<'_, S>, grid: &Grid<'_>) {
        let stage = Stage::new(grid);
        let width = part.shape.width;
        let most = part.pieces().map(|piece| piece.len()).max().unwrap_or(0);
        for sample in 0..task.samples.len() {
            for start in (0..grid.size[0]).step_by(stage.rows(most)) {
                let rows = start..(start + stage.rows(most)).min(grid.size[0]);
                stage.runs(sample, rows.clone(), width, &mut self.runs);
                for (group, piece) in part.groups_and_pieces() {
                    let length = stage.len(piece.len(), rows.len());
                    // Tiles read past the end, of what no position sees.
                    self.panels.resize(length + width * (self.runs.len() + 1));
                    stage.offsets(piece.len(), rows.len(), &mut self.offsets);
                    wide(
                        part.shape.arch,
                        #[inline(always)]
                        || {
                            let (first, channels) = (task.samples.start, part.channels(group, &piece));
                            stage.fill(image, first + sample, channels, &rows, &mut self.panels[..length]);
                        },
                    );
                    let Self { panels, runs, offsets, out, .. } = self;
                    let right = |panel: usize| (&panels[panel * width..], Order::Offsets(offsets));
                    part.tiles(task, group, &piece, runs, right, out);
                }
            }
        }
    }

    /// Tiles read panels that are gathered tap by tap, of positions of all samples.
    fn gathered(
        &mut self,
        part: &Part<'_, S>,
        task: &mut Task<'_, S>,
        image: &Image<'_, S>,
        grid: &Grid<'_>,
    ) {
        let width = part.shape.width;
        let columns = task.samples.len() * grid.positions();
        for start in (0..columns).step_by(PANELS * width) {
            let end = (start + PANELS * width).min(columns);
            self.runs.resize_with((end - start).div_ceil(width), Vec::new);
            for (i, runs) in self.runs.iter_mut().enumerate() {
                let first = start + i * width;
                grid.runs(first..(first + width).min(end), runs);
            }
            for (group, piece) in part.groups_and_pieces() {
                let panel_len = piece.len() * part.phase.gather.taps() * width;
                self.panels.resize(self.runs.len() * panel_len);
                let Self { panels, runs, gated, out, .. } = self;
                wide(
                    part.shape.arch,
                    #[inline(always)]
                    || {
                        let channels = part.channels(group, &piece);
                        let source = grid.source(image, task.samples.start, channels, runs, gated);
                        for (panel, runs) in panels.chunks_exact_mut(panel_len.max(1)).zip(&*runs) {
                            grid.fill(&source, piece.len(), runs, width, panel);
                        }
                    },
                );
                let right = |panel: usize| (&panels[panel * panel_len..][..panel_len], Order::Panel);
                part.tiles(task, group, &piece, runs, right, out);
            }
        }
    }
}

/// One phase of a layer.
struct Part<'a, S> {
    layer: &'a Layer<'a, S>,
    phase: &'a Phase<S>,
    shape: Shape,
    finish: &'a Finish<'a, S>,
}

impl<S: Scalar> Part<'_, S> {
    fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<S> {
        pieces(self.layer.inputs, self.phase.gather.taps())
    }

    fn groups_and_pieces(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        (0..self.layer.groups).flat_map(|group| self.pieces().map(move |piece| (group, piece)))
    }

    /// The channels of the input that are a piece of a group's.
    fn channels(&self, group: usize, piece: &Range<usize>) -> Range<usize> {
        let first = group * self.layer.inputs;
        first + piece.start..first + piece.end
    }

    /// All tiles of a piece, for each panel every block of channels: the panel is the larger operand of a tile, and
    /// stays near while the filters stream past.
    fn tiles<'b>(
        &self,
        task: &mut Task<'_, S>,
        group: usize,
        piece: &Range<usize>,
        panels: &[Vec<Run>],
        right: impl Fn(usize) -> (&'b [S], Order<'b>),
        out: &mut [S],
    ) {
        let &Self { layer, shape, finish, .. } = self;
        let Shape { arch, width, .. } = shape;
        // Planes of one sample in the task, and of one group.
        let per_sample = task.planes.len() / task.samples.len().max(1);
        let per_group = per_sample / layer.groups;
        let last = (piece.end == layer.inputs).then_some(finish);
        for (i, runs) in panels.iter().enumerate() {
            let (right, order) = right(i);
            for block in task.blocks.clone() {
                let left = layer.filters(self.phase, group, piece, block);
                let channel = block * layer.block;
                let rows = layer.block.min(layer.outputs - channel);
                let first = group * per_group + (block - task.blocks.start) * layer.block;
                let bias = finish.bias.map(|bias| &bias[group * layer.outputs + channel..][..rows]);
                let out = &mut out[..layer.block * width];
                multiply(shape, layer.block, left, right, order, out);
                wide(
                    arch,
                    #[inline(always)]
                    || {
                        for (r, out) in out.chunks_exact_mut(width).take(rows).enumerate() {
                            let bias = bias.map(|bias| bias[r]);
                            let plane = |sample: usize| sample * per_sample + first + r;
                            store(out, runs, &mut task.planes, plane, piece.start > 0, bias, last);
                        }
                    },
                );
            }
        }
    }
}

/// Takes a row of a tile into the planes of its samples.
#[inline(always)]
fn store<S: Scalar>(
    out: &mut [S],
    runs: &[Run],
    planes: &mut [&mut [S]],
    plane: impl Fn(usize) -> usize,
    accumulate: bool,
    bias: Option<S>,
    finish: Option<&Finish<'_, S>>,
) {
    if accumulate {
        for run in runs {
            let from = &planes[plane(run.sample)][run.to..];
            let out = &mut out[run.column..][..run.length];
            if run.step == 1 {
                add(out, &from[..run.length]);
            } else {
                out.iter_mut().zip(from.iter().step_by(run.step)).for_each(|(out, &y)| *out = y + *out);
            }
        }
    }
    if let Some(bias) = bias
        && finish.is_some()
    {
        each(out, |out| out + bias);
    }
    if let Some(finish) = finish {
        finish.activate(out);
    }
    for run in runs {
        let to = &mut planes[plane(run.sample)][run.to..];
        let out = &out[run.column..][..run.length];
        if run.step == 1 {
            copy(&mut to[..run.length], out);
        } else {
            to.iter_mut().step_by(run.step).zip(out).for_each(|(to, &out)| *to = out);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::engine::kernels::{Activation, Window};
    use crate::tolerance::{EXACT, relative_difference};

    fn random(seed: u64, shape: &[usize]) -> CpuTensor<f64> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        CpuTensor::of(shape, (0..shape.iter().product()).map(|_| rng.random_range(-1.0..2.0)).collect())
    }

    /// The definition: a sum over the window, in the padding zero.
    fn reference(x: &CpuTensor<f64>, w: &CpuTensor<f64>, window: Window, groups: usize) -> Vec<f64> {
        let (xs, ws) = (x.shape(), w.shape());
        let [oh, ow] = window.output([xs[2], xs[3]]).expect("the window fits");
        let mut y = vec![];
        for n in 0..xs[0] {
            for o in 0..ws[0] {
                for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
                    let mut sum = 0.0;
                    for c in 0..ws[1] {
                        for (ky, kx) in (0..ws[2]).flat_map(|i| (0..ws[3]).map(move |j| (i, j))) {
                            let row = (i * window.strides[0] + ky * window.dilations[0]) as isize
                                - window.pads[0] as isize;
                            let column = (j * window.strides[1] + kx * window.dilations[1]) as isize
                                - window.pads[1] as isize;
                            if (0..xs[2] as isize).contains(&row) && (0..xs[3] as isize).contains(&column) {
                                let channel = o / (ws[0] / groups) * ws[1] + c;
                                let at =
                                    ((n * xs[1] + channel) * xs[2] + row as usize) * xs[3] + column as usize;
                                sum +=
                                    x.values()[at] * w.values()[((o * ws[1] + c) * ws[2] + ky) * ws[3] + kx];
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }

    fn cases() -> Vec<(Window, usize)> {
        vec![
            (Window::new([1, 1]), 1),
            (Window::new([3, 2]), 1),
            (Window::new([3, 2]).with_strides([2, 3]).with_pads([1, 0, 2, 1]), 2),
            (Window::new([2, 3]).with_dilations([2, 2]).with_pads([0, 3, 1, 0]), 1),
            (Window::new([1, 1]).with_strides([2, 2]), 4),
            (Window::new([7, 9]), 1),
        ]
    }

    #[test]
    fn equals_the_definition() {
        for (window, groups) in cases() {
            let x = random(1, &[3, 4, 7, 9]);
            let w = random(2, &[8, 4 / groups, window.kernel[0], window.kernel[1]]);
            let filters = CpuFilters::new(
                w.values(),
                [8, 4 / groups, window.kernel[0], window.kernel[1]],
                window,
                groups,
            );
            let bias = random(3, &[8]);
            let y = convolve(&x, &filters, Epilogue { bias: Some(&bias), activation: None })
                .expect("the window fits");
            let positions = y.len() / 24;
            let reference = reference(&x, &w, window, groups);
            let reference = reference.iter().enumerate().map(|(i, v)| v + bias.values()[i / positions % 8]);
            let difference = relative_difference(y.values().iter().copied(), reference);
            assert!(difference < EXACT, "{window:?}, {groups} groups: {difference:e}");
        }
    }

    #[test]
    fn the_transpose_is_the_transpose() {
        for (window, groups) in cases() {
            let x = random(4, &[2, 4, 7, 9]);
            let w = random(5, &[6 * groups, 4 / groups, window.kernel[0], window.kernel[1]]);
            let shape = [6 * groups, 4 / groups, window.kernel[0], window.kernel[1]];
            let filters = CpuFilters::new(w.values(), shape, window, groups);
            let y = convolve(&x, &filters, Epilogue::NONE).expect("the window fits");
            let cotangent = random(6, y.shape());
            let back = convolve_transposed(&cotangent, None, &filters, [7, 9], Epilogue::NONE);
            let dot = |a: &CpuTensor<f64>, b: &CpuTensor<f64>| -> f64 {
                a.values().iter().zip(b.values().iter()).map(|(a, b)| a * b).sum()
            };
            let (left, right) = (dot(&y, &cotangent), dot(&x, &back));
            assert!(relative_difference([left], [right]) < EXACT, "{window:?}: {left} and {right}");
        }
    }

    /// Outputs on either side of [`GATHER`], inner dimensions beyond one piece, images beyond one stage, gates.
    #[test]
    fn tiles_pieces_and_stages_meet_without_a_seam() {
        let plain = Window::new([3, 3]).with_pads([1; 4]);
        let strided = Window::new([3, 3]).with_strides([2, 2]).with_pads([1; 4]);
        let cases = [
            ([1, 70, 33, 9], 17, plain, 1),
            ([2, 70, 5, 7], GATHER + 3, plain, 1),
            ([3, 20, 9, 11], GATHER + 3, strided, 1),
            ([2, 3, 40, 700], 5, Window::new([7, 7]).with_strides([2, 2]).with_pads([3; 4]), 1),
            ([3, 12, 13, 10], 12, strided, 12),
            ([1, 600, 6, 5], GATHER, Window::new([1, 1]), 1),
            ([2, 24, 6, 5], 2 * GATHER, Window::new([1, 1]), 2),
            ([2, 4, 1, 90], 6, Window::new([1, 5]).with_dilations([1, 3]).with_strides([1, 3]), 2),
        ];
        for (shape, outputs, window, groups) in cases {
            let x = random(11, &shape);
            let filter_shape = [outputs, shape[1] / groups, window.kernel[0], window.kernel[1]];
            let w = random(12, &filter_shape);
            let filters = CpuFilters::new(w.values(), filter_shape, window, groups);
            let y = convolve(&x, &filters, Epilogue::NONE).expect("the window fits");
            let difference =
                relative_difference(y.values().iter().copied(), reference(&x, &w, window, groups));
            assert!(difference < EXACT, "{shape:?}, {window:?}, {groups} groups: {difference:e}");

            // Two directions for each sample, with a gate.
            let size = [shape[2], shape[3]];
            let gate = random(13, y.shape());
            let twice = [&[2 * shape[0]], &y.shape()[1..]].concat();
            let cotangent = random(14, &twice);
            let back = convolve_transposed(&cotangent, Some(&gate), &filters, size, Epilogue::NONE);
            let (image, result) = (x.len() / shape[0], y.len() / shape[0]);
            for row in 0..2 * shape[0] {
                let sample = row / 2;
                let forward = &y.values()[sample * result..][..result];
                let gate = &gate.values()[sample * result..][..result];
                let cotangent = &cotangent.values()[row * result..][..result];
                let left: f64 =
                    forward.iter().zip(gate.iter().zip(cotangent)).map(|(y, (g, c))| y * g * c).sum();
                let x = &x.values()[sample * image..][..image];
                let back = &back.values()[row * image..][..image];
                let right: f64 = x.iter().zip(back).map(|(x, b)| x * b).sum();
                assert!(relative_difference([right], [left]) < EXACT, "{shape:?}: {left} and {right}");
            }
        }
    }

    #[test]
    fn a_sample_has_the_same_bits_in_every_batch_and_on_any_number_of_threads() {
        for (outputs, size) in [(5, 9), (GATHER, 9), (5, 40)] {
            let window = Window::new([3, 3]).with_strides([2, 1]).with_pads([1; 4]);
            let narrow = |seed, shape: &[usize]| -> CpuTensor<f32> {
                let values = random(seed, shape).values().iter().map(|&v| v as f32).collect();
                CpuTensor::of(shape, values)
            };
            let x = narrow(21, &[5, 60, size, size]);
            let w = narrow(22, &[outputs, 60, 3, 3]);
            let filters = CpuFilters::new(w.values(), [outputs, 60, 3, 3], window, 1);
            let bias = narrow(23, &[outputs]);
            let epilogue = Epilogue { bias: Some(&bias), activation: Some(Activation::Relu) };
            let both = |x: &CpuTensor<f32>| {
                let y = convolve(x, &filters, epilogue).expect("the window fits");
                let back = convolve_transposed(&y, Some(&y), &filters, [size, size], Epilogue::NONE);
                [y.values().to_vec(), back.values().to_vec()]
            };
            let whole = both(&x);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(7).build().expect("threads start");
            assert!(whole == pool.install(|| both(&x)), "{outputs} outputs, 7 threads");
            for sample in 0..5 {
                let alone = CpuTensor::of([1, 60, size, size], x.row_range(sample..sample + 1).to_vec());
                for (whole, part) in whole.iter().zip(both(&alone)) {
                    assert!(whole[sample * part.len()..][..part.len()] == part, "sample {sample} alone");
                }
            }
        }
    }

    #[test]
    fn equal_windows_give_equal_values() {
        let tile = random(7, &[1, 3, 5, 4]);
        // The image repeats every four columns; so must its convolution, to the bit.
        let x: Vec<f32> = (0..3 * 5 * 32).map(|i| tile.values()[i / 32 * 4 + i % 4] as f32).collect();
        let w: Vec<f32> = random(8, &[5, 3, 3, 3]).values().iter().map(|&v| v as f32).collect();
        let filters = CpuFilters::new(&w, [5, 3, 3, 3], Window::new([3, 3]), 1);
        let y =
            convolve(&CpuTensor::of([1, 3, 5, 32], x), &filters, Epilogue::NONE).expect("the window fits");
        let row = 30;
        assert!(y.values().iter().enumerate().all(|(i, &v)| i % row < 4 || v == y.values()[i - 4]));
    }
}
