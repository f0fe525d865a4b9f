//! Arrays and images in and out: the rows a job runs over, labels, and the files it writes.
//!
//! Everything that is read is taken for hostile: sizes in headers are checked against what a file really
//! holds before memory is set aside for them, and whatever is wrong is one [`Error`](crate::Error).
//!
//! # Example
//!
//! ```
//! use fenchel::data::{Dataset, Normalization, ReadOptions, read_labels};
//!
//! // 1797 digits of 8 x 8 pixels from 0 to 16, as networks take them.
//! let path = "assets/digits.npz".as_ref();
//! let normalization = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
//! let digits = Dataset::open(path, &ReadOptions { key: Some("x".to_owned()), normalization })?;
//! assert_eq!((digits.len(), digits.row_len()), (1797, 64));
//!
//! // Rows are read as they are needed.
//! let rows = digits.select_range(1400..1797)?.rows::<f32>(0..10)?;
//! assert!(rows.iter().all(|x| (0.0..=1.0).contains(x)));
//! assert_eq!(read_labels(path, None)?.len(), digits.len());
//! # Ok::<(), fenchel::Error>(())
//! ```

mod array;
mod dataset;
mod dtype;
mod folder;
mod header;
mod images;
mod jpeg;
mod labels;
mod normalization;
mod npy;
mod npz;
mod output;
mod temporary;

pub use dataset::{Dataset, ReadOptions};
pub use folder::OutputFolder;
pub use labels::read_labels;
pub use normalization::Normalization;
pub use npy::{Element, NpyWriter, array_names, read_array, write_npy};
pub use npz::{NpzEntry, NpzWriter, write_npz};
pub use output::{OutputFile, write_whole};
pub(crate) use temporary::remove_temporaries;

#[cfg(test)]
mod testing;
