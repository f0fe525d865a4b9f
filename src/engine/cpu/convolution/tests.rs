//! The kernel against its definition, its transpose and itself in parts.

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
                            let at = ((n * xs[1] + channel) * xs[2] + row as usize) * xs[3] + column as usize;
                            sum += x.values()[at] * w.values()[((o * ws[1] + c) * ws[2] + ky) * ws[3] + kx];
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
        let filters =
            CpuFilters::new(w.values(), [8, 4 / groups, window.kernel[0], window.kernel[1]], window, groups);
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

/// Staged and gathered panels, inner dimensions beyond one piece, images beyond one stage, gates.
#[test]
fn tiles_pieces_and_stages_meet_without_a_seam() {
    let plain = Window::new([3, 3]).with_pads([1; 4]);
    let strided = Window::new([3, 3]).with_strides([2, 2]).with_pads([1; 4]);
    let cases = [
        ([1, 70, 33, 9], 17, plain, 1),
        ([2, 70, 5, 7], 131, plain, 1),
        ([3, 20, 9, 11], 131, strided, 1),
        ([2, 3, 40, 700], 5, Window::new([7, 7]).with_strides([2, 2]).with_pads([3; 4]), 1),
        ([3, 12, 13, 10], 12, strided, 12),
        ([1, 600, 6, 5], 128, Window::new([1, 1]), 1),
        ([2, 24, 6, 5], 256, Window::new([1, 1]), 2),
        ([2, 4, 1, 90], 6, Window::new([1, 5]).with_dilations([1, 3]).with_strides([1, 3]), 2),
    ];
    for (shape, outputs, window, groups) in cases {
        let x = random(11, &shape);
        let filter_shape = [outputs, shape[1] / groups, window.kernel[0], window.kernel[1]];
        let w = random(12, &filter_shape);
        let filters = CpuFilters::new(w.values(), filter_shape, window, groups);
        let y = convolve(&x, &filters, Epilogue::NONE).expect("the window fits");
        let difference = relative_difference(y.values().iter().copied(), reference(&x, &w, window, groups));
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
            let left: f64 = forward.iter().zip(gate.iter().zip(cotangent)).map(|(y, (g, c))| y * g * c).sum();
            let x = &x.values()[sample * image..][..image];
            let back = &back.values()[row * image..][..image];
            let right: f64 = x.iter().zip(back).map(|(x, b)| x * b).sum();
            assert!(relative_difference([right], [left]) < EXACT, "{shape:?}: {left} and {right}");
        }
    }
}

#[test]
fn a_sample_has_the_same_bits_in_every_batch_and_on_any_number_of_threads() {
    for (outputs, size) in [(5, 9), (128, 9), (5, 40)] {
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
    let y = convolve(&CpuTensor::of([1, 3, 5, 32], x), &filters, Epilogue::NONE).expect("the window fits");
    let row = 30;
    assert!(y.values().iter().enumerate().all(|(i, &v)| i % row < 4 || v == y.values()[i - 4]));
}
