//! Arithmetic of axes that engines share: strides, broadcasting, axes that are walked as one.

use crate::{Error, Result};

/// Row-major strides; 0 along axes of length 1, whose only element serves all.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut stride = 1;
    let mut strides: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&length| {
            let this = if length == 1 { 0 } else { stride };
            stride *= length;
            this
        })
        .collect();
    strides.reverse();
    strides
}

/// The shape of two arrays of equally many axes together.
///
/// # Errors
/// [`Error::Shape`] where two lengths differ and neither is 1.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let lengths =
        a.iter().zip(b).map(|(&a, &b)| if a == b || b == 1 { Some(a) } else { (a == 1).then_some(b) });
    let shape: Option<Vec<usize>> = lengths.collect();
    let misfit = || Error::Shape(format!("{a:?} and {b:?} cannot be broadcast together"));
    shape.filter(|_| a.len() == b.len()).ok_or_else(misfit)
}

/// The matrices in the last two axes of two operands, and their products.
#[derive(Debug)]
pub(super) struct Matrices {
    /// The axes before, of either operand and of the result.
    pub leading: [Vec<usize>; 2],
    pub joined: Vec<usize>,
    /// `[m, k] @ [k, n]`
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

impl Matrices {
    /// For `[B.., m, k]` and `[B.., k, n]`, or what lies transposed.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit.
    pub(super) fn new(a: &[usize], b: &[usize], transposed: [bool; 2]) -> Result<Self> {
        let misfit = || {
            Error::Shape(format!(
                "the matrices of {a:?} and {b:?} (transposed: {transposed:?}) do not fit together"
            ))
        };
        let split = |shape: &[usize], transposed: bool| -> Option<(Vec<usize>, [usize; 2])> {
            let (leading, &[rows, columns]) = shape.split_last_chunk::<2>()?;
            Some((leading.to_vec(), if transposed { [columns, rows] } else { [rows, columns] }))
        };
        let (leading_a, [m, k]) = split(a, transposed[0]).ok_or_else(misfit)?;
        let (leading_b, [inner, n]) = split(b, transposed[1]).ok_or_else(misfit)?;
        let joined = broadcast(&leading_a, &leading_b).map_err(|_| misfit())?;
        if k != inner {
            return Err(misfit());
        }
        Ok(Self { leading: [leading_a, leading_b], joined, m, k, n })
    }
}

/// The shape with so many elements more at the ends of each axis, or fewer.
///
/// # Errors
/// [`Error::Shape`] where a length would be below 0.
pub(super) fn padded(shape: &[usize], before: &[isize], after: &[isize]) -> Result<Vec<usize>> {
    let ends = before.iter().zip(after);
    let lengths = shape
        .iter()
        .zip(ends)
        .map(|(&length, (&before, &after))| length.checked_add_signed(before)?.checked_add_signed(after));
    let misfit = || Error::Shape(format!("{shape:?} cannot be padded by {before:?} and {after:?}"));
    lengths.collect::<Option<Vec<usize>>>().ok_or_else(misfit)
}

/// Axes of `shape` and how `N` operands walk them: neighbours that all of them walk alike are merged, and axes of
/// length 1 left out. `[64, 10, 784]` with `[64, 1, 784]` keeps three axes, `[64, 10, 784]` twice becomes one.
#[derive(Debug)]
pub(super) struct Merged<const N: usize> {
    pub lengths: Vec<usize>,
    /// Outermost first.
    pub strides: [Vec<usize>; N],
}

impl<const N: usize> Merged<N> {
    pub(super) fn new(shape: &[usize], strides: [&[usize]; N]) -> Self {
        let mut merged = Self { lengths: vec![], strides: [(); N].map(|()| vec![]) };
        for i in (0..shape.len()).filter(|&i| shape[i] != 1) {
            let length = shape[i];
            let outer = merged.lengths.len().checked_sub(1);
            let continues = |outer: usize| (0..N).all(|n| merged.strides[n][outer] == strides[n][i] * length);
            match outer.filter(|&outer| continues(outer)) {
                Some(outer) => {
                    merged.lengths[outer] *= length;
                    (0..N).for_each(|n| merged.strides[n][outer] = strides[n][i]);
                }
                None => {
                    merged.lengths.push(length);
                    (0..N).for_each(|n| merged.strides[n].push(strides[n][i]));
                }
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_walked_alike_are_merged() {
        let merged = |a: &[usize], b: &[usize]| {
            let shape = broadcast(a, b).expect("they fit");
            let Merged { lengths, strides: [a, b] } = Merged::new(&shape, [&strides(a), &strides(b)]);
            (lengths, a, b)
        };
        assert_eq!(merged(&[64, 10, 784], &[64, 10, 784]), (vec![501_760], vec![1], vec![1]));
        let apart = (vec![64, 10, 784], vec![7840, 784, 1], vec![784, 0, 1]);
        assert_eq!(merged(&[64, 10, 784], &[64, 1, 784]), apart);
        assert_eq!(merged(&[2, 1, 3], &[1, 1, 1]), (vec![6], vec![1], vec![0]));
        assert!(broadcast(&[2, 3], &[3, 3]).is_err() && broadcast(&[2], &[2, 2]).is_err());
    }
}
