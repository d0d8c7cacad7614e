//! One backend: a member of the active set, and its live counts.
//!
//! A [`Backend`] outlives snapshots: as long as its address stays active, or a relay to it lives, every set
//! shares the same one, so that a switch never loses a live count. Reactors write their own
//! [`ReactorShare`]; the pools thread writes targets; everybody reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::counters::{CONNECT_BOUNDS_MICROS, Cell, ConnectHistogram};
use crate::selector::decide::Footing;

/// A candidate in use.
#[derive(Debug)]
pub struct Backend {
    /// Where it is.
    pub addr: SocketAddr,
    /// When it joined the active set.
    pub joined_at: Instant,
    /// Relays that use it or wait for it, over all reactors.
    live: AtomicU32,
    /// Highest `live` since [`take_peak`](Self::take_peak).
    peak: AtomicU32,
    /// What the pools thread wants as the size of the pool over all reactors; what it counts depends on the
    /// strategy, see [`Counting`](crate::pools::sizing::Counting).
    pub target: AtomicU32,
    /// Highest concurrency of the last minute; written by the pools thread.
    pub recent_peak: AtomicU32,
    /// Times the target grew.
    pub scale_ups: AtomicU64,
    /// Times the target shrank.
    pub scale_downs: AtomicU64,
    /// How long successful dials took.
    pub dial_durations: ConnectHistogram,
    /// One entry a reactor.
    pub shares: Box<[ReactorShare]>,
}

/// What one reactor holds of a backend's pool. Written by that reactor, but for `target`.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ReactorShare {
    /// Warm connections.
    pub warm: AtomicU32,
    /// Dials under way for the pool.
    pub dialling: AtomicU32,
    /// Relays that use the backend or wait for it.
    pub in_use: AtomicU32,
    /// Highest `in_use` since the pools thread last took it (which sets it to 0).
    pub peak: AtomicU32,
    /// This reactor's part of the backend's target, which it follows by
    /// [`shortfall`](crate::pools::sizing::shortfall) and [`surplus`](crate::pools::sizing::surplus); written
    /// by the pools thread.
    pub target: AtomicU32,
    /// Connections sent to the backend.
    pub requests: AtomicU64,
    /// Connections that found a warm connection.
    pub hits: AtomicU64,
    /// Connections that had to dial.
    pub misses: AtomicU64,
    /// What clients got.
    pub service: Tally,
}

/// What clients of one reactor got of a backend; read by the scorer, and written by the reactor alone but for the slowest
/// answer, which whoever reads it takes.
#[derive(Debug, Default)]
pub struct Tally {
    /// Clients that got a first byte.
    pub answered: Cell,
    /// Those of them that had spoken first.
    pub timed: Cell,
    /// What those waited for it, together, in microseconds.
    pub waited_micros: Cell,
    /// The longest of it since it was last taken, in microseconds.
    slowest_micros: AtomicU32,
    /// Bytes of directions that moved much.
    pub bulk_bytes: Cell,
    /// What those took, in microseconds.
    pub bulk_micros: Cell,
}

impl Tally {
    /// A client got a first byte, so long after it had spoken if it had.
    pub fn answered(&self, waited: Option<Duration>) {
        self.answered.add(1);
        if let Some(waited) = waited {
            self.timed.add(1);
            self.waited_micros.add(micros(waited));
            let waited = u32::try_from(waited.as_micros()).unwrap_or(u32::MAX);
            // A load first: the slowest moves rarely.
            if waited > self.slowest_micros.load(Ordering::Relaxed) {
                self.slowest_micros.fetch_max(waited, Ordering::Relaxed);
            }
        }
    }

    /// A direction moved much, in this time.
    pub fn moved(&self, bytes: u64, time: Duration) {
        self.bulk_bytes.add(bytes);
        self.bulk_micros.add(micros(time));
    }

    /// The slowest answer since this was last asked; zero if there was none. For the scorer alone.
    pub fn take_slowest(&self) -> Duration {
        match self.slowest_micros.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => Duration::from_micros(self.slowest_micros.swap(0, Ordering::Relaxed).into()),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Backend {
    /// A backend without connections, for a process with this many reactors.
    #[must_use]
    pub fn new(addr: SocketAddr, joined_at: Instant, reactors: usize) -> Self {
        Self {
            addr,
            joined_at,
            live: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            target: AtomicU32::new(0),
            recent_peak: AtomicU32::new(0),
            scale_ups: AtomicU64::new(0),
            scale_downs: AtomicU64::new(0),
            dial_durations: ConnectHistogram::new(&CONNECT_BOUNDS_MICROS),
            shares: (0..reactors).map(|_| ReactorShare::default()).collect(),
        }
    }

    /// Relays that use the backend or wait for it, over all reactors.
    pub fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    /// Counts one relay more.
    pub fn join(&self) {
        let live = self.live.fetch_add(1, Ordering::Relaxed) + 1;
        // A load first: the peak moves rarely, and a shared cache line is only taken over when it does.
        if live > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(live, Ordering::Relaxed);
        }
    }

    /// Counts one relay less.
    pub fn leave(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }

    /// The highest live count since the last call (at least the present one); for the pools thread alone.
    pub fn take_peak(&self) -> u32 {
        let live = self.live();
        self.peak.swap(live, Ordering::Relaxed).max(live)
    }
}

/// The members that connections go to now.
#[derive(Debug, Default)]
pub struct ActiveSet {
    /// The members, best first; never empty once serving has started.
    pub backends: Vec<Arc<Backend>>,
    /// What the set stands on.
    pub footing: Footing,
}

impl ActiveSet {
    /// Whether the address is a member.
    #[must_use]
    pub fn contains(&self, addr: &SocketAddr) -> bool {
        self.backends.iter().any(|backend| backend.addr == *addr)
    }
}
