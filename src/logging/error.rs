//! Why the log cannot begin, or be changed.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why logging cannot begin, or cannot be changed.
#[derive(Debug)]
pub enum LogError {
    /// The file cannot be opened for appending.
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread to write with.
    NoThread(io::Error),
    /// The process has a logger already.
    AlreadyBegun,
    /// The process has no logger yet.
    NotBegun,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable { file, source } => {
                write!(f, "cannot write the log to {}: {source}", file.display())
            }
            Self::NoThread(source) => write!(f, "cannot write a log: no thread: {source}"),
            Self::AlreadyBegun => f.write_str("the process has a logger already"),
            Self::NotBegun => f.write_str("the process has no logger yet"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unwritable { source, .. } | Self::NoThread(source) => Some(source),
            Self::AlreadyBegun | Self::NotBegun => None,
        }
    }
}
