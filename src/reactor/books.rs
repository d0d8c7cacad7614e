//! What must add up after each turn: looked at in debug builds, so that every test looks too.

#![cfg(debug_assertions)]

use std::collections::HashMap;

use super::client::{Client, Race, Stage, Wait};
use super::core::Reactor;
use super::tenant::{Standing, Tenant};
use super::upstream::State;
use crate::base::slots::Key;

/// Entries that one turn may look at on average: many clients are looked at in few turns.
const ENTRIES_PER_TURN: usize = 256;

/// What pools count, as clients and connections tell it.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Count {
    warm: u32,
    dialling: u32,
    in_use: u32,
    unloaded: u32,
}

impl Reactor {
    /// Audits the books, the seldomer the longer they are.
    pub(super) fn audit_in_turns(&mut self) {
        if self.turns_until_audit > 0 {
            self.turns_until_audit -= 1;
            return;
        }
        let entries = self.clients.len() + self.upstreams.len() + self.pools.len() + self.tenants.len();
        self.turns_until_audit = entries / ENTRIES_PER_TURN;
        self.audit();
    }

    fn audit(&self) {
        assert_eq!(
            self.gauges().clients.value(),
            self.clients.len() as u64,
            "clients"
        );
        assert_eq!(
            self.gauges().upstreams.value(),
            self.upstreams.len() as u64,
            "upstreams"
        );
        let mut counts: HashMap<Key, Count> = HashMap::new();
        self.audit_upstreams(&mut counts);
        self.audit_clients(&mut counts);
        for key in self.pools.keys() {
            let Some(pool) = self.pools.get(key) else { continue };
            let count = counts.remove(&key).unwrap_or_default();
            let kept = Count {
                warm: pool.warm_count(),
                dialling: pool.dialling(),
                in_use: pool.in_use(),
                unloaded: pool.unloaded(),
            };
            assert_eq!(kept, count, "pool of {}", pool.backend.addr);
            let tenant = self.tenants.get(pool.tenant);
            assert!(
                tenant.is_some_and(|tenant| tenant.pools.contains(&key)),
                "a pool is one of its tenant's"
            );
        }
        assert!(counts.is_empty(), "pools that are gone: {counts:?}");
        self.audit_tenants();
    }

    fn audit_upstreams(&self, counts: &mut HashMap<Key, Count>) {
        for key in self.upstreams.keys() {
            let Some(upstream) = self.upstreams.get(key) else {
                continue;
            };
            let count = counts.entry(upstream.pool).or_default();
            count.unloaded += u32::from(upstream.is_unloaded());
            match upstream.state {
                State::Dialling { client: None, .. } => count.dialling += 1,
                State::Dialling {
                    client: Some(client), ..
                } => {
                    let rival = self.clients.get(client).and_then(Client::rival);
                    let stage = self.clients.get(client).map(|client| client.stage);
                    let waits = matches!(stage, Some(Stage::Seeking(Wait::Dial { upstream, .. })) if upstream == key)
                        || rival.is_some_and(|rival| rival.upstream == key);
                    assert!(waits, "the client of a dial waits for it");
                }
                State::Warm { .. } => count.warm += 1,
                State::InUse { client, .. } => {
                    let stage = self.clients.get(client).map(|client| client.stage);
                    let uses = matches!(
                        stage,
                        Some(Stage::Relaying(attached) | Stage::Leaving(attached, _)) if attached.upstream == key
                    );
                    assert!(uses, "a connection in use has a client that uses it");
                }
            }
        }
    }

    fn audit_clients(&self, counts: &mut HashMap<Key, Count>) {
        for key in self.clients.keys() {
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            if let Some(pool) = client.pool() {
                counts.entry(pool).or_default().in_use += 1;
            }
            if let Some(rival) = client.rival() {
                counts.entry(rival.pool).or_default().in_use += 1;
            }
            let is_dialled_for = matches!(client.stage, Stage::Seeking(Wait::Dial { .. }));
            assert!(
                is_dialled_for || client.race() == Race::Nobody,
                "who races is dialled for"
            );
            match client.stage {
                Stage::Seeking(Wait::Set) => {
                    let heir = self.tenants.get(self.heir(client.tenant));
                    let has_none = heir
                        .is_some_and(|heir| heir.standing == Standing::Current && heir.members.is_empty());
                    assert!(has_none, "a first set may still come");
                }
                Stage::Opening(_) => assert!(client.opening.is_some(), "who opens has an opening"),
                Stage::Seeking(wait) => assert_ne!(wait, Wait::Nothing, "a client waits for something"),
                Stage::Relaying(attached) | Stage::Leaving(attached, _) => {
                    let upstream = self.upstreams.get(attached.upstream);
                    assert!(
                        upstream.is_some_and(|upstream| upstream.pool == attached.pool),
                        "a relay has a backend's connection, of its pool"
                    );
                }
            }
            assert!(self.tenants.get(client.tenant).is_some(), "a client has a tenant");
        }
    }

    fn audit_tenants(&self) {
        for (id, key) in &self.departed {
            let tenant = self.tenants.get(*key);
            let is_its = tenant.is_some_and(|tenant| tenant.service.live.id == *id);
            assert!(is_its, "who has departed is here still");
        }
        let of_clients = |tenant: Key| {
            let clients = self.clients.keys().filter_map(|key| self.clients.get(key));
            clients.filter(|client| client.tenant == tenant).count()
        };
        // Counted only where that is cheap: with many services there are too many pairs.
        let pairs = (self.clients.len() + self.tenants.len()) * self.tenants.len();
        let is_cheap = pairs <= 64 * ENTRIES_PER_TURN;
        for key in self.tenants.keys() {
            let Some(tenant) = self.tenants.get(key) else {
                continue;
            };
            if is_cheap {
                assert_eq!(tenant.clients, of_clients(key), "clients of a tenant");
            }
            let of_heir = |one: &&Tenant| one.heir == Some(key);
            if is_cheap {
                let tenants = self.tenants.keys().filter_map(|key| self.tenants.get(key));
                assert_eq!(
                    tenant.ancestors,
                    tenants.filter(of_heir).count(),
                    "who has an heir"
                );
            }
            if let Some(heir) = tenant.heir {
                assert!(tenant.pools.is_empty(), "the heir has all pools");
                let heir = self.tenants.get(heir);
                assert!(
                    heir.is_some_and(|heir| heir.heir.is_none()),
                    "the heir is the last one"
                );
            }
            if is_cheap {
                let awaits = |client: &&Client| client.waits_for_set() && self.heir(client.tenant) == key;
                let clients = self.clients.keys().filter_map(|key| self.clients.get(key));
                let awaiting = tenant.awaiting.iter().filter_map(|key| self.clients.get(*key));
                let awaiting = awaiting.filter(|client| client.waits_for_set());
                assert_eq!(
                    awaiting.count(),
                    clients.filter(awaits).count(),
                    "who waits for a set is known"
                );
            }
            let waiting = tenant
                .queue
                .keys()
                .filter(|key| self.clients.get(*key).is_some_and(Client::waits_for_place));
            let waiting = waiting.count();
            assert_eq!(waiting, tenant.queue.waiting(), "who waits stands in the queue");
            let current = self.current.get(&tenant.service.live.id);
            match tenant.standing {
                Standing::Current => assert_eq!(current, Some(&key), "who is current is found"),
                Standing::Retired => {
                    assert_ne!(current, Some(&key), "who has retired gets nobody new");
                    assert!(
                        !tenant.is_done() || !tenant.pools.is_empty(),
                        "a tenant that is done is forgotten"
                    );
                }
            }
            for pool in tenant.members.iter().chain(&tenant.pools) {
                assert!(self.pools.get(*pool).is_some(), "a tenant's pools exist");
            }
        }
    }
}
