//! What one exchange with the Redis asks, and what its answers mean. Pure: time is an argument, and times of others are the
//! Redis's.
//!
//! ```text
//! tcp-forwarder:NAME:nodes          sorted set: node -> when it last spoke, in milliseconds of the Redis
//! tcp-forwarder:NAME:node:ID        who it is; expires
//! tcp-forwarder:NAME:samples:HASH   stream of what those of one vantage have seen; of bounded length, expires
//! ```
//!
//! Invariants: at most [`MOST_NODES`] are known; of one node at most [`MOST_OF_ONE`] samples are taken in one exchange; nothing is
//! taken that is older than the horizon, or of the future.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::{Fault, refuse_error};
use super::message::{self, Hello, MOST_SAMPLES, Word};
use super::resp::{Value, command};
use crate::base::hash;
use crate::service::fleet::{FleetView, Node, NodeId};

/// The most other nodes that are known.
pub const MOST_NODES: usize = 127;

/// Samples of one node that are taken in one exchange.
pub const MOST_OF_ONE: usize = 4 * MOST_SAMPLES;

/// Messages that one exchange sends.
pub const MOST_MESSAGES: usize = 4;

/// Messages that one exchange reads; what is more is read in the next ones.
const MOST_READ: &str = "96";

/// Messages that the Redis keeps of one vantage.
const KEPT: &str = "1000";

/// Intervals after which who says nothing is gone.
const HORIZON: u32 = 3;

/// Exchanges between two that say who this is, and see to what expires.
const CARE: u64 = 6;

/// How far ahead of the Redis a message may be.
const AHEAD_MS: u64 = 2_000;

/// A sample of another node, and how old it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What it says.
    pub word: Word,
    /// How old it is.
    pub age: Duration,
}

/// The exchanges of one process.
#[derive(Debug)]
pub struct Exchange {
    me: NodeId,
    prefix: String,
    interval: Duration,
    hello: Hello,
    /// What the Redis's clock said, in milliseconds, and when.
    redis_clock: Option<(u64, Instant)>,
    number: u64,
    /// When something was asked last.
    asked_at: Option<Instant>,
    /// Up to where the stream is read.
    last_id: String,
    /// Those that live, and who they are, as far as they were asked.
    nodes: BTreeMap<NodeId, Option<Hello>>,
    /// How many answers there will be to messages.
    sent: usize,
    cares: bool,
    /// Words that were refused.
    pub refused: u64,
    /// What could not be read at all: it is of another version, or nonsense.
    pub unreadable: u64,
}

impl Exchange {
    /// Those of the node `me` in the cluster of this name.
    #[must_use]
    pub fn new(me: NodeId, name: &str, interval: Duration, hello: Hello) -> Self {
        Self {
            me,
            prefix: format!("tcp-forwarder:{name}"),
            interval,
            hello,
            redis_clock: None,
            number: 0,
            asked_at: None,
            last_id: String::new(),
            nodes: BTreeMap::new(),
            sent: 0,
            cares: false,
            refused: 0,
            unreadable: 0,
        }
    }

    /// How long whoever says nothing counts as there.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        self.interval * HORIZON
    }

    /// A connection has begun: the Redis may be another one.
    pub fn begin(&mut self) {
        self.redis_clock = None;
        self.number = 0;
    }

    /// Says who this is from now on; from another vantage another stream is read.
    pub fn introduce(&mut self, hello: Hello) {
        if hello != self.hello {
            if hello.vantage != self.hello.vantage {
                self.last_id.clear();
            }
            self.hello = hello;
            self.number = 0;
        }
    }

    /// Whether the Redis's clock is to be asked for first, by [`ask_clock`](Self::ask_clock).
    #[must_use]
    pub fn needs_clock(&self) -> bool {
        self.redis_clock.is_none()
    }

    /// The command that asks for it.
    #[must_use]
    pub fn ask_clock() -> Vec<u8> {
        let mut out = Vec::new();
        command(&mut out, &[b"TIME"]);
        out
    }

    /// Takes what the clock says.
    ///
    /// # Errors
    /// When it says nothing of the kind.
    pub fn set_clock(&mut self, answer: &Value, now: Instant) -> Result<(), Fault> {
        refuse_error(answer)?;
        let mut parts = answer.parts().iter().map(Value::number);
        let (Some(Some(seconds)), Some(Some(micros))) = (parts.next(), parts.next()) else {
            return Err(Fault::NoAnswer);
        };
        // Beyond that sums of times would not fit; it is of no use as a clock.
        if seconds > u64::from(u32::MAX) * 4 || micros >= 1_000_000 {
            return Err(Fault::NoAnswer);
        }
        self.redis_clock = Some((seconds * 1000 + micros / 1000, now));
        Ok(())
    }

    fn redis_ms(&self, now: Instant) -> u64 {
        self.redis_clock.map_or(0, |(ms, at)| {
            let since = now.saturating_duration_since(at).as_millis();
            ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
        })
    }

    fn stream(&self) -> String {
        let hash = hash::fnv1a(self.hello.vantage.bytes());
        format!("{}:samples:{hash:016x}", self.prefix)
    }

    /// What is asked now, and how many answers there will be; `words` are told.
    pub fn ask(&mut self, words: &[Word], now: Instant) -> (Vec<u8>, usize) {
        let mut out = Self::ask_clock();
        let mut asked = 1;
        let mut ask = |words: &[&[u8]]| {
            command(&mut out, words);
            asked += 1;
        };
        let redis_ms = self.redis_ms(now);
        let horizon = u64::try_from(self.horizon().as_millis()).unwrap_or(u64::MAX);
        let (since, until) = (
            redis_ms.saturating_sub(horizon),
            redis_ms.saturating_add(AHEAD_MS),
        );
        let (nodes, id, stream) = (
            format!("{}:nodes", self.prefix),
            format!("{:016x}", self.me),
            self.stream(),
        );
        let expires = (horizon * 4).to_string();
        ask(&[
            b"ZADD",
            nodes.as_bytes(),
            redis_ms.to_string().as_bytes(),
            id.as_bytes(),
        ]);
        // Whoever was away for long may have expired.
        let was_away = self
            .asked_at
            .is_some_and(|at| now.saturating_duration_since(at) > self.horizon());
        self.asked_at = Some(now);
        self.cares = was_away || self.number.is_multiple_of(CARE);
        self.number += 1;
        if self.cares {
            ask(&[b"PEXPIRE", nodes.as_bytes(), expires.as_bytes()]);
            ask(&[
                b"ZREMRANGEBYSCORE",
                nodes.as_bytes(),
                b"-inf",
                since.to_string().as_bytes(),
            ]);
            // Whoever is of the future would stay for ever.
            let ahead = format!("({until}");
            ask(&[b"ZREMRANGEBYSCORE", nodes.as_bytes(), ahead.as_bytes(), b"+inf"]);
            let key = format!("{}:node:{id}", self.prefix);
            let expires = (u128::from(CARE) * self.interval.as_millis() * 3).to_string();
            let hello = message::write_hello(&self.hello);
            ask(&[b"SET", key.as_bytes(), &hello, b"PX", expires.as_bytes()]);
        }
        self.sent = 0;
        for message in self.messages(words) {
            let kept = KEPT.as_bytes();
            ask(&[
                b"XADD",
                stream.as_bytes(),
                b"MAXLEN",
                b"~",
                kept,
                b"*",
                b"d",
                &message,
            ]);
            self.sent += 1;
        }
        if self.sent > 0 {
            ask(&[b"PEXPIRE", stream.as_bytes(), expires.as_bytes()]);
        }
        self.ask_others(&mut out, (nodes.as_bytes(), stream.as_bytes()), (since, until));
        (out, asked + 2)
    }

    fn ask_others(
        &mut self,
        out: &mut Vec<u8>,
        (nodes, stream): (&[u8], &[u8]),
        (since_ms, until_ms): (u64, u64),
    ) {
        let most = (MOST_NODES + 1).to_string();
        let (since, until) = (since_ms.to_string(), until_ms.to_string());
        command(
            out,
            &[
                b"ZRANGEBYSCORE",
                nodes,
                since.as_bytes(),
                until.as_bytes(),
                b"LIMIT",
                b"0",
                most.as_bytes(),
            ],
        );
        // What is older is refused, and may be more than is ever read.
        let read_ms = self.last_id.split('-').next().and_then(|ms| ms.parse().ok());
        if read_ms.is_none_or(|ms: u64| ms < since_ms) {
            self.last_id.clone_from(&since);
        }
        let from = format!("({}", self.last_id);
        command(
            out,
            &[
                b"XRANGE",
                stream,
                from.as_bytes(),
                b"+",
                b"COUNT",
                MOST_READ.as_bytes(),
            ],
        );
    }

    fn messages(&self, words: &[Word]) -> Vec<Vec<u8>> {
        let some = words.chunks(MOST_SAMPLES).take(MOST_MESSAGES);
        some.map(|some| message::write_samples(self.me, some)).collect()
    }

    /// What the answers mean: samples of others, of nodes whose names are known.
    ///
    /// # Errors
    /// What the Redis refuses, or what is no answer to what was asked.
    pub fn take(&mut self, answers: &[Value], now: Instant) -> Result<Vec<Told>, Fault> {
        for answer in answers {
            refuse_error(answer)?;
        }
        let [clock, middle @ .., nodes, stream] = answers else {
            return Err(Fault::NoAnswer);
        };
        debug_assert!(!middle.is_empty(), "it was said that this node lives");
        self.set_clock(clock, now)?;
        let ids: Vec<NodeId> = nodes.parts().iter().filter_map(id_of).collect();
        self.cannot_read(nodes.parts().len() - ids.len());
        let ids: Vec<NodeId> = ids.into_iter().filter(|id| *id != self.me).collect();
        self.nodes.retain(|id, _| ids.contains(id));
        for id in ids.into_iter().take(MOST_NODES) {
            self.nodes.entry(id).or_default();
        }
        Ok(self.read(stream, now))
    }

    /// The command that asks who they are who are not known, and who they are; none if all are. While it is seen to what expires,
    /// all are asked for.
    #[must_use]
    pub fn ask_names(&self) -> Option<(Vec<u8>, Vec<NodeId>)> {
        let is_asked =
            |(id, hello): (&NodeId, &Option<Hello>)| (self.cares || hello.is_none()).then_some(*id);
        let ids: Vec<NodeId> = self.nodes.iter().filter_map(is_asked).collect();
        if ids.is_empty() {
            return None;
        }
        let keys: Vec<String> = ids
            .iter()
            .map(|id| format!("{}:node:{id:016x}", self.prefix))
            .collect();
        let mut words: Vec<&[u8]> = vec![b"MGET"];
        words.extend(keys.iter().map(String::as_bytes));
        let mut out = Vec::new();
        command(&mut out, &words);
        Some((out, ids))
    }

    /// Takes who they are.
    ///
    /// # Errors
    /// What the Redis refuses.
    pub fn take_names(&mut self, ids: &[NodeId], answer: &Value) -> Result<(), Fault> {
        refuse_error(answer)?;
        for (id, value) in ids.iter().zip(answer.parts()) {
            let hello = value.bytes().and_then(message::read_hello);
            self.cannot_read(usize::from(hello.is_none() && *value != Value::Null));
            if let Some(node) = self.nodes.get_mut(id) {
                *node = hello;
            }
        }
        Ok(())
    }

    /// The fleet as it is known.
    #[must_use]
    pub fn view(&self, is_connected: bool) -> FleetView {
        let node = |(id, hello): (&NodeId, &Option<Hello>)| {
            let hello = hello.clone()?;
            Some(Node {
                id: *id,
                name: hello.name,
                vantage: hello.vantage,
                services: hello.services,
            })
        };
        FleetView {
            me: self.me,
            name: self.hello.name.clone(),
            vantage: self.hello.vantage.clone(),
            is_connected,
            others: self.nodes.iter().filter_map(node).collect(),
        }
    }

    /// Nothing was heard for too long: nobody is known.
    pub fn forget(&mut self) {
        self.nodes.clear();
    }

    fn cannot_read(&mut self, count: usize) {
        self.refused += count as u64;
        self.unreadable += count as u64;
    }

    fn read(&mut self, stream: &Value, now: Instant) -> Vec<Told> {
        let redis_ms = self.redis_ms(now);
        let horizon = u64::try_from(self.horizon().as_millis()).unwrap_or(u64::MAX);
        let mut told = Vec::new();
        let mut of_each: HashMap<NodeId, usize> = HashMap::new();
        for entry in stream.parts() {
            let Some((id, at_ms, message)) = entry_of(entry) else {
                self.cannot_read(1);
                continue;
            };
            // A stream that is ahead of the clock is read on from the present, once it has caught up.
            if at_ms > redis_ms.saturating_add(AHEAD_MS) {
                self.refused += 1;
                continue;
            }
            self.last_id = id;
            let since = redis_ms.saturating_sub(at_ms);
            if since > horizon {
                self.refused += 1;
                continue;
            }
            let Some((from, words)) = message::read_samples(message) else {
                self.cannot_read(1);
                continue;
            };
            if from == self.me {
                continue;
            }
            let taken = of_each.entry(from).or_default();
            *taken += words.len();
            if *taken > MOST_OF_ONE || !self.nodes.contains_key(&from) {
                self.refused += words.len() as u64;
                continue;
            }
            let age = |word: &Word| word.age + Duration::from_millis(since);
            told.extend(words.iter().map(|word| Told {
                word: *word,
                age: age(word),
            }));
        }
        told
    }
}

fn id_of(value: &Value) -> Option<NodeId> {
    let text = std::str::from_utf8(value.bytes()?).ok()?;
    (text.len() == 16).then(|| NodeId::from_str_radix(text, 16).ok())?
}

/// An entry's id, its time in milliseconds, and the message in it.
fn entry_of(entry: &Value) -> Option<(String, u64, &[u8])> {
    const MOST_ID: usize = 41;
    let [id, fields] = entry.parts() else {
        return None;
    };
    let id = std::str::from_utf8(id.bytes()?)
        .ok()
        .filter(|id| id.len() <= MOST_ID)?;
    let (ms, number) = id.split_once('-')?;
    let (ms, number): (u64, u64) = (ms.parse().ok()?, number.parse().ok()?);
    let [_, message] = fields.parts() else {
        return None;
    };
    Some((format!("{ms}-{number}"), ms, message.bytes()?))
}

/// The public network that an address of ours belongs to: of IPv4 24 bits, of IPv6 48; none of a private one.
#[must_use]
pub fn public_prefix(ip: std::net::IpAddr) -> Option<String> {
    match ip {
        std::net::IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_public =
                !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified());
            (is_public && !is_shared).then(|| format!("{a}.{b}.{c}.0/24"))
        }
        std::net::IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            (a & 0xe000 == 0x2000).then(|| format!("{a:x}:{b:x}:{c:x}::/48"))
        }
    }
}

/// What a candidate of ours is on the way out: its address as it is said.
#[must_use]
pub fn word(service: u32, addr: SocketAddr, sample: &crate::scorer::sample::Sample, now: Instant) -> Word {
    Word {
        service,
        addr,
        outcome: sample.outcome,
        heard: sample.heard,
        age: now.saturating_duration_since(sample.at),
    }
}

#[cfg(test)]
mod tests;
