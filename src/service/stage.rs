//! Tests: a hub with services, without threads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::directory::{Directory, Service};
use super::hub::Hub;
use super::id::Candidate;
use super::live::Live;
use crate::backend::{ActiveSet, Backend};
use crate::base::clock;
use crate::candidates::CandidateSet;
use crate::config::{AccessLog, Pools, Remotes, Server, ServiceName, Sleep, Spec};
use crate::reactor::limits::Limits;
use crate::scorer::sample::{Outcome, Sample, Source};
use crate::selector::decide::Footing;

/// A hub of a process with two reactors that starts now.
pub(crate) fn hub() -> Arc<Hub> {
    Arc::new(Hub::new(2, clock::now()))
}

pub(crate) fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A candidate list of [`addr`]s.
pub(crate) fn list(ports: impl IntoIterator<Item = u16>) -> CandidateSet {
    let lines: Vec<_> = ports.into_iter().map(|port| addr(port).to_string()).collect();
    CandidateSet::parse(&lines.join("\n"), 80).expect("a list")
}

/// A candidate list of [`addr`]s with what is said of each.
pub(crate) fn list_saying(entries: &[(u16, &str)]) -> CandidateSet {
    let line = |(port, words): &(u16, &str)| format!("{} {words}", addr(*port));
    let lines: Vec<_> = entries.iter().map(line).collect();
    CandidateSet::parse(&lines.join("\n"), 80).expect("a list")
}

/// The defaults, but for what `change` does.
pub(crate) fn spec(change: impl FnOnce(&mut Spec)) -> Arc<Spec> {
    let mut spec = Spec {
        server: Server::default(),
        remotes: Remotes::default(),
        pools: Pools::default(),
        sleep: Sleep::default(),
        access_log: AccessLog::default(),
    };
    change(&mut spec);
    Arc::new(spec)
}

/// A new service; not in the directory yet.
pub(crate) fn service(
    hub: &Hub,
    name: &str,
    ports: impl IntoIterator<Item = u16>,
    spec: Arc<Spec>,
) -> Arc<Service> {
    service_of(hub, name, list(ports), spec)
}

/// The same, with any list.
pub(crate) fn service_of(hub: &Hub, name: &str, set: CandidateSet, spec: Arc<Spec>) -> Arc<Service> {
    let live = Live::new(set.into(), &spec.remotes.scoring, &hub.bells);
    let name = ServiceName::parse(name).expect("a name");
    Arc::new(Service::new(name, spec, Arc::new(live), clock::now()))
}

/// Makes these all services there are.
pub(crate) fn publish(hub: &Hub, services: &[&Arc<Service>]) {
    let directory = Directory {
        services: services.iter().copied().cloned().collect(),
        ..Directory::empty(Limits::of(20_000, 0))
    };
    hub.directory.publish(Arc::new(directory));
}

/// Makes these the active set.
pub(crate) fn activate(service: &Service, ports: &[u16], footing: Footing) {
    let addrs: Vec<_> = ports.iter().map(|port| addr(*port)).collect();
    activate_on(service, &addrs, footing);
}

/// The same, good, with any addresses.
pub(crate) fn activate_addrs(service: &Service, addrs: &[SocketAddr]) {
    activate_on(service, addrs, Footing::Good);
}

fn activate_on(service: &Service, addrs: &[SocketAddr], footing: Footing) {
    let backend = |addr: &SocketAddr| Arc::new(Backend::new(*addr, clock::now(), 2));
    let backends = addrs.iter().map(backend).collect();
    service
        .live
        .active
        .publish(Arc::new(ActiveSet::new(backends, footing)));
}

/// A connect that ended at this time, as soon as it began.
pub(crate) fn sample(service: &Service, port: u16, what: (Source, Outcome), at: Instant) -> Sample {
    let (source, outcome) = what;
    Sample {
        candidate: Candidate {
            service: service.live.id,
            addr: addr(port),
        },
        outcome,
        heard: crate::scorer::Heard::NotAsked,
        source,
        began_at: at,
        at,
    }
}
