//! A question to a candidate and its answer, over a stream that does not block.
//!
//! ```text
//! Introducing ──(TLS is spoken)──► Securing ──(a handshake is all that is asked for)──► Heard
//!      └──────────────────────────────┴──► Asking ──(a verdict)──────────────────────────▲
//! ```
//!
//! Owns what is said and read, and when; it must not know what becomes of the stream, nor for how long an answer is
//! waited for.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{Plan, Reading, Verdict};
use crate::relay::readiness::Readiness;
use crate::relay::wire::Wire;
use crate::scorer::sample::Heard;
use crate::tls::{Channel, Handshake, Session};

/// Bytes of an answer that are read at once.
const READ_AT_ONCE: usize = 4096;

/// What an answer is that a failed connection cuts off.
const FAILS: &str = "the connection fails";

/// A question and its answer.
#[derive(Debug)]
pub(super) struct Talk {
    plan: Arc<Plan>,
    addr: SocketAddr,
    stage: Stage,
    /// What is still to be said in this stage.
    words: Vec<u8>,
    /// When the whole question was handed over.
    asked_at: Instant,
    first_byte: Option<Duration>,
    reading: Reading,
}

/// How far a talk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It says who asks.
    Introducing,
    /// It agrees on TLS.
    Securing,
    /// It asks, and hears.
    Asking,
}

impl Talk {
    /// A talk with whoever listens there, of which nothing is said yet.
    pub(super) fn new(plan: Arc<Plan>, addr: SocketAddr, now: Instant) -> Self {
        Self {
            words: plan.introduction(),
            plan,
            addr,
            stage: Stage::Introducing,
            asked_at: now,
            first_byte: None,
            reading: Reading::default(),
        }
    }

    /// Goes on as far as it can without waiting; what was heard, once that is known.
    pub(super) fn go_on<W: Wire>(&mut self, stream: &mut Channel<W>, now: Instant) -> Option<Heard> {
        let ready = Readiness::ANYTHING;
        stream.begin(ready);
        if self.stage == Stage::Introducing {
            if self.say(stream, now)? == Said::Failed {
                return Some(Heard::Wrong(FAILS));
            }
            match self
                .plan
                .origination()
                .map(|tls| Session::connect(tls, self.addr))
            {
                None => self.ask(),
                Some(Ok(session)) => {
                    stream.secure(session);
                    self.stage = Stage::Securing;
                }
                Some(Err(_)) => return Some(Heard::Wrong(FAILS)),
            }
        }
        if self.stage == Stage::Securing {
            match stream.handshake(ready) {
                Ok(Handshake::Blocked) => return None,
                Ok(Handshake::Done { .. }) if self.plan.is_for_handshake() => {
                    return Some(Heard::Answer(now.saturating_duration_since(self.asked_at)));
                }
                Ok(Handshake::Done { .. }) => self.ask(),
                Err(error) => {
                    log::debug!(target: "tcp_forwarder::probing", "no TLS with {}: {error}", self.addr);
                    return Some(Heard::Wrong(why(error.kind())));
                }
            }
        }
        self.hear(stream, now)
    }

    fn ask(&mut self) {
        self.stage = Stage::Asking;
        self.words = self.plan.question(self.addr);
    }

    /// Says what is to be said in this stage; none while the stream takes no more.
    fn say(&mut self, stream: &mut impl Write, now: Instant) -> Option<Said> {
        while !self.words.is_empty() {
            match stream.write(&self.words) {
                Ok(count) => {
                    self.words.drain(..count);
                    self.asked_at = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => return Some(Said::Failed),
            }
        }
        Some(Said::All)
    }

    fn hear(&mut self, stream: &mut (impl Read + Write), now: Instant) -> Option<Heard> {
        if self.say(stream, now) == Some(Said::Failed) {
            return Some(Heard::Wrong(FAILS));
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
                Err(error) if error.kind() == ErrorKind::Interrupted => Verdict::Open,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => Verdict::Wrong(FAILS),
            };
            match verdict {
                Verdict::Open => {}
                Verdict::Right => return Some(Heard::Answer(self.first_byte.unwrap_or_default())),
                Verdict::Wrong(why) => return Some(Heard::Wrong(why)),
            }
        }
    }
}

/// What became of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// All were taken.
    All,
    /// Nobody takes them.
    Failed,
}

/// Why there is no TLS.
fn why(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::InvalidData {
        "its certificate is refused, or it does not speak TLS"
    } else if kind == ErrorKind::ConnectionAborted {
        "it refuses TLS with us"
    } else {
        "it closes during the TLS handshake"
    }
}
