//! What a scan leaves to a service that starts after it: a state file. Pure, but for the clocks that are its arguments.
//!
//! Samples go to a board as those of a service do, so that both know the same of the same samples.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use crate::config::Scoring;
use crate::scorer::board::ScoreBoard;
use crate::scorer::sample::Sample;
use crate::state::format;
use crate::state::snapshot::{MAX_MEMBERS, MAX_ROWS, SavedAnswer, ServiceState, State, wall_ms};

/// Candidates that are remembered: those that were asked last, who are the best as well, for they are proved at the end.
const BOUND: usize = 4 * MAX_ROWS;

/// What is known of candidates.
#[derive(Debug)]
pub(super) struct Record(ScoreBoard);

impl Record {
    /// Nothing is known; points are given by these rules.
    pub(super) fn new(rules: Scoring) -> Self {
        Self(ScoreBoard::bounded(rules, BOUND))
    }

    /// Takes in one sample.
    pub(super) fn take(&mut self, sample: &Sample) {
        self.0.record(sample);
    }

    /// The state file of a service of this name, whose providers have said this, and whose active set are these, best first.
    pub(super) fn file(
        &self,
        (service, answers): (&str, Vec<SavedAnswer>),
        active: Vec<SocketAddr>,
        now: Instant,
        wall: SystemTime,
    ) -> Vec<u8> {
        debug_assert!(active.len() <= MAX_MEMBERS, "a set is bounded");
        let known = ServiceState {
            rows: self.0.save(MAX_ROWS, now),
            active,
            answers,
            ..ServiceState::default()
        };
        format::encode(&State {
            saved_at_ms: wall_ms(wall),
            services: BTreeMap::from([(service.to_owned(), known)]),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::scorer::sample::{Outcome, Source};
    use crate::service::stage;

    #[test]
    fn a_service_begins_with_what_was_seen() {
        let hub = stage::hub();
        let one = stage::service(&hub, "one", 1..=3, stage::spec(|_| ()));
        let rules = one.spec.remotes.scoring.clone();
        let mut record = Record::new(rules.clone());
        for (place, millis) in [(1, Some(30)), (2, Some(10)), (3, None)] {
            let outcome = millis.map_or(Outcome::Failure, |millis| {
                Outcome::Success(Duration::from_millis(millis))
            });
            let answer = (Source::Probe, outcome);
            record.take(&stage::sample(&one, place, answer, hub.started_at));
        }
        let wall = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let later = hub.started_at + Duration::from_secs(7);
        let bytes = record.file(
            ("web", vec![SavedAnswer::default()]),
            vec![stage::addr(2), stage::addr(1)],
            later,
            wall,
        );
        let state = format::decode(&bytes).expect("a state file");
        assert_eq!(state.elapsed(wall + Duration::from_secs(5)).as_secs(), 5);
        let web = &state.services["web"];
        assert_eq!(web.active, [stage::addr(2), stage::addr(1)]);
        assert_eq!(web.answers, [SavedAnswer::default()]);
        let mut board = ScoreBoard::new(rules);
        board.recall(&web.rows, Duration::ZERO, later);
        assert_eq!(board.len(), 3);
        assert!(board.answers(&stage::addr(1)) && !board.answers(&stage::addr(3)));
        assert!(web.rows.iter().all(|row| row.age_ms == 7_000));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let hub = stage::hub();
        let one = stage::service(&hub, "one", 1..=3, stage::spec(|_| ()));
        let mut record = Record::new(one.spec.remotes.scoring.clone());
        let answer = (Source::Probe, Outcome::Success(Duration::from_millis(5)));
        let mut sample = stage::sample(&one, 1, answer, hub.started_at);
        for number in 0..2 * BOUND {
            let low = u32::try_from(number).expect("few");
            sample.candidate.addr = (std::net::Ipv4Addr::from(0xc633_0000 + low), 443).into();
            record.take(&sample);
        }
        assert_eq!(record.0.len(), BOUND);
    }
}
