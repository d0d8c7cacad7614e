//! The state of the process on one page: services, and how the last reload went.
//!
//! Reads what others publish; owns nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::Serialize;

use super::reload::{Fault, Outcome, Reloads, RestartNeeded};
use crate::backend::ActiveSet;
use crate::metrics::counters::ReactorCounters;
use crate::snapshot::Published;

/// Everything that the page reads.
#[derive(Debug, Clone)]
pub struct StatusSources {
    /// When the process started, on the clock that never jumps.
    pub started_at: Instant,
    /// The same, as people say it.
    pub started: SystemTime,
    /// The services, in the order of their names.
    pub services: Arc<Published<Vec<ServiceSource>>>,
    /// What is known of reloads.
    pub reloads: Arc<Published<Reloads>>,
}

/// What the page reads of one service.
#[derive(Debug, Clone)]
pub struct ServiceSource {
    /// Its name.
    pub name: Arc<str>,
    /// Where its clients connect.
    pub listen_addrs: Vec<SocketAddr>,
    /// The members that its connections go to.
    pub active: Arc<Published<ActiveSet>>,
    /// Its counts, one entry a reactor.
    pub counters: Arc<[ReactorCounters]>,
}

/// The page, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    pid: u32,
    started: String,
    uptime_seconds: u64,
    services: Vec<Service>,
    last_reload: Option<LastReload>,
    restart_needed: bool,
}

#[derive(Debug, Serialize)]
struct Service {
    name: String,
    listen_addrs: Vec<SocketAddr>,
    active_set_size: usize,
    connections: u64,
}

#[derive(Debug, Serialize)]
struct LastReload {
    result: &'static str,
    time: String,
    errors: Vec<Fault>,
}

impl Status {
    pub(super) fn of(sources: &StatusSources, now: Instant) -> Self {
        let reloads = sources.reloads.load();
        let services = sources.services.load();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started: time(sources.started),
            uptime_seconds: now.saturating_duration_since(sources.started_at).as_secs(),
            services: services.iter().map(Service::of).collect(),
            last_reload: reloads
                .last
                .as_ref()
                .and_then(|(at, outcome)| LastReload::of(*at, outcome)),
            restart_needed: reloads.restart_needed == RestartNeeded::Yes,
        }
    }
}

impl Service {
    fn of(source: &ServiceSource) -> Self {
        let active = source.counters.iter().map(|counters| counters.active.value());
        Self {
            name: source.name.to_string(),
            listen_addrs: source.listen_addrs.clone(),
            active_set_size: source.active.load().backends.len(),
            connections: active.fold(0, u64::wrapping_add),
        }
    }
}

impl LastReload {
    fn of(at: SystemTime, outcome: &Outcome) -> Option<Self> {
        let (result, errors) = match outcome {
            Outcome::Applied { .. } => ("success", Vec::new()),
            Outcome::Refused(faults) => ("failure", faults.clone()),
            // Nothing was tried.
            Outcome::Stopping => return None,
        };
        Some(Self {
            result,
            time: time(at),
            errors,
        })
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn the_page_in_json() {
        let now = clock::now();
        let service = ServiceSource {
            name: "web".into(),
            listen_addrs: vec![SocketAddr::from(([127, 0, 0, 1], 80))],
            active: Arc::new(Published::new(ActiveSet::default())),
            counters: (0..2).map(|_| ReactorCounters::default()).collect(),
        };
        for counters in &*service.counters {
            counters.active.add(2);
        }
        let reloads = Arc::new(Published::new(Reloads::default()));
        let sources = StatusSources {
            started_at: now,
            started: UNIX_EPOCH,
            services: Arc::new(Published::new(vec![service])),
            reloads: Arc::clone(&reloads),
        };
        let page = |now| serde_json::to_value(Status::of(&sources, now)).expect("JSON");
        let first = page(now + Duration::from_secs(7));
        assert_eq!(first["started"], "1970-01-01T00:00:00.000Z");
        assert_eq!(first["uptime_seconds"], 7);
        assert_eq!(first["pid"], std::process::id());
        assert_eq!(
            first["services"][0],
            serde_json::json!({
                "name": "web", "listen_addrs": ["127.0.0.1:80"], "active_set_size": 0, "connections": 4
            })
        );
        assert_eq!(first["last_reload"], serde_json::Value::Null);
        let fault = Fault {
            file: "a.yaml".to_owned(),
            line: None,
            key: String::new(),
            message: "gone".to_owned(),
        };
        reloads.publish(Arc::new(Reloads {
            last: Some((UNIX_EPOCH, Outcome::Refused(vec![fault]))),
            restart_needed: RestartNeeded::Yes,
        }));
        let second = page(now);
        assert_eq!(second["last_reload"]["result"], "failure");
        assert_eq!(second["last_reload"]["errors"][0]["message"], "gone");
        assert_eq!(second["restart_needed"], true);
    }
}
