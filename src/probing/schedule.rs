//! Who is probed in a round of one service, and when. Pure.
//!
//! Owns the choice and its order; the times are [`places`](super::places)'. Knows neither sockets nor how scores come
//! about.
//!
//! Invariants: nobody is planned twice in a round; only members of the active set and of the candidate list
//! are planned; every candidate of which something is known comes up again, whatever its score; as long as
//! there are never-touched candidates, some of them are in the plan.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::places::Places;
use super::strangers::Strangers;
use crate::base::grid::Grid;
use crate::scorer::sample::Touched;

/// How long initial probing may take when every probe times out.
pub const INITIAL_PATIENCE: Duration = Duration::from_secs(5);

/// The most candidates that initial probing looks at, whatever its concurrency. A set of up to this size
/// has no range that an even sample would not visit completely.
pub const INITIAL_BOUND: usize = 1 << 16;

/// One in so many places left by the active set goes to never-touched candidates, rounded up.
const FRESH_SHARE: usize = 5;

/// When the active set alone fills the rounds, one in so many rounds gives a place to somebody else.
const FULL_ROUNDS_PER_OTHER: u8 = 4;

/// How many more times as often the best possible candidate is looked at than one without a score.
const SCORE_WEIGHT: f64 = 3.0;

/// In a list that is searched, one in so many places left by the active set goes to the most overdue of those that have ever
/// answered, rounded up.
const RENEWED_SHARE: usize = 16;

/// Finalists are looked for among so many times as many of the best as are wanted.
const FINALISTS: usize = 2;

/// A probe and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub at: Instant,
    /// Whom it is about; none: whoever is worth it most when it begins.
    pub addr: Option<SocketAddr>,
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Its probes, in their order.
    pub probes: Vec<Planned>,
    /// Who takes the place of whoever is worth it most, if there is nobody: the most overdue, in this order.
    pub spare: Vec<SocketAddr>,
}

/// What a round is planned from, besides what is known of candidates.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// The time.
    pub now: Instant,
    /// The rounds of the service.
    pub grid: Grid,
    /// Which of them it is.
    pub number: u64,
    /// Where its probes lie.
    pub places: Places,
    /// Probes in it, at most.
    pub count: usize,
    /// Whether it may leave a place to others if the active set fills it.
    pub is_shared_with_others: bool,
    /// The active set.
    pub active: &'a [SocketAddr],
    /// The highest score there can be.
    pub best_score: f64,
    /// Members that are wanted.
    pub wanted: usize,
    /// Answers that a candidate needs to become one, where others are well.
    pub confirmed: u16,
}

/// How many candidates initial probing looks at: as many as are through in [`INITIAL_PATIENCE`] if all of
/// them time out, but at least one batch.
#[must_use]
pub fn initial_budget(max_concurrency: usize, timeout: Duration) -> usize {
    let waves = INITIAL_PATIENCE.as_millis() / timeout.as_millis().max(1);
    let waves = usize::try_from(waves).unwrap_or(usize::MAX).max(1);
    max_concurrency.saturating_mul(waves).min(INITIAL_BOUND)
}

/// How urgent the next probe of a candidate is: the seconds since its last sample, times 1 (no score) to 4
/// (the best score).
///
/// Promising candidates are looked at up to four times as often; since age grows without bound, a bad one
/// waits at most about four times as long as it would in plain turns.
#[must_use]
pub fn overdue(touched: &Touched, best_score: f64, now: Instant) -> f64 {
    let age = now
        .saturating_duration_since(touched.last_sample_at)
        .as_secs_f64();
    let quality = if best_score > 0.0 {
        (touched.score / best_score).clamp(0.0, 1.0)
    } else {
        0.0
    };
    age * (1.0 + SCORE_WEIGHT * quality)
}

/// Plans one round: the active set, then finalists, then never-touched candidates, then the most overdue; in random order,
/// spread over the interval. Who joins in the middle of a round takes what is left of it.
///
/// Of the places that the active set leaves, finalists get up to half. Of the others never-touched ones get a fifth (at
/// least one) and the most overdue the rest.
///
/// In a list that is searched the most overdue get a sixteenth (at least one), and the other places are open: what the
/// first probes of the round come to says who is worth the next ones.
///
/// `known` are all candidates of which something is known, `is_known` tells whether one is among them. An active set that
/// fills the round leaves a place to others in one of four rounds, or better candidates would never be found.
pub fn plan(
    round: &Round<'_>,
    known: impl Iterator<Item = Touched>,
    is_known: impl Fn(&SocketAddr) -> bool,
    strangers: &mut Strangers,
    rng: &mut fastrand::Rng,
) -> Plan {
    let mut active: Vec<(f64, SocketAddr)> = round.active.iter().map(|addr| (f64::INFINITY, *addr)).collect();
    let mut rest = Vec::new();
    let mut finalists = Finalists::among(round.wanted, round.confirmed);
    for touched in known {
        let urgency = overdue(&touched, round.best_score, round.now);
        if let Some(member) = active.iter_mut().find(|(_, addr)| *addr == touched.addr) {
            member.0 = urgency;
        } else if strangers.list().contains(&touched.addr)
            // Of a list that is searched, who never answered is remembered by its prefix alone.
            && (touched.has_answered() || !strangers.are_searched())
        {
            rest.push((urgency, touched.addr));
        } else {
            continue;
        }
        // In a list that is searched, places stay open for them.
        if !strangers.are_searched() {
            finalists.consider(&touched);
        }
    }
    let room = match round.count.checked_sub(active.len()) {
        Some(room) if room > 0 => room,
        _ if round.count > 0 && round.is_shared_with_others && rng.u8(0..FULL_ROUNDS_PER_OTHER) == 0 => 1,
        _ => 0,
    };
    if strangers.are_searched() {
        let (mut chosen, spare) = open_places(room, &mut rest, rng);
        chosen.extend(most_overdue(&mut active, round.count - chosen.len()).map(Some));
        let probes = spread(chosen, round, rng);
        return Plan { probes, spare };
    }
    let mut chosen = finalists.of(room.div_ceil(2), |addr| !round.active.contains(addr));
    let others = room - chosen.len();
    // Once everybody is known, there is nobody to look for.
    let listed = round
        .active
        .iter()
        .filter(|addr| strangers.list().contains(addr))
        .count()
        + rest.len();
    let left = strangers.list().len().saturating_sub(listed as u128);
    rest.retain(|(_, addr)| !chosen.contains(addr));
    let fresh = others
        .div_ceil(FRESH_SHARE)
        .max(others.saturating_sub(rest.len()));
    let fresh = fresh.min(usize::try_from(left).unwrap_or(usize::MAX));
    let is_no_stranger = |addr: &SocketAddr| round.active.contains(addr) || is_known(addr);
    chosen.extend(strangers.some(fresh, is_no_stranger, rng));
    chosen.extend(most_overdue(&mut rest, room - chosen.len()));
    chosen.extend(most_overdue(&mut active, round.count - chosen.len()));
    Plan {
        probes: spread(chosen.into_iter().map(Some).collect(), round, rng),
        spare: Vec::new(),
    }
}

/// The places of a round of a list that is searched, but for those of the active set: who is renewed, and places that are open;
/// and who is spare.
fn open_places(
    room: usize,
    rest: &mut [(f64, SocketAddr)],
    rng: &mut fastrand::Rng,
) -> (Vec<Option<SocketAddr>>, Vec<SocketAddr>) {
    // A single place is now for the one, now for the other.
    let renewed = if room == 1 {
        rng.usize(0..2)
    } else {
        room.div_ceil(RENEWED_SHARE)
    };
    let mut overdue = most_overdue(rest, room);
    let mut chosen: Vec<_> = overdue.by_ref().take(renewed).map(Some).collect();
    chosen.resize(room, None);
    (chosen, overdue.collect())
}

/// Who would be a member if its few answers could be believed: of the best, those that are not confirmed yet.
///
/// Those of which it is known what they are like now come first, and beside them as many of which it was known before: they
/// may look better than anybody does now, and would keep others from being confirmed until each of them was asked.
#[derive(Debug)]
pub struct Finalists {
    fresh: Vec<Touched>,
    recalled: Vec<Touched>,
    most: usize,
    confirmed: u16,
}

impl Finalists {
    /// Of whom so many are wanted, each with so many answers.
    #[must_use]
    pub fn among(wanted: usize, confirmed: u16) -> Self {
        Self {
            fresh: Vec::new(),
            recalled: Vec::new(),
            most: wanted * FINALISTS,
            confirmed,
        }
    }

    /// Takes one into account.
    pub fn consider(&mut self, touched: &Touched) {
        let best = if touched.is_fresh {
            &mut self.fresh
        } else {
            &mut self.recalled
        };
        let latency = |touched: &Touched| touched.latency.unwrap_or(Duration::MAX);
        let is_better = |other: &Touched| {
            let by_score = other.score.total_cmp(&touched.score);
            by_score
                .then_with(|| latency(touched).cmp(&latency(other)))
                .is_gt()
        };
        let place = best.partition_point(is_better);
        if touched.answers && place < self.most {
            best.truncate(self.most - 1);
            best.insert(place, *touched);
        }
    }

    /// Up to so many that are to be confirmed and for whom it holds: of each kind the best first.
    pub fn of(&self, most: usize, is_one: impl Fn(&SocketAddr) -> bool) -> Vec<SocketAddr> {
        let unproven =
            (self.fresh.iter().chain(&self.recalled)).filter(|touched| touched.successes < self.confirmed);
        unproven
            .map(|touched| touched.addr)
            .filter(is_one)
            .take(most)
            .collect()
    }
}

/// The `count` most urgent, in this order; ties by address.
fn most_overdue(all: &mut [(f64, SocketAddr)], count: usize) -> impl Iterator<Item = SocketAddr> {
    let order = |a: &(f64, SocketAddr), b: &(f64, SocketAddr)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if count > 0 && count < all.len() {
        all.select_nth_unstable_by(count - 1, order);
    }
    let count = count.min(all.len());
    let first = &mut all[..count];
    first.sort_unstable_by(order);
    first.iter().map(|(_, addr)| *addr)
}

/// Gives each a place of its own; those whose place is over already have their turn in another round.
fn spread(mut chosen: Vec<Option<SocketAddr>>, round: &Round<'_>, rng: &mut fastrand::Rng) -> Vec<Planned> {
    rng.shuffle(&mut chosen);
    let times = round.places.times(round.grid, round.number, chosen.len());
    let planned: Vec<Planned> = chosen
        .into_iter()
        .zip(times)
        .map(|(addr, at)| Planned { at, addr })
        .filter(|planned| planned.at >= round.now)
        .collect();
    debug_assert!(planned.len() <= round.count, "a round has its bound");
    debug_assert!(planned.is_sorted_by_key(|planned| planned.at), "in their order");
    planned
}

#[cfg(test)]
mod tests;
