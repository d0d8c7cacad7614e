//! A service under one spec, inside one reactor.
//!
//! A client keeps the key of its tenant and ends under the spec that it began with. Pools go on from one tenant to the
//! next of the same service, as long as their connections are what the new spec wants too: whoever seeks a backend
//! turns to the heir's. So the last tenant of a service stays for as long as clients of any tenant of it.

use std::sync::Arc;

use crate::backend::ActiveSet;
use crate::base::published::Reader;
use crate::base::slots::Key;
use crate::config::Spec;
use crate::pools::race::Budget;
use crate::service::Service;
use crate::service::traffic::Traffic;

/// A service under one spec.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) service: Arc<Service>,
    pub(super) active: Reader<ActiveSet>,
    /// The pool of each member of the active set, in its order.
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
        Self {
            active: Reader::new(Arc::clone(&service.live.active)),
            service,
            members: Vec::new(),
            pools: Vec::new(),
            clients: 0,
            standing: Standing::Current,
            heir: None,
            ancestors: 0,
            race_budget: Budget::default(),
        }
    }

    /// Whether no client will need it any more, nor what it has.
    pub(super) fn is_done(&self) -> bool {
        self.standing == Standing::Retired && self.clients == 0 && self.ancestors == 0
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.service.spec
    }

    /// What the reactor with this index counts for it.
    pub(super) fn traffic(&self, reactor: usize) -> &Traffic {
        // Made with one entry a reactor; an index beyond them would be a bug worth dying of.
        &self.service.live.traffic[reactor]
    }
}
