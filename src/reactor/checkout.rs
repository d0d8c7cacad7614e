//! Which connection to a backend a client gets: a warm one, or a dial of its own.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use log::{debug, trace};

use super::relays::upstream_token;
use super::slots::Key;
use super::upstreams::{KEEPALIVE_AFTER, State, Upstream};
use super::{Link, Reactor, Trust};
use crate::config::Rescue;
use crate::net;
use crate::pools::warm::{Pool, SHORTEST_LIFE};
use crate::relay::Peer;
use crate::relay::close::{CloseReason, Ending};
use crate::relay::readiness::Readiness;

impl Reactor {
    /// Finds a backend for a connection: a warm one, or a dial; ends it when `dial_attempts` are used up.
    pub(super) fn find_backend(&mut self, key: Key) {
        let mut without_port = Vec::new();
        self.find_backend_with_port(key, &mut without_port);
        if !without_port.is_empty()
            && let Some(connection) = self.connections.get_mut(key)
        {
            // No failure of theirs: passed over this time only.
            connection.failed.retain(|addr| !without_port.contains(addr));
        }
    }

    /// The same; those that were passed over for want of a local port are among the failed of the connection until
    /// the caller takes them out again.
    fn find_backend_with_port(&mut self, key: Key, without_port: &mut Vec<SocketAddr>) {
        loop {
            let Some(connection) = self.connections.get(key) else {
                return;
            };
            let may_try = connection.failed.len() < self.shared.pools.dial_attempts as usize;
            let choice = if may_try {
                let (balancer, clock) = (&self.shared.balancer, self.time.clock());
                balancer.choose(&self.active, &connection.failed, &mut self.rng, clock)
            } else {
                None
            };
            let Some(pool_key) = choice.and_then(|index| self.members.get(index)).copied() else {
                if without_port.is_empty() {
                    return self.close(key, Ending::quiet(CloseReason::DialFailed));
                }
                return self.wait_for_socket(key, "no local port is free towards the backends");
            };
            let trust = connection.trust;
            let (client, failed) = (connection.relay.client_addr, connection.failed.len());
            if trust == Trust::AfterALook {
                self.drop_dead(pool_key);
            }
            let Some(pool) = self.pools.get_mut(pool_key) else {
                return;
            };
            trace!(
                target: "tcp_forwarder::loadbalancer",
                client:% = client, backend:% = pool.backend.addr, failed;
                "backend chosen"
            );
            pool.join();
            let warm = match trust {
                Trust::Full | Trust::AfterALook => pool.checkout(),
                Trust::None => None,
            };
            if trust == Trust::Full {
                pool.count_request(warm);
            }
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
                Err(error) => {
                    let addr = self.client_dial_failed(key, pool_key, self.now, &error);
                    without_port.extend(addr.filter(|_| net::is_out_of_ports(&error)));
                }
            }
        }
    }

    /// No descriptor is left to dial with, for whichever backend: the client waits, as it would have at the
    /// listener a moment ago.
    fn put_off(&mut self, client: Key, pool_key: Key, error: &io::Error) {
        self.count_failed_dial(pool_key, self.now, error);
        self.leave_pool(pool_key);
        if let Some(connection) = self.connections.get_mut(client) {
            connection.pool = None;
        }
        self.wait_for_socket(client, &error.to_string());
    }

    /// A client that has no backend waits until descriptors or ports may be free again.
    fn wait_for_socket(&mut self, client: Key, why: &str) {
        self.connection_timers
            .set(client.index(), self.now + super::listener::PAUSE);
        self.pause_behind_waiters(why);
    }

    /// A client that had to wait for a descriptor or a port tries again; not for longer than it may be idle.
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
                .is_some_and(|upstream| !upstream.peer.is_dead())
            {
                return;
            }
            self.warm_died(newest);
        }
    }

    /// Puts a relay's bytes on an established connection.
    pub(super) fn attach(&mut self, key: Key, upstream_key: Key) {
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
        if was_warm {
            // A rescue is one of the attempts, and another one must be left for the dial.
            let may_try_twice = connection.failed.len() + 1 < self.shared.pools.dial_attempts as usize;
            let rescue = if may_try_twice {
                self.shared.pools.rescue
            } else {
                Rescue::Off
            };
            connection.relay.begin_on_warm(rescue);
        }
        connection.relay.last_activity = self.now;
        let is_first_replacement = connection.trust != Trust::Full && !connection.is_rescued;
        connection.is_rescued |= is_first_replacement;
        let is_late = self.now.saturating_duration_since(connection.relay.accepted_at) >= KEEPALIVE_AFTER;
        let pending = connection.relay.has_more_to_say() || upstream.peer.ready.is_readable();
        if is_first_replacement {
            self.counters().rescued.add(1);
        }
        if is_late {
            // Its own first look is over. Should the connection be gone, the relay finds out by itself.
            self.keep_alive(upstream_key);
        }
        if pending {
            self.drive(key);
        }
    }

    /// The warm connection that a client got was closed by the backend before anything was exchanged on it.
    pub(super) fn replace_stale(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.relay.forget_stale();
        connection.trust = Trust::AfterALook;
        self.detach(key);
        self.find_backend(key);
    }

    /// The warm connection that a client got died under its first flight, which goes to another backend if there
    /// is one, by a dial: no other warm connection deserves more trust.
    pub(super) fn rescue(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.relay.say_again();
        connection.trust = Trust::None;
        let (upstream, backend) = self.detach(key);
        if let Some(upstream) = upstream {
            // What is still on its way there is not to be heard twice.
            net::reset_on_close(&upstream.peer.stream);
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.failed.extend(backend);
        debug!(
            target: "tcp_forwarder::relay",
            client:% = connection.relay.client_addr,
            backend:% = backend.map_or_else(|| "none".to_owned(), |addr| addr.to_string());
            "warm connection died under the first flight"
        );
        self.find_backend(key);
    }

    /// Takes a client off its connection to a backend: that connection, and the backend's address.
    fn detach(&mut self, key: Key) -> (Option<Upstream>, Option<SocketAddr>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return (None, None);
        };
        let link = std::mem::replace(&mut connection.link, Link::None);
        let pool = connection.pool.take();
        let upstream = match link {
            Link::Attached(upstream) => self.remove_upstream(upstream),
            Link::Dialling(_) | Link::None => None,
        };
        (upstream, pool.and_then(|pool| self.leave_pool(pool)))
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

    pub(super) fn drop_empty_pool(&mut self, key: Key) {
        let is_done = |pool: &Pool<Key>| {
            pool.retired_at.is_some() && pool.in_use() == 0 && pool.warm_count() == 0 && pool.dialling() == 0
        };
        if self.pools.get(key).is_some_and(is_done) {
            self.pools.remove(key);
        }
    }

    /// Begins a dial for a client, or for the pool.
    pub(super) fn dial(&mut self, pool_key: Key, client: Option<Key>) -> io::Result<Key> {
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
            is_kept_alive: false,
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

    /// Closes a warm connection where there are most of them, for want of a descriptor; false if there is none.
    pub(super) fn give_up_one_warm(&mut self) -> bool {
        let warmest = self
            .pools
            .keys()
            .max_by_key(|key| self.pools.get(*key).map(Pool::warm_count));
        let oldest = warmest
            .and_then(|key| self.pools.get_mut(key))
            .and_then(Pool::remove_oldest);
        oldest.and_then(|key| self.remove_upstream(key)).is_some()
    }

    /// Notes that a dial for a client failed, and of which backend; the caller tries the next one.
    pub(super) fn client_dial_failed(
        &mut self,
        client: Key,
        pool_key: Key,
        since: Instant,
        error: &io::Error,
    ) -> Option<SocketAddr> {
        self.count_failed_dial(pool_key, since, error);
        let addr = self.leave_pool(pool_key);
        if let Some(connection) = self.connections.get_mut(client) {
            connection.link = Link::None;
            connection.pool = None;
            connection.failed.extend(addr);
        }
        addr
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
}
