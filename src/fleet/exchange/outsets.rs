//! What those are told that begin, in exchanges. Pure.

use std::time::{Duration, Instant};

use super::{AHEAD_MS, Exchange, OUTSET_LIFE, ask_for};
use crate::base::hash;
use crate::fleet::connection::{Fault, refuse_error};
use crate::fleet::message::{self, Outset};
use crate::fleet::resp::{Value, command};

impl Exchange {
    fn outset(&self, service: u32) -> String {
        let text = self.hello.vantage.bytes().chain([0]).chain(service.to_be_bytes());
        self.key(&format!("set:{:016x}", hash::fnv1a(text)))
    }

    /// The command that tells those who begin what is known of a service here.
    #[must_use]
    pub fn tell_outset(&self, service: u32, outset: &Outset) -> Vec<u8> {
        let key = self.outset(service);
        let bytes = message::write_outset(self.me, outset);
        let expires = OUTSET_LIFE.as_millis().to_string();
        let mut out = Vec::new();
        command(
            &mut out,
            &[b"SET", key.as_bytes(), &bytes, b"PX", expires.as_bytes()],
        );
        out
    }

    /// The command that asks what others know of these services.
    #[must_use]
    pub fn ask_outsets(&self, services: &[u32]) -> Vec<u8> {
        ask_for(services.iter().map(|service| self.outset(*service)))
    }

    /// Takes what others know of them, each row as old as it is now.
    ///
    /// # Errors
    /// What the Redis refuses.
    pub fn take_outsets(
        &mut self,
        services: &[u32],
        answer: &Value,
        now: Instant,
    ) -> Result<Vec<(u32, Outset)>, Fault> {
        refuse_error(answer)?;
        let redis_ms = self.redis_ms(now);
        let mut all = Vec::new();
        for (service, value) in services.iter().zip(answer.parts()) {
            let Some(bytes) = value.bytes() else { continue };
            let read = message::read_outset(bytes);
            let read = read.filter(|(_, outset)| outset.sent_ms <= redis_ms.saturating_add(AHEAD_MS));
            let Some((from, mut outset)) = read else {
                self.cannot_read(1);
                continue;
            };
            let since = Duration::from_millis(redis_ms.saturating_sub(outset.sent_ms));
            if from != self.me && since <= OUTSET_LIFE {
                outset.rows.iter_mut().for_each(|row| row.age += since);
                all.push((*service, outset));
            }
        }
        Ok(all)
    }
}
