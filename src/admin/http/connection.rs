//! One connection of the admin port.
//!
//! ```text
//!            whole head             body has come           made elsewhere
//!   Reading ────────────▶ Body ───────────────────▶ answer ────────────────▶ Waiting
//!    │ ▲  ▲                 ▲  ▲                      │                         │ made, or 15 s are over
//!    │ │  │                 │  │ 100 Continue         ▼                         ▼
//!    │ │  └─────────────────┼──┴───────────────── Replying ◀────────────────────┘
//!    │ │     keep-alive     └ no body               │   │ 101
//!    │ garbage, end, error, time-out     last answer │   └─────▶ handed over
//!    ▼                                               ▼
//!   closed ◀───────── end, limit, time ───────── Lingering
//! ```
//!
//! Following: events are told as they happen, and a remark when none did for long, so that either side learns when the other
//! is gone. From Reading by way of an answer, and between its parts Replying.
//!
//! A body is thrown away as it comes. Lingering: our side is finished, what the peer still sends is swallowed
//! for a moment; a close with unread bytes would be a reset, which can take the answer away from the peer before
//! it was read.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::time::{Duration, Instant};

use mio::event::Source;

use super::request::{After, Body, Expects, MAX_HEAD_BYTES, Parsed, Request, parse};
use super::wire::Wire;
use crate::admin::access::Door;
use crate::admin::desk::{Guest, Ticket};
use crate::admin::page::{Manner, Page, Reply};
use crate::admin::site::{Answer, Site};

/// The most bytes a body may have; more is refused.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// A head that has begun must be whole after this long, and a body after the same once more.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two requests; longer than any usual scrape interval. A full port closes the idle earlier.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(150);
/// An answer that is made elsewhere must have come after this long.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A peer must have taken an answer after this long, and [`SLOWEST`].
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// What the size of an answer adds to that time: bytes a second.
const SLOWEST: usize = 256 * 1024;
/// How long a finished connection swallows what still comes.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// How much a finished connection swallows.
const LINGER_BYTES: usize = 64 * 1024;
/// So long after the last event, a follower hears that nothing has happened.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Answers in one turn; then other connections have theirs.
const REPLIES_PER_TURN: u32 = 8;
/// Parts of an answer in one write.
const SLICES: usize = 8;
/// Bytes written in one turn, about.
const BYTES_PER_TURN: usize = 1024 * 1024;

#[derive(Debug)]
enum Phase {
    Reading,
    Body {
        request: Request,
        left: usize,
    },
    Waiting {
        ticket: Ticket,
        manner: Manner,
    },
    Replying {
        reply: Reply,
        written: usize,
        then: Then,
    },
    Lingering {
        swallowed: usize,
    },
    /// All events up to this number were told.
    Following {
        seen: u64,
        swallowed: usize,
    },
}

/// What follows a reply.
#[derive(Debug)]
enum Then {
    /// The next request.
    Read,
    /// The body of this one.
    TakeBody(Request, usize),
    /// The end.
    Close,
    /// Events after this number.
    Follow(u64),
    /// Others go on with the connection.
    HandOver,
}

/// What a turn of a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It waits for its socket, or for an answer.
    Waits,
    /// It has more to do at once.
    Continues,
    /// It belongs to others from now on.
    HandsOver,
    /// It is over.
    Closed,
}

/// Whether the listener of a connection is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    AsLongAsItLikes,
    UntilTheNextAnswer,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire,
    door: Door,
    /// Bytes read and not yet used; at most a head and one read.
    received: Vec<u8>,
    phase: Phase,
    stay: Stay,
    /// When the phase began.
    since: Instant,
    /// When the phase ends by itself.
    deadline: Instant,
}

impl Connection {
    pub(super) fn new(wire: Wire, door: Door, now: Instant) -> Self {
        Self {
            wire,
            door,
            received: Vec::new(),
            phase: Phase::Reading,
            stay: Stay::AsLongAsItLikes,
            since: now,
            deadline: now + HEAD_TIMEOUT,
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        self.wire.source()
    }

    pub(super) fn door(&self) -> Door {
        self.door
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Orders connections by how little is lost when they are closed to make room: least first.
    pub(super) fn worth(&self) -> (u8, Instant) {
        let phase = match self.phase {
            Phase::Reading | Phase::Body { .. } => 0,
            Phase::Lingering { .. } => 1,
            Phase::Replying { .. } | Phase::Following { .. } => 2,
            Phase::Waiting { .. } => 3,
        };
        (phase, self.since)
    }

    /// Bytes of an answer that the peer has not taken yet.
    pub(super) fn unsent(&self) -> usize {
        match &self.phase {
            Phase::Replying { reply, written, .. } => reply.len().saturating_sub(*written),
            Phase::Reading
            | Phase::Body { .. }
            | Phase::Waiting { .. }
            | Phase::Lingering { .. }
            | Phase::Following { .. } => 0,
        }
    }

    /// Whether it waits for something to happen.
    pub(super) fn is_following(&self) -> bool {
        matches!(self.phase, Phase::Following { .. })
    }

    fn enter(&mut self, phase: Phase, now: Instant, patience: Duration) {
        self.phase = phase;
        self.since = now;
        self.deadline = now + patience;
    }

    /// Its listener is gone: the next answer is the last, and soon there is none.
    pub(super) fn retire(&mut self, now: Instant) {
        self.stay = Stay::UntilTheNextAnswer;
        if matches!(self.phase, Phase::Reading | Phase::Following { .. }) {
            self.deadline = self.deadline.min(now + HEAD_TIMEOUT);
        }
    }

    /// What happens because the time of the phase is over.
    pub(super) fn on_deadline(&mut self, site: &Site, now: Instant) -> Turn {
        match &self.phase {
            Phase::Waiting { manner, .. } => {
                let late = Page::error(
                    504,
                    "no answer has come in time; what was asked for may still happen",
                );
                let manner = manner.clone();
                self.reply(late, manner, now);
                return self.advance(site, now);
            }
            Phase::Following { seen, .. } if self.stay == Stay::AsLongAsItLikes => {
                let then = Then::Follow(*seen);
                self.enter_reply(Reply::part(": nothing has happened\n\n".to_owned()), then, now);
                return self.advance(site, now);
            }
            // A request that never becomes whole is none; silence is no harm.
            Phase::Reading if self.received.is_empty() => {}
            Phase::Reading | Phase::Body { .. } => site.count_bad(),
            Phase::Replying { .. } | Phase::Lingering { .. } | Phase::Following { .. } => {}
        }
        Turn::Closed
    }

    /// Takes the answer of an errand, if it is this connection that waits for it.
    pub(super) fn deliver(&mut self, ticket: Ticket, page: Page, now: Instant) -> Result<(), Page> {
        match &self.phase {
            Phase::Waiting { ticket: own, manner } if *own == ticket => {
                let manner = manner.clone();
                self.reply(page, manner, now);
                Ok(())
            }
            Phase::Waiting { .. }
            | Phase::Reading
            | Phase::Body { .. }
            | Phase::Replying { .. }
            | Phase::Lingering { .. }
            | Phase::Following { .. } => Err(page),
        }
    }

    /// What others get to go on with; `None` for a connection over TCP, which nobody asks for.
    pub(super) fn into_guest(self) -> Option<std::io::Result<Guest>> {
        let read_ahead = self.received;
        let stream = self.wire.into_local()?;
        Some(stream.map(|stream| Guest { stream, read_ahead }))
    }

    /// Does all that the socket allows now.
    pub(super) fn advance(&mut self, site: &Site, now: Instant) -> Turn {
        let mut replies = 0;
        loop {
            let step = match &self.phase {
                Phase::Reading => self.read_request(site, now),
                Phase::Body { .. } => self.read_body(site, now),
                Phase::Waiting { .. } => Step::Blocked,
                Phase::Replying { .. } => {
                    replies += 1;
                    self.write_reply(now)
                }
                Phase::Lingering { .. } => self.swallow(),
                Phase::Following { .. } => self.follow(site, now),
            };
            match step {
                Step::Next if replies >= REPLIES_PER_TURN => return Turn::Continues,
                Step::Next => {}
                Step::Blocked => return Turn::Waits,
                Step::Yields => return Turn::Continues,
                Step::HandsOver => return Turn::HandsOver,
                Step::End => return Turn::Closed,
            }
        }
    }

    fn read_request(&mut self, site: &Site, now: Instant) -> Step {
        loop {
            let parsed = parse(&self.received);
            match parsed {
                Parsed::Incomplete => match read_some(&mut self.wire) {
                    Ok(chunk) if chunk.is_empty() => {
                        if !self.received.is_empty() {
                            site.count_bad();
                        }
                        return Step::End;
                    }
                    Ok(chunk) => {
                        if self.received.is_empty() {
                            self.deadline = now + HEAD_TIMEOUT;
                        }
                        self.received.extend_from_slice(chunk.bytes());
                    }
                    Err(step) => return step,
                },
                Parsed::Garbage => {
                    site.count_bad();
                    return Step::End;
                }
                Parsed::Refused(status) => {
                    self.reply(site.refuse(status), Manner::of_the_unknown(), now);
                    return Step::Next;
                }
                Parsed::Complete(request) => {
                    self.received.drain(..request.head_bytes);
                    self.take_request(request, site, now);
                    return Step::Next;
                }
            }
        }
    }

    /// Decides by the head alone whether the body is wanted.
    fn take_request(&mut self, request: Request, site: &Site, now: Instant) {
        let mut last = Manner::of(&request);
        last.after = After::Close;
        let length = match request.body {
            Body::Length(length) if length <= MAX_BODY_BYTES => length,
            Body::Length(_) => return self.reply(site.refuse(413), last, now),
            Body::Encoded => return self.reply(site.refuse(411), last, now),
        };
        match request.expects {
            Expects::Unknown => self.reply(site.refuse(417), last, now),
            Expects::Continue if length > 0 && self.received.is_empty() => {
                match site.refusal(&request, self.door) {
                    // The client may send the body all the same, so it is unknown where the next request begins.
                    Some(page) => self.reply(page, last, now),
                    None => self.enter_reply(Reply::go_on(), Then::TakeBody(request, length), now),
                }
            }
            Expects::Continue | Expects::Nothing if length > 0 => {
                let left = length;
                self.enter(Phase::Body { request, left }, now, HEAD_TIMEOUT);
            }
            Expects::Continue | Expects::Nothing => self.answer(&request, site, now),
        }
    }

    fn read_body(&mut self, site: &Site, now: Instant) -> Step {
        let Phase::Body { request, left } = &mut self.phase else {
            return Step::Next;
        };
        loop {
            let taken = self.received.len().min(*left);
            self.received.drain(..taken);
            *left -= taken;
            if *left == 0 {
                let request = request.clone();
                self.answer(&request, site, now);
                return Step::Next;
            }
            match read_some(&mut self.wire) {
                Ok(chunk) if chunk.is_empty() => {
                    site.count_bad();
                    return Step::End;
                }
                Ok(chunk) => self.received.extend_from_slice(chunk.bytes()),
                Err(step) => return step,
            }
        }
    }

    fn answer(&mut self, request: &Request, site: &Site, now: Instant) {
        let manner = Manner::of(request);
        match site.answer(request, self.door, now) {
            Answer::Page(page) => self.reply(page, manner, now),
            Answer::Later(ticket) => {
                self.enter(Phase::Waiting { ticket, manner }, now, ANSWER_TIMEOUT);
            }
            Answer::Follow(seen) => {
                let then = if manner.with_body {
                    Then::Follow(seen)
                } else {
                    Then::Close
                };
                self.enter_reply(Reply::event_stream(), then, now);
            }
            Answer::HandOver(page) => self.enter_reply(page.reply(&manner), Then::HandOver, now),
        }
    }

    fn reply(&mut self, page: Page, mut manner: Manner, now: Instant) {
        if self.stay == Stay::UntilTheNextAnswer {
            manner.after = After::Close;
        }
        let then = match manner.after {
            After::KeepAlive => Then::Read,
            After::Close => Then::Close,
        };
        self.enter_reply(page.reply(&manner), then, now);
    }

    fn enter_reply(&mut self, reply: Reply, then: Then, now: Instant) {
        if self.received.is_empty() {
            // An idle connection owns no buffer.
            self.received = Vec::new();
        }
        let seconds = u64::try_from(reply.len() / SLOWEST).unwrap_or(u64::MAX);
        let patience = REPLY_TIMEOUT.saturating_add(Duration::from_secs(seconds));
        let written = 0;
        self.enter(Phase::Replying { reply, written, then }, now, patience);
    }

    fn write_reply(&mut self, now: Instant) -> Step {
        let Phase::Replying { reply, written, then } = &mut self.phase else {
            return Step::Next;
        };
        let begun = *written;
        while *written < reply.len() {
            if *written - begun >= BYTES_PER_TURN {
                return Step::Yields;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            reply.left(*written, &mut slices);
            match self.wire.write_vectored(&slices) {
                Ok(0) => return Step::End,
                Ok(count) => *written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Blocked,
                Err(_) => return Step::End,
            }
        }
        match std::mem::replace(then, Then::Close) {
            Then::Read => {
                let patience = if self.received.is_empty() && self.stay == Stay::AsLongAsItLikes {
                    IDLE_TIMEOUT
                } else {
                    HEAD_TIMEOUT
                };
                self.enter(Phase::Reading, now, patience);
            }
            Then::TakeBody(request, left) => {
                self.enter(Phase::Body { request, left }, now, HEAD_TIMEOUT);
            }
            Then::Follow(seen) => {
                let swallowed = 0;
                self.enter(Phase::Following { seen, swallowed }, now, HEARTBEAT);
                if self.stay == Stay::UntilTheNextAnswer {
                    self.deadline = now + HEAD_TIMEOUT;
                }
            }
            Then::HandOver => return Step::HandsOver,
            Then::Close => {
                if self.wire.finish().is_err() {
                    return Step::End;
                }
                self.enter(Phase::Lingering { swallowed: 0 }, now, LINGER_TIMEOUT);
            }
        }
        Step::Next
    }

    /// Tells a follower what has happened since, unless it is gone.
    fn follow(&mut self, site: &Site, now: Instant) -> Step {
        let Phase::Following { seen, .. } = &self.phase else {
            return Step::Next;
        };
        if let Some((text, last)) = site.news(*seen) {
            self.enter_reply(Reply::part(text), Then::Follow(last), now);
            return Step::Next;
        }
        self.swallow()
    }

    fn swallow(&mut self) -> Step {
        let (Phase::Lingering { swallowed } | Phase::Following { swallowed, .. }) = &mut self.phase else {
            return Step::Next;
        };
        loop {
            match read_some(&mut self.wire) {
                Ok(chunk) if chunk.is_empty() => return Step::End,
                Ok(chunk) => {
                    *swallowed += chunk.bytes().len();
                    if *swallowed > LINGER_BYTES {
                        return Step::End;
                    }
                }
                Err(step) => return step,
            }
        }
    }
}

enum Step {
    /// The phase is over.
    Next,
    /// Nothing more without the socket, or without somebody else.
    Blocked,
    /// There is more, after the others' turn.
    Yields,
    HandsOver,
    End,
}

/// What one read brought, on the stack; empty at the end of the stream.
struct Chunk {
    buffer: [u8; 2048],
    length: usize,
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }
}

fn read_some(wire: &mut Wire) -> Result<Chunk, Step> {
    let mut chunk = Chunk {
        buffer: [0; 2048],
        length: 0,
    };
    const { assert!(2048 <= MAX_HEAD_BYTES) };
    loop {
        match wire.read(&mut chunk.buffer) {
            Ok(length) => {
                chunk.length = length;
                return Ok(chunk);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(Step::Blocked),
            Err(_) => return Err(Step::End),
        }
    }
}

#[cfg(test)]
mod tests;
