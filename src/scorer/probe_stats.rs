//! What probes of single servers found, for metrics.
//!
//! Owns a count and a histogram for each active backend that was probed and for the last few others, never
//! one per candidate. Written by the scorer thread; read when metrics are scraped.
//!
//! Invariant: at most [`OTHERS`] entries whose address is not active.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::metrics::counters::{CONNECT_BOUNDS_MICROS, ConnectHistogram, HistogramReading};

/// How many probed candidates outside the active set are shown.
pub const OTHERS: usize = 16;

/// Probe statistics by server.
#[derive(Debug, Default)]
pub struct ProbeStats {
    /// Least recently probed first.
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    addr: SocketAddr,
    successes: u64,
    durations: ConnectHistogram,
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
        let entry = match entries.iter().position(|entry| entry.addr == addr) {
            Some(at) => entries.remove(at),
            None => Entry {
                addr,
                successes: 0,
                durations: ConnectHistogram::new(&CONNECT_BOUNDS_MICROS),
            },
        };
        entries.push(entry);
        if let (Some(entry), Some(duration)) = (entries.last_mut(), duration) {
            entry.successes += 1;
            entry.durations.observe(duration);
        }
    }

    /// Drops what is neither active nor among the last [`OTHERS`] probed.
    pub fn trim(&self, is_active: impl Fn(&SocketAddr) -> bool) {
        let mut entries = self.lock();
        let others = entries.iter().filter(|entry| !is_active(&entry.addr)).count();
        let mut surplus = others.saturating_sub(OTHERS);
        entries.retain(|entry| {
            let leaves = surplus > 0 && !is_active(&entry.addr);
            surplus -= usize::from(leaves);
            !leaves
        });
    }

    /// All that is shown, least recently probed first.
    #[must_use]
    pub fn read(&self) -> Vec<ProbeReading> {
        let read = |entry: &Entry| {
            let mut durations = HistogramReading::empty();
            entry.durations.add_to(&mut durations);
            ProbeReading {
                addr: entry.addr,
                successes: entry.successes,
                durations,
            }
        };
        self.lock().iter().map(read).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
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
        let is_active = |addr: &SocketAddr| addr.port() <= 2;
        for port in 1..=100 {
            stats.record(addr(port), Some(Duration::from_millis(3)));
            stats.record(addr(port), None);
            stats.trim(is_active);
        }
        let shown = stats.read();
        assert_eq!(shown.len(), 2 + OTHERS);
        assert!(
            shown
                .iter()
                .all(|reading| is_active(&reading.addr) || reading.addr.port() > 84)
        );
        let first = &shown[0];
        assert_eq!(
            (first.addr, first.successes, first.durations.count),
            (addr(1), 1, 1)
        );
        assert!((first.durations.sum - 0.003).abs() < 1e-9);
        stats.trim(|_| false);
        assert_eq!(
            stats.read().len(),
            OTHERS,
            "who left the active set counts as another"
        );
    }
}
