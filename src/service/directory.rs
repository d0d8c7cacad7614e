//! All services of one configuration, as one value; who listens where.
//!
//! A reload publishes a new directory; each thread compares it with what it has, by itself. Services are immutable:
//! what changes while they live is in their [`Live`]. The stop is a directory without services, and the last one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::fleet::service_key;
use super::front::Front;
use super::live::Live;
use crate::access_log::Journal;
use crate::admission::Admission;
use crate::config::{ServiceName, Spec};
use crate::loadbalancer::LoadBalancer;
use crate::reactor::limits::Limits;
use crate::relay::bandwidth::Bandwidth;
use crate::tls::Credentials;

/// One service, as one configuration has it.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Which service it is in other processes of a fleet.
    pub key: u32,
    /// What the file says of it.
    pub spec: Arc<Spec>,
    /// What outlives a reload.
    pub live: Arc<Live>,
    /// Who may connect; none when everybody may.
    pub admission: Option<Arc<Admission>>,
    /// What is awaited of clients before they get a backend; none when nothing is.
    pub front: Option<Arc<Front>>,
    /// How fast bytes may move; none without a limit.
    pub bandwidth: Option<Arc<Bandwidth>>,
    /// What it has for TLS, each way.
    pub tls: Credentials,
    /// Where a line for each of its connections goes; none where there are none.
    pub journal: Option<Arc<Journal>>,
    /// Whose turn it is.
    pub balancer: LoadBalancer,
}

impl Service {
    /// A service that is new.
    #[must_use]
    pub fn new(name: ServiceName, spec: Arc<Spec>, live: Arc<Live>, now: Instant) -> Self {
        Self {
            admission: Admission::of(&spec.server, now).map(Arc::new),
            front: Front::of(&spec.server).map(Arc::new),
            bandwidth: Bandwidth::of(&spec.server.bandwidth, now).map(Arc::new),
            tls: Credentials::default(),
            journal: None,
            balancer: LoadBalancer::new(spec.pools.algorithm, Arc::clone(&live.turn)),
            key: service_key(name.as_str(), &spec.remotes),
            name,
            spec,
            live,
        }
    }

    /// The same service under another spec: what that does not change is the same afterwards, buckets and the table of
    /// clients included.
    #[must_use]
    pub fn under(&self, spec: Arc<Spec>, now: Instant) -> Self {
        let (before, after) = (&self.spec.server, &spec.server);
        Self {
            name: self.name.clone(),
            key: service_key(self.name.as_str(), &spec.remotes),
            live: Arc::clone(&self.live),
            admission: Admission::after(self.admission.as_deref(), after, now).map(Arc::new),
            front: Front::of(after).map(Arc::new),
            bandwidth: if before.bandwidth == after.bandwidth {
                self.bandwidth.clone()
            } else {
                Bandwidth::of(&after.bandwidth, now).map(Arc::new)
            },
            tls: self.tls.clone(),
            journal: self.journal.clone(),
            balancer: LoadBalancer::new(spec.pools.algorithm, Arc::clone(&self.live.turn)),
            spec,
        }
    }

    /// The same service, which has this for TLS.
    #[must_use]
    pub fn speaking(self, tls: Credentials) -> Self {
        Self { tls, ..self }
    }

    /// The same service, whose connections have their lines there.
    #[must_use]
    pub fn writing(self, journal: Option<Arc<Journal>>) -> Self {
        Self { journal, ..self }
    }
}

/// Names one listen address for as long as it is open, whichever service it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u64);

impl ListenerId {
    /// One that nobody has had before.
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A listen address and its service.
#[derive(Debug, Clone)]
pub struct Listening {
    /// Names its sockets in the reactors.
    pub id: ListenerId,
    /// The address that the configuration names; its port may be 0.
    pub wanted: SocketAddr,
    /// The address that it is bound to.
    pub bound: SocketAddr,
    /// Whose connections are accepted there.
    pub service: Arc<Service>,
}

/// Whether the process serves or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It ends once its relays have; no other directory follows.
    Stopping,
}

/// All services.
#[derive(Debug)]
pub struct Directory {
    /// The services, by name.
    pub services: Vec<Arc<Service>>,
    /// Where they listen.
    pub listening: Vec<Listening>,
    /// Shares of the process's descriptors.
    pub limits: Limits,
    /// Whether the process serves.
    pub phase: Phase,
}

impl Directory {
    /// No services.
    #[must_use]
    pub fn empty(limits: Limits) -> Self {
        Self {
            services: Vec::new(),
            listening: Vec::new(),
            limits,
            phase: Phase::Serving,
        }
    }

    /// What follows at the stop.
    #[must_use]
    pub fn last(&self) -> Self {
        Self {
            phase: Phase::Stopping,
            ..Self::empty(self.limits)
        }
    }

    /// The service with this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.iter().find(|service| service.name.as_str() == name)
    }

    /// Whether all services are asleep, so that nothing is urgent; not where there is none.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        let is_asleep = |service: &Arc<Service>| service.live.slumber.load().is_asleep();
        !self.services.is_empty() && self.services.iter().all(is_asleep)
    }

    /// Who listens at a listener that is open.
    #[must_use]
    pub fn listening(&self, id: ListenerId) -> Option<&Listening> {
        self.listening.iter().find(|one| one.id == id)
    }
}
