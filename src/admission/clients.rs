//! What each client has open, and how fast it connects (pure).
//!
//! A client is an IPv4 address or an IPv6 network of 64 bits: the smallest that one customer gets, and every
//! address of it is his. Its rate is a token bucket, kept as the time at which it will be full again
//! (the virtual scheduling algorithm of ITU-T I.371, also called GCRA).
//!
//! Invariants: a client that has something open, or whose bucket may not be full, has an entry; those with
//! nothing open are at most `bound`, and stand in the ring, each once. When there would be more, the
//! one is forgotten that connected last longest ago, which is as if its bucket had filled early. Every
//! step is O(1), amortized: what stands in the ring was put there by one connection.
//!
//! Where other processes count the same clients, each has a [`Portion`] of its limits: of a client that has more than half of what is
//! given out [unclaimed](Portion::unclaimed) it stands in a short list, for others to be told. Nobody is refused because that list
//! is full: who finds no place there has the whole limit here.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::portion::Portion;
use super::reason::RejectReason;
use crate::base::hash;
use crate::config::Server;

/// Longest time in which one token comes; a lower rate counts as this one.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Old entries looked at per new connection.
const SWEPT: usize = 2;

/// Whom connections are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Client {
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl Client {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            // Half of the bits are left, so they fit.
            IpAddr::V6(ip) => Self::V6(u64::try_from(ip.to_bits() >> 64).unwrap_or_default()),
        }
    }

    /// Which of so many tables is this client's.
    pub(super) fn shard(self, shards: usize) -> usize {
        let bits = match self {
            Self::V4(bits) => u64::from(bits),
            Self::V6(bits) => bits,
        };
        // Fibonacci hashing: neighbours come apart. Whoever picks addresses of one table slows nobody down
        // but by the wait for its lock.
        let spread = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(spread).unwrap_or_default() % shards
    }

    /// The same on all machines; whoever knows addresses can find out which one it is.
    pub(super) fn hash(self) -> u64 {
        match self {
            Self::V4(bits) => hash::mix(bits.into()),
            Self::V6(bits) => hash::mix(hash::mix(bits).wrapping_add(1)),
        }
    }
}

/// What one client may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    /// Connections at once.
    connections: Option<u32>,
    rate: Option<Rate>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// In which one token comes.
    interval: Duration,
    /// How far ahead of the refilling a client may be: all tokens but one.
    tolerance: Duration,
}

impl Quota {
    /// What `server` says; none when there is no limit.
    pub(super) fn of(server: &Server) -> Option<Self> {
        let connections = match server.max_connections_per_ip {
            0 => None,
            most => Some(u32::try_from(most).unwrap_or(u32::MAX)),
        };
        let rate = Rate::of(server.connection_rate_per_ip, server.connection_burst_per_ip);
        (connections.is_some() || rate.is_some()).then_some(Self { connections, rate })
    }

    /// This part of it; one connection at least, and one token.
    fn part(&self, portion: Portion) -> Self {
        Self {
            connections: self.connections.map(|most| portion.count(most)),
            rate: self.rate.map(|rate| rate.part(portion)),
        }
    }
}

impl Rate {
    /// `per_second` 0 is no limit; `burst` 0 is one second's worth, at least 1.
    fn of(per_second: f64, burst: u32) -> Option<Self> {
        if per_second <= 0.0 {
            return None;
        }
        let interval = Duration::try_from_secs_f64(per_second.recip())
            .unwrap_or(LONGEST_INTERVAL)
            .clamp(Duration::from_nanos(1), LONGEST_INTERVAL);
        let in_a_second = Duration::from_secs(1).as_nanos() / interval.as_nanos();
        let burst = match burst {
            0 => u32::try_from(in_a_second).unwrap_or(u32::MAX).max(1),
            burst => burst,
        };
        Some(Self {
            interval,
            tolerance: interval.saturating_mul(burst - 1),
        })
    }

    fn part(self, portion: Portion) -> Self {
        if portion == Portion::WHOLE {
            return self;
        }
        let burst = 1 + self.tolerance.as_nanos() / self.interval.as_nanos().max(1);
        let burst = portion.count(u32::try_from(burst).unwrap_or(u32::MAX));
        let interval = stretched(self.interval, portion.fraction().recip()).min(LONGEST_INTERVAL);
        Self {
            interval,
            tolerance: interval.saturating_mul(burst - 1),
        }
    }

    /// How long a bucket takes that is empty.
    fn whole(self) -> Duration {
        self.tolerance.saturating_add(self.interval)
    }
}

/// A time so often.
fn stretched(time: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[derive(Debug)]
struct Record {
    /// Connections that are open.
    live: u32,
    /// What this process may give it, where it is one of those of whom others are told; else nothing.
    portion: Portion,
    /// Whether it stands in the ring.
    in_ring: bool,
    /// Whether it connected since it came to its place in the ring.
    touched: bool,
    /// When the bucket is full again.
    full_at: Instant,
}

/// What is the matter where others count the same clients.
#[derive(Debug)]
struct Divided {
    /// What anybody may have of whom nobody was told.
    unclaimed: Portion,
    /// The most clients of whom others are told.
    most: usize,
    /// Who they are, each once.
    near: Vec<Near>,
    /// Whether others should be told at once.
    is_news: bool,
}

/// A client of whom others are told.
#[derive(Debug)]
struct Near {
    client: Client,
    /// Whether the last division gave it no more than it had: another one at once would not, either.
    is_settled: bool,
}

/// A bounded table of clients.
#[derive(Debug)]
pub(super) struct Clients {
    quota: Quota,
    /// None: this process counts by itself.
    divided: Option<Divided>,
    bound: usize,
    records: HashMap<Client, Record>,
    /// Clients with nothing open, the longest there first; and some that have connected since.
    ring: VecDeque<Client>,
    /// Entries of clients with nothing open.
    idle: usize,
}

impl Clients {
    /// An empty table that remembers at most `bound` clients with nothing open.
    pub(super) fn new(quota: Quota, bound: usize) -> Self {
        Self {
            quota,
            divided: None,
            bound,
            records: HashMap::new(),
            ring: VecDeque::new(),
            idle: 0,
        }
    }

    /// Changes what each client may have; what is counted stays counted.
    pub(super) fn allow(&mut self, quota: Quota) {
        self.quota = quota;
    }

    /// Counts by itself from now on (none), or gives out this unclaimed, and tells of at most so many clients.
    pub(super) fn divide(&mut self, unclaimed: Option<Portion>, most: usize) {
        let Some(unclaimed) = unclaimed else {
            self.divided = None;
            return;
        };
        if let Some(divided) = &mut self.divided {
            divided.unclaimed = unclaimed;
            divided.most = most;
            return;
        }
        for record in self.records.values_mut() {
            record.portion = Portion::NONE;
        }
        self.divided = Some(Divided {
            unclaimed,
            most,
            near: Vec::new(),
            is_news: false,
        });
    }

    /// Whether others should be told at once, since the last call.
    pub(super) fn take_news(&mut self) -> bool {
        let divided = self.divided.as_mut();
        divided.is_some_and(|divided| std::mem::take(&mut divided.is_news))
    }

    /// Asks, for each client of whom others are told, what this process may give it, from what it uses and what it may have now.
    /// Who uses little again is not told of any more. Of whom nothing is raised there is no news until the next time.
    pub(super) fn revise(
        &mut self,
        now: Instant,
        decide: &mut dyn FnMut(Client, Portion, Portion) -> Portion,
    ) {
        let Some(divided) = &mut self.divided else {
            return;
        };
        let (quota, unclaimed, records) = (self.quota, divided.unclaimed, &mut self.records);
        let quota_unclaimed = quota.part(unclaimed);
        divided.near.retain_mut(|Near { client, is_settled }| {
            let Some(record) = records.get_mut(client) else {
                return false;
            };
            let before = record.portion.max(unclaimed);
            let is_near = record.is_near(&quota_unclaimed, now);
            let next = if is_near {
                decide(*client, record.need(&quota, before, now), record.portion)
            } else {
                Portion::NONE
            };
            *is_settled = next <= record.portion;
            record.portion = next;
            let after = record.portion.max(unclaimed);
            // As many tokens are spent as before, and each takes another time to come back.
            let owed = record.full_at.saturating_duration_since(now);
            if before != after && !owed.is_zero() {
                record.full_at =
                    now + stretched(owed, before.fraction() / after.fraction()).min(LONGEST_INTERVAL);
            }
            is_near
        });
    }

    /// What a client may have here.
    fn quota_of(&self, client: Client) -> Quota {
        let Some(divided) = &self.divided else {
            return self.quota;
        };
        let portion = self
            .records
            .get(&client)
            .map_or(Portion::NONE, |record| record.portion);
        if portion == Portion::NONE && divided.near.len() >= divided.most {
            return self.quota;
        }
        self.quota.part(portion.max(divided.unclaimed))
    }

    /// Has others told of a client that has much of what is given out unclaimed, or that was refused for want of a claim.
    fn note(&mut self, client: Client, now: Instant, answer: Result<(), RejectReason>) {
        let (Some(divided), Some(record)) = (&mut self.divided, self.records.get_mut(&client)) else {
            return;
        };
        if record.portion == Portion::NONE {
            if answer.is_ok() && !record.is_near(&self.quota.part(divided.unclaimed), now) {
                return;
            }
            // One that left wholly and came again is listed until the next division.
            let is_listed = divided.near.iter().any(|near| near.client == client);
            if is_listed || divided.near.len() < divided.most {
                record.portion = Portion::LEAST;
                divided.is_news = true;
                if !is_listed {
                    let is_settled = false;
                    divided.near.push(Near { client, is_settled });
                }
            }
        } else if answer.is_err() && record.portion < Portion::WHOLE {
            let mut near = divided.near.iter();
            let is_open = near.any(|near| near.client == client && !near.is_settled);
            divided.is_news |= is_open;
        }
    }

    /// Counts a connection, unless it is one too many or comes too soon.
    pub(super) fn admit(&mut self, client: Client, now: Instant) -> Result<(), RejectReason> {
        self.sweep(now);
        if self.divided.is_none() {
            return self.count(client, self.quota, now);
        }
        let answer = self.count(client, self.quota_of(client), now);
        self.note(client, now, answer);
        answer
    }

    fn count(&mut self, client: Client, quota: Quota, now: Instant) -> Result<(), RejectReason> {
        let Quota { connections, rate } = quota;
        match self.records.entry(client) {
            Entry::Occupied(mut entry) => {
                let record = entry.get_mut();
                if connections.is_some_and(|most| record.live >= most) {
                    return Err(RejectReason::ConnectionLimit);
                }
                if let Some(rate) = rate {
                    let full_at = record.full_at.max(now);
                    if full_at.saturating_duration_since(now) > rate.tolerance {
                        return Err(RejectReason::RateLimit);
                    }
                    record.full_at = full_at + rate.interval;
                }
                if record.live == 0 {
                    self.idle -= 1;
                }
                record.live += 1;
                record.touched = true;
            }
            Entry::Vacant(entry) => {
                entry.insert(Record {
                    live: 1,
                    portion: Portion::NONE,
                    in_ring: false,
                    touched: false,
                    full_at: rate.map_or(now, |rate| now + rate.interval),
                });
            }
        }
        Ok(())
    }

    /// Gives back what [`Clients::admit`] counted.
    pub(super) fn leave(&mut self, client: Client) {
        let Some(record) = self.records.get_mut(&client) else {
            return;
        };
        record.live = record.live.saturating_sub(1);
        if record.live > 0 {
            return;
        }
        if self.quota.rate.is_none() && !record.in_ring {
            self.records.remove(&client);
            return;
        }
        self.idle += 1;
        if !record.in_ring {
            record.in_ring = true;
            record.touched = false;
            self.ring.push_back(client);
        }
        while self.idle > self.bound && !self.ring.is_empty() {
            self.turn_ring(None);
        }
    }

    /// Forgets some of those whose bucket is full, if they come first.
    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEPT.min(self.ring.len()) {
            self.turn_ring(Some(now));
        }
    }

    /// Looks at the first of the ring: one that is connected leaves the ring, one that has connected since
    /// goes to its end, and of others the table forgets: those whose bucket is full at `full_by`, or any.
    fn turn_ring(&mut self, full_by: Option<Instant>) {
        let Some(client) = self.ring.front().copied() else {
            return;
        };
        let Some(record) = self.records.get_mut(&client) else {
            self.ring.pop_front();
            return;
        };
        if record.live > 0 {
            record.in_ring = false;
            self.ring.pop_front();
        } else if full_by.map_or(!record.touched, |now| record.full_at <= now) {
            self.records.remove(&client);
            self.ring.pop_front();
            self.idle -= 1;
        } else if record.touched {
            record.touched = false;
            self.ring.rotate_left(1);
        }
    }
}

impl Record {
    /// Whether it has more than half of what is given out unclaimed.
    fn is_near(&self, unclaimed: &Quota, now: Instant) -> bool {
        let owed = self.full_at.saturating_duration_since(now);
        unclaimed
            .connections
            .is_some_and(|most| u64::from(self.live) * 2 > u64::from(most))
            || unclaimed.rate.is_some_and(|rate| owed > rate.whole() / 2)
    }

    /// The part of its limits that it uses, of which it may have this much.
    fn need(&self, quota: &Quota, portion: Portion, now: Instant) -> Portion {
        let open = quota
            .connections
            .map_or(Portion::NONE, |most| Portion::of_count(self.live, most));
        let fast = quota.rate.map_or(Portion::NONE, |rate| {
            let owed = self.full_at.saturating_duration_since(now).as_secs_f64();
            // Who has spent half of its bucket needs all that it may have.
            let spent = owed / rate.part(portion).whole().as_secs_f64().max(f64::MIN_POSITIVE);
            portion.times((spent * 2.0).min(1.0))
        });
        open.max(fast)
    }
}

#[cfg(test)]
mod tests;
