//! What is known of a service for those that begin: from the board and the active set of one that knows it, to what another one
//! recalls. Pure.
//!
//! What comes is treated as what a state file says, and less is believed of it: latencies alone, of our own candidates, each of which
//! is to be confirmed; nothing of trust, penalties or answers counts that was not earned here.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::message::{MOST_ROWS, Outset, Row};
use crate::scorer::board::SavedRow;
use crate::scorer::score::saved::{SavedHistory, SavedTiming};
use crate::scorer::trust::SavedTrust;
use crate::service::directory::Service;
use crate::state::snapshot::ServiceState;

/// What this process knows of a service at this time of the Redis: members of the active set first, then the best others; none while
/// there is nothing worth telling. Only what was measured here is told, so that no word goes round.
#[must_use]
pub fn known(service: &Service, sent_ms: u64, now: Instant) -> Option<Outset> {
    let live = &service.live;
    let active = live.active.load();
    if active.footing.is_fallback() {
        return None;
    }
    let board = live.board.read().unwrap_or_else(PoisonError::into_inner);
    let mut others: Vec<_> = board
        .rated()
        .filter(|rated| rated.is_trusted() && board.answers(&rated.addr) && !active.contains(&rated.addr))
        .collect();
    others.sort_by(|a, b| b.score.total_cmp(&a.score));
    let row = |addr: std::net::SocketAddr| {
        let score = board.score(&addr).filter(|_| board.is_fresh(&addr))?;
        let age = now.saturating_duration_since(board.sampled_at(&addr)?);
        Some(Row {
            addr,
            age,
            connect: score.connect?,
            first_byte: score.first_byte.filter(|_| board.answers_checks(&addr)),
        })
    };
    let members = active.backends.iter().map(|backend| backend.addr);
    let members: Vec<Row> = members.filter_map(row).take(MOST_ROWS).collect();
    let count = members.len();
    let others = others.into_iter().filter_map(|rated| row(rated.addr));
    let rows: Vec<Row> = members.into_iter().chain(others).take(MOST_ROWS).collect();
    (count > 0).then_some(Outset {
        sent_ms,
        members: count,
        rows,
    })
}

/// What another process knows, as it is recalled here: of candidates of the service alone.
#[must_use]
pub fn recalled(service: &Service, outset: &Outset) -> ServiceState {
    let list = service.live.candidates.load();
    let is_candidate = |row: &&Row| list.contains(&row.addr);
    let timing = |time: Option<Duration>| SavedTiming {
        mean: time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        jitter: None,
    };
    let saved = |row: &Row| SavedRow {
        addr: row.addr,
        age_ms: u64::try_from(row.age.as_millis()).unwrap_or(u64::MAX),
        history: SavedHistory {
            connect: timing(Some(row.connect)),
            first_byte: timing(row.first_byte),
            rate: None,
            success_ppm: Some(1_000_000),
            penalty_milli: 0,
            failures: 0,
            successes: 1,
            trust: SavedTrust::default(),
        },
    };
    let members = outset.rows.iter().take(outset.members).filter(is_candidate);
    ServiceState {
        active: members.map(|row| row.addr).collect(),
        rows: outset.rows.iter().filter(is_candidate).map(saved).collect(),
        lifetimes: Vec::new(),
        answers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scorer::sample::{Outcome, Source};
    use crate::selector::decide::Footing;
    use crate::service::stage;

    #[test]
    fn what_one_has_measured_another_begins_with_and_believes_no_more_than_that() {
        let hub = stage::hub();
        let (start, second) = (hub.started_at, Duration::from_secs(1));
        let one = stage::service(&hub, "web", 1..=9, stage::spec(|_| ()));
        let measured = |port: u16, outcome| {
            let sample = stage::sample(&one, port, (Source::Probe, outcome), start);
            one.live.board.write().expect("not poisoned").record(&sample);
        };
        for port in 1..=4 {
            measured(port, Outcome::Success(Duration::from_millis(port.into())));
        }
        measured(5, Outcome::Failure);
        let hearsay = stage::sample(&one, 6, (Source::Peer, Outcome::Success(second / 1000)), start);
        one.live.board.write().expect("not poisoned").hear(&hearsay);
        assert_eq!(known(&one, 7, start), None, "there is no set yet");
        stage::activate(&one, &[2, 1], Footing::Good);
        let outset = known(&one, 7, start + second * 3).expect("a set");
        let ports: Vec<u16> = outset.rows.iter().map(|row| row.addr.port()).collect();
        assert_eq!((ports[..2].to_vec(), outset.members), (vec![2, 1], 2));
        let mut others = ports[2..].to_vec();
        others.sort_unstable();
        assert_eq!(others, [3, 4], "who answers, as was seen here");
        assert_eq!(outset.rows[0].age, second * 3);

        let other = stage::service(&hub, "web", 2..=3, stage::spec(|_| ()));
        let state = recalled(&other, &outset);
        assert_eq!(state.active, [stage::addr(2)], "of its own candidates");
        assert_eq!(state.rows.len(), 2);
        let mut board = other.live.board.write().expect("not poisoned");
        board.believe(&state.rows, start + second * 3);
        assert!(board.answers(&stage::addr(2)) && !board.is_fresh(&stage::addr(2)));
        assert_eq!(board.rating(stage::addr(2)).successes, 0, "it is to be confirmed");
        let latency = board.rating(stage::addr(2)).latency;
        assert_eq!(latency, Some(Duration::from_millis(2)));
        stage::activate(&one, &[2, 1], Footing::BestScored);
        assert_eq!(known(&one, 7, start), None, "nobody is good");
    }
}
