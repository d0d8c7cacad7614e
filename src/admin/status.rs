//! The state of the process on one page: services, and how the last reload went.
//!
//! Reads what others publish; owns nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::Serialize;
use serde_json::Value;

use super::access::Access;
use super::api::{Certificate, Provider, Withdrawn};
use super::reload::Written;
use crate::backend::Backend;
use crate::base::clock;
use crate::service::Hub;
use crate::service::reloads::Outcome;

/// The page, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    pid: u32,
    started: String,
    uptime_seconds: u64,
    /// It ends once its connections have.
    is_stopping: bool,
    services: Vec<Service>,
    last_reload: Option<LastReload>,
    restart_needed: bool,
    /// None where nothing is shared.
    fleet: Option<Fleet>,
    /// What whoever asks may do.
    access: &'static str,
}

#[derive(Debug, Serialize)]
struct Service {
    name: String,
    listen_addrs: Vec<SocketAddr>,
    active_set: Vec<SocketAddr>,
    /// Names of members, of those that have one.
    names: BTreeMap<SocketAddr, String>,
    is_fallback: bool,
    is_asleep: bool,
    /// It is in the configuration no more, or the process stops: its connections may finish.
    is_leaving: bool,
    connections: u64,
    /// Clients of those that wait for a place at a backend.
    queued: u64,
    /// Members that are full.
    full: usize,
    /// Candidates that somebody has taken out.
    withdrawn: Vec<Withdrawn>,
    providers: Vec<Provider>,
    certificates: Vec<Certificate>,
}

#[derive(Debug, Serialize)]
struct Fleet {
    cluster: String,
    is_connected: bool,
    nodes: usize,
    near: usize,
    heard_seconds_ago: Option<f64>,
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct LastReload {
    result: &'static str,
    time: String,
    changes: Vec<String>,
    errors: Value,
}

impl Status {
    pub(super) fn of(hub: &Hub, access: Access, now: Instant) -> Self {
        let reloads = hub.reloads.load();
        let uptime = now.saturating_duration_since(hub.started_at);
        let started = clock::wall().checked_sub(uptime);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started: started.map_or_else(String::new, time),
            uptime_seconds: uptime.as_secs(),
            is_stopping: hub.is_stopping(),
            services: services(hub, now),
            last_reload: reloads.last.as_ref().map(LastReload::of),
            restart_needed: reloads.needs_restart,
            fleet: Fleet::of(hub, now),
            access: access.word(),
        }
    }
}

fn services(hub: &Hub, now: Instant) -> Vec<Service> {
    let (directory, standings) = (hub.directory.load(), hub.provided.standings.load());
    let service = |(service, is_leaving): &(Arc<crate::service::Service>, bool)| {
        let active = service.live.active.load();
        let list = service.live.candidates.load();
        let named = |backend: &Arc<Backend>| Some((backend.addr, list.name_of(&backend.addr)?.to_owned()));
        let listens = |one: &&crate::service::Listening| one.service.live.id == service.live.id;
        Service {
            name: service.name.to_string(),
            listen_addrs: directory
                .listening
                .iter()
                .filter(listens)
                .map(|one| one.bound)
                .collect(),
            active_set: active.backends.iter().map(|backend| backend.addr).collect(),
            names: active.backends.iter().filter_map(named).collect(),
            is_fallback: active.footing.is_fallback(),
            is_asleep: service.live.slumber.load().is_asleep(),
            is_leaving: *is_leaving,
            connections: service.live.connections(),
            queued: service.live.queued(),
            full: active.full(),
            withdrawn: Withdrawn::all(service),
            providers: Provider::all(service, &standings, now),
            certificates: Certificate::all(service),
        }
    };
    directory.told().iter().map(service).collect()
}

impl Fleet {
    fn of(hub: &Hub, now: Instant) -> Option<Self> {
        let (view, standing) = (hub.fleet.view.load(), hub.fleet.standing.load());
        let links = view.links();
        let failure = standing.failed.as_ref().map(|(message, _)| message.clone());
        (!standing.cluster.is_empty()).then(|| Self {
            cluster: standing.cluster.clone(),
            is_connected: view.is_connected,
            nodes: view.others.len(),
            near: links.up + links.down,
            heard_seconds_ago: standing
                .heard_at
                .map(|at| now.saturating_duration_since(at).as_secs_f64()),
            failure: failure.filter(|_| !view.is_connected),
        })
    }
}

impl LastReload {
    fn of((at, outcome): &(SystemTime, Outcome)) -> Self {
        let (result, changes, faults) = match outcome {
            Outcome::Applied(changes) => ("success", changes.clone(), &[][..]),
            Outcome::Refused(faults) => ("failure", Vec::new(), faults.as_slice()),
        };
        Self {
            result,
            time: time(*at),
            changes,
            errors: serde_json::to_value(Written::all(faults)).unwrap_or_default(),
        }
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
