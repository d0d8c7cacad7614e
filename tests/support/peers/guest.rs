//! One connection of a backend, and what it does to it.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::backend::{Behaviour, Tally};
use super::stream::{BANNER, Order, Received, Rounds, Script};
use super::unsent::unsent;
use super::{is_retry, reset, tighten};

/// How long a backend that resets waits before it looks whether its last byte has arrived.
const BEFORE_RESET: Duration = Duration::from_millis(10);

/// What becomes of a connection after its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    /// It is to be looked at again at that time.
    StaysUntil(Instant),
    Ends,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// All has been said, the finish included; the client's is awaited.
    Served,
    /// Finished because nothing came.
    GivenUp,
}

/// A connection that a backend has accepted.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) stream: TcpStream,
    /// What it is served by: the backend's behaviour when its first byte came.
    behaviour: Behaviour,
    head: Vec<u8>,
    order: Option<Order>,
    rounds: Rounds,
    received: Received,
    /// Bytes of the banner.
    greeting: u64,
    reply: Script,
    said: u64,
    is_answering: bool,
    has_digest: bool,
    heard_all: bool,
    /// A silent connection is closed then; a reset comes then.
    due: Option<Instant>,
    phase: Phase,
}

impl Guest {
    /// A connection that was just accepted; `due` if a warm one is not to live long.
    pub(super) fn new(stream: TcpStream, behaviour: Behaviour, due: Option<Instant>) -> Self {
        let banner = if behaviour == Behaviour::SpeakFirst {
            BANNER
        } else {
            &[]
        };
        Self {
            stream,
            behaviour,
            head: Vec::new(),
            order: None,
            rounds: Rounds::ONE,
            received: Received::default(),
            greeting: banner.len() as u64,
            reply: Script::new(banner, 0, 0),
            said: 0,
            is_answering: false,
            has_digest: false,
            heard_all: false,
            due,
            phase: Phase::Open,
        }
    }

    /// Whether nothing has come yet.
    pub(super) fn is_silent(&self) -> bool {
        self.head.is_empty() && self.phase == Phase::Open
    }

    /// Closes it at that time if it is silent still.
    pub(super) fn close_at(&mut self, due: Instant) {
        self.due = Some(due);
    }

    /// Does what can be done now, while the backend behaves as `present`.
    pub(super) fn turn(&mut self, present: Behaviour, now: Instant, tally: &Tally) -> Fate {
        if self.is_silent() && present == Behaviour::NeverRead || !self.behaviour.answers() {
            // Who was left waiting is served once the backend is better.
            self.behaviour = present;
        }
        if self.behaviour == Behaviour::NeverRead {
            return Fate::Stays;
        }
        if !self.hear(present, tally) {
            self.check_what_came(tally);
            return Fate::Ends;
        }
        if self.phase != Phase::Open {
            return if self.heard_all { Fate::Ends } else { Fate::Stays };
        }
        if let Some(fate) = self.on_due(present, now, tally) {
            return fate;
        }
        self.speak(now, tally)
    }

    /// Reads what there is; false when the connection is dead.
    fn hear(&mut self, present: Behaviour, tally: &Tally) -> bool {
        let mut buffer = [0; 16 * 1024];
        while !self.heard_all {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.heard_all = true,
                Ok(_) if self.phase == Phase::GivenUp => {
                    // A request met the close on its way: nobody can save that one.
                    tally.crossed.add();
                    return false;
                }
                Ok(count) => self.take(&buffer[..count], present, tally),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_retry(error.kind()) => break,
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, mut bytes: &[u8], present: Behaviour, tally: &Tally) {
        if self.order.is_none() {
            if self.head.is_empty() {
                self.behaviour = present;
                self.due = None;
                tally.begun.add();
            }
            let count = bytes.len().min(Order::BYTES - self.head.len());
            self.head.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.head.len() < Order::BYTES {
                return;
            }
            let (order, rounds) = Order::from_bytes(&self.head);
            self.order = Some(order);
            self.rounds = rounds;
            tally.orders.add();
        }
        let before = self.received.bytes;
        self.received.take(bytes);
        if let Behaviour::Tight { after } = self.behaviour
            && (before <= after && after <= self.received.bytes)
        {
            tighten(&self.stream);
        }
    }

    fn on_due(&mut self, present: Behaviour, now: Instant, tally: &Tally) -> Option<Fate> {
        let due = self.due?;
        if due > now {
            return Some(Fate::StaysUntil(due));
        }
        self.due = None;
        if matches!(self.behaviour, Behaviour::ResetAfter { .. }) {
            if unsent(&self.stream) > 0 {
                self.due = Some(now + BEFORE_RESET);
                return Some(Fate::StaysUntil(now + BEFORE_RESET));
            }
            tally.reset.add();
            reset(&self.stream);
            return Some(Fate::Ends);
        }
        if matches!(present, Behaviour::CloseWarm { .. }) {
            tally.closed_warm.add();
            self.phase = Phase::GivenUp;
            drop(self.stream.shutdown(Shutdown::Write));
            return Some(Fate::Stays);
        }
        None
    }

    fn speak(&mut self, now: Instant, tally: &Tally) -> Fate {
        let waits = self.behaviour == Behaviour::AnswerAfterHalfClose && !self.heard_all;
        if waits {
            return Fate::Stays;
        }
        loop {
            self.prepare();
            let limit = if let Behaviour::ResetAfter { bytes } = self.behaviour {
                bytes.saturating_sub(self.said)
            } else {
                u64::MAX
            };
            if limit == 0 {
                self.due = Some(now + BEFORE_RESET);
                return Fate::StaysUntil(now + BEFORE_RESET);
            }
            let limit = limit.min(self.allowance());
            let next = self.reply.next();
            let portion = next.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
            if portion == 0 {
                break;
            }
            match self.stream.write(&next[..portion]) {
                Ok(count) => {
                    self.reply.advance(count);
                    self.said += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_retry(error.kind()) => return Fate::Stays,
                Err(_) => {
                    self.check_what_came(tally);
                    return Fate::Ends;
                }
            }
        }
        self.ending(tally)
    }

    /// How many bytes more may be said before the next part of the request is there.
    fn allowance(&self) -> u64 {
        let Some(order) = self.order else { return u64::MAX };
        let over = self.rounds.over(order.up, self.received.bytes);
        if over >= self.rounds.0 {
            return u64::MAX;
        }
        (self.greeting + self.rounds.share(order.down, over)).saturating_sub(self.said)
    }

    /// Makes ready what may be said by now: what was ordered, and its end once all that was announced has come.
    fn prepare(&mut self) {
        let Some(order) = self.order.filter(|_| self.behaviour.answers()) else {
            return;
        };
        if !self.is_answering {
            self.is_answering = true;
            self.reply.go_on_with(order.down_seed(), order.down);
        }
        if !self.has_digest && self.received.bytes >= order.up {
            self.has_digest = true;
            self.reply.end_with(&self.received.digest());
        }
    }

    /// All has been said that can be said now.
    fn ending(&mut self, tally: &Tally) -> Fate {
        if self.has_digest {
            self.phase = Phase::Served;
            tally.served.add();
            drop(self.stream.shutdown(Shutdown::Write));
        }
        let waits = self.order.is_some() && !self.behaviour.answers();
        if !self.heard_all || waits {
            return Fate::Stays;
        }
        let announced = self.order.map_or(0, |order| order.up);
        if self.phase == Phase::Open && (self.received.bytes < announced || self.is_head_cut()) {
            tally.cut.add();
        }
        self.check_what_came(tally);
        Fate::Ends
    }

    fn is_head_cut(&self) -> bool {
        self.order.is_none() && !self.head.is_empty()
    }

    /// What came must be a beginning of what was announced, however the connection ended.
    fn check_what_came(&self, tally: &Tally) {
        if let Some(order) = self.order
            && (self.received.bytes > order.up || !self.received.is_start_of(order.seed))
        {
            tally.corrupt.add();
        }
    }
}
