//! Whole arrays in, and `.npy` files out.

use std::marker::PhantomData;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use npyz::{WriteOptions, WriterBuilder};

use super::array::{self, Array};
use super::output::OutputFile;
use crate::{Error, Result, Scalar};

/// A number type that arrays are written in: `f32`, `f64` and `u32`.
pub trait Element: npyz::AutoSerialize + bytemuck::Pod {}

impl<S: Scalar> Element for S {}
impl Element for u32 {}
impl Element for u64 {}

/// Reads a whole array into memory, as `f64`, out of an `.npy`, `.npz` or IDX (raw or gzip) file. Its values
/// may be of any type that [`Dataset::open`](crate::data::Dataset::open) reads; they are not checked to be
/// finite.
///
/// `key` names the array in an `.npz`; without one the file must hold only one.
///
/// # Errors
/// A file that cannot be read, is damaged, or of another kind or type.
pub fn read_array(path: &Path, key: Option<&str>) -> Result<ArrayD<f64>> {
    let array = Array::open(path, key, &[])?;
    let mut values = Vec::with_capacity(array.len());
    array.visit(0..array.len(), 1, &mut Vec::new(), |bytes| {
        array.format.for_each(bytes, |value| values.push(value));
        Ok(())
    })?;
    ArrayD::from_shape_vec(IxDyn(&array.shape), values)
        .map_err(|e| Error::file(path, format!("has a shape that cannot be held: {e}")))
}

/// The names of the arrays in an `.npz` file, in the order of the file.
///
/// # Errors
/// A file that cannot be read or is no `.npz`.
pub fn array_names(path: &Path) -> Result<Vec<String>> {
    array::names(path)
}

/// Writes an `.npy` file piece by piece; it appears, whole, when it is finished.
pub struct NpyWriter<T> {
    output: OutputFile,
    count: Count,
    element: PhantomData<T>,
}

impl<T: Element> NpyWriter<T> {
    /// Begins an array of this shape, row-major.
    ///
    /// # Errors
    /// A shape of more values than can be counted; a failed write.
    pub fn create(mut output: OutputFile, shape: &[usize]) -> Result<Self> {
        let count = Count::new(shape)?;
        output.put(&header::<T>(shape))?;
        Ok(Self { output, count, element: PhantomData })
    }

    /// Appends values.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are more than the shape has room for; a failed write.
    pub fn write(&mut self, values: &[T]) -> Result<()> {
        self.count.add(values.len(), || self.output.path().display().to_string())?;
        self.output.put(bytemuck::cast_slice(values))
    }

    /// Completes the file.
    ///
    /// # Errors
    /// [`Error::Shape`] if values are missing; a failed write. The file then does not appear.
    pub fn finish(self) -> Result<()> {
        self.count.check(|| self.output.path().display().to_string())?;
        self.output.commit()
    }
}

/// The header of an `.npy` file of `T` in this machine's byte order.
pub(super) fn header<T: Element>(shape: &[usize]) -> Vec<u8> {
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let begun = WriteOptions::<T>::new().default_dtype().shape(&shape).writer(Vec::new());
    begun.write_header_only().expect("a Vec takes all that is written")
}

/// How many values of an array are written.
pub(super) struct Count {
    all: usize,
    written: usize,
}

impl Count {
    pub(super) fn new(shape: &[usize]) -> Result<Self> {
        match shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n)) {
            Some(all) => Ok(Self { all, written: 0 }),
            None => {
                Err(Error::Shape(format!("an array of shape {shape:?} cannot be written: it is too large")))
            }
        }
    }

    pub(super) fn all(&self) -> usize {
        self.all
    }

    pub(super) fn add(&mut self, values: usize, what: impl FnOnce() -> String) -> Result<()> {
        let Self { all, written } = *self;
        if values > all - written {
            return Err(Error::Shape(format!(
                "'{}' is to hold {all} values, but {written} and then {values} were written",
                what()
            )));
        }
        self.written += values;
        Ok(())
    }

    pub(super) fn check(&self, what: impl FnOnce() -> String) -> Result<()> {
        let Self { all, written } = *self;
        match written == all {
            true => Ok(()),
            false => {
                let what = what();
                Err(Error::Shape(format!("'{what}' is to hold {all} values, but {written} were written")))
            }
        }
    }
}

/// Writes a whole `.npy` file; an [`NpyWriter`] in one call.
///
/// # Errors
/// As [`NpyWriter::create`], [`NpyWriter::write`] and [`NpyWriter::finish`].
pub fn write_npy<T: Element>(path: &Path, shape: &[usize], values: &[T]) -> Result<()> {
    let mut writer = NpyWriter::create(OutputFile::create(path)?, shape)?;
    writer.write(values)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::data::write_whole;

    #[test]
    fn pieces_make_a_whole_array() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("y.npy");
        let mut writer = NpyWriter::<f64>::create(OutputFile::create(&path).unwrap(), &[2, 3]).unwrap();
        writer.write(&[1.0, 2.0]).unwrap();
        writer.write(&[3.0, -4.0, f64::INFINITY, 6.0]).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        let expected = array![[1.0, 2.0, 3.0], [-4.0, f64::INFINITY, 6.0]].into_dyn();
        assert_eq!(read_array(&path, None).unwrap(), expected);
        let mut writer = NpyWriter::<u32>::create(OutputFile::create(&path).unwrap(), &[1]).unwrap();
        writer.write(&[u32::MAX]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read_array(&path, None).unwrap(), array![f64::from(u32::MAX)].into_dyn());
        let writer = NpyWriter::<f32>::create(OutputFile::create(&path).unwrap(), &[0, 5]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read_array(&path, None).unwrap().shape(), [0, 5]);
    }

    #[test]
    fn too_few_and_too_many_values_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("y.npy");
        write_whole(&path, b"old").unwrap();
        let begin = || NpyWriter::<f32>::create(OutputFile::create(&path).unwrap(), &[3]).unwrap();
        let mut writer = begin();
        writer.write(&[1.0, 2.0]).unwrap();
        let fault = writer.write(&[3.0, 4.0]).unwrap_err().to_string();
        assert!(fault.ends_with("is to hold 3 values, but 2 and then 2 were written"), "{fault}");
        let fault = writer.finish().unwrap_err().to_string();
        assert!(fault.ends_with("is to hold 3 values, but 2 were written"), "{fault}");
        drop(begin());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let huge = NpyWriter::<f32>::create(OutputFile::create(&path).unwrap(), &[usize::MAX, 2]);
        assert!(huge.err().unwrap().to_string().contains("too large"));
    }
}
