//! The scorer thread: a loop around a step that takes the time.
//!
//! A simulation drives the same step. It sleeps at its doorbell: reports, another directory, another active set and
//! another candidate list ring it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::book::Books;
use super::link::{LinkDuty, LinkWatch};
use super::pace::{Pace, Waiting};
use super::sample::{Report, Sample, Source, Unserved, Wordless};
use crate::base::clock;
use crate::base::published::Reader;
use crate::service::directory::{Directory, Phase};
use crate::service::events::What;
use crate::service::hub::Hub;
use crate::service::id::ServiceId;
use crate::service::uplink::Uplink;

/// Silences that wait for a proof that our own link works; further ones are forgotten.
const SILENCES: usize = 256;

/// For how long they wait.
const SILENCE_WAITS: Duration = Duration::from_secs(60);

/// All that the thread keeps.
#[derive(Debug)]
pub struct Scorer {
    hub: Arc<Hub>,
    directory: Reader<Directory>,
    /// On which way to the network samples are taken.
    uplink: Reader<Uplink>,
    books: Books,
    /// Which failures are not the candidates' fault.
    link: LinkDuty,
    pace: Pace,
    /// Backends that are silent, where it may be our own link that is.
    silences: VecDeque<Unserved>,
    /// Our own link worked then.
    proven_at: Instant,
    /// When it was last looked at what clients get.
    looked_at: Instant,
    /// Whether some service had no active set at the last look: clients wait for that.
    is_awaited: bool,
    /// Kept for its memory.
    batch: Vec<Report>,
    /// The same.
    marked: Vec<ServiceId>,
}

impl Scorer {
    /// A scorer of the services that `hub` lists.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        let mut scorer = Self {
            directory: Reader::new(Arc::clone(&hub.directory)),
            uplink: Reader::new(Arc::clone(&hub.uplink)),
            books: Books::new(hub.uplink.load()),
            link: LinkDuty::new(
                LinkWatch::new(Duration::ZERO),
                Arc::clone(&hub.link),
                Arc::clone(&hub.events),
            ),
            pace: Pace::default(),
            silences: VecDeque::new(),
            proven_at: hub.started_at,
            looked_at: hub.started_at,
            is_awaited: false,
            batch: Vec::new(),
            marked: Vec::new(),
            hub,
        };
        scorer.change();
        scorer
    }

    /// Applies reports until the stop begins.
    pub fn run(mut self) {
        loop {
            let until = self.step(clock::now());
            if self.directory.phase == Phase::Stopping {
                return;
            }
            self.hub.bells.scorer.wait(until);
        }
    }

    /// Applies what is due; returns when it is to be called again, if nobody rings before.
    pub fn step(&mut self, now: Instant) -> Option<Instant> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        if self.batch_at(now).is_some_and(|at| at <= now) {
            self.hub.samples.take(&mut batch);
            self.pace.taken(now);
        }
        // After the batch was taken: whoever reports of a service has seen it in the directory. Before it is
        // applied: a backend that just became active must not be forgotten for another candidate.
        if self.directory.refresh() {
            self.change();
        }
        if self.uplink.refresh() {
            self.books.turn(self.uplink.shared(), now);
            self.link.sweep(self.uplink.sweeps);
            self.hub.events.tell(None, What::Uplink);
        }
        let mut marked = std::mem::take(&mut self.marked);
        self.hub.bells.ready.scorer.take(&mut marked);
        self.books.follow(&marked, now);
        self.marked = marked;
        self.is_awaited = self.books.awaits_a_set();
        // Before reports of those that got nothing: who serves others is known then.
        if self.books.look(now) {
            self.proven_at = self.proven_at.max(self.looked_at);
        }
        self.looked_at = now;
        self.apply(&batch, now);
        self.batch = batch;
        self.batch_at(now).into_iter().chain(self.link.deadline()).min()
    }

    /// When what waits in the inbox is to be taken.
    fn batch_at(&self, now: Instant) -> Option<Instant> {
        let waiting = match self.hub.samples.waiting() {
            Waiting::Patient if self.is_awaited => Waiting::Urgent,
            waiting @ (Waiting::Nothing | Waiting::Patient | Waiting::Urgent) => waiting,
        };
        self.pace.due(waiting, now)
    }

    fn change(&mut self) {
        self.books.change(&self.directory);
        if let Some(longest) = self.books.longest_connect() {
            self.link.watch.set_longest_connect(longest);
        }
    }

    fn apply(&mut self, batch: &[Report], now: Instant) {
        let mut cleared = Vec::with_capacity(batch.len());
        let mut swept = Vec::new();
        for report in batch {
            match report {
                Report::Sample(sample) => self.judge(sample, now, &mut cleared),
                Report::Unserved(unserved) => self.hear(unserved),
                Report::Swept(service) => swept.push(*service),
                Report::Doubted(service) => {
                    if let Some(book) = self.books.of(*service) {
                        book.doubted();
                    }
                }
            }
        }
        self.judge_silences(now);
        let judged = cleared.len();
        self.link.watch.on_time(now, &self.books, &mut cleared);
        self.record(&cleared[judged..]);
        self.link.publish(now);
        // Asked once all is on the boards: an evaluation sees the whole batch.
        let is_traced = log::log_enabled!(target: "tcp_forwarder::scorer", log::Level::Trace);
        for sample in &cleared {
            let Some(book) = self.books.of(sample.candidate.service) else {
                continue;
            };
            if is_traced {
                book.tell(sample);
            }
            book.consider(sample);
            if book.follows_samples() {
                self.books.note(sample.candidate.service);
            }
        }
        for service in swept {
            if let Some(book) = self.books.of(service) {
                book.swept();
                self.books.note(service);
            }
        }
    }

    /// Counts a sample, and puts on the boards what is the candidates' own doing: this one, or others that it clears.
    fn judge(&mut self, sample: &Sample, now: Instant, cleared: &mut Vec<Sample>) {
        let Some(book) = self.books.of(sample.candidate.service) else {
            // Of a service that left.
            return;
        };
        if sample.source == Source::Peer {
            // It says nothing of our own link.
            let counts = &self.hub.fleet.counts;
            let counter = if book.hear(sample, now) {
                &counts.heard
            } else {
                &counts.refused
            };
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if sample.source == Source::Probe {
            book.count_probe(sample);
        }
        if sample.outcome.is_answer() {
            self.proven_at = self.proven_at.max(sample.began_at);
        }
        let judged = cleared.len();
        self.link.watch.observe(sample, &self.books, cleared);
        self.record(&cleared[judged..]);
    }

    /// Takes in that a client was not served, at once if that cannot be our own link's doing.
    fn hear(&mut self, unserved: &Unserved) {
        match unserved.how {
            Wordless::Ended | Wordless::ClosedEarly => self.hold_to(unserved),
            Wordless::Silent if self.silences.len() < SILENCES => self.silences.push_back(*unserved),
            Wordless::Silent => {}
        }
    }

    /// Takes in the silences since whose beginning our own link has worked.
    fn judge_silences(&mut self, now: Instant) {
        for _ in 0..self.silences.len() {
            let Some(silence) = self.silences.pop_front() else {
                return;
            };
            if silence.asked_at <= self.proven_at {
                self.hold_to(&silence);
            } else if now.saturating_duration_since(silence.at) < SILENCE_WAITS {
                self.silences.push_back(silence);
            }
        }
    }

    fn hold_to(&mut self, unserved: &Unserved) {
        if let Some(book) = self.books.of(unserved.candidate.service) {
            book.unserved(unserved);
        }
    }

    fn record(&mut self, cleared: &[Sample]) {
        for sample in cleared {
            if let Some(book) = self.books.of(sample.candidate.service) {
                book.record(sample);
                // Dials that succeed are many, and probes tell the same.
                let fails = !sample.outcome.is_success();
                if fails || sample.source == Source::Probe {
                    let urgent = fails && book.has_active(&sample.candidate.addr);
                    self.hub.fleet.tell(sample, urgent);
                }
            }
        }
    }
}
