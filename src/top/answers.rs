//! What is fetched, and what changed since the time before. Pure.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use serde::Deserialize;

/// How a process stood at one time.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) services: Vec<Service>,
    /// The service that was chosen, if it is there.
    pub(super) chosen: Option<Details>,
}

/// `services`.
#[derive(Debug, Deserialize)]
pub(super) struct Services {
    pub(super) services: Vec<Service>,
}

/// A service in short.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) active_set: Vec<SocketAddr>,
    pub(super) footing: String,
    pub(super) is_asleep: bool,
    /// Not told by processes of before.
    #[serde(default)]
    pub(super) is_leaving: bool,
    pub(super) connections: u64,
    /// Not told by processes of before.
    #[serde(default)]
    pub(super) queued: u64,
    #[serde(default)]
    pub(super) full: u64,
    /// May be as many as there are addresses of IPv6, which need not be exact here.
    pub(super) candidates: f64,
    pub(super) withdrawn: u64,
}

/// `services/NAME`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Details {
    pub(super) name: String,
    pub(super) members: Vec<Member>,
    pub(super) known: u64,
    pub(super) answering: u64,
}

/// A member of an active set.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Member {
    pub(super) addr: SocketAddr,
    pub(super) name: Option<String>,
    pub(super) state: String,
    pub(super) score: f64,
    pub(super) latency_ms: Option<f64>,
    pub(super) connections: u64,
    /// Not told by processes of before.
    #[serde(default)]
    pub(super) max_connections: Option<u64>,
    #[serde(default)]
    pub(super) open: u64,
    #[serde(default)]
    pub(super) is_full: bool,
    pub(super) warm: u64,
    pub(super) target: u64,
    pub(super) requests: u64,
}

impl Snapshot {
    /// Requests a second that members of the chosen service got since the time before; of whom that is not known there is none.
    pub(super) fn rates(&self, before: Option<&Self>) -> HashMap<SocketAddr, f64> {
        let Some(before) = before else {
            return HashMap::new();
        };
        let (Some(now_of), Some(was_of)) = (&self.chosen, &before.chosen) else {
            return HashMap::new();
        };
        let passed = self.at.saturating_duration_since(before.at).as_secs_f64();
        if now_of.name != was_of.name || passed <= 0.0 {
            return HashMap::new();
        }
        let was: HashMap<_, _> = was_of
            .members
            .iter()
            .map(|one| (one.addr, one.requests))
            .collect();
        let rate = |member: &Member| {
            // Fewer than before: it left the set and came back as a new one.
            let more = member.requests.checked_sub(*was.get(&member.addr)?)?;
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            Some((member.addr, more as f64 / passed))
        };
        now_of.members.iter().filter_map(rate).collect()
    }
}
