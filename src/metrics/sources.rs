//! What a scrape reads: the shared values of all threads. Owns none of them.

use std::sync::{Arc, RwLock};
use std::time::Instant;

use super::counters::{ControlCounters, ReactorCounters};
use crate::backend::ActiveSet;
use crate::candidates::CandidateSet;
use crate::config::Algorithm;
use crate::scorer::{ProbeStats, SampleInbox, ScoreBoard};
use crate::snapshot::Published;

/// Everything that a scrape reads.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Counts of the data path, one entry a reactor.
    pub reactors: Arc<[ReactorCounters]>,
    /// Counts of the control threads.
    pub control: Arc<ControlCounters>,
    /// The members that connections go to now.
    pub active: Arc<Published<ActiveSet>>,
    /// The candidate list.
    pub candidates: Arc<Published<CandidateSet>>,
    /// What is known of the candidates that were touched.
    pub board: Arc<RwLock<ScoreBoard>>,
    /// The way of samples to the scorer.
    pub inbox: Arc<SampleInbox>,
    /// Probe counts of the backends and of the candidates probed last.
    pub probes: Arc<ProbeStats>,
    /// How backends are chosen; a label.
    pub algorithm: Algorithm,
    /// When the process started.
    pub started_at: Instant,
}
