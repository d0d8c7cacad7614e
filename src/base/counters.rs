//! Counters and histograms.
//!
//! Relaxed loads and stores are enough, because nothing else is inferred from them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

    /// Makes it this value; only the owner may call it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
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
