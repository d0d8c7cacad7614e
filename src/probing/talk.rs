//! A question to a candidate and its answer, over a stream that does not block.
//!
//! Owns what is said and read, and when; it must not know what becomes of the stream, nor for how long an answer is
//! waited for.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{Plan, Reading, Verdict};
use crate::scorer::sample::Heard;

/// Bytes of an answer that are read at once.
const READ_AT_ONCE: usize = 4096;

/// What an answer is that a failed connection cuts off.
const FAILS: &str = "the connection fails";

/// A question and its answer.
#[derive(Debug)]
pub(super) struct Talk {
    plan: Arc<Plan>,
    question: Vec<u8>,
    sent: usize,
    /// When the whole question was handed over.
    asked_at: Instant,
    first_byte: Option<Duration>,
    reading: Reading,
}

impl Talk {
    /// A talk with whoever listens there, of which nothing is said yet.
    pub(super) fn new(plan: Arc<Plan>, addr: SocketAddr, now: Instant) -> Self {
        Self {
            question: plan.question(addr),
            plan,
            sent: 0,
            asked_at: now,
            first_byte: None,
            reading: Reading::default(),
        }
    }

    /// Goes on as far as it can without waiting; what was heard, once that is known.
    pub(super) fn go_on(&mut self, stream: &mut (impl Read + Write), now: Instant) -> Option<Heard> {
        while let Some(rest) = self.question.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(count) => {
                    self.sent += count;
                    self.asked_at = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Some(Heard::Wrong(FAILS)),
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
