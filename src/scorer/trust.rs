//! Whether a candidate's connects are believed. Pure.
//!
//! A connect proves that a kernel answers. Who fails clients while others serve them, or answers checks wrongly, goes on
//! accepting; so its connects count for nothing until it has had time to mend, or a check is answered:
//!
//! ```text
//!            clients: 3 in a row, or more than one in five                   time is up, and it connects
//!  Trusted ───────────────────────────────────────────────► Distrusted(until) ──────────────────────────► on probation
//!     ▲ ▲                                                        ▲   │ 12 clients more are served than not      │ │
//!     │ └────────────────────────────────────────────────────────┼───┘                                          │ │
//!     │                                                          └────── one client is not served ──────────────┘ │
//!     └────────────────────── 8 clients more are served than not ─────────────────────────────────────────────────┘
//! ```
//!
//! The time is [`FIRST_TERM`], and twice as long with each relapse. Checks are a matter of their own: one wrong answer of a
//! candidate that never gave a right one, or two in a row, until one is right.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::sample::Distrust;

/// For how long a candidate is distrusted at first.
pub const FIRST_TERM: Duration = Duration::from_secs(120);

/// The longest time for which it is.
pub const LONGEST_TERM: Duration = Duration::from_secs(3600);

/// What a client weighs that was not served, where one that was weighs one.
const FAILURE: u8 = 4;

/// Strikes from which on a candidate is distrusted: three clients in a row.
const LIMIT: u8 = 3 * FAILURE;

/// Strikes of a candidate on probation: one more client, and it is distrusted again.
const ON_PROBATION: u8 = 2 * FAILURE;

/// Whether one candidate is trusted, and what that rests on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust {
    /// Clients that were not served, [`FAILURE`] each, less those that were; 0 to [`LIMIT`].
    strikes: u8,
    /// Terms that it has had without being cleared since.
    relapses: u8,
    checks: Checks,
    /// Until when its connects say nothing, since it fails clients.
    until: Option<Instant>,
}

/// What of it outlives the process. What checks have said does not: the next process may make others, and asks at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedTrust {
    /// Clients that were not served, less those that were; 0 to 12.
    pub strikes: u8,
    /// Terms that it has had without being cleared since.
    pub relapses: u8,
    /// For how long it is still distrusted, in milliseconds, if it is; at most [`LONGEST_TERM`].
    pub term_ms: Option<u64>,
}

/// What its checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Checks {
    /// There were none.
    #[default]
    None,
    /// The last one was answered rightly.
    Right,
    /// The last one was not, the one before was.
    Doubtful,
    /// Nor were those before.
    Wrong,
}

impl Trust {
    /// Whether it may serve clients.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lacks().is_none()
    }

    /// Why it may not serve clients, if it may not.
    #[must_use]
    pub fn lacks(&self) -> Option<Distrust> {
        match (self.until.is_some(), self.checks == Checks::Wrong) {
            (false, false) => None,
            (true, false) => Some(Distrust::Clients),
            (false, true) => Some(Distrust::Checks),
            (true, true) => Some(Distrust::Both),
        }
    }

    /// It did not serve a client, and that is its fault.
    pub fn failed(&mut self, now: Instant) {
        self.strikes = self.strikes.saturating_add(FAILURE).min(LIMIT);
        if self.strikes == LIMIT {
            // Others that waited when it failed are of the same relapse.
            if self.until.is_none() {
                self.relapses = self.relapses.saturating_add(1);
            }
            let terms_before = self.relapses.saturating_sub(1).min(8);
            let term = FIRST_TERM.saturating_mul(1 << terms_before);
            let until = now + term.min(LONGEST_TERM);
            self.until = Some(self.until.map_or(until, |present| present.max(until)));
        }
    }

    /// It served so many clients.
    pub fn served(&mut self, clients: u32) {
        self.strikes = self
            .strikes
            .saturating_sub(u8::try_from(clients).unwrap_or(u8::MAX));
        if self.strikes == 0 {
            self.until = None;
            self.relapses = 0;
        }
    }

    /// A check was answered, rightly or not.
    pub fn checked(&mut self, is_right: bool) {
        self.checks = match (is_right, self.checks) {
            (true, _) => Checks::Right,
            (false, Checks::Right) => Checks::Doubtful,
            (false, Checks::None | Checks::Doubtful | Checks::Wrong) => Checks::Wrong,
        };
    }

    /// Whether the last check was answered rightly, of those that count.
    #[must_use]
    pub fn answers_checks(&self) -> bool {
        self.checks == Checks::Right
    }

    /// Whether any check that counts was answered, rightly or not.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.checks != Checks::None
    }

    /// Nothing is checked any more, or something else is.
    pub fn forget_checks(&mut self) {
        self.checks = Checks::None;
    }

    /// What of it is to outlive the process.
    #[must_use]
    pub fn save(&self, now: Instant) -> SavedTrust {
        let term = self.until.map(|until| until.saturating_duration_since(now));
        SavedTrust {
            strikes: self.strikes,
            relapses: self.relapses,
            term_ms: term.map(|term| u64::try_from(term.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// What was saved so long ago; a term goes on while no process is there.
    #[must_use]
    pub fn recalled(saved: &SavedTrust, elapsed: Duration, now: Instant) -> Self {
        let term = |ms| {
            Duration::from_millis(ms)
                .min(LONGEST_TERM)
                .saturating_sub(elapsed)
        };
        Self {
            strikes: saved.strikes.min(LIMIT),
            relapses: saved.relapses,
            checks: Checks::None,
            until: saved.term_ms.map(|ms| now + term(ms)),
        }
    }

    /// It accepted a connect: whether that is believed.
    pub fn connected(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.strikes = ON_PROBATION;
        }
        self.is_whole()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn three_clients_in_a_row_are_enough_and_connects_do_not_help() {
        let now = clock::now();
        let mut trust = Trust::default();
        for _ in 0..2 {
            trust.failed(now);
            assert!(trust.connected(now));
        }
        trust.failed(now);
        assert!(!trust.connected(now + FIRST_TERM / 2));
        assert!(!trust.is_whole());
    }

    #[test]
    fn one_in_six_is_tolerated_and_one_in_three_is_not() {
        let now = clock::now();
        for (served, is_whole) in [(5, true), (2, false)] {
            let mut trust = Trust::default();
            for _ in 0..100 {
                trust.failed(now);
                trust.served(served);
            }
            assert_eq!(trust.is_whole(), is_whole, "{served} of {}", served + 1);
        }
    }

    #[test]
    fn terms_double_until_clients_are_served() {
        let mut now = clock::now();
        let mut trust = Trust::default();
        (0..3).for_each(|_| trust.failed(now));
        let mut term = FIRST_TERM;
        for relapse in 0..10 {
            assert!(!trust.connected(now + term / 2), "{relapse}");
            now += term;
            assert!(trust.connected(now), "on probation, {relapse}");
            trust.failed(now);
            assert!(!trust.is_whole(), "one client is enough, {relapse}");
            term = (term * 2).min(LONGEST_TERM);
        }
        now += term;
        assert!(trust.connected(now));
        trust.served(8);
        (0..3).for_each(|_| trust.failed(now));
        assert!(!trust.is_whole());
        assert!(
            trust.connected(now + FIRST_TERM),
            "cleared, so the first term again"
        );
    }

    #[test]
    fn clients_of_one_failure_are_one_relapse_however_many() {
        let now = clock::now();
        let mut trust = Trust::default();
        (0..50).for_each(|_| trust.failed(now));
        assert!(!trust.connected(now + FIRST_TERM / 2));
        assert!(trust.connected(now + FIRST_TERM), "the first term");
        (0..50).for_each(|_| trust.failed(now + FIRST_TERM));
        assert!(!trust.connected(now + FIRST_TERM * 2));
        assert!(trust.connected(now + FIRST_TERM * 3), "the second term");
    }

    #[test]
    fn late_answers_clear_a_backend() {
        let now = clock::now();
        let mut trust = Trust::default();
        (0..5).for_each(|_| trust.failed(now));
        trust.served(11);
        assert!(!trust.is_whole());
        trust.served(1);
        assert!(trust.is_whole());
    }

    #[test]
    fn a_wrong_first_answer_is_enough_and_a_right_one_clears() {
        let now = clock::now();
        let mut trust = Trust::default();
        trust.checked(false);
        assert!(!trust.connected(now + LONGEST_TERM));
        trust.checked(true);
        assert!(trust.connected(now));
        trust.checked(false);
        assert!(trust.connected(now), "one may be an accident");
        trust.checked(false);
        assert!(!trust.connected(now));
        trust.forget_checks();
        assert!(trust.connected(now));
    }

    #[test]
    fn a_term_goes_on_while_no_process_is_there() {
        let now = clock::now();
        let mut trust = Trust::default();
        (0..3).for_each(|_| trust.failed(now));
        let saved = trust.save(now + FIRST_TERM / 4);
        let mut soon = Trust::recalled(&saved, FIRST_TERM / 4, now);
        assert!(!soon.connected(now + FIRST_TERM / 4));
        assert!(soon.connected(now + FIRST_TERM / 2), "on probation");
        soon.failed(now);
        assert!(!soon.is_whole(), "one client is enough");
        let mut late = Trust::recalled(&saved, FIRST_TERM * 2, now);
        assert!(!late.is_whole(), "until it is asked");
        assert!(late.connected(now));
    }

    #[test]
    fn checks_do_not_clear_who_fails_clients() {
        let now = clock::now();
        let mut trust = Trust::default();
        (0..3).for_each(|_| trust.failed(now));
        trust.checked(true);
        assert!(!trust.is_whole());
    }

    #[test]
    fn it_is_known_what_somebody_is_not_trusted_for() {
        let now = clock::now();
        let mut trust = Trust::default();
        assert_eq!(trust.lacks(), None);
        trust.checked(false);
        assert_eq!(trust.lacks(), Some(Distrust::Checks));
        (0..3).for_each(|_| trust.failed(now));
        assert_eq!(trust.lacks(), Some(Distrust::Both));
        trust.checked(true);
        assert_eq!(trust.lacks(), Some(Distrust::Clients));
    }
}
