//! The metrics port: plain HTTP/1 for scrapers, on one thread, with a fixed bound on everything.
//!
//! # Why not `tiny_http::Server`
//! Its parts are used (header parser, methods, response writer), its server is not, because it cannot be
//! limited: each connection costs a thread and there may be any number; reads have no time-out, so 1,000 silent
//! peers hold 1,000 threads for ever; a head may have any length; an error of `accept` ends the port; and
//! a peer that resets early, or a lack of descriptors, panics a thread, which ends our process. The bytes of
//! strangers therefore go through an own small loop.
//!
//! # Bounds
//! One thread (the caller's); [`MAX_CONNECTIONS`] connections, of which the one idle for longest is closed
//! when one more comes, so that neither silent nor slow peers keep a scraper out; heads of
//! [`MAX_HEAD_BYTES`](super::MAX_HEAD_BYTES); a deadline on every phase of a connection. An idle connection owns no buffer.
//!
//! It must not know what is measured, and touches nothing of the data path: a flood here costs the time of
//! this one thread. Bytes that are no HTTP close the connection without an answer and are counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::connection::{Connection, Turn};
use crate::admin::site::Site;
use crate::config::Keepalive;
use crate::metrics::Exporter;
use crate::metrics::counters::ControlCounters;
use crate::{clock, net};

/// Connections at once.
pub const MAX_CONNECTIONS: usize = 32;
/// A stack that is large enough for the thread that runs the port.
pub const STACK_BYTES: usize = 256 * 1024;
/// Connections accepted in one turn; then the accepted ones have theirs.
const ACCEPTS_PER_TURN: usize = 2 * MAX_CONNECTIONS;
/// How long accepting pauses when descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const LISTENER: Token = Token(MAX_CONNECTIONS);
const STOP: Token = Token(MAX_CONNECTIONS + 1);

/// The port, bound and not yet serving.
#[derive(Debug)]
pub struct HttpPort {
    poll: Poll,
    listener: TcpListener,
    addr: SocketAddr,
    slots: Vec<Option<Connection>>,
    /// Connections that have more to do without waiting for their socket.
    ready: Vec<usize>,
    /// When to look for waiting connections without an event, if at all.
    accept_at: Option<Instant>,
    stopper: Stopper,
    site: Site,
}

/// Ends [`HttpPort::run`], from any thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    asked: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// Makes the port close its listener and connections and return.
    ///
    /// Meant to be called last in a stop, so that a drain can still be watched.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::warn!("the metrics port cannot be woken: {error}");
        }
    }
}

impl HttpPort {
    /// Binds the port; `path` is where the scrape is, `/` tells its name.
    ///
    /// # Errors
    /// When the address is in use, not ours or not permitted, or descriptors ran out.
    pub fn bind(
        addr: SocketAddr,
        path: &str,
        exporter: Exporter,
        control: Arc<ControlCounters>,
    ) -> io::Result<Self> {
        let mut listener = net::listen(addr, 1, &Keepalive::default())?
            .pop()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let addr = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let stopper = Stopper {
            asked: Arc::default(),
            waker: Arc::new(Waker::new(poll.registry(), STOP)?),
        };
        Ok(Self {
            poll,
            listener,
            addr,
            slots: (0..MAX_CONNECTIONS).map(|_| None).collect(),
            ready: Vec::new(),
            accept_at: None,
            stopper,
            site: Site::new(path.to_owned(), exporter, control),
        })
    }

    /// Where the port is; tells the number when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What ends [`run`](Self::run).
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until the stopper is used. Starts no thread.
    ///
    /// # Errors
    /// When the system's poll fails, which no peer can bring about.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(MAX_CONNECTIONS + 2);
        while !self.stopper.asked.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, self.patience(clock::now())) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let now = clock::now();
            for index in std::mem::take(&mut self.ready) {
                self.advance(index, now);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now),
                    STOP => {}
                    Token(index) => self.advance(index, now),
                }
            }
            if self.accept_at.is_some_and(|at| at <= now) {
                self.accept(now);
            }
            self.expire(now);
        }
        Ok(())
    }

    /// How long to wait for events.
    fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let connections = self.slots.iter().flatten().map(Connection::deadline);
        let next = connections.chain(self.accept_at).min()?;
        // Rounded up: the poll counts milliseconds and must not spin through the last one.
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn accept(&mut self, now: Instant) {
        self.accept_at = None;
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(Connection::new(stream, now), now),
                Err(error) => match net::accept_failure(&error) {
                    net::AcceptFailure::Empty => return,
                    net::AcceptFailure::Connection => {}
                    net::AcceptFailure::Exhausted => {
                        log::debug!("the metrics port pauses accepting: {error}");
                        self.accept_at = Some(now + ACCEPT_PAUSE);
                        return;
                    }
                },
            }
        }
        self.accept_at = Some(now);
    }

    fn admit(&mut self, mut connection: Connection, now: Instant) {
        let free = self.slots.iter().position(Option::is_none);
        let Some(index) = free.or_else(|| self.least_worth()) else {
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.register(connection.stream_mut(), Token(index), interest) {
            log::debug!("a connection of the metrics port cannot be polled: {error}");
            return;
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(connection);
        }
        self.advance(index, now);
    }

    /// The connection whose end costs least: the one that has waited for a request for longest.
    fn least_worth(&self) -> Option<usize> {
        let worths = self.slots.iter().enumerate();
        worths
            .filter_map(|(index, slot)| Some((slot.as_ref()?.worth(), index)))
            .min()
            .map(|(_, index)| index)
    }

    /// A late event may meet the next user of a slot: it finds its socket not ready and waits on.
    fn advance(&mut self, index: usize, now: Instant) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        match slot
            .as_mut()
            .map(|connection| connection.advance(&self.site, now))
        {
            Some(Turn::Closed) => *slot = None,
            Some(Turn::Continues) if !self.ready.contains(&index) => self.ready.push(index),
            Some(Turn::Waits | Turn::Continues) | None => {}
        }
    }

    fn expire(&mut self, now: Instant) {
        for slot in &mut self.slots {
            if let Some(connection) = slot.take_if(|connection| connection.deadline() <= now) {
                connection.on_timeout(&self.site);
            }
        }
    }
}
