//! Folders in which the program runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fenchel::data::write_npz;
use serde_json::Value;

/// A folder of its own.
pub struct Place(tempfile::TempDir);

impl Place {
    /// With copies of assets, under the last part of their names.
    pub fn with(assets: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in assets {
            let asset = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
            std::fs::copy(&asset, place.0.path().join(asset.file_name().unwrap())).unwrap();
        }
        place
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes arrays with names and shapes.
    pub fn npz(&self, name: &str, arrays: &[(&str, &[usize], &[f64])]) {
        write_npz(&self.path(name), arrays).unwrap();
    }

    /// Runs the program; its exit code, and what it says on standard output and on standard error.
    pub fn run(&self, arguments: &str) -> (Option<i32>, String, String) {
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_fenchel"))
            .current_dir(self.0.path())
            .args(arguments.split_whitespace())
            .timeout(Duration::from_secs(120))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// What it prints where nothing is wrong.
    pub fn done(&self, arguments: &str) -> String {
        let (code, said, errors) = self.run(arguments);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "fenchel {arguments}\n{said}");
        assert!(!said.contains('\x1b'), "fenchel {arguments}\n{said}");
        said
    }

    /// The document that it prints; graphics drivers may have said something too.
    pub fn succeed(&self, arguments: &str) -> Value {
        let (code, said, errors) = self.run(&format!("{arguments} --json"));
        assert_eq!(code, Some(0), "fenchel {arguments}: {errors}");
        serde_json::from_str(&said).unwrap()
    }
}
