//! Elementwise arithmetic with broadcasting.

use pulp::Arch;
use rayon::prelude::*;

use crate::engine::axes::{self, Merged};
use crate::engine::kernels::Arithmetic;
use crate::{Result, Scalar};

use super::wide::wide;
use super::{CpuTensor, pool};

/// Elements below which a loop stays on one thread: waking the pool costs about as much as adding so many.
pub(super) const SERIAL: usize = 1 << 14;

pub(super) fn arithmetic<S: Scalar>(
    operation: Arithmetic,
    a: &CpuTensor<S>,
    b: &CpuTensor<S>,
) -> Result<CpuTensor<S>> {
    // Each operation a loop of its own.
    match operation {
        Arithmetic::Add => broadcast(a, b, |a, b| Arithmetic::Add.of(a, b)),
        Arithmetic::Sub => broadcast(a, b, |a, b| Arithmetic::Sub.of(a, b)),
        Arithmetic::Mul => broadcast(a, b, |a, b| Arithmetic::Mul.of(a, b)),
        Arithmetic::Div => broadcast(a, b, |a, b| Arithmetic::Div.of(a, b)),
        Arithmetic::Min => broadcast(a, b, |a, b| Arithmetic::Min.of(a, b)),
        Arithmetic::Max => broadcast(a, b, |a, b| Arithmetic::Max.of(a, b)),
        Arithmetic::AtLeast => broadcast(a, b, |a, b| Arithmetic::AtLeast.of(a, b)),
    }
}

fn broadcast<S: Scalar>(
    a: &CpuTensor<S>,
    b: &CpuTensor<S>,
    f: impl Fn(S, S) -> S + Sync,
) -> Result<CpuTensor<S>> {
    let shape = axes::broadcast(a.shape(), b.shape())?;
    let strides = [axes::strides(a.shape()), axes::strides(b.shape())];
    let Merged { lengths, strides: [step_a, step_b] } = Merged::new(&shape, [&strides[0], &strides[1]]);
    let mut values = pool::take(shape.iter().product());
    let (inner, outer) = lengths.split_last().map_or((1, &[][..]), |(&inner, outer)| (inner, outer));
    let (inner_a, inner_b) = (step_a.last().copied().unwrap_or(0), step_b.last().copied().unwrap_or(0));
    let (a, b) = (a.values(), b.values());
    let arch = Arch::new();
    // The innermost axis of at most SERIAL elements is one task; where each operand starts follows from the
    // position along the outer axes.
    let block = inner.min(SERIAL);
    let blocks_per_row = inner.div_ceil(block.max(1)).max(1);
    let run = |row: usize, part: usize, y: &mut [S]| {
        let (mut rest, mut start_a, mut start_b) = (row, 0, 0);
        for axis in (0..outer.len()).rev() {
            let i = rest % outer[axis];
            rest /= outer[axis];
            start_a += i * step_a[axis];
            start_b += i * step_b[axis];
        }
        start_a += part * block * inner_a;
        start_b += part * block * inner_b;
        wide(
            arch,
            #[inline(always)]
            || span(y, &a[start_a..], &b[start_b..], inner_a, inner_b, &f),
        );
    };
    let rows_per_task = (SERIAL / inner.max(1)).max(1);
    if blocks_per_row > 1 {
        values.par_chunks_mut(inner).enumerate().for_each(|(row, y)| {
            y.par_chunks_mut(block).enumerate().for_each(|(part, y)| run(row, part, y));
        });
    } else if inner > 0 {
        values.par_chunks_mut(inner * rows_per_task).enumerate().for_each(|(task, y)| {
            for (i, y) in y.chunks_mut(inner).enumerate() {
                run(task * rows_per_task + i, 0, y);
            }
        });
    }
    Ok(CpuTensor::of(shape, values))
}

/// `y[i] = f(a[i * step_a], b[i * step_b])`
#[inline(always)]
fn span<S: Scalar>(y: &mut [S], a: &[S], b: &[S], step_a: usize, step_b: usize, f: impl Fn(S, S) -> S) {
    match (step_a, step_b) {
        (1, 1) => y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (&a, &b))| *y = f(a, b)),
        (1, 0) => {
            let b = b[0];
            y.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, b));
        }
        (0, 1) => {
            let a = a[0];
            y.iter_mut().zip(b).for_each(|(y, &b)| *y = f(a, b));
        }
        _ => y.iter_mut().enumerate().for_each(|(i, y)| *y = f(a[i * step_a], b[i * step_b])),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_definition(
            shape in prop::collection::vec(1usize..5, 0..5),
            ones_a in prop::collection::vec(any::<bool>(), 5),
            ones_b in prop::collection::vec(any::<bool>(), 5),
        ) {
            let with_ones = |ones: &[bool]| -> Vec<usize> {
                shape.iter().zip(ones).map(|(&l, &one)| if one { 1 } else { l }).collect()
            };
            let tensor = |shape: Vec<usize>, start: usize| {
                let count = shape.iter().product::<usize>();
                CpuTensor::of(shape, (0..count).map(|i| ((start + i * i) % 17) as f64 + 0.5).collect())
            };
            let (a, b) = (tensor(with_ones(&ones_a), 3), tensor(with_ones(&ones_b), 8));
            let y = arithmetic(Arithmetic::Sub, &a, &b).expect("the shapes fit");
            let at = |t: &CpuTensor<f64>, index: &[usize]| {
                let flat = t.shape().iter().zip(index).fold(0, |flat, (&l, &i)| flat * l + if l == 1 { 0 } else { i });
                t.values()[flat]
            };
            for (i, &value) in y.values().iter().enumerate() {
                let mut rest = i;
                let mut index: Vec<usize> =
                    y.shape().iter().rev().map(|&l| { let i = rest % l; rest /= l; i }).collect();
                index.reverse();
                prop_assert_eq!(value, at(&a, &index) - at(&b, &index));
            }
        }
    }

    #[test]
    fn long_rows_are_split() {
        let n = 3 * SERIAL + 5;
        let a = CpuTensor::of([2, n], (0..2 * n).map(|i| i as f64).collect());
        let b = CpuTensor::of([1, n], (0..n).map(|i| (i % 7) as f64).collect());
        let y = arithmetic(Arithmetic::Mul, &a, &b).expect("the shapes fit");
        assert!((0..2 * n).all(|i| y.values()[i] == i as f64 * ((i % n) % 7) as f64));
    }

    #[test]
    fn misfits_are_named() {
        let tensor = |shape: &[usize]| CpuTensor::of(shape, vec![0.0; shape.iter().product()]);
        let error = arithmetic(Arithmetic::Add, &tensor(&[2, 3]), &tensor(&[2, 2])).expect_err("3 is not 2");
        assert_eq!(error.to_string(), "[2, 3] and [2, 2] cannot be broadcast together");
        assert!(arithmetic(Arithmetic::Add, &tensor(&[2]), &tensor(&[1, 2])).is_err());
    }
}
