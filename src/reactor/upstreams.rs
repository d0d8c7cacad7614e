//! Connections to backends: dialling, warm, in use; their events and deadlines.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::{debug, warn};

use super::clients::unload;
use super::core::Reactor;
use super::signal::Signal;
use super::tenant::Tenant;
use super::upstream::{KEEPALIVE_AFTER, State, Upstream};
use crate::base::slots::Key;
use crate::config::Spec;
use crate::net::{self, ConnectState};
use crate::pools::warm::{Pool, SHORTEST_LIFE};
use crate::relay::readiness::Closure;
use crate::scorer::link::Phase;
use crate::scorer::{Heard, Outcome, Sample, Source};
use crate::service::Candidate;
use crate::service::traffic::ErrorKind;

/// What need not be exact about the life of a warm connection, as a share of the longest.
const GRAINS_PER_LIFE: u32 = 64;

/// What need not be exact about the first look at a warm connection.
const FIRST_LOOK_GRAIN: Duration = Duration::from_secs(1);

impl Reactor {
    /// Takes a connection to a backend out of the books; dropping it closes it.
    pub(super) fn remove_upstream(&mut self, key: Key) -> Option<Upstream> {
        let mut upstream = self.upstreams.remove(key)?;
        if let State::Warm { .. } = upstream.state {
            upstream.peer.take_leave();
        }
        self.upstream_timers.clear(key.index());
        self.gauges().upstreams.sub(1);
        self.place_is_due(upstream.pool);
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
                upstream.peer.settle();
                // What the backend says first stays in the kernel for the client; unless it has also closed.
                if signal.closure > Closure::Open || (signal.readable && upstream.peer.is_dead()) {
                    self.warm_died(key);
                }
            }
            State::Dialling {
                connect_micros: Some(_),
                ..
            } => {
                signal.apply(&mut upstream.peer.ready);
                self.securing_is_due(key);
            }
            State::Dialling { client, since, .. } => match net::connect_state(upstream.peer.stream.wire()) {
                ConnectState::Pending => {}
                ConnectState::Established => {
                    signal.apply(&mut upstream.peer.ready);
                    self.connected(key, client, since);
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
        if let State::InUse { client, .. } = upstream.state {
            signal.apply(&mut upstream.peer.ready);
            self.drive(client);
            if signal.closure == Closure::Finished {
                self.unload_finished(key);
            }
        }
    }

    /// Its backend has finished it: all that it has said is here, though a client that reads nothing has not got it yet. Behind the
    /// turn that the event has given the relay, which mostly reads the end itself, or closes.
    fn unload_finished(&mut self, key: Key) {
        if let Some(upstream) = self.upstreams.get_mut(key)
            && let State::InUse { .. } = upstream.state
            && let Some(tenant) = unload(upstream, &mut self.pools)
        {
            self.due_places.push(tenant);
        }
    }

    /// A dial is connected: it is through, unless TLS is to be agreed on.
    fn connected(&mut self, key: Key, client: Option<Key>, since: Instant) {
        if self.origination(key).is_some() {
            return self.begin_securing(key);
        }
        self.dial_succeeded(key, client, since);
    }

    pub(super) fn dial_succeeded(&mut self, key: Key, client: Option<Key>, since: Instant) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let prepared = net::prepare_dialled(upstream.peer.stream.wire());
        let connect = connect_of(upstream.state);
        let pool_key = upstream.pool;
        if let Err(error) = prepared {
            return self.dial_failed(key, client, &error);
        }
        self.report_success(pool_key, since, connect);
        match client {
            Some(client) => {
                self.win(client, key);
                self.attach(client, key);
            }
            None => self.add_warm(key, pool_key),
        }
    }

    /// Tells the pool how long a dial took that succeeded, and the scorer how long its connect took: that is what it
    /// compares with those of probes.
    fn report_success(&mut self, pool: Key, since: Instant, connect: Option<Duration>) {
        let Some(pool) = self.pools.get_mut(pool) else {
            return;
        };
        pool.dial_answered();
        // What was measured while a turn stood still is worthless.
        if self.time.stood_still_since(since) {
            return;
        }
        let Some(tenant) = self.tenants.get(pool.tenant) else {
            return;
        };
        // A turn that came late is not the backend's fault.
        let took = self.now.saturating_duration_since(since);
        let latency = took.min(tenant.spec().pools.dial_timeout);
        if took == latency {
            pool.dial_times.add(took);
        }
        pool.backend.dial_durations.observe(latency);
        self.hub.samples.push(Sample {
            candidate: Candidate {
                service: tenant.service.live.id,
                addr: pool.backend.addr,
            },
            outcome: Outcome::Success(connect.map_or(latency, |connect| connect.min(latency))),
            heard: Heard::NotAsked,
            source: Source::Dial,
            began_at: self.time.to_clock(since),
            at: self.time.clock(),
        });
    }

    /// A connection that was dialled for its pool is warm now; unless that has retired meanwhile.
    fn add_warm(&mut self, key: Key, pool_key: Key) {
        let Some(pool) = self.pools.get_mut(pool_key) else {
            debug_assert!(false, "a pool stays as long as its dials");
            return;
        };
        pool.dial_ended();
        if pool.retired_at.is_some() {
            self.remove_upstream(key);
            return self.drop_pool_if_done(pool_key);
        }
        pool.add(key);
        self.place_is_due(pool_key);
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        upstream.state = State::Warm { since: self.now };
        upstream.peer.settle();
        if upstream.peer.ready.is_read_closed() || self.is_secured_otherwise(key) {
            // Closed as soon as it was accepted: one event told both, and no other will come.
            return self.warm_died(key);
        }
        let first_look = match self.longest_life(pool_key) {
            Some(life) if life <= KEEPALIVE_AFTER => self.now + life,
            Some(_) | None => self.on_grid(self.now + KEEPALIVE_AFTER, FIRST_LOOK_GRAIN),
        };
        self.upstream_timers.set(key.index(), first_look);
        self.pool_is_due(pool_key);
    }

    pub(super) fn dial_failed(&mut self, key: Key, client: Option<Key>, error: &io::Error) {
        let Some(upstream) = self.remove_upstream(key) else {
            return;
        };
        let since = match upstream.state {
            State::Dialling { since, .. } => since,
            State::Warm { .. } | State::InUse { .. } => self.now,
        };
        if let Some(client) = client {
            if self.lose(client, key, since, error) {
                return;
            }
            self.client_dial_failed(client, upstream.pool, since, error);
            return self.find_backend(client);
        }
        self.count_failed_dial(upstream.pool, since, error);
        if let Some(pool) = self.pools.get_mut(upstream.pool) {
            pool.dial_ended();
            pool.refused(self.now, &mut self.rng);
            pool.refills.refund();
        }
        self.pool_is_due(upstream.pool);
        self.drop_pool_if_done(upstream.pool);
    }

    /// Counts a dial that began at `since`, and tells the scorer unless it was our own shortage.
    pub(super) fn count_failed_dial(&mut self, pool: Key, since: Instant, error: &io::Error) {
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        let Some(pool) = self.pools.get_mut(pool) else {
            return;
        };
        if timed_out {
            pool.dial_timed_out();
        }
        let Some(tenant) = self.tenants.get(pool.tenant) else {
            return;
        };
        let addr = pool.backend.addr;
        if net::is_of_our_own(error) {
            // Our own shortage tells nothing about the backend.
            if self.bursts.shortages.begins(self.time.clock()) {
                warn!(target: "tcp_forwarder::pools", "no socket for a dial: {error}");
            }
        } else {
            self.hub.samples.push(Sample {
                candidate: Candidate {
                    service: tenant.service.live.id,
                    addr,
                },
                outcome: Outcome::of(error),
                heard: Heard::NotAsked,
                source: Source::Dial,
                began_at: self.time.to_clock(since),
                at: self.time.clock(),
            });
            let service = &tenant.service;
            debug!(
                target: "tcp_forwarder::pools", service = service.name.as_str(), backend:% = addr;
                "dial failed{}: {error}", service.live.name_behind(&addr)
            );
        }
        tenant.traffic(self.index).count_error(if timed_out {
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
        if let State::Warm { since } = upstream.state {
            self.note_closed(upstream.pool, since);
            self.report_if_early(upstream.pool, since);
        }
        self.drop_pool_if_done(upstream.pool);
    }

    /// A warm connection has grown old, however short that is: no fault of the backend.
    fn warm_expired(&mut self, key: Key) {
        let Some(upstream) = self.drop_warm(key) else {
            return;
        };
        if let (State::Warm { since }, Some(pool)) = (upstream.state, self.pools.get(upstream.pool))
            && let Some(share) = pool.share()
        {
            share.ages.spared_at(self.now.saturating_duration_since(since));
            if pool.backend.learned.shortened_life().is_some() {
                share.unused.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.drop_pool_if_done(upstream.pool);
    }

    /// The backend has closed a connection that was warm since then and was not used; unless it was our own link.
    pub(super) fn note_closed(&self, pool: Key, since: Instant) {
        let share = self.pools.get(pool).and_then(Pool::share);
        let age = self.now.saturating_duration_since(since);
        // What is closed at once was refused.
        if let Some(share) = share.filter(|_| age >= SHORTEST_LIFE && self.link.phase != Phase::Down) {
            share.ages.closed_at(age);
            share.unused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How old a warm connection of a pool may become.
    fn longest_life(&self, pool: Key) -> Option<Duration> {
        let fixed = self.spec_of_pool(pool)?.pools.idle_timeout;
        let learned = &self.pools.get(pool)?.backend.learned;
        Some(fixed.unwrap_or_else(|| learned.life()))
    }

    /// Closes a warm connection; the caller looks whether its pool is empty then.
    fn drop_warm(&mut self, key: Key) -> Option<Upstream> {
        let upstream = self.remove_upstream(key)?;
        self.pools.get_mut(upstream.pool)?.remove(key);
        self.pool_is_due(upstream.pool);
        Some(upstream)
    }

    /// A dial took too long, or a warm connection has grown old.
    pub(super) fn on_upstream_deadline(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get(key) else {
            return;
        };
        match upstream.state {
            // When this reactor is late, the answer may be here already, its event still in the queue.
            State::Dialling {
                connect_micros: Some(_),
                ..
            } => self.on_securing_deadline(key),
            State::Dialling { client, since, .. } => match net::connect_state(upstream.peer.stream.wire()) {
                ConnectState::Established => self.connected(key, client, since),
                ConnectState::Pending => self.dial_failed(key, client, &io::ErrorKind::TimedOut.into()),
                ConnectState::Failed(error) => self.dial_failed(key, client, &error),
            },
            State::Warm { since } => self.on_warm_deadline(key, since),
            State::InUse { .. } => {}
        }
    }

    /// A warm connection has stood the first seconds, or has grown old.
    fn on_warm_deadline(&mut self, key: Key, since: Instant) {
        let Some(upstream) = self.upstreams.get(key) else {
            return;
        };
        let is_first_look = !upstream.is_kept_alive;
        let Some(longest) = self.longest_life(upstream.pool) else {
            return;
        };
        // Not all at once when they were dialled at once: each lives 90 to 100 % of the limit, and a grain.
        let life = since + longest.mul_f64(1.0 - 0.1 * self.rng.f64());
        if is_first_look && life > self.now && self.keep_alive(key) {
            let until = self.on_grid(life, longest / GRAINS_PER_LIFE);
            self.upstream_timers.set(key.index(), until);
        } else {
            self.warm_expired(key);
        }
    }

    /// The spec under which the connections of a pool are held.
    pub(super) fn spec_of_pool(&self, pool: Key) -> Option<&Spec> {
        let pool = self.pools.get(pool)?;
        self.tenants.get(pool.tenant).map(Tenant::spec)
    }

    /// Turns on keep-alive for a connection that has none yet; false if the connection is gone.
    pub(super) fn keep_alive(&mut self, key: Key) -> bool {
        let Some(upstream) = self.upstreams.get(key) else {
            return false;
        };
        if upstream.is_kept_alive {
            return true;
        }
        let Some(spec) = self.spec_of_pool(upstream.pool) else {
            return false;
        };
        let is_alive = net::keep_alive(upstream.peer.stream.wire(), &spec.server.keepalive).is_ok();
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.is_kept_alive = true;
        }
        is_alive
    }
}

/// How long the connect of a dial took that had a handshake behind it.
fn connect_of(state: State) -> Option<Duration> {
    match state {
        State::Dialling { connect_micros, .. } => {
            connect_micros.map(|micros| Duration::from_micros(u64::from(micros.get())))
        }
        State::Warm { .. } | State::InUse { .. } => None,
    }
}
