//! The loop of the admin port, which serves any of its two doors while it is open.
//!
//! # Bounds
//! One thread (the caller's); [`MAX_CONNECTIONS`] connections, of which [`CONTROL_CONNECTIONS`] belong to the
//! control socket, so that no scraper locks the operator out, nor the other way round. Where one more comes, the
//! one idle for longest is closed, so that neither silent nor slow peers keep anybody out. Heads have
//! [`MAX_HEAD_BYTES`](super::MAX_HEAD_BYTES), bodies [`MAX_BODY_BYTES`](super::MAX_BODY_BYTES); there is a deadline on
//! every phase of a connection, and a bound on what waits for slow readers. An idle connection owns no buffer.
//! Bytes that are no HTTP close the connection without an answer and are counted.

use std::io;
use std::net::SocketAddr;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, Turn};
use super::mailbox::{AdminHandle, Mailbox, Order};
use super::wire::Listener;
use crate::admin::access::Door;
use crate::admin::desk::Ticket;
use crate::admin::page::Page;
use crate::admin::site::Site;
use crate::base::clock;
use crate::config::Keepalive;
use crate::net;

/// Connections at once.
pub const MAX_CONNECTIONS: usize = 32;
/// Those of them that are the control socket's.
pub const CONTROL_CONNECTIONS: usize = 4;
/// A stack that is large enough for the thread that runs the port.
pub const STACK_BYTES: usize = 256 * 1024;
/// Connections accepted in one turn; then the accepted ones have theirs.
const ACCEPTS_PER_TURN: usize = 2 * MAX_CONNECTIONS;
/// How long accepting pauses when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of answers that wait for their readers; one answer may have more.
const MAX_UNSENT_BYTES: usize = 64 * 1024 * 1024;

const METRICS: Token = Token(MAX_CONNECTIONS);
const CONTROL: Token = Token(MAX_CONNECTIONS + 1);
const ORDERS: Token = Token(MAX_CONNECTIONS + 2);

/// Opens a TCP port for [`AdminHandle::open_metrics`]; tells the number when port 0 was asked for.
///
/// # Errors
/// When the address is in use, not ours or not permitted, or descriptors ran out.
pub fn bind(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = net::listen(addr, 1, &Keepalive::default())?
        .pop()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

/// The loop, not yet running; both doors are closed until an order opens them.
#[derive(Debug)]
pub struct AdminLoop {
    poll: Poll,
    metrics: Option<Entrance>,
    control: Option<Entrance>,
    slots: Vec<Option<Connection>>,
    /// Connections that have more to do without waiting for their socket.
    ready: Vec<usize>,
    mailbox: Mailbox,
    state: State,
    site: Site,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    Ended,
}

/// An open door.
#[derive(Debug)]
struct Entrance {
    listener: Listener,
    /// When to look for waiting connections without an event, if at all.
    accept_at: Option<Instant>,
}

/// The slots in which connections of a door may be.
fn slots_of(door: Door) -> Range<usize> {
    const FIRST_OF_CONTROL: usize = MAX_CONNECTIONS - CONTROL_CONNECTIONS;
    match door {
        Door::Metrics => 0..FIRST_OF_CONTROL,
        Door::Control => FIRST_OF_CONTROL..MAX_CONNECTIONS,
    }
}

impl AdminLoop {
    /// A loop over this site, and what gives orders to it.
    ///
    /// # Errors
    /// When descriptors ran out.
    pub fn new(site: Site) -> io::Result<(Self, AdminHandle)> {
        let poll = Poll::new()?;
        let (mailbox, handle) = Mailbox::new(&poll, ORDERS, site.bell())?;
        let this = Self {
            poll,
            metrics: None,
            control: None,
            slots: (0..MAX_CONNECTIONS).map(|_| None).collect(),
            ready: Vec::new(),
            mailbox,
            state: State::Serving,
            site,
        };
        Ok((this, handle))
    }

    /// Serves until the order to stop. Starts no thread.
    ///
    /// # Errors
    /// When the system's poll fails, which no peer can bring about.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(MAX_CONNECTIONS + 3);
        while self.state == State::Serving {
            match self.poll.poll(&mut events, self.patience(clock::now())) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            // A large answer takes its time, so the time is looked at for each client.
            self.obey(clock::now());
            for index in std::mem::take(&mut self.ready) {
                self.obey(clock::now());
                self.advance(index, clock::now());
            }
            if self.mailbox.was_rung() {
                self.tell_followers(clock::now());
            }
            for event in &events {
                self.obey(clock::now());
                match event.token() {
                    METRICS => self.accept(Door::Metrics),
                    CONTROL => self.accept(Door::Control),
                    ORDERS => {}
                    Token(index) => self.advance(index, clock::now()),
                }
            }
            for door in [Door::Metrics, Door::Control] {
                let accept_at = self.entrance(door).as_ref().and_then(|open| open.accept_at);
                if accept_at.is_some_and(|at| at <= clock::now()) {
                    self.accept(door);
                }
            }
            self.expire(clock::now());
        }
        Ok(())
    }

    /// Carries out the orders that have come. Done before anything that a client asks for, so that an order
    /// holds for whoever comes after it.
    fn obey(&mut self, now: Instant) {
        while let Some(order) = self.mailbox.next() {
            match order {
                Order::OpenMetrics(listener, path) => {
                    self.site.set_path(path);
                    self.open(Door::Metrics, Listener::Tcp(listener), now);
                }
                Order::CloseMetrics => self.close(Door::Metrics, now),
                Order::OpenControl(listener) => self.open(Door::Control, Listener::Local(listener), now),
                Order::CloseControl => self.close(Door::Control, now),
                Order::SetPath(path) => self.site.set_path(path),
                Order::SetToken(token) => self.site.set_token(token),
                Order::Deliver(ticket, page) => self.deliver(ticket, page, now),
                Order::Stop => self.state = State::Ended,
            }
        }
    }

    fn entrance(&mut self, door: Door) -> &mut Option<Entrance> {
        match door {
            Door::Metrics => &mut self.metrics,
            Door::Control => &mut self.control,
        }
    }

    fn open(&mut self, door: Door, mut listener: Listener, now: Instant) {
        self.close(door, now);
        let token = match door {
            Door::Metrics => METRICS,
            Door::Control => CONTROL,
        };
        let registry = self.poll.registry();
        match registry.register(listener.source(), token, Interest::READABLE) {
            Ok(()) => {
                *self.entrance(door) = Some(Entrance {
                    listener,
                    accept_at: None,
                });
            }
            Err(error) => log::error!("a listener of the admin port cannot be polled: {error}"),
        }
    }

    /// Closes a door behind those who wait at it.
    fn close(&mut self, door: Door, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.accept_one(door, now).is_break() {
                break;
            }
        }
        let Some(mut open) = self.entrance(door).take() else {
            return;
        };
        // Another process may hold the same socket, so closing ours would not end its events.
        if let Err(error) = self.poll.registry().deregister(open.listener.source()) {
            log::debug!("a listener of the admin port cannot be taken off the poll: {error}");
        }
        for connection in self.slots.iter_mut().flatten() {
            if connection.door() == door {
                connection.retire(now);
            }
        }
    }

    /// How long to wait for events.
    fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let connections = self.slots.iter().flatten().map(Connection::deadline);
        let doors = [&self.metrics, &self.control].into_iter().flatten();
        let next = connections.chain(doors.filter_map(|open| open.accept_at)).min()?;
        // Rounded up: the poll counts milliseconds and must not spin through the last one.
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn accept(&mut self, door: Door) {
        for _ in 0..ACCEPTS_PER_TURN {
            self.obey(clock::now());
            if self.accept_one(door, clock::now()).is_break() {
                return;
            }
        }
        if let Some(open) = self.entrance(door) {
            open.accept_at = Some(clock::now());
        }
    }

    /// Lets one in; breaks off where nobody is there or nobody can be let in.
    fn accept_one(&mut self, door: Door, now: Instant) -> ControlFlow<()> {
        let Some(open) = self.entrance(door) else {
            return ControlFlow::Break(());
        };
        open.accept_at = None;
        match open.listener.accept() {
            Ok(wire) => self.admit(Connection::new(wire, door, now), now),
            Err(error) => match net::accept_failure(&error) {
                net::AcceptFailure::Empty => return ControlFlow::Break(()),
                net::AcceptFailure::Connection => {}
                net::AcceptFailure::Exhausted => {
                    log::debug!("the admin port pauses accepting: {error}");
                    open.accept_at = Some(now + ACCEPT_PAUSE);
                    return ControlFlow::Break(());
                }
            },
        }
        ControlFlow::Continue(())
    }

    fn admit(&mut self, mut connection: Connection, now: Instant) {
        let slots = slots_of(connection.door());
        let free = slots
            .clone()
            .find(|index| self.slots.get(*index).is_some_and(Option::is_none));
        let Some(index) = free.or_else(|| self.least_worth(slots)) else {
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.register(connection.source(), Token(index), interest) {
            log::debug!("a connection of the admin port cannot be polled: {error}");
            return;
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(connection);
        }
        self.advance(index, now);
    }

    /// The connection whose end costs least: the one that has waited for a request for longest.
    fn least_worth(&self, slots: Range<usize>) -> Option<usize> {
        slots
            .filter_map(|index| Some((self.slots.get(index)?.as_ref()?.worth(), index)))
            .min()
            .map(|(_, index)| index)
    }

    /// A late event may meet the next user of a slot: it finds its socket not ready and waits on.
    fn advance(&mut self, index: usize, now: Instant) {
        let Some(connection) = self.slots.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let turn = connection.advance(&self.site, now);
        self.settle(index, turn);
    }

    /// Something may have happened: those who follow hear of it.
    fn tell_followers(&mut self, now: Instant) {
        for index in 0..MAX_CONNECTIONS {
            let follows = |connection: &Connection| connection.is_following();
            if self
                .slots
                .get(index)
                .and_then(Option::as_ref)
                .is_some_and(follows)
            {
                self.advance(index, now);
            }
        }
    }

    /// Does what a turn came to.
    fn settle(&mut self, index: usize, turn: Turn) {
        match turn {
            Turn::Closed => drop(self.slots.get_mut(index).and_then(Option::take)),
            Turn::HandsOver => self.hand_over(index),
            Turn::Continues if !self.ready.contains(&index) => self.ready.push(index),
            Turn::Continues | Turn::Waits => {}
        }
        self.relieve(index);
    }

    /// Keeps what waits for slow readers within its bound: the oldest answers go, but never the one just made.
    fn relieve(&mut self, but: usize) {
        let unsent =
            |slots: &[Option<Connection>]| -> usize { slots.iter().flatten().map(Connection::unsent).sum() };
        while unsent(&self.slots) > MAX_UNSENT_BYTES {
            let replying = self.slots.iter().enumerate().filter_map(|(index, slot)| {
                let connection = slot.as_ref()?;
                (index != but && connection.unsent() > 0).then(|| (connection.worth(), index))
            });
            let Some((_, oldest)) = replying.min() else {
                return;
            };
            drop(self.slots.get_mut(oldest).and_then(Option::take));
        }
    }

    fn hand_over(&mut self, index: usize) {
        let Some(mut connection) = self.slots.get_mut(index).and_then(Option::take) else {
            return;
        };
        let deregistered = self.poll.registry().deregister(connection.source());
        let guest = deregistered.and_then(|()| connection.into_guest().transpose());
        match guest {
            Ok(Some(guest)) => self.site.hand_over(guest),
            Ok(None) => debug_assert!(false, "only local sockets are handed over"),
            Err(error) => log::warn!("a connection cannot be handed over: {error}"),
        }
    }

    fn deliver(&mut self, ticket: Ticket, page: Page, now: Instant) {
        let mut page = Some(page);
        for index in 0..MAX_CONNECTIONS {
            let Some(connection) = self.slots.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            let Some(offered) = page.take() else {
                return;
            };
            match connection.deliver(ticket, offered, now) {
                Ok(()) => self.advance(index, now),
                Err(back) => page = Some(back),
            }
        }
        if page.is_some() {
            log::debug!("an answer comes for a client that waits no longer");
        }
    }

    fn expire(&mut self, now: Instant) {
        for index in 0..MAX_CONNECTIONS {
            let Some(connection) = self.slots.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            if connection.deadline() <= now {
                let turn = connection.on_deadline(&self.site, now);
                self.settle(index, turn);
            }
        }
    }
}
