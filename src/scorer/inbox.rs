//! The way of reports from whoever connects (probes, reactors) to the scorer thread.
//!
//! Bounded: when the scorer cannot keep up, further samples are counted and dropped, so that nobody on the
//! data path ever waits. The scorer is rung for when the inbox stops being empty, not per sample, and once more
//! for what is urgent; how long it lets reports gather is [`pace`](super::pace)'s.
//!
//! Invariants: at most [`INBOX_CAPACITY`] samples wait; reports are taken in the order in which they came; the end of a
//! service's initial probing is never dropped (there are as many of these as services).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pace::Waiting;
use super::sample::{Report, Sample, Source, Unserved};
use crate::base::doorbell::Doorbell;
use crate::service::id::ServiceId;

/// The most samples that wait at once.
pub const INBOX_CAPACITY: usize = 8192;

/// A bounded, many-to-one queue of reports.
#[derive(Debug)]
pub struct SampleInbox {
    state: Mutex<State>,
    /// Whether there is no room, for those who come then: reactors that dial much must not queue for a lock to hear of it.
    is_full: AtomicBool,
    dropped: AtomicU64,
    bell: Arc<Doorbell>,
}

#[derive(Debug, Default)]
struct State {
    reports: Vec<Report>,
    /// How many of them are samples.
    samples: usize,
    waiting: Waiting,
}

impl SampleInbox {
    /// An empty inbox, whose reader sleeps at `bell`.
    #[must_use]
    pub fn new(bell: Arc<Doorbell>) -> Self {
        Self {
            state: Mutex::default(),
            is_full: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            bell,
        }
    }

    /// Hands in one sample; never blocks for longer than another `push` or a swap takes.
    pub fn push(&self, sample: Sample) {
        let Some(state) = self.room() else { return };
        // Clients are waiting for the selector to hear of a dial that failed.
        let is_urgent = sample.source == Source::Dial && !sample.outcome.is_success();
        let waiting = if is_urgent {
            Waiting::Urgent
        } else {
            Waiting::Patient
        };
        self.add(state, Report::Sample(sample), waiting);
    }

    /// Hands in that a client was not served; bounded as samples are.
    pub fn unserved(&self, unserved: Unserved) {
        let Some(state) = self.room() else { return };
        // The next clients are waiting for the selector to hear of it.
        self.add(state, Report::Unserved(unserved), Waiting::Urgent);
    }

    /// Reports that initial probing of a service is over; its samples were handed in before.
    pub fn swept(&self, service: ServiceId) {
        // Its clients are waiting for the first set.
        self.add(self.lock(), Report::Swept(service), Waiting::Urgent);
    }

    /// Reports that candidates of a service no longer answer as they did; samples from before were handed in before.
    pub fn doubted(&self, service: ServiceId) {
        self.add(self.lock(), Report::Doubted(service), Waiting::Urgent);
    }

    /// Swaps all that waits into `batch` (emptied first).
    pub fn take(&self, batch: &mut Vec<Report>) {
        batch.clear();
        let mut state = self.lock();
        std::mem::swap(&mut state.reports, batch);
        state.samples = 0;
        self.is_full.store(false, Ordering::Relaxed);
        state.waiting = Waiting::Nothing;
    }

    /// What waits to be taken.
    pub fn waiting(&self) -> Waiting {
        self.lock().waiting
    }

    /// Samples that found the inbox full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn add(&self, mut state: MutexGuard<'_, State>, report: Report, waiting: Waiting) {
        state.reports.push(report);
        let is_news = waiting > state.waiting;
        state.waiting = state.waiting.max(waiting);
        debug_assert!(state.samples <= state.reports.len(), "samples are reports");
        drop(state);
        if is_news {
            self.bell.ring();
        }
    }

    /// The inbox with room for one more sample, which is counted already; none if it is full.
    fn room(&self) -> Option<MutexGuard<'_, State>> {
        if self.is_full.load(Ordering::Relaxed) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut state = self.lock();
        if state.samples >= INBOX_CAPACITY {
            drop(state);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        state.samples += 1;
        if state.samples == INBOX_CAPACITY {
            self.is_full.store(true, Ordering::Relaxed);
        }
        Some(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Outcome;
    use super::*;
    use crate::base::clock;
    use crate::service::id::Candidate;
    use std::net::SocketAddr;
    use std::time::Duration;

    fn inbox() -> (SampleInbox, Arc<Doorbell>) {
        let bell = Arc::new(Doorbell::default());
        (SampleInbox::new(Arc::clone(&bell)), bell)
    }

    fn sample(source: Source, outcome: Outcome) -> Sample {
        Sample {
            candidate: Candidate {
                service: ServiceId::fresh(),
                addr: SocketAddr::from(([127, 0, 0, 1], 1)),
            },
            outcome,
            heard: crate::scorer::Heard::NotAsked,
            source,
            began_at: clock::now(),
            at: clock::now(),
        }
    }

    fn probe() -> Sample {
        sample(Source::Probe, Outcome::Success(Duration::from_millis(1)))
    }

    #[test]
    fn a_batch_takes_all_that_waits_in_its_order() {
        let (inbox, _) = inbox();
        let (first, second, service) = (probe(), probe(), ServiceId::fresh());
        inbox.push(first);
        inbox.swept(service);
        inbox.push(second);
        let mut batch = vec![Report::Swept(service); 5];
        inbox.take(&mut batch);
        let expected = [
            Report::Sample(first),
            Report::Swept(service),
            Report::Sample(second),
        ];
        assert_eq!(batch, expected);
        assert_eq!(inbox.waiting(), Waiting::Nothing);
        inbox.take(&mut batch);
        assert_eq!(batch, []);
    }

    #[test]
    fn the_first_report_rings_and_so_does_what_is_urgent() {
        let (inbox, bell) = inbox();
        inbox.push(probe());
        assert!(bell.answer());
        inbox.push(probe());
        inbox.push(sample(Source::Dial, Outcome::Success(Duration::from_millis(1))));
        inbox.push(sample(Source::Probe, Outcome::Failure));
        assert!(!bell.answer());
        assert_eq!(inbox.waiting(), Waiting::Patient);
        inbox.push(sample(Source::Dial, Outcome::Failure));
        assert!(bell.answer());
        assert_eq!(inbox.waiting(), Waiting::Urgent);
        inbox.push(sample(Source::Dial, Outcome::Failure));
        assert!(!bell.answer(), "it is urgent already");
        inbox.take(&mut Vec::new());
        inbox.swept(ServiceId::fresh());
        assert!(bell.answer());
        assert_eq!(inbox.waiting(), Waiting::Urgent);
    }

    #[test]
    fn what_finds_the_inbox_full_is_counted_but_an_end_of_probing_has_room() {
        let (inbox, _) = inbox();
        for _ in 0..INBOX_CAPACITY + 3 {
            inbox.push(probe());
        }
        let services: Vec<_> = (0..5).map(|_| ServiceId::fresh()).collect();
        for service in &services {
            inbox.swept(*service);
        }
        inbox.push(probe());
        assert_eq!(inbox.dropped(), 4);
        let mut batch = Vec::new();
        inbox.take(&mut batch);
        assert_eq!(batch.len(), INBOX_CAPACITY + services.len());
        assert_eq!(batch.last(), services.last().copied().map(Report::Swept).as_ref());
        inbox.push(probe());
        assert_eq!(inbox.dropped(), 4, "there is room again");
    }
}
