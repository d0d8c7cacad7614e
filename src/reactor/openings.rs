//! What stands before a backend: each preface of a client's is read, and what follows from it done.
//!
//! Knows which preface follows which from the service's [`Front`], and what bytes mean from
//! [`preface`](crate::preface) alone. What is read beyond the last preface is the relay's, as if it had read it itself.
//!
//! Invariants: at most [`MOST_BYTES`] are kept of a client; each preface has `server.handshake_timeout`; a service that
//! awaits nothing never comes here.

use std::io::{ErrorKind, Read};

use log::{debug, warn};

use super::client::{Client, Stage};
use super::core::Reactor;
use super::opening::MOST_BYTES;
use crate::base::slots::Key;
use crate::config::{ProxyAccept, ServiceName};
use crate::net;
use crate::preface::{Failure, client_hello, proxy};
use crate::relay::close::{CloseReason, Ending, Reset, Side};
use crate::relay::wire::Wire;
use crate::service::front::{Front, Preface, Target};
use crate::service::traffic::{HandshakeResult, ProxyKind};

/// How far a preface has come.
enum Progress {
    /// More bytes are needed.
    Open,
    /// It is over.
    Passed,
    /// The client gets no backend.
    Failed(Failure),
    /// The client has been closed.
    Gone,
}

/// What one read of a client came to.
enum Got {
    Bytes,
    /// An event will tell when to go on.
    Nothing,
    /// It has finished.
    End,
    /// It has failed.
    Lost(std::io::Error),
}

impl Reactor {
    /// What stands before the backends of a tenant's service.
    pub(super) fn front(&self, tenant: Key) -> Option<&Front> {
        self.tenants.get(tenant)?.service.front.as_deref()
    }

    /// A client has come to a service that awaits something: of this one, too, or it gets a backend at once.
    pub(super) fn begin_opening(&mut self, key: Key) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let (tenant, peer) = (client.tenant, client.relay.client_addr);
        let Some(front) = self.front(tenant) else {
            return self.find_backend(key);
        };
        let is_believed = front.believes(peer.ip());
        let first = front.first(is_believed);
        if front.accept != ProxyAccept::Off && !is_believed {
            self.count_proxied(tenant, ProxyKind::Direct);
        }
        match first {
            Some(preface) => self.await_preface(key, preface),
            None => self.find_backend(key),
        }
    }

    fn count_proxied(&self, tenant: Key, kind: ProxyKind) {
        if let Some(traffic) = self.traffic(tenant) {
            traffic.count_proxied(kind);
        }
    }

    /// Awaits a preface of a client from now on.
    fn await_preface(&mut self, key: Key, preface: Preface) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.stage = Stage::Opening(preface);
        let opening = client.opening.get_or_insert_default();
        let timeout = self
            .tenants
            .get(client.tenant)
            .map(|tenant| tenant.spec().server.handshake_timeout);
        self.client_timers
            .set(key.index(), self.now + timeout.unwrap_or_default());
        match preface {
            Preface::ProxyHeader | Preface::ClientHello => {}
            Preface::Handshake => {
                let said = std::mem::take(&mut opening.bytes);
                self.begin_handshake(key, said);
            }
        }
    }

    /// Goes on with what a client has to say first, as far as it has come.
    pub(super) fn go_on_opening(&mut self, key: Key) {
        while let Some(Stage::Opening(preface)) = self.clients.get(key).map(|client| client.stage) {
            let progress = match preface {
                Preface::ProxyHeader => self.read_proxy_header(key),
                Preface::ClientHello => self.read_client_hello(key),
                // It costs so much that it waits for its turn.
                Preface::Handshake => return self.handshake_is_due(key),
            };
            match progress {
                Progress::Open => match self.read_opening(key) {
                    Got::Bytes => {}
                    Got::Nothing => return,
                    Got::End => return self.fail_opening(key, Failure::Left),
                    Got::Lost(error) => {
                        let reason = Ending::reset_by(Side::Client, &error).reason;
                        return self.close(key, Ending::quiet(reason));
                    }
                },
                Progress::Passed => self.pass(key, preface),
                Progress::Failed(failure) => return self.fail_opening(key, failure),
                Progress::Gone => return,
            }
        }
    }

    /// A preface of a client is over: the next one is awaited, or it gets a backend.
    pub(super) fn pass(&mut self, key: Key, preface: Preface) {
        let tenant = self.clients.get(key).map(|client| client.tenant);
        let front = tenant.and_then(|tenant| self.front(tenant));
        match front.and_then(|front| front.next(preface)) {
            Some(next) => self.await_preface(key, next),
            None => self.end_opening(key),
        }
    }

    /// The last preface of a client is over.
    fn end_opening(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(opening) = &mut client.opening {
            client.relay.take_up(&std::mem::take(&mut opening.bytes));
            if !opening.is_to_be_kept() {
                client.opening = None;
            }
        }
        self.find_backend(key);
    }

    /// Reads what a client has said; not more than it may say before it has a backend.
    fn read_opening(&mut self, key: Key) -> Got {
        let Some(client) = self.clients.get_mut(key) else {
            return Got::Nothing;
        };
        let Client { relay, opening, .. } = client;
        let bytes = &mut opening.get_or_insert_default().bytes;
        let room = MOST_BYTES.saturating_sub(bytes.len()).min(self.scratch.len());
        debug_assert!(room > 0, "who has said so much has said too much");
        let scratch = self.scratch.get_mut(..room).unwrap_or_default();
        let peer = &mut relay.client;
        while peer.ready.is_readable() {
            match peer.stream.read(scratch) {
                Ok(0) => return Got::End,
                Ok(count) => {
                    let may_go_on = peer.ready.is_read_closed() || peer.ready.is_urgent();
                    if count < room && peer.stream.short_io_blocks() && !may_go_on {
                        peer.ready.read_blocked();
                    }
                    bytes.extend_from_slice(scratch.get(..count).unwrap_or_default());
                    return Got::Bytes;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => peer.ready.read_blocked(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Got::Lost(error),
            }
        }
        Got::Nothing
    }

    /// Who the client is, as whoever passes its connection on says.
    fn read_proxy_header(&mut self, key: Key) -> Progress {
        let Some(client) = self.clients.get_mut(key) else {
            return Progress::Gone;
        };
        let Some(tenant) = self.tenants.get(client.tenant) else {
            return Progress::Gone;
        };
        let (Some(front), Some(opening)) = (&tenant.service.front, &mut client.opening) else {
            debug_assert!(false, "who is asked for a header has an opening");
            return Progress::Passed;
        };
        let header = match proxy::read(&opening.bytes, front.accept) {
            Ok(Some(header)) => header,
            Ok(None) => return Progress::Open,
            Err(failure) => return Progress::Failed(failure),
        };
        opening.bytes.drain(..header.length);
        opening.facts = header.facts;
        let peer = client.relay.client_addr;
        let kind = match header.endpoints {
            Some(ends) => {
                client.relay.client_addr = net::canonical(ends.source);
                opening.destination = Some(net::canonical(ends.destination));
                ProxyKind::Named
            }
            None => ProxyKind::Local,
        };
        let tenant = client.tenant;
        if let (ProxyKind::Named, Some(story)) = (kind, client.story()) {
            story.proxy = Some(peer);
        }
        self.count_proxied(tenant, kind);
        self.seat(key)
    }

    /// Asks whether a client may be its tenant's, which was not asked at accept; it gets its seat there.
    fn seat(&mut self, key: Key) -> Progress {
        let Some(client) = self.clients.get(key) else {
            return Progress::Gone;
        };
        let (tenant, addr) = (client.tenant, client.relay.client_addr);
        match self.admit(tenant, addr) {
            Ok(seat) => {
                if let Some(client) = self.clients.get_mut(key) {
                    client.seat = seat;
                }
                Progress::Passed
            }
            Err(reason) => {
                self.count_refusal(tenant, addr, reason);
                self.close(key, reset(CloseReason::Refused));
                Progress::Gone
            }
        }
    }

    /// Whom the client asks for, and where that leads it.
    fn read_client_hello(&mut self, key: Key) -> Progress {
        let Some(client) = self.clients.get_mut(key) else {
            return Progress::Gone;
        };
        let Some(tenant) = self.tenants.get(client.tenant) else {
            return Progress::Gone;
        };
        let (Some(front), Some(opening)) = (&tenant.service.front, &mut client.opening) else {
            debug_assert!(false, "who is asked whom it wants has an opening");
            return Progress::Passed;
        };
        let target = match client_hello::read(&opening.bytes) {
            Ok(Some(hello)) => {
                let target = front.target(&hello);
                opening.facts.authority = hello.name.or(opening.facts.authority.take());
                match target {
                    Target::None => return Progress::Failed(Failure::NoRoute),
                    Target::Own | Target::Of(_) => target,
                }
            }
            Ok(None) => return Progress::Open,
            Err(Failure::NotTls) => match front.plain() {
                Target::None => return Progress::Failed(Failure::NotTls),
                target @ (Target::Own | Target::Of(_)) => target,
            },
            Err(failure) => return Progress::Failed(failure),
        };
        let name = match target {
            Target::Of(name) if *name != tenant.service.name => name.clone(),
            Target::Of(_) | Target::Own | Target::None => return Progress::Passed,
        };
        let Some(tenant) = self.tenant_named(&name) else {
            // It has left since, as at a stop.
            self.close(key, Ending::cut(CloseReason::Drained));
            return Progress::Gone;
        };
        self.lead(key, tenant)
    }

    /// The tenant of the service with this name that gets new clients.
    fn tenant_named(&self, name: &ServiceName) -> Option<Key> {
        let service = self.directory.service(name.as_str())?;
        self.current.get(&service.live.id).copied()
    }

    /// A client goes on as another service's: its backends, limits and counts are that one's from now on. The service that
    /// it came to has let it in, and goes on counting it for its limits per client.
    fn lead(&mut self, key: Key, to: Key) -> Progress {
        let Some(client) = self.clients.get_mut(key) else {
            return Progress::Gone;
        };
        let from = std::mem::replace(&mut client.tenant, to);
        let seat = client.seat.take();
        client.opening.get_or_insert_default().outer_seat = seat;
        if let Some(tenant) = self.tenants.get_mut(from) {
            tenant.clients -= 1;
            let traffic = tenant.traffic(self.index);
            traffic.active.sub(1);
            traffic.count_close(CloseReason::Routed);
        }
        if let Some(tenant) = self.tenants.get_mut(to) {
            tenant.clients += 1;
            let traffic = tenant.traffic(self.index);
            traffic.accepted.add(1);
            traffic.active.add(1);
        }
        self.hand_on_story(key, to);
        self.note_client(from);
        self.note_client(to);
        self.drop_tenant_if_done(from);
        self.seat(key)
    }

    /// A client has not said in time what is awaited of it.
    pub(super) fn on_opening_deadline(&mut self, key: Key, preface: Preface) {
        // After our own standing still it may be here already, its event still in the queue.
        if let Some(client) = self.clients.get_mut(key) {
            client.relay.client.ready.set_readable();
        }
        match preface {
            Preface::ProxyHeader | Preface::ClientHello => self.go_on_opening(key),
            Preface::Handshake => self.go_on_handshake(key),
        }
        let stage = self.clients.get(key).map(|client| client.stage);
        if matches!(stage, Some(Stage::Opening(now)) if now == preface) {
            if preface == Preface::Handshake {
                self.count_handshake(key, HandshakeResult::Failed);
            }
            self.close(key, reset(CloseReason::HandshakeTimeout));
        }
    }

    /// A client ends before it has a backend.
    pub(super) fn fail_opening(&mut self, key: Key, failure: Failure) {
        const TARGET: &str = "tcp_forwarder::preface";
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if let Some(story) = client.story() {
            story.has_left = failure == Failure::Left;
        }
        let Some(tenant) = self.tenants.get(client.tenant) else {
            return;
        };
        tenant.traffic(self.index).count_failure(failure);
        let service = tenant.service.name.as_str();
        let (addr, reason) = (client.relay.client_addr, failure.label());
        // Who only looks whether we are there says nothing.
        let ending = if failure == Failure::Left {
            debug!(target: TARGET, service, client:% = addr, reason; "client left");
            Ending::quiet(CloseReason::HandshakeFailed)
        } else if failure == Failure::Tls {
            // An everyday matter: scanners, and clients that do not like the certificate. It has had an alert.
            debug!(target: TARGET, service, client:% = addr, reason; "client gets no backend");
            Ending::quiet(CloseReason::HandshakeFailed)
        } else {
            if tenant.service.live.bursts.failures.begins(self.time.clock()) {
                warn!(target: TARGET, service, client:% = addr, reason; "clients get no backend, this one first");
            } else {
                debug!(target: TARGET, service, client:% = addr, reason; "client gets no backend");
            }
            reset(CloseReason::HandshakeFailed)
        };
        self.close(key, ending);
    }
}

/// The end of a client that has no backend: with a reset, for nothing of what it said went anywhere.
const fn reset(reason: CloseReason) -> Ending {
    Ending {
        reason,
        reset: Reset::Of(Side::Client),
    }
}
