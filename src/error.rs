//! Everything that can go wrong, each with one clear line for the user.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// A result whose error is Fenchel's own.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Its `Display` is one line: what, where, and what would be accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: a missing file, a directory in a file's place, a full disk.
    #[error("cannot {action} '{}': {source}", path.display())]
    Io {
        /// What was tried, as a verb: "read", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A file that is there and can be read, but does not hold what it should.
    #[error("'{}' {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as the rest of a sentence that begins with its name.
        reason: String,
    },

    /// A network with operators, attributes or types outside what Fenchel supports. All of them are named.
    #[error("{}", unsupported(operators))]
    Unsupported {
        /// Every offending node.
        operators: Vec<UnsupportedOperator>,
    },

    /// A graph that contradicts itself: a missing value, a cycle, shapes that do not fit.
    #[error("{0}")]
    Graph(String),

    /// Arrays whose shapes do not fit together.
    #[error("{0}")]
    Shape(String),

    /// An argument outside what is accepted.
    #[error("{0}")]
    Argument(String),

    /// A NaN or an infinity where a number is needed.
    #[error("{what}: row {row} holds a NaN or an infinity; every value must be finite")]
    NonFinite {
        /// Which array.
        what: String,
        /// The row (0-based) that holds it first.
        row: usize,
    },

    /// A tool asked an operator for something it does not have.
    #[error("{tool} needs {slot} of every operator, which {operator} ('{node}') does not have")]
    MissingSlot {
        /// The tool that asked.
        tool: &'static str,
        /// What it asked for.
        slot: &'static str,
        /// The operator's name.
        operator: String,
        /// The node's name in the graph.
        node: String,
    },

    /// The smallest possible piece is a tensor larger than the device binds at once.
    #[error("{what} needs a tensor of {}, the device takes {} at most: use --device cpu", size(*needed), size(*largest))]
    Tensor {
        /// What was being planned.
        what: String,
        /// Bytes of the tensor.
        needed: u64,
        /// Bytes that the device takes.
        largest: u64,
    },

    /// The memory budget is too small for the smallest possible chunk.
    #[error("{what} needs at least {} of memory, the budget is {}: raise --memory", size(*needed), size(*budget))]
    Memory {
        /// What was being planned.
        what: String,
        /// Bytes that the smallest chunk takes.
        needed: u64,
        /// Bytes allowed.
        budget: u64,
    },

    /// A device that cannot be had or that failed.
    #[error("{0}")]
    Device(String),

    /// The user interrupted the job.
    #[error("interrupted")]
    Cancelled,
}

/// A node that Fenchel cannot compute, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedOperator {
    /// The operator as the file names it, such as `"LSTM"`.
    pub operator: String,
    /// The node's name in the file, or the name of its first output where it has none.
    pub node: String,
    /// Why not, as a phrase; empty where the operator as a whole is unknown.
    pub reason: String,
}

impl Error {
    /// An [`Error::Io`] maker for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// An [`Error::File`]; `reason` continues a sentence that begins with the file's name.
    pub(crate) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), reason: plain(reason.into()) }
    }
}

/// Text that may quote a file, with control characters escaped: it must neither break the line nor steer a terminal.
fn plain(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// Bytes for messages: in MiB where those are exact or many, else in KiB; rounded up.
pub(crate) fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) || bytes >= 100 << 20 {
        format!("{} MiB", bytes.div_ceil(1 << 20))
    } else {
        format!("{} KiB", bytes.div_ceil(1 << 10))
    }
}

fn unsupported(operators: &[UnsupportedOperator]) -> String {
    let mut line = String::from("not supported:");
    for (i, op) in operators.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(line, "{comma} {} ('{}'", op.operator, op.node);
        if !op.reason.is_empty() {
            let _ = write!(line, ": {}", op.reason);
        }
        line.push(')');
    }
    plain(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_stays_on_one_line() {
        let error = Error::file(Path::new("x"), "holds an array 'a\nb\x1b[31m', größer");
        assert_eq!(error.to_string(), r"'x' holds an array 'a\nb\u{1b}[31m', größer");
        let (operator, node, reason) = ("A\r\nB".to_owned(), "n".to_owned(), String::new());
        let error = Error::Unsupported { operators: vec![UnsupportedOperator { operator, node, reason }] };
        assert_eq!(error.to_string(), r"not supported: A\r\nB ('n')");
    }
}
