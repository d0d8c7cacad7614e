//! Connections to backends: dialling, warm, in use; and which of them a client gets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, warn};

use super::relays::upstream_token;
use super::slots::Key;
use super::{BURST_GAP, Link, Reactor, Signal};
use crate::metrics::counters::{CloseReason, ErrorKind};
use crate::net::{self, ConnectState};
use crate::pools::sizing;
use crate::pools::warm::{Pool, SHORTEST_LIFE};
use crate::relay::close::Ending;
use crate::relay::pump::{Closure, Readiness};
use crate::relay::{self, Peer};
use crate::scorer::{Outcome, Sample, Source};

/// Dials for one pool that one reactor has under way at once.
const MAX_REFILLS: u32 = 64;

/// A connection to a backend.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) peer: Peer,
    pool: Key,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// For a client, or (`None`) for the pool.
    Dialling {
        client: Option<Key>,
        since: Instant,
    },
    Warm {
        since: Instant,
    },
    InUse {
        connection: Key,
    },
}

impl Reactor {
    /// Finds a backend for a connection: a warm one, or a dial; ends it when `dial_attempts` are used up.
    pub(super) fn find_backend(&mut self, key: Key) {
        loop {
            let Some(connection) = self.connections.get(key) else {
                return;
            };
            if connection.failed.len() >= self.shared.pools.dial_attempts as usize {
                return self.close(key, Ending::quiet(CloseReason::DialFailed));
            }
            let choice =
                self.shared
                    .balancer
                    .choose(&self.active, &connection.failed, &mut self.rng, self.now);
            let Some(pool_key) = choice.and_then(|index| self.members.get(index)).copied() else {
                return self.close(key, Ending::quiet(CloseReason::DialFailed));
            };
            let distrusts_warm = connection.distrusts_warm;
            if distrusts_warm {
                self.drop_dead(pool_key);
            }
            let Some(pool) = self.pools.get_mut(pool_key) else {
                return;
            };
            pool.join();
            let warm = pool.checkout();
            self.refill_due = true;
            if let Some(connection) = self.connections.get_mut(key) {
                connection.pool = Some(pool_key);
            }
            if let Some(upstream) = warm {
                return self.attach(key, upstream);
            }
            match self.dial(pool_key, Some(key)) {
                Ok(upstream) => {
                    if let Some(connection) = self.connections.get_mut(key) {
                        connection.link = Link::Dialling(upstream);
                    }
                    return;
                }
                Err(error) if net::is_exhausted(&error) => return self.put_off(key, pool_key, &error),
                Err(error) => self.client_dial_failed(key, pool_key, &error),
            }
        }
    }

    /// No descriptor is left to dial with, for whichever backend: the client waits, as it would have at the
    /// listener a moment ago.
    fn put_off(&mut self, client: Key, pool_key: Key, error: &io::Error) {
        self.count_failed_dial(pool_key, error);
        self.leave_pool(pool_key);
        if let Some(connection) = self.connections.get_mut(client) {
            connection.pool = None;
        }
        self.connection_timers
            .set(client.index(), self.now + super::listener::PAUSE);
    }

    /// A client that had to wait for a descriptor tries again; not for longer than it may be idle.
    pub(super) fn try_again(&mut self, client: Key, accepted_at: Instant) {
        let idle_timeout = self.shared.server.idle_timeout;
        if self.now.saturating_duration_since(accepted_at) >= idle_timeout {
            return self.close(client, Ending::quiet(CloseReason::DialFailed));
        }
        self.connection_timers
            .set(client.index(), self.now + idle_timeout);
        self.find_backend(client);
    }

    /// Drops the newest warm connections of a pool that are dead, down to the first live one.
    fn drop_dead(&mut self, pool: Key) {
        while let Some(newest) = self.pools.get(pool).and_then(Pool::newest) {
            if self
                .upstreams
                .get(newest)
                .is_some_and(|upstream| !relay::is_dead(&upstream.peer.stream))
            {
                return;
            }
            self.warm_died(newest);
        }
    }

    /// Puts a relay's bytes on an established connection.
    fn attach(&mut self, key: Key, upstream_key: Key) {
        let Some(upstream) = self.upstreams.get_mut(upstream_key) else {
            return;
        };
        let was_warm = match upstream.state {
            State::Warm { since } => {
                if self.now.saturating_duration_since(since) >= SHORTEST_LIFE
                    && let Some(pool) = self.pools.get_mut(upstream.pool)
                {
                    pool.proved();
                }
                true
            }
            State::Dialling { .. } | State::InUse { .. } => false,
        };
        upstream.state = State::InUse { connection: key };
        self.upstream_timers.clear(upstream_key.index());
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.link = Link::Attached(upstream_key);
        connection.relay.untouched = was_warm;
        connection.relay.last_activity = self.now;
        let pending = connection.relay.client.ready.is_readable() || upstream.peer.ready.is_readable();
        if pending {
            self.drive(key);
        }
    }

    /// The warm connection that a client got was closed by the backend before anything was exchanged on it.
    pub(super) fn replace_stale(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let link = std::mem::replace(&mut connection.link, Link::None);
        let pool = connection.pool.take();
        connection.relay.untouched = false;
        connection.distrusts_warm = true;
        if let Link::Attached(upstream) = link {
            self.remove_upstream(upstream);
        }
        if let Some(pool) = pool {
            self.leave_pool(pool);
        }
        self.find_backend(key);
    }

    /// A relay has left its backend; the backend's address.
    pub(super) fn leave_pool(&mut self, key: Key) -> Option<SocketAddr> {
        let pool = self.pools.get_mut(key)?;
        pool.leave();
        self.refill_due = true;
        let addr = pool.backend.addr;
        self.drop_empty_pool(key);
        Some(addr)
    }

    fn drop_empty_pool(&mut self, key: Key) {
        let is_done = |pool: &Pool<Key>| {
            pool.retired_at.is_some() && pool.in_use() == 0 && pool.warm_count() == 0 && pool.dialling() == 0
        };
        if self.pools.get(key).is_some_and(is_done) {
            self.pools.remove(key);
        }
    }

    /// Begins a dial for a client, or for the pool.
    fn dial(&mut self, pool_key: Key, client: Option<Key>) -> io::Result<Key> {
        let Some(pool) = self.pools.get_mut(pool_key) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let stream = match net::begin_connect(pool.backend.addr) {
            // Descriptors ran out: a client is worth more than a warm connection.
            Err(error) if net::is_exhausted(&error) && client.is_some() && self.give_up_one_warm() => {
                let Some(pool) = self.pools.get(pool_key) else {
                    return Err(error);
                };
                net::begin_connect(pool.backend.addr)?
            }
            other => other?,
        };
        let state = State::Dialling {
            client,
            since: self.now,
        };
        let upstream = Upstream {
            peer: Peer {
                stream,
                ready: Readiness::FRESH,
            },
            pool: pool_key,
            state,
        };
        let Ok(key) = self.upstreams.insert(upstream) else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        self.counters().upstreams.add(1);
        let registered = match self.upstreams.get_mut(key) {
            Some(upstream) => {
                self.poll
                    .registry()
                    .register(&mut upstream.peer.stream, upstream_token(key), net::ALL_EVENTS)
            }
            None => Ok(()),
        };
        if let Err(error) = registered {
            self.remove_upstream(key);
            return Err(error);
        }
        self.upstream_timers
            .set(key.index(), self.now + self.shared.pools.dial_timeout);
        if client.is_none()
            && let Some(pool) = self.pools.get_mut(pool_key)
        {
            pool.dial_begun();
        }
        Ok(key)
    }

    fn give_up_one_warm(&mut self) -> bool {
        let warmest = self
            .pools
            .keys()
            .max_by_key(|key| self.pools.get(*key).map(Pool::warm_count));
        let oldest = warmest
            .and_then(|key| self.pools.get_mut(key))
            .and_then(Pool::remove_oldest);
        oldest.and_then(|key| self.remove_upstream(key)).is_some()
    }

    /// Takes a connection to a backend out of the books; dropping it closes it.
    pub(super) fn remove_upstream(&mut self, key: Key) -> Option<Upstream> {
        let upstream = self.upstreams.remove(key)?;
        self.upstream_timers.clear(key.index());
        self.counters().upstreams.sub(1);
        Some(upstream)
    }

    /// First pass over the events: connections to backends that no relay uses.
    pub(super) fn on_idle_upstream(&mut self, key: Key, signal: Signal) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        match upstream.state {
            State::InUse { .. } => {}
            State::Warm { .. } => {
                signal.apply(&mut upstream.peer.ready);
                // What the backend says first stays in the kernel for the client; unless it has also closed.
                if signal.closure > Closure::Open
                    || (signal.readable && relay::is_dead(&upstream.peer.stream))
                {
                    self.warm_died(key);
                }
            }
            State::Dialling { client, since } => match net::connect_state(&upstream.peer.stream) {
                ConnectState::Pending => {}
                ConnectState::Established => {
                    signal.apply(&mut upstream.peer.ready);
                    self.dial_succeeded(key, client, since);
                }
                ConnectState::Failed(error) => self.dial_failed(key, client, &error),
            },
        }
    }

    /// Second pass: connections to backends that a relay uses.
    pub(super) fn on_backend(&mut self, key: Key, signal: Signal) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        if let State::InUse { connection } = upstream.state {
            signal.apply(&mut upstream.peer.ready);
            self.drive(connection);
        }
    }

    fn dial_succeeded(&mut self, key: Key, client: Option<Key>, since: Instant) {
        // A turn that came late is not the backend's fault.
        let latency = self.now.saturating_duration_since(since);
        let latency = latency.min(self.shared.pools.dial_timeout);
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let keepalive = net::prepare_dialled(&upstream.peer.stream, &self.shared.server.keepalive);
        let pool_key = upstream.pool;
        let Some(pool) = self.pools.get_mut(pool_key) else {
            self.remove_upstream(key);
            return;
        };
        if let Err(error) = keepalive {
            return self.dial_failed(key, client, &error);
        }
        pool.backend.dial_succeeded();
        pool.backend.dial_durations.observe(latency);
        let addr = pool.backend.addr;
        let source = Source::Dial;
        self.shared.samples.push(Sample {
            addr,
            outcome: Outcome::Success(latency),
            source,
            at: self.now,
        });
        if let Some(client) = client {
            return self.attach(client, key);
        }
        pool.dial_ended();
        if pool.retired_at.is_some() || self.drain.is_some() {
            self.remove_upstream(key);
            return self.drop_empty_pool(pool_key);
        }
        pool.add(key);
        upstream.state = State::Warm { since: self.now };
        if upstream.peer.ready.is_read_closed() {
            // Closed as soon as it was accepted: one event told both, and no other will come.
            return self.warm_died(key);
        }
        // Not all at once when they were dialled at once: each lives 90 to 100 % of the limit.
        let life = self.shared.pools.idle_timeout.mul_f64(1.0 - 0.1 * self.rng.f64());
        self.upstream_timers.set(key.index(), self.now + life);
        self.refill_due = true;
    }

    fn dial_failed(&mut self, key: Key, client: Option<Key>, error: &io::Error) {
        let Some(upstream) = self.remove_upstream(key) else {
            return;
        };
        if let Some(client) = client {
            self.client_dial_failed(client, upstream.pool, error);
            return self.find_backend(client);
        }
        self.count_failed_dial(upstream.pool, error);
        if let Some(pool) = self.pools.get_mut(upstream.pool) {
            pool.dial_ended();
            pool.refused(self.now, &mut self.rng);
        }
        self.refill_due = true;
        self.drop_empty_pool(upstream.pool);
    }

    /// Notes that a dial for a client failed; the caller tries the next backend.
    fn client_dial_failed(&mut self, client: Key, pool_key: Key, error: &io::Error) {
        self.count_failed_dial(pool_key, error);
        let addr = self.leave_pool(pool_key);
        if let Some(connection) = self.connections.get_mut(client) {
            connection.link = Link::None;
            connection.pool = None;
            connection.failed.extend(addr);
        }
    }

    fn count_failed_dial(&mut self, pool: Key, error: &io::Error) {
        let Some(pool) = self.pools.get(pool) else { return };
        let addr = pool.backend.addr;
        if net::is_exhausted(error) || net::is_out_of_ports(error) {
            // Our own shortage tells nothing about the backend.
            let last = self.shortage_at.replace(self.now);
            if last.is_none_or(|last| self.now.saturating_duration_since(last) > BURST_GAP) {
                warn!(target: "tcp_forwarder::pools", "no socket for a dial: {error}");
            }
        } else {
            pool.backend.dial_failed();
            let source = Source::Dial;
            self.shared.samples.push(Sample {
                addr,
                outcome: Outcome::Failure,
                source,
                at: self.now,
            });
            debug!(target: "tcp_forwarder::pools", backend:% = addr; "dial failed: {error}");
        }
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        self.counters().count_error(if timed_out {
            ErrorKind::DialTimeout
        } else {
            ErrorKind::Dial
        });
    }

    /// The client of a dial has gone: what it ordered becomes a warm connection.
    pub(super) fn orphan_dial(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        if let State::Dialling { client, .. } = &mut upstream.state {
            *client = None;
            if let Some(pool) = self.pools.get_mut(upstream.pool) {
                pool.dial_begun();
            }
        }
    }

    fn warm_died(&mut self, key: Key) {
        let Some(upstream) = self.remove_upstream(key) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(upstream.pool) else {
            return;
        };
        pool.remove(key);
        match upstream.state {
            State::Warm { since } if self.now.saturating_duration_since(since) < SHORTEST_LIFE => {
                pool.refused(self.now, &mut self.rng);
            }
            State::Warm { .. } | State::Dialling { .. } | State::InUse { .. } => pool.proved(),
        }
        self.refill_due = true;
        self.drop_empty_pool(upstream.pool);
    }

    /// A dial took too long, or a warm connection has grown old.
    pub(super) fn on_upstream_deadline(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get(key) else {
            return;
        };
        match upstream.state {
            // When this reactor is late, the answer may be here already, its event still in the queue.
            State::Dialling { client, since } => match net::connect_state(&upstream.peer.stream) {
                ConnectState::Established => self.dial_succeeded(key, client, since),
                ConnectState::Pending => self.dial_failed(key, client, &io::ErrorKind::TimedOut.into()),
                ConnectState::Failed(error) => self.dial_failed(key, client, &error),
            },
            State::Warm { .. } => self.warm_died(key),
            State::InUse { .. } => {}
        }
    }

    /// Brings every pool to its size: dials what is missing, gives up what is too much.
    pub(super) fn refill(&mut self) {
        let due = self.refill_due || self.refill_at.is_some_and(|at| at <= self.now);
        if !due {
            return;
        }
        self.refill_due = false;
        self.refill_at = None;
        if self.drain.is_some() {
            return;
        }
        for place in 0..self.members.len() {
            if let Some(pool) = self.members.get(place).copied() {
                self.trim(pool);
                self.top_up(pool);
            }
        }
        self.cut_removed();
    }

    fn trim(&mut self, key: Key) {
        while let Some(pool) = self.pools.get_mut(key) {
            let Some(share) = pool.share() else { return };
            if sizing::surplus(&self.shared.pools.strategy, share) == 0 {
                return;
            }
            match pool.remove_oldest() {
                Some(oldest) => drop(self.remove_upstream(oldest)),
                None => return,
            }
        }
    }

    fn top_up(&mut self, key: Key) {
        let mut room = self.shared.limits.pool_ceiling.saturating_sub(self.sockets());
        while let Some(pool) = self.pools.get_mut(key) {
            let Some(share) = pool.share() else { return };
            let missing = sizing::shortfall(&self.shared.pools.strategy, share);
            if missing == 0 || pool.dialling() >= MAX_REFILLS {
                return;
            }
            let paused = pool.retry_at(self.now);
            if room == 0 || paused.is_some() {
                // Descriptors come back without an event of this reactor: look again before long.
                let again = paused.unwrap_or(self.now + Duration::from_secs(1));
                self.refill_at = Some(self.refill_at.map_or(again, |at| at.min(again)));
                return;
            }
            room -= 1;
            if let Err(error) = self.dial(key, None) {
                self.count_failed_dial(key, &error);
                if let Some(pool) = self.pools.get_mut(key) {
                    pool.refused(self.now, &mut self.rng);
                }
            }
        }
    }

    /// Follows the active set: pools for new members, none for those that left.
    pub(super) fn adopt_active_set(&mut self) {
        let set = self.active.shared();
        let mut members = Vec::with_capacity(set.backends.len());
        for backend in &set.backends {
            let known = self.pools.keys().find(|key| {
                self.pools
                    .get(*key)
                    .is_some_and(|pool| Arc::ptr_eq(&pool.backend, backend))
            });
            let key = known.or_else(|| self.pools.insert(Pool::new(Arc::clone(backend), self.index)).ok());
            if let Some(pool) = key.and_then(|key| self.pools.get_mut(key)) {
                pool.retired_at = None;
            }
            members.extend(key);
        }
        let left: Vec<Key> = self.pools.keys().filter(|key| !members.contains(key)).collect();
        self.members = members;
        for key in left {
            if let Some(pool) = self.pools.get_mut(key) {
                pool.retired_at.get_or_insert(self.now);
            }
            self.close_warm(key);
        }
        self.refill_due = true;
    }

    /// Closes the warm connections of a pool and forgets its dials.
    pub(super) fn close_warm(&mut self, key: Key) {
        while let Some(oldest) = self.pools.get_mut(key).and_then(Pool::remove_oldest) {
            self.remove_upstream(oldest);
        }
        self.drop_empty_pool(key);
    }

    /// With `reset_on_removal`: ends the relays of backends that left `drain_timeout` ago.
    fn cut_removed(&mut self) {
        if !self.shared.pools.reset_on_removal {
            return;
        }
        let retired: Vec<(Key, Instant)> = self
            .pools
            .keys()
            .filter_map(|key| {
                Some((
                    key,
                    self.pools.get(key)?.retired_at? + self.shared.pools.drain_timeout,
                ))
            })
            .collect();
        for (pool, until) in retired {
            if until <= self.now {
                for key in Self::connections_of(&self.connections, pool) {
                    self.close(key, Ending::quiet(CloseReason::BackendRemoved));
                }
            } else {
                self.refill_at = Some(self.refill_at.map_or(until, |at| at.min(until)));
            }
        }
    }
}
