//! How fast relays may move: a limit for each connection, a limit for all together, each direction for itself.
//!
//! A limit is a bucket of bytes, kept as a virtual clock: so many bytes were allowed since the origin, so many
//! were spent. What a bucket saves up while little moves is [`BURST`] worth, no more. A half reads only what
//! its bucket has, in quanta of [`QUANTUM`] worth; what was moved is charged, and while the charge lies ahead of the
//! clock the half is paused and its source waits in the kernel. The reactor sets a timer for
//! [`Relay::resumes_at`](super::Relay::resumes_at).
//!
//! The bucket of all relays is shared by all reactors, without a lock. Who finds it empty takes a ticket: a
//! quantum at the end of what is spent already, so turns come in the order in which they were asked for, over all
//! reactors, and nobody overtakes. What of a quantum was not used is given back.
//!
//! Invariants: over any time no more is moved than the rate allows, the burst, and one quantum and one
//! buffer for each half that takes part; bytes that were read are written whatever the limit says; a
//! pause always has an end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::BandwidthLimits;

/// What a bucket saves up: late timers cost no throughput, and a pause earns no flood.
const BURST: Duration = Duration::from_millis(100);

/// What a half may move in one turn.
const QUANTUM: Duration = Duration::from_millis(5);

/// Bounds of a quantum in bytes.
const QUANTUM_BYTES: (u64, u64) = (1024, 256 * 1024);

/// A number of bytes a second, above 0.
#[derive(Debug, Clone, Copy)]
struct Rate(u64);

impl Rate {
    fn of(bytes_per_second: u64) -> Option<Self> {
        (bytes_per_second > 0).then_some(Self(bytes_per_second))
    }

    /// Bytes allowed in this time.
    fn bytes_in(self, time: Duration) -> u64 {
        let bytes = time.as_nanos().saturating_mul(self.0.into()) / Duration::from_secs(1).as_nanos();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The time in which so many bytes are allowed, rounded up.
    fn time_of(self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * Duration::from_secs(1).as_nanos();
        let nanos = u64::try_from(nanos.div_ceil(self.0.into()));
        Duration::from_nanos(nanos.unwrap_or(u64::MAX))
    }

    fn quantum(self) -> u64 {
        let (least, most) = QUANTUM_BYTES;
        self.bytes_in(QUANTUM).clamp(least, most)
    }

    /// What counts as spent when `clock` bytes were allowed and `spent` were: what was saved up beyond the burst
    /// is gone.
    fn floored(self, spent: u64, clock: u64) -> u64 {
        let burst = self.bytes_in(BURST).max(self.quantum());
        spent.max(clock.saturating_sub(burst))
    }
}

/// The limits of the process.
#[derive(Debug)]
pub struct Bandwidth {
    origin: Instant,
    /// What one half may move in one turn.
    quantum: u64,
    per_connection: Option<Rate>,
    total: Option<Total>,
}

/// The bucket of all relays.
#[derive(Debug)]
struct Total {
    rate: Rate,
    /// Bytes spent in each [`Direction`], tickets included.
    spent: [AtomicU64; 2],
}

/// One direction of all relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Client to backend.
    ToBackend,
    /// Backend to client.
    ToClient,
}

/// The share of one relay in the limits, of both its halves.
#[derive(Debug, Default)]
pub(super) struct Throttle([Gate; 2]);

/// The share of one half.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Bytes spent on the connection's own clock.
    spent: u64,
    /// Where on the clock of all relays its quantum begins, if it has reserved one.
    ticket: Option<u64>,
    /// While it is paused: when it may go on.
    paused_until: Option<Instant>,
}

impl Bandwidth {
    /// The limits, if there are any; `origin` lies before all times to come.
    #[must_use]
    pub fn of(limits: &BandwidthLimits, origin: Instant) -> Option<Self> {
        let per_connection = Rate::of(limits.per_connection);
        let total = Rate::of(limits.total).map(|rate| Total {
            rate,
            spent: Default::default(),
        });
        let slowest = match (per_connection, &total) {
            (None, None) => return None,
            (Some(rate), None) => rate,
            (None, Some(total)) => total.rate,
            (Some(rate), Some(total)) => Rate(rate.0.min(total.rate.0)),
        };
        Some(Self {
            origin,
            quantum: slowest.quantum(),
            per_connection,
            total,
        })
    }

    fn clock(&self, rate: Rate, now: Instant) -> u64 {
        rate.bytes_in(now.saturating_duration_since(self.origin))
    }

    /// When the clock of a rate has come to `bytes`, if it has not by `now`.
    fn wait_for(&self, rate: Rate, bytes: u64, now: Instant) -> Option<Instant> {
        (bytes > self.clock(rate, now)).then(|| self.origin + rate.time_of(bytes))
    }

    /// What one half may move in one turn.
    pub(super) fn quantum(&self) -> u64 {
        self.quantum
    }

    /// Whether a half may move a quantum now; if not, until when it is paused.
    pub(super) fn permit(&self, gate: &mut Gate, direction: Direction, now: Instant) -> bool {
        gate.paused_until = self
            .per_connection
            .and_then(|rate| self.wait_for(rate, gate.spent, now))
            .or_else(|| {
                let total = self.total.as_ref()?;
                let reserve = || total.reserve(direction, self.quantum, self.clock(total.rate, now));
                let start = *gate.ticket.get_or_insert_with(reserve);
                self.wait_for(total.rate, start, now)
            });
        gate.paused_until.is_none()
    }

    /// Charges what a half has moved; what it has reserved is used up by that, unless it is still paused.
    pub(super) fn charge(&self, gate: &mut Gate, direction: Direction, moved: u64, now: Instant) {
        if let Some(rate) = self.per_connection {
            gate.spent = rate.floored(gate.spent, self.clock(rate, now)) + moved;
        }
        if let Some(total) = &self.total {
            let reserved = match gate.paused_until {
                None => gate.ticket.take().map_or(0, |_| self.quantum),
                Some(_) => 0,
            };
            total.correct(direction, reserved, moved);
        }
    }
}

impl Total {
    /// Takes a quantum at the end of what is spent; where it begins.
    fn reserve(&self, direction: Direction, quantum: u64, clock: u64) -> u64 {
        let spent = &self.spent[direction as usize];
        let mut start = 0;
        let take = |spent| {
            start = self.rate.floored(spent, clock);
            Some(start + quantum)
        };
        // Never refused: `take` always has an answer.
        let _before = spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        start
    }

    /// Puts what was moved in the place of what was reserved.
    fn correct(&self, direction: Direction, reserved: u64, moved: u64) {
        let spent = &self.spent[direction as usize];
        if moved >= reserved {
            spent.fetch_add(moved - reserved, Ordering::Relaxed);
        } else {
            spent.fetch_sub(reserved - moved, Ordering::Relaxed);
        }
    }
}

impl Throttle {
    /// When a half that is paused may go on, the earlier one; none while neither is.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.0.iter().filter_map(|gate| gate.paused_until).min()
    }

    /// Whether a half is paused beyond that time.
    pub(super) fn is_paused_at(&self, direction: Direction, now: Instant) -> bool {
        self.0[direction as usize]
            .paused_until
            .is_some_and(|until| until > now)
    }

    /// The share of one half.
    pub(super) fn gate(&mut self, direction: Direction) -> &mut Gate {
        &mut self.0[direction as usize]
    }

    /// Gives back what it has reserved, at the end of its relay.
    pub(super) fn give_back(self, bandwidth: &Bandwidth) {
        let Some(total) = &bandwidth.total else { return };
        for (gate, direction) in self.0.iter().zip([Direction::ToBackend, Direction::ToClient]) {
            if gate.ticket.is_some() {
                total.correct(direction, bandwidth.quantum, 0);
            }
        }
    }
}

impl Gate {
    /// Forgets a pause: its half has its turn.
    pub(super) fn open(&mut self) {
        self.paused_until = None;
    }
}

#[cfg(test)]
mod tests;
