//! The way of samples from whoever connects (probes, reactors) to the scorer thread.
//!
//! Bounded: when the scorer cannot keep up, further samples are counted and dropped, so that nobody on the
//! data path ever waits. The scorer is woken when the inbox stops being empty, not per sample.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Sample;

/// The most samples that wait at once.
pub const INBOX_CAPACITY: usize = 8192;

/// A bounded, many-to-one queue of samples.
#[derive(Debug, Default)]
pub struct SampleInbox {
    waiting: Mutex<Vec<Sample>>,
    arrived: Condvar,
    dropped: AtomicU64,
}

impl SampleInbox {
    /// Hands in one sample; never blocks for longer than another `push` or a swap takes.
    pub fn push(&self, sample: Sample) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= INBOX_CAPACITY {
            drop(waiting);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push(sample);
        let was_empty = waiting.len() == 1;
        drop(waiting);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Waits up to `patience` for samples, then swaps all that wait into `batch` (emptied first).
    pub fn take(&self, batch: &mut Vec<Sample>, patience: Duration) {
        batch.clear();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, patience, |waiting| waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *waiting, batch);
    }

    /// Wakes the thread in [`take`](Self::take) without a sample, so that it can look whether to stop.
    pub fn wake(&self) {
        self.arrived.notify_all();
    }

    /// Samples that found the inbox full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
