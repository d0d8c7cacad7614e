//! All services of one configuration, as one value; who listens where.
//!
//! A reload publishes a new directory; each thread compares it with what it has, by itself. Services are immutable:
//! what changes while they live is in their [`Live`]. The stop is a directory without services, and the last one. Who is in a
//! directory no more is told of for as long as a reactor has relays of it: the directory remembers it, and keeps nothing of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
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
            admission: Admission::of(&spec.server).map(Arc::new),
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
            admission: Admission::after(self.admission.as_deref(), after).map(Arc::new),
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
    /// Services of directories before this one, the latest last. Who has relays of one has it; nobody else.
    pub left: Vec<Weak<Service>>,
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
            left: Vec::new(),
        }
    }

    /// What follows at the stop.
    #[must_use]
    pub fn last(&self) -> Self {
        Self {
            phase: Phase::Stopping,
            left: self.left_by(&[]),
            ..Self::empty(self.limits)
        }
    }

    /// What [`left`](Self::left) is of a directory that follows this one and has these services.
    #[must_use]
    pub fn left_by(&self, services: &[Arc<Service>]) -> Vec<Weak<Service>> {
        let stay: BTreeSet<_> = services.iter().map(|service| service.live.id).collect();
        let leave = |service: &&Arc<Service>| !stay.contains(&service.live.id);
        let before = self.left.iter().filter(|left| left.strong_count() > 0).cloned();
        let now = self.services.iter().filter(leave).map(Arc::downgrade);
        before.chain(now).collect()
    }

    /// Services that have left and still have relays; of each name one at most, the latest, and none of a name that serves.
    #[must_use]
    pub fn leaving(&self) -> Vec<Arc<Service>> {
        if self.left.is_empty() {
            return Vec::new();
        }
        let serving = self.services.iter().map(|service| service.name.clone());
        let mut names: BTreeSet<_> = serving.collect();
        let latest_first = self.left.iter().rev().filter_map(Weak::upgrade);
        let mut leaving: Vec<_> = latest_first
            .filter(|service| names.insert(service.name.clone()))
            .collect();
        leaving.reverse();
        leaving
    }

    /// All services that there is something to tell of, and whether they have left; those that serve come first.
    #[must_use]
    pub fn told(&self) -> Vec<(Arc<Service>, bool)> {
        let serving = self.services.iter().map(|service| (Arc::clone(service), false));
        let leaving = self.leaving().into_iter().map(|service| (service, true));
        serving.chain(leaving).collect()
    }

    /// The service with this name, be it that it has left and still has relays.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<Arc<Service>> {
        let leaving = || {
            self.leaving()
                .into_iter()
                .find(|service| service.name.as_str() == name)
        };
        self.service(name).cloned().or_else(leaving)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::stage::{hub, publish, service, spec};

    /// The directory that follows this one and has these services.
    fn next(present: &Directory, services: &[&Arc<Service>]) -> Directory {
        let services: Vec<_> = services.iter().copied().cloned().collect();
        Directory {
            left: present.left_by(&services),
            services,
            ..Directory::empty(present.limits)
        }
    }

    fn names(services: &[Arc<Service>]) -> Vec<&str> {
        services.iter().map(|service| service.name.as_str()).collect()
    }

    #[test]
    fn who_has_left_is_known_for_as_long_as_somebody_has_it() {
        let hub = hub();
        let [one, two] = ["one", "two"].map(|name| service(&hub, name, [1], spec(|_| ())));
        publish(&hub, &[&one, &two]);
        let first = hub.directory.load();
        assert!(first.leaving().is_empty());
        let second = next(&first, &[&two]);
        let third = next(&second, &[&two]);
        drop(first);
        hub.stop();
        for directory in [&second, &third] {
            assert_eq!(names(&directory.leaving()), ["one"]);
            assert!(directory.service("one").is_none());
            assert!(
                directory
                    .known("one")
                    .is_some_and(|known| Arc::ptr_eq(&known, &one))
            );
        }
        drop(one);
        assert!(third.leaving().is_empty() && third.known("one").is_none());
        assert!(third.last().left.iter().all(|left| left.strong_count() > 0));
        let last = hub.directory.load();
        assert_eq!(
            (last.phase, names(&last.leaving())),
            (Phase::Stopping, vec!["two"])
        );
    }

    #[test]
    fn a_name_is_told_of_once() {
        let hub = hub();
        let [old, older, new] = [(); 3].map(|()| service(&hub, "web", [1], spec(|_| ())));
        publish(&hub, &[&older]);
        let without = next(&hub.directory.load(), &[]);
        let again = next(&without, &[&old]);
        assert!(again.leaving().is_empty(), "the name serves");
        let both = next(&again, &[]).leaving();
        assert!(
            both.len() == 1 && Arc::ptr_eq(&both[0], &old),
            "the latest: {both:?}"
        );
        let anew = next(&next(&again, &[]), &[&new]);
        assert!(anew.leaving().is_empty() && anew.left.len() == 2);
        // The same service under another spec has not left.
        let under = Arc::new(new.under(spec(|_| ()), hub.started_at));
        assert_eq!(next(&anew, &[&under]).left.len(), 2);
    }
}
