//! What is there under temporary names, so that it can be removed when the program ends in the midst of a job.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static KNOWN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn known() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file or folder, known until it has its name or is gone.
#[derive(Debug)]
pub(super) struct Temporary<T> {
    inner: T,
    known: Known,
}

#[derive(Debug)]
struct Known(PathBuf);

impl<T: AsRef<Path>> Temporary<T> {
    /// Makes one; none appears that is not known.
    pub(super) fn create<U>(make: impl FnOnce() -> io::Result<(T, U)>) -> io::Result<(Self, U)> {
        let mut known = known();
        let (inner, rest) = make()?;
        let path = inner.as_ref().to_path_buf();
        known.insert(path.clone());
        Ok((Self { inner, known: Known(path) }, rest))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.inner.as_ref()
    }

    /// Gives it its name by `rename`, after which it is not known any more.
    pub(super) fn settle<R>(self, rename: impl FnOnce(T) -> R) -> R {
        let Self { inner, known } = self;
        let result = rename(inner);
        drop(known);
        result
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        known().remove(&self.0);
    }
}

/// Removes everything that is there under a temporary name. None can be made from then on: the program must end.
pub(crate) fn remove_temporaries() {
    let known = known();
    for path in known.iter() {
        // What has its name by now is no longer there.
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    std::mem::forget(known);
}
