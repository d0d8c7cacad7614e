//! Handshakes: with a client before it gets a backend, its last preface, and with a backend at the end of a dial.
//!
//! A handshake costs as much as thousands of relayed packets, so those that can go on wait in a queue of their own, of
//! which each turn works off [`TURN_STEPS`]: who has a backend already never waits for a flood of newcomers.

use std::io::{Error, ErrorKind};

use log::debug;

use super::client::Stage;
use super::core::Reactor;
use super::due::Due;
use crate::base::slots::Key;
use crate::config::ProxySend;
use crate::preface::Failure;
use crate::preface::proxy::{Facts, Tls};
use crate::relay::close::{CloseReason, Ending, Side};
use crate::service::front::Preface;
use crate::service::traffic::HandshakeResult;
use crate::tls::{Handshake, Session};

/// Handshakes that go on in one turn.
const TURN_STEPS: usize = 4;

impl Reactor {
    /// A client is to speak TLS from here on; what it has said already is the beginning of that.
    pub(super) fn begin_handshake(&mut self, key: Key, said: Vec<u8>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let tenant = self.tenants.get(client.tenant);
        let Some(termination) = tenant.and_then(|tenant| tenant.service.tls.termination.as_ref()) else {
            debug_assert!(false, "who awaits a handshake has a certificate");
            return self.close(key, Ending::quiet(CloseReason::Error));
        };
        match Session::accept(termination, said) {
            Ok(session) => client.relay.client.stream.secure(session),
            Err(error) => self.fail_handshake(key, &error),
        }
    }

    /// Gives a handshake its turn.
    pub(super) fn handshake_is_due(&mut self, key: Key) {
        if let Some(client) = self.clients.get_mut(key)
            && !client.is_queued
        {
            client.is_queued = true;
            self.due_handshakes.push_back(Due::Client(key));
        }
    }

    /// Goes on with handshakes, in the order in which they became due.
    pub(super) fn run_handshakes(&mut self) {
        for _ in 0..TURN_STEPS {
            match self.due_handshakes.pop_front() {
                None => return,
                Some(Due::Client(key)) => {
                    if let Some(client) = self.clients.get_mut(key) {
                        client.is_queued = false;
                        self.go_on_handshake(key);
                    }
                }
                Some(Due::Upstream(key)) => {
                    if let Some(upstream) = self.upstreams.get_mut(key) {
                        upstream.is_queued = false;
                        self.go_on_securing(key);
                    }
                }
            }
        }
    }

    /// Goes on with the handshake of a client as far as it goes.
    pub(super) fn go_on_handshake(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Stage::Opening(Preface::Handshake) = client.stage else {
            // It was through at its deadline already, and may have missed a turn of its relay.
            return self.drive(key);
        };
        let peer = &mut client.relay.client;
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
                self.count_handshake(key, result);
                self.note_facts(key);
                self.pass(key, Preface::Handshake);
            }
            Err(error) => self.fail_handshake(key, &error),
        }
    }

    /// Keeps what backends are told of the TLS of a client, where they are told.
    fn note_facts(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let tenant = self.tenants.get(client.tenant);
        let is_told = tenant.is_some_and(|one| one.spec().server.proxy_protocol.send == ProxySend::V2);
        if let (true, Some(session)) = (is_told, client.relay.client.stream.session()) {
            client.opening.get_or_insert_default().facts = facts(session);
        }
    }

    /// Counts a handshake that has ended.
    pub(super) fn count_handshake(&self, key: Key, result: HandshakeResult) {
        let tenant = self.clients.get(key).map(|client| client.tenant);
        if let Some(traffic) = tenant.and_then(|tenant| self.traffic(tenant)) {
            traffic.count_handshake(result);
        }
    }

    fn fail_handshake(&mut self, key: Key, error: &Error) {
        self.count_handshake(key, HandshakeResult::Failed);
        if let Some(client) = self.clients.get(key) {
            let addr = client.relay.client_addr;
            debug!(target: "tcp_forwarder::tls", client:% = addr; "no handshake: {error}");
        }
        if matches!(
            error.kind(),
            ErrorKind::InvalidData | ErrorKind::ConnectionAborted
        ) {
            self.fail_opening(key, Failure::Tls);
        } else if error.kind() == ErrorKind::UnexpectedEof {
            self.fail_opening(key, Failure::Left);
        } else {
            let reason = Ending::reset_by(Side::Client, error).reason;
            self.close(key, Ending::quiet(reason));
        }
    }
}

/// What a backend is told of a client's TLS.
fn facts(session: &Session) -> Facts {
    const SPOKE: u8 = 1;
    const SHOWED_CERTIFICATE_HERE: u8 = 2;
    const HAS_SHOWN_CERTIFICATE: u8 = 4;
    let boxed = |bytes: &[u8]| bytes.to_vec().into_boxed_slice();
    let is_known = session.has_certificate_of_peer();
    Facts {
        alpn: session.protocol().map(boxed),
        authority: session.server_name().map(str::as_bytes).map(boxed),
        tls: session.version().map(|version| Tls {
            client: match (is_known, session.is_resumed()) {
                (true, false) => SPOKE | SHOWED_CERTIFICATE_HERE | HAS_SHOWN_CERTIFICATE,
                // On the connection whose keys were taken up.
                (true, true) => SPOKE | HAS_SHOWN_CERTIFICATE,
                (false, _) => SPOKE,
            },
            // Who shows one that is not good has no session.
            verify: u32::from(!is_known),
            version: boxed(version.as_bytes()),
        }),
    }
}
