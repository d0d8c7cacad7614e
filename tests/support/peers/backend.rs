//! Backends that can be told to misbehave: one thread and one poll each.

use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, SockRef, Socket, Type};

use super::guest::{Fate, Guest};
use super::reset;

/// What a backend does, until it is told otherwise.
///
/// A connection is served as the backend behaves when the first byte of it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Exchanges, as they should be.
    Serve,
    /// Nobody listens: connects are refused. What is established goes on.
    Refuse,
    /// The queue of its listener is full: connects are neither taken nor refused.
    TimeOut,
    AcceptAndClose,
    AcceptAndReset,
    /// Closes what has been silent for a random time of up to so long; else serves.
    CloseWarm {
        within: Duration,
    },
    /// Sends a banner to whoever connects; then serves.
    SpeakFirst,
    NeverRead,
    /// Reads, and does not even finish when the client has.
    NeverAnswer,
    /// Says nothing before the client has finished.
    AnswerAfterHalfClose,
    /// Serves, and resets the connection behind so many bytes of its own.
    ResetAfter {
        bytes: u64,
    },
    /// Died: nobody listens, and all that was established is reset.
    Gone,
    /// Dies and comes back, each time after so long.
    Flap {
        every: Duration,
    },
}

impl Behaviour {
    /// Whether an order is answered.
    pub(super) fn answers(self) -> bool {
        !matches!(self, Self::NeverAnswer | Self::NeverRead)
    }
}

/// A counter that one thread moves and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened at one backend.
#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: Count,
    /// Orders that came whole.
    pub orders: Count,
    /// Exchanges that ended as they should.
    pub served: Count,
    /// Connections that this backend reset: as told, or because it died.
    pub reset: Count,
    /// Silent connections that it closed.
    pub closed_warm: Count,
    /// Of these, those on which a request was on its way just then.
    pub crossed: Count,
    /// Orders whose bytes were finished, not reset, before they were all there.
    pub cut: Count,
    /// Connections on which something came that nobody had sent. Must be 0 whatever happens.
    pub corrupt: Count,
    /// Times that it died.
    pub deaths: Count,
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    /// Rises with each order that has been carried out.
    told: AtomicU64,
    obeyed: AtomicU64,
    ends: AtomicBool,
    tally: Tally,
}

/// A backend on an address of its own; it ends when dropped.
#[derive(Debug)]
pub struct Backend {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// An address of 127.0.0.0/8 that no other backend of this process has, and most likely no other process: a
/// port that is free for a while is nobody else's then.
fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed);
    let block = 32 + std::process::id() % 96;
    Ipv4Addr::from((127 << 24) | (block << 16) | (place + 1))
}

impl Backend {
    /// Starts one that behaves well; its whims come from `seed`.
    pub fn start(seed: u64) -> Self {
        let listener = listen((own_ip(), 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), WAKER).unwrap();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour::Serve),
            told: AtomicU64::new(0),
            obeyed: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            tally: Tally::default(),
        });
        let mut stage = Stage {
            shared: Arc::clone(&shared),
            poll,
            addr,
            listener: None,
            fillers: Vec::new(),
            guests: HashMap::new(),
            next: FIRST_GUEST,
            alarms: BinaryHeap::new(),
            rng: fastrand::Rng::with_seed(seed),
            behaviour: Behaviour::Serve,
            flaps_at: None,
        };
        stage.adopt(listener);
        let thread = std::thread::spawn(move || stage.run());
        Self {
            addr,
            shared,
            waker,
            thread: Some(thread),
        }
    }

    /// Some of them.
    pub fn several<const N: usize>(seed: u64) -> [Self; N] {
        std::array::from_fn(|place| Self::start(seed + place as u64))
    }

    /// Behaves like this from now on: it does when this returns.
    pub fn behave(&self, behaviour: Behaviour) {
        let mine = {
            let mut present = self.shared.behaviour.lock().unwrap();
            *present = behaviour;
            self.shared.told.fetch_add(1, Ordering::Relaxed) + 1
        };
        self.waker.wake().unwrap();
        crate::support::wait_for("the backend has heard", || {
            self.shared.obeyed.load(Ordering::Acquire) >= mine
        });
    }

    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // Either fails only when the thread has ended already, of what a test has been told elsewhere.
        drop(self.waker.wake());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_GUEST: usize = 2;

/// As long a queue as the system allows.
const BACKLOG: i32 = 65_535;

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What the thread of a backend owns.
struct Stage {
    shared: Arc<Shared>,
    poll: Poll,
    addr: SocketAddr,
    listener: Option<TcpListener>,
    /// Connections that fill the queue of the listener.
    fillers: Vec<std::net::TcpStream>,
    guests: HashMap<usize, Guest>,
    next: usize,
    /// When to look at which guest again, soonest first.
    alarms: BinaryHeap<std::cmp::Reverse<(Instant, usize)>>,
    rng: fastrand::Rng,
    behaviour: Behaviour,
    flaps_at: Option<Instant>,
}

impl Stage {
    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while !self.shared.ends.load(Ordering::Relaxed) {
            let now = Instant::now();
            let alarm = self.alarms.peek().map(|alarm| alarm.0.0);
            let next = [alarm, self.flaps_at].into_iter().flatten().min();
            let patience = next.map(|next| next.saturating_duration_since(now));
            if let Err(error) = self.poll.poll(&mut events, patience) {
                assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
                continue;
            }
            self.obey();
            self.flap();
            for event in &events {
                match event.token() {
                    WAKER => {}
                    LISTENER => self.accept(),
                    Token(guest) => self.turn(guest),
                }
            }
            while let Some(alarm) = self.alarms.peek()
                && alarm.0.0 <= Instant::now()
                && let Some(alarm) = self.alarms.pop()
            {
                self.turn(alarm.0.1);
            }
        }
    }

    /// Follows what it was told.
    fn obey(&mut self) {
        let (behaviour, told) = {
            let behaviour = self.shared.behaviour.lock().unwrap();
            (*behaviour, self.shared.told.load(Ordering::Relaxed))
        };
        if told == self.shared.obeyed.load(Ordering::Relaxed) {
            return;
        }
        self.behaviour = behaviour;
        self.flaps_at = None;
        match behaviour {
            Behaviour::Refuse => self.close_listener(),
            Behaviour::Gone => self.die(),
            Behaviour::TimeOut => self.fill_up(),
            Behaviour::Flap { every } => {
                self.flaps_at = Some(Instant::now() + every);
                self.come_back();
            }
            Behaviour::Serve
            | Behaviour::AcceptAndClose
            | Behaviour::AcceptAndReset
            | Behaviour::CloseWarm { .. }
            | Behaviour::SpeakFirst
            | Behaviour::NeverRead
            | Behaviour::NeverAnswer
            | Behaviour::AnswerAfterHalfClose
            | Behaviour::ResetAfter { .. } => self.come_back(),
        }
        let now = Instant::now();
        let silent = self.guests.values_mut().filter(|guest| guest.is_silent());
        if let Behaviour::CloseWarm { within } = behaviour {
            silent.for_each(|guest| guest.close_at(now + within.mul_f64(self.rng.f64())));
        }
        let guests: Vec<_> = self.guests.keys().copied().collect();
        for guest in guests {
            self.turn(guest);
        }
        self.shared.obeyed.store(told, Ordering::Release);
    }

    fn flap(&mut self) {
        let now = Instant::now();
        if let Behaviour::Flap { every } = self.behaviour
            && self.flaps_at.is_some_and(|at| at <= now)
        {
            self.flaps_at = Some(now + every);
            if self.listener.is_some() {
                self.die();
            } else {
                self.come_back();
            }
        }
    }

    fn adopt(&mut self, mut listener: TcpListener) {
        let registry = self.poll.registry();
        registry
            .register(&mut listener, LISTENER, Interest::READABLE)
            .unwrap();
        self.listener = Some(listener);
    }

    fn close_listener(&mut self) {
        self.listener = None;
        self.fillers.clear();
    }

    fn die(&mut self) {
        self.close_listener();
        self.shared.tally.deaths.add();
        for guest in self.guests.values() {
            self.shared.tally.reset.add();
            reset(&guest.stream);
        }
        self.guests.clear();
        self.alarms.clear();
    }

    fn come_back(&mut self) {
        match &self.listener {
            None => {
                let listener = listen(self.addr).unwrap();
                self.adopt(listener);
            }
            Some(listener) if !self.fillers.is_empty() => {
                SockRef::from(listener).listen(BACKLOG).unwrap();
                self.fillers.clear();
            }
            Some(_) => {}
        }
        // An edge may have passed while nobody accepted.
        self.accept();
    }

    /// Shortens the queue of the listener to one, and fills it.
    fn fill_up(&mut self) {
        self.come_back();
        let Some(listener) = &self.listener else { return };
        SockRef::from(listener).listen(0).unwrap();
        while let Ok(filler) = std::net::TcpStream::connect_timeout(&self.addr, Duration::from_millis(100)) {
            self.fillers.push(filler);
        }
    }

    fn accept(&mut self) {
        if self.behaviour == Behaviour::TimeOut {
            return;
        }
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                // Its client has gone already, or nobody waits.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: TcpStream) {
        let tally = &self.shared.tally;
        tally.accepted.add();
        let mut due = None;
        match self.behaviour {
            Behaviour::AcceptAndClose => return,
            Behaviour::AcceptAndReset => {
                tally.reset.add();
                return reset(&stream);
            }
            Behaviour::CloseWarm { within } => {
                due = Some(Instant::now() + within.mul_f64(self.rng.f64()));
            }
            Behaviour::Serve
            | Behaviour::Refuse
            | Behaviour::TimeOut
            | Behaviour::SpeakFirst
            | Behaviour::NeverRead
            | Behaviour::NeverAnswer
            | Behaviour::AnswerAfterHalfClose
            | Behaviour::ResetAfter { .. }
            | Behaviour::Gone
            | Behaviour::Flap { .. } => {}
        }
        let token = self.next;
        self.next += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(token), both)
            .unwrap();
        self.guests.insert(token, Guest::new(stream, self.behaviour, due));
        self.turn(token);
    }

    fn turn(&mut self, token: usize) {
        let Some(guest) = self.guests.get_mut(&token) else {
            return;
        };
        match guest.turn(self.behaviour, Instant::now(), &self.shared.tally) {
            Fate::Stays => {}
            Fate::StaysUntil(at) => self.alarms.push(std::cmp::Reverse((at, token))),
            Fate::Ends => drop(self.guests.remove(&token)),
        }
    }
}
