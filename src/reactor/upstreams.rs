//! Connections to backends: dialling, warm, in use; their events and deadlines.

use std::io;
use std::time::{Duration, Instant};

use log::{debug, warn};

use super::slots::Key;
use super::{Reactor, Signal};
use crate::metrics::counters::ErrorKind;
use crate::net::{self, ConnectState};
use crate::pools::warm::SHORTEST_LIFE;
use crate::relay::Peer;
use crate::relay::readiness::Closure;
use crate::scorer::{Outcome, Sample, Source};

/// Age at which a connection to a backend gets keep-alive. It counts silence from the last packet, so nothing is
/// lost by waiting; and most connections are gone by then, which saves four system calls for each.
pub(super) const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);

/// A connection to a backend.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) peer: Peer,
    pub(super) pool: Key,
    pub(super) state: State,
    /// Whether keep-alive is on; see [`KEEPALIVE_AFTER`].
    pub(super) is_kept_alive: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum State {
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
                if signal.closure > Closure::Open || (signal.readable && upstream.peer.is_dead()) {
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
        let is_measured = !self.time.stood_still_since(since);
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let prepared = net::prepare_dialled(&upstream.peer.stream);
        let pool_key = upstream.pool;
        let Some(pool) = self.pools.get_mut(pool_key) else {
            self.remove_upstream(key);
            return;
        };
        if let Err(error) = prepared {
            return self.dial_failed(key, client, &error);
        }
        if is_measured {
            pool.backend.dial_durations.observe(latency);
            self.shared.samples.push(Sample {
                addr: pool.backend.addr,
                outcome: Outcome::Success(latency),
                source: Source::Dial,
                began_at: self.time.to_clock(since),
                at: self.time.clock(),
            });
        }
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
        let first_look = KEEPALIVE_AFTER.min(self.shared.pools.idle_timeout);
        self.upstream_timers.set(key.index(), self.now + first_look);
        self.refill_due = true;
    }

    fn dial_failed(&mut self, key: Key, client: Option<Key>, error: &io::Error) {
        let Some(upstream) = self.remove_upstream(key) else {
            return;
        };
        let since = match upstream.state {
            State::Dialling { since, .. } => since,
            State::Warm { .. } | State::InUse { .. } => self.now,
        };
        if let Some(client) = client {
            self.client_dial_failed(client, upstream.pool, since, error);
            return self.find_backend(client);
        }
        self.count_failed_dial(upstream.pool, since, error);
        if let Some(pool) = self.pools.get_mut(upstream.pool) {
            pool.dial_ended();
            pool.refused(self.now, &mut self.rng);
        }
        self.refill_due = true;
        self.drop_empty_pool(upstream.pool);
    }

    /// Counts a dial that began at `since`, and tells the scorer unless it was our own shortage.
    pub(super) fn count_failed_dial(&mut self, pool: Key, since: Instant, error: &io::Error) {
        let Some(pool) = self.pools.get(pool) else { return };
        let addr = pool.backend.addr;
        if net::is_exhausted(error) || net::is_out_of_ports(error) {
            // Our own shortage tells nothing about the backend.
            if self.shared.shortages.begins(self.time.clock()) {
                warn!(target: "tcp_forwarder::pools", "no socket for a dial: {error}");
            }
        } else {
            let source = Source::Dial;
            self.shared.samples.push(Sample {
                addr,
                outcome: Outcome::of(error),
                source,
                began_at: self.time.to_clock(since),
                at: self.time.clock(),
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

    pub(super) fn warm_died(&mut self, key: Key) {
        let Some(upstream) = self.drop_warm(key) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(upstream.pool) else {
            return;
        };
        match upstream.state {
            State::Warm { since } if self.now.saturating_duration_since(since) < SHORTEST_LIFE => {
                pool.refused(self.now, &mut self.rng);
            }
            State::Warm { .. } | State::Dialling { .. } | State::InUse { .. } => pool.proved(),
        }
        self.drop_empty_pool(upstream.pool);
    }

    /// A warm connection has grown old, however short that is: no fault of the backend.
    fn warm_expired(&mut self, key: Key) {
        if let Some(upstream) = self.drop_warm(key) {
            self.drop_empty_pool(upstream.pool);
        }
    }

    /// Closes a warm connection; the caller looks whether its pool is empty then.
    fn drop_warm(&mut self, key: Key) -> Option<Upstream> {
        let upstream = self.remove_upstream(key)?;
        self.pools.get_mut(upstream.pool)?.remove(key);
        self.refill_due = true;
        Some(upstream)
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
            State::Warm { since } => self.on_warm_deadline(key, since),
            State::InUse { .. } => {}
        }
    }

    /// A warm connection has stood the first seconds, or has grown old.
    fn on_warm_deadline(&mut self, key: Key, since: Instant) {
        // Not all at once when they were dialled at once: each lives 90 to 100 % of the limit.
        let life = self.shared.pools.idle_timeout.mul_f64(1.0 - 0.1 * self.rng.f64());
        let is_first_look = self
            .upstreams
            .get(key)
            .is_some_and(|upstream| !upstream.is_kept_alive);
        if is_first_look && since + life > self.now && self.keep_alive(key) {
            self.upstream_timers.set(key.index(), since + life);
        } else {
            self.warm_expired(key);
        }
    }

    /// Turns on keep-alive for a connection that has none yet; false if the connection is gone.
    pub(super) fn keep_alive(&mut self, key: Key) -> bool {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return false;
        };
        if upstream.is_kept_alive {
            return true;
        }
        upstream.is_kept_alive = true;
        net::keep_alive(&upstream.peer.stream, &self.shared.server.keepalive).is_ok()
    }
}
