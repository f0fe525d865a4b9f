//! The filters of a convolution, laid out as left operands of tiles.

use std::ops::Range;
use std::sync::OnceLock;

use crate::Scalar;
use crate::engine::kernels::Window;

use super::gather::Gather;
use super::tile::{Shape, left_at, left_len, pieces};

/// Filters `[c_out, c_in / groups, kernel_h, kernel_w]`, laid out for either direction when it is first asked for.
#[derive(Debug)]
pub struct CpuFilters<S> {
    values: Vec<S>,
    pub(super) window: Window,
    groups: usize,
    outputs: usize,
    inputs_per_group: usize,
    forward: OnceLock<Vec<Phase<S>>>,
    backward: OnceLock<Vec<Phase<S>>>,
}

/// The output positions that see the filters alike: all of them, but for transposes of strided convolutions.
#[derive(Debug)]
pub(super) struct Phase<S> {
    pub gather: Gather,
    /// `[groups, pieces, blocks]` of left operands.
    filters: Vec<S>,
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

    fn outputs_per_group(&self) -> usize {
        self.outputs / self.groups
    }

    pub(super) fn forward(&self) -> Layer<'_, S> {
        let [inputs, outputs] = [self.inputs_per_group, self.outputs_per_group()];
        let phases = self.forward.get_or_init(|| {
            let at = |output: usize, input: usize| output * inputs + input;
            vec![self.phase(Gather::forward(&self.window), [inputs, outputs], at)]
        });
        Layer { phases, groups: self.groups, inputs, outputs, block: Shape::new::<S>().height(outputs) }
    }

    pub(super) fn backward(&self) -> Layer<'_, S> {
        let [outputs, inputs] = [self.inputs_per_group, self.outputs_per_group()];
        let phases = self.backward.get_or_init(|| {
            let at = |output: usize, input: usize| input * outputs + output;
            Gather::backward(&self.window)
                .into_iter()
                .map(|gather| self.phase(gather, [inputs, outputs], at))
                .collect()
        });
        Layer { phases, groups: self.groups, inputs, outputs, block: Shape::new::<S>().height(outputs) }
    }

    /// Lays out the taps of a phase; `at(output, input)` is the number of their kernel within a group.
    fn phase(
        &self,
        gather: Gather,
        [inputs, outputs]: [usize; 2],
        at: impl Fn(usize, usize) -> usize,
    ) -> Phase<S> {
        let height = Shape::new::<S>().height(outputs);
        let [kernel_h, kernel_w] = self.window.kernel;
        let taps = gather.taps();
        let mut filters = vec![];
        for group in 0..self.groups {
            for piece in pieces(inputs, taps) {
                for start in (0..outputs).step_by(height) {
                    let base = filters.len();
                    filters.resize(base + left_len(height, piece.len() * taps), S::zero());
                    for (row, output) in (start..(start + height).min(outputs)).enumerate() {
                        let mut k = 0;
                        for input in piece.clone() {
                            let kernel = group * inputs * outputs + at(output, input);
                            for &(y, _) in &gather.y {
                                for &(x, _) in &gather.x {
                                    filters[base + left_at(height, row, k)] =
                                        self.values[(kernel * kernel_h + y) * kernel_w + x];
                                    k += 1;
                                }
                            }
                        }
                    }
                }
            }
        }
        Phase { gather, filters }
    }
}

/// A convolution as a sum over taps, in either direction.
pub(super) struct Layer<'a, S> {
    pub phases: &'a [Phase<S>],
    pub groups: usize,
    /// Channels of a group.
    pub inputs: usize,
    pub outputs: usize,
    /// Rows of a tile.
    pub block: usize,
}

impl<S: Scalar> Layer<'_, S> {
    /// The left operand of a tile.
    pub(super) fn filters<'a>(
        &self,
        phase: &'a Phase<S>,
        group: usize,
        piece: &Range<usize>,
        block: usize,
    ) -> &'a [S] {
        let taps = phase.gather.taps();
        let blocks = self.outputs.div_ceil(self.block);
        let piece_len = |channels: usize| blocks * left_len(self.block, channels * taps);
        let all = pieces(self.inputs, taps);
        let full = all.clone().next().map_or(0, |piece| piece.len());
        let number = piece.start.checked_div(full).unwrap_or(0);
        let group_len: usize = all.map(|piece| piece_len(piece.len())).sum();
        let length = left_len(self.block, piece.len() * taps);
        &phase.filters[group * group_len + number * piece_len(full) + block * length..][..length]
    }
}
