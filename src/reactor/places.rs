//! Places at backends that take only so many connections: who waits for one, and who gets it.
//!
//! A place is taken by a compare-and-swap on the backend's own count ([`Place`]), so that no two reactors ever have the same
//! one. Whoever finds all backends full stands in a queue of its reactor, in the order in which it came. Which of the reactors
//! is served next is told by the time at which the first of each queue came: who frees a place serves its own queue while that
//! one came first, and else rings the one reactor where somebody waits for longer, so that a free place wakes one reactor and
//! not all. That none is forgotten: who comes writes its time and then looks for a place; who frees a place does that, and then
//! looks at the times; both in one order for all (`SeqCst`), so that at least one of the two sees the other.
//!
//! Warm connections have places, too, but none that a client waits for: while anybody waits, none is made, and reactors that
//! hold some give them up. Probes have places as well (`probing/probe_place.rs`), for as long as they take, and none while anybody
//! waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::warn;

use super::client::{Client, Queued, Wait};
use super::core::Reactor;
use crate::backend::{Backend, Place};
use crate::base::doorbell::Ring;
use crate::base::slots::Key;
use crate::pools::warm::Pool;
use crate::relay::close::{CloseReason, Ending};

/// Clients that one turn serves of one queue.
const SERVED_PER_TURN: usize = 64;

/// How long a client waits at least where another reactor has a warm connection to give up for it, or a probe has a place.
const RECLAIM: Duration = Duration::from_millis(100);

impl Reactor {
    /// Takes a place at the backend of a pool, if need be that of a warm connection; none if it is full.
    pub(super) fn take_place(&mut self, key: Key) -> Option<Place> {
        loop {
            let pool = self.pools.get_mut(key)?;
            if let Some(place) = Place::take(&pool.backend) {
                return Some(place);
            }
            let oldest = pool.remove_oldest()?;
            drop(self.remove_upstream(oldest));
        }
    }

    /// A place at the backend of a pool is free, or is about to be, or a warm connection is there: at the end of this turn it is
    /// looked at who waits for it.
    pub(super) fn place_is_due(&mut self, key: Key) {
        if let Some(pool) = self.pools.get(key)
            && pool.backend.max_connections().is_some()
        {
            self.due_places.push(pool.tenant);
        }
    }

    /// Whether somebody waits for a place at the backend of a pool.
    pub(super) fn is_waited_for(&self, key: Key) -> bool {
        let tenant = self.pools.get(key).and_then(|pool| self.tenants.get(pool.tenant));
        tenant.is_some_and(super::tenant::Tenant::is_anybody_queued)
    }

    /// A client for which there is no place waits for one, as long as it may.
    pub(super) fn wait_for_place(&mut self, key: Key) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let (own, heir) = (client.tenant, self.heir(client.tenant));
        let timeout = self
            .tenants
            .get(own)
            .map(|tenant| tenant.spec().pools.queue_timeout);
        let mut timeout = timeout.unwrap_or_default();
        let now = self.now;
        let stamp = self.stamp();
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let queued = client
            .search()
            .queued
            .get_or_insert(Queued { stamp, since: None });
        let since = *queued.since.get_or_insert(now);
        let stamp = queued.stamp;
        if self.is_anything_about_to_be_free(heir) {
            timeout = timeout.max(RECLAIM);
        }
        if since + timeout <= now {
            return self.refuse_place(key);
        }
        self.wait(key, Wait::Place);
        self.client_timers.set(key.index(), since + timeout);
        if let Some(tenant) = self.tenants.get_mut(heir) {
            tenant.queue.enter(stamp, key);
        }
        self.publish_queue(heir);
        // Behind that, another look: a place may have come free before others could know of this one.
        self.due_places.push(heir);
        self.ask_for_warm(heir);
    }

    /// A client gets no place: it has waited for long enough.
    pub(super) fn refuse_place(&mut self, key: Key) {
        let tenant = self
            .clients
            .get(key)
            .and_then(|client| self.tenants.get(client.tenant));
        if let Some(tenant) = tenant
            && tenant.service.live.bursts.full.begins(self.time.clock())
        {
            let (service, timeout) = (tenant.service.name.as_str(), tenant.spec().pools.queue_timeout);
            warn!(
                target: "tcp_forwarder::loadbalancer", service;
                "all backends of service {service} are full (max_connections): clients are closed that found no place within {timeout:?} (pools.common.queue_timeout)"
            );
        }
        self.close(key, Ending::quiet(CloseReason::QueueTimeout));
    }

    /// A client of a tenant, which is gone from the books, has left the queue.
    pub(super) fn leave_queue(&mut self, tenant: Key) {
        let heir = self.heir(tenant);
        if let Some(tenant) = self.tenants.get_mut(heir) {
            let clients = &self.clients;
            tenant
                .queue
                .left(|key| clients.get(key).is_some_and(Client::waits_for_place));
        }
        self.publish_queue(heir);
        // If it was called for a place, the next one is to have it.
        self.due_places.push(heir);
    }

    /// A client has got a place, or a warm connection.
    pub(super) fn note_place(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let queued = client.search.as_mut().and_then(|search| search.queued.as_mut());
        if let Some(since) = queued.and_then(|queued| queued.since.take()) {
            let (tenant, waited) = (client.tenant, self.now.saturating_duration_since(since));
            if let Some(traffic) = self.traffic(tenant) {
                traffic.queue_durations.observe(waited);
            }
        }
    }

    /// Has places taken that are free: by those who have waited longest, here or in another reactor.
    pub(super) fn serve_queues(&mut self) {
        let Some(mut round) = self.due_places.take() else {
            return;
        };
        round.sort_unstable_by_key(|key| key.index());
        round.dedup();
        for tenant in &round {
            self.serve_queue(*tenant);
        }
        self.due_places.give_back(round);
    }

    fn serve_queue(&mut self, key: Key) {
        for _ in 0..SERVED_PER_TURN {
            let Some(tenant) = self.tenants.get_mut(key) else {
                return;
            };
            let Some(longest) = tenant.service.live.longest_queued() else {
                return;
            };
            if !tenant.active.has_room(self.index) {
                return;
            }
            if longest != self.index {
                if let Some(mark) = tenant.service.live.marks.reactors.get(longest) {
                    mark.ring();
                }
                return;
            }
            let clients = &self.clients;
            let Some(client) = tenant
                .queue
                .take(|key| clients.get(key).is_some_and(Client::waits_for_place))
            else {
                // Of another tenant of the service.
                return;
            };
            self.publish_queue(key);
            self.find_backend(client);
        }
        self.due_places.push(key);
    }

    /// Gives warm connections up for those who wait for a place, here or elsewhere; one for each.
    pub(super) fn follow_limits(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get(key).filter(|tenant| tenant.is_anybody_queued()) else {
            return;
        };
        let mut wanted = tenant.service.live.queued();
        for pool in tenant.members.clone() {
            while wanted > 0 {
                let Some(pool) = self.pools.get_mut(pool).filter(|pool| is_limited(pool)) else {
                    break;
                };
                let Some(oldest) = pool.remove_oldest() else { break };
                wanted -= 1;
                drop(self.remove_upstream(oldest));
            }
        }
    }

    /// Whether any reactor holds warm connections that have places, or the prober.
    fn is_anything_about_to_be_free(&self, tenant: Key) -> bool {
        self.limited(tenant)
            .any(|backend| backend.has_warm() || backend.is_probed())
    }

    /// Rings the reactors that hold warm connections which have places.
    fn ask_for_warm(&self, key: Key) {
        let Some(tenant) = self.tenants.get(key) else {
            return;
        };
        for backend in self.limited(key) {
            for (share, mark) in backend.shares.iter().zip(&tenant.service.live.marks.reactors) {
                if share.warm.load(Ordering::Relaxed) > 0 {
                    mark.ring();
                }
            }
        }
    }

    /// The members of a tenant's set that have a limit.
    fn limited(&self, tenant: Key) -> impl Iterator<Item = &Arc<Backend>> {
        let members = self.tenants.get(tenant).into_iter();
        let members = members.flat_map(|tenant| &tenant.active.backends);
        members.filter(|backend| backend.max_connections().is_some())
    }

    /// Tells the other reactors since when somebody waits in this one.
    fn publish_queue(&self, key: Key) {
        let Some(tenant) = self.tenants.get(key) else {
            return;
        };
        let traffic = tenant.traffic(self.index);
        traffic
            .queued
            .set(u64::try_from(tenant.queue.waiting()).unwrap_or(u64::MAX));
        let head = tenant.queue.head().map_or(0, |stamp| stamp + 1);
        traffic.queue_head.store(head, Ordering::SeqCst);
    }

    /// Now, as all reactors count.
    fn stamp(&self) -> u64 {
        let since = self.time.clock().saturating_duration_since(self.hub.started_at);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX - 1)
    }
}

fn is_limited(pool: &Pool<Key>) -> bool {
    pool.backend.max_connections().is_some()
}
