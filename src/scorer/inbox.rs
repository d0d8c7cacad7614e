//! The way of samples from whoever connects (probes, reactors) to the scorer thread.
//!
//! Bounded: when the scorer cannot keep up, further samples are counted and dropped, so that nobody on the
//! data path ever waits. The scorer is woken when the inbox stops being empty, not per sample, and while
//! samples keep coming it takes them in batches [`PACE`] apart; a dial that failed shortens that to
//! [`URGENT_PACE`], because clients are waiting for the selector to hear of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Sample, Source};
use crate::base::clock;

/// The most samples that wait at once.
pub const INBOX_CAPACITY: usize = 8192;
/// Least time between two batches.
pub const PACE: Duration = Duration::from_millis(100);
/// The same once a dial has failed.
pub const URGENT_PACE: Duration = Duration::from_millis(10);

/// A bounded, many-to-one queue of samples.
#[derive(Debug, Default)]
pub struct SampleInbox {
    state: Mutex<State>,
    arrived: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Sample>,
    /// A failed dial is among them.
    urgent: bool,
    /// Somebody called `wake`; until the next `take` returns.
    woken: bool,
    taken_at: Option<Instant>,
}

impl State {
    /// How long the next batch is still to be held back.
    fn left_of(&self, pace: Duration) -> Duration {
        match self.taken_at {
            Some(at) => (at + pace).saturating_duration_since(clock::now()),
            None => Duration::ZERO,
        }
    }
}

impl SampleInbox {
    /// Hands in one sample; never blocks for longer than another `push` or a swap takes.
    pub fn push(&self, sample: Sample) {
        let mut state = self.lock();
        if state.waiting.len() >= INBOX_CAPACITY {
            drop(state);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let urgent = sample.source == Source::Dial && !sample.outcome.is_success();
        state.waiting.push(sample);
        let news = state.waiting.len() == 1 || (urgent && !state.urgent);
        state.urgent |= urgent;
        drop(state);
        if news {
            self.arrived.notify_one();
        }
    }

    /// Waits up to `patience` for samples, then swaps all that wait into `batch` (emptied first). A batch
    /// that follows the last one too soon is held back to collect more.
    pub fn take(&self, batch: &mut Vec<Sample>, patience: Duration) {
        batch.clear();
        let mut state = self.lock();
        state = self.wait(state, patience, |state| state.waiting.is_empty());
        if !state.waiting.is_empty() {
            let pace = state.left_of(PACE);
            state = self.wait(state, pace, |state| !state.urgent);
            let pace = state.left_of(URGENT_PACE);
            state = self.wait(state, pace, |_| true);
            state.taken_at = Some(clock::now());
        }
        state.woken = false;
        state.urgent = false;
        std::mem::swap(&mut state.waiting, batch);
    }

    /// Ends the present or else the next [`take`](Self::take) at once, with or without samples, so that its
    /// thread can look whether to stop.
    pub fn wake(&self) {
        self.lock().woken = true;
        self.arrived.notify_all();
    }

    /// Samples that found the inbox full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as `goes_on` holds and nobody called `wake`, `patience` at most.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        patience: Duration,
        goes_on: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        if patience.is_zero() {
            return state;
        }
        self.arrived
            .wait_timeout_while(state, patience, |state| !state.woken && goes_on(state))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use std::net::SocketAddr;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(60);

    fn sample(source: Source, outcome: Outcome) -> Sample {
        Sample {
            addr: SocketAddr::from(([127, 0, 0, 1], 1)),
            outcome,
            source,
            began_at: clock::now(),
            at: clock::now(),
        }
    }

    fn probe() -> Sample {
        sample(Source::Probe, Outcome::Success(Duration::from_millis(1)))
    }

    #[test]
    fn a_batch_takes_all_that_waits() {
        let inbox = SampleInbox::default();
        inbox.push(probe());
        inbox.push(probe());
        let mut batch = vec![probe(); 3];
        inbox.take(&mut batch, LONG);
        assert_eq!(batch.len(), 2);
        inbox.take(&mut batch, Duration::from_millis(1));
        assert!(batch.is_empty(), "patience ended");
    }

    #[test]
    fn what_finds_the_inbox_full_is_counted() {
        let inbox = SampleInbox::default();
        for _ in 0..INBOX_CAPACITY + 3 {
            inbox.push(probe());
        }
        assert_eq!(inbox.dropped(), 3);
        let mut batch = Vec::new();
        inbox.take(&mut batch, LONG);
        assert_eq!(batch.len(), INBOX_CAPACITY);
    }

    #[test]
    fn wake_ends_a_take_without_samples() {
        let inbox = Arc::new(SampleInbox::default());
        let taker = {
            let inbox = Arc::clone(&inbox);
            std::thread::spawn(move || {
                let mut batch = Vec::new();
                inbox.take(&mut batch, LONG);
                batch.len()
            })
        };
        inbox.wake();
        assert_eq!(taker.join().expect("the taker does not panic"), 0);
    }

    #[test]
    fn batches_keep_their_pace_unless_a_dial_failed() {
        let inbox = SampleInbox::default();
        let mut batch = Vec::new();
        inbox.push(probe());
        inbox.take(&mut batch, LONG);
        let first = clock::now();
        inbox.push(probe());
        inbox.take(&mut batch, LONG);
        let second = clock::now();
        // A little less than the pace: `first` was read after the batch was taken.
        assert!(second - first >= PACE / 2, "{:?}", second - first);
        inbox.push(sample(Source::Dial, Outcome::Failure));
        inbox.take(&mut batch, LONG);
        assert_eq!(batch.len(), 1);
        assert!(clock::now() - second < PACE, "{:?}", clock::now() - second);
    }
}
