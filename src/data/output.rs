//! Output files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IntoInnerError, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::temporary::Temporary;
use crate::{Error, Result};

/// As many links as Linux follows.
const MOST_LINKS: usize = 40;

/// A file that is written under a temporary name, in the folder where it shall be, and gets its name when it
/// is [committed](Self::commit). Dropped before that, it leaves nothing behind, and an older file of the same
/// name stays as it was.
///
/// A target that is no regular file (a pipe, a device, `/dev/stdout`) is never replaced: everything is kept
/// in the system's temporary folder and copied into it at the end.
///
/// Writing is buffered. [`put`](Self::put) reports failures as [`Error`]; [`Write`] and [`Seek`] are there
/// for encoders.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: BufWriter<File>,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// The temporary file's name is changed to the destination.
    Rename { temporary: Temporary<TempPath>, destination: PathBuf },
    /// The temporary file, which has no name, is copied into this one.
    Copy(File),
}

impl OutputFile {
    /// Begins a file that shall be named `path`. Links are followed, and an existing file's permissions kept.
    ///
    /// # Errors
    /// A folder in the file's place, a folder that is not there, or whatever else would keep the file from
    /// being written, as far as it can be known now.
    pub fn create(path: &Path) -> Result<Self> {
        let (file, target) = open(path).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_path_buf(), file: BufWriter::with_capacity(1 << 16, file), target })
    }

    /// The name that the file shall have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The system's reason, such as a full disk.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))
    }

    /// An unnamed temporary file, where there is room for this one's content too.
    pub(super) fn spool(&self) -> Result<File> {
        let spool = match &self.target {
            Target::Rename { destination, .. } => tempfile::tempfile_in(folder_of(destination)),
            Target::Copy(_) => tempfile::tempfile(),
        };
        spool.map_err(plain).map_err(Error::io("write", &self.path))
    }

    /// Completes the file and gives it its name, in place of an older file.
    ///
    /// It does not wait for the disk: what is promised is that no failure or interruption of the program
    /// leaves half a file.
    ///
    /// # Errors
    /// The system's reason, such as a full disk. Nothing is then left behind.
    pub fn commit(self) -> Result<()> {
        let Self { path, file, target } = self;
        let file = file.into_inner().map_err(IntoInnerError::into_error);
        let committed = file.and_then(|mut file| match target {
            Target::Rename { temporary, destination } => {
                // Windows renames no open file.
                drop(file);
                temporary.settle(|temporary| temporary.persist(destination)).map_err(|e| e.error)
            }
            Target::Copy(mut into) => {
                file.rewind()?;
                match io::copy(&mut file, &mut into).and_then(|_| into.flush()) {
                    // Whoever reads from the other end has read enough.
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    result => result,
                }
            }
        });
        committed.map_err(Error::io("write", &path))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for OutputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Writes a whole file; an [`OutputFile`] in one call.
///
/// # Errors
/// As [`OutputFile::create`] and [`OutputFile::commit`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut output = OutputFile::create(path)?;
    output.put(bytes)?;
    output.commit()
}

fn open(path: &Path) -> io::Result<(File, Target)> {
    let named = path.as_os_str().as_encoded_bytes();
    if named.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is empty"));
    }
    if path.is_dir() || named.last().is_some_and(|&last| std::path::is_separator(char::from(last))) {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    let Some(destination) = destination(path)? else {
        // Appended, since `/dev/stdout` may be a file that already holds something.
        let into = OpenOptions::new().append(true).open(path)?;
        return Ok((tempfile::tempfile().map_err(plain)?, Target::Copy(into)));
    };
    let folder = folder_of(&destination);
    if !folder.is_dir() {
        let reason = format!("there is no folder '{}'", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    let old = match fs::metadata(&destination) {
        Ok(metadata) => {
            // A rename would replace even a file that is protected against writing.
            OpenOptions::new().write(true).open(&destination)?;
            Some(metadata.permissions())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fenchel-");
    #[cfg(unix)]
    {
        // The permissions of any new file, less the umask; a temporary file would be its owner's alone.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let made = Temporary::create(|| {
        let (file, path) = builder.tempfile_in(folder)?.into_parts();
        Ok((path, file))
    });
    let (temporary, file) = made.map_err(plain)?;
    if let Some(permissions) = old {
        file.set_permissions(permissions)?;
    }
    Ok((file, Target::Rename { temporary, destination }))
}

/// Where `path` leads through links; `None` if that is no place for a regular file of ours.
fn destination(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut at = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        // `/dev/stdout` leads to `/proc/self/fd/1` and on to whatever that is, which another program opened
        // and expects to stay in its place. `/dev/shm` is an ordinary folder.
        let folder = folder_of(&at).canonicalize().unwrap_or_default();
        if cfg!(unix)
            && (folder == Path::new("/dev") || folder == Path::new("/dev/fd") || folder.starts_with("/proc"))
        {
            return Ok(None);
        }
        match fs::read_link(&at) {
            Ok(link) => at = folder_of(&at).join(link),
            Err(_) => {
                let regular = fs::metadata(&at).map_or(true, |metadata| metadata.is_file());
                return Ok(regular.then_some(at));
            }
        }
    }
    Err(io::Error::other("it leads through too many links"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// An error of `tempfile` without the temporary file's name, which would mean nothing to the user.
fn plain(error: io::Error) -> io::Error {
    error.kind().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    fn fault(path: &Path) -> String {
        OutputFile::create(path).unwrap_err().to_string()
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let mut output = OutputFile::create(&path).unwrap();
        output.put(b"hello").unwrap();
        output.seek(SeekFrom::Start(0)).unwrap();
        output.write_all(b"j").unwrap();
        assert!(!path.exists());
        assert_eq!(output.path(), path);
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"jello");

        let mut output = OutputFile::create(&path).unwrap();
        output.put(b"other").unwrap();
        assert_eq!((fs::read(&path).unwrap(), count(folder.path())), (b"jello".to_vec(), 2));
        drop(output);
        assert_eq!((fs::read(&path).unwrap(), count(folder.path())), (b"jello".to_vec(), 1));
        write_whole(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), count(folder.path())), (b"new".to_vec(), 1));
    }

    #[test]
    fn what_cannot_be_written_fails_before_any_work() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        assert_eq!(fault(here), format!("cannot write '{}': it is a folder", here.display()));
        assert!(fault(&here.join("sub/")).ends_with("it is a folder"));
        assert!(fault(Path::new(".")).ends_with("it is a folder"));
        assert!(fault(Path::new("")).ends_with("the name is empty"));
        let missing = here.join("sub");
        let expected = format!("there is no folder '{}'", missing.display());
        assert!(fault(&missing.join("x")).ends_with(&expected));
        fs::write(&missing, "a file").unwrap();
        assert!(fault(&missing.join("x")).ends_with(&expected));
        assert_eq!(count(here), 1);
    }

    #[test]
    fn a_bare_name_is_in_the_working_folder() {
        assert_eq!(folder_of(Path::new("x.npy")), Path::new("."));
        assert_eq!(destination(Path::new("no such file")).unwrap(), Some("no such file".into()));
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

        use super::*;

        fn mode(path: &Path) -> u32 {
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        }

        #[test]
        fn permissions_are_those_of_any_file() {
            let folder = tempfile::tempdir().unwrap();
            let [ours, other] = ["ours", "other"].map(|name| folder.path().join(name));
            fs::write(&other, "").unwrap();
            write_whole(&ours, b"").unwrap();
            assert_eq!(mode(&ours), mode(&other));
            fs::set_permissions(&ours, fs::Permissions::from_mode(0o640)).unwrap();
            write_whole(&ours, b"more").unwrap();
            assert_eq!(mode(&ours), 0o640);
        }

        #[test]
        fn links_are_followed() {
            let folder = tempfile::tempdir().unwrap();
            let sub = folder.path().join("sub");
            fs::create_dir(&sub).unwrap();
            let link = folder.path().join("link");
            symlink("sub/target", &link).unwrap();
            for content in ["one", "two"] {
                write_whole(&link, content.as_bytes()).unwrap();
                assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
                assert_eq!(fs::read_to_string(sub.join("target")).unwrap(), content);
            }
            assert_eq!(count(&sub), 1);
            let ring = folder.path().join("ring");
            symlink("ring", &ring).unwrap();
            assert!(fault(&ring).ends_with("too many links"));
        }

        #[cfg(target_os = "linux")]
        #[test]
        fn devices_are_written_to_and_never_replaced() {
            let full = Path::new("/dev/full");
            let message = write_whole(full, &[0; 100_000]).unwrap_err().to_string();
            assert_eq!(message, "cannot write '/dev/full': No space left on device (os error 28)");
            write_whole(Path::new("/dev/null"), b"gone").unwrap();
            assert!(fs::metadata(full).unwrap().file_type().is_char_device());
            assert!(fault(Path::new("/dev/no-such-device")).contains("No such file"));

            // The same through a link, and through a name for an open file.
            let folder = tempfile::tempdir().unwrap();
            let link = folder.path().join("link");
            symlink(full, &link).unwrap();
            assert!(write_whole(&link, b"x").unwrap_err().to_string().contains("No space left"));
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            let path = folder.path().join("open");
            let file = File::create(&path).unwrap();
            fs::write(&path, "before, ").unwrap();
            let name = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            write_whole(Path::new(&name), b"after").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "before, after");
        }

        #[test]
        fn a_pipe_gets_everything_at_the_end() {
            let folder = tempfile::tempdir().unwrap();
            let pipe = folder.path().join("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status();
            assert!(made.unwrap().success());
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || fs::read(pipe).unwrap()
            });
            let content: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
            write_whole(&pipe, &content).unwrap();
            assert_eq!(reader.join().unwrap(), content);
            assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        }
    }
}
