//! Products of two tensors' matrices.

use rayon::prelude::*;

use crate::engine::axes::Matrices;
use crate::{Result, Scalar};

use super::CpuTensor;
use super::product::{View, product};

pub(super) fn multiply<S: Scalar>(
    a: &CpuTensor<S>,
    b: &CpuTensor<S>,
    transposed: [bool; 2],
) -> Result<CpuTensor<S>> {
    let Matrices { leading: [leading_a, leading_b], joined, m, k, n } =
        Matrices::new(a.shape(), b.shape(), transposed)?;
    // Which matrix of an operand belongs to one of the result.
    let position = |mut index: usize, own: &[usize]| {
        let (mut flat, mut step) = (0, 1);
        for (&length, &own) in joined.iter().zip(own).rev() {
            if own != 1 {
                flat += index % length * step;
            }
            index /= length;
            step *= own;
        }
        flat
    };
    let matrix = |at: usize, rows: usize, columns: usize, transposed: bool| {
        let values = at * rows * columns..(at + 1) * rows * columns;
        (values, if transposed { [1, rows] } else { [columns, 1] })
    };
    let mut values = vec![S::zero(); joined.iter().product::<usize>() * m * n];
    values.par_chunks_mut((m * n).max(1)).enumerate().for_each(|(i, y)| {
        let (range_a, strides_a) = matrix(position(i, &leading_a), m, k, transposed[0]);
        let (range_b, strides_b) = matrix(position(i, &leading_b), k, n, transposed[1]);
        let left = View { values: &a.values()[range_a], rows: m, columns: k, strides: strides_a };
        let right = View { values: &b.values()[range_b], rows: k, columns: n, strides: strides_b };
        product(left, right, y, false);
    });
    Ok(CpuTensor::of([&joined[..], &[m, n]].concat(), values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tolerance::{EXACT, relative_difference};

    fn counting(shape: &[usize]) -> CpuTensor<f64> {
        CpuTensor::of(
            shape,
            (0..shape.iter().product::<usize>()).map(|i| (i * i % 13) as f64 - 4.0).collect(),
        )
    }

    #[test]
    fn equals_the_definition() {
        let (m, k, n) = (3, 4, 5);
        for transposed in [[false, false], [true, false], [false, true], [true, true]] {
            let flip =
                |rows, columns, transposed: bool| if transposed { [columns, rows] } else { [rows, columns] };
            let a = counting(&[&[2, 1, 3], &flip(m, k, transposed[0])[..]].concat());
            let b = counting(&[&[1, 2, 3], &flip(k, n, transposed[1])[..]].concat());
            let y = multiply(&a, &b, transposed).expect("the shapes fit");
            assert_eq!(y.shape(), [2, 2, 3, m, n]);
            let at =
                |t: &CpuTensor<f64>, matrix: usize, i: usize, j: usize, size: [usize; 2], flipped: bool| {
                    let inside = if flipped { j * size[0] + i } else { i * size[1] + j };
                    t.values()[matrix * size[0] * size[1] + inside]
                };
            let mut expected = vec![];
            for (p, q, r) in (0..2).flat_map(|p| (0..2).flat_map(move |q| (0..3).map(move |r| (p, q, r)))) {
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let term = |l| {
                        at(&a, p * 3 + r, i, l, [m, k], transposed[0])
                            * at(&b, q * 3 + r, l, j, [k, n], transposed[1])
                    };
                    expected.push((0..k).map(term).sum::<f64>());
                }
            }
            assert!(relative_difference(y.values().iter().copied(), expected) < EXACT, "{transposed:?}");
        }
    }

    #[test]
    fn misfits_are_named() {
        let error =
            multiply(&counting(&[2, 3, 4]), &counting(&[2, 3, 4]), [false, false]).expect_err("4 is not 3");
        assert!(error.to_string().contains("[2, 3, 4]"), "{error}");
        assert!(multiply(&counting(&[2, 3, 4]), &counting(&[3, 4, 3]), [false, false]).is_err());
        assert!(multiply(&counting(&[4]), &counting(&[4, 3]), [false, false]).is_err());
    }
}
