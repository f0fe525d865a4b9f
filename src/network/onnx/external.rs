//! Weights in files of their own.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

/// Where external weights may lie, and the running fingerprint of what was read.
pub(super) struct Weights<'a> {
    /// The folder of the model; `None` where it has none.
    pub(super) folder: Option<&'a Path>,
    pub(super) hash: Sha256,
    /// Bytes of the model and of what was read beside it.
    pub(super) bytes: u64,
    /// Bytes that were read of each external file.
    pub(super) read: HashMap<PathBuf, u64>,
}

/// How often over an external file may be read: constants may share bytes, as tied weights do, but a small file must not
/// fill the memory.
const OFTEN: u64 = 8;

impl Weights<'_> {
    /// Reads `needed` bytes that `entries` (keys and values of the file) point to.
    ///
    /// # Errors
    /// Why that cannot be done, as a clause. A file outside the model's folder is never opened.
    pub(super) fn read(&mut self, entries: &[(String, String)], needed: usize) -> Result<Vec<u8>, String> {
        let entry = |key: &str| entries.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        let number = |key: &str| match entry(key) {
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(format!("has the {key} '{}' in its external file", text.escape_debug())),
            },
            None => Ok(None),
        };
        let location = entry("location").ok_or("names no external file")?;
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|length| length != needed as u64) {
            return Err(format!("needs {needed} bytes, not the {} it names", length.unwrap_or(0)));
        }
        let shown = location.escape_debug();
        let outside =
            || format!("lies in '{shown}': external weights may lie only beside or below the model");
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || !Path::new(location).components().all(inside) {
            return Err(outside());
        }
        let folder = self.folder.ok_or_else(|| {
            format!("lies in '{shown}': a model that is not in a file cannot have external weights")
        })?;
        let failed = |error: std::io::Error| format!("lies in '{shown}', which cannot be read: {error}");
        let folder = fs::canonicalize(folder).map_err(failed)?;
        // Links are followed before the place is judged.
        let path = fs::canonicalize(folder.join(location)).map_err(failed)?;
        if !path.starts_with(&folder) {
            return Err(outside());
        }
        let metadata = fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(format!("lies in '{shown}', which is no regular file"));
        }
        if offset.checked_add(needed as u64).is_none_or(|end| end > metadata.len()) {
            return Err(format!(
                "needs {needed} bytes from byte {offset} of '{shown}', which has {} bytes",
                metadata.len()
            ));
        }
        let before = self.read.entry(path.clone()).or_default();
        *before += needed as u64;
        if *before > OFTEN.saturating_mul(metadata.len()) {
            return Err(format!("lies in '{shown}', which is read more than {OFTEN} times over"));
        }
        let mut file = fs::File::open(&path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = vec![0; needed];
        file.read_exact(&mut bytes).map_err(failed)?;
        self.hash.update(&bytes);
        self.bytes += needed as u64;
        Ok(bytes)
    }
}
