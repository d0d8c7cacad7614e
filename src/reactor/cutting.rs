//! Relays that are ended from here: at the end of a stop, and of backends that have left.
//!
//! Nothing is kept of which clients a backend has, which would cost each of them; so whose relays end is looked for among all
//! clients. At a stop that is once, for all services. While others go on, it is so many clients a turn.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::client::Client;
use super::core::Reactor;
use super::cut::Cut;
use super::tenant::Tenant;
use crate::base::slots::Key;
use crate::config::Spec;
use crate::relay::close::{CloseReason, Ending};

/// Clients that one turn looks at; in debug builds so few that tests, too, look in pieces.
const LOOKED_AT_PER_TURN: u32 = if cfg!(debug_assertions) { 3 } else { 4096 };

impl Reactor {
    /// Ends what these tenants have left, after the time to drain.
    pub(super) fn cut_tenants(&mut self, tenants: &HashSet<Key>) {
        let is_theirs = |client: &Key| {
            let client = self.clients.get(*client);
            client.is_some_and(|one| tenants.contains(&one.tenant))
        };
        let clients = self.clients.keys().filter(is_theirs).collect();
        self.cut(clients, CloseReason::Drained);
    }

    /// Ends the relays of a backend that left `drain_timeout` ago, each as its spec says; who dials another one beside it
    /// goes on with that.
    pub(super) fn cut_pool(&mut self, pool: Key, retired_at: Instant) {
        if self.pools.get(pool).is_some_and(|pool| pool.in_use() > 0) {
            self.cuts.push_back(Cut {
                pool,
                retired_at,
                place: 0,
                next: None,
            });
        }
    }

    /// Goes on looking for the relays of pools that have retired.
    pub(super) fn run_cuts(&mut self) {
        let Some(mut cut) = self.cuts.pop_front() else {
            return;
        };
        let is_retired = |pool: Key, at| {
            self.pools
                .get(pool)
                .is_some_and(|pool| pool.retired_at == Some(at))
        };
        if !is_retired(cut.pool, cut.retired_at) {
            // It is back, or gone.
            return;
        }
        let end = (cut.place + LOOKED_AT_PER_TURN).min(self.clients.places());
        let mut due = Vec::new();
        for key in (cut.place..end).filter_map(|place| self.clients.key_at(place)) {
            let Some(until) = self.until(key, &cut) else {
                continue;
            };
            if until <= self.now {
                due.push(key);
            } else {
                cut.next = Some(cut.next.map_or(until, |next| next.min(until)));
            }
        }
        due.retain(|client| !self.give_up_dial(*client, cut.pool));
        self.cut(due, CloseReason::BackendRemoved);
        cut.place = end;
        if end < self.clients.places() {
            self.cuts.push_back(cut);
        } else if let Some(next) = cut.next
            && self.pools.get(cut.pool).is_some()
        {
            self.pool_timers.set(cut.pool.index(), next);
        }
    }

    /// When a client is to end that is, or is about to be, a relay of a pool; none if it may stay, or is not.
    fn until(&self, key: Key, cut: &Cut) -> Option<Instant> {
        let is_dialling = |one: &Client| one.rival().is_some_and(|rival| rival.pool == cut.pool);
        let uses = |one: &&Client| one.pool() == Some(cut.pool) || is_dialling(one);
        let client = self.clients.get(key).filter(uses)?;
        let tenant = self.tenants.get(client.tenant).map(Tenant::spec)?;
        Some(cut.retired_at + grace_after_removal(tenant)?)
    }

    /// Ends these clients, which may be in the middle of something: with a reset, for a cut must not look like an end.
    fn cut(&mut self, clients: Vec<Key>, reason: CloseReason) {
        for key in clients {
            self.close(key, Ending::cut(reason));
        }
    }
}

/// How long relays of a backend that left go on, if they end then.
pub(super) fn grace_after_removal(spec: &Spec) -> Option<Duration> {
    spec.pools.reset_on_removal.then_some(spec.pools.drain_timeout)
}
