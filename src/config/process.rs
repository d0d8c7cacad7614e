//! What is the process's alone, checked: threads and connections in all, the log, the metrics port, reloads, the state file,
//! the fleet.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::cluster::Cluster;

/// What of the configuration is the process's alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Reactor threads; 0 = one per core.
    pub reactors: usize,
    /// Relays at once; 0 = derived from the file-descriptor limit.
    pub max_connections: usize,
    /// The control socket, if there is one.
    pub control_socket: Option<PathBuf>,
    /// The log.
    pub logging: Logging,
    /// The metrics port.
    pub metrics: Metrics,
    /// When the file is read again.
    pub reload: Reload,
    /// What the next process is to know.
    pub state: StateFile,
    /// With whom it is shared.
    pub cluster: Cluster,
}

/// `state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile {
    /// The file; none: nothing is kept.
    pub path: Option<PathBuf>,
    /// Time between two writes, if something has changed.
    pub interval: Duration,
}

/// `reload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Whether the configuration file is followed.
    pub watch: bool,
}

/// `logging`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    /// The least severe level that is written, unless `RUST_LOG` says otherwise.
    pub level: log::LevelFilter,
    /// Line format.
    pub format: LogFormat,
    /// Where lines go.
    pub output: LogOutput,
}

/// `logging.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line a record, for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `logging.output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

/// `metrics`: the Prometheus port.
#[derive(Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Whether the port is opened at all.
    pub enabled: bool,
    /// Its address.
    pub listen_addr: SocketAddr,
    /// Its path; begins with `/`.
    pub path: String,
    /// What whoever changes something over this port has to present; none = nothing can be changed there. A secret.
    pub admin_token: Option<String>,
}

impl fmt::Debug for Metrics {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            enabled,
            listen_addr,
            path,
            admin_token,
        } = self;
        f.debug_struct("Metrics")
            .field("enabled", enabled)
            .field("listen_addr", listen_addr)
            .field("path", path)
            .field("admin_token", &admin_token.as_ref().map(|_| "***"))
            .finish()
    }
}
