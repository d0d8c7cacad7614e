//! Why the process cannot start, or cannot go on.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::certificates::CertificateError;
use crate::logging::LogError;

/// Why the process could not start, or cannot go on.
#[derive(Debug)]
pub enum AppError {
    /// A port could not be opened.
    Listen {
        /// The configuration key that names the address.
        key: String,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Certificates or keys cannot be used.
    Certificates(CertificateError),
    /// An access log cannot be opened.
    AccessLog(LogError),
    /// The control socket could not be opened, or nobody hands over there.
    Control(io::Error),
    /// The system gave no thread, poll or descriptor.
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A thread ended that should not have.
    ThreadEnded {
        /// Its name.
        name: String,
        /// Why, if it said so.
        why: String,
    },
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { key, addr, source } => write!(f, "cannot listen on {addr} ({key}): {source}"),
            Self::Certificates(error) => write!(f, "{error}"),
            Self::AccessLog(error) => write!(f, "access_log.output: {error}"),
            Self::Control(source) => write!(f, "server.control_socket: {source}"),
            Self::System { what, source } => write!(f, "cannot start: no {what}: {source}"),
            Self::ThreadEnded { name, why } => write!(f, "thread {name} ended: {why}"),
        }
    }
}

impl std::error::Error for AppError {}
