//! What is saved, as plain values: what a service knows is a field of [`ServiceState`], and a kind of line in `format`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::scorer::board::SavedRow;

/// The most rows that are kept of one service.
pub const MAX_ROWS: usize = 1024;

/// The most members, and the most lifetimes, that are kept of one service.
pub const MAX_MEMBERS: usize = 1024;

/// The most lines that the answers of all providers of one service take.
pub const MAX_ANSWER_LINES: usize = 32_768;

/// What is older says nothing about the present.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// All that is saved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// When it was saved, in milliseconds since 1970 by the wall clock. Ages are counted from then.
    pub saved_at_ms: u64,
    /// By name.
    pub services: BTreeMap<String, ServiceState>,
}

/// What is saved of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceState {
    /// What is known of candidates; at most [`MAX_ROWS`].
    pub rows: Vec<SavedRow>,
    /// The members of the active set, best first; at most [`MAX_MEMBERS`].
    pub active: Vec<SocketAddr>,
    /// How long backends let warm connections live, where that was learned; at most [`MAX_MEMBERS`].
    pub lifetimes: Vec<SavedLifetime>,
    /// What providers that are asked have said last; at most [`MAX_ANSWER_LINES`] lines in all.
    pub answers: Vec<SavedAnswer>,
}

/// What a provider has said last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedAnswer {
    /// What it was asked: a fingerprint of the question.
    pub asked: u64,
    /// The answer, as lines of a candidate list.
    pub lines: Vec<String>,
}

/// How old a backend lets unused connections become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedLifetime {
    /// The backend.
    pub addr: SocketAddr,
    /// The age at which its warm connections are replaced, in milliseconds.
    pub life_ms: u64,
}

impl State {
    /// How long ago it was saved; nothing if the clock has stepped back since.
    #[must_use]
    pub fn elapsed(&self, wall: SystemTime) -> Duration {
        let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        since_epoch.saturating_sub(Duration::from_millis(self.saved_at_ms))
    }

    /// What of it is still worth something so long after it was saved: nothing that was measured longer than [`MAX_AGE`] ago.
    /// What a provider has said last stays in force for as long as it says nothing else, so that has no age.
    #[must_use]
    pub fn still_fresh(mut self, elapsed: Duration) -> Self {
        let is_fresh = |row: &SavedRow| elapsed.saturating_add(Duration::from_millis(row.age_ms)) <= MAX_AGE;
        for service in self.services.values_mut() {
            service.rows.retain(is_fresh);
            if elapsed > MAX_AGE {
                service.active.clear();
                service.lifetimes.clear();
            }
        }
        self
    }
}

/// The wall clock in milliseconds since 1970; 0 before.
#[must_use]
pub fn wall_ms(wall: SystemTime) -> u64 {
    let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scorer::board::ScoreBoard;
    use crate::scorer::sample::{Outcome, Source};
    use crate::service::stage;

    fn saved(age: Duration) -> SavedRow {
        let hub = stage::hub();
        let one = stage::service(&hub, "one", 1..=1, stage::spec(|_| ()));
        let mut board = ScoreBoard::new(one.spec.remotes.scoring.clone());
        let at = hub.started_at;
        let answer = (Source::Probe, Outcome::Success(Duration::from_millis(5)));
        board.record(&stage::sample(&one, 1, answer, at));
        board.save(1, at + age)[0]
    }

    #[test]
    fn a_clock_that_has_stepped_back_makes_nothing_younger_or_older_than_it_was() {
        let wall = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let state = State {
            saved_at_ms: wall_ms(wall),
            services: BTreeMap::new(),
        };
        assert_eq!(state.elapsed(wall + Duration::from_secs(5)).as_secs(), 5);
        assert_eq!(state.elapsed(wall - Duration::from_secs(5)), Duration::ZERO);
        assert_eq!(state.elapsed(UNIX_EPOCH - Duration::from_secs(5)), Duration::ZERO);
        let never = State {
            saved_at_ms: u64::MAX,
            ..State::default()
        };
        assert_eq!(never.elapsed(wall), Duration::ZERO);
    }

    #[test]
    fn nothing_that_was_measured_longer_than_a_day_ago_is_kept() {
        let hour = Duration::from_secs(3600);
        let state = || State {
            saved_at_ms: 0,
            services: BTreeMap::from([(
                "web".to_owned(),
                ServiceState {
                    rows: [1, 20, 23].map(|hours| saved(hour * hours)).to_vec(),
                    active: vec![stage::addr(1)],
                    answers: vec![SavedAnswer::default()],
                    ..ServiceState::default()
                },
            )]),
        };
        let left = |elapsed| {
            let state = state().still_fresh(elapsed);
            let web = &state.services["web"];
            (web.rows.len(), web.active.len(), web.answers.len())
        };
        assert_eq!(left(Duration::ZERO), (3, 1, 1));
        assert_eq!(left(hour * 3), (2, 1, 1));
        assert_eq!(left(hour * 24), (0, 1, 1));
        assert_eq!(
            left(hour * 24 + hour / 60),
            (0, 0, 1),
            "what was said is in force"
        );
        assert_eq!(left(Duration::MAX), (0, 0, 1));
    }
}
