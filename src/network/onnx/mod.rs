//! Networks out of ONNX files.
//!
//! [`load`] reads a file and gives a [`Model`]: the [`Network`], what the file says of itself, and a fingerprint.
//! Opsets 7 to 28 of ONNX's own operators are read. Axis 0 of every input is the batch, whatever length the file
//! gives it, and shapes in the network are those of one sample, without it. Within the graph the batch may move to
//! another axis, and share one with others, as attention does; an output has it in axis 0 again. A node that would
//! mix it with other axes is refused. Nodes keep their names in the file, or that of their first output where they
//! have none; one that takes several operators of the table gives its name to the last, and derived names to those
//! before, and what [`with_splines`] wrote for an activation is one node again. What changes nothing in a sample (Identity, Dropout, a conversion between floating-point types, which is
//! left out, an order of axes that only moves the batch) becomes a further name of its input.
//!
//! What depends on constants alone is worked out at once. The length of the batch, taken from a shape, is a symbol
//! that may be selected, joined with other lengths and multiplied by a number, and stands in a shape only where the
//! batch belongs.
//!
//! Nothing is guessed: an operator, an attribute or a form of one that is not known is refused, and all such
//! nodes are named at once. Files are taken for hostile: none makes this module panic, recurse without limit, or
//! set aside memory that the file's own length does not justify.

mod batch;
mod call;
mod decode;
mod external;
mod graph;
mod lines;
mod operand;
mod operators;
mod order;
mod splines;
mod tensor;
mod wire;
mod write;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

use super::Network;
use external::Weights;

pub use splines::{SplinedNode, has_external_weights, with_splines};

/// The operator sets that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

/// The longest file that is read: no message of Protocol Buffers may be longer. Larger models keep their weights
/// in files of their own.
const LONGEST: u64 = 1 << 31;

/// How a file is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Leave out a Softmax or LogSoftmax whose value is an output of the graph: its input becomes the output.
    pub logits: bool,
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    /// The version of ONNX's format.
    pub ir_version: Option<i64>,
    /// The version of ONNX's operators.
    pub opset: i64,
    /// The program that wrote it; empty where it says nothing.
    pub producer_name: String,
    /// That program's version; empty where it says nothing.
    pub producer_version: String,
    /// The batch it was written for; `None` where it leaves that open. The network runs at any.
    pub batch: Option<usize>,
}

/// A network and where it comes from.
#[derive(Debug, Clone)]
pub struct Model {
    /// The network.
    pub network: Network,
    /// What its file says of itself.
    pub description: Description,
    /// The SHA-256 of the file's bytes, followed by those of external weights in the order in which nodes take
    /// them, as 64 hexadecimal digits.
    pub fingerprint: String,
}

/// Reads an ONNX file. External weights may lie only beside or below it.
///
/// # Errors
/// [`Error::Io`] where it cannot be read; [`Error::Unsupported`] with all nodes that are not supported;
/// [`Error::File`] for a file that is damaged or contradicts itself, or an input or opset that is not supported.
pub fn load(path: &Path, options: &LoadOptions) -> Result<Model> {
    // Looked at first: to open a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(Error::file(path, "is a folder, not an ONNX file"));
    }
    if !metadata.is_file() {
        return Err(Error::file(path, "is no regular file; networks are read from regular files only"));
    }
    let mut bytes = vec![];
    let file = File::open(path).map_err(Error::io("read", path))?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::file(path, "is longer than 2 GiB, which no ONNX file can be"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let model = from_bytes(&bytes, Some(folder.unwrap_or(Path::new("."))), options);
    model.map_err(|error| match error {
        unsupported @ Error::Unsupported { .. } => unsupported,
        other => Error::file(path, format!("cannot be imported: {other}")),
    })
}

/// Reads an ONNX file that is in memory; external weights may lie in or below `folder`, if there is one.
///
/// # Errors
/// As [`load`], with [`Error::Graph`] in the place of [`Error::File`].
pub fn from_bytes(bytes: &[u8], folder: Option<&Path>, options: &LoadOptions) -> Result<Model> {
    let file =
        decode::decode(bytes).map_err(|reason| Error::Graph(format!("no valid ONNX file: {reason}")))?;
    let opset = opset(&file.opsets)?;
    let graph = file.graph.ok_or_else(|| Error::Graph("the file holds no graph".to_owned()))?;
    let (hash, length) = (Sha256::new_with_prefix(bytes), bytes.len() as u64);
    let mut weights = Weights { folder, hash, bytes: length, read: HashMap::new() };
    let (network, batch) = graph::import(&graph, opset, options, &mut weights)?;
    let (ir_version, producer_name, producer_version) =
        (file.ir_version, file.producer_name, file.producer_version);
    Ok(Model {
        network: lines::read(network),
        description: Description { ir_version, opset, producer_name, producer_version, batch },
        fingerprint: weights.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// The version of ONNX's own operators.
fn opset(opsets: &[(String, i64)]) -> Result<i64> {
    let mut versions = opsets.iter().filter(|(domain, _)| matches!(domain.as_str(), "" | "ai.onnx"));
    let (first, second) = (versions.next(), versions.next());
    let supported = format!("{} to {} are supported", OPSETS.start(), OPSETS.end());
    match (first, second) {
        (Some((_, version)), None) if OPSETS.contains(version) => Ok(*version),
        (Some((_, version)), None) => Err(Error::Graph(format!("it has opset {version}; {supported}"))),
        (None, _) => Err(Error::Graph(format!("it names no opset; {supported}"))),
        (Some(_), Some(_)) => Err(Error::Graph("it names its opset twice".to_owned())),
    }
}
