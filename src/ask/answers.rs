//! What of the process's answers is shown.
//!
//! Fields that are not here are passed by: a newer process may tell more.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

/// `status`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) uptime_seconds: u64,
    #[serde(default)]
    pub(super) is_stopping: bool,
    pub(super) services: Vec<Standing>,
    pub(super) last_reload: Option<Reload>,
    pub(super) restart_needed: bool,
    /// None where nothing is shared, or by a process that does not tell.
    pub(super) fleet: Option<Fleet>,
}

/// How sharing with others goes.
#[derive(Debug, Deserialize)]
pub(super) struct Fleet {
    pub(super) cluster: String,
    pub(super) is_connected: bool,
    pub(super) nodes: u64,
    pub(super) near: u64,
    pub(super) failure: Option<String>,
}

/// How a service stands.
#[derive(Debug, Deserialize)]
pub(super) struct Standing {
    pub(super) name: String,
    pub(super) listen_addrs: Vec<SocketAddr>,
    pub(super) active_set: Vec<SocketAddr>,
    #[serde(default)]
    pub(super) names: BTreeMap<SocketAddr, String>,
    pub(super) is_fallback: bool,
    pub(super) is_asleep: bool,
    #[serde(default)]
    pub(super) is_leaving: bool,
    pub(super) connections: u64,
    /// Not told by processes of before.
    #[serde(default)]
    pub(super) queued: u64,
    #[serde(default)]
    pub(super) full: u64,
    #[serde(default)]
    pub(super) withdrawn: Vec<Withdrawn>,
    #[serde(default)]
    pub(super) providers: Vec<Provider>,
    #[serde(default)]
    pub(super) certificates: Vec<Certificate>,
}

/// A certificate that clients are shown.
#[derive(Debug, Deserialize)]
pub(super) struct Certificate {
    pub(super) path: String,
    pub(super) names: Vec<String>,
    pub(super) expires: String,
    pub(super) expires_in_seconds: i64,
}

/// A candidate that somebody has taken out.
#[derive(Debug, Deserialize)]
pub(super) struct Withdrawn {
    pub(super) addr: SocketAddr,
    pub(super) name: Option<String>,
    pub(super) state: String,
}

/// A provider, and how it fares.
#[derive(Debug, Deserialize)]
pub(super) struct Provider {
    #[serde(rename = "provider")]
    pub(super) id: String,
    pub(super) source: String,
    /// May be as many as there are addresses of IPv6, which need not be exact here.
    pub(super) candidates: f64,
    pub(super) answered_seconds_ago: Option<f64>,
    pub(super) next_seconds: Option<f64>,
    pub(super) error: Option<String>,
}

/// The last reload.
#[derive(Debug, Deserialize)]
pub(super) struct Reload {
    pub(super) result: String,
    pub(super) time: String,
    pub(super) changes: Vec<String>,
    pub(super) errors: Vec<Fault>,
}

/// What is wrong with a configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    pub(super) file: Option<String>,
    pub(super) line: Option<u64>,
    pub(super) key: String,
    pub(super) message: String,
}

/// `services`: names only.
#[derive(Debug, Deserialize)]
pub(super) struct Services {
    pub(super) services: Vec<Named>,
}

/// A service.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// `services/NAME/explain`.
#[derive(Debug, Deserialize)]
pub(super) struct Explanation {
    pub(super) service: String,
    pub(super) evaluated_seconds_ago: Option<f64>,
    pub(super) members: Vec<Subject>,
    pub(super) others: Vec<Subject>,
    pub(super) text: Vec<String>,
}

/// A candidate, and why it is in or out.
#[derive(Debug, Deserialize)]
pub(super) struct Subject {
    pub(super) addr: SocketAddr,
    pub(super) name: Option<String>,
    pub(super) score: f64,
    pub(super) latency_ms: Option<f64>,
    pub(super) text: String,
    pub(super) change: Option<String>,
}

/// `services/NAME/drain` and its kin.
#[derive(Debug, Deserialize)]
pub(super) struct Steered {
    pub(super) service: String,
    pub(super) backend: SocketAddr,
    pub(super) name: Option<String>,
    pub(super) state: String,
    pub(super) was: String,
}
