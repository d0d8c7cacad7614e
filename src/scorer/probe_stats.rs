//! What probes of a service's single servers found, for metrics.
//!
//! Owns a count and a histogram for each active backend that was probed and for the last few others, never
//! one per candidate. Written by the scorer thread; read when metrics are scraped.
//!
//! Invariant: at most [`OTHERS`] entries whose address is not active.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::counters::{CONNECT_BOUNDS_MICROS, ConnectHistogram, HistogramReading};
use crate::base::lru::Lru;

/// How many probed candidates outside the active set are shown.
pub const OTHERS: usize = 16;

/// Probe statistics by server.
#[derive(Debug)]
pub struct ProbeStats {
    entries: Mutex<Lru<SocketAddr, Entry>>,
}

#[derive(Debug)]
struct Entry {
    successes: u64,
    durations: ConnectHistogram,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            successes: 0,
            durations: ConnectHistogram::new(&CONNECT_BOUNDS_MICROS),
        }
    }
}

impl Default for ProbeStats {
    fn default() -> Self {
        Self {
            entries: Mutex::new(Lru::new(OTHERS)),
        }
    }
}

/// The statistics of one server, as read once.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeReading {
    /// The server.
    pub addr: SocketAddr,
    /// Successful probes since it is shown.
    pub successes: u64,
    /// How long those took.
    pub durations: HistogramReading,
}

impl ProbeStats {
    /// Counts one probe: its duration if it succeeded.
    pub fn record(&self, addr: SocketAddr, duration: Option<Duration>) {
        let mut entries = self.lock();
        let (entry, _) = entries.touch(addr);
        if let Some(duration) = duration {
            entry.successes += 1;
            entry.durations.observe(duration);
        }
    }

    /// Names the active backends: they are shown once they are probed, and of all others the last [`OTHERS`].
    pub fn set_active(&self, active: &[SocketAddr]) {
        self.lock().pin(active);
    }

    /// All that is shown, in no particular order.
    #[must_use]
    pub fn read(&self) -> Vec<ProbeReading> {
        let read = |(addr, entry): (SocketAddr, &Entry)| {
            let mut durations = HistogramReading::empty();
            entry.durations.add_to(&mut durations);
            ProbeReading {
                addr,
                successes: entry.successes,
                durations,
            }
        };
        self.lock().iter().map(read).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lru<SocketAddr, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn only_the_active_and_the_last_few_are_shown() {
        let stats = ProbeStats::default();
        stats.set_active(&[addr(1), addr(2)]);
        for port in 1..=100 {
            stats.record(addr(port), Some(Duration::from_millis(3)));
            stats.record(addr(port), None);
        }
        let shown = stats.read();
        assert_eq!(shown.len(), 2 + OTHERS);
        let is_due = |reading: &ProbeReading| reading.addr.port() <= 2 || reading.addr.port() > 84;
        assert!(shown.iter().all(is_due));
        let first = shown.iter().find(|reading| reading.addr == addr(1));
        let first = first.expect("it is active");
        assert_eq!((first.successes, first.durations.count), (1, 1));
        assert!((first.durations.sum - 0.003).abs() < 1e-9);
        stats.set_active(&[]);
        assert_eq!(
            stats.read().len(),
            OTHERS,
            "who left the active set counts as another"
        );
    }
}
