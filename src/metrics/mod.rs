//! Metrics: counters that the threads move, and the families that a scrape reads from them.
//!
//! A scrape reads; it owns no count of its own, so nothing can disagree with what the threads see. It must
//! not know how a value came about. Series with a `server` label exist for members of the active set and, in
//! the probe families, for the few candidates probed last ([`OTHERS`](crate::scorer::probe_stats::OTHERS)); no
//! series ever exists per candidate. A counter never falls while its series exists.

pub mod counters;
pub mod family;
mod output;
mod process;
mod reading;
mod text;

use std::sync::{Arc, RwLock};
use std::time::Instant;

use prometheus::core::Desc;

use crate::backend::ActiveSet;
use crate::candidates::CandidateSet;
use crate::config::Algorithm;
use crate::scorer::{ProbeStats, SampleInbox, ScoreBoard};
use crate::snapshot::Published;
use counters::{ControlCounters, ReactorCounters};
use output::Output;
use process::Process;

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

/// Writes the text of a scrape.
#[derive(Debug)]
pub struct Exporter {
    sources: Sources,
    process: Process,
}

impl Exporter {
    /// An exporter of every family in [`family::ALL`].
    ///
    /// # Errors
    /// When a family's name or label is no valid one, which tests rule out.
    pub fn new(sources: Sources) -> prometheus::Result<Self> {
        for family in family::ALL {
            Desc::new(
                family.name.to_owned(),
                family.help.to_owned(),
                family.labels.iter().map(|label| (*label).to_owned()).collect(),
                std::collections::HashMap::new(),
            )?;
        }
        let process = Process::new();
        Ok(Self { sources, process })
    }

    /// The text of one scrape, in the Prometheus text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        let mut output = Output::default();
        reading::collect(&self.sources, crate::clock::now(), &mut output);
        self.process.collect(&mut output);
        output.into_text()
    }
}

#[cfg(test)]
pub(crate) mod tests;
