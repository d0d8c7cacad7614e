//! Accepting: in turns, paused when the process is full, resumed by itself.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use log::{debug, warn};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token};

use super::slots::{self, Kind};
use super::upstreams::KEEPALIVE_AFTER;
use super::{Connection, Link, Reactor};
use crate::admission::Seat;
use crate::metrics::counters::{ErrorKind, RejectReason};
use crate::net::{self, AcceptFailure};
use crate::relay::Relay;

/// Connections accepted from one listener before others get their turn.
const TURN_ACCEPTS: usize = 256;

/// How long accepting pauses when the process is full.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Tokens of listeners count down from here.
const FIRST_TOKEN: usize = usize::MAX - 1;

/// Listeners that one reactor can have.
const MAX_LISTENERS: usize = 1024;

/// A listener and whether connections wait at it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    /// An event came, and `WouldBlock` has not been seen since.
    pub(super) ready: bool,
    /// Accepting pauses until then.
    pub(super) paused_until: Option<Instant>,
}

impl Listener {
    /// Whether it can be accepted from at once.
    pub(super) fn is_due(&self) -> bool {
        self.ready && self.paused_until.is_none()
    }
}

/// Registers the listeners of one reactor.
pub(super) fn register(poll: &Poll, sockets: Vec<TcpListener>) -> io::Result<Vec<Listener>> {
    if sockets.len() > MAX_LISTENERS {
        return Err(io::Error::other("too many listen addresses"));
    }
    let mut listeners = Vec::with_capacity(sockets.len());
    for (place, mut socket) in sockets.into_iter().enumerate() {
        poll.registry()
            .register(&mut socket, Token(FIRST_TOKEN - place), Interest::READABLE)?;
        listeners.push(Listener {
            socket,
            ready: false,
            paused_until: None,
        });
    }
    Ok(listeners)
}

/// Which listener a token names, if it names one.
pub(super) fn place(token: Token) -> Option<usize> {
    let place = FIRST_TOKEN.checked_sub(token.0)?;
    (place < MAX_LISTENERS).then_some(place)
}

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
    /// Gives every listener its turn.
    pub(super) fn accept_all(&mut self) {
        for place in 0..self.listeners.len() {
            self.accept_turn(place);
        }
    }

    fn accept_turn(&mut self, place: usize) {
        let now = self.now;
        let Some(listener) = self.listeners.get_mut(place) else {
            return;
        };
        if listener.paused_until.is_some_and(|until| until <= now) {
            listener.paused_until = None;
        }
        for _ in 0..TURN_ACCEPTS {
            if !self.listeners.get(place).is_some_and(Listener::is_due) {
                return;
            }
            match self.accept(place) {
                Accepted::Connection(stream, peer) => self.open(stream, peer),
                Accepted::Nobody => {}
                Accepted::Empty => {
                    if let Some(listener) = self.listeners.get_mut(place) {
                        listener.ready = false;
                    }
                    return;
                }
                Accepted::Full(why) => return self.pause(place, now + PAUSE, &why),
            }
        }
    }

    /// Accepts all that is queued before the listeners are closed; not those that come meanwhile, or a flood
    /// would keep the process from ending.
    pub(super) fn accept_the_last(&mut self) {
        for place in 0..self.listeners.len() {
            // The kernel queues one more than it was told.
            for _ in 0..=net::BACKLOG {
                match self.accept(place) {
                    Accepted::Connection(stream, peer) => self.open(stream, peer),
                    Accepted::Nobody => {}
                    Accepted::Empty | Accepted::Full(_) => break,
                }
            }
        }
    }

    fn accept(&mut self, place: usize) -> Accepted {
        let Some(listener) = self.listeners.get(place) else {
            return Accepted::Empty;
        };
        let relays: u64 = self.shared.counters.iter().map(|one| one.active.value()).sum();
        let max = self.shared.limits.max_connections;
        if usize::try_from(relays).unwrap_or(usize::MAX) >= max {
            return Accepted::Full(format!("{max} connections are open (server.max_connections)"));
        }
        match listener.socket.accept() {
            Ok((stream, peer)) => Accepted::Connection(stream, net::canonical(peer)),
            Err(error) => match net::accept_failure(&error) {
                AcceptFailure::Empty => Accepted::Empty,
                AcceptFailure::Connection => {
                    self.counters().count_error(ErrorKind::Accept);
                    debug!(target: "tcp_forwarder::reactor", "a connection was lost before it was accepted: {error}");
                    Accepted::Nobody
                }
                AcceptFailure::Exhausted => {
                    self.counters().count_error(ErrorKind::Accept);
                    // A client is worth more than a warm connection.
                    if self.give_up_one_warm() {
                        return Accepted::Nobody;
                    }
                    Accepted::Full(error.to_string())
                }
            },
        }
    }

    /// Accepts nobody before those have had another try who wait for a descriptor to dial with: each one more would
    /// hold one of those that they wait for.
    pub(super) fn pause_behind_waiters(&mut self, why: &str) {
        for place in 0..self.listeners.len() {
            self.pause(place, self.now + 2 * PAUSE, why);
        }
    }

    fn pause(&mut self, place: usize, until: Instant, why: &str) {
        self.counters().accept_paused.add(1);
        if let Some(listener) = self.listeners.get_mut(place) {
            listener.paused_until = Some(until);
        }
        if self.shared.pauses.begins(self.time.clock()) {
            warn!(target: "tcp_forwarder::reactor", "accepting pauses: {why}");
        }
    }

    /// Asks whether a client may connect, where there are limits.
    fn admit(&self, peer: SocketAddr) -> Result<Option<Box<Seat>>, RejectReason> {
        match &self.shared.admission {
            Some(admission) => admission.admit(peer.ip(), self.time.clock()),
            None => Ok(None),
        }
    }

    /// Closes a connection that may not be, with a reset: its client knows at once, and a flood leaves nothing
    /// behind in our kernel, where each finished connection would wait out `TIME_WAIT`.
    fn refuse(&self, stream: &TcpStream, peer: SocketAddr, reason: RejectReason) {
        const TARGET: &str = "tcp_forwarder::admission";
        self.counters().count_rejection(reason);
        net::reset_on_close(stream);
        let admission = self.shared.admission.as_ref();
        if admission.is_some_and(|admission| admission.begins_burst(reason, self.time.clock())) {
            warn!(target: TARGET, client:% = peer, reason = reason.label(); "clients are refused, this one first");
        } else {
            debug!(target: TARGET, client:% = peer, reason = reason.label(); "client refused");
        }
    }

    /// Takes a new connection in and finds it a backend.
    fn open(&mut self, stream: TcpStream, peer: SocketAddr) {
        let seat = match self.admit(peer) {
            Ok(seat) => seat,
            Err(reason) => return self.refuse(&stream, peer, reason),
        };
        self.counters().accepted.add(1);
        if let Err(error) = net::prepare_accepted(&stream, &self.shared.server.keepalive) {
            self.counters().count_error(ErrorKind::Accept);
            debug!(target: "tcp_forwarder::reactor", "{peer} left at once: {error}");
            return;
        }
        let connection = Connection {
            relay: Relay::new(stream, peer, self.now),
            link: Link::None,
            pool: None,
            failed: Vec::new(),
            queued: false,
            trust: super::Trust::Full,
            is_rescued: false,
            ending: None,
            _seat: seat,
        };
        let Ok(key) = self.connections.insert(connection) else {
            self.counters().count_error(ErrorKind::Accept);
            return;
        };
        self.counters().active.add(1);
        let registered = match self.connections.get_mut(key) {
            Some(connection) => self.poll.registry().register(
                &mut connection.relay.client.stream,
                slots::token(Kind::Relay, key),
                net::ALL_EVENTS,
            ),
            None => Ok(()),
        };
        if let Err(error) = registered {
            self.counters().count_error(ErrorKind::Accept);
            warn!(target: "tcp_forwarder::reactor", "a connection could not be registered: {error}");
            return self.close(
                key,
                crate::relay::close::Ending::quiet(crate::relay::close::CloseReason::Error),
            );
        }
        self.connection_timers.set(
            key.index(),
            self.now + self.shared.server.idle_timeout.min(KEEPALIVE_AFTER),
        );
        self.find_backend(key);
    }
}
