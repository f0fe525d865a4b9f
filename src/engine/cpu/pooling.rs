//! Pooling over windows, and its transposes.

use rayon::prelude::*;

use crate::engine::kernels::Window;
use crate::{Result, Scalar};

use super::wide::wide;
use super::{CpuIndices, CpuTensor, Tensor, pool};

/// For each window along an axis the coordinates it sees inside the image.
fn taps(window: &Window, axis: usize, count: usize, size: usize) -> Vec<Vec<usize>> {
    (0..count).map(|position| window.coordinates(axis, position, size).flatten().collect()).collect()
}

/// The windows over an image, row-major.
struct Windows {
    rows: Vec<Vec<usize>>,
    columns: Vec<Vec<usize>>,
    size: [usize; 2],
    output: [usize; 2],
}

impl Windows {
    fn new(window: &Window, size: [usize; 2], output: [usize; 2]) -> Self {
        let rows = taps(window, 0, output[0], size[0]);
        Self { rows, columns: taps(window, 1, output[1], size[1]), size, output }
    }

    /// For each window the flat positions it sees, in row-major order.
    fn iter(&self) -> impl Iterator<Item = impl Iterator<Item = usize> + Clone + '_> + '_ {
        let width = self.size[1];
        self.rows.iter().flat_map(move |rows| {
            self.columns
                .iter()
                .map(move |columns| rows.iter().flat_map(move |r| columns.iter().map(move |c| r * width + c)))
        })
    }

    fn image(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }
}

fn image_size(shape: &[usize]) -> [usize; 2] {
    [shape[2], shape[3]]
}

fn with_size(shape: &[usize], size: [usize; 2]) -> Vec<usize> {
    vec![shape[0], shape[1], size[0], size[1]]
}

pub(super) fn max_pool<S: Scalar>(x: &CpuTensor<S>, window: Window) -> Result<(CpuTensor<S>, CpuIndices)> {
    let size = image_size(x.shape());
    let output = window.output(size)?;
    let windows = Windows::new(&window, size, output);
    let shape = with_size(x.shape(), output);
    let count: usize = shape.iter().product();
    let (mut values, mut picked) = (pool::take(count), vec![0_u32; count]);
    let planes = values.par_chunks_mut(windows.positions()).zip(picked.par_chunks_mut(windows.positions()));
    let arch = pulp::Arch::new();
    planes.zip(x.values().par_chunks(windows.image())).for_each(|((y, picked), x)| {
        wide(
            arch,
            #[inline(always)]
            || max_plane(&windows, &window, x, y, picked),
        );
    });
    Ok((CpuTensor::of(shape.clone(), values), Tensor::new(shape, picked.into())))
}

/// The maxima of one plane, a row of windows at a time and in it one element of all windows after the other.
#[inline(always)]
fn max_plane<S: Scalar>(windows: &Windows, window: &Window, x: &[S], y: &mut [S], picked: &mut [u32]) {
    let [_, columns] = windows.output;
    let width = windows.size[1];
    let (kernel, step) = (window.kernel[1], window.strides[1]);
    // The windows `inside` see no padding beside the image.
    let whole = |columns: &Vec<usize>| columns.len() == kernel;
    let first = windows.columns.iter().position(whole).unwrap_or(columns);
    let inside = first..first + windows.columns[first..].iter().take_while(|c| whole(c)).count();
    for (row, rows) in windows.rows.iter().enumerate() {
        let (y, picked) = (&mut y[row * columns..][..columns], &mut picked[row * columns..][..columns]);
        for column in (0..inside.start).chain(inside.end..columns) {
            let mut best: Option<usize> = None;
            for position in
                rows.iter().flat_map(|r| windows.columns[column].iter().map(move |c| r * width + c))
            {
                if best.is_none_or(|best| x[position] > x[best]) {
                    best = Some(position);
                }
            }
            // Shape inference refuses windows that see nothing but padding.
            let best = best.unwrap_or(0);
            (y[column], picked[column]) = (x[best], best as u32);
        }
        let (y, picked) = (&mut y[inside.clone()], &mut picked[inside.clone()]);
        for (i, r) in rows.iter().enumerate() {
            for k in 0..kernel {
                let Some(start) = windows.columns.get(inside.start).map(|c| r * width + c[k]) else {
                    continue;
                };
                let row = &x[start..];
                if (i, k) == (0, 0) {
                    for (j, (y, picked)) in y.iter_mut().zip(picked.iter_mut()).enumerate() {
                        (*y, *picked) = (row[j * step], (start + j * step) as u32);
                    }
                } else {
                    larger(y, picked, row, step, start);
                }
            }
        }
    }
}

/// Takes element `j * step` of a row, which is element `start + j * step` of the image, into maximum `j` where it is
/// larger.
#[inline(always)]
fn larger<S: Scalar>(y: &mut [S], picked: &mut [u32], row: &[S], step: usize, start: usize) {
    let take = |j: usize, x: S, y: &mut S, picked: &mut u32| {
        let better = x > *y;
        *y = if better { x } else { *y };
        *picked = if better { (start + j * step) as u32 } else { *picked };
    };
    match step {
        1 => y
            .iter_mut()
            .zip(picked)
            .enumerate()
            .zip(row)
            .for_each(|((j, (y, picked)), &x)| take(j, x, y, picked)),
        // Pairs become vectors, where other steps go one by one.
        2 => {
            let (pairs, last) = row.as_chunks::<2>();
            let count = pairs.len().min(y.len());
            let (head, tail) = y.split_at_mut(count);
            let (head_picked, tail_picked) = picked.split_at_mut(count);
            let head = head.iter_mut().zip(head_picked).enumerate().zip(pairs);
            head.for_each(|((j, (y, picked)), pair)| take(j, pair[0], y, picked));
            if let ([y, ..], [picked, ..], [x]) = (tail, tail_picked, last) {
                take(count, *x, y, picked);
            }
        }
        step => y
            .iter_mut()
            .zip(picked)
            .enumerate()
            .zip(row.iter().step_by(step))
            .for_each(|((j, (y, picked)), &x)| take(j, x, y, picked)),
    }
}

/// The picks of the sample that plane `plane` of `[N * r, c]` belongs to.
fn picks_of(picked: &CpuIndices, repeats: usize, plane: usize) -> &[u32] {
    let channels = picked.shape()[1];
    let positions = picked.shape()[2] * picked.shape()[3];
    let (row, channel) = (plane / channels, plane % channels);
    &picked.buffer()[(row / repeats * channels + channel) * positions..][..positions]
}

pub(super) fn max_pool_gather<S: Scalar>(tangents: &CpuTensor<S>, picked: &CpuIndices) -> CpuTensor<S> {
    let shape = with_size(tangents.shape(), image_size(picked.shape()));
    let repeats = tangents.rows() / picked.rows().max(1);
    let image = tangents.shape()[2] * tangents.shape()[3];
    let mut values = pool::take(shape.iter().product());
    values.par_chunks_mut(shape[2] * shape[3]).enumerate().for_each(|(plane, y)| {
        let x = &tangents.values()[plane * image..][..image];
        y.iter_mut().zip(picks_of(picked, repeats, plane)).for_each(|(y, &p)| *y = x[p as usize]);
    });
    CpuTensor::of(shape, values)
}

pub(super) fn max_pool_scatter<S: Scalar>(
    cotangents: &CpuTensor<S>,
    picked: &CpuIndices,
    size: [usize; 2],
) -> CpuTensor<S> {
    let shape = with_size(cotangents.shape(), size);
    let repeats = cotangents.rows() / picked.rows().max(1);
    let positions = cotangents.shape()[2] * cotangents.shape()[3];
    let mut values = pool::take(shape.iter().product());
    values.par_chunks_mut(size[0] * size[1]).enumerate().for_each(|(plane, x)| {
        x.fill(S::zero());
        let y = &cotangents.values()[plane * positions..][..positions];
        y.iter().zip(picks_of(picked, repeats, plane)).for_each(|(&y, &p)| x[p as usize] += y);
    });
    CpuTensor::of(shape, values)
}

/// One over the number of elements that each window averages.
fn shares<S: Scalar>(windows: &Windows, window: &Window, counted: [usize; 4]) -> Vec<S> {
    let along = |axis: usize| -> Vec<usize> {
        let (pad, before) = (window.pads[axis], counted[axis]);
        let counts = |position: usize, k: usize| {
            let at = position * window.strides[axis] + k * window.dilations[axis] + before;
            at >= pad && at < pad + before + windows.size[axis] + counted[axis + 2]
        };
        let count = |position| (0..window.kernel[axis]).filter(|&k| counts(position, k)).count();
        (0..windows.output[axis]).map(count).collect()
    };
    let (rows, columns) = (along(0), along(1));
    rows.iter().flat_map(|r| columns.iter().map(move |c| S::of(1.0 / (r * c) as f64))).collect()
}

pub(super) fn average_pool<S: Scalar>(
    x: &CpuTensor<S>,
    window: Window,
    counted: [usize; 4],
) -> Result<CpuTensor<S>> {
    let size = image_size(x.shape());
    let output = window.output(size)?;
    let windows = Windows::new(&window, size, output);
    let shares = shares::<S>(&windows, &window, counted);
    let shape = with_size(x.shape(), output);
    let mut values = vec![S::zero(); shape.iter().product()];
    values.par_chunks_mut(windows.positions()).zip(x.values().par_chunks(windows.image())).for_each(
        |(y, x)| {
            for ((y, positions), &share) in y.iter_mut().zip(windows.iter()).zip(&shares) {
                *y = positions.map(|position| x[position]).sum::<S>() * share;
            }
        },
    );
    Ok(CpuTensor::of(shape, values))
}

pub(super) fn average_pool_transposed<S: Scalar>(
    y: &CpuTensor<S>,
    window: Window,
    counted: [usize; 4],
    size: [usize; 2],
) -> CpuTensor<S> {
    let windows = Windows::new(&window, size, image_size(y.shape()));
    let shares = shares::<S>(&windows, &window, counted);
    let shape = with_size(y.shape(), size);
    let mut values = vec![S::zero(); shape.iter().product()];
    values.par_chunks_mut(windows.image()).zip(y.values().par_chunks(windows.positions())).for_each(
        |(x, y)| {
            for ((&y, positions), &share) in y.iter().zip(windows.iter()).zip(&shares) {
                positions.for_each(|position| x[position] += y * share);
            }
        },
    );
    CpuTensor::of(shape, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> CpuTensor<f64> {
        let values = [[1.0, 5.0, 2.0, 0.0], [3.0, 5.0, -1.0, 4.0], [-2.0, -3.0, -1.0, -1.0]];
        CpuTensor::of([1, 1, 3, 4], values.concat())
    }

    #[test]
    fn ties_go_to_the_first_in_row_major_order() {
        let (y, picked) = max_pool(&image(), Window::new([2, 2]).with_pads([0, 0, 1, 0])).expect("it fits");
        assert_eq!(y.shape(), [1, 1, 3, 3]);
        assert_eq!(*y.values(), [5.0, 5.0, 4.0, 5.0, 5.0, 4.0, -2.0, -1.0, -1.0]);
        assert_eq!(**picked.buffer(), [1, 1, 7, 5, 5, 7, 8, 10, 10]);
    }

    #[test]
    fn gather_and_scatter_follow_the_picks() {
        let window = Window::new([2, 2]).with_strides([1, 2]);
        let (_, picked) = max_pool(&image(), window).expect("it fits");
        // Two tangents for the one sample.
        let tangents = CpuTensor::of([2, 1, 3, 4], (0..24).map(f64::from).collect());
        assert_eq!(
            *max_pool_gather(&tangents, &picked).values(),
            [1.0, 7.0, 5.0, 7.0, 13.0, 19.0, 17.0, 19.0]
        );
        let cotangents = CpuTensor::of([2, 1, 2, 2], (1..9).map(f64::from).collect());
        let back = max_pool_scatter(&cotangents, &picked, [3, 4]);
        let mut expected = vec![0.0; 24];
        (expected[1], expected[5], expected[7]) = (1.0, 3.0, 6.0);
        (expected[13], expected[17], expected[19]) = (5.0, 7.0, 14.0);
        assert_eq!(*back.values(), expected);
    }

    #[test]
    fn averages_with_and_without_padding() {
        let window = Window::new([2, 2]).with_strides([2, 2]).with_pads([1, 0, 0, 0]);
        let with = average_pool(&image(), window, window.pads).expect("it fits");
        assert_eq!(*with.values(), [1.5, 0.5, -0.75 + 1.5, 0.25]);
        let without = average_pool(&image(), window, [0; 4]).expect("it fits");
        assert_eq!(*without.values(), [3.0, 1.0, 0.75, 0.25]);
    }

    #[test]
    fn the_transpose_of_the_average_is_the_transpose() {
        let window = Window::new([2, 3]).with_strides([1, 2]).with_pads([1, 1, 0, 1]);
        for counted in [window.pads, [0; 4], [1, 0, 0, 1]] {
            let y = average_pool(&image(), window, counted).expect("it fits");
            let cotangent = CpuTensor::of(y.shape(), (0..y.len()).map(|i| (i * i % 5) as f64).collect());
            let back = average_pool_transposed(&cotangent, window, counted, [3, 4]);
            let dot = |a: &CpuTensor<f64>, b: &CpuTensor<f64>| -> f64 {
                a.values().iter().zip(b.values().iter()).map(|(a, b)| a * b).sum()
            };
            assert!((dot(&y, &cotangent) - dot(&image(), &back)).abs() < 1e-12);
        }
    }
}
