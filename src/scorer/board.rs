//! The score board: what is known of every candidate that was touched.
//!
//! Owns the histories; it must not know probes, threads or the active set's purpose, only which addresses
//! may not be forgotten. Written by the scorer thread alone; read by the scheduler, the selector and metrics.
//!
//! Invariants: at most [`BOARD_BOUND`] rows (or as many as are active), whatever the number of candidates;
//! an active candidate's row never leaves; memory follows what was touched.

use std::net::SocketAddr;
use std::time::Instant;

use super::score::{History, Score};
use super::table::Table;
use super::{Rated, Sample, Touched};
use crate::config::Scoring;

/// The most candidates that are remembered; a row takes about 120 bytes.
pub const BOARD_BOUND: usize = 8192;

/// Histories and scores by candidate.
#[derive(Debug)]
pub struct ScoreBoard {
    rules: Scoring,
    rows: Table<Row>,
}

/// `last_sample_at` is `None` only while a row is being made.
#[derive(Debug, Default)]
struct Row {
    history: History,
    last_sample_at: Option<Instant>,
}

impl ScoreBoard {
    /// An empty board of [`BOARD_BOUND`] rows.
    #[must_use]
    pub fn new(rules: Scoring) -> Self {
        Self::bounded(rules, BOARD_BOUND)
    }

    /// An empty board that remembers so many candidates (at least 1).
    #[must_use]
    pub fn bounded(rules: Scoring, bound: usize) -> Self {
        Self {
            rules,
            rows: Table::new(bound),
        }
    }

    /// Takes in one sample; the candidate that was touched least recently may be forgotten for it.
    pub fn record(&mut self, sample: &Sample) {
        let row = self.rows.touch(sample.addr);
        row.history.record(sample.outcome, &self.rules);
        row.last_sample_at = Some(sample.at);
    }

    /// The score of a candidate, if it was touched and is still remembered.
    #[must_use]
    pub fn score(&self, addr: &SocketAddr) -> Option<Score> {
        self.rows.value(addr).map(|row| row.history.score(&self.rules))
    }

    /// Whether a candidate was touched and is still remembered.
    #[must_use]
    pub fn contains(&self, addr: &SocketAddr) -> bool {
        self.rows.value(addr).is_some()
    }

    /// Whether the last sample of a candidate was a success, so that a failure is news.
    #[must_use]
    pub fn answers(&self, addr: &SocketAddr) -> bool {
        self.rows.value(addr).is_some_and(|row| row.history.answers())
    }

    /// How many candidates there are whose last sample was a success.
    #[must_use]
    pub fn answering(&self) -> usize {
        self.rows.iter().filter(|(_, row)| row.history.answers()).count()
    }

    /// Every remembered candidate, as the probing schedule sees it; in no particular order.
    pub fn touched(&self) -> impl Iterator<Item = Touched> {
        self.rows.iter().filter_map(|(addr, row)| {
            Some(Touched {
                addr,
                last_sample_at: row.last_sample_at?,
                score: row.history.score(&self.rules).total,
                answers: row.history.answers(),
            })
        })
    }

    /// Every remembered candidate, as the selector sees it; in no particular order.
    pub fn rated(&self) -> impl Iterator<Item = Rated> {
        self.rows
            .iter()
            .map(|(addr, row)| Rated::new(addr, &row.history.score(&self.rules)))
    }

    /// Names the candidates that are not to be forgotten; those named before may be again.
    pub fn set_active(&mut self, active: &[SocketAddr]) {
        self.rows.pin(active);
    }

    /// Forgets every candidate that does not pass, active or not (a new candidate list).
    pub fn retain(&mut self, is_candidate: impl FnMut(&SocketAddr) -> bool) {
        self.rows.retain(is_candidate);
    }

    /// How many candidates are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was touched yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// The rules by which points are given.
    #[must_use]
    pub fn rules(&self) -> &Scoring {
        &self.rules
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Source};
    use super::*;
    use std::time::Duration;

    fn sample(port: u16, outcome: Outcome, at: Instant) -> Sample {
        Sample {
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            outcome,
            source: Source::Probe,
            began_at: at,
            at,
        }
    }

    #[test]
    fn samples_become_scores_and_rows() {
        let start = crate::base::clock::now();
        let mut board = ScoreBoard::new(Scoring::default());
        let ok = Outcome::Success(Duration::from_millis(20));
        board.record(&sample(1, ok, start));
        board.record(&sample(2, Outcome::Failure, start + Duration::from_secs(1)));
        assert_eq!(board.len(), 2);
        let one = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!((board.score(&one).expect("touched").total - 100.0).abs() < 1e-9);
        let newest = board.touched().max_by_key(|row| row.last_sample_at).expect("two");
        assert_eq!(
            (newest.addr.port(), newest.last_sample_at),
            (2, start + Duration::from_secs(1))
        );
        assert!(newest.score < 1e-9);
        let rated = board.rated().find(|rated| rated.addr == one).expect("touched");
        assert_eq!(rated.latency, Some(Duration::from_millis(20)));
        assert_eq!(board.score(&SocketAddr::from(([127, 0, 0, 1], 3))), None);
    }

    #[test]
    fn a_flood_of_candidates_forgets_neither_the_active_nor_the_bound() {
        let now = crate::base::clock::now();
        let mut board = ScoreBoard::bounded(Scoring::default(), 100);
        let active: Vec<_> = (1..=3)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect();
        board.set_active(&active);
        for port in 1..5_000 {
            board.record(&sample(port, Outcome::Success(Duration::from_millis(5)), now));
        }
        assert_eq!(board.len(), 100);
        assert!(active.iter().all(|addr| board.score(addr).is_some()));
        board.retain(|addr| addr.port() > 4_950);
        assert_eq!(board.len(), 49);
    }
}
