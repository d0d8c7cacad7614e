//! How our own link stands, in the words of those who are told: threads, metrics and the log.

use std::time::{Duration, Instant};

use crate::service::id::Candidate;

/// How our own link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It works, as far as is known.
    Up,
    /// Witnesses failed and nobody answered since.
    Suspect,
    /// Every witness that was asked fails.
    Down,
    /// It works again; who failed is asked again.
    Settling,
}

/// How our own link stands, as all other threads see it.
#[derive(Debug, Clone)]
pub struct LinkView {
    /// How it stands.
    pub phase: Phase,
    /// Since when; of no meaning before the first change.
    pub since: Instant,
    /// Who failed, at most [`WITNESSES`](super::WITNESSES) of them.
    pub failed: Vec<Candidate>,
    /// Who answered, while it is settling; that answer may have been forgotten, so the board need not know of it.
    pub answered: Option<Candidate>,
    /// How often it came back after a doubt, so that nobody misses that it did.
    pub recoveries: u64,
    /// How often it went down; metrics show it.
    pub outages: u64,
    /// How often everybody was to be looked at anew, since it is another link or the machine has slept: the boards are ready.
    pub sweeps: u64,
}

impl LinkView {
    /// Nothing was ever heard of the link: it counts as working.
    #[must_use]
    pub fn unknown(now: Instant) -> Self {
        Self {
            phase: Phase::Up,
            since: now,
            failed: Vec::new(),
            answered: None,
            recoveries: 0,
            outages: 0,
            sweeps: 0,
        }
    }
}

/// What the log and the metrics are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The link went down: so many witnesses failed, of so many.
    Down {
        /// Those that were seen to fail.
        failed: usize,
        /// All there are.
        witnesses: usize,
    },
    /// It came back.
    Back {
        /// For how long nobody had answered.
        after: Duration,
        /// Failures that are not held against anybody.
        forgotten: u64,
    },
}
