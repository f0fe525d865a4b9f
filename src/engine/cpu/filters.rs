//! The filters of a convolution, laid out as left operands of tiles.

use std::ops::Range;
use std::sync::OnceLock;

use crate::Scalar;
use crate::engine::kernels::{Taps, Window};

use super::tile::{Shape, left_at, left_len, pieces};

/// Filters `[c_out, c_in / groups, kernel_h, kernel_w]`, laid out for either direction when it is first asked for.
#[derive(Debug)]
pub struct CpuFilters<S> {
    values: Vec<S>,
    pub(super) window: Window,
    groups: usize,
    outputs: usize,
    inputs_per_group: usize,
    forward: OnceLock<Layer<S>>,
    backward: OnceLock<Layer<S>>,
}

impl<S: Scalar> CpuFilters<S> {
    pub(super) fn new(values: &[S], shape: [usize; 4], window: Window, groups: usize) -> Self {
        debug_assert_eq!([shape[2], shape[3]], window.kernel);
        Self {
            values: values.to_vec(),
            window,
            groups,
            outputs: shape[0],
            inputs_per_group: shape[1],
            forward: OnceLock::new(),
            backward: OnceLock::new(),
        }
    }

    pub(super) fn forward(&self) -> &Layer<S> {
        let [inputs, outputs] = [self.inputs_per_group, self.outputs / self.groups];
        self.forward.get_or_init(|| {
            let kernel = |output: usize, input: usize| output * inputs + input;
            let parts = Taps::forward(&self.window);
            self.layer(&parts, [inputs, outputs], [self.window.strides, [1; 2]], kernel)
        })
    }

    pub(super) fn backward(&self) -> &Layer<S> {
        let [outputs, inputs] = [self.inputs_per_group, self.outputs / self.groups];
        self.backward.get_or_init(|| {
            let kernel = |output: usize, input: usize| input * outputs + output;
            let parts = Taps::backward(&self.window);
            self.layer(&parts, [inputs, outputs], [[1; 2], self.window.strides], kernel)
        })
    }

    /// Lays out the taps of all parts; `kernel(output, input)` is the number of their kernel within a group.
    ///
    /// Parts that fit one tile together are one phase, with the taps of all and zeros where one has none: a transposed
    /// convolution with strides of 2 to the 3 channels of an image is a tile of 12 rows rather than four of 3.
    fn layer(
        &self,
        parts: &[Taps],
        [inputs, outputs]: [usize; 2],
        [step, stride]: [[usize; 2]; 2],
        kernel: impl Fn(usize, usize) -> usize,
    ) -> Layer<S> {
        let together = if parts.len() * outputs <= Shape::new::<S>().rows { parts.len() } else { 1 };
        let mut phases: Vec<Phase<S>> = parts
            .chunks(together)
            .enumerate()
            .map(|(i, parts)| Phase::new(i * together, parts, outputs))
            .collect();
        let taps = phases.iter().map(|phase| phase.taps()).max().unwrap_or(0);
        let pieces: Vec<Range<usize>> = pieces(inputs, taps).collect();
        let size = self.window.kernel[0] * self.window.kernel[1];
        for (phase, parts) in phases.iter_mut().zip(parts.chunks(together)) {
            for group in 0..self.groups {
                for piece in &pieces {
                    let kernels = |output: usize, input: usize| {
                        let kernel = group * inputs * outputs + kernel(output, piece.start + input);
                        &self.values[kernel * size..][..size]
                    };
                    phase.lay_out(parts, outputs, piece.len(), self.window.kernel[1], kernels);
                }
            }
        }
        Layer { phases, groups: self.groups, inputs, outputs, step, stride, pieces }
    }
}

/// A convolution as a sum over taps, in either direction.
#[derive(Debug)]
pub(super) struct Layer<S> {
    pub phases: Vec<Phase<S>>,
    pub groups: usize,
    /// Channels of a group.
    pub inputs: usize,
    pub outputs: usize,
    /// Distances of what neighbouring positions see, and of where they are put.
    pub step: [usize; 2],
    pub stride: [usize; 2],
    /// The input channels of a group, cut.
    pub pieces: Vec<Range<usize>>,
}

/// Parts of the output that are computed together.
#[derive(Debug)]
pub(super) struct Phase<S> {
    /// The number of the first part.
    first: usize,
    /// Rows of all its tiles, `[parts, outputs]`, and of one.
    pub rows: usize,
    pub block: usize,
    /// Where it sees the input, along either axis.
    pub taps: [Vec<isize>; 2],
    /// `[groups, pieces, blocks]` of left operands.
    filters: Vec<S>,
    /// Where each group's pieces begin.
    starts: Vec<usize>,
}

impl<S: Scalar> Phase<S> {
    fn new(first: usize, parts: &[Taps], outputs: usize) -> Self {
        let along = |axis: usize| {
            let mut taps: Vec<isize> =
                parts.iter().flat_map(|part| part.axes[axis].iter().map(|&(_, tap)| tap)).collect();
            taps.sort_unstable();
            taps.dedup();
            taps
        };
        let rows = parts.len() * outputs;
        let block = Shape::new::<S>().height(rows);
        Self { first, rows, block, taps: [along(0), along(1)], filters: vec![], starts: vec![] }
    }

    /// Appends a piece of a group of `inputs` channels.
    fn lay_out<'a>(
        &mut self,
        parts: &[Taps],
        outputs: usize,
        inputs: usize,
        kernel_width: usize,
        kernels: impl Fn(usize, usize) -> &'a [S],
    ) {
        let taps = self.taps();
        let elements: Vec<Vec<Option<usize>>> = parts
            .iter()
            .map(|part| {
                let element = |axis: usize, tap: isize| {
                    part.axes[axis].iter().find(|&&(_, at)| at == tap).map(|&(element, _)| element)
                };
                let pairs = self.taps[0].iter().flat_map(|&y| self.taps[1].iter().map(move |&x| (y, x)));
                pairs.map(|(y, x)| Some(element(0, y)? * kernel_width + element(1, x)?)).collect()
            })
            .collect();
        self.starts.push(self.filters.len());
        for start in (0..self.rows).step_by(self.block) {
            let base = self.filters.len();
            self.filters.resize(base + left_len(self.block, inputs * taps), S::zero());
            for (row, number) in (start..(start + self.block).min(self.rows)).enumerate() {
                for input in 0..inputs {
                    let kernel = kernels(number % outputs, input);
                    for (tap, element) in elements[number / outputs].iter().enumerate() {
                        if let Some(element) = *element {
                            self.filters[base + left_at(self.block, row, input * taps + tap)] =
                                kernel[element];
                        }
                    }
                }
            }
        }
    }

    /// Elements of a window.
    pub(super) fn taps(&self) -> usize {
        self.taps[0].len() * self.taps[1].len()
    }

    /// The left operand of a tile: a block of rows of a group and of a piece, given by its number and its depth.
    pub(super) fn filters(&self, [group, pieces, piece]: [usize; 3], depth: usize, block: usize) -> &[S] {
        let length = left_len(self.block, depth);
        &self.filters[self.starts[group * pieces + piece] + block * length..][..length]
    }

    /// The row that computes a channel of a part, if the part is its own.
    pub(super) fn row(&self, part: usize, channel: usize, outputs: usize) -> Option<usize> {
        let part = part.checked_sub(self.first).filter(|part| part * outputs < self.rows)?;
        Some(part * outputs + channel)
    }
}
