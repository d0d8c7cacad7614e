//! What nodes claim of the limits of clients, in exchanges. Pure.

use std::collections::HashMap;
use std::time::Instant;

use super::{AHEAD_MS, Asked, Exchange, MOST_REMOVED};
use crate::admission::Portion;
use crate::fleet::message;
use crate::fleet::nodes::{MOST_NODES, id_of, text_of};
use crate::fleet::resp::Value;

impl Exchange {
    /// What is claimed of the limits of clients from the next exchange on; none where no client has a limit.
    pub fn set_claims(&mut self, claims: Option<Vec<(u64, Portion)>>) {
        self.claimed.own = claims;
    }

    /// The parts of their limits that others claim, by client, as they were read last.
    #[must_use]
    pub fn others_claims(&self) -> &HashMap<u64, u32> {
        &self.claimed.others
    }

    /// Says what is claimed, and asks what others claim.
    pub(super) fn ask_claims(&mut self, asked: &mut Asked, redis_ms: u64) {
        self.claimed.at = None;
        let key = self.key("claims");
        let id = text_of(self.me);
        let claims = self.claimed.own.as_deref().unwrap_or_default();
        if !claims.is_empty() {
            let bytes = message::write_claims(redis_ms, claims);
            asked.command(&[b"HSET", key.as_bytes(), id.as_bytes(), &bytes]);
            asked.command(&[b"PEXPIRE", key.as_bytes(), self.expires().as_bytes()]);
            self.claimed.is_said = true;
        } else if self.claimed.is_said {
            asked.command(&[b"HDEL", key.as_bytes(), id.as_bytes()]);
        }
        let gone: Vec<String> = self.claimed.gone.drain(..).map(text_of).collect();
        if !gone.is_empty() {
            let mut words: Vec<&[u8]> = vec![b"HDEL", key.as_bytes()];
            words.extend(gone.iter().map(String::as_bytes));
            asked.command(&words);
        }
        if self.claimed.own.is_some() {
            self.claimed.at = Some(asked.count);
            asked.command(&[b"HGETALL", key.as_bytes()]);
        }
    }

    /// What was claimed has been said; what others claim is in one of the answers, if it was asked.
    pub(super) fn take_claims(&mut self, answers: &[Value], now: Instant) {
        let own = self.claimed.own.as_ref();
        self.claimed.is_said = own.is_some_and(|claims| !claims.is_empty());
        if let Some(claims) = self.claimed.at.and_then(|at| answers.get(at)) {
            self.read_claims(claims, now);
        }
    }

    /// Sums what others claim. Who has not said so for longer than the horizon has gone, and with it what it had.
    fn read_claims(&mut self, answer: &Value, now: Instant) {
        let redis_ms = self.redis_ms(now);
        self.claimed.others.clear();
        for pair in answer.parts().chunks(2).take(MOST_NODES + 1) {
            let [id, bytes] = pair else { continue };
            let Some(id) = id_of(id).filter(|id| *id != self.me) else {
                continue;
            };
            let read = bytes.bytes().and_then(message::read_claims);
            let read = read.filter(|(sent_ms, _)| *sent_ms <= redis_ms.saturating_add(AHEAD_MS));
            let Some((sent_ms, claims)) = read else {
                self.cannot_read(1);
                continue;
            };
            if redis_ms.saturating_sub(sent_ms) > self.horizon_ms() {
                if self.claimed.gone.len() < MOST_REMOVED {
                    self.claimed.gone.push(id);
                }
                continue;
            }
            for (client, portion) in claims {
                let sum = self.claimed.others.entry(client).or_default();
                *sum = sum.saturating_add(portion.parts().into());
            }
        }
    }
}
