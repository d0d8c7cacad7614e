//! Whether warm connections are used, and how many are worth having. Pure.
//!
//! Some servers count connections that say nothing: as failed logins (`MySQL`, by `max_connect_errors`), or against a limit
//! of those not logged in (`OpenSSH`, by `MaxStartups`). So where most warm connections of a backend end unused, by its
//! hand or because it would not have let them live longer, it gets only as many as were used, down to none. Two clients
//! that had to dial within the time for which one would have stood are a reason to keep one again, and a time in which
//! most were used one to keep twice as many.
//!
//! A server that does not take its connections has room for so many, and then for nobody: where dials time out while
//! connections are warm, half of those are enough.
//!
//! What ends at once is mostly one event: of one turn, at most [`OF_ONE_TURN`] unused ones count.

use std::time::{Duration, Instant};

use super::lifetime::LONGEST;

/// Ends after which it is judged.
const ENDS: u32 = 16;

/// Unused ends of one turn that count: a restart is not enough to judge by.
const OF_ONE_TURN: u32 = ENDS / 2;

/// The number of warm connections that is as good as no limit.
const PLENTY: u32 = 1_024;

/// What happened to the warm connections of a backend in one turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Clients that got one.
    pub used: u32,
    /// Connections that ended unused.
    pub unused: u32,
    /// Clients that had to dial.
    pub missed: u32,
    /// How many there are to be, were it not for this.
    pub wanted: u32,
    /// How many there are.
    pub warm: u32,
    /// Whether dials timed out although there were some.
    pub is_clogged: bool,
}

/// The use that one backend's warm connections are of.
#[derive(Debug, Default)]
pub struct Usage {
    used: u32,
    unused: u32,
    limit: Option<u32>,
    /// When a client had to dial for want of a connection, while there are to be none.
    missed_at: Option<Instant>,
}

impl Usage {
    /// The use of those of a backend that has this limit already: it was found before, and is outgrown as any other.
    #[must_use]
    pub fn under(limit: Option<u32>) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// How many warm connections there may be; none: any number.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// Takes in a turn, connections living for `life`, or for as long as any; then none is unused for long. Whether the
    /// limit moved.
    pub fn note(&mut self, turn: Turn, life: Option<Duration>, now: Instant) -> bool {
        let before = self.limit;
        self.used = self.used.saturating_add(turn.used).min(2 * ENDS);
        self.unused = (self.unused + turn.unused.min(OF_ONE_TURN)).min(2 * ENDS);
        if self.limit == Some(0) {
            self.note_missed(turn.missed, life.unwrap_or(LONGEST), now);
        }
        let may_judge = self.used >= self.unused || life.is_some();
        if may_judge && self.used + self.unused >= ENDS {
            self.judge(turn.wanted);
        }
        if turn.is_clogged {
            let present = self.limit.unwrap_or(turn.warm).min(turn.warm);
            self.limit = Some(present / 2);
        }
        self.limit != before
    }

    fn note_missed(&mut self, missed: u32, life: Duration, now: Instant) {
        let again = self
            .missed_at
            .is_some_and(|at| now.saturating_duration_since(at) <= life);
        if missed >= 2 || (missed == 1 && again) {
            self.limit = Some(1);
            self.missed_at = None;
        } else if missed == 1 {
            self.missed_at = Some(now);
        }
    }

    fn judge(&mut self, wanted: u32) {
        let (used, ends) = (
            u64::from(self.used),
            u64::from(self.used) + u64::from(self.unused),
        );
        let present = self.limit.unwrap_or(wanted).min(wanted);
        self.limit = if self.unused > self.used {
            let worth = u64::from(present) * used / ends;
            Some(u32::try_from(worth).unwrap_or(u32::MAX))
        } else {
            self.limit
                .map(|limit| limit.max(1).saturating_mul(2))
                .filter(|limit| *limit < PLENTY.max(wanted))
        };
        (self.used, self.unused) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const LIFE: Option<Duration> = Some(Duration::from_secs(7));

    const UNUSED: Turn = Turn {
        used: 0,
        unused: 20,
        missed: 0,
        wanted: 20,
        warm: 20,
        is_clogged: false,
    };

    fn later(now: &mut Instant) -> Instant {
        *now += Duration::from_secs(1);
        *now
    }

    #[test]
    fn where_most_end_unused_there_are_none_until_clients_come_often() {
        let (mut usage, mut now) = (Usage::default(), clock::now());
        assert!(!usage.note(UNUSED, LIFE, later(&mut now)), "one event");
        assert!(usage.note(UNUSED, LIFE, later(&mut now)));
        assert_eq!(usage.limit(), Some(0));
        let missed = Turn {
            missed: 1,
            unused: 0,
            ..UNUSED
        };
        assert!(!usage.note(missed, LIFE, later(&mut now)));
        now += Duration::from_secs(7);
        assert!(!usage.note(missed, LIFE, later(&mut now)), "too rare");
        assert!(usage.note(missed, LIFE, later(&mut now)));
        assert_eq!(usage.limit(), Some(1));
    }

    #[test]
    fn who_has_no_room_gets_half_until_dials_are_answered() {
        let (mut usage, mut now) = (Usage::default(), clock::now());
        for (warm, limit) in [(7, 3), (3, 1), (1, 0)] {
            let turn = Turn {
                unused: 0,
                warm,
                is_clogged: true,
                ..UNUSED
            };
            assert!(usage.note(turn, None, later(&mut now)));
            assert_eq!(usage.limit(), Some(limit));
        }
    }

    #[test]
    fn where_they_are_used_there_is_no_limit() {
        let (mut usage, mut now) = (Usage::default(), clock::now());
        for unused in 0..1_000 {
            let turn = Turn {
                used: 10,
                unused: unused % 10,
                ..UNUSED
            };
            assert!(!usage.note(turn, LIFE, later(&mut now)));
        }
        assert_eq!(usage.limit(), None);
    }

    #[test]
    fn as_many_stay_as_are_used_and_a_limit_is_outgrown() {
        let (mut usage, mut now) = (Usage::default(), clock::now());
        let some = Turn {
            used: 2,
            unused: 6,
            ..UNUSED
        };
        usage.note(some, LIFE, later(&mut now));
        assert!(usage.note(some, LIFE, later(&mut now)));
        assert_eq!(usage.limit(), Some(5), "a quarter of twenty");
        let used = Turn {
            used: 16,
            unused: 0,
            ..UNUSED
        };
        let mut turns = 0;
        while usage.limit().is_some() {
            usage.note(used, LIFE, later(&mut now));
            turns += 1;
        }
        assert!(turns < 12, "{turns}");
    }
}
