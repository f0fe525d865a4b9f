//! One array out of a file: in memory in its own number format, or read from the file as it is needed.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use flate2::read::MultiGzDecoder;
use zip::ZipArchive;
use zip::result::ZipError;

use super::dtype::Format;
use super::header::{Header, Origin};
use crate::{Error, Result};

/// Bytes that are read from a file at a time.
const BLOCK: usize = 1 << 20;

/// How many names a message lists at most.
const MOST_NAMES: usize = 16;

/// An array in row-major order.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) shape: Vec<usize>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// All of them, as they stand in the file.
    Memory(Vec<u8>),
    /// In the file, from this byte on.
    File { file: Mutex<File>, start: u64 },
}

impl Array {
    /// Opens an `.npy`, `.npz` or IDX file, told apart by what is in them.
    ///
    /// Of an `.npz` it takes the array `key`; without one its only array, or the first of `preferred` that
    /// is there. A key is ignored by the formats that hold one array.
    pub(super) fn open(path: &Path, key: Option<&str>, preferred: &[&str]) -> Result<Self> {
        let origin = Origin { path, key: None };
        let (mut file, length) = open_file(path)?;
        if length == 0 {
            return Err(origin.fault("is empty"));
        }
        let mut first = [0; 2];
        let known = file.read(&mut first).and_then(|_| file.rewind());
        known.map_err(Error::io("read", path))?;
        match first {
            [b'P', b'K'] => open_npz(path, (file, length), key, preferred),
            [0x1f, 0x8b] => read_stream(MultiGzDecoder::new(BufReader::new(file)), length, origin),
            _ => {
                // Unbuffered, so that the file stands at the first value afterwards.
                let header = Header::read(&mut file, &origin)?;
                let held = length.saturating_sub(header.start as u64);
                if held != header.value_bytes as u64 {
                    let promised = header.value_bytes;
                    return Err(origin.fault(format_args!(
                        "holds {held} bytes of values where its header promises {promised}"
                    )));
                }
                if header.fortran {
                    return read_values(file, header, origin);
                }
                let Header { format, shape, start, .. } = header;
                let values = Values::File { file: Mutex::new(file), start: start as u64 };
                Ok(Self { path: path.to_path_buf(), format, shape, values })
            }
        }
    }

    /// An array in memory; `bytes` are its values in row-major order.
    pub(super) fn in_memory(path: &Path, format: Format, shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        Self { path: path.to_path_buf(), format, shape, values: Values::Memory(bytes) }
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Visits the bytes of the values `range` in order, in pieces of a multiple of `step` values.
    /// `buffer` is scratch memory, kept by the caller from one call to the next.
    pub(super) fn visit(
        &self,
        range: Range<usize>,
        step: usize,
        buffer: &mut Vec<u8>,
        mut piece: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let size = self.format.dtype.size();
        let bytes = range.start * size..range.end * size;
        match &self.values {
            Values::Memory(values) => piece(&values[bytes]),
            Values::File { file, start } => {
                let step = step * size;
                let block = (BLOCK / step).max(1) * step;
                for at in bytes.clone().step_by(block) {
                    buffer.resize(block.min(bytes.end - at), 0);
                    {
                        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                        let read = file.seek(SeekFrom::Start(start + at as u64));
                        let origin = Origin { path: &self.path, key: None };
                        read.and_then(|_| file.read_exact(buffer)).map_err(|e| origin.failed(e))?;
                    }
                    piece(buffer)?;
                }
                Ok(())
            }
        }
    }
}

/// The names of the arrays in an `.npz` file, in the order of the file.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    let (file, _) = open_file(path)?;
    let origin = Origin { path, key: None };
    let archive = ZipArchive::new(BufReader::new(file)).map_err(|e| unzip(origin, e))?;
    keys(&archive, origin)
}

/// Opens a regular file for reading, with its length in bytes.
fn open_file(path: &Path) -> Result<(File, u64)> {
    // Looked at first: to open a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(Error::file(path, "is a folder, not an array file"));
    }
    if !metadata.is_file() {
        return Err(Error::file(path, "is no regular file; arrays are read from regular files only"));
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    Ok((file, metadata.len()))
}

fn open_npz(
    path: &Path,
    (file, length): (File, u64),
    key: Option<&str>,
    preferred: &[&str],
) -> Result<Array> {
    let origin = Origin { path, key: None };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| unzip(origin, e))?;
    let keys = keys(&archive, origin)?;
    let has = |name: &str| keys.iter().any(|key| key == name);
    let key = match (key, &keys[..]) {
        (_, []) => return Err(origin.fault("holds no arrays")),
        (Some(key), _) if has(key) => key,
        (Some(key), _) => {
            let key = key.escape_debug();
            return Err(origin.fault(format_args!("holds no array '{key}', only {}", listed(&keys))));
        }
        (None, [only]) => only,
        (None, _) => match preferred.iter().find(|name| has(name)) {
            Some(name) => name,
            None => {
                let reason = format_args!("holds several arrays, {}: pick one by its key", listed(&keys));
                return Err(origin.fault(reason));
            }
        },
    };
    let origin = Origin { path, key: Some(key) };
    let entry = archive.by_name(&format!("{key}.npy")).map_err(|e| unzip(origin, e))?;
    let packed = entry.compressed_size().min(length);
    read_stream(entry, packed, origin)
}

fn keys(archive: &ZipArchive<BufReader<File>>, origin: Origin<'_>) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for name in archive.file_names() {
        let name = name.map_err(|e| unzip(origin, e))?;
        keys.extend(name.strip_suffix(".npy").map(str::to_owned));
    }
    Ok(keys)
}

fn listed(keys: &[String]) -> String {
    let shown: Vec<_> = keys.iter().take(MOST_NAMES).map(|k| format!("'{}'", k.escape_debug())).collect();
    match keys.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn unzip(origin: Origin<'_>, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => origin.failed(error),
        error => origin.fault(format_args!("cannot be unpacked: {error}")),
    }
}

/// Reads an `.npy` or IDX file out of a stream that unpacks `packed` bytes of a file.
fn read_stream(reader: impl Read, packed: u64, origin: Origin<'_>) -> Result<Array> {
    // A decoder is read in pieces as small as the header's fields.
    let mut reader = BufReader::new(reader);
    let header = Header::read(&mut reader, &origin)?;
    let (promised, most) = (header.value_bytes, most_unpacked(packed));
    if promised as u64 > most {
        return Err(origin.fault(format_args!(
            "holds {packed} compressed bytes where its header promises {promised} of values; at most {most} are \
             unpacked from so few"
        )));
    }
    read_values(reader, header, origin)
}

/// How many bytes are unpacked out of so many: no more than deflate can hold, and far more than a hundred times as many
/// only up to a gibibyte, so that a small file cannot fill the memory.
fn most_unpacked(packed: u64) -> u64 {
    let possible = packed.saturating_mul(1032).saturating_add(64);
    possible.min(packed.saturating_mul(100).max(1 << 30))
}

/// Reads the values that follow a header into memory.
fn read_values(reader: impl Read, header: Header, origin: Origin<'_>) -> Result<Array> {
    let Header { format, shape, fortran, value_bytes, .. } = header;
    // Memory grows with the bytes that are really there, whatever the header promises. The one byte more
    // takes the reader past the end, where the decoders compare their checksums.
    let mut bytes = Vec::new();
    reader.take(value_bytes as u64 + 1).read_to_end(&mut bytes).map_err(|e| origin.failed(e))?;
    if bytes.len() != value_bytes {
        let held = if bytes.len() < value_bytes { format!("only {}", bytes.len()) } else { "more".into() };
        let reason = format_args!("holds {held} bytes of values where its header promises {value_bytes}");
        return Err(origin.fault(reason));
    }
    if fortran {
        bytes = row_major(&bytes, &shape, format.dtype.size());
    } else {
        bytes.shrink_to_fit();
    }
    Ok(Array::in_memory(origin.path, format, shape, bytes))
}

/// Turns values of `size` bytes from column-major into row-major order.
fn row_major(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let strides: Vec<usize> = shape
        .iter()
        .scan(size, |stride, &n| {
            let this = *stride;
            *stride *= n;
            Some(this)
        })
        .collect();
    let mut turned = Vec::with_capacity(bytes.len());
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    while turned.len() < bytes.len() {
        turned.extend_from_slice(&bytes[at..at + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::data::read_array;
    use crate::data::testing::{gzip, idx, npy, npz};

    fn read(bytes: &[u8], key: Option<&str>) -> Result<(Vec<usize>, Vec<f64>), String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let array = read_array(file.path(), key).map_err(|e| e.to_string())?;
        Ok((array.shape().to_vec(), array.into_iter().collect()))
    }

    /// Small valid files of every format, all of them of shape [2, 3].
    fn files() -> Vec<Vec<u8>> {
        let bytes = [1, 2, 3, 4, 5, 6];
        let floats: Vec<u8> = bytes.iter().flat_map(|&v| f32::from(v).to_be_bytes()).collect();
        let plain = npy("|u1", false, &[2, 3], &bytes);
        vec![
            plain.clone(),
            npy("|i1", true, &[2, 3], &[1, 4, 2, 5, 3, 6]),
            npy(">f4", false, &[2, 3], &floats),
            idx(8, &[2, 3], &bytes),
            idx(13, &[2, 3], &floats),
            gzip(&idx(8, &[2, 3], &bytes)),
            gzip(&idx(13, &[2, 3], &floats)),
            npz(&[("a.npy", &plain)]),
            npz(&[("readme.txt", b"no array"), ("a.npy", &plain)]),
        ]
    }

    #[test]
    fn every_format_gives_the_same_array() {
        for file in files() {
            let expected = (vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            assert_eq!(read(&file, None), Ok(expected));
        }
    }

    #[test]
    fn every_truncated_file_is_an_error() {
        for file in files() {
            for end in 0..file.len() {
                let fault = read(&file[..end], None).unwrap_err();
                assert!(fault.starts_with('\'') && !fault.contains('\n'), "{end}: {fault}");
            }
        }
    }

    #[test]
    fn bytes_too_many_are_an_error() {
        let values = [1, 2, 3, 4, 5, 6, 7];
        let file = npy("|u1", false, &[2, 3], &values);
        assert!(
            read(&file, None).unwrap_err().contains("holds 7 bytes of values where its header promises 6")
        );
        let more = "holds more bytes of values where its header promises 6";
        assert!(read(&npz(&[("a.npy", &file)]), None).unwrap_err().contains(more));
        assert!(read(&gzip(&idx(8, &[2, 3], &values)), None).unwrap_err().contains(more));
    }

    #[test]
    fn promises_of_terabytes_take_no_memory() {
        let shape = [1 << 20, 1 << 20];
        let file = npy("<f8", false, &shape, &[0; 8]);
        let promise = "8 bytes of values where its header promises 8796093022208";
        assert!(read(&file, None).unwrap_err().contains(promise));
        assert!(read(&npy("<f8", true, &shape, &[0; 8]), None).unwrap_err().contains(promise));
        let promise = "compressed bytes where its header promises 8796093022208 of values; at most";
        assert!(read(&npz(&[("b.npy", b""), ("a.npy", &file)]), Some("a")).unwrap_err().contains(promise));
        let file = gzip(&idx(14, &[1 << 20, 1 << 20], &[0; 8]));
        assert!(read(&file, None).unwrap_err().contains(promise));
    }

    #[test]
    fn what_compresses_well_is_unpacked() {
        let file = npy("|u1", false, &[4 << 20], &vec![0; 4 << 20]);
        let packed = npz(&[("b.npy", b""), ("a.npy", &file)]);
        assert!(packed.len() < file.len() / 900);
        assert_eq!(read(&packed, Some("a")).unwrap().1.len(), 4 << 20);
        assert_eq!(most_unpacked(10), 10_384);
        assert_eq!(most_unpacked(2 << 20), 1 << 30);
        assert_eq!(most_unpacked(1 << 30), 100 << 30);
    }

    #[test]
    fn damage_is_found_by_checksums() {
        let plain = npy("|u1", false, &[2, 3], &[1, 2, 3, 4, 5, 6]);
        let mut stored = npz(&[("a.npy", &plain)]);
        let at = stored.windows(3).position(|bytes| bytes == [4, 5, 6]).unwrap();
        stored[at] ^= 1;
        assert!(read(&stored, None).unwrap_err().contains("(array 'a') is damaged"));
        let mut zipped = gzip(&idx(8, &[2, 3], &[1, 2, 3, 4, 5, 6]));
        let at = zipped.len() - 8;
        zipped[at] ^= 1;
        assert!(read(&zipped, None).unwrap_err().contains("is damaged"));
    }

    #[test]
    fn arrays_of_an_npz_are_picked_by_key() {
        let array = |value| npy("|u1", false, &[1], &[value]);
        let file = npz(&[("a.npy", &array(1)), ("b.npy", &array(2)), ("notes", b"-")]);
        assert_eq!(read(&file, Some("b")), Ok((vec![1], vec![2.0])));
        let fault = read(&file, Some("c")).unwrap_err();
        assert!(fault.ends_with("holds no array 'c', only 'a', 'b'"), "{fault}");
        let fault = read(&file, None).unwrap_err();
        assert!(fault.ends_with("holds several arrays, 'a', 'b': pick one by its key"), "{fault}");
        assert!(read(&npz(&[("notes", b"-")]), None).unwrap_err().ends_with("holds no arrays"));
        assert!(read(&npz(&[]), None).unwrap_err().ends_with("holds no arrays"));

        let mut named = tempfile::NamedTempFile::new().unwrap();
        named.write_all(&file).unwrap();
        assert_eq!(names(named.path()).unwrap(), ["a", "b"]);
        let several = |preferred: &[&str]| {
            let array = Array::open(named.path(), None, preferred).unwrap();
            assert_eq!(array.shape, [1]);
            let mut value = 0.0;
            array
                .visit(0..1, 1, &mut Vec::new(), |bytes| {
                    array.format.for_each(bytes, |v| value = v);
                    Ok(())
                })
                .unwrap();
            value
        };
        assert_eq!((several(&["x", "b", "a"]), several(&["a"])), (2.0, 1.0));
    }

    #[test]
    fn other_things_are_no_arrays() {
        assert!(read(b"", None).unwrap_err().ends_with("is empty"));
        assert!(read(b"hello, world", None).unwrap_err().contains("is no array file: .npy, .npz and IDX"));
        assert!(read(&gzip(b"hello, world"), None).unwrap_err().contains("is no array file"));
        let folder = tempfile::tempdir().unwrap();
        let fault = read_array(folder.path(), None).unwrap_err().to_string();
        assert!(fault.ends_with("is a folder, not an array file"), "{fault}");
        let fault = read_array(&folder.path().join("x.npy"), None).unwrap_err().to_string();
        assert!(fault.starts_with("cannot read '"), "{fault}");
        #[cfg(unix)]
        assert!(
            read_array(Path::new("/dev/null"), None).unwrap_err().to_string().contains("no regular file")
        );
    }

    #[test]
    fn column_major_of_any_number_of_axes() {
        // Value 100 i + 10 j + k at [i, j, k].
        let shape = [2, 3, 4];
        let value = |i: u16, j: u16, k: u16| 100 * i + 10 * j + k;
        let mut columns = Vec::new();
        let mut rows = Vec::new();
        for k in 0..4u16 {
            for j in 0..3 {
                (0..2).for_each(|i| columns.extend(value(i, j, k).to_le_bytes()));
            }
        }
        for i in 0..2u16 {
            for j in 0..3 {
                (0..4).for_each(|k| rows.push(f64::from(value(i, j, k))));
            }
        }
        assert_eq!(read(&npy("<u2", true, &shape, &columns), None), Ok((shape.to_vec(), rows)));
        assert_eq!(read(&npy("<u2", true, &[3, 0], &[]), None), Ok((vec![3, 0], vec![])));
        assert_eq!(read(&npy("|u1", true, &[], &[7]), None), Ok((vec![], vec![7.0])));
    }

    proptest! {
        #[test]
        fn changed_bytes_never_crash(
            which in 0usize..9,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let mut file = files().swap_remove(which);
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            if let Err(fault) = read(&file, None) {
                prop_assert!(!fault.contains('\n'), "{fault}");
            }
        }
    }
}
