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
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use super::check::Plan;
use super::probe::Probe;
use super::probe_place::ProbePlace;
use super::talk::Talk;
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::config::Bind;
use crate::net::{self, ConnectState};
use crate::scorer::sample::{Heard, Outcome, Sample, Source};
use crate::service::id::Candidate;
use crate::tls::Channel;

/// The token of the waker; slots count from 0.
const WAKE: Token = Token(usize::MAX);

/// Events taken from the poll at once.
const EVENTS: usize = 256;

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
    stream: Channel,
    candidate: Candidate,
    /// What it connects to.
    addr: SocketAddr,
    began_at: Instant,
    deadline: Instant,
    timeout: Duration,
    stage: Stage,
    /// Its place, at a backend that takes only so many connections. Behind the socket, which is closed before that is free.
    _place: Option<ProbePlace>,
}

/// How far a probe has come.
#[derive(Debug)]
enum Stage {
    /// It connects, and asks this then.
    Connecting(Option<Arc<Plan>>),
    /// It was connected after so long, and asks.
    Talking(Duration, Box<Talk>),
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
    /// No local port towards this candidate is free, or what it is to be connected from is not there: says nothing of it,
    /// and nothing of others.
    NoSource(io::Error),
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

    /// Begins a probe from where it is to leave, which asks according to a plan, if there is one; it fails after its time-out.
    ///
    /// With a place, if it is of a backend that takes only so many connections; that is given back when the probe has ended.
    pub fn start(
        &mut self,
        place: Option<ProbePlace>,
        probe: &Probe,
        plan: Option<Arc<Plan>>,
        bind: &Bind,
    ) -> Start {
        let Probe {
            candidate, timeout, ..
        } = *probe;
        let addr = probe.to();
        let began_at = clock::now();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let begun = net::begin_connect_from(bind, addr).and_then(|mut stream| {
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
                        stream: stream.into(),
                        candidate,
                        addr,
                        began_at,
                        deadline: began_at + timeout,
                        timeout,
                        stage: Stage::Connecting(plan),
                        _place: place,
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
                if net::is_of_our_own(&error) {
                    log::debug!(target: "tcp_forwarder::probing", "probe of {addr} left out: {error}");
                    return Start::NoSource(error);
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
        let plan = match &mut flight.stage {
            Stage::Connecting(plan) => plan,
            Stage::Talking(connect, talk) => {
                let (connect, heard) = (*connect, talk.go_on(&mut flight.stream, now)?);
                return self.end(slot, now, Outcome::Success(connect), heard);
            }
        };
        match net::connect_state(flight.stream.wire()) {
            ConnectState::Pending => None,
            ConnectState::Established => {
                // A turn that came late is not the candidate's fault.
                let took = now.saturating_duration_since(flight.began_at).min(flight.timeout);
                match plan.take() {
                    None => self.end(slot, now, Outcome::Success(took), Heard::NotAsked),
                    Some(plan) => self.begin_to_talk(slot, plan, took, now),
                }
            }
            ConnectState::Failed(error) => {
                log::debug!(target: "tcp_forwarder::probing", "probe of {} failed: {error}", flight.candidate.addr);
                self.end(slot, now, Outcome::of(&error), Heard::NotAsked)
            }
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
        let talk = Talk::new(plan, flight.addr, now);
        flight.stage = Stage::Talking(connect, Box::new(talk));
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.reregister(flight.stream.wire_mut(), Token(slot), interest) {
            log::debug!(target: "tcp_forwarder::probing", "probe of {} is left at its connect: {error}", flight.candidate.addr);
            return self.end(slot, now, Outcome::Success(connect), Heard::NotAsked);
        }
        self.on_event(slot, now)
    }

    /// A probe has had its time.
    fn give_up(&mut self, slot: usize, now: Instant) -> Option<Sample> {
        let (outcome, heard) = match self.slots.get(slot)?.as_ref()?.stage {
            Stage::Connecting(_) => (Outcome::Failure, Heard::NotAsked),
            Stage::Talking(connect, _) => {
                let wrong = Heard::Wrong("it does not come in time");
                (Outcome::Success(connect), wrong)
            }
        };
        self.end(slot, now, outcome, heard)
    }

    /// Closes a probe and says how it went.
    fn end(&mut self, slot: usize, now: Instant, outcome: Outcome, heard: Heard) -> Option<Sample> {
        let flight = self.slots.get_mut(slot)?.take()?;
        if let Heard::Wrong(why) = heard {
            let addr = flight.candidate.addr;
            log::debug!(target: "tcp_forwarder::probing", "the answer of {addr} to a check is wrong: {why}");
        }
        if outcome.is_success() {
            net::reset_on_close(flight.stream.wire());
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
mod tests;
