//! Services and hubs for tests.

use std::sync::Arc;
use std::time::Instant;

use super::directory::{Directory, Service};
use super::hub::Hub;
use super::live::Live;
use crate::candidates::CandidateSet;
use crate::config::{Pools, Remotes, Server, ServiceName, Spec};
use crate::reactor::limits::Limits;

/// A hub without services.
pub(crate) fn hub(reactors: usize, now: Instant) -> Arc<Hub> {
    Arc::new(Hub::new(reactors, Limits::of(1_000, 0), now))
}

/// What a file says that says nothing.
pub(crate) fn spec() -> Spec {
    Spec {
        server: Server::default(),
        remotes: Remotes::default(),
        pools: Pools::default(),
    }
}

/// A new service with these candidates, which have port 80 if none is named.
pub(crate) fn service(hub: &Hub, name: &str, spec: Spec, list: &str) -> Arc<Service> {
    let set = CandidateSet::parse(list, 80).expect("a good list");
    let live = Live::new(set, &spec.remotes.scoring, &hub.bells);
    let name = ServiceName(Arc::from(name));
    Arc::new(Service::new(name, Arc::new(spec), Arc::new(live), hub.started_at))
}

/// Publishes a directory of these services.
pub(crate) fn publish(hub: &Hub, services: &[Arc<Service>]) {
    hub.directory.replace(|present| {
        Some(Arc::new(Directory {
            services: services.to_vec(),
            ..Directory::empty(present.limits)
        }))
    });
}
