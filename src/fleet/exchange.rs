//! What one exchange with the Redis asks, and what its answers mean. Pure: time is an argument, and times of others are the
//! Redis's.
//!
//! ```text
//! tcp-forwarder:NAME:nodes          sorted set: node -> when it last spoke, in milliseconds of the Redis
//! tcp-forwarder:NAME:node:ID        who it is; expires
//! tcp-forwarder:NAME:samples:HASH   stream of what those of one vantage have seen; of bounded length, expires
//! tcp-forwarder:NAME:claims         hash: node -> what it claims of the limits of clients
//! tcp-forwarder:NAME:set:HASH       what is known of one service from one vantage, for those that begin; expires
//! ```
//!
//! At rest nothing is asked for that has not changed: nodes are counted, and listed when there are others than before.
//!
//! Invariants: at most [`MOST_NODES`] are known; of one node at most [`MOST_OF_ONE`](super::reading::MOST_OF_ONE) samples are taken in one exchange; nothing is
//! taken that is older than the horizon, or of the future; what nobody could go on with is deleted by whoever sees it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::connection::{Fault, refuse_error};
use super::message::{self, Hello, MOST_SAMPLES, Notice, Word};
use super::nodes::{MOST_NODES, Nodes, text_of};
use super::reading::Reading;
use super::resp::{Value, command};
use crate::admission::Portion;
use crate::base::hash;
use crate::service::fleet::{FleetView, NodeId};

/// Messages that one exchange sends.
pub const MOST_MESSAGES: usize = 4;

/// Messages that the Redis keeps of one vantage.
const KEPT: &str = "1000";

/// Intervals after which who says nothing is gone.
const HORIZON: u32 = 3;

/// Exchanges between two that say who this is, and see to what expires.
const CARE: u64 = 6;

/// How far ahead of the Redis a message may be.
const AHEAD_MS: u64 = 2_000;

/// For how long a beginner may begin with what was said of a service.
pub const OUTSET_LIFE: Duration = Duration::from_secs(600);

/// Claims of nodes that have gone that are removed at once.
const MOST_REMOVED: usize = 16;

/// A sample of another node, and how old it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// What it says.
    pub word: Word,
    /// How old it is.
    pub age: Duration,
}

/// What is in the Redis and of no use to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spoilt {
    Nothing,
    /// Messages and claims.
    Messages,
    /// Who lives, too.
    Everything,
}

/// What is claimed, by this node and by others.
#[derive(Debug, Default)]
struct Claimed {
    /// By this one; none where no client has a limit.
    own: Option<Vec<(u64, Portion)>>,
    /// Whether there is anything of it in the Redis.
    is_said: bool,
    /// Which answer tells the claims of others.
    at: Option<usize>,
    /// The parts that others claim, by client.
    others: HashMap<u64, u32>,
    /// Whose claims are old.
    gone: Vec<NodeId>,
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
    /// How far the stream is read.
    reading: Reading,
    /// Those that live.
    nodes: Nodes,
    /// Whether there are others than those.
    is_incomplete: bool,
    /// Messages that wait until it is known who has sent them.
    held: Option<Value>,
    cares: bool,
    spoilt: Spoilt,
    /// What is to be said of this node itself, and where else than in its stream.
    notice: Notice,
    said_down: bool,
    former_stream: Option<String>,
    /// What is claimed of the limits of clients.
    claimed: Claimed,
    /// Words that were refused.
    pub refused: u64,
    /// What could not be read at all: it is of another version, or nonsense.
    pub unreadable: u64,
}

/// Commands, and how many they are.
#[derive(Debug, Default)]
struct Asked {
    out: Vec<u8>,
    count: usize,
}

impl Asked {
    fn command(&mut self, words: &[&[u8]]) {
        command(&mut self.out, words);
        self.count += 1;
    }
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
            reading: Reading::default(),
            nodes: Nodes::new(me),
            is_incomplete: false,
            held: None,
            cares: false,
            spoilt: Spoilt::Nothing,
            notice: Notice {
                is_down: false,
                is_changed: false,
            },
            said_down: false,
            former_stream: None,
            claimed: Claimed::default(),
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
        self.held = None;
    }

    /// Says who this is from now on; from another vantage another stream is read.
    pub fn introduce(&mut self, hello: Hello) {
        if hello != self.hello {
            if hello.vantage != self.hello.vantage {
                self.reading.last_id.clear();
                self.former_stream = Some(self.stream());
            }
            self.hello = hello;
            self.notice.is_changed = true;
            self.number = 0;
        }
    }

    /// Says from now on how our own link to the network stands.
    pub fn set_link(&mut self, is_down: bool) {
        self.notice.is_down = is_down;
    }

    /// What is there is nothing that one could go on with: it is removed.
    fn spoil(&mut self) {
        self.spoilt = self.spoilt.max(Spoilt::Messages);
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

    /// What the Redis's clock says now, in milliseconds; 0 before it was asked.
    #[must_use]
    pub fn redis_ms(&self, now: Instant) -> u64 {
        self.redis_clock.map_or(0, |(ms, at)| {
            let since = now.saturating_duration_since(at).as_millis();
            ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
        })
    }

    fn horizon_ms(&self) -> u64 {
        u64::try_from(self.horizon().as_millis()).unwrap_or(u64::MAX)
    }

    fn key(&self, what: &str) -> String {
        format!("{}:{what}", self.prefix)
    }

    fn stream(&self) -> String {
        let hash = hash::fnv1a(self.hello.vantage.bytes());
        self.key(&format!("samples:{hash:016x}"))
    }

    /// What is asked now, and how many answers there will be; `words` are told.
    pub fn ask(&mut self, words: &[Word], now: Instant) -> (Vec<u8>, usize) {
        let mut asked = Asked::default();
        self.reading.begin();
        asked.command(&[b"TIME"]);
        let redis_ms = self.redis_ms(now);
        self.mend(&mut asked);
        // Whoever was away for long may have expired.
        let away = self.asked_at.map(|at| now.saturating_duration_since(at));
        self.asked_at = Some(now);
        self.cares = self.number.is_multiple_of(CARE) || away.is_some_and(|away| away > self.horizon());
        self.number += 1;
        self.live_on(&mut asked, redis_ms);
        self.tell(&mut asked, words);
        self.ask_claims(&mut asked, redis_ms);
        self.ask_others(&mut asked, redis_ms);
        (asked.out, asked.count)
    }

    /// Removes what nobody can go on with.
    fn mend(&mut self, asked: &mut Asked) {
        let (stream, claims, nodes) = (self.stream(), self.key("claims"), self.key("nodes"));
        match self.spoilt {
            Spoilt::Nothing => return,
            Spoilt::Messages => asked.command(&[b"DEL", stream.as_bytes(), claims.as_bytes()]),
            Spoilt::Everything => {
                asked.command(&[b"DEL", stream.as_bytes(), claims.as_bytes(), nodes.as_bytes()]);
            }
        }
        self.reading.last_id.clear();
        self.spoilt = Spoilt::Nothing;
    }

    /// Says that this node lives, and now and then who it is.
    fn live_on(&self, asked: &mut Asked, redis_ms: u64) {
        let (nodes, id) = (self.key("nodes"), text_of(self.me));
        let now = redis_ms.to_string();
        asked.command(&[b"ZADD", nodes.as_bytes(), now.as_bytes(), id.as_bytes()]);
        if !self.cares {
            return;
        }
        let since = redis_ms.saturating_sub(self.horizon_ms()).to_string();
        asked.command(&[b"PEXPIRE", nodes.as_bytes(), self.expires().as_bytes()]);
        asked.command(&[b"ZREMRANGEBYSCORE", nodes.as_bytes(), b"-inf", since.as_bytes()]);
        // Whoever is of the future would stay for ever.
        let ahead = format!("({}", redis_ms.saturating_add(AHEAD_MS));
        asked.command(&[b"ZREMRANGEBYSCORE", nodes.as_bytes(), ahead.as_bytes(), b"+inf"]);
        let key = self.key(&format!("node:{id}"));
        let expires = (u128::from(CARE) * self.interval.as_millis() * u128::from(HORIZON)).to_string();
        let hello = message::write_hello(&self.hello);
        asked.command(&[b"SET", key.as_bytes(), &hello, b"PX", expires.as_bytes()]);
    }

    /// When what is said now is worth nothing any more.
    fn expires(&self) -> String {
        (self.horizon_ms().saturating_mul(4)).to_string()
    }

    fn tell(&self, asked: &mut Asked, words: &[Word]) {
        let stream = self.stream();
        let mut messages = self.messages(words);
        let is_news = self.notice.is_changed || self.notice.is_down || self.said_down;
        if is_news {
            messages.push(message::write_notice(self.me, self.notice));
        }
        let mut add = |stream: &str, message: &[u8]| {
            asked.command(&[
                b"XADD",
                stream.as_bytes(),
                b"MAXLEN",
                b"~",
                KEPT.as_bytes(),
                b"*",
                b"d",
                message,
            ]);
        };
        for message in &messages {
            add(&stream, message);
        }
        if let Some(former) = &self.former_stream {
            add(former, &message::write_notice(self.me, self.notice));
        }
        if !messages.is_empty() {
            asked.command(&[b"PEXPIRE", stream.as_bytes(), self.expires().as_bytes()]);
        }
    }

    /// Asks who lives, or only how many that are, and what was said.
    fn ask_others(&mut self, asked: &mut Asked, redis_ms: u64) {
        if self.cares {
            self.list_nodes(asked, redis_ms);
        } else {
            let (since, until) = self.living(redis_ms);
            let nodes = self.key("nodes");
            asked.command(&[b"ZCOUNT", nodes.as_bytes(), since.as_bytes(), until.as_bytes()]);
        }
        // What is older is refused, and may be more than is ever read. Who has read what is ahead has read it of a clock that went back, or
        // of another Redis: it would be deaf until the clock is there.
        let since_ms = redis_ms.saturating_sub(self.horizon_ms());
        let readable = since_ms..=redis_ms.saturating_add(AHEAD_MS);
        let read_ms = self
            .reading
            .last_id
            .split('-')
            .next()
            .and_then(|ms| ms.parse().ok());
        if read_ms.is_none_or(|ms: u64| !readable.contains(&ms)) {
            self.reading.last_id = since_ms.to_string();
        }
        self.ask_stream(asked);
    }

    /// Between which times those have spoken who live.
    fn living(&self, redis_ms: u64) -> (String, String) {
        let since = redis_ms.saturating_sub(self.horizon_ms());
        (since.to_string(), redis_ms.saturating_add(AHEAD_MS).to_string())
    }

    fn list_nodes(&self, asked: &mut Asked, redis_ms: u64) {
        let (since, until) = self.living(redis_ms);
        let (nodes, most) = (self.key("nodes"), (MOST_NODES + 1).to_string());
        let mut words: Vec<&[u8]> = vec![
            b"ZRANGEBYSCORE",
            nodes.as_bytes(),
            since.as_bytes(),
            until.as_bytes(),
        ];
        if self.nodes.are_dated() {
            words.push(b"WITHSCORES");
        }
        words.extend([b"LIMIT".as_slice(), b"0", most.as_bytes()]);
        asked.command(&words);
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
            self.refuse(answer)?;
        }
        let [clock, middle @ .., nodes, stream] = answers else {
            return Err(Fault::NoAnswer);
        };
        debug_assert!(!middle.is_empty(), "it was said that this node lives");
        self.set_clock(clock, now)?;
        // What was to be said has been.
        self.said_down = self.notice.is_down;
        self.notice.is_changed = false;
        self.former_stream = None;
        self.take_claims(answers, now);
        match nodes {
            Value::Number(count) => self.is_incomplete = self.nodes.is_other_than(*count),
            Value::Null | Value::Bytes(_) | Value::Error(_) | Value::List(_) => {
                let unknown = self.nodes.list(nodes);
                self.cannot_read(unknown);
            }
        }
        if self.is_incomplete {
            self.held = Some(stream.clone());
            return Ok(Vec::new());
        }
        Ok(self.read(stream, now))
    }

    /// A refusal is a fault; one that will come again and again is a reason to begin anew.
    fn refuse(&mut self, answer: &Value) -> Result<(), Fault> {
        let refused = refuse_error(answer);
        if let Err(Fault::Refused(why)) = &refused {
            if why.starts_with("WRONGTYPE") {
                self.spoilt = Spoilt::Everything;
            } else if why.contains("exhausted") {
                self.spoil();
            }
        }
        refused
    }

    /// The command that asks who lives, if there are others than are known.
    #[must_use]
    pub fn ask_nodes(&self, now: Instant) -> Option<Vec<u8>> {
        let mut asked = Asked::default();
        self.list_nodes(&mut asked, self.redis_ms(now));
        self.is_incomplete.then_some(asked.out)
    }

    /// Takes who lives: the samples of others that were held back until then.
    ///
    /// # Errors
    /// What the Redis refuses.
    pub fn take_nodes(&mut self, answer: &Value, now: Instant) -> Result<Vec<Told>, Fault> {
        self.refuse(answer)?;
        let unknown = self.nodes.list(answer);
        self.cannot_read(unknown);
        self.is_incomplete = false;
        let held = self.held.take().unwrap_or(Value::Null);
        Ok(self.read(&held, now))
    }

    /// The command that asks who they are who are not known, or have become others, and who they are; none if all are known. While
    /// it is seen to what expires, some are asked for that are known: what they have said of that may have been missed.
    #[must_use]
    pub fn ask_names(&mut self) -> Option<(Vec<u8>, Vec<NodeId>)> {
        let ids = self.nodes.unknown(self.cares);
        if ids.is_empty() {
            return None;
        }
        let keys = ids.iter().map(|id| self.key(&format!("node:{}", text_of(*id))));
        Some((ask_for(keys), ids))
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
            self.nodes.name(*id, hello);
        }
        Ok(())
    }

    /// The fleet as it is known.
    #[must_use]
    pub fn view(&self, is_connected: bool) -> FleetView {
        FleetView {
            me: self.me,
            name: self.hello.name.clone(),
            vantage: self.hello.vantage.clone(),
            is_connected,
            others: self.nodes.named().collect(),
        }
    }

    /// When each of the others spoke last, of those of whom that is known.
    #[must_use]
    pub fn spoke(&self, now: Instant) -> Vec<(NodeId, Instant)> {
        self.nodes.heard(self.redis_ms(now), now)
    }

    /// How many processes there are, this one included.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Nothing was heard for too long: nobody is known.
    pub fn forget(&mut self) {
        self.nodes.forget();
        self.claimed.others.clear();
    }

    fn cannot_read(&mut self, count: usize) {
        self.refused += count as u64;
        self.unreadable += count as u64;
    }
}

/// The command that asks for what stands at these keys.
fn ask_for(keys: impl Iterator<Item = String>) -> Vec<u8> {
    let keys: Vec<String> = keys.collect();
    let mut words: Vec<&[u8]> = vec![b"MGET"];
    words.extend(keys.iter().map(String::as_bytes));
    let mut out = Vec::new();
    command(&mut out, &words);
    out
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

mod claims; // what nodes claim of the limits of clients
mod outsets; // what those are told that begin
#[cfg(test)]
mod sharing_tests;
mod stream; // reading the stream on, piece by piece
#[cfg(test)]
mod tests;
