//! Listeners: accepting in turns, paused when the process is full, resumed by itself.

use std::net::SocketAddr;

use log::{debug, warn};
use mio::Interest;
use mio::net::TcpStream;
use socket2::{SockRef, Socket};

use super::client::Client;
use super::core::Reactor;
use super::listener::{Listener, PAUSE};
use super::story::Story;
use super::token;
use crate::admission::{RejectReason, Seat};
use crate::base::slots::Key;
use crate::net::{self, AcceptFailure};
use crate::relay::Relay;
use crate::relay::close::{CloseReason, Ending};
use crate::service::ListenerId;
use crate::service::traffic::ErrorKind;

/// Connections accepted from one listener before others get their turn.
const TURN_ACCEPTS: usize = 256;

/// What came of one attempt to accept.
enum Accepted {
    Connection(TcpStream, SocketAddr),
    /// Nobody this time; go on.
    Nobody,
    Empty,
    /// The process is full.
    Full(String),
}

impl Reactor {
    pub(super) fn listener(&self, place: usize) -> Option<&Listener> {
        self.listeners.get(place)?.as_ref()
    }

    fn listener_mut(&mut self, place: usize) -> Option<&mut Listener> {
        self.listeners.get_mut(place)?.as_mut()
    }

    /// Takes a listener in; nobody is accepted there before it has a tenant.
    pub(super) fn add_listener(&mut self, mut listener: Listener) {
        let free = self.free_listeners.last().copied();
        let place = free.unwrap_or(self.listeners.len());
        if place >= token::MAX_LISTENERS {
            warn!(target: "tcp_forwarder::reactor", "too many listeners; one is closed");
            return;
        }
        let token = token::of_listener(place);
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut listener.socket, token, Interest::READABLE) {
            warn!(target: "tcp_forwarder::reactor", "a listener could not be registered: {error}");
            return;
        }
        // A level that was there before the edge: an adopted listener may have a queue.
        listener.is_ready = true;
        match self.listeners.get_mut(place) {
            Some(free) => {
                debug_assert!(free.is_none(), "a free place has no listener");
                *free = Some(listener);
                self.free_listeners.pop();
            }
            None => self.listeners.push(Some(listener)),
        }
    }

    /// Closes a listener as it is.
    pub(super) fn remove_listener(&mut self, place: usize) {
        let Some(mut listener) = self.listeners.get_mut(place).and_then(Option::take) else {
            return;
        };
        // A duplicate elsewhere keeps the socket open, and events of it would come for ever.
        let _gone = self.poll.registry().deregister(&mut listener.socket);
        self.free_listeners.push(place);
        if let Ok(place) = u32::try_from(place) {
            self.listener_timers.clear(place);
        }
        if let Some(tenant) = listener.tenant {
            self.drop_tenant_if_done(tenant);
        }
    }

    /// Closes a listener after all that is queued was accepted; not those that come meanwhile, or a flood would keep it
    /// open for ever.
    pub(super) fn close_listener(&mut self, place: usize) {
        // The kernel queues one more than it was told.
        for _ in 0..=net::BACKLOG {
            match self.accept(place) {
                Accepted::Connection(stream, peer) => self.open(place, stream, peer),
                Accepted::Nobody => {}
                Accepted::Empty | Accepted::Full(_) => break,
            }
        }
        self.remove_listener(place);
    }

    /// Accepts for this tenant from now on.
    pub(super) fn assign_listener(&mut self, place: usize, tenant: Key) {
        if let Some(listener) = self.listener_mut(place) {
            listener.tenant = Some(tenant);
            self.listener_is_due(place);
        }
    }

    /// Has accepting at these listeners wait, or go on.
    pub(super) fn hold_listeners(&mut self, ids: &[ListenerId], is_held: bool) {
        for place in 0..self.listeners.len() {
            if let Some(listener) = self.listener_mut(place)
                && ids.contains(&listener.id)
            {
                listener.is_held = is_held;
                // Connections may have come, and gone to whoever was about to take over.
                listener.is_ready = true;
                self.listener_is_due(place);
            }
        }
    }

    /// Duplicates of all listeners.
    pub(super) fn lend_listeners(&self) -> Vec<(ListenerId, Socket)> {
        let duplicate = |listener: &Listener| {
            let socket = SockRef::from(&listener.socket).try_clone();
            if let Err(error) = &socket {
                warn!(target: "tcp_forwarder::reactor", "a listener cannot be handed over: {error}");
            }
            Some((listener.id, socket.ok()?))
        };
        self.listeners.iter().flatten().filter_map(duplicate).collect()
    }

    /// An event of a listener.
    pub(super) fn on_listener(&mut self, place: usize) {
        if let Some(listener) = self.listener_mut(place) {
            listener.is_ready = true;
            self.listener_is_due(place);
        }
    }

    /// Accepting goes on after a pause.
    pub(super) fn resume_listener(&mut self, place: usize) {
        if let Some(listener) = self.listener_mut(place) {
            listener.is_paused = false;
            self.listener_is_due(place);
        }
    }

    /// Gives a listener its turn, if there is anything to accept.
    fn listener_is_due(&mut self, place: usize) {
        if let Some(listener) = self.listener_mut(place)
            && listener.is_due()
            && !listener.is_queued
        {
            listener.is_queued = true;
            self.due_listeners.push(place);
        }
    }

    /// Gives every listener that is due its turn.
    pub(super) fn accept_all(&mut self) {
        let Some(round) = self.due_listeners.take() else {
            return;
        };
        for place in round.iter().copied() {
            if let Some(listener) = self.listener_mut(place) {
                listener.is_queued = false;
                self.accept_turn(place);
                self.listener_is_due(place);
            }
        }
        self.due_listeners.give_back(round);
    }

    fn accept_turn(&mut self, place: usize) {
        for _ in 0..TURN_ACCEPTS {
            if !self.listener(place).is_some_and(Listener::is_due) {
                return;
            }
            match self.accept(place) {
                Accepted::Connection(stream, peer) => self.open(place, stream, peer),
                Accepted::Nobody => {}
                Accepted::Empty => {
                    if let Some(listener) = self.listener_mut(place) {
                        listener.is_ready = false;
                    }
                    return;
                }
                Accepted::Full(why) => return self.pause(place, PAUSE, &why),
            }
        }
    }

    fn accept(&mut self, place: usize) -> Accepted {
        let max = self.directory.limits.max_connections;
        if !self.hub.clients.admit(max) {
            return Accepted::Full(format!("{max} connections are open (server.max_connections)"));
        }
        let accepted = self.accept_next(place);
        if !matches!(accepted, Accepted::Connection(..)) {
            self.hub.clients.leave();
        }
        accepted
    }

    /// Accepts who is next; there is room for one.
    fn accept_next(&mut self, place: usize) -> Accepted {
        let Some(listener) = self.listener(place) else {
            return Accepted::Empty;
        };
        match listener.socket.accept() {
            Ok((stream, peer)) => Accepted::Connection(stream, net::canonical(peer)),
            Err(error) => match net::accept_failure(&error) {
                AcceptFailure::Empty => Accepted::Empty,
                AcceptFailure::Connection => {
                    self.count_accept_error(place);
                    debug!(target: "tcp_forwarder::reactor", "a connection was lost before it was accepted: {error}");
                    Accepted::Nobody
                }
                AcceptFailure::Exhausted => {
                    self.count_accept_error(place);
                    // A client is worth more than a warm connection.
                    if self.give_up_one_warm() {
                        return Accepted::Nobody;
                    }
                    Accepted::Full(error.to_string())
                }
            },
        }
    }

    fn count_accept_error(&self, place: usize) {
        let tenant = self.listener(place).and_then(|listener| listener.tenant);
        if let Some(traffic) = tenant.and_then(|tenant| self.traffic(tenant)) {
            traffic.count_error(ErrorKind::Accept);
        }
    }

    /// Accepts nobody before those have had another try who wait for a descriptor to dial with: each one more would
    /// hold one of those that they wait for.
    pub(super) fn pause_behind_waiters(&mut self, why: &str) {
        // Once a turn is enough, however many there are.
        if self.listeners_paused_at.replace(self.now) == Some(self.now) {
            return;
        }
        for place in 0..self.listeners.len() {
            self.pause(place, 2 * PAUSE, why);
        }
    }

    fn pause(&mut self, place: usize, pause: std::time::Duration, why: &str) {
        let Some(listener) = self.listener_mut(place) else {
            return;
        };
        listener.is_paused = true;
        let tenant = listener.tenant;
        if let Ok(place) = u32::try_from(place) {
            self.listener_timers.set(place, self.now + pause);
        }
        if let Some(traffic) = tenant.and_then(|tenant| self.traffic(tenant)) {
            traffic.accept_paused.add(1);
        }
        if self.bursts.pauses.begins(self.time.clock()) {
            warn!(target: "tcp_forwarder::reactor", "accepting pauses: {why}");
        }
    }

    /// Asks whether a client may connect, where there are limits.
    pub(super) fn admit(&self, tenant: Key, peer: SocketAddr) -> Result<Option<Box<Seat>>, RejectReason> {
        match self
            .tenants
            .get(tenant)
            .and_then(|tenant| tenant.service.admission.as_ref())
        {
            Some(admission) => admission.admit(peer.ip(), self.time.clock()),
            None => Ok(None),
        }
    }

    /// The same of whoever connects, right after accept. Who speaks for clients is none itself: of them it is asked once
    /// they are known.
    fn admit_peer(&self, tenant: Key, peer: SocketAddr) -> Result<Option<Box<Seat>>, RejectReason> {
        match self.front(tenant) {
            Some(front) if front.believes(peer.ip()) => Ok(None),
            Some(_) | None => self.admit(tenant, peer),
        }
    }

    /// Closes a connection that may not be, with a reset: its client knows at once, and a flood leaves nothing
    /// behind in our kernel, where each finished connection would wait out `TIME_WAIT`.
    fn refuse(&self, tenant: Key, stream: &TcpStream, peer: SocketAddr, reason: RejectReason) {
        self.count_refusal(tenant, peer, reason);
        net::reset_on_close(stream);
    }

    /// Counts a client that may not connect, and tells the log.
    pub(super) fn count_refusal(&self, tenant: Key, peer: SocketAddr, reason: RejectReason) {
        const TARGET: &str = "tcp_forwarder::admission";
        let Some(tenant) = self.tenants.get(tenant) else {
            return;
        };
        tenant.traffic(self.index).count_rejection(reason);
        let service = tenant.service.name.as_str();
        let admission = tenant.service.admission.as_ref();
        if admission.is_some_and(|admission| admission.begins_burst(reason, self.time.clock())) {
            warn!(
                target: TARGET,
                service, client:% = peer, reason = reason.label();
                "clients are refused, this one first"
            );
        } else {
            debug!(target: TARGET, service, client:% = peer, reason = reason.label(); "client refused");
        }
    }

    /// Takes a new connection in and finds it a backend.
    fn open(&mut self, place: usize, stream: TcpStream, peer: SocketAddr) {
        let Some((key, tenant)) = self.take_in(place, stream, peer) else {
            return self.hub.clients.leave();
        };
        let registered = match self.clients.get_mut(key) {
            Some(client) => self.poll.registry().register(
                client.relay.client.stream.wire_mut(),
                token::of_client(key),
                net::ALL_EVENTS,
            ),
            None => Ok(()),
        };
        if let Err(error) = registered {
            if let Some(traffic) = self.traffic(tenant) {
                traffic.count_error(ErrorKind::Accept);
            }
            warn!(target: "tcp_forwarder::reactor", "a connection could not be registered: {error}");
            return self.close(key, Ending::quiet(CloseReason::Error));
        }
        match self.front(tenant) {
            Some(_) => self.begin_opening(key),
            None => self.find_backend(key),
        }
    }

    /// A new connection becomes a client, and of whom; none if it is not served.
    fn take_in(&mut self, place: usize, stream: TcpStream, peer: SocketAddr) -> Option<(Key, Key)> {
        let Some((tenant, listener)) = self.listener(place).and_then(|one| Some((one.tenant?, one.addr)))
        else {
            debug_assert!(false, "nobody is accepted before there is a tenant");
            return None;
        };
        let tenant = self.heir(tenant);
        let seat = match self.admit_peer(tenant, peer) {
            Ok(seat) => seat,
            Err(reason) => {
                self.refuse(tenant, &stream, peer, reason);
                return None;
            }
        };
        let owner = self.tenants.get_mut(tenant)?;
        let traffic = owner.traffic(self.index);
        traffic.accepted.add(1);
        if let Err(error) = net::prepare_accepted(&stream, &owner.spec().server.keepalive) {
            traffic.count_error(ErrorKind::Accept);
            debug!(target: "tcp_forwarder::reactor", "{peer} left at once: {error}");
            return None;
        }
        let mut client = Client::new(Relay::new(stream.into(), peer, self.now), tenant, seat);
        if let Some(journal) = &owner.service.journal
            && journal.samples(&mut self.rng)
        {
            client.search().story = Some(Box::new(Story::new(listener, None)));
        }
        let Ok(key) = self.clients.insert(client) else {
            traffic.count_error(ErrorKind::Accept);
            return None;
        };
        traffic.active.add(1);
        owner.clients += 1;
        self.note_client(tenant);
        self.gauges().clients.add(1);
        Some((key, tenant))
    }
}
