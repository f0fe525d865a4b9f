//! `.npz` files out.

use std::fs::File;
use std::io::{self, BufWriter, IntoInnerError, Seek, Write};
use std::path::Path;

use npyz::DType;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::npy::{Count, Element, header};
use super::output::OutputFile;
use crate::{Error, Result};

/// An array that an `.npz` file is to hold.
#[derive(Debug, Clone)]
pub struct NpzEntry {
    name: String,
    shape: Vec<usize>,
    dtype: DType,
    header: Vec<u8>,
    size: usize,
}

impl NpzEntry {
    /// An array of `T` of this shape, row-major.
    pub fn new<T: Element>(name: &str, shape: &[usize]) -> Self {
        let (dtype, header) = (T::default_dtype(), header::<T>(shape));
        Self { name: name.to_owned(), shape: shape.to_vec(), dtype, header, size: size_of::<T>() }
    }
}

/// Writes an `.npz` file whose arrays grow side by side; it appears, whole, when it is finished.
///
/// A zip file holds its entries one after the other, so each array is kept in an unnamed temporary file
/// until the end. The arrays are stored as they are, as `numpy.savez` does: deflating floats takes far longer
/// than computing them and saves little.
pub struct NpzWriter {
    output: OutputFile,
    arrays: Vec<Spooled>,
}

struct Spooled {
    entry: NpzEntry,
    count: Count,
    values: BufWriter<File>,
}

impl NpzWriter {
    /// Begins a file of these arrays.
    ///
    /// # Errors
    /// [`Error::Argument`] if two have the same name, [`Error::Shape`] if one is too large to be counted; a
    /// temporary file that cannot be made.
    pub fn create(output: OutputFile, entries: impl IntoIterator<Item = NpzEntry>) -> Result<Self> {
        let mut arrays: Vec<Spooled> = Vec::new();
        for entry in entries {
            if arrays.iter().any(|array| array.entry.name == entry.name) {
                return Err(Error::Argument(format!("two arrays of one file are named '{}'", entry.name)));
            }
            let count = Count::new(&entry.shape)?;
            arrays.push(Spooled { entry, count, values: BufWriter::new(output.spool()?) });
        }
        Ok(Self { output, arrays })
    }

    /// Appends values to the array `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the file has no array of that name and type, [`Error::Shape`] if the values are
    /// more than its shape has room for; a failed write.
    pub fn append<T: Element>(&mut self, name: &str, values: &[T]) -> Result<()> {
        let dtype = T::default_dtype();
        let found = self.arrays.iter_mut().find(|a| a.entry.name == name && a.entry.dtype == dtype);
        let Some(array) = found else {
            let (path, dtype) = (self.output.path().display(), dtype.descr());
            return Err(Error::Argument(format!("'{path}' is to hold no array '{name}' of type {dtype}")));
        };
        array.count.add(values.len(), || name.to_owned())?;
        array.values.write_all(bytemuck::cast_slice(values)).map_err(Error::io("write", self.output.path()))
    }

    /// Completes the file.
    ///
    /// # Errors
    /// [`Error::Shape`] if values of an array are missing; a failed write. The file then does not appear.
    pub fn finish(self) -> Result<()> {
        let Self { mut output, arrays } = self;
        arrays.iter().try_for_each(|array| array.count.check(|| array.entry.name.clone()))?;
        let mut zip = ZipWriter::new(&mut output);
        for array in arrays {
            if let Err(error) = add(&mut zip, array) {
                // Dropped, it would try to complete the archive and print that it cannot.
                std::mem::forget(zip);
                return Err(Error::io("write", output.path())(error));
            }
        }
        let finished = zip.finish().map(|_| ()).map_err(into_io);
        finished.map_err(Error::io("write", output.path()))?;
        output.commit()
    }
}

/// Writes whole arrays, each with a name and a shape, into an `.npz` file; an [`NpzWriter`] in one call.
///
/// # Errors
/// As [`NpzWriter::create`], [`NpzWriter::append`] and [`NpzWriter::finish`].
pub fn write_npz<T: Element>(path: &Path, arrays: &[(&str, &[usize], &[T])]) -> Result<()> {
    let entries = arrays.iter().map(|(name, shape, _)| NpzEntry::new::<T>(name, shape));
    let mut writer = NpzWriter::create(OutputFile::create(path)?, entries)?;
    arrays.iter().try_for_each(|(name, _, values)| writer.append(name, values))?;
    writer.finish()
}

/// Moves an array into the archive and removes its temporary file.
fn add(zip: &mut ZipWriter<&mut OutputFile>, array: Spooled) -> io::Result<()> {
    let Spooled { entry, count, values } = array;
    let bytes = entry.header.len() as u64 + count.all() as u64 * entry.size as u64;
    // Entries of 4 GiB and more need the longer fields of zip64, which must be known beforehand.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(bytes >= u64::from(u32::MAX));
    zip.start_file(format!("{}.npy", entry.name), options).map_err(into_io)?;
    zip.write_all(&entry.header)?;
    let mut values = values.into_inner().map_err(IntoInnerError::into_error)?;
    values.rewind()?;
    io::copy(&mut values, zip)?;
    // A full disk shows here at the latest, and not when the archive is completed.
    zip.flush()
}

fn into_io(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ndarray::array;

    use super::*;
    use crate::data::{array_names, read_array};

    fn begin(path: &Path) -> NpzWriter {
        let entries = [NpzEntry::new::<f32>("value", &[3, 2]), NpzEntry::new::<u32>("piece", &[3])];
        NpzWriter::create(OutputFile::create(path).unwrap(), entries).unwrap()
    }

    #[test]
    fn arrays_grow_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.npz");
        let mut writer = begin(&path);
        writer.append("piece", &[7u32]).unwrap();
        writer.append("value", &[1f32, 2.0, 3.0]).unwrap();
        writer.append("piece", &[8u32, u32::MAX]).unwrap();
        writer.append("value", &[4f32, 5.0, 6.5]).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        writer.finish().unwrap();
        assert_eq!(array_names(&path).unwrap(), ["value", "piece"]);
        let value = read_array(&path, Some("value")).unwrap();
        assert_eq!(value, array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]].into_dyn());
        let piece = read_array(&path, Some("piece")).unwrap();
        assert_eq!(piece, array![7.0, 8.0, f64::from(u32::MAX)].into_dyn());
    }

    #[test]
    fn what_was_not_announced_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.npz");
        let mut writer = begin(&path);
        let fault = writer.append("value", &[1f64]).unwrap_err().to_string();
        assert!(fault.ends_with("is to hold no array 'value' of type '<f8'"), "{fault}");
        assert!(writer.append("values", &[1f32]).is_err());
        assert!(writer.append("piece", &[0u32; 4]).unwrap_err().to_string().contains("'piece' is to hold 3"));
        writer.append("piece", &[0u32; 3]).unwrap();
        let fault = writer.finish().unwrap_err().to_string();
        assert_eq!(fault, "'value' is to hold 6 values, but 0 were written");
        let twice = [NpzEntry::new::<f32>("a", &[1]), NpzEntry::new::<f32>("a", &[1])];
        assert!(NpzWriter::create(OutputFile::create(&path).unwrap(), twice).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_one_clear_error() {
        let mut writer = begin(Path::new("/dev/full"));
        writer.append("piece", &[0u32; 3]).unwrap();
        writer.append("value", &[0f32; 6]).unwrap();
        let fault = writer.finish().unwrap_err().to_string();
        assert_eq!(fault, "cannot write '/dev/full': No space left on device (os error 28)");
    }
}
