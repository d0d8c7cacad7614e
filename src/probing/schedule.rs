//! Who is probed in a round of one service, and when. Pure.
//!
//! Owns the choice and its order; the times are [`places`](super::places)'. Knows neither sockets nor how scores come
//! about.
//!
//! Invariants: nobody is planned twice in a round; only members of the active set and of the candidate list
//! are planned; every candidate of which something is known comes up again, whatever its score; as long as
//! there are never-touched candidates, some of them are in the plan.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::places::Places;
use crate::base::grid::Grid;
use crate::candidates::Sampler;
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

/// Members of the sample that are looked at in one round for being never touched.
const SEARCH_BOUND: usize = 1024;

/// A probe and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub at: Instant,
    /// Whom it is about.
    pub addr: SocketAddr,
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
    /// The active set.
    pub active: &'a [SocketAddr],
    /// The highest score there can be.
    pub best_score: f64,
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

/// Plans one round: the active set, then never-touched candidates for a fifth of the other places (at least
/// one), then the most overdue; in random order, spread over the interval. Who joins in the middle of a round takes
/// what is left of it.
///
/// `known` are all candidates of which something is known, `is_known` tells whether one is among them;
/// never-touched ones come from `sampler`, which begins anew at its end. An active set that fills the round
/// leaves a place to others in one of four rounds, or better candidates would never be found.
pub fn plan(
    round: &Round<'_>,
    known: impl Iterator<Item = Touched>,
    is_known: impl Fn(&SocketAddr) -> bool,
    sampler: &mut Sampler,
    rng: &mut fastrand::Rng,
) -> Vec<Planned> {
    let mut active: Vec<(f64, SocketAddr)> = round.active.iter().map(|addr| (f64::INFINITY, *addr)).collect();
    let mut rest = Vec::new();
    for touched in known {
        let urgency = overdue(&touched, round.best_score, round.now);
        if let Some(member) = active.iter_mut().find(|(_, addr)| *addr == touched.addr) {
            member.0 = urgency;
        } else if sampler.set().contains(&touched.addr) {
            rest.push((urgency, touched.addr));
        }
    }
    let room = match round.count.checked_sub(active.len()) {
        Some(room) if room > 0 => room,
        _ if round.count > 0 && rng.u8(0..FULL_ROUNDS_PER_OTHER) == 0 => 1,
        _ => 0,
    };
    // Once everybody is known, there is nobody to look for.
    let listed = round
        .active
        .iter()
        .filter(|addr| sampler.set().contains(addr))
        .count()
        + rest.len();
    let strangers = sampler.set().len().saturating_sub(listed as u128);
    let fresh_count = room.div_ceil(FRESH_SHARE).max(room.saturating_sub(rest.len()));
    let fresh_count = fresh_count.min(usize::try_from(strangers).unwrap_or(usize::MAX));
    let mut chosen = fresh(fresh_count, round.active, is_known, sampler, rng);
    chosen.extend(most_overdue(&mut rest, room - chosen.len()));
    chosen.extend(most_overdue(&mut active, round.count - chosen.len()));
    spread(chosen, round, rng)
}

/// Up to `count` candidates that are not known, in the order of the sample.
fn fresh(
    count: usize,
    active: &[SocketAddr],
    is_known: impl Fn(&SocketAddr) -> bool,
    sampler: &mut Sampler,
    rng: &mut fastrand::Rng,
) -> Vec<SocketAddr> {
    let mut chosen = Vec::with_capacity(count);
    let mut seen = HashSet::new();
    for _ in 0..SEARCH_BOUND.max(count) {
        if chosen.len() == count {
            break;
        }
        let Some(addr) = sampler.next(rng) else {
            *sampler = Sampler::new(Arc::clone(sampler.set()), rng);
            continue;
        };
        if !active.contains(&addr) && !is_known(&addr) && seen.insert(addr) {
            chosen.push(addr);
        }
    }
    chosen
}

/// The `count` most urgent, ties by address.
fn most_overdue(all: &mut [(f64, SocketAddr)], count: usize) -> impl Iterator<Item = SocketAddr> {
    if count > 0 && count < all.len() {
        all.select_nth_unstable_by(count - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    }
    all.iter().take(count).map(|(_, addr)| *addr)
}

/// Gives each a place of its own; those whose place is over already have their turn in another round.
fn spread(mut chosen: Vec<SocketAddr>, round: &Round<'_>, rng: &mut fastrand::Rng) -> Vec<Planned> {
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
