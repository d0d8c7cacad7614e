//! TLS with a backend, at the end of a dial: what is warm has had it.
//!
//! A dial has as long for its handshake as it had for its connect. Until that is over it is a dial like any other: it may
//! be given up, lose a race, or become the pool's; and if it fails, so has the dial.

use std::io::{Error, ErrorKind};
use std::num::NonZeroU32;
use std::sync::Arc;

use log::warn;

use super::core::Reactor;
use super::due::Due;
use super::upstream::State;
use crate::base::slots::Key;
use crate::service::traffic::HandshakeResult;
use crate::tls::{Handshake, Origination, Session};

impl Reactor {
    /// How TLS is spoken over a connection to a backend, if it is to be.
    pub(super) fn origination(&self, key: Key) -> Option<&Arc<Origination>> {
        let pool = self.pools.get(self.upstreams.get(key)?.pool)?;
        self.tenants.get(pool.tenant)?.service.tls.origination.as_ref()
    }

    /// A dial is connected and TLS is to be agreed on.
    pub(super) fn begin_securing(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get(key) else {
            return;
        };
        let pool = self.pools.get(upstream.pool);
        let session = match (self.origination(key), pool) {
            (Some(origination), Some(pool)) => Session::connect(origination, pool.backend.addr),
            (None, _) | (_, None) => return,
        };
        let spec = self.spec_of_pool(upstream.pool);
        let until = self.now + spec.map(|spec| spec.pools.dial_timeout).unwrap_or_default();
        let now = self.now;
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let State::Dialling {
            client,
            since,
            connect_micros,
        } = &mut upstream.state
        else {
            debug_assert!(false, "only a dial is connected");
            return;
        };
        let took = now.saturating_duration_since(*since).as_micros();
        *connect_micros = NonZeroU32::new(u32::try_from(took).unwrap_or(u32::MAX).max(1));
        let client = *client;
        match session {
            Ok(session) => upstream.peer.stream.secure(session),
            Err(error) => return self.dial_failed(key, client, &error),
        }
        self.upstream_timers.set(key.index(), until);
        self.securing_is_due(key);
    }

    /// Gives the handshake of a dial its turn.
    pub(super) fn securing_is_due(&mut self, key: Key) {
        if let Some(upstream) = self.upstreams.get_mut(key)
            && !upstream.is_queued
        {
            upstream.is_queued = true;
            self.due_handshakes.push_back(Due::Upstream(key));
        }
    }

    /// Goes on with the handshake of a dial as far as it goes.
    pub(super) fn go_on_securing(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else {
            return;
        };
        let State::Dialling { client, since, .. } = upstream.state else {
            // It was through at its deadline already.
            return;
        };
        let pool = upstream.pool;
        let peer = &mut upstream.peer;
        match peer.stream.handshake(peer.ready) {
            Ok(Handshake::Blocked) => peer.ready.read_blocked(),
            Ok(Handshake::Done {
                is_resumed,
                is_readable,
            }) => {
                if is_readable {
                    peer.ready.set_readable();
                } else {
                    peer.ready.read_blocked();
                }
                let result = if is_resumed {
                    HandshakeResult::Resumed
                } else {
                    HandshakeResult::Full
                };
                self.count_securing(pool, result);
                self.dial_succeeded(key, client, since);
            }
            Err(error) => {
                let told = in_words(&error);
                self.count_securing(pool, HandshakeResult::Failed);
                self.tell_of_failure(pool, &told);
                self.dial_failed(key, client, &told);
            }
        }
    }

    /// A handshake with a backend takes too long; unless its end is here already, its event still in the queue.
    pub(super) fn on_securing_deadline(&mut self, key: Key) {
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.peer.ready.set_readable();
        }
        self.go_on_securing(key);
        let Some(upstream) = self.upstreams.get(key) else {
            return;
        };
        if let State::Dialling { client, .. } = upstream.state {
            let (pool, late) = (upstream.pool, ErrorKind::TimedOut.into());
            self.count_securing(pool, HandshakeResult::Failed);
            self.tell_of_failure(pool, &Error::other("it is not done in time"));
            self.dial_failed(key, client, &late);
        }
    }

    /// Whether a connection was made under other settings than those of today, and is not to be kept.
    pub(super) fn is_secured_otherwise(&self, key: Key) -> bool {
        let Some(upstream) = self.upstreams.get(key) else {
            return false;
        };
        match (upstream.peer.stream.session(), self.origination(key)) {
            (None, None) => false,
            (Some(session), Some(origination)) => !session.is_of(origination),
            (None, Some(_)) | (Some(_), None) => true,
        }
    }

    fn count_securing(&self, pool: Key, result: HandshakeResult) {
        let tenant = self.pools.get(pool).map(|pool| pool.tenant);
        if let Some(traffic) = tenant.and_then(|tenant| self.traffic(tenant)) {
            traffic.count_securing(result);
        }
    }

    /// Says why, once a burst.
    fn tell_of_failure(&self, pool: Key, error: &Error) {
        let Some(pool) = self.pools.get(pool) else { return };
        let Some(tenant) = self.tenants.get(pool.tenant) else {
            return;
        };
        let (service, addr) = (&tenant.service, pool.backend.addr);
        if service.live.bursts.handshakes.begins(self.time.clock()) {
            warn!(
                target: "tcp_forwarder::tls", service = service.name.as_str(), backend:% = addr;
                "no TLS with a backend{}: {error}", service.live.name_behind(&addr)
            );
        }
    }
}

/// An error as people hear it.
fn in_words(error: &Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof {
        Error::new(ErrorKind::ConnectionReset, "it closes during the handshake")
    } else {
        Error::new(error.kind(), error.to_string())
    }
}
