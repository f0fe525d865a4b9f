//! Output folders that appear whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::temporary::Temporary;
use crate::{Error, Result};

/// A folder that is filled under a temporary name, beside where it shall be, and gets its name when it is
/// [committed](Self::commit). Dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    temporary: Temporary<TempDir>,
}

impl OutputFolder {
    /// Begins a folder that shall be named `path`, where there is nothing yet or an empty folder.
    ///
    /// # Errors
    /// Something in its place, a folder that is not there or cannot be written to.
    pub fn create(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::io("write", path)(error);
        let fail = |kind: io::ErrorKind, text: String| Err(failed(io::Error::new(kind, text)));
        if path.as_os_str().is_empty() {
            return fail(io::ErrorKind::InvalidInput, "the name is empty".to_owned());
        }
        match fs::read_dir(path) {
            Ok(mut inside) => {
                if inside.next().is_some() {
                    return fail(io::ErrorKind::AlreadyExists, "the folder is not empty".to_owned());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        if path.file_name().is_none() {
            return fail(io::ErrorKind::InvalidInput, "expected the name of a folder".to_owned());
        }
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if !parent.is_dir() {
            return fail(io::ErrorKind::NotFound, format!("there is no folder '{}'", parent.display()));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".fenchel-");
        #[cfg(unix)]
        {
            // The permissions of any new folder, less the umask; a temporary one would be its owner's alone.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        // Its own name would mean nothing to the user.
        let made = Temporary::create(|| Ok((builder.tempdir_in(parent)?, ())));
        let (temporary, ()) = made.map_err(|error| failed(error.kind().into()))?;
        Ok(Self { path: path.to_path_buf(), temporary })
    }

    /// The name that the folder shall have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder in it, and all that lead there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn make(&self, name: &str) -> Result<()> {
        fs::create_dir_all(self.temporary.path().join(name))
            .map_err(Error::io("write", &self.path.join(name)))
    }

    /// Writes a file in it.
    ///
    /// # Errors
    /// The system's reason, such as a full disk.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.temporary.path().join(name), bytes).map_err(Error::io("write", &self.path.join(name)))
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// The system's reason, such as a file that has appeared in its place. Nothing is then left behind.
    pub fn commit(self) -> Result<()> {
        let Self { path, temporary } = self;
        // An empty folder in its place is replaced by some systems only.
        let renamed = match fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(temporary.path(), &path),
        };
        renamed.map_err(Error::io("write", &path))?;
        // What is no longer there need not be removed.
        let _ = temporary.settle(TempDir::keep);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let here = tempfile::tempdir().unwrap();
        let count = || fs::read_dir(here.path()).unwrap().count();
        let path = here.path().join("a");
        let folder = OutputFolder::create(&path).unwrap();
        folder.make("b/c").unwrap();
        folder.put("b/c/d.txt", b"hello").unwrap();
        assert!(!path.exists());
        drop(folder);
        assert_eq!(count(), 0);
        // An empty folder may be there already.
        fs::create_dir(&path).unwrap();
        let folder = OutputFolder::create(&path).unwrap();
        folder.put("d.txt", b"hello").unwrap();
        folder.commit().unwrap();
        assert_eq!((fs::read(path.join("d.txt")).unwrap(), count()), (b"hello".to_vec(), 1));
    }

    #[test]
    fn what_is_there_is_never_replaced() {
        let here = tempfile::tempdir().unwrap();
        let fault = |path: &Path| OutputFolder::create(path).unwrap_err().to_string();
        fs::write(here.path().join("a"), "").unwrap();
        let text = fault(here.path());
        assert_eq!(text, format!("cannot write '{}': the folder is not empty", here.path().display()));
        assert!(fault(&here.path().join("a")).contains("cannot write"));
        assert!(fault(&here.path().join("b/c")).contains("there is no folder"));
        assert!(fault(Path::new("")).contains("the name is empty"));
        // What appears while it is filled stays too.
        let path = here.path().join("d");
        let folder = OutputFolder::create(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("e"), "kept").unwrap();
        assert!(folder.commit().is_err());
        assert_eq!(fs::read_to_string(path.join("e")).unwrap(), "kept");
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 2);
    }
}
