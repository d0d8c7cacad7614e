//! A service under one spec, inside one reactor.
//!
//! A client keeps the key of its tenant and ends under the spec that it began with. Pools go on from one tenant to the
//! next of the same service, as long as their connections are what the new spec wants too: whoever seeks a backend
//! turns to the heir's. So the last tenant of a service stays for as long as clients of any tenant of it.

use std::sync::Arc;
use std::time::Duration;

use super::place_queue::PlaceQueue;
use crate::backend::ActiveSet;
use crate::base::doorbell::Ring;
use crate::base::published::Reader;
use crate::base::slots::Key;
use crate::config::Spec;
use crate::pools::race::Budget;
use crate::service::traffic::Traffic;
use crate::service::{Hub, Service, Slumber};

/// A service under one spec.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) service: Arc<Service>,
    pub(super) active: Reader<ActiveSet>,
    pub(super) slumber: Reader<Slumber>,
    /// The pool of each member of the active set and of its reserve, in their order; those of the reserve have retired: they
    /// have nothing warm, and get those clients only whom all members have failed.
    pub(super) members: Vec<Key>,
    /// All pools that are its: the members', and those of backends that left and are not empty yet.
    pub(super) pools: Vec<Key>,
    /// Clients that end under this spec.
    pub(super) clients: usize,
    pub(super) standing: Standing,
    /// The last tenant of the same service, if that is another one: it has the pools.
    pub(super) heir: Option<Key>,
    /// Tenants whose heir this one is.
    pub(super) ancestors: usize,
    /// Its clients, and those of tenants whose heir it is, that wait for a place at a backend.
    pub(super) queue: PlaceQueue,
    /// Those of them that wait for its first active set; some have left.
    pub(super) awaiting: Vec<Key>,
    /// How many second dials its clients may make.
    pub(super) race_budget: Budget,
}

/// Whether a tenant gets new clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does.
    Current,
    /// It has retired: its service has another spec, or has left.
    Retired,
}

impl Tenant {
    pub(super) fn new(service: Arc<Service>) -> Self {
        let slumber = Reader::new(Arc::clone(&service.live.slumber));
        let mut race_budget = Budget::default();
        if slumber.is_asleep() {
            race_budget.fill();
        }
        Self {
            active: Reader::new(Arc::clone(&service.live.active)),
            slumber,
            service,
            members: Vec::new(),
            pools: Vec::new(),
            clients: 0,
            standing: Standing::Current,
            heir: None,
            ancestors: 0,
            queue: PlaceQueue::default(),
            awaiting: Vec::new(),
            race_budget,
        }
    }

    /// Whether no client will need it any more, nor what it has.
    pub(super) fn is_done(&self) -> bool {
        self.standing == Standing::Retired && self.clients == 0 && self.ancestors == 0
    }

    /// A client waits for its first active set. Those who have left, whom `waits` does not know, are
    /// forgotten before the list grows.
    pub(super) fn awaits(&mut self, key: Key, waits: impl Fn(Key) -> bool) {
        if self.awaiting.len() == self.awaiting.capacity() {
            self.awaiting.retain(|key| waits(*key));
            // Twice the room for those who stay, so that not everybody who comes has all looked at.
            self.awaiting.reserve(self.awaiting.len() + 1);
        }
        self.awaiting.push(key);
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.service.spec
    }

    /// Has the service woken if it fell asleep while a client came to the reactor with this index.
    pub(super) fn wake_if_in_use(&self, reactor: usize, hub: &Hub) {
        if let Slumber::Asleep { last_at } = *self.slumber {
            let micros = self.traffic(reactor).last_client_micros.value();
            if hub.started_at + Duration::from_micros(micros) > last_at {
                self.service.live.marks.pools.ring();
            }
        }
    }

    /// Whether anybody waits for a place at its backends, in whichever reactor.
    pub(super) fn is_anybody_queued(&self) -> bool {
        self.active.has_limits() && self.service.live.longest_queued().is_some()
    }

    /// What the reactor with this index counts for it.
    pub(super) fn traffic(&self, reactor: usize) -> &Traffic {
        // Made with one entry a reactor; an index beyond them would be a bug worth dying of.
        &self.service.live.traffic[reactor]
    }
}
