//! The thread of a backend: its listener, its connections, and how it obeys.

use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockRef, Socket, Type};

use super::backend::{Behaviour, Shared};
use super::guest::{Fate, Guest};
use super::reset;

pub(super) const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_GUEST: usize = 2;

/// As long a queue as the system allows.
const BACKLOG: i32 = 65_535;

/// The queue of a listener that is to be full: longer than what connects to it at the same moment.
///
/// Of a shorter one Linux answers a SYN with a cookie and remembers nothing. When two such connects race for the last
/// place, the loser is established for its side alone, and its first bytes, if they are more than one segment, are
/// reset: a failure of clients that no forwarder can help.
const FULL_BACKLOG: i32 = 64;

pub(super) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What the thread of a backend owns.
pub(super) struct Stage {
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
    /// A stage that behaves well.
    pub(super) fn new(poll: Poll, listener: TcpListener, shared: Arc<Shared>, seed: u64) -> Self {
        let mut stage = Self {
            shared,
            poll,
            addr: listener.local_addr().unwrap(),
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
        stage
    }

    /// Plays until it is told to end.
    pub(super) fn run(mut self) {
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
            | Behaviour::Tight { .. }
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

    /// Shortens the queue of the listener, and fills it.
    fn fill_up(&mut self) {
        self.come_back();
        let Some(listener) = &self.listener else { return };
        SockRef::from(listener).listen(FULL_BACKLOG).unwrap();
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
            | Behaviour::Tight { .. }
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
