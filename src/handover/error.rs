//! Why a hand-over comes to nothing.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a hand-over comes to nothing, as either side sees it.
#[derive(Debug)]
pub enum HandoverError {
    /// This system has no Unix sockets.
    Unsupported,
    /// Nobody answers at the control socket.
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The other process does not hand over: another version, or it is stopping.
    Declined {
        /// HTTP status.
        status: u16,
        /// What it said.
        why: String,
    },
    /// The other process closed the connection.
    Closed {
        /// What was waited for.
        awaited: &'static str,
    },
    /// The other process said nothing for too long.
    TimedOut {
        /// What was waited for.
        awaited: &'static str,
    },
    /// The other process said something else.
    Garbage {
        /// What was waited for.
        awaited: &'static str,
        /// What is wrong with what came.
        why: String,
    },
    /// The other process speaks another version of the protocol.
    Version(u32),
    /// The number of descriptors is not what was announced.
    Descriptors {
        /// How many were announced.
        announced: usize,
        /// How many came.
        came: usize,
    },
    /// The kernel did not deliver every descriptor; most likely there is no room for them.
    NoRoom,
    /// The old process has handed over to somebody else, or has changed its mind.
    Refused(String),
    /// A system call failed.
    System(io::Error),
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str("hand-over needs Unix sockets, which this system does not have"),
            Self::Unreachable { path, source } => {
                write!(f, "no process answers at {}: {source}", path.display())
            }
            Self::Declined { status, why } => {
                write!(f, "the old process does not hand over ({status}): {why}")
            }
            Self::Closed { awaited } => write!(f, "the other process ended before {awaited} came"),
            Self::TimedOut { awaited } => write!(f, "{awaited} did not come in time"),
            Self::Garbage { awaited, why } => write!(f, "something else than {awaited} came: {why}"),
            Self::Version(version) => write!(
                f,
                "the other process speaks version {version} of the hand-over, this one version {}",
                super::protocol::VERSION
            ),
            Self::Descriptors { announced, came } => {
                write!(f, "{announced} sockets were announced, {came} came")
            }
            Self::NoRoom => f.write_str(
                "there is no room for the sockets that came; is the limit of descriptors high enough?",
            ),
            Self::Refused(why) => write!(f, "the old process keeps its sockets: {why}"),
            Self::System(source) => source.fmt(f),
        }
    }
}

impl std::error::Error for HandoverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { source, .. } | Self::System(source) => Some(source),
            Self::Unsupported
            | Self::Declined { .. }
            | Self::Closed { .. }
            | Self::TimedOut { .. }
            | Self::Garbage { .. }
            | Self::Version(_)
            | Self::Descriptors { .. }
            | Self::NoRoom
            | Self::Refused(_) => None,
        }
    }
}

impl From<io::Error> for HandoverError {
    fn from(source: io::Error) -> Self {
        Self::System(source)
    }
}
