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

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::reason::RejectReason;
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
}

#[derive(Debug)]
struct Record {
    /// Connections that are open.
    live: u32,
    /// Whether it stands in the ring.
    in_ring: bool,
    /// Whether it connected since it came to its place in the ring.
    touched: bool,
    /// When the bucket is full again.
    full_at: Instant,
}

/// A bounded table of clients.
#[derive(Debug)]
pub(super) struct Clients {
    quota: Quota,
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

    /// Counts a connection, unless it is one too many or comes too soon.
    pub(super) fn admit(&mut self, client: Client, now: Instant) -> Result<(), RejectReason> {
        self.sweep(now);
        let Quota { connections, rate } = self.quota;
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

#[cfg(test)]
mod tests;
