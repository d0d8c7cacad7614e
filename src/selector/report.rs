//! What the selector says in the log: who, why, and both scores.
//!
//! Knows the decision only; decides nothing.

use std::fmt;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::decide::{Footing, Member, Switch, mean};
use crate::scorer::Rated;

/// Logs a changed set.
pub(super) fn switch(switch: &Switch, before: &[Member]) {
    let before: Vec<Rated> = before.iter().map(|member| member.rated).collect();
    let reason = switch.reason.label();
    let (mean_before, mean_after) = (mean(&before), mean(&switch.members));
    let joined = Names(without(&switch.members, &before));
    let left = Names(without(&before, &switch.members));
    let members = Names(switch.members.clone());
    info!(
        target: "tcp_forwarder::selector", reason, mean_before, mean_after;
        "active set changed ({reason}): in {joined}; out {left}; mean score {mean_before:.1} -> {mean_after:.1}; \
         now {members}"
    );
}

/// Least time between two lines about the fallback: scores at the threshold may cross it with every sample.
const QUIET: Duration = Duration::from_secs(10);

/// What the log said last about the fallback.
#[derive(Debug, Default)]
pub(super) struct Told {
    fallback: bool,
    at: Option<Instant>,
}

impl Told {
    /// Whether the log is to be told now; then it counts as told. A change that did not last is never told.
    pub(super) fn is_due(&mut self, fallback: bool, now: Instant) -> bool {
        let is_quiet = self
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if fallback == self.fallback || is_quiet {
            return false;
        }
        *self = Self {
            fallback,
            at: Some(now),
        };
        true
    }
}

/// Logs that the set became a fallback, or is none any more; once each.
pub(super) fn footing(footing: Footing, threshold: f64) {
    match footing {
        Footing::Good => info!(
            target: "tcp_forwarder::selector",
            "candidates pass the threshold of {threshold} again; the fallback ends"
        ),
        Footing::LastGood => warn!(
            target: "tcp_forwarder::selector",
            "no candidate passes the threshold of {threshold}; keeping the last good set"
        ),
        Footing::BestScored => warn!(
            target: "tcp_forwarder::selector",
            "no candidate passes the threshold of {threshold}; using the best there are"
        ),
    }
}

fn without(members: &[Rated], others: &[Rated]) -> Vec<Rated> {
    let stays = |member: &&Rated| others.iter().all(|other| other.addr != member.addr);
    members.iter().filter(stays).copied().collect()
}

/// Addresses with score and latency, or `nobody`.
struct Names(Vec<Rated>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        for (i, rated) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{} (score {:.1}", rated.addr, rated.score)?;
            if let Some(latency) = rated.latency {
                write!(f, ", {:.1} ms", latency.as_secs_f64() * 1e3)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use std::net::SocketAddr;
    use std::time::Duration;

    #[test]
    fn names_carry_score_and_latency() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 80));
        let known = Rated {
            addr,
            score: 98.25,
            latency: Some(Duration::from_micros(12_340)),
        };
        let names = Names(vec![known, Rated::unknown(addr)]);
        assert_eq!(
            names.to_string(),
            "127.0.0.1:80 (score 98.2, 12.3 ms), 127.0.0.1:80 (score 0.0)"
        );
        assert_eq!(Names(Vec::new()).to_string(), "nobody");
    }

    #[test]
    fn a_flapping_fallback_is_told_once() {
        let start = clock::now();
        let mut told = Told::default();
        assert!(!told.is_due(false, start), "it begins without a fallback");
        let lines = (0..100)
            .filter(|i| told.is_due(i % 2 == 0, start + Duration::from_millis(50 * i)))
            .count();
        assert_eq!(lines, 1, "within five seconds");
        assert!(told.is_due(false, start + QUIET), "the end, once it is quiet");
        assert!(!told.is_due(false, start + 5 * QUIET));
    }
}
