//! The rows that a job runs over.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayView, Dimension};
use sha2::{Digest, Sha256};

use super::array::Array;
use super::dtype::Format;
use super::images;
use super::normalization::{Elementwise, Normalization};
use crate::{Error, Result, Scalar};

/// How a data file is to be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// The array's name in an `.npz` file. Without one: its only array, else `x`, else `X`. Formats that
    /// hold one array ignore it.
    pub key: Option<String>,
    /// What is done to each value.
    pub normalization: Normalization,
}

/// An array of rows, its first axis, that is converted and normalised piece by piece as it is asked for.
///
/// A row-major `.npy` file and a raw IDX file are read from the disk on demand, so they may be larger than
/// memory. Everything else is kept in memory in its own number format: a byte stays a byte. Clones and
/// selections share the values.
#[derive(Debug, Clone)]
pub struct Dataset {
    array: Arc<Array>,
    rows: Rows,
    normalization: Normalization,
    elementwise: Option<Arc<Elementwise>>,
}

/// Which rows of the array are the dataset's, in order.
#[derive(Debug, Clone)]
enum Rows {
    Range(Range<usize>),
    Indices(Arc<[usize]>),
}

impl Dataset {
    /// Opens an array file or a folder of images.
    ///
    /// Array files are `.npy`, `.npz` and IDX (raw or gzip), told apart by what is in them. Their numbers may
    /// be bool, signed or unsigned integers of 8 to 64 bits (past 2^53 rounded to the nearest `f64`), `f32`
    /// or `f64`, in either byte order. The first axis counts the rows; an array of one axis has rows of one
    /// element.
    ///
    /// A folder is read as its `.png`, `.jpg` and `.jpeg` files in order of their names, each one a row of
    /// shape `[1, height, width]` (grey) or `[3, height, width]` (colour), values 0 to 255. All must have the
    /// same shape, 8 bits a channel and nothing transparent.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, of another kind or type, or without rows; a normalisation
    /// that does not fit its rows.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let array = if path.is_dir() {
            images::read_folder(path)?
        } else {
            Array::open(path, options.key.as_deref(), &["x", "X"])?
        };
        Self::new(array)?.with_normalization(options.normalization.clone())
    }

    /// A dataset of values in memory, of shape `[rows, ..]` and copied. Its path, in messages, is `array`.
    ///
    /// # Errors
    /// An array without rows, elements or axes.
    pub fn from_array<S: Scalar, D: Dimension>(values: ArrayView<'_, S, D>) -> Result<Self> {
        let shape = values.shape().to_vec();
        let mut bytes = Vec::with_capacity(size_of_val(&S::default()) * values.len());
        values.iter().for_each(|value| bytes.extend_from_slice(bytemuck::bytes_of(value)));
        Self::new(Array::in_memory(Path::new("array"), Format::native::<S>(), shape, bytes))
    }

    fn new(array: Array) -> Result<Self> {
        let Some(&rows) = array.shape.first() else {
            return Err(Error::file(&array.path, "holds a single number, not rows"));
        };
        if array.len() == 0 {
            return Err(Error::file(&array.path, "holds no rows"));
        }
        let normalization = Normalization::default();
        Ok(Self { array: Arc::new(array), rows: Rows::Range(0..rows), normalization, elementwise: None })
    }

    /// The same rows under another normalisation of the raw values; the one before is forgotten.
    ///
    /// # Errors
    /// A normalisation that does not fit the rows' shape, or is not finite.
    pub fn with_normalization(self, normalization: Normalization) -> Result<Self> {
        let elementwise = normalization.elementwise(self.row_shape())?.map(Arc::new);
        Ok(Self { normalization, elementwise, ..self })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Range(range) => range.len(),
            Rows::Indices(indices) => indices.len(),
        }
    }

    /// Whether there are no rows, which only a selection of none has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one row, without the axis of rows; empty for an array of one axis.
    pub fn row_shape(&self) -> &[usize] {
        &self.array.shape[1..]
    }

    /// The number of elements of one row, at least 1.
    pub fn row_len(&self) -> usize {
        self.row_shape().iter().product()
    }

    /// # Errors
    /// [`Error::Shape`] where rows do not have `elements` elements.
    pub(crate) fn check_rows(&self, elements: usize) -> Result<()> {
        if self.row_len() == elements {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "'{}' has rows of shape {:?} ({} elements); {elements} elements are needed",
            self.path().display(),
            self.row_shape(),
            self.row_len()
        )))
    }

    /// The normalisation applied to what [`rows`](Self::rows) and [`gather`](Self::gather) return.
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// The file or folder it was opened from.
    pub fn path(&self) -> &Path {
        &self.array.path
    }

    /// The rows `range`, as `[rows, row_len]`, normalised in `f64` and then converted to `S`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the row's number in the file if a value is not finite (in `S`, after
    /// normalisation); [`Error::Argument`] if `range` goes past the end; a file that cannot be read.
    pub fn rows<S: Scalar>(&self, range: Range<usize>) -> Result<Array2<S>> {
        self.select_range(range)?.values()
    }

    /// The rows `indices`, in the order given and repeated as often as given, as `[indices.len(), row_len]`.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn gather<S: Scalar>(&self, indices: &[usize]) -> Result<Array2<S>> {
        self.select(indices)?.values()
    }

    /// The dataset of the rows `range` alone. Nothing is read or copied.
    ///
    /// # Errors
    /// [`Error::Argument`] if `range` goes past the end or backwards.
    pub fn select_range(&self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || range.end > self.len() {
            let Range { start, end } = range;
            return Err(Error::Argument(format!("rows {start}..{end} are not in {}", self.described())));
        }
        let rows = match &self.rows {
            Rows::Range(all) => Rows::Range(all.start + range.start..all.start + range.end),
            Rows::Indices(all) => Rows::Indices(all[range].into()),
        };
        Ok(Self { rows, ..self.clone() })
    }

    /// The dataset of the rows `indices`, in the order given and repeated as often as given.
    ///
    /// # Errors
    /// [`Error::Argument`] if an index goes past the end.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if let Some(index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(Error::Argument(format!("row {index} is not in {}", self.described())));
        }
        let indices = match &self.rows {
            Rows::Range(all) => indices.iter().map(|index| all.start + index).collect(),
            Rows::Indices(all) => indices.iter().map(|&index| all[index]).collect(),
        };
        Ok(Self { rows: Rows::Indices(indices), ..self.clone() })
    }

    /// The SHA-256 of the number format, the shape and the raw values of these rows, as 64 hexadecimal
    /// digits. The file's format, its byte order and the normalisation do not enter.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(self.array.format.dtype.name());
        // The zero ends the name and the number of axes the shape, so that nothing runs into what follows.
        hash.update([0]);
        hash.update((self.array.shape.len() as u64).to_le_bytes());
        for n in std::iter::once(self.len()).chain(self.row_shape().iter().copied()) {
            hash.update((n as u64).to_le_bytes());
        }
        let mut scratch = Vec::new();
        self.visit(|_, bytes| {
            self.array.format.little_endian(bytes, &mut scratch, |bytes| hash.update(bytes));
            Ok(())
        })?;
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// All rows of this selection.
    fn values<S: Scalar>(&self) -> Result<Array2<S>> {
        let row_len = self.row_len();
        let row_bytes = row_len * self.array.format.dtype.size();
        let mut values: Vec<S> = Vec::with_capacity(self.len() * row_len);
        self.visit(|first_row, bytes| {
            let before = values.len();
            match self.elementwise.as_deref() {
                None => self.array.format.for_each(bytes, |raw| values.push(S::of(raw))),
                Some(elementwise) => {
                    for row in bytes.chunks_exact(row_bytes) {
                        let mut at = 0;
                        self.array.format.for_each(row, |raw| {
                            values.push(S::of(elementwise.apply(raw, at)));
                            at += 1;
                        });
                    }
                }
            }
            // Checked as `S`, since an `f64` may be too large for an `f32`.
            match values[before..].iter().position(|value| !value.is_finite()) {
                Some(at) => Err(Error::NonFinite {
                    what: self.path().display().to_string(),
                    row: first_row + at / row_len,
                }),
                None => Ok(()),
            }
        })?;
        Array2::from_shape_vec((self.len(), row_len), values).map_err(|e| Error::Shape(e.to_string()))
    }

    /// Visits the raw bytes of all rows in order, in pieces of whole rows that are neighbours in the file,
    /// each with the number of its first row in the file.
    fn visit(&self, mut piece: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let row_len = self.row_len();
        let row_bytes = row_len * self.array.format.dtype.size();
        let mut buffer = Vec::new();
        let mut run = |rows: Range<usize>| {
            let mut row = rows.start;
            self.array.visit(rows.start * row_len..rows.end * row_len, row_len, &mut buffer, |bytes| {
                piece(row, bytes)?;
                row += bytes.len() / row_bytes;
                Ok(())
            })
        };
        match &self.rows {
            Rows::Range(range) => run(range.clone()),
            Rows::Indices(indices) => {
                indices.chunk_by(|a, b| a + 1 == *b).try_for_each(|rows| run(rows[0]..rows[0] + rows.len()))
            }
        }
    }

    fn described(&self) -> String {
        let (path, len) = (self.path().display(), self.len());
        match len {
            0 => format!("the empty selection of '{path}'"),
            1 => format!("the 1 row of '{path}'"),
            _ => format!("the {len} rows of '{path}' (0 to {})", len - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;
    use crate::data::testing::{gzip, idx, npy, npz};
    use crate::data::{NpyWriter, OutputFile};

    fn open(bytes: &[u8], options: &ReadOptions) -> Result<Dataset> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        std::fs::write(&path, bytes).unwrap();
        // An open file outlives its name, except on Windows.
        if cfg!(windows) {
            std::mem::forget(folder);
        }
        Dataset::open(&path, options)
    }

    fn plain(bytes: &[u8]) -> Dataset {
        open(bytes, &ReadOptions::default()).unwrap()
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn every_type_in_either_byte_order_and_layout() {
        let values = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0];
        macro_rules! check {
            ($kind:literal, $number:ty) => {
                for (order, swap) in [("<", false), (">", true)] {
                    let bytes = |indices: [usize; 6]| -> Vec<u8> {
                        let value = |i: usize| values[i] as $number;
                        let turned = |i| match swap {
                            true => value(i).to_be_bytes(),
                            false => value(i).to_le_bytes(),
                        };
                        indices.into_iter().flat_map(turned).collect()
                    };
                    let descr = format!("{order}{}", $kind);
                    let by_row = plain(&npy(&descr, false, &[3, 2], &bytes([0, 1, 2, 3, 4, 5])));
                    let by_column = plain(&npy(&descr, true, &[3, 2], &bytes([0, 2, 4, 1, 3, 5])));
                    let expected = array![[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]];
                    assert_eq!(by_row.rows::<f64>(0..3).unwrap(), expected, "{descr}");
                    assert_eq!(by_column.rows::<f64>(0..3).unwrap(), expected, "{descr}");
                    assert_eq!(by_row.rows::<f32>(1..3).unwrap(), array![[1f32, 1.0], [0.0, 0.0]]);
                    assert_eq!(by_row.fingerprint().unwrap(), by_column.fingerprint().unwrap());
                }
            };
        }
        check!("b1", u8);
        check!("u1", u8);
        check!("i1", i8);
        check!("u2", u16);
        check!("i2", i16);
        check!("u4", u32);
        check!("i4", i32);
        check!("u8", u64);
        check!("i8", i64);
        check!("f4", f32);
        check!("f8", f64);
    }

    #[test]
    fn rows_gather_and_selections() {
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let file = npy("<f4", false, &[6, 2, 2], &floats(&values));
        let memory = Dataset::from_array(Array3::from_shape_vec((6, 2, 2), values).unwrap().view()).unwrap();
        for data in [plain(&file), plain(&npz(&[("a.npy", &file)])), memory] {
            assert_eq!((data.len(), data.row_shape(), data.row_len()), (6, &[2, 2][..], 4));
            let row = |i: usize| (0..4).map(|j| (4 * i + j) as f64).collect::<Vec<_>>();
            let expect = |got: Result<Array2<f64>>, rows: &[usize]| {
                let got = got.unwrap();
                let expected: Vec<f64> = rows.iter().flat_map(|&i| row(i)).collect();
                assert_eq!(got, Array2::from_shape_vec((rows.len(), 4), expected).unwrap());
            };
            expect(data.rows(2..5), &[2, 3, 4]);
            expect(data.rows(3..3), &[]);
            expect(data.gather(&[5, 0, 1, 2, 2, 4]), &[5, 0, 1, 2, 2, 4]);
            let part = data.select_range(2..6).unwrap();
            assert_eq!((part.len(), part.is_empty()), (4, false));
            expect(part.rows(1..3), &[3, 4]);
            expect(part.gather(&[3, 0]), &[5, 2]);
            let picked = part.select(&[3, 0, 1]).unwrap();
            expect(picked.rows(0..3), &[5, 2, 3]);
            expect(picked.select_range(1..3).unwrap().select(&[1, 0]).unwrap().rows(0..2), &[3, 2]);
            assert!(data.select(&[]).unwrap().is_empty());

            let fault = part.rows::<f32>(1..5).unwrap_err().to_string();
            assert!(fault.starts_with("rows 1..5 are not in the 4 rows of '"), "{fault}");
            let fault = picked.gather::<f32>(&[0, 3]).unwrap_err().to_string();
            assert!(fault.starts_with("row 3 is not in the 3 rows of '"), "{fault}");
            let backwards = Range { start: 3, end: 2 };
            assert!(data.rows::<f32>(backwards).is_err());
        }
    }

    #[test]
    fn files_larger_than_a_block_are_read_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let mut writer = NpyWriter::create(OutputFile::create(&path).unwrap(), &[3000, 257]).unwrap();
        let value = |i: usize| (i % 10_007) as f32;
        for row in 0..3000 {
            writer.write(&(0..257).map(|j| value(257 * row + j)).collect::<Vec<_>>()).unwrap();
        }
        writer.finish().unwrap();
        let data = Dataset::open(&path, &ReadOptions::default()).unwrap();
        let all = data.rows::<f32>(0..3000).unwrap();
        assert!(all.iter().enumerate().all(|(i, &v)| v == value(i)));
        let memory = Dataset::from_array(all.view()).unwrap();
        assert_eq!(data.fingerprint().unwrap(), memory.fingerprint().unwrap());
    }

    #[test]
    fn values_are_normalised_by_channel() {
        let normalization =
            Normalization { scale: Some(0.5), mean: Some(vec![1.0, 2.0]), std: Some(vec![0.5, 0.25]) };
        let options = ReadOptions { key: None, normalization: normalization.clone() };
        let data = open(&idx(8, &[2, 2, 1, 2], &[2, 4, 6, 8, 10, 12, 14, 16]), &options).unwrap();
        let expected = array![[0.0, 2.0, 4.0, 8.0], [8.0, 10.0, 20.0, 24.0]];
        assert_eq!(data.rows::<f64>(0..2).unwrap(), expected);
        assert_eq!(data.normalization(), &normalization);
        let raw = data.with_normalization(Normalization::default()).unwrap();
        assert_eq!(raw.rows::<f32>(0..1).unwrap(), array![[2.0, 4.0, 6.0, 8.0]]);
        let wrong = Normalization { mean: Some(vec![0.0; 3]), ..Normalization::default() };
        assert!(
            raw.with_normalization(wrong).unwrap_err().to_string().contains("1, 2 (one for each channel)")
        );
    }

    #[test]
    fn a_value_that_is_not_finite_is_named_with_its_row_in_the_file() {
        let file = npy("<f4", false, &[4, 2], &floats(&[0., 1., 2., 3., 4., f32::NAN, 6., 7.]));
        let data = plain(&file);
        assert!(data.rows::<f32>(0..2).is_ok());
        let row_of = |result: Result<Array2<f32>>| match result.unwrap_err() {
            Error::NonFinite { row, what } => {
                assert!(what.ends_with("x.npy"));
                row
            }
            other => panic!("{other}"),
        };
        assert_eq!(row_of(data.rows(1..4)), 2);
        assert_eq!(row_of(data.gather(&[3, 2])), 2);
        assert_eq!(row_of(data.select_range(1..4).unwrap().select(&[2, 1]).unwrap().rows(0..2)), 2);
        // Finite as f64, but not as f32.
        let large = Dataset::from_array(array![[1.0], [1e300]].view()).unwrap();
        assert!(large.rows::<f64>(0..2).is_ok());
        assert!(matches!(large.rows::<f32>(0..2), Err(Error::NonFinite { row: 1, .. })));
    }

    #[test]
    fn no_rows_are_an_error() {
        for shape in [&[0, 3][..], &[3, 0], &[0]] {
            let fault = open(&npy("<f4", false, shape, &[]), &ReadOptions::default()).unwrap_err();
            assert!(fault.to_string().ends_with("x.npy' holds no rows"), "{fault}");
        }
        let fault = open(&npy("|u1", false, &[], &[1]), &ReadOptions::default()).unwrap_err();
        assert!(fault.to_string().ends_with("holds a single number, not rows"), "{fault}");
        let fault = Dataset::from_array(Array2::<f32>::zeros((0, 3)).view()).unwrap_err();
        assert_eq!(fault.to_string(), "'array' holds no rows");
    }

    #[test]
    fn one_axis_is_rows_of_one_element() {
        let data = plain(&npy("|u1", false, &[3], &[5, 6, 7]));
        assert_eq!((data.len(), data.row_shape(), data.row_len()), (3, &[][..], 1));
        assert_eq!(data.rows::<f64>(1..3).unwrap(), array![[6.0], [7.0]]);
    }

    #[test]
    fn the_array_of_an_npz_is_the_named_one_or_x() {
        let array = |value| npy("|u1", false, &[1, 1], &[value]);
        let file = npz(&[("y.npy", &array(1)), ("X.npy", &array(2)), ("x.npy", &array(3))]);
        let value = |data: Dataset| data.rows::<f64>(0..1).unwrap()[[0, 0]];
        assert_eq!(value(plain(&file)), 3.0);
        let options = ReadOptions { key: Some("y".into()), ..ReadOptions::default() };
        assert_eq!(value(open(&file, &options).unwrap()), 1.0);
    }

    #[test]
    fn fingerprints_are_of_the_values_not_of_the_file() {
        let shorts = |turn: fn(i16) -> [u8; 2]| [1, -2, 3, 4].into_iter().flat_map(turn).collect::<Vec<u8>>();
        let file = npy("<i2", false, &[2, 2], &shorts(i16::to_le_bytes));
        let of = |bytes: &[u8]| plain(bytes).fingerprint().unwrap();
        let expected = of(&file);
        assert!(expected.len() == 64 && expected.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(of(&npy(">i2", false, &[2, 2], &shorts(i16::to_be_bytes))), expected);
        assert_eq!(of(&npz(&[("a.npy", &file)])), expected);
        let big = idx(11, &[2, 2], &shorts(i16::to_be_bytes));
        assert_eq!((of(&big), of(&gzip(&big))), (expected.clone(), expected.clone()));
        // Another shape, type, value or order is another fingerprint.
        assert_ne!(of(&npy("<i2", false, &[4, 1], &shorts(i16::to_le_bytes))), expected);
        assert_ne!(of(&npy("<u2", false, &[2, 2], &shorts(i16::to_le_bytes))), expected);
        assert_ne!(of(&npy(">i2", false, &[2, 2], &shorts(i16::to_le_bytes))), expected);
        let data = plain(&file);
        let picked = |indices: &[usize]| data.select(indices).unwrap().fingerprint().unwrap();
        assert_eq!(picked(&[0, 1]), expected);
        assert_ne!(picked(&[1, 0]), expected);
        // Files written long ago keep the hash they were written with.
        let bytes = plain(&npy("|u1", false, &[1, 2], &[7, 8])).fingerprint().unwrap();
        assert_eq!(bytes, "f6a0ed3c1dfc98df012f95f318c6bf3e3bd8b15f1035beb0e03fb146b80ea2fb");
    }
}
