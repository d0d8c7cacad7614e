//! Samples become scores.
//!
//! Owns the score board; its thread is the board's only writer. It must not know sockets: samples come in
//! through the [`SampleInbox`]. Nor does it decide who is active: it reads that, so that the board keeps
//! those rows, and reports an active backend that fails its dials to whoever decides.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use log::{debug, trace};

use crate::backend::ActiveSet;
use crate::base::clock;
use crate::base::published::Reader;
use crate::candidates::CandidateSet;
use crate::metrics::counters::ControlCounters;
use crate::shutdown::Shutdown;

pub mod board;
pub mod inbox;
pub mod link;
pub mod probe_stats;
pub mod score;
mod table;
#[cfg(test)]
mod tests;

pub use board::ScoreBoard;
pub use inbox::SampleInbox;
pub use link::{LinkDuty, LinkView, LinkWatch};
pub use probe_stats::ProbeStats;
pub use score::Score;

/// How long the thread sleeps without samples; a stop wakes it through [`SampleInbox::wake`].
const PATIENCE: Duration = Duration::from_secs(3600);

/// What one connect to a candidate told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Whom it was about.
    pub addr: SocketAddr,
    /// How it went.
    pub outcome: Outcome,
    /// Who made the connect.
    pub source: Source,
    /// When it began.
    pub began_at: Instant,
    /// When it ended.
    pub at: Instant,
}

/// How a connect went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was established after this long.
    Success(Duration),
    /// The far end refused or reset it: a failure, but an answer too.
    Refused,
    /// This machine, or a router on the way, knows no way to the network of the candidate.
    NoRoute,
    /// Nothing came back in time, or the host cannot be reached.
    Failure,
}

impl Outcome {
    /// What a connect that ended with this error tells.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        if matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
        ) {
            Self::Refused
        } else if matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown
        ) {
            Self::NoRoute
        } else {
            Self::Failure
        }
    }

    /// How long a connect took that was established.
    #[must_use]
    pub fn latency(self) -> Option<Duration> {
        match self {
            Self::Success(latency) => Some(latency),
            Self::Refused | Self::NoRoute | Self::Failure => None,
        }
    }

    /// Whether the connect was established.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.latency().is_some()
    }

    /// Whether anything came back from the far end, so that the way there and back is sound.
    #[must_use]
    pub fn is_answer(self) -> bool {
        match self {
            Self::Success(_) | Self::Refused => true,
            Self::NoRoute | Self::Failure => false,
        }
    }
}

/// Who made a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A probe.
    Probe,
    /// A dial for a client or for a pool.
    Dial,
}

/// A candidate of which something is known: one row of the score board, as probing sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Touched {
    /// Whom it is about.
    pub addr: SocketAddr,
    /// When its last sample ended, whatever its outcome and source.
    pub last_sample_at: Instant,
    /// Its score at that time; 0 to the sum of the maximum scores.
    pub score: f64,
    /// Whether that sample was a success.
    pub answers: bool,
}

/// A candidate with what it is ranked by: one row of the score board, as the selector sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rated {
    /// Whom it is about.
    pub addr: SocketAddr,
    /// Its score; 0 to the sum of the maximum scores.
    pub score: f64,
    /// Its mean connect time; `None` if no connect ever succeeded.
    pub latency: Option<Duration>,
}

impl Rated {
    /// What a candidate with this score is ranked by.
    #[must_use]
    pub fn new(addr: SocketAddr, score: &Score) -> Self {
        Self {
            addr,
            score: score.total,
            latency: score.latency,
        }
    }

    /// A candidate of which nothing is known.
    #[must_use]
    pub fn unknown(addr: SocketAddr) -> Self {
        Self {
            addr,
            score: 0.0,
            latency: None,
        }
    }
}

/// The scorer thread: all that it reads and writes.
pub struct Scorer {
    /// Where samples come from.
    pub inbox: Arc<SampleInbox>,
    /// Written by this thread alone.
    pub board: Arc<RwLock<ScoreBoard>>,
    /// Counts probes.
    pub counters: Arc<ControlCounters>,
    /// Per-server probe statistics.
    pub probes: Arc<ProbeStats>,
    /// Whom the board may not forget.
    pub active: Reader<ActiveSet>,
    /// Whom the board forgets once a new list is published.
    pub candidates: Reader<CandidateSet>,
    /// Failures of active backends' dials.
    pub failing: FailingDials,
    /// Which failures are not the candidates' fault.
    pub link: LinkDuty,
    /// Called when the active set should be looked at before its time, after the samples were applied: an active
    /// backend fails too many dials in a row, or somebody answers while the set is a fallback.
    pub on_news: Box<dyn Fn() + Send>,
}

impl Scorer {
    /// Applies samples until the stop begins. Whoever begins it calls [`SampleInbox::wake`] afterwards.
    pub fn run(mut self, shutdown: &Shutdown) {
        self.adopt();
        let mut batch = Vec::new();
        while !shutdown.has_begun() {
            let due = self.link.deadline();
            let patience = due.map_or(PATIENCE, |at| at.saturating_duration_since(clock::now()));
            self.inbox.take(&mut batch, patience);
            self.apply(&batch);
        }
    }

    /// Applies what waits in the inbox now; for the first choice, before the thread runs.
    pub fn apply_waiting(&mut self) {
        let mut batch = Vec::new();
        self.inbox.take(&mut batch, Duration::ZERO);
        self.apply(&batch);
    }

    /// Applies one batch. The write lock is held for this alone.
    pub fn apply(&mut self, batch: &[Sample]) {
        // Before the samples: a backend that just became active must not be forgotten for one of them.
        if self.active.refresh() | self.candidates.refresh() {
            self.adopt();
        }
        for sample in batch.iter().filter(|sample| sample.source == Source::Probe) {
            self.count_probe(sample);
        }
        let cleared = self.record(batch);
        let batch = cleared.as_slice();
        if batch.is_empty() {
            return;
        }
        if log::log_enabled!(log::Level::Trace) {
            self.tell(batch);
        }
        self.probes.trim(|addr| self.active.contains(addr));
        let mut failing = false;
        for sample in batch.iter().filter(|sample| sample.source == Source::Dial) {
            if self.active.contains(&sample.addr) && self.failing.record(sample) {
                debug!(backend:% = sample.addr; "too many dials failed in a row; the active set is looked at");
                failing = true;
            }
        }
        let is_fallback = self.counters.fallback.load(Ordering::Relaxed) != 0;
        let has_answer = || batch.iter().any(|sample| sample.outcome.is_success());
        if failing || (is_fallback && has_answer()) {
            (self.on_news)();
        }
    }

    /// Puts on the board what is the candidates' own doing, and gives that.
    fn record(&mut self, batch: &[Sample]) -> Vec<Sample> {
        let mut cleared = Vec::with_capacity(batch.len());
        let mut board = self.board.write().unwrap_or_else(PoisonError::into_inner);
        let mut recorded = 0;
        let mut record = |board: &mut ScoreBoard, cleared: &[Sample]| {
            cleared
                .iter()
                .skip(recorded)
                .for_each(|sample| board.record(sample));
            recorded = cleared.len();
        };
        for sample in batch {
            self.link.watch.observe(sample, &board, &mut cleared);
            record(&mut board, &cleared);
        }
        let now = clock::now();
        self.link.watch.on_time(now, &board, &mut cleared);
        record(&mut board, &cleared);
        drop(board);
        self.link.publish(&self.counters, now);
        cleared
    }

    /// Follows a changed active set or candidate list.
    fn adopt(&mut self) {
        let active: Vec<_> = self.active.backends.iter().map(|backend| backend.addr).collect();
        let mut board = self.board.write().unwrap_or_else(PoisonError::into_inner);
        board.set_active(&active);
        board.retain(|addr| self.candidates.contains(addr) || active.contains(addr));
        drop(board);
        self.failing.retain(|addr| active.contains(addr));
    }

    /// Logs what a batch was made of, and the scores that it came to.
    fn tell(&self, batch: &[Sample]) {
        let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
        let scores: Vec<_> = batch
            .iter()
            .map(|sample| board.score(&sample.addr).map(|score| score.total))
            .collect();
        drop(board);
        for (sample, score) in batch.iter().zip(scores) {
            let Some(score) = score else {
                continue;
            };
            let latency_ms = sample
                .outcome
                .latency()
                .map(|latency| latency.as_secs_f64() * 1e3);
            let outcome = match sample.outcome {
                Outcome::Success(_) => "success",
                Outcome::Refused => "refused",
                Outcome::NoRoute => "no route",
                Outcome::Failure => "failure",
            };
            trace!(candidate:% = sample.addr, outcome, latency_ms, score; "sample taken in");
        }
    }

    fn count_probe(&self, sample: &Sample) {
        let counter = if sample.outcome.is_success() {
            &self.counters.probes_ok
        } else {
            &self.counters.probes_failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.probes.record(sample.addr, sample.outcome.latency());
    }
}

/// Dials that failed in a row, by backend; as many rows as there are backends that fail.
#[derive(Debug)]
pub struct FailingDials {
    limit: u32,
    runs: Vec<(SocketAddr, u32)>,
}

impl FailingDials {
    /// Nothing failed yet; `limit` failures in a row are too many.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            runs: Vec::new(),
        }
    }

    /// Takes in a dial's sample; true if it is a failure that makes too many, or yet more.
    pub fn record(&mut self, sample: &Sample) -> bool {
        let run = self.runs.iter().position(|(addr, _)| *addr == sample.addr);
        match (sample.outcome.is_success(), run) {
            (true, Some(run)) => {
                self.runs.swap_remove(run);
                false
            }
            (true, None) => false,
            (false, Some(run)) => {
                self.runs[run].1 = self.runs[run].1.saturating_add(1);
                self.runs[run].1 >= self.limit
            }
            (false, None) => {
                self.runs.push((sample.addr, 1));
                self.limit <= 1
            }
        }
    }

    fn retain(&mut self, keep: impl Fn(&SocketAddr) -> bool) {
        self.runs.retain(|(addr, _)| keep(addr));
    }
}
