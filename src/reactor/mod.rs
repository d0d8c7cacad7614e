//! The data path: one poll loop per thread, from accept to close.
//!
//! A reactor owns its listeners, its clients, its connections to backends (dialling, warm, in use) and their
//! timers; nothing of it is shared but counters, and it takes no lock and allocates nothing per event. What
//! control threads decide reaches it as snapshots and numbers, announced by its waker.
//!
//! One turn of the loop: warm connections that died and dials that ended first, so that nobody is given a
//! dead connection; then relays; then accepting; then timers; then refilling of pools.
//!
//! ```text
//! client:    accept -> waiting for a dial -> relay -> (reset held back) -> closed
//!                  \-> warm connection ----^
//! upstream:  dialling -> warm -> in use -> closed
//!                  \-----------^
//! ```

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Poll, Token, Waker};

use crate::admission::{Admission, Seat};
use crate::backend::ActiveSet;
use crate::clock;
use crate::config::{Pools, Server, Splice};
use crate::loadbalancer::LoadBalancer;
use crate::metrics::counters::ReactorCounters;
use crate::pools::warm::Pool;
use crate::relay::Relay;
use crate::relay::bandwidth::Bandwidth;
use crate::relay::close::Ending;
use crate::relay::pipe::PipeReserve;
use crate::scorer::{LinkView, SampleInbox};
use crate::shutdown::Shutdown;
use crate::snapshot::{Published, Reader};

pub mod bursts;
mod checkout;
mod held_back;
pub mod limits;
mod listener;
mod refill;
mod relays;
mod signal;
pub mod slots;
mod time;
pub mod timers;
mod upstreams;

use bursts::Burst;
use held_back::HeldBack;
use limits::Limits;
use listener::Listener;
use signal::Signal;
use slots::{Key, Kind, Slots};
use time::ReactorTime;
use timers::Timers;
use upstreams::Upstream;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// Room for one read.
const SCRATCH_BYTES: usize = 128 * 1024;

const WAKER: Token = Token(usize::MAX);

/// What all reactors share with each other and with the control threads.
#[derive(Debug)]
pub struct Shared {
    /// `server` of the configuration.
    pub server: Server,
    /// `pools` of the configuration.
    pub pools: Pools,
    /// Shares of the process's descriptors.
    pub limits: Limits,
    /// Who may connect; none when everybody may.
    pub admission: Option<Admission>,
    /// How fast bytes may move; none without a limit.
    pub bandwidth: Option<Bandwidth>,
    /// Pauses of accepting.
    pub pauses: Burst,
    /// Dials that failed for want of a descriptor or a port.
    pub shortages: Burst,
    /// The members that connections go to.
    pub active_set: Arc<Published<ActiveSet>>,
    /// How our own link stands.
    pub link: Arc<Published<LinkView>>,
    /// Where dials are reported.
    pub samples: Arc<SampleInbox>,
    /// One entry a reactor.
    pub counters: Arc<[ReactorCounters]>,
    /// Whose turn it is.
    pub balancer: LoadBalancer,
    /// The stop signal.
    pub shutdown: Arc<Shutdown>,
}

/// How a reactor ended.
#[derive(Debug, Default, Clone, Copy)]
pub struct Farewell {
    /// Relays that finished by themselves while it was draining.
    pub finished: usize,
    /// Relays that were cut at the end of `drain_timeout`.
    pub cut: usize,
}

/// Where the backend's socket of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// The connection waits for this dial.
    Dialling(Key),
    /// The relay uses this socket.
    Attached(Key),
    /// No backend: just accepted, waiting for a descriptor, or about to end.
    None,
}

/// How a client takes warm connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// As they come.
    Full,
    /// One turned out stale for it: the next ones are looked at before they are used.
    AfterALook,
    /// One died under its first flight: it gets a dial of its own.
    None,
}

/// A client's connection, as the reactor keeps it.
#[derive(Debug)]
struct Connection {
    relay: Relay,
    link: Link,
    /// The pool that counts it as in use; set from the pick to the close.
    pool: Option<Key>,
    /// Backends that failed for it, in order.
    failed: Vec<std::net::SocketAddr>,
    /// Whether it stands in the run queue.
    queued: bool,
    trust: Trust,
    /// Whether it has been counted as rescued.
    is_rescued: bool,
    /// Set while the end is held back.
    ending: Option<HeldBack>,
    /// Counts it for its client, for as long as it is here.
    _seat: Option<Box<Seat>>,
}

/// One thread of the data path.
#[derive(Debug)]
pub struct Reactor {
    index: usize,
    shared: Arc<Shared>,
    poll: Poll,
    listeners: Vec<Listener>,
    active: Reader<ActiveSet>,
    link: Reader<LinkView>,
    /// How often our own link has come back, as far as the pools were told.
    recoveries: u64,
    /// The pool of each member of the active set, in its order.
    members: Vec<Key>,
    connections: Slots<Connection>,
    upstreams: Slots<Upstream>,
    pools: Slots<Pool<Key>>,
    connection_timers: Timers,
    upstream_timers: Timers,
    /// When connections that a limit of bandwidth has paused go on.
    resume_timers: Timers,
    /// Connections that have more to move at once.
    run_queue: Vec<Key>,
    /// The other buffer of the run queue: while one is worked off, the other fills.
    run_queue_spare: Vec<Key>,
    /// When refilling is to be looked at again.
    refill_at: Option<Instant>,
    refill_due: bool,
    scratch: Box<[u8]>,
    pipes: PipeReserve,
    rng: fastrand::Rng,
    time: ReactorTime,
    /// The time of the present turn: the reactor's own, see [`time`].
    now: Instant,
    drain: Option<Drain>,
}

/// The stop, as one reactor lives it.
#[derive(Debug)]
struct Drain {
    until: Instant,
    farewell: Farewell,
}

impl Reactor {
    /// A reactor with its listeners registered, and the waker that interrupts its sleep.
    ///
    /// # Errors
    /// When the system gives no poll, waker or registration.
    pub fn new(
        index: usize,
        shared: Arc<Shared>,
        listeners: Vec<TcpListener>,
        rng: fastrand::Rng,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let listeners = listener::register(&poll, listeners)?;
        let now = clock::now();
        let pipes = match shared.server.splice {
            Splice::Auto | Splice::On => PipeReserve::of(shared.limits.pipes(shared.counters.len())),
            Splice::Off => PipeReserve::of(0),
        };
        let active = Reader::new(Arc::clone(&shared.active_set));
        let link = Reader::new(Arc::clone(&shared.link));
        let mut reactor = Self {
            index,
            shared,
            poll,
            listeners,
            active,
            recoveries: link.recoveries,
            link,
            members: Vec::new(),
            connections: Slots::default(),
            upstreams: Slots::default(),
            pools: Slots::default(),
            connection_timers: Timers::new(now),
            upstream_timers: Timers::new(now),
            resume_timers: Timers::new(now),
            run_queue: Vec::new(),
            run_queue_spare: Vec::new(),
            refill_at: None,
            refill_due: true,
            scratch: vec![0; SCRATCH_BYTES].into(),
            pipes,
            rng,
            time: ReactorTime::new(now),
            now,
            drain: None,
        };
        reactor.adopt_active_set();
        Ok((reactor, waker))
    }

    /// Runs until the stop has begun and every relay has ended.
    ///
    /// # Errors
    /// When the system's poll fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<Farewell> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Some(farewell) = self.farewell() {
                return Ok(farewell);
            }
            match self.poll.poll(&mut events, self.patience()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.now = self.time.begin_turn(clock::now());
            self.turn(&events);
            self.time.end_turn(clock::now());
        }
    }

    /// One turn of the loop, in the order of the module's documentation.
    fn turn(&mut self, events: &Events) {
        if self.active.refresh() {
            self.adopt_active_set();
        }
        for event in events {
            if let (Kind::Upstream, key) = slots::parse(event.token()) {
                self.on_idle_upstream(key, Signal::of(event));
            }
        }
        for event in events {
            self.dispatch(event);
        }
        self.run_queued();
        self.accept_all();
        self.fire_timers();
        self.refill();
        if self.drain.is_none() && self.shared.shutdown.has_begun() {
            self.begin_drain();
        }
    }

    fn dispatch(&mut self, event: &Event) {
        let token = event.token();
        if token == WAKER {
            self.refill_due = true;
            return;
        }
        if let Some(listener) = listener::place(token) {
            if let Some(listener) = self.listeners.get_mut(listener) {
                listener.ready = true;
            }
            return;
        }
        match slots::parse(token) {
            (Kind::Relay, key) => self.on_client(key, Signal::of(event)),
            (Kind::Upstream, key) => self.on_backend(key, Signal::of(event)),
        }
    }

    /// How long the poll may sleep.
    fn patience(&self) -> Option<Duration> {
        if self.refill_due || !self.run_queue.is_empty() || self.listeners.iter().any(Listener::is_due) {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.connection_timers.next(),
            self.upstream_timers.next(),
            self.resume_timers.next(),
            self.refill_at,
            self.drain.as_ref().map(|drain| drain.until),
        ];
        let paused = self.listeners.iter().filter_map(|listener| listener.paused_until);
        let next = deadlines.into_iter().flatten().chain(paused).min()?;
        // Rounded up by the poll itself: mio waits no shorter than asked. The clock was read when the turn began;
        // the turn's own length is no lateness worth a second look at it.
        Some(next.saturating_duration_since(self.now))
    }

    fn fire_timers(&mut self) {
        while let Some(index) = self.connection_timers.pop_due(self.now) {
            if let Some(key) = self.connections.key_at(index) {
                self.on_connection_deadline(key);
            }
        }
        while let Some(index) = self.resume_timers.pop_due(self.now) {
            if let Some(key) = self.connections.key_at(index) {
                self.drive(key);
            }
        }
        while let Some(index) = self.upstream_timers.pop_due(self.now) {
            if let Some(key) = self.upstreams.key_at(index) {
                self.on_upstream_deadline(key);
            }
        }
    }

    fn counters(&self) -> &ReactorCounters {
        counters_of(&self.shared, self.index)
    }

    /// Sockets that all reactors hold.
    fn sockets(&self) -> usize {
        let all = self.shared.counters.iter();
        let sum: u64 = all.map(|one| one.active.value() + one.upstreams.value()).sum();
        usize::try_from(sum).unwrap_or(usize::MAX)
    }

    /// Serves what is queued at the listeners, closes them, and gives up what is warm.
    fn begin_drain(&mut self) {
        self.accept_the_last();
        self.listeners.clear();
        self.drain = Some(Drain {
            until: self.now + self.shared.pools.drain_timeout,
            farewell: Farewell::default(),
        });
        let pools: Vec<Key> = self.pools.keys().collect();
        for pool in pools {
            self.close_warm(pool);
        }
    }

    /// How it ended, once it has.
    fn farewell(&mut self) -> Option<Farewell> {
        let until = self.drain.as_ref()?.until;
        if !self.connections.is_empty() && self.now < until {
            return None;
        }
        let left: Vec<Key> = self.connections.keys().collect();
        let mut farewell = self.drain.as_ref()?.farewell;
        farewell.cut = left.len();
        for key in left {
            self.close(key, Ending::quiet(crate::relay::close::CloseReason::Drained));
        }
        Some(farewell)
    }
}

fn counters_of(shared: &Shared, index: usize) -> &ReactorCounters {
    // Built with one entry a reactor; an index beyond them would be a bug worth dying of.
    &shared.counters[index]
}
