//! Reading the stream of samples on, piece by piece. Pure.
//!
//! An answer that is too long to be taken makes the pieces smaller, and only one message that is too long by itself is removed, with
//! the stream that it stands in.

use std::time::{Duration, Instant};

use super::{AHEAD_MS, Asked, Exchange, Told};
use crate::fleet::connection::Fault;
use crate::fleet::message::{self, Word};
use crate::fleet::reading::entry_of;
use crate::fleet::resp::Value;

impl Exchange {
    /// Asks for the messages behind those that were read.
    pub(super) fn ask_stream(&mut self, asked: &mut Asked) {
        let count = self.reading.ask().to_string();
        let (stream, from) = (self.stream(), format!("({}", self.reading.last_id));
        asked.command(&[
            b"XRANGE",
            stream.as_bytes(),
            from.as_bytes(),
            b"+",
            b"COUNT",
            count.as_bytes(),
        ]);
    }

    /// The command that reads on, if there is more than was read and room for it.
    #[must_use]
    pub fn ask_more(&mut self) -> Option<Vec<u8>> {
        if !self.reading.goes_on() {
            return None;
        }
        let mut asked = Asked::default();
        self.ask_stream(&mut asked);
        Some(asked.out)
    }

    /// Takes what was read on: samples of others.
    ///
    /// # Errors
    /// What the Redis refuses.
    pub fn take_more(&mut self, answer: &Value, now: Instant) -> Result<Vec<Told>, Fault> {
        self.refuse(answer)?;
        Ok(self.read(answer, now))
    }

    /// An answer was too long to be taken: the stream is read in smaller pieces from where it was read to. A single message that is too
    /// long is nothing that anybody could go on with: it is removed.
    pub fn too_long(&mut self) {
        if self.reading.shrink() {
            self.spoil();
        }
    }

    pub(super) fn read(&mut self, stream: &Value, now: Instant) -> Vec<Told> {
        let redis_ms = self.redis_ms(now);
        let from = self.reading.last_id.clone();
        let mut told = Vec::new();
        for entry in stream.parts() {
            let Some((id, at_ms, message)) = entry_of(entry) else {
                self.cannot_read(1);
                continue;
            };
            // Whatever follows would have ids as far ahead: the stream is begun anew.
            if at_ms > redis_ms.saturating_add(AHEAD_MS) {
                self.refused += 1;
                self.spoil();
                continue;
            }
            self.reading.last_id = id;
            let since = redis_ms.saturating_sub(at_ms);
            match message {
                _ if since > self.horizon_ms() => self.refused += 1,
                Some(message) => self.read_message(message, (at_ms, since), &mut told),
                None => self.cannot_read(1),
            }
        }
        self.reading.has_read(stream.parts().len(), &from);
        self.nodes
            .forget_links_before(redis_ms.saturating_sub(self.horizon_ms()));
        told
    }

    /// Takes one message, which was said at a time and so many milliseconds ago.
    fn read_message(&mut self, message: &[u8], (at_ms, since): (u64, u64), told: &mut Vec<Told>) {
        if let Some((from, notice)) = message::read_notice(message) {
            let is_known = from == self.me || self.nodes.heed(from, notice, at_ms);
            self.refused += u64::from(!is_known);
            return;
        }
        let Some((from, words)) = message::read_samples(message) else {
            self.cannot_read(1);
            return;
        };
        if from == self.me {
            return;
        }
        if !self.reading.is_heard(from, words.len()) || !self.nodes.spoke(from, at_ms) {
            self.refused += words.len() as u64;
            return;
        }
        self.reading.takes(words.len());
        let age = |word: &Word| word.age + Duration::from_millis(since);
        told.extend(words.iter().map(|word| Told {
            word: *word,
            age: age(word),
        }));
    }
}
