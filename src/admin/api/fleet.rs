//! The fleet as this process knows it: who is there, how old that is, who probes what, and what goes wrong.
//!
//! Reads what the fleet thread publishes; owns nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Serialize;

use super::shapes::ago;
use crate::fleet::nodes::text_of;
use crate::service::fleet::{FleetView, Standing};
use crate::service::{Hub, Service};

/// The most members of a service of whom it is told who probes them.
const MOST_MEMBERS: usize = 64;

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    is_shared: bool,
    is_connected: bool,
    cluster: String,
    me: Option<Me>,
    heard_seconds_ago: Option<f64>,
    failures: u64,
    last_failure: Option<Failure>,
    samples: Samples,
    bytes: Bytes,
    claimed_clients: usize,
    nodes: Vec<Other>,
    services: Vec<Shared>,
}

#[derive(Debug, Serialize)]
struct Me {
    id: String,
    node: String,
    vantage: String,
}

#[derive(Debug, Serialize)]
struct Failure {
    message: String,
    seconds_ago: f64,
}

#[derive(Debug, Serialize)]
struct Samples {
    told: u64,
    heard: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct Bytes {
    sent: u64,
    received: u64,
}

/// Another process.
#[derive(Debug, Serialize)]
struct Other {
    id: String,
    node: String,
    vantage: String,
    /// Whether it looks from where this process does.
    is_near: bool,
    link: &'static str,
    /// At most so long ago.
    spoke_seconds_ago: Option<f64>,
}

/// Who probes a service.
#[derive(Debug, Serialize)]
struct Shared {
    name: String,
    /// Processes that divide its candidates, this one included.
    nodes: usize,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    addr: SocketAddr,
    /// Who probes it.
    id: String,
}

/// The fleet as it is known.
pub(super) fn page(hub: &Hub, now: Instant) -> Page {
    let fleet = &hub.fleet;
    let (view, standing, counts) = (fleet.view.load(), fleet.standing.load(), &fleet.counts);
    let is_shared = !standing.cluster.is_empty();
    let services: &[Arc<Service>] = &hub.directory.load().services;
    Page {
        is_shared,
        is_connected: view.is_connected,
        cluster: standing.cluster.clone(),
        me: is_shared.then(|| Me {
            id: text_of(view.me),
            node: view.name.clone(),
            vantage: view.vantage.clone(),
        }),
        heard_seconds_ago: standing.heard_at.map(|at| ago(at, now)),
        failures: counts.failures.load(Ordering::Relaxed),
        last_failure: standing.failed.as_ref().map(|(message, at)| Failure {
            message: message.clone(),
            seconds_ago: ago(*at, now),
        }),
        samples: Samples {
            told: counts.told.load(Ordering::Relaxed),
            heard: counts.heard.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
        },
        bytes: Bytes {
            sent: counts.sent_bytes.load(Ordering::Relaxed),
            received: counts.received_bytes.load(Ordering::Relaxed),
        },
        claimed_clients: standing.claims,
        nodes: nodes(&view, &standing, now),
        services: if is_shared {
            services.iter().map(|service| shared(&view, service)).collect()
        } else {
            Vec::new()
        },
    }
}

fn nodes(view: &FleetView, standing: &Standing, now: Instant) -> Vec<Other> {
    let node = |node: &crate::service::fleet::Node| {
        let spoke = standing.spoke.iter().find(|(id, _)| *id == node.id);
        Other {
            id: text_of(node.id),
            node: node.name.clone(),
            vantage: node.vantage.clone(),
            is_near: node.vantage == view.vantage,
            link: if node.is_down { "down" } else { "up" },
            spoke_seconds_ago: spoke.map(|(_, at)| ago(*at, now)),
        }
    };
    view.others.iter().map(node).collect()
}

fn shared(view: &FleetView, service: &Service) -> Shared {
    let share = view.share(service.key);
    let active = service.live.active.load();
    let members = active.backends.iter().take(MOST_MEMBERS);
    Shared {
        name: service.name.to_string(),
        nodes: share.nodes(),
        members: members
            .map(|backend| Member {
                addr: backend.addr,
                id: text_of(share.owner(&backend.addr)),
            })
            .collect(),
    }
}
