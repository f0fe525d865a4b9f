//! Arrays and images in and out: the rows a job runs over, labels, and the files it writes.
//!
//! Everything that is read is taken for hostile: sizes in headers are checked against what a file really
//! holds before memory is set aside for them, and whatever is wrong is one [`Error`](crate::Error).

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
