//! The score board of one service: what is known of every candidate that was touched.
//!
//! Owns the histories; it must not know probes, threads or the active set's purpose, only which addresses
//! may not be forgotten. Written by the scorer thread alone; read by the scheduler, the selector and metrics.
//!
//! Invariants: at most [`BOARD_BOUND`] rows besides those of active candidates, whatever the number of candidates;
//! an active candidate's row never leaves; memory follows what was touched.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::sample::{Heard, Rated, Sample, Served, Source, Touched};
use super::score::saved::SavedHistory;
use super::score::{Expected, History, Score};
use crate::base::lru::Lru;
use crate::config::Scoring;
use crate::service::uplink::UplinkId;

/// The most candidates that are remembered besides the active ones; a row takes about 210 bytes.
pub const BOARD_BOUND: usize = 8192;

/// Histories and scores by candidate.
#[derive(Debug)]
pub struct ScoreBoard {
    rules: Scoring,
    rows: Lru<SocketAddr, Row>,
    /// Rows beside those of the active.
    bound: usize,
    /// How soon they answer.
    expected: Expected,
    /// How many rows there are whose last sample was a success.
    answering: usize,
    /// How often something was taken in.
    changes: u64,
    /// On which way to the network all this was learned.
    uplink: UplinkId,
}

/// `last_sample_at` is `None` only while a row is being made.
#[derive(Debug, Default)]
struct Row {
    history: History,
    last_sample_at: Option<Instant>,
    /// When it last answered a probe of this process, rightly if it is checked.
    proved_at: Option<Instant>,
    standing: Standing,
}

/// Whether a row is what the candidate is like now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    /// As far as is known.
    #[default]
    Fresh,
    /// It was, in a process before this one, or before something happened. The next sample tells.
    Recalled,
    /// Hardly. The next sample takes its place.
    Disbelieved,
}

/// What another process's sample is worth beside what is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heeded {
    /// Nothing was measured here: it guides.
    Taken,
    /// It is as what was measured here.
    Agrees,
    /// It is not.
    Differs,
    /// There is no room for it.
    Ignored,
}

/// A row as it outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedRow {
    /// Whom it is about.
    pub addr: SocketAddr,
    /// How old its last sample was when it was saved, in milliseconds.
    pub age_ms: u64,
    /// What is known of it.
    pub history: SavedHistory,
}

impl ScoreBoard {
    /// An empty board of [`BOARD_BOUND`] rows.
    #[must_use]
    pub fn new(rules: Scoring) -> Self {
        Self::bounded(rules, BOARD_BOUND)
    }

    /// An empty board that remembers so many candidates (at least 1) besides the active ones.
    #[must_use]
    pub fn bounded(rules: Scoring, bound: usize) -> Self {
        Self {
            rules,
            rows: Lru::new(bound),
            bound,
            expected: Expected::default(),
            answering: 0,
            changes: 0,
            uplink: 0,
        }
    }

    /// Takes in one sample; the candidate that was touched least recently may be forgotten for it.
    pub fn record(&mut self, sample: &Sample) {
        self.changes += 1;
        let (row, forgotten) = self.rows.touch(sample.candidate.addr);
        let before = usize::from(row.history.answers());
        row.meet(sample);
        row.history.take(sample, &self.rules);
        if matches!(sample.heard, Heard::Answer(_)) {
            self.expected.learn(&row.history, &self.rules);
        }
        // What another has seen counts later than it was seen.
        row.last_sample_at = row.last_sample_at.max(Some(sample.at));
        if row.is_proved_by(sample) {
            row.proved_at = Some(sample.at);
        }
        self.answering += usize::from(row.history.answers());
        let gone = usize::from(forgotten.is_some_and(|row| row.history.answers()));
        debug_assert!(self.answering >= before + gone, "who answered was counted");
        self.answering -= before + gone;
    }

    /// Takes in what another process of the fleet says of a candidate. What was measured here never changes by that: it guides
    /// where nothing was, and says how old what is known is; and it makes way for every sample of our own.
    pub fn hear(&mut self, sample: &Sample) -> Heeded {
        let addr = sample.candidate.addr;
        if self.is_fresh(&addr) {
            let agrees = self.rows.change(&addr, |row| {
                let agrees = row.history.agrees_with(sample.outcome);
                if agrees {
                    row.last_sample_at = row.last_sample_at.max(Some(sample.at));
                }
                agrees
            });
            return if agrees == Some(true) {
                Heeded::Agrees
            } else {
                Heeded::Differs
            };
        }
        // Whoever tells much does not have forgotten what was found out here.
        if !self.contains(&addr) && self.rows.len() >= self.bound / 2 {
            return Heeded::Ignored;
        }
        self.changes += 1;
        let (row, forgotten) = self.rows.touch(addr);
        let before = usize::from(row.history.answers());
        if row.standing == Standing::Disbelieved {
            row.history.refute();
        }
        row.history.take(sample, &self.rules);
        row.history.unconfirm();
        row.last_sample_at = row.last_sample_at.max(Some(sample.at));
        row.standing = Standing::Recalled;
        self.answering += usize::from(row.history.answers());
        self.answering -= before + usize::from(forgotten.is_some_and(|row| row.history.answers()));
        Heeded::Taken
    }

    /// When the last sample of a candidate ended, whosever it was.
    #[must_use]
    pub fn sampled_at(&self, addr: &SocketAddr) -> Option<Instant> {
        self.rows.value(addr).and_then(|row| row.last_sample_at)
    }

    /// When a candidate last answered a probe of this process, rightly if it is checked: what others say never counts.
    #[must_use]
    pub fn proved_at(&self, addr: &SocketAddr) -> Option<Instant> {
        self.rows.value(addr).and_then(|row| row.proved_at)
    }

    /// Takes in what clients got of a candidate, if it is remembered.
    pub fn served(&mut self, addr: &SocketAddr, served: &Served) {
        let (rules, expected) = (&self.rules, &mut self.expected);
        self.changes += 1;
        self.rows.change(addr, |row| {
            row.history.served(served, rules);
            if served.first_byte.is_some() {
                expected.learn(&row.history, rules);
            }
        });
    }

    /// Takes in that a candidate did not serve a client, if it is remembered: who serves clients is.
    pub fn unserved(&mut self, addr: &SocketAddr, now: Instant) {
        let rules = &self.rules;
        self.changes += 1;
        let change = self.rows.change(addr, |row| {
            let did_answer = row.history.answers();
            row.history.unserved(now, rules);
            did_answer
        });
        self.answering -= usize::from(change == Some(true));
    }

    /// Checks are made no more, or others: what they have said is forgotten, and nobody has answered those of now.
    pub fn forget_checks(&mut self) {
        self.rows.change_all(|row| {
            row.history.forget_checks();
            row.proved_at = None;
        });
    }

    /// The score of a candidate, if it was touched and is still remembered.
    #[must_use]
    pub fn score(&self, addr: &SocketAddr) -> Option<Score> {
        self.rows
            .value(addr)
            .map(|row| row.history.score_beside(&self.expected, &self.rules))
    }

    /// Whether a candidate was touched and is still remembered.
    #[must_use]
    pub fn contains(&self, addr: &SocketAddr) -> bool {
        self.rows.value(addr).is_some()
    }

    /// Whether a candidate was touched since the process started: what is recalled alone is to be confirmed.
    #[must_use]
    pub fn is_fresh(&self, addr: &SocketAddr) -> bool {
        self.rows
            .value(addr)
            .is_some_and(|row| row.standing == Standing::Fresh)
    }

    /// Whether a candidate was asked for more than a connect, and its last answer was right.
    #[must_use]
    pub fn answers_checks(&self, addr: &SocketAddr) -> bool {
        self.rows
            .value(addr)
            .is_some_and(|row| row.history.answers_checks())
    }

    /// Whether the last sample of a candidate was a success, so that a failure is news.
    #[must_use]
    pub fn answers(&self, addr: &SocketAddr) -> bool {
        self.rows.value(addr).is_some_and(|row| row.history.answers())
    }

    /// How many candidates there are whose last sample was a success.
    #[must_use]
    pub fn answering(&self) -> usize {
        self.answering
    }

    /// Every remembered candidate, as the probing schedule sees it; in no particular order.
    pub fn touched(&self) -> impl Iterator<Item = Touched> {
        self.rows.iter().filter_map(|(addr, row)| {
            let rated = row.history.rated(addr, &self.expected, &self.rules);
            Some(Touched {
                addr,
                last_sample_at: row.last_sample_at?,
                score: rated.score,
                answers: row.history.answers(),
                latency: rated.latency,
                successes: rated.successes,
                is_fresh: row.standing == Standing::Fresh,
            })
        })
    }

    /// Every candidate that was touched since the process started, as the selector sees it; in no particular order.
    pub fn rated(&self) -> impl Iterator<Item = Rated> {
        self.rows
            .iter()
            .filter(|(_, row)| row.standing == Standing::Fresh)
            .map(|(addr, row)| row.history.rated(addr, &self.expected, &self.rules))
    }

    /// Every other remembered candidate, in the same way.
    pub fn recalled(&self) -> impl Iterator<Item = Rated> {
        self.rows
            .iter()
            .filter(|(_, row)| row.standing != Standing::Fresh)
            .map(|(addr, row)| row.history.rated(addr, &self.expected, &self.rules))
    }

    /// What one candidate is ranked by, whether it was touched or not.
    #[must_use]
    pub fn rating(&self, addr: SocketAddr) -> Rated {
        let row = self.rows.value(&addr);
        row.map_or(Rated::unknown(addr), |row| {
            row.history.rated(addr, &self.expected, &self.rules)
        })
    }

    /// Names the candidates that are not to be forgotten; those named before may be again.
    pub fn set_active(&mut self, active: &[SocketAddr]) {
        self.rows.pin(active);
        self.recount();
    }

    /// Forgets every candidate that does not pass, active or not (a new candidate list).
    pub fn retain(&mut self, is_candidate: impl FnMut(&SocketAddr) -> bool) {
        self.rows.retain(is_candidate);
        self.recount();
    }

    /// Gives points by other rules from now on; histories stay.
    pub fn set_rules(&mut self, rules: Scoring) {
        self.rules = rules;
    }

    /// How many candidates are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was touched yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rules by which points are given.
    #[must_use]
    pub fn rules(&self) -> &Scoring {
        &self.rules
    }

    /// On which way to the network all this was learned.
    #[must_use]
    pub fn uplink(&self) -> UplinkId {
        self.uplink
    }

    /// What is taken in from now on is learned on this way to the network; what was before is forgotten if that was another.
    pub fn turn_to(&mut self, uplink: UplinkId) {
        if self.uplink != uplink {
            self.uplink = uplink;
            self.rows.retain(|_| false);
            self.expected = Expected::default();
            self.answering = 0;
            self.changes += 1;
        }
    }

    /// All is to be confirmed: it may have become untrue since.
    pub fn doubt(&mut self) {
        self.rows.change_all(|row| row.standing = Standing::Recalled);
    }

    /// What is known has become untrue of many: of each the next sample takes its place.
    pub fn disbelieve(&mut self) {
        self.rows.change_all(|row| row.standing = Standing::Disbelieved);
    }

    /// How often something was taken in: whoever saves rows compares.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Up to `most` rows to outlive the process: three quarters of them the best, then those that were touched last.
    #[must_use]
    pub fn save(&self, most: usize, now: Instant) -> Vec<SavedRow> {
        let mut rows: Vec<(Rated, &Row)> = self
            .rows
            .iter()
            .map(|(addr, row)| (row.history.rated(addr, &self.expected, &self.rules), row))
            .collect();
        if rows.len() > most {
            rows.sort_by(|(a, _), (b, _)| {
                b.is_trusted()
                    .cmp(&a.is_trusted())
                    .then(b.score.total_cmp(&a.score))
            });
            let best = most - most / 4;
            rows[best..].sort_by_key(|(_, row)| std::cmp::Reverse(row.last_sample_at));
            rows.truncate(most);
        }
        let save = |(rated, row): (Rated, &Row)| {
            let age = now.saturating_duration_since(row.last_sample_at?);
            Some(SavedRow {
                addr: rated.addr,
                age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                history: row.history.save(now),
            })
        };
        rows.into_iter().filter_map(save).collect()
    }

    /// Takes in what was saved so long ago, of candidates that are not known.
    pub fn recall(&mut self, rows: &[SavedRow], elapsed: Duration, now: Instant) {
        let mut rows: Vec<&SavedRow> = rows.iter().collect();
        // Who was touched last is the last to be forgotten.
        rows.sort_by_key(|row| std::cmp::Reverse(row.age_ms));
        for saved in rows {
            self.put(
                saved,
                History::recalled(&saved.history, elapsed, now),
                elapsed,
                now,
            );
        }
        self.recount();
    }

    /// Takes in what another process of the fleet knows of candidates that are not known: as what was saved, but that it confirms
    /// nobody.
    pub fn believe(&mut self, rows: &[SavedRow], now: Instant) {
        self.changes += u64::from(!rows.is_empty());
        for saved in rows {
            let mut history = History::recalled(&saved.history, Duration::ZERO, now);
            history.unconfirm();
            self.put(saved, history, Duration::ZERO, now);
        }
        self.recount();
    }

    fn put(&mut self, saved: &SavedRow, history: History, elapsed: Duration, now: Instant) {
        if self.contains(&saved.addr) {
            return;
        }
        let age = elapsed.saturating_add(Duration::from_millis(saved.age_ms));
        *self.rows.touch(saved.addr).0 = Row {
            history,
            // Where the monotonic clock does not reach back so far, it is as old as can be.
            last_sample_at: Some(now.checked_sub(age).unwrap_or(now)),
            proved_at: None,
            standing: Standing::Recalled,
        };
    }

    fn recount(&mut self) {
        self.answering = self.rows.iter().filter(|(_, row)| row.history.answers()).count();
    }
}

impl Row {
    /// Whether a sample, which has been taken in, shows that it serves: a connect alone shows nothing of who is checked.
    fn is_proved_by(&self, sample: &Sample) -> bool {
        let is_right = match sample.heard {
            Heard::Answer(_) => true,
            Heard::NotAsked => !self.history.is_checked(),
            Heard::Wrong(_) => false,
        };
        is_right && sample.source == Source::Probe && sample.outcome.is_success()
    }

    /// A sample comes: is what is known still so?
    fn meet(&mut self, sample: &Sample) {
        let age = self
            .last_sample_at
            .map(|at| sample.at.saturating_duration_since(at));
        match (std::mem::take(&mut self.standing), sample.outcome.latency()) {
            (Standing::Fresh, _) => {}
            (Standing::Recalled, Some(latency)) => self.history.confirm(latency, age.unwrap_or_default()),
            (Standing::Recalled, None) | (Standing::Disbelieved, _) => self.history.refute(),
        }
    }
}

#[cfg(test)]
mod heard_tests;

#[cfg(test)]
mod tests {
    use super::super::sample::Outcome;
    use super::*;
    use crate::service::id::{Candidate, ServiceId};
    use std::time::Duration;

    const OK: Outcome = Outcome::Success(Duration::from_millis(20));

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn sample(port: u16, outcome: Outcome, at: Instant) -> Sample {
        Sample {
            candidate: Candidate {
                service: ServiceId::fresh(),
                addr: addr(port),
            },
            outcome,
            heard: Heard::NotAsked,
            source: Source::Probe,
            began_at: at,
            at,
        }
    }

    #[test]
    fn samples_become_scores_and_rows() {
        let start = crate::base::clock::now();
        let mut board = ScoreBoard::new(Scoring::default());
        board.record(&sample(1, OK, start));
        board.record(&sample(2, Outcome::Failure, start + Duration::from_secs(1)));
        assert_eq!(board.len(), 2);
        assert!((board.score(&addr(1)).expect("touched").total - 100.0).abs() < 1e-9);
        let newest = board.touched().max_by_key(|row| row.last_sample_at).expect("two");
        assert_eq!(
            (newest.addr.port(), newest.last_sample_at),
            (2, start + Duration::from_secs(1))
        );
        assert!(newest.score < 1e-9);
        let rated = board
            .rated()
            .find(|rated| rated.addr == addr(1))
            .expect("touched");
        assert_eq!(rated.latency, Some(Duration::from_millis(20)));
        assert_eq!(board.score(&addr(3)), None);
    }

    #[test]
    fn a_flood_of_candidates_forgets_neither_the_active_nor_the_bound() {
        let now = crate::base::clock::now();
        let mut board = ScoreBoard::bounded(Scoring::default(), 100);
        let active = [1, 2, 3].map(addr);
        board.set_active(&active);
        for port in 1..5_000 {
            board.record(&sample(port, OK, now));
        }
        assert_eq!(board.len(), 103);
        assert!(active.iter().all(|addr| board.score(addr).is_some()));
        board.retain(|addr| addr.port() > 4_950);
        assert_eq!(board.len(), 49);
    }

    #[test]
    fn who_was_asked_nothing_is_no_quicker_for_that() {
        let now = crate::base::clock::now();
        let mut rules = Scoring::default();
        rules.latency.source = crate::config::LatencySource::FirstByte;
        let mut board = ScoreBoard::new(rules);
        let late = |latency| Outcome::Success(Duration::from_millis(latency));
        for _ in 0..20 {
            for port in 1..4 {
                board.record(&sample(port, OK, now));
                let served = Served {
                    clients: 2,
                    first_byte: Some(Duration::from_millis(300)),
                    rate: None,
                };
                board.served(&addr(port), &served);
            }
            board.record(&sample(4, OK, now));
            board.record(&sample(5, late(120), now));
        }
        let score = |port| board.score(&addr(port)).expect("touched");
        assert!(
            (score(4).total - score(1).total).abs() < 1e-6,
            "as far as is known"
        );
        assert_eq!(score(4).latency, score(1).latency);
        assert_eq!(score(4).first_byte, None);
        assert!(score(5).total < score(1).total, "it is farther away");
    }

    #[test]
    fn other_rules_leave_histories_as_they_are() {
        let now = crate::base::clock::now();
        let mut board = ScoreBoard::new(Scoring::default());
        board.record(&sample(1, OK, now));
        let before = board.score(&addr(1)).expect("touched");
        let mut rules = Scoring::default();
        rules.latency.max_score = 1.0;
        board.set_rules(rules);
        let after = board.score(&addr(1)).expect("touched");
        assert!(after.total < before.total);
        assert_eq!((after.latency, after.jitter), (before.latency, before.jitter));
    }

    #[test]
    fn who_answers_is_counted_whatever_happens_to_the_rows() {
        let now = crate::base::clock::now();
        let mut rng = fastrand::Rng::with_seed(11);
        let mut board = ScoreBoard::bounded(Scoring::default(), 20);
        for turn in 0..5_000 {
            let outcome = if rng.bool() { OK } else { Outcome::Failure };
            board.record(&sample(rng.u16(1..60), outcome, now));
            match turn % 200 {
                50 => board.set_active(&[addr(rng.u16(1..60)), addr(rng.u16(1..60))]),
                100 => board.set_active(&[]),
                150 => board.retain(|addr| addr.port() % 3 != 0),
                _ => {}
            }
            let counted = board.touched().filter(|row| row.answers).count();
            assert_eq!(board.answering(), counted, "turn {turn}");
        }
    }

    #[test]
    fn what_is_recalled_is_believed_until_it_is_met() {
        let start = crate::base::clock::now();
        let mut before = ScoreBoard::new(Scoring::default());
        for port in 1..=3 {
            before.record(&sample(port, OK, start));
        }
        let saved = before.save(10, start + Duration::from_secs(1));
        assert_eq!(saved.len(), 3);
        let mut after = ScoreBoard::new(Scoring::default());
        let (now, sampled_at) = (start + Duration::from_secs(100), start + Duration::from_secs(90));
        after.recall(&saved, Duration::from_secs(9), now);
        assert_eq!((after.len(), after.answering()), (3, 3));
        let touched = after.touched().next().expect("three");
        assert_eq!(touched.last_sample_at, sampled_at, "its age counts");
        assert!((after.score(&addr(1)).expect("recalled").total - 100.0).abs() < 0.01);
        assert!(!after.is_fresh(&addr(1)));
        after.record(&sample(1, OK, now));
        after.record(&sample(2, Outcome::Failure, now));
        assert!(after.is_fresh(&addr(1)) && after.is_fresh(&addr(2)) && !after.is_fresh(&addr(3)));
        assert!((after.score(&addr(1)).expect("met").total - 100.0).abs() < 0.01);
        assert!(
            after.score(&addr(2)).expect("met").total < 1e-9,
            "one failure is enough"
        );
        assert_eq!(after.answering(), 2);
        after.recall(&saved, Duration::ZERO, now);
        assert!(after.is_fresh(&addr(2)), "who is known is not recalled");
    }

    #[test]
    fn of_what_is_not_believed_any_more_the_next_sample_takes_the_place() {
        let start = crate::base::clock::now();
        let mut board = ScoreBoard::new(Scoring::default());
        for second in 0..20 {
            board.record(&sample(1, OK, start + Duration::from_secs(second)));
        }
        board.disbelieve();
        assert!(board.rated().next().is_none() && board.recalled().count() == 1);
        let slow = Outcome::Success(Duration::from_millis(300));
        board.record(&sample(1, slow, start + Duration::from_secs(30)));
        let rated = board.rated().next().expect("it was met");
        assert_eq!(
            rated.latency,
            Some(Duration::from_millis(300)),
            "and not a mean of both"
        );
        assert_eq!(rated.successes, 1, "it is to be confirmed");
        assert_eq!(board.answering(), 1);
    }

    #[test]
    fn the_best_and_the_last_are_saved() {
        let start = crate::base::clock::now();
        let mut board = ScoreBoard::new(Scoring::default());
        for port in 1..=100 {
            let outcome = if port <= 10 { OK } else { Outcome::Failure };
            board.record(&sample(port, outcome, start + Duration::from_secs(port.into())));
        }
        let saved = board.save(12, start + Duration::from_secs(100));
        let mut ports: Vec<u16> = saved.iter().map(|row| row.addr.port()).collect();
        ports.sort_unstable();
        assert_eq!(ports.len(), 12);
        assert!(ports.iter().filter(|port| **port <= 10).count() >= 9, "{ports:?}");
        assert!(ports.contains(&100) && ports.contains(&99), "{ports:?}");
    }
}
