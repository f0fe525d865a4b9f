//! Class labels.

use std::path::Path;

use super::array::Array;
use crate::{Error, Result};

/// Reads one label for each row: whole numbers from 0, of any number type that
/// [`Dataset::open`](crate::data::Dataset::open) reads, from an array of shape `[n]` or `[n, 1]` in an
/// `.npy`, `.npz` or IDX file.
///
/// `key` names the array in an `.npz`; without one it is its only array, else `y`, else `Y`.
///
/// # Errors
/// A file that cannot be read, is damaged, of another shape or without labels; a label that is negative, not
/// whole or above `u32::MAX`, with its row (0-based).
pub fn read_labels(path: &Path, key: Option<&str>) -> Result<Vec<u32>> {
    let array = Array::open(path, key, &["y", "Y"])?;
    if !matches!(array.shape[..], [_] | [_, 1]) {
        let shape = &array.shape;
        return Err(Error::file(path, format!("has shape {shape:?}; labels have shape [n] or [n, 1]")));
    }
    if array.len() == 0 {
        return Err(Error::file(path, "holds no labels"));
    }
    let mut labels = Vec::with_capacity(array.len());
    let mut bad = None;
    array.visit(0..array.len(), 1, &mut Vec::new(), |bytes| {
        array.format.for_each(bytes, |value| {
            if bad.is_none() && !(value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value)) {
                bad = Some((labels.len(), value));
            }
            labels.push(value as u32);
        });
        Ok(())
    })?;
    match bad {
        Some((row, value)) => Err(Error::file(
            path,
            format!("holds {value} in row {row}; labels are whole numbers from 0 to {}", u32::MAX),
        )),
        None => Ok(labels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::{idx, npy, npz};

    fn read(bytes: &[u8]) -> Result<Vec<u32>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_labels(file.path(), None).map_err(|e| e.to_string())
    }

    #[test]
    fn integers_and_whole_floats() {
        assert_eq!(read(&npy("|u1", false, &[3], &[0, 9, 3])).unwrap(), [0, 9, 3]);
        assert_eq!(read(&npy("|b1", false, &[2, 1], &[1, 0])).unwrap(), [1, 0]);
        assert_eq!(read(&npy("<u4", false, &[1], &u32::MAX.to_le_bytes())).unwrap(), [u32::MAX]);
        assert_eq!(read(&npy("<f4", false, &[1], &7f32.to_le_bytes())).unwrap(), [7]);
        assert_eq!(read(&idx(8, &[2], &[4, 5])).unwrap(), [4, 5]);
        let y = npy("<i8", false, &[1], &2i64.to_le_bytes());
        let x = npy("|u1", false, &[1, 2], &[7, 7]);
        assert_eq!(read(&npz(&[("x.npy", &x), ("y.npy", &y)])).unwrap(), [2]);
    }

    #[test]
    fn what_is_no_label_is_named_with_its_row() {
        let fault = read(&npy("|i1", false, &[3], &[0, 255, 254])).unwrap_err();
        assert!(
            fault.ends_with("holds -1 in row 1; labels are whole numbers from 0 to 4294967295"),
            "{fault}"
        );
        let half = [1.0f64.to_le_bytes(), 2.5f64.to_le_bytes()].concat();
        assert!(read(&npy("<f8", false, &[2], &half)).unwrap_err().contains("holds 2.5 in row 1"));
        assert!(
            read(&npy("<f4", false, &[1], &f32::NAN.to_le_bytes())).unwrap_err().contains("NaN in row 0")
        );
        let large = (1u64 << 32).to_le_bytes();
        assert!(read(&npy("<u8", false, &[1], &large)).unwrap_err().contains("4294967296 in row 0"));
        assert!(read(&npy("|u1", false, &[1, 2], &[0, 1])).unwrap_err().contains("has shape [1, 2]"));
        assert!(read(&npy("|u1", false, &[], &[1])).unwrap_err().contains("has shape []"));
        assert!(read(&npy("|u1", false, &[0], &[])).unwrap_err().contains("holds no labels"));
    }
}
