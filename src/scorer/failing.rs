//! Dials that failed in a row, by backend of one service. Pure.
//!
//! As many rows as there are backends that fail.

use std::net::SocketAddr;

use super::sample::{Sample, Source};

/// Runs of failed dials.
#[derive(Debug, Default)]
pub struct FailingDials {
    runs: Vec<(SocketAddr, u32)>,
}

impl FailingDials {
    /// Takes in a dial's sample; true if it is a failure that makes `limit` in a row, or yet more.
    pub fn record(&mut self, sample: &Sample, limit: u32) -> bool {
        debug_assert!(sample.source == Source::Dial, "a probe is no dial");
        let addr = sample.candidate.addr;
        let run = self.runs.iter().position(|(known, _)| *known == addr);
        if sample.outcome.is_success() {
            if let Some(run) = run {
                self.runs.swap_remove(run);
            }
            return false;
        }
        let run = run.unwrap_or_else(|| {
            self.runs.push((addr, 0));
            self.runs.len() - 1
        });
        let failures = &mut self.runs[run].1;
        *failures = failures.saturating_add(1);
        *failures >= limit
    }

    /// Ends the run of whoever does not pass.
    pub fn retain(&mut self, keep: impl Fn(&SocketAddr) -> bool) {
        self.runs.retain(|(addr, _)| keep(addr));
    }
}
