//! Weights and other constants, in the precision of the file they came from.

use std::sync::Arc;

use crate::{Error, Result, Scalar};

/// A constant array of any rank; cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    shape: Vec<usize>,
    values: Values,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    F32(Arc<Vec<f32>>),
    F64(Arc<Vec<f64>>),
}

impl Constant {
    /// A row-major array in f32.
    ///
    /// # Errors
    /// [`Error::Shape`] where `values` do not fill `shape`; [`Error::Argument`] where one is not finite.
    pub fn f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Result<Self> {
        let finite = values.iter().all(|v| v.is_finite());
        Self::checked(shape.into(), values.len(), finite, || Values::F32(Arc::new(values)))
    }

    /// A row-major array in f64.
    ///
    /// # Errors
    /// As [`f32`](Self::f32).
    pub fn f64(shape: impl Into<Vec<usize>>, values: Vec<f64>) -> Result<Self> {
        let finite = values.iter().all(|v| v.is_finite());
        Self::checked(shape.into(), values.len(), finite, || Values::F64(Arc::new(values)))
    }

    fn checked(
        shape: Vec<usize>,
        count: usize,
        finite: bool,
        values: impl FnOnce() -> Values,
    ) -> Result<Self> {
        if shape.iter().try_fold(1_usize, |n, &l| n.checked_mul(l)) != Some(count) {
            return Err(Error::Shape(format!("{count} values do not fill a constant of shape {shape:?}")));
        }
        if !finite {
            return Err(Error::Argument("a constant holds a NaN or an infinity".to_owned()));
        }
        Ok(Self { shape, values: values() })
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
        }
    }

    /// Whether it holds no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, each converted.
    pub fn to<S: Scalar>(&self) -> Vec<S> {
        match &self.values {
            Values::F32(values) => values.iter().map(|&v| S::of(f64::from(v))).collect(),
            Values::F64(values) => values.iter().map(|&v| S::of(v)).collect(),
        }
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Self> {
        Self::checked(shape.into(), self.len(), true, || self.values.clone())
    }

    /// Whether the elements are held in f32.
    pub(crate) fn is_f32(&self) -> bool {
        matches!(self.values, Values::F32(_))
    }

    /// A function of every element, in f64: what is folded into weights must not be rounded to f32 before an engine
    /// in f64 sees it.
    pub(crate) fn map(&self, f: impl Fn(usize, f64) -> f64) -> Result<Self> {
        Self::f64(
            self.shape.clone(),
            self.to::<f64>().into_iter().enumerate().map(|(i, v)| f(i, v)).collect(),
        )
    }

    /// The transpose of a matrix.
    pub(crate) fn transposed(&self) -> Result<Self> {
        self.permuted(&[1, 0])
    }

    /// Axis `i` of the result is axis `order[i]`.
    pub(crate) fn permuted(&self, order: &[usize]) -> Result<Self> {
        fn permute<T: Copy>(shape: &[usize], values: &[T], order: &[usize]) -> Option<(Vec<usize>, Vec<T>)> {
            if let (&[rows, columns], [1, 0]) = (shape, order) {
                return Some((vec![columns, rows], transposed(values, [rows, columns])));
            }
            let array = ndarray::ArrayViewD::from_shape(shape, values).ok()?;
            let array = array.permuted_axes(order);
            Some((array.shape().to_vec(), array.iter().copied().collect()))
        }
        let mut seen = order.to_vec();
        seen.sort_unstable();
        let permutation = seen.iter().copied().eq(0..self.shape.len());
        let misfit = || Error::Shape(format!("{order:?} is no order of the axes of {:?}", self.shape));
        if !permutation {
            return Err(misfit());
        }
        match &self.values {
            Values::F32(values) => {
                let (shape, values) = permute(&self.shape, values, order).ok_or_else(misfit)?;
                Self::f32(shape, values)
            }
            Values::F64(values) => {
                let (shape, values) = permute(&self.shape, values, order).ok_or_else(misfit)?;
                Self::f64(shape, values)
            }
        }
    }
}

/// The transpose of a matrix, a square of it after the other: element by element, 784 x 256 took 4 ms.
fn transposed<T: Copy>(values: &[T], [rows, columns]: [usize; 2]) -> Vec<T> {
    const SIDE: usize = 16;
    let Some(&any) = values.first() else { return vec![] };
    let mut result = vec![any; values.len()];
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for column in left..columns.min(left + SIDE) {
                for row in top..rows.min(top + SIDE) {
                    result[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    result
}

impl From<f64> for Constant {
    /// A scalar (shape `[]`).
    fn from(value: f64) -> Self {
        Self { shape: vec![], values: Values::F64(Arc::new(vec![value])) }
    }
}
