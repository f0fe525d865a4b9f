//! The folder that a report goes into.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::data::write_whole;
use crate::{Error, Result};

use super::words::Words;

/// What says that a folder is a report's, finished or not: it holds the command line.
const MARK: &str = "data/command.txt";

/// Folders for the files of figures.
const PARTS: [&str; 4] = ["sheets", "slice", "regions", "codes"];

/// A folder that is not there yet, is empty, or holds a report.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Looks, and changes nothing.
    ///
    /// # Errors
    /// Something else in the way.
    pub(super) fn check(path: &Path) -> Result<Self> {
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() && !path.join(MARK).is_file() {
                    let reason =
                        "holds something else than a report; choose a folder that is empty or not there yet";
                    return Err(Error::file(path, reason));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) if path.exists() && !path.is_dir() => {
                return Err(Error::file(path, "is no folder; a report needs one for its results"));
            }
            Err(error) => return Err(Error::io("read", path)(error)),
        }
        Ok(Self(path.to_path_buf()))
    }

    /// The line that makes them where the command lines of a report are to be run again.
    pub(super) fn prepare(&self) -> String {
        let start = Words::none().word("mkdir").word("-p");
        PARTS.iter().fold(start, |words, part| words.word(self.0.join("data").join(part))).text()
    }

    /// Makes the folders. An older page goes: what it names is about to change.
    ///
    /// # Errors
    /// The system's reason.
    pub(super) fn begin(&self, command: &str) -> Result<()> {
        for part in PARTS {
            let path = self.0.join("data").join(part);
            fs::create_dir_all(&path).map_err(Error::io("create folder", &path))?;
        }
        for name in ["index.html", "report.json"] {
            let path = self.0.join(name);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("remove", &path)(e)),
                _ => {}
            }
        }
        write_whole(&self.0.join(MARK), format!("{command}\n").as_bytes())
    }
}
