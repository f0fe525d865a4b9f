//! Convolution and its transpose: one matrix product for each sample and group over the image's patches.
//!
//! Every output position sums over the window in the same order, so equal windows give equal values.

use rayon::prelude::*;

use crate::engine::kernels::{Epilogue, Window};
use crate::{Result, Scalar};

use super::matmul::{View, activated, gated, product};
use super::{CpuBuffer, CpuTensor};

/// Filters `[c_out, c_in / groups, kernel_h, kernel_w]`: row-major they are the left operand already.
#[derive(Debug)]
pub struct CpuFilters<S> {
    values: Vec<S>,
    window: Window,
    groups: usize,
    outputs: usize,
    inputs_per_group: usize,
}

impl<S: Scalar> CpuFilters<S> {
    pub(super) fn new(values: &[S], shape: [usize; 4], window: Window, groups: usize) -> Self {
        debug_assert_eq!([shape[2], shape[3]], window.kernel);
        Self { values: values.to_vec(), window, groups, outputs: shape[0], inputs_per_group: shape[1] }
    }

    /// The matrix of one group, `[c_out / groups, c_in / groups * kernel_h * kernel_w]`.
    fn group(&self, group: usize) -> View<'_, S> {
        let rows = self.outputs / self.groups;
        let columns = self.values.len() / self.outputs;
        View::new(&self.values[group * rows * columns..(group + 1) * rows * columns], rows, columns)
    }
}

/// Where the patches of one group's channels lie: `[channels * kernel_h * kernel_w, h' * w']`.
struct Patches {
    window: Window,
    channels: usize,
    size: [usize; 2],
    output: [usize; 2],
}

impl Patches {
    fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether the patches are the image itself.
    fn is_identity(&self) -> bool {
        self.window == Window::new([1, 1])
    }

    /// Calls `f(patch element, image element)` with flat positions, outer loop over the window.
    fn for_each(&self, mut f: impl FnMut(usize, usize)) {
        let [height, width] = self.size;
        let window = &self.window;
        let coordinate = |axis: usize, position: usize, k: usize| {
            (position * window.strides[axis] + k * window.dilations[axis])
                .checked_sub(window.pads[axis])
                .filter(|&i| i < [height, width][axis])
        };
        let mut row = 0;
        for channel in 0..self.channels {
            for ky in 0..window.kernel[0] {
                for kx in 0..window.kernel[1] {
                    for oy in 0..self.output[0] {
                        let Some(y) = coordinate(0, oy, ky) else { continue };
                        let (to, from) = (row + oy * self.output[1], (channel * height + y) * width);
                        for ox in 0..self.output[1] {
                            if let Some(x) = coordinate(1, ox, kx) {
                                f(to + ox, from + x);
                            }
                        }
                    }
                    row += self.positions();
                }
            }
        }
    }
}

pub(super) fn convolve<S: Scalar>(
    x: &CpuTensor<S>,
    filters: &CpuFilters<S>,
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> Result<CpuTensor<S>> {
    let bias = epilogue.bias;
    let &[samples, channels, height, width] = x.shape() else { unreachable!("images have four axes") };
    let output = filters.window.output([height, width])?;
    let patches =
        Patches { window: filters.window, channels: filters.inputs_per_group, size: [height, width], output };
    let positions = patches.positions();
    let (image, result) = (channels * height * width, filters.outputs * positions);
    let (image_group, result_group) = (image / filters.groups, result / filters.groups);
    let mut values = vec![S::zero(); samples * result];
    values.par_chunks_mut(result.max(1)).enumerate().for_each_init(Vec::new, |scratch, (sample, y)| {
        if let Some(bias) = bias {
            for (y, &bias) in y.chunks_exact_mut(positions).zip(bias.values()) {
                y.fill(bias);
            }
        }
        for (group, y) in y.chunks_exact_mut(result_group).enumerate() {
            let x = &x.values()[sample * image + group * image_group..][..image_group];
            let weights = filters.group(group);
            let right = if patches.is_identity() {
                x
            } else {
                // Elements in the padding keep their zeros from one sample to the next.
                scratch.resize(weights.columns * positions, S::zero());
                patches.for_each(|to, from| scratch[to] = x[from]);
                scratch.as_slice()
            };
            product(weights, View::new(right, weights.columns, positions), y, bias.is_some());
        }
    });
    Ok(activated(
        CpuTensor::of([samples, filters.outputs, output[0], output[1]], values),
        epilogue.activation,
    ))
}

pub(super) fn convolve_transposed<S: Scalar>(
    y: &CpuTensor<S>,
    gate: Option<&CpuTensor<S>>,
    filters: &CpuFilters<S>,
    size: [usize; 2],
    epilogue: Epilogue<'_, CpuBuffer<S>>,
) -> CpuTensor<S> {
    let y = &gated(y, gate);
    let &[samples, _, out_height, out_width] = y.shape() else { unreachable!("images have four axes") };
    let patches = Patches {
        window: filters.window,
        channels: filters.inputs_per_group,
        size,
        output: [out_height, out_width],
    };
    let positions = patches.positions();
    let channels = filters.inputs_per_group * filters.groups;
    let (image, result) = (channels * size[0] * size[1], filters.outputs * positions);
    let (image_group, result_group) = (image / filters.groups, result / filters.groups);
    let mut values = vec![S::zero(); samples * image];
    values.par_chunks_mut(image.max(1)).enumerate().for_each_init(Vec::new, |scratch, (sample, x)| {
        for (group, x) in x.chunks_exact_mut(image_group).enumerate() {
            let y = &y.values()[sample * result + group * result_group..][..result_group];
            let weights = filters.group(group);
            let y = View::new(y, weights.rows, positions);
            if patches.is_identity() {
                product(weights.transposed(), y, x, false);
            } else {
                scratch.resize(weights.columns * positions, S::zero());
                product(weights.transposed(), y, scratch, false);
                patches.for_each(|from, to| x[to] += scratch[from]);
            }
        }
        if let Some(bias) = epilogue.bias {
            for (x, &bias) in x.chunks_exact_mut(size[0] * size[1]).zip(bias.values()) {
                x.iter_mut().for_each(|x| *x += bias);
            }
        }
    });
    activated(CpuTensor::of([samples, channels, size[0], size[1]], values), epilogue.activation)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
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
