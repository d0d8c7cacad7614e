//! Counters of the data path: per reactor, on cache lines of their own, summed when scraped.
//!
//! Each counter has one writer, its reactor; relaxed loads and stores are enough, because nothing else is
//! inferred from them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::relay::close::CloseReason;

/// Why a client was refused right after accept; label `reason` of `connections_rejected_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// In `server.deny`, or not in `server.allow`.
    Denied,
    /// It has `server.max_connections_per_ip` open.
    ConnectionLimit,
    /// Faster than `server.connection_rate_per_ip`.
    RateLimit,
}

impl RejectReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 3] = [Self::Denied, Self::ConnectionLimit, Self::RateLimit];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::ConnectionLimit => "connection_limit",
            Self::RateLimit => "rate_limit",
        }
    }
}

/// What went wrong; label `kind` of `errors_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// `accept` failed.
    Accept,
    /// A dial failed other than by time-out.
    Dial,
    /// A dial exceeded `dial_timeout`.
    DialTimeout,
    /// A relay's socket failed.
    Relay,
    /// A request on the metrics port that is no HTTP, or not one we answer.
    MetricsRequest,
    /// A sample that found the scorer's inbox full.
    SampleDropped,
    /// A changed candidate list that could not be read.
    CandidateList,
}

impl ErrorKind {
    /// Every kind, in label order.
    pub const ALL: [Self; 7] = [
        Self::Accept,
        Self::Dial,
        Self::DialTimeout,
        Self::Relay,
        Self::MetricsRequest,
        Self::SampleDropped,
        Self::CandidateList,
    ];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Dial => "dial",
            Self::DialTimeout => "dial_timeout",
            Self::Relay => "relay",
            Self::MetricsRequest => "metrics_request",
            Self::SampleDropped => "sample_dropped",
            Self::CandidateList => "candidate_list",
        }
    }
}

/// A counter or gauge with one writer.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `amount`; only the owner may call it.
    pub fn add(&self, amount: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(amount),
            Ordering::Relaxed,
        );
    }

    /// Takes `amount` off; only the owner may call it.
    pub fn sub(&self, amount: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_sub(amount),
            Ordering::Relaxed,
        );
    }

    /// The value, for anybody.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram of durations that any thread may add to.
///
/// `N` finite bucket bounds and one for the rest; counts are per bucket, not cumulative.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds_micros: &'static [u64; N],
    counts: [AtomicU64; N],
    over: AtomicU64,
    sum_micros: AtomicU64,
}

/// A histogram as read once.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramReading {
    /// Upper bound in seconds and cumulative count, without the `+Inf` bucket.
    pub buckets: Vec<(f64, u64)>,
    /// All observations.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
}

impl<const N: usize> Histogram<N> {
    /// An empty histogram with these inclusive upper bounds in microseconds, ascending.
    #[must_use]
    pub fn new(bounds_micros: &'static [u64; N]) -> Self {
        Self {
            bounds_micros,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            over: AtomicU64::new(0),
            sum_micros: AtomicU64::new(0),
        }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds_micros.partition_point(|bound| *bound < micros);
        self.counts
            .get(bucket)
            .unwrap_or(&self.over)
            .fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many durations were counted, and their sum.
    pub fn totals(&self) -> (u64, Duration) {
        let counts = self.counts.iter().chain([&self.over]);
        let count = counts.map(|count| count.load(Ordering::Relaxed)).sum();
        (
            count,
            Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)),
        )
    }

    /// Adds what this histogram holds to a reading (empty, or of the same bounds).
    pub fn add_to(&self, reading: &mut HistogramReading) {
        let mut cumulative = 0;
        for (i, (bound, count)) in self.bounds_micros.iter().zip(&self.counts).enumerate() {
            cumulative += count.load(Ordering::Relaxed);
            match reading.buckets.get_mut(i) {
                Some(bucket) => bucket.1 += cumulative,
                None => reading
                    .buckets
                    .push((Duration::from_micros(*bound).as_secs_f64(), cumulative)),
            }
        }
        reading.count += cumulative + self.over.load(Ordering::Relaxed);
        reading.sum += Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)).as_secs_f64();
    }
}

impl HistogramReading {
    /// Nothing observed, bounds not known yet.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            buckets: Vec::new(),
            count: 0,
            sum: 0.0,
        }
    }
}

/// Bounds of dial and probe durations: 100 µs to 2.5 s.
pub const CONNECT_BOUNDS_MICROS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000,
];

/// Bounds of connection durations: 1 ms to 1 h.
pub const CONNECTION_BOUNDS_MICROS: [u64; 12] = [
    1_000,
    5_000,
    25_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// A histogram of connect durations.
pub type ConnectHistogram = Histogram<14>;

/// A histogram of connection durations.
pub type ConnectionHistogram = Histogram<12>;

/// What one reactor counts. Aligned so that two reactors never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct ReactorCounters {
    /// Connections accepted.
    pub accepted: Cell,
    /// Relays that are open now (from accept to close).
    pub active: Cell,
    /// Backend sockets that are open now: dialling, warm and in use.
    pub upstreams: Cell,
    /// Bytes from clients to backends.
    pub bytes_to_backend: Cell,
    /// Bytes from backends to clients.
    pub bytes_to_client: Cell,
    /// Pauses of accepting.
    pub accept_paused: Cell,
    /// Clients that got another connection to a backend for a warm one that turned out dead.
    pub rescued: Cell,
    /// Relays closed, by [`CloseReason`].
    pub closed: [Cell; CloseReason::ALL.len()],
    /// Connections refused, by [`RejectReason`].
    pub rejected: [Cell; RejectReason::ALL.len()],
    /// Errors, by [`ErrorKind`].
    pub errors: [Cell; ErrorKind::ALL.len()],
    /// How long relays lived.
    pub durations: ConnectionHistogram,
}

impl Default for ReactorCounters {
    fn default() -> Self {
        Self {
            accepted: Cell::default(),
            active: Cell::default(),
            upstreams: Cell::default(),
            bytes_to_backend: Cell::default(),
            bytes_to_client: Cell::default(),
            accept_paused: Cell::default(),
            rescued: Cell::default(),
            closed: Default::default(),
            rejected: Default::default(),
            errors: Default::default(),
            durations: ConnectionHistogram::new(&CONNECTION_BOUNDS_MICROS),
        }
    }
}

impl ReactorCounters {
    /// Counts a closed relay.
    pub fn count_close(&self, reason: CloseReason) {
        if let Some(cell) = self.closed.get(reason as usize) {
            cell.add(1);
        }
    }

    /// Counts a refused connection.
    pub fn count_rejection(&self, reason: RejectReason) {
        if let Some(cell) = self.rejected.get(reason as usize) {
            cell.add(1);
        }
    }

    /// Counts an error.
    pub fn count_error(&self, kind: ErrorKind) {
        if let Some(cell) = self.errors.get(kind as usize) {
            cell.add(1);
        }
    }
}

/// What the control threads count.
#[derive(Debug, Default)]
pub struct ControlCounters {
    /// Successful probes.
    pub probes_ok: AtomicU64,
    /// Failed probes.
    pub probes_failed: AtomicU64,
    /// Requests on the metrics port that were not answered with metrics.
    pub bad_metrics_requests: AtomicU64,
    /// Changed candidate lists that could not be read.
    pub candidate_list_errors: AtomicU64,
    /// Switches of the active set, by [`SwitchReason`].
    pub switches: [AtomicU64; SwitchReason::ALL.len()],
    /// 1 while the active set is a fallback.
    pub fallback: AtomicU64,
    /// 1 while our own link is down.
    pub link_down: AtomicU64,
    /// Times it went down.
    pub link_outages: AtomicU64,
}

/// Why the active set changed; label `reason` of `selector_switches_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchReason {
    /// The first set.
    Initial,
    /// A set better by the margin, after the debounce interval.
    Better,
    /// A member fell under the threshold (or left the candidate list).
    Emergency,
    /// The set was too small.
    Fill,
    /// Nothing passes the threshold.
    Fallback,
}

impl SwitchReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 5] = [
        Self::Initial,
        Self::Better,
        Self::Emergency,
        Self::Fill,
        Self::Fallback,
    ];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Better => "better",
            Self::Emergency => "emergency",
            Self::Fill => "fill",
            Self::Fallback => "fallback",
        }
    }
}
