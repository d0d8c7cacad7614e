//! Which connection to a backend a client gets: a warm one, or a dial of its own.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use log::{debug, trace};
use mio::net::TcpStream;

use super::client::{Attachment, Client, Stage, Trust, Wait};
use super::core::Reactor;
use super::listener::PAUSE;
use super::tenant::{Standing, Tenant};
use super::token;
use super::upstream::{KEEPALIVE_AFTER, State, Upstream};
use crate::access_log::Via;
use crate::backend::Place;
use crate::base::slots::Key;
use crate::config::{ProxySend, Rescue};
use crate::loadbalancer::Seeker;
use crate::net;
use crate::pools::warm::{Pool, SHORTEST_LIFE};
use crate::preface::proxy::{self, Endpoints, Facts};
use crate::relay::bulk::Stretch;
use crate::relay::close::{CloseReason, Ending};
use crate::relay::readiness::Readiness;
use crate::relay::{Peer, Replaceable};

/// Places that others may take from a client before it waits for one.
const PLACES_LOST: u32 = 3;

/// What the balancer says to a client.
pub(super) enum Choice {
    /// This pool.
    Pool(Key),
    /// All of its tries are used up.
    Nobody,
    /// There is no active set yet.
    NoSet,
    /// All backends are full, or others wait for a place already.
    Full,
}

/// What a client gets of a pool.
enum Got {
    /// A warm connection.
    Warm(Key),
    /// A place for a dial of its own.
    Place(Place),
    /// Nothing: another reactor has just taken the last place.
    Nothing,
}

impl Reactor {
    /// Finds a backend for a client: a warm connection, or a dial; ends it when `dial_attempts` are used up.
    pub(super) fn find_backend(&mut self, key: Key) {
        let mut without_port = Vec::new();
        self.find_backend_with_port(key, &mut without_port);
        if !without_port.is_empty()
            && let Some(client) = self.clients.get_mut(key)
        {
            // No failure of theirs: passed over this time only.
            client.search().failed.retain(|addr| !without_port.contains(addr));
        }
    }

    /// The same; those that were passed over for want of a local port are among the failed of the client until
    /// the caller takes them out again.
    fn find_backend_with_port(&mut self, key: Key, without_port: &mut Vec<SocketAddr>) {
        let mut lost = 0;
        loop {
            self.wait(key, Wait::Nothing);
            let pool_key = match self.choose(key) {
                Some(Choice::Pool(pool_key)) => pool_key,
                Some(Choice::Nobody) if without_port.is_empty() => {
                    return self.close(key, Ending::quiet(CloseReason::DialFailed));
                }
                Some(Choice::Nobody) => {
                    return self.wait_for_socket(key, "no local port is free towards the backends");
                }
                Some(Choice::NoSet) => return self.wait_for_set(key),
                Some(Choice::Full) => return self.wait_for_place(key),
                None => return,
            };
            let place = match self.check_out(key, pool_key) {
                Got::Warm(warm) => return self.attach(key, warm),
                Got::Place(place) => place,
                // Others were faster; or it has a limit that the set here does not tell of yet.
                Got::Nothing if lost >= PLACES_LOST => return self.wait_for_place(key),
                Got::Nothing => {
                    lost += 1;
                    continue;
                }
            };
            match self.dial(pool_key, Some(key), place) {
                Ok(upstream) => {
                    let pool = pool_key;
                    self.wait(key, Wait::Dial { upstream, pool });
                    return self.expect_rival(key, pool);
                }
                Err(error) if net::is_exhausted(&error) => return self.put_off(key, pool_key, &error),
                Err(error) => {
                    let addr = self.client_dial_failed(key, pool_key, self.now, &error);
                    without_port.extend(addr.filter(|_| net::is_out_of_ports(&error)));
                }
            }
        }
    }

    /// The pool that the balancer chooses for a client; none if the client is gone.
    pub(super) fn choose(&mut self, key: Key) -> Option<Choice> {
        let client = self.clients.get(key)?;
        let own = self.tenants.get(client.tenant)?;
        let heir = self.tenants.get(self.heir(client.tenant))?;
        if heir.members.is_empty() && heir.standing == Standing::Current {
            return Some(Choice::NoSet);
        }
        let attempts = own.spec().pools.dial_attempts as usize;
        let tries = attempts.saturating_sub(client.failed().len());
        if tries == 0 {
            return Some(Choice::Nobody);
        }
        let is_limited = heir.active.has_limits();
        if is_limited && client.is_newcomer() && heir.is_anybody_queued() {
            return Some(Choice::Full);
        }
        debug_assert_eq!(
            heir.members.len(),
            heir.active.everybody().count(),
            "a pool for each member"
        );
        let balancer = &heir.service.balancer;
        let seeker = Seeker {
            client: client.relay.client_addr,
            failed: client.failed(),
            tries,
            reactor: self.index,
        };
        let index = balancer.choose(&heir.active, &seeker, &mut self.rng, self.time.clock());
        let pool = index.and_then(|index| heir.members.get(index)).copied();
        let nobody = if is_limited { Choice::Full } else { Choice::Nobody };
        Some(pool.map_or(nobody, Choice::Pool))
    }

    /// Counts a client as one of a pool's, and takes a warm connection for it, if it wants one and there is one; else a place
    /// for a dial, without which it is not counted.
    fn check_out(&mut self, key: Key, pool_key: Key) -> Got {
        let Some(client) = self.clients.get(key) else {
            return Got::Nothing;
        };
        let trust = client.trust();
        let (addr, failed) = (client.relay.client_addr, client.failed().len());
        if trust == Trust::AfterALook {
            self.drop_dead(pool_key);
        }
        let Some(pool) = self.pools.get_mut(pool_key) else {
            return Got::Nothing;
        };
        let warm = match trust {
            Trust::Full | Trust::AfterALook => pool.checkout(),
            Trust::None => None,
        };
        let got = match warm {
            Some(warm) => Got::Warm(warm),
            None => self.take_place(pool_key).map_or(Got::Nothing, Got::Place),
        };
        let Some(pool) = self.pools.get_mut(pool_key) else {
            return Got::Nothing;
        };
        if matches!(got, Got::Nothing) {
            return got;
        }
        trace!(
            target: "tcp_forwarder::loadbalancer",
            client:% = addr, backend:% = pool.backend.addr, failed;
            "backend chosen"
        );
        pool.join();
        if trust == Trust::Full {
            pool.count_request(warm);
        }
        self.pool_is_due(pool_key);
        self.note_place(key);
        got
    }

    /// What a client that has no backend waits for from now on; its deadline is the caller's.
    pub(super) fn wait(&mut self, key: Key, wait: Wait) {
        if let Some(client) = self.clients.get_mut(key) {
            client.stage = Stage::Seeking(wait);
            self.client_timers.clear(key.index());
        }
    }

    /// No descriptor is left to dial with, for whichever backend: the client waits, as it would have at the
    /// listener a moment ago.
    fn put_off(&mut self, client: Key, pool_key: Key, error: &io::Error) {
        self.count_failed_dial(pool_key, self.now, error);
        self.leave_pool(pool_key);
        self.wait_for_socket(client, &error.to_string());
    }

    /// A client that has no backend waits until descriptors or ports may be free again.
    fn wait_for_socket(&mut self, client: Key, why: &str) {
        self.wait(client, Wait::Socket);
        self.client_timers.set(client.index(), self.now + PAUSE);
        self.pause_behind_waiters(why);
    }

    /// A client of a service that is new waits for its first active set.
    fn wait_for_set(&mut self, key: Key) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let heir = self.heir(client.tenant);
        let until = client.relay.accepted_at + self.idle_timeout(key);
        self.wait(key, Wait::Set);
        self.client_timers.set(key.index(), until);
        let clients = &self.clients;
        if let Some(tenant) = self.tenants.get_mut(heir) {
            tenant.awaits(key, |key| clients.get(key).is_some_and(Client::waits_for_set));
        }
    }

    /// A client that had to wait for a descriptor or a port tries again; not for longer than it may be idle.
    pub(super) fn try_again(&mut self, key: Key) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let waited = self.now.saturating_duration_since(client.relay.accepted_at);
        if waited >= self.idle_timeout(key) {
            return self.close(key, Ending::quiet(CloseReason::DialFailed));
        }
        self.find_backend(key);
    }

    fn idle_timeout(&self, client: Key) -> std::time::Duration {
        let tenant = self
            .clients
            .get(client)
            .and_then(|client| self.tenants.get(client.tenant));
        tenant.map_or(PAUSE, |tenant| tenant.spec().server.idle_timeout)
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
            debug_assert!(false, "an established connection is in the books");
            return;
        };
        let pool = upstream.pool;
        let dialled_at = match upstream.state {
            State::Dialling { since, .. } => Some(since),
            State::Warm { .. } | State::InUse { .. } => None,
        };
        let warm_since = match upstream.state {
            State::Warm { since } => {
                let age = self.now.saturating_duration_since(since);
                if let Some(pool) = self.pools.get_mut(pool) {
                    if age >= SHORTEST_LIFE {
                        pool.proved();
                    }
                    if let Some(share) = pool.share() {
                        share.ages.spared_at(age);
                    }
                }
                Some(since)
            }
            State::Dialling { .. } => None,
            State::InUse { .. } => {
                debug_assert!(false, "nobody gets a connection that another one uses");
                None
            }
        };
        upstream.state = State::InUse {
            client: key,
            since: warm_since.unwrap_or(self.now),
            via: warm_since.map_or(Via::Dialled, |_| Via::Warm),
        };
        self.upstream_timers.clear(upstream_key.index());
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(tenant) = self.tenants.get(client.tenant) else {
            return;
        };
        client.stage = Stage::Relaying(Attachment {
            upstream: upstream_key,
            pool,
        });
        begin_on(client, tenant, warm_since);
        let is_measured = tenant.spec().remotes.scoring.throughput.max_score > 0.0;
        client.relay.stretch = is_measured.then(|| Box::new(Stretch::new(self.now)));
        client.relay.last_activity = self.now;
        let accepted_at = client.relay.accepted_at;
        if let Some(story) = client.story() {
            story.got(dialled_at, accepted_at, self.now);
        }
        if let Some(search) = &mut client.search
            && search.trust != Trust::Full
            && !search.is_rescued
        {
            search.is_rescued = true;
            tenant.traffic(self.index).rescued.add(1);
        }
        let is_late = self.now.saturating_duration_since(client.relay.accepted_at) >= KEEPALIVE_AFTER;
        let pending = client.relay.has_more_to_say() || upstream.peer.ready.is_readable();
        self.set_first_look(key);
        if is_late {
            // Its own first look is over. Should the connection be gone, the relay finds out by itself.
            self.keep_alive(upstream_key);
        }
        if pending {
            self.drive(key);
        }
    }

    /// The connection that a client got was closed by the backend before anything was exchanged on it: a warm one, which
    /// is no wonder; or one that was dialled for it, which counts as a try.
    pub(super) fn replace_stale(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let was_warm = client.relay.is_on_warm();
        client.relay.forget_stale();
        let (upstream, backend) = self.detach(key);
        if let Some(Upstream {
            pool,
            state: State::InUse { since, .. },
            ..
        }) = upstream
        {
            self.report_if_early(pool, since);
            if was_warm {
                self.note_closed(pool, since);
            }
        }
        if let Some(client) = self.clients.get_mut(key) {
            if was_warm {
                client.search().trust = Trust::AfterALook;
            } else {
                client.search().failed.extend(backend);
            }
        }
        self.find_backend(key);
    }

    /// The warm connection that a client got died under its first flight, which goes to another backend if there
    /// is one, by a dial: no other warm connection deserves more trust.
    pub(super) fn rescue(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.relay.say_again();
        client.search().trust = Trust::None;
        let (upstream, backend) = self.detach(key);
        if let Some(upstream) = upstream {
            if let State::InUse { since, .. } = upstream.state {
                self.note_closed(upstream.pool, since);
            }
            // What is still on its way there is not to be heard twice.
            net::reset_on_close(upstream.peer.stream.wire());
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.search().failed.extend(backend);
        let service = self.tenants.get(client.tenant).map(|tenant| &tenant.service);
        let name = || Some(service?.live.name_behind(&backend?));
        debug!(
            target: "tcp_forwarder::relay",
            client:% = client.relay.client_addr,
            backend:% = backend.map_or_else(|| "none".to_owned(), |addr| addr.to_string());
            "warm connection died under the first flight{}", name().unwrap_or_default()
        );
        self.find_backend(key);
    }

    /// Takes a client off its connection to a backend: that connection, and the backend's address.
    fn detach(&mut self, key: Key) -> (Option<Upstream>, Option<SocketAddr>) {
        let Some(Stage::Relaying(attached)) = self.clients.get(key).map(|client| client.stage) else {
            debug_assert!(false, "only a relay has a connection to lose");
            return (None, None);
        };
        self.wait(key, Wait::Nothing);
        let upstream = self.remove_upstream(attached.upstream);
        let backend = self.leave_pool_by(upstream.as_ref(), attached.pool);
        (upstream, backend)
    }

    /// A client has left its backend; the backend's address.
    pub(super) fn leave_pool(&mut self, key: Key) -> Option<SocketAddr> {
        self.leave_pool_by(None, key)
    }

    /// The same, if it had this connection to it.
    pub(super) fn leave_pool_by(&mut self, upstream: Option<&Upstream>, key: Key) -> Option<SocketAddr> {
        let pool = self.pools.get_mut(key)?;
        if upstream.is_some_and(Upstream::is_unloaded) {
            pool.leave_unloaded();
        } else {
            pool.leave();
        }
        let addr = pool.backend.addr;
        self.pool_is_due(key);
        self.drop_pool_if_done(key);
        Some(addr)
    }

    /// Begins a dial for a client, or for the pool.
    pub(super) fn dial(&mut self, pool_key: Key, client: Option<Key>, place: Place) -> io::Result<Key> {
        let dialled = self.dial_with(pool_key, client, place);
        if dialled.is_err() {
            self.place_is_due(pool_key);
        }
        dialled
    }

    fn dial_with(&mut self, pool_key: Key, client: Option<Key>, place: Place) -> io::Result<Key> {
        let Some(pool) = self.pools.get(pool_key) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (addr, tenant) = (pool.backend.addr, pool.tenant);
        let stream = match self.connect(tenant, addr) {
            // Descriptors ran out: a client is worth more than a warm connection.
            Err(error) if net::is_exhausted(&error) && client.is_some() && self.give_up_one_warm() => {
                self.connect(tenant, addr)?
            }
            other => other?,
        };
        let since = self.now;
        let upstream = Upstream {
            peer: Peer {
                stream: stream.into(),
                ready: Readiness::FRESH,
            },
            pool: pool_key,
            state: State::Dialling {
                client,
                since,
                connect_micros: None,
            },
            is_kept_alive: false,
            is_queued: false,
            place: Some(place),
        };
        let Ok(key) = self.upstreams.insert(upstream) else {
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        self.gauges().upstreams.add(1);
        let registered = match self.upstreams.get_mut(key) {
            Some(upstream) => {
                let stream = upstream.peer.stream.wire_mut();
                self.poll
                    .registry()
                    .register(stream, token::of_upstream(key), net::ALL_EVENTS)
            }
            None => Ok(()),
        };
        if let Err(error) = registered {
            self.remove_upstream(key);
            return Err(error);
        }
        let timeout = self
            .tenants
            .get(tenant)
            .map(|tenant| tenant.spec().pools.dial_timeout);
        self.upstream_timers
            .set(key.index(), self.now + timeout.unwrap_or_default());
        if client.is_none()
            && let Some(pool) = self.pools.get_mut(pool_key)
        {
            pool.dial_begun();
        }
        Ok(key)
    }

    /// Begins to connect, from where connections of a tenant leave.
    fn connect(&self, tenant: Key, addr: SocketAddr) -> io::Result<TcpStream> {
        match self.tenants.get(tenant) {
            Some(tenant) => net::begin_connect_from(&tenant.spec().remotes.bind, addr),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Closes a warm connection where there are most of them, for want of a descriptor; false if there is none.
    pub(super) fn give_up_one_warm(&mut self) -> bool {
        if self.nothing_warm_until.is_some_and(|until| until > self.now) {
            return false;
        }
        let warmest = self
            .pools
            .keys()
            .max_by_key(|key| self.pools.get(*key).map(Pool::warm_count));
        let oldest = warmest
            .and_then(|key| self.pools.get_mut(key))
            .and_then(Pool::remove_oldest);
        let is_found = oldest.and_then(|key| self.remove_upstream(key)).is_some();
        if !is_found {
            // All pools were looked at for nothing: not again for each connection that waits.
            self.nothing_warm_until = Some(self.now + PAUSE);
        }
        is_found
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
        self.wait(client, Wait::Nothing);
        if let Some(client) = self.clients.get_mut(client) {
            client.search().failed.extend(addr);
            if let Some(story) = client.story() {
                story.dial_failed(error);
            }
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

/// What a backend is told of a client.
fn introduction(client: &Client, send: ProxySend) -> Vec<u8> {
    let opening = client.opening.as_deref();
    let named = opening.and_then(|opening| opening.destination);
    let ours = || {
        client
            .relay
            .client
            .stream
            .wire()
            .local_addr()
            .ok()
            .map(net::canonical)
    };
    let endpoints = named.or_else(ours).map(|destination| Endpoints {
        source: client.relay.client_addr,
        destination,
    });
    match opening {
        Some(opening) => proxy::compose(send, endpoints, &opening.facts),
        None => proxy::compose(send, endpoints, &Facts::default()),
    }
}

/// Begins a relay on a connection that was warm since then, or was dialled for it.
fn begin_on(client: &mut Client, tenant: &Tenant, warm_since: Option<Instant>) {
    // Another attempt must be left for what takes its place.
    let may_try_twice = client.failed().len() + 1 < tenant.spec().pools.dial_attempts as usize;
    match (warm_since, may_try_twice) {
        (Some(_), true) => client.relay.begin_on_warm(tenant.spec().pools.rescue),
        (Some(_), false) => client.relay.begin_on_warm(Rescue::Off),
        // Where nobody else is left, its end is what the client is to hear.
        (None, true) if tenant.members.len() > client.failed().len() + 1 => {
            client.relay.begin_on_dialled(Replaceable::Yes);
        }
        (None, _) => client.relay.begin_on_dialled(Replaceable::No),
    }
    let send = tenant.spec().server.proxy_protocol.send;
    if send != ProxySend::Off {
        let bytes = introduction(client, send);
        client.relay.introduce(bytes);
    }
}
