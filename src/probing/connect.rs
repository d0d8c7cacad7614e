//! A batch of probes on one poll: connects, and what is asked beyond them.
//!
//! Owns the sockets of probes from connect to close, their deadlines and the clock readings that time them.
//! Knows nothing of why a candidate is probed or what becomes of the sample.
//!
//! ```text
//!  Connecting ──(established, and nothing is to be asked)──► a sample
//!      │                                                        ▲
//!      └──(established)──► Talking ──(a verdict, or too late)───┘
//! ```
//! An answer has as long as a connect.
//!
//! Invariants: each socket ends in exactly one sample, no later than its deadline plus one turn; a slot is used again only after the events of its predecessor's batch are through.
//!
//! **Closing.** An established probe is reset, not finished, as `HAProxy` does with its checks: it has
//! carried no data that anybody still waits for, and the candidate is rid of it at once even if it would
//! ignore an end of stream. A finish would leave one local port in `TIME_WAIT` per probe for a minute, and
//! an entry in every connection-tracking table on the way for two. The price: servers that log resets log
//! one per probe. A connect that times out is closed before it is established, which sends nothing.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::check::{Plan, Reading, Verdict};
use super::probe::Probe;
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::net::{self, ConnectState};
use crate::scorer::sample::{Heard, Outcome, Sample, Source};
use crate::service::id::Candidate;

/// The token of the waker; slots count from 0.
const WAKE: Token = Token(usize::MAX);

/// Events taken from the poll at once.
const EVENTS: usize = 256;

/// Bytes of an answer that are read at once.
const READ_AT_ONCE: usize = 4096;

/// Connects in flight.
#[derive(Debug)]
pub struct Connector {
    poll: Poll,
    events: Events,
    slots: Vec<Option<Flight>>,
    free: Vec<usize>,
    deadlines: BTreeSet<(Instant, usize)>,
}

/// One probe.
#[derive(Debug)]
struct Flight {
    stream: TcpStream,
    candidate: Candidate,
    /// What it connects to.
    addr: SocketAddr,
    began_at: Instant,
    deadline: Instant,
    timeout: Duration,
    stage: Stage,
}

/// How far a probe has come.
#[derive(Debug)]
enum Stage {
    /// It connects, and asks this then.
    Connecting(Option<Arc<Plan>>),
    /// It is connected, and asks.
    Talking(Box<Talk>),
}

/// A question and its answer.
#[derive(Debug)]
struct Talk {
    plan: Arc<Plan>,
    /// How long the connect took.
    connect: Duration,
    question: Vec<u8>,
    sent: usize,
    /// When the whole question was handed over.
    asked_at: Instant,
    first_byte: Option<Duration>,
    reading: Reading,
}

/// How a probe stands.
enum Progress {
    /// An event or its deadline will tell.
    Waits,
    /// It is over.
    Over(Outcome, Heard),
    /// It was connected after this long, and the answer is a wrong one.
    Wrong(Duration, &'static str),
}

impl Talk {
    /// Goes on as far as it can without waiting.
    fn go_on(&mut self, stream: &mut TcpStream, now: Instant) -> Progress {
        while let Some(rest) = self.question.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(count) => {
                    self.sent += count;
                    self.asked_at = now;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.over(Verdict::Wrong("the connection fails")),
            }
        }
        let mut buffer = [0; READ_AT_ONCE];
        loop {
            let verdict = match stream.read(&mut buffer) {
                Ok(0) => self.reading.end(&self.plan),
                Ok(count) => {
                    let waited = now.saturating_duration_since(self.asked_at);
                    self.first_byte.get_or_insert(waited);
                    self.reading.feed(&self.plan, &buffer[..count])
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Verdict::Open,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Waits,
                Err(_) => Verdict::Wrong("the connection fails"),
            };
            if verdict != Verdict::Open {
                return self.over(verdict);
            }
        }
    }

    fn over(&self, verdict: Verdict) -> Progress {
        match verdict {
            Verdict::Open => Progress::Waits,
            Verdict::Right => {
                let heard = Heard::Answer(self.first_byte.unwrap_or_default());
                Progress::Over(Outcome::Success(self.connect), heard)
            }
            Verdict::Wrong(why) => Progress::Wrong(self.connect, why),
        }
    }
}

/// What became of the wish to connect.
#[derive(Debug)]
pub enum Start {
    /// It is in flight.
    Begun,
    /// The system knew at once that it fails.
    Ended(Sample),
    /// Descriptors or memory ran out: says nothing of the candidate.
    Exhausted,
    /// No local port towards this candidate is free: says nothing of it, and nothing of others.
    NoPort,
}

impl Connector {
    /// A connector whose [`turn`](Self::turn) ends when `bell` is rung.
    ///
    /// # Errors
    /// When the system has no poll or descriptor to give.
    pub fn new(bell: &Doorbell) -> io::Result<Self> {
        let poll = Poll::new()?;
        bell.attach(Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            slots: Vec::new(),
            free: Vec::new(),
            deadlines: BTreeSet::new(),
        })
    }

    /// Connects in flight.
    pub fn in_flight(&self) -> usize {
        self.deadlines.len()
    }

    /// Begins a probe that asks according to a plan, if there is one; it fails after its time-out.
    pub fn start(&mut self, probe: &Probe, plan: Option<Arc<Plan>>) -> Start {
        let Probe {
            candidate, timeout, ..
        } = *probe;
        let addr = probe.to();
        let began_at = clock::now();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let begun = net::begin_connect(addr).and_then(|mut stream| {
            self.poll
                .registry()
                .register(&mut stream, Token(slot), Interest::WRITABLE)?;
            Ok(stream)
        });
        match begun {
            Ok(stream) => {
                self.deadlines.insert((began_at + timeout, slot));
                if let Some(empty) = self.slots.get_mut(slot) {
                    debug_assert!(empty.is_none(), "a free slot is empty");
                    *empty = Some(Flight {
                        stream,
                        candidate,
                        addr,
                        began_at,
                        deadline: began_at + timeout,
                        timeout,
                        stage: Stage::Connecting(plan),
                    });
                }
                Start::Begun
            }
            Err(error) => {
                self.free.push(slot);
                if net::is_exhausted(&error) {
                    log::debug!(target: "tcp_forwarder::probing", "probe of {addr} put off: {error}");
                    return Start::Exhausted;
                }
                if net::is_out_of_ports(&error) {
                    log::debug!(target: "tcp_forwarder::probing", "probe of {addr} left out: {error}");
                    return Start::NoPort;
                }
                log::debug!(target: "tcp_forwarder::probing", "probe of {addr} failed: {error}");
                Start::Ended(Sample {
                    candidate,
                    outcome: Outcome::of(&error),
                    heard: Heard::NotAsked,
                    source: Source::Probe,
                    began_at,
                    at: clock::now(),
                })
            }
        }
    }

    /// Waits for connects to end, at most until `until` (none: for good) or the next deadline, and adds the
    /// samples of those that did to `ended`.
    ///
    /// # Errors
    /// When the poll fails, other than by a signal.
    pub fn turn(&mut self, until: Option<Instant>, ended: &mut Vec<Sample>) -> io::Result<()> {
        let next_deadline = self.deadlines.first().map(|(at, _)| *at);
        let until = [until, next_deadline].into_iter().flatten().min();
        let patience = until.map(|until| until.saturating_duration_since(clock::now()));
        if let Err(error) = self.poll.poll(&mut self.events, patience) {
            if error.kind() == io::ErrorKind::Interrupted {
                return Ok(());
            }
            return Err(error);
        }
        let now = clock::now();
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() != WAKE {
                ended.extend(self.on_event(event.token().0, now));
            }
        }
        self.events = events;
        while let Some((at, slot)) = self.deadlines.first().copied()
            && at <= now
        {
            // After a late turn the answer may be here already, its event still in the queue.
            let ending = self.on_event(slot, now);
            // Or it was established just now, and has until a later deadline to answer.
            let is_late = self.deadlines.contains(&(at, slot));
            ended.extend(ending.or_else(|| is_late.then(|| self.give_up(slot, now)).flatten()));
        }
        Ok(())
    }

    fn on_event(&mut self, slot: usize, now: Instant) -> Option<Sample> {
        let flight = self.slots.get_mut(slot)?.as_mut()?;
        let progress = match &mut flight.stage {
            Stage::Talking(talk) => talk.go_on(&mut flight.stream, now),
            Stage::Connecting(plan) => match net::connect_state(&flight.stream) {
                ConnectState::Pending => Progress::Waits,
                ConnectState::Established => {
                    // A turn that came late is not the candidate's fault.
                    let took = now.saturating_duration_since(flight.began_at).min(flight.timeout);
                    match plan.take() {
                        None => Progress::Over(Outcome::Success(took), Heard::NotAsked),
                        Some(plan) => return self.begin_to_talk(slot, plan, took, now),
                    }
                }
                ConnectState::Failed(error) => {
                    log::debug!(target: "tcp_forwarder::probing", "probe of {} failed: {error}", flight.candidate.addr);
                    Progress::Over(Outcome::of(&error), Heard::NotAsked)
                }
            },
        };
        match progress {
            Progress::Waits => None,
            Progress::Over(outcome, heard) => self.end(slot, now, outcome, heard),
            Progress::Wrong(connect, why) => self.end_wrong(slot, now, connect, why),
        }
    }

    /// A connect is established, and its candidate is asked; the sample, if that is over at once.
    fn begin_to_talk(
        &mut self,
        slot: usize,
        plan: Arc<Plan>,
        connect: Duration,
        now: Instant,
    ) -> Option<Sample> {
        let flight = self.slots.get_mut(slot)?.as_mut()?;
        self.deadlines.remove(&(flight.deadline, slot));
        flight.deadline = now + flight.timeout;
        self.deadlines.insert((flight.deadline, slot));
        flight.stage = Stage::Talking(Box::new(Talk {
            question: plan.question(flight.addr),
            plan,
            connect,
            sent: 0,
            asked_at: now,
            first_byte: None,
            reading: Reading::default(),
        }));
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.reregister(&mut flight.stream, Token(slot), interest) {
            log::debug!(target: "tcp_forwarder::probing", "probe of {} is left at its connect: {error}", flight.candidate.addr);
            return self.end(slot, now, Outcome::Success(connect), Heard::NotAsked);
        }
        self.on_event(slot, now)
    }

    /// A probe has had its time.
    fn give_up(&mut self, slot: usize, now: Instant) -> Option<Sample> {
        let connect = match &self.slots.get(slot)?.as_ref()?.stage {
            Stage::Connecting(_) => None,
            Stage::Talking(talk) => Some(talk.connect),
        };
        match connect {
            None => self.end(slot, now, Outcome::Failure, Heard::NotAsked),
            Some(connect) => self.end_wrong(slot, now, connect, "it does not come in time"),
        }
    }

    fn end_wrong(
        &mut self,
        slot: usize,
        now: Instant,
        connect: Duration,
        why: &'static str,
    ) -> Option<Sample> {
        let addr = self.slots.get(slot)?.as_ref()?.candidate.addr;
        log::debug!(target: "tcp_forwarder::probing", "the answer of {addr} to a check is wrong: {why}");
        self.end(slot, now, Outcome::Success(connect), Heard::Wrong(why))
    }

    /// Closes a probe and says how it went.
    fn end(&mut self, slot: usize, now: Instant, outcome: Outcome, heard: Heard) -> Option<Sample> {
        let flight = self.slots.get_mut(slot)?.take()?;
        if outcome.is_success() {
            net::reset_on_close(&flight.stream);
        }
        self.deadlines.remove(&(flight.deadline, slot));
        self.free.push(slot);
        Some(Sample {
            candidate: flight.candidate,
            outcome,
            heard,
            source: Source::Probe,
            began_at: flight.began_at,
            at: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream as StdStream};
    use std::sync::Arc;

    use socket2::{Domain, Socket, Type};

    use super::super::probe::Errand;
    use super::*;
    use crate::service::id::ServiceId;

    const LONG: Duration = Duration::from_secs(20);

    fn connector() -> Connector {
        Connector::new(&Doorbell::default()).expect("a connector")
    }

    fn probe(addr: SocketAddr, timeout: Duration) -> Probe {
        Probe {
            candidate: Candidate {
                service: ServiceId::fresh(),
                addr,
            },
            timeout,
            errand: Errand::Sentinel,
            port: 0,
            asks: true,
        }
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        (listener, addr)
    }

    /// Turns until `count` samples are there.
    fn wait_for(connector: &mut Connector, ended: &mut Vec<Sample>, count: usize) {
        let deadline = clock::now() + LONG;
        while ended.len() < count {
            assert!(clock::now() < deadline, "{} of {count} samples", ended.len());
            connector.turn(Some(deadline), ended).expect("a turn");
        }
    }

    #[test]
    fn accepting_candidates_succeed_and_refusing_ones_fail_together() {
        let mut connector = connector();
        let (listener, open) = listener();
        // Bound but not listening: refuses, and nobody else can come to listen there.
        let closed = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        closed
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .expect("a free port");
        let refusing = closed
            .local_addr()
            .expect("an address")
            .as_socket()
            .expect("of IPv4");

        let mut ended = Vec::new();
        for addr in [open, refusing].repeat(20) {
            match connector.start(&probe(addr, LONG), None) {
                Start::Begun => {}
                Start::Ended(sample) => ended.push(sample),
                Start::Exhausted | Start::NoPort => panic!("40 sockets are to be had"),
            }
        }
        wait_for(&mut connector, &mut ended, 40);
        assert_eq!((ended.len(), connector.in_flight()), (40, 0));
        for sample in &ended {
            match sample.outcome {
                Outcome::Success(took) => {
                    assert!(sample.candidate.addr == open && took > Duration::ZERO && took < LONG);
                }
                Outcome::Refused => assert_eq!(sample.candidate.addr, refusing),
                Outcome::NoRoute | Outcome::Failure => panic!("{sample:?}"),
            }
            assert_eq!(sample.source, Source::Probe);
        }
        assert_eq!(
            ended
                .iter()
                .filter(|sample| sample.candidate.addr == open)
                .count(),
            20
        );
        drop(listener);
    }

    #[test]
    fn an_established_probe_is_reset() {
        let mut connector = connector();
        let (listener, open) = listener();
        assert!(matches!(connector.start(&probe(open, LONG), None), Start::Begun));
        let (mut accepted, _) = listener.accept().expect("the connect");
        let mut ended = Vec::new();
        wait_for(&mut connector, &mut ended, 1);
        let error = Read::read(&mut accepted, &mut [0; 8]).expect_err("no end of stream");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn another_port_is_connected_to_and_named_and_the_answer_is_timed() {
        let mut connector = connector();
        let (listener, open) = listener();
        let named = SocketAddr::new(open.ip(), 9);
        let check = crate::config::Check {
            kind: crate::config::CheckKind::Http,
            ..crate::config::Check::default()
        };
        let mut probe = probe(named, LONG);
        probe.port = open.port();
        let plan = Plan::of(&check).map(Arc::new);
        assert!(matches!(connector.start(&probe, plan), Start::Begun));
        let late = Duration::from_millis(50);
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the connect");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("the request");
            std::thread::park_timeout(late);
            stream
                .write_all(b"HTTP/1.0 204 Fine\r\n\r\n")
                .expect("it listens");
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        let mut ended = Vec::new();
        wait_for(&mut connector, &mut ended, 1);
        let request = server.join().expect("no panic");
        assert!(request.contains(&format!("Host: {open}\r\n")), "{request}");
        assert_eq!(ended[0].candidate.addr, named, "the sample is the candidate's");
        let Heard::Answer(took) = ended[0].heard else {
            panic!("{:?}", ended[0])
        };
        assert!(took >= late / 2 && took < LONG, "{took:?}");
        assert!(ended[0].outcome.latency().is_some_and(|connect| connect < took));
    }

    #[test]
    fn one_that_says_nothing_is_wrong_at_its_deadline_and_keeps_its_connect() {
        let mut connector = connector();
        let (_listener, mute) = listener();
        let check = crate::config::Check {
            kind: crate::config::CheckKind::Http,
            ..crate::config::Check::default()
        };
        let short = Duration::from_millis(80);
        let plan = Plan::of(&check).map(Arc::new);
        assert!(matches!(connector.start(&probe(mute, short), plan), Start::Begun));
        let mut ended = Vec::new();
        wait_for(&mut connector, &mut ended, 1);
        assert!(matches!(ended[0].heard, Heard::Wrong("it does not come in time")));
        assert!(ended[0].outcome.is_success(), "{:?}", ended[0]);
        assert_eq!(connector.in_flight(), 0);
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn a_silent_candidate_fails_at_its_deadline() {
        // A listener whose queue is full drops further connects without a word.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .expect("a free port");
        socket.listen(0).expect("a listener");
        let silent = socket
            .local_addr()
            .expect("an address")
            .as_socket()
            .expect("of IPv4");
        let mut queued = Vec::new();
        while let Ok(stream) = StdStream::connect_timeout(&silent, Duration::from_millis(100)) {
            queued.push(stream);
        }
        assert!(!queued.is_empty());

        let mut connector = connector();
        let (_listener, open) = listener();
        let (short, began_at) = (Duration::from_millis(80), clock::now());
        assert!(matches!(
            connector.start(&probe(silent, LONG), None),
            Start::Begun
        ));
        assert!(matches!(
            connector.start(&probe(silent, short), None),
            Start::Begun
        ));
        assert!(matches!(connector.start(&probe(open, LONG), None), Start::Begun));
        let mut ended = Vec::new();
        wait_for(&mut connector, &mut ended, 2);
        assert_eq!(ended[0].candidate.addr, open);
        assert_eq!(
            (ended[1].candidate.addr, ended[1].outcome),
            (silent, Outcome::Failure)
        );
        let took = ended[1].at - began_at;
        assert!(took >= short && took < LONG, "{took:?}");
        assert_eq!(connector.in_flight(), 1, "each has its own deadline");
    }

    #[test]
    fn answers_that_came_in_time_count_though_the_turn_is_late() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .expect("a free port");
        socket.listen(4096).expect("a listener");
        let open = socket
            .local_addr()
            .expect("an address")
            .as_socket()
            .expect("of IPv4");
        // More than one turn takes from the poll.
        let count = EVENTS + 50;
        let timeout = Duration::from_millis(50);
        let mut connector = connector();
        for _ in 0..count {
            assert!(matches!(
                connector.start(&probe(open, timeout), None),
                Start::Begun
            ));
        }
        std::thread::park_timeout(timeout * 2);
        let mut ended = Vec::new();
        wait_for(&mut connector, &mut ended, count);
        for sample in ended {
            assert!(matches!(sample.outcome, Outcome::Success(took) if took <= timeout));
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut connector = connector();
        let (_listener, open) = listener();
        let mut ended = Vec::new();
        for round in 1..=10 {
            for _ in 0..3 {
                assert!(matches!(connector.start(&probe(open, LONG), None), Start::Begun));
            }
            wait_for(&mut connector, &mut ended, round * 3);
        }
        assert_eq!(connector.slots.len(), 3);
        assert!(
            ended
                .iter()
                .all(|sample| matches!(sample.outcome, Outcome::Success(_)))
        );
    }

    #[test]
    fn an_address_without_a_route_fails_at_once() {
        let mut connector = connector();
        let nowhere = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        let Start::Ended(sample) = connector.start(&probe(nowhere, LONG), None) else {
            panic!("no connect to everybody")
        };
        assert_eq!(sample.candidate.addr, nowhere);
        assert!(!sample.outcome.is_answer());
        assert_eq!(connector.in_flight(), 0);
    }

    #[test]
    fn a_ring_ends_a_turn() {
        let bell = Arc::new(Doorbell::default());
        let mut connector = Connector::new(&bell).expect("a connector");
        let ringing = {
            let bell = Arc::clone(&bell);
            std::thread::spawn(move || bell.ring())
        };
        connector.turn(None, &mut Vec::new()).expect("a turn");
        ringing.join().expect("no panic");
        assert!(bell.answer());
    }
}
