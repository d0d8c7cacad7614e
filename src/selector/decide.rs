//! Scores, the present set and the time -> the next set and its reason.
//!
//! Pure. Owns the rules of the specification's section "Selector"; it must not know how scores come about,
//! nor what a set is used for.
//!
//! Invariants: a chosen set has no member twice, at most `active_set_size` members, and is empty only if
//! there is no candidate at all; while one candidate passes the threshold, every member does; a set changes
//! for the better only outside the debounce interval and by the margin, and only for candidates that are confirmed: one
//! lucky answer is no proof.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config;
use crate::scorer::sample::Rated;

/// A mean latency that is lower by less than this is no reason to change a set, whatever share of it that is.
const LEAST_GAIN: Duration = Duration::from_millis(1);

/// Why the active set changed; label `reason` of `selector_switches_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchReason {
    /// The first set.
    Initial,
    /// A set better by the margin, after the debounce interval.
    Better,
    /// A member fell under the threshold (or left the candidate list).
    Emergency,
    /// The set was too small.
    Fill,
    /// Nothing passes the threshold.
    Fallback,
    /// A reload has made the set smaller, and nobody failed.
    Resize,
}

impl SwitchReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 6] = [
        Self::Initial,
        Self::Better,
        Self::Emergency,
        Self::Fill,
        Self::Fallback,
        Self::Resize,
    ];

    /// The label value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Better => "better",
            Self::Emergency => "emergency",
            Self::Fill => "fill",
            Self::Fallback => "fallback",
            Self::Resize => "resize",
        }
    }
}

/// What the present set stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Footing {
    /// Every member passed the threshold at the last evaluation (or there is no set yet).
    #[default]
    Good,
    /// Nothing passes; the last set that did is kept.
    LastGood,
    /// Nothing passes and nothing ever did; the best-scored are taken.
    BestScored,
}

impl Footing {
    /// Whether the set is used only because nothing passes.
    #[must_use]
    pub fn is_fallback(self) -> bool {
        match self {
            Self::Good => false,
            Self::LastGood | Self::BestScored => true,
        }
    }
}

/// What an evaluation looks at.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The best candidates.
    pub ratings: &'a Ratings,
    /// The present members with their present scores.
    pub current: &'a [Member],
    /// What the present set stands on.
    pub footing: Footing,
    /// When the set last changed. The choice of the first set is no change: it was made of the first few
    /// candidates that answered, so better ones need not wait for the debounce interval.
    pub last_switch: Option<Instant>,
    /// The time.
    pub now: Instant,
}

/// The best candidates, up to `active_set_size` in each order.
#[derive(Debug, Clone, Default)]
pub struct Ratings {
    /// The best of all, best first.
    pub ranked: Vec<Rated>,
    /// The best of those that are confirmed or members, best first.
    pub proven: Vec<Rated>,
    /// Those of them with the lowest latencies whose score is no lower than the mean of the present set, lowest first.
    pub soonest: Vec<Rated>,
}

impl Ratings {
    /// The best of `all`, which are told three times over, for a choice of so many beside these members; who has given so many
    /// answers is confirmed.
    pub fn of<I: Iterator<Item = Rated>>(
        all: impl Fn() -> I,
        current: &[Member],
        (size, confirmed): (usize, usize),
        is_listed: impl Fn(&SocketAddr) -> bool,
    ) -> Self {
        let confirmed = u16::try_from(confirmed).unwrap_or(u16::MAX);
        let floor = mean_of_members(current);
        let is_member = |addr: &SocketAddr| current.iter().any(|member| member.rated.addr == *addr);
        let is_listed = |rated: &Rated| is_listed(&rated.addr);
        let is_proven =
            |rated: &Rated| (rated.successes >= confirmed || is_member(&rated.addr)) && is_listed(rated);
        let is_no_worse = |rated: &Rated| rated.is_trusted && rated.score >= floor && is_proven(rated);
        Self {
            ranked: best(size, all(), by_rank, is_listed),
            proven: best(size, all(), by_rank, is_proven),
            soonest: best(size, all(), by_latency, is_no_worse),
        }
    }
}

/// A member of the present set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// Its address and score.
    pub rated: Rated,
    /// Whether it may stay.
    pub listed: Listed,
}

/// Whether a member is on the candidate list, and has a place in a set of the present size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// It is, and has.
    Yes,
    /// It was taken off.
    No,
    /// It is listed, and the set has become too small for it.
    Surplus,
}

/// What an evaluation comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The new set; `None` keeps the present one.
    pub switch: Option<Switch>,
    /// What the set stands on from now on.
    pub footing: Footing,
}

/// A changed set.
#[derive(Debug, Clone, PartialEq)]
pub struct Switch {
    /// Its members, best first.
    pub members: Vec<Rated>,
    /// Why it changed.
    pub reason: SwitchReason,
}

/// The order of candidates, best first: who is trusted, then higher score, then lower latency (never measured is last), then
/// lower address.
#[must_use]
pub fn by_rank(a: &Rated, b: &Rated) -> Ordering {
    let latency = |rated: &Rated| rated.latency.unwrap_or(Duration::MAX);
    b.is_trusted
        .cmp(&a.is_trusted)
        .then_with(|| b.score.total_cmp(&a.score))
        .then_with(|| latency(a).cmp(&latency(b)))
        .then_with(|| a.addr.cmp(&b.addr))
}

/// The order of candidates by latency alone, lowest first (never measured is last), then by rank.
#[must_use]
pub fn by_latency(a: &Rated, b: &Rated) -> Ordering {
    let latency = |rated: &Rated| rated.latency.unwrap_or(Duration::MAX);
    latency(a).cmp(&latency(b)).then_with(|| by_rank(a, b))
}

/// The first `count` in an order of those that are eligible. Eligibility is asked only of those that would
/// make it.
pub fn best(
    count: usize,
    rated: impl Iterator<Item = Rated>,
    order: impl Fn(&Rated, &Rated) -> Ordering,
    is_eligible: impl Fn(&Rated) -> bool,
) -> Vec<Rated> {
    let mut best: Vec<Rated> = Vec::new();
    for candidate in rated {
        let place = best.partition_point(|other| order(other, &candidate).is_lt());
        if place < count && is_eligible(&candidate) {
            best.truncate(count - 1);
            best.insert(place, candidate);
        }
    }
    best
}

/// What to do about the active set now.
#[must_use]
pub fn decide(situation: &Situation<'_>, rules: &config::Selector) -> Decision {
    let of = |rated: &[Rated]| -> Vec<Rated> {
        let passing = rated.iter().filter(|rated| passes(rated, rules));
        passing.take(rules.active_set_size).copied().collect()
    };
    let passing = of(&situation.ratings.ranked);
    if passing.is_empty() {
        return fall_back(situation, rules);
    }
    let switch = if situation.current.is_empty() {
        Some(Switch {
            members: passing,
            reason: SwitchReason::Initial,
        })
    } else {
        // Who is confirmed comes first; better one who is not than nobody.
        let proven = of(&situation.ratings.proven);
        let newcomers = proven.iter().chain(&passing);
        mend(situation, newcomers, rules)
            .or_else(|| improve(situation, proven, rules))
            .or_else(|| improve(situation, of(&situation.ratings.soonest), rules))
    };
    Decision {
        switch,
        footing: Footing::Good,
    }
}

fn passes(rated: &Rated, rules: &config::Selector) -> bool {
    rated.is_trusted && rated.score >= rules.min_score_threshold
}

/// Replaces members that do not pass any more and fills a set that is too small. Neither waits for the
/// debounce interval or the margin, so no other member is touched.
fn mend<'a>(
    situation: &Situation<'_>,
    newcomers: impl Iterator<Item = &'a Rated>,
    rules: &config::Selector,
) -> Option<Switch> {
    let current = situation.current;
    let stays = |member: &&Member| member.listed == Listed::Yes && passes(&member.rated, rules);
    let mut members: Vec<Rated> = current.iter().filter(stays).map(|member| member.rated).collect();
    let kept = members.len();
    // Who has no place any more is no loss, unless somebody else is.
    let is_surplus = |member: &Member| member.listed == Listed::Surplus && passes(&member.rated, rules);
    let failed = current
        .iter()
        .any(|member| !stays(&member) && !is_surplus(member));
    for newcomer in newcomers {
        if members.len() < rules.active_set_size && !contains(&members, &newcomer.addr) {
            members.push(*newcomer);
        }
    }
    let reason = if failed {
        SwitchReason::Emergency
    } else if kept < current.len() {
        SwitchReason::Resize
    } else if members.len() > kept {
        SwitchReason::Fill
    } else {
        return None;
    };
    members.sort_by(by_rank);
    Some(Switch { members, reason })
}

/// Takes the best ones instead of the present ones, outside the debounce interval and if their mean score
/// beats the present mean by the margin, or is no lower and their mean latency is lower by a share of the present one.
fn improve(situation: &Situation<'_>, best: Vec<Rated>, rules: &config::Selector) -> Option<Switch> {
    let rested = situation
        .last_switch
        .is_none_or(|at| situation.now.saturating_duration_since(at) >= rules.debounce_interval);
    let gain = mean(&best) - mean_of_members(situation.current);
    // A margin of 0 still asks for a gain, or two equal sets would take turns.
    let better = gain > 0.0 && gain >= rules.score_improvement_threshold;
    let sooner = gain >= 0.0 && is_sooner(&best, situation.current, rules.latency_improvement_ratio);
    // Of fewer the mean may be better, and the set is not.
    let is_whole = best.len() >= situation.current.len();
    (rested && is_whole && (better || sooner)).then_some(Switch {
        members: best,
        reason: SwitchReason::Better,
    })
}

/// Whether the mean latency of a set is lower than the present one's by this share, and by what a client can tell.
fn is_sooner(best: &[Rated], current: &[Member], ratio: f64) -> bool {
    let sum = |latencies: &mut dyn Iterator<Item = Option<Duration>>| latencies.sum::<Option<Duration>>();
    let Ok(size) = u32::try_from(best.len().max(1)) else {
        return false;
    };
    let (Some(next), Some(present)) = (
        sum(&mut best.iter().map(|rated| rated.latency)),
        sum(&mut current.iter().map(|member| member.rated.latency)),
    ) else {
        return false;
    };
    let (next, present) = (
        next / size,
        present / u32::try_from(current.len()).unwrap_or(1).max(1),
    );
    ratio > 0.0 && next + LEAST_GAIN <= present && next <= present.mul_f64(1.0 - ratio)
}

/// Nothing passes: the last good set stays, without members that were taken off the list; if there is none,
/// the best-scored are taken, and such a makeshift set changes under the usual debounce and margin.
fn fall_back(situation: &Situation<'_>, rules: &config::Selector) -> Decision {
    let listed: Vec<Rated> = situation
        .current
        .iter()
        .filter(|member| member.listed == Listed::Yes)
        .map(|member| member.rated)
        .collect();
    let best = || -> Vec<Rated> {
        let count = rules.active_set_size.min(situation.ratings.ranked.len());
        situation.ratings.ranked[..count].to_vec()
    };
    let fallback = |members: Vec<Rated>| {
        // Without any candidate at all, what was there is better than nothing.
        (!members.is_empty()).then_some(Switch {
            members,
            reason: SwitchReason::Fallback,
        })
    };
    if listed.is_empty() {
        return Decision {
            switch: fallback(best()),
            footing: Footing::BestScored,
        };
    }
    let footing = match situation.footing {
        Footing::Good | Footing::LastGood => Footing::LastGood,
        Footing::BestScored => Footing::BestScored,
    };
    let switch = if listed.len() < situation.current.len() {
        fallback(listed)
    } else if footing == Footing::BestScored {
        improve(situation, best(), rules).map(|switch| Switch {
            reason: SwitchReason::Fallback,
            ..switch
        })
    } else {
        None
    };
    Decision { switch, footing }
}

fn contains(members: &[Rated], addr: &SocketAddr) -> bool {
    members.iter().any(|member| member.addr == *addr)
}

/// The mean score; 0 of nobody.
#[must_use]
pub fn mean(members: &[Rated]) -> f64 {
    mean_of(members.iter().map(|member| member.score))
}

fn mean_of_members(members: &[Member]) -> f64 {
    mean_of(members.iter().map(|member| member.rated.score))
}

fn mean_of(scores: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = scores.fold((0.0, 0.0), |(sum, count), score| (sum + score, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}
