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
use crate::scorer::sample::{Distrust, Rated};

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
    /// Somebody has taken a member out by hand, and nobody failed.
    Withdrawn,
    /// A tier that goes before the one of the set passes again.
    Tier,
}

impl SwitchReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 8] = [
        Self::Initial,
        Self::Better,
        Self::Emergency,
        Self::Fill,
        Self::Fallback,
        Self::Resize,
        Self::Withdrawn,
        Self::Tier,
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
            Self::Withdrawn => "withdrawn",
            Self::Tier => "tier",
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

/// Candidates that are ranked besides those that a set has room for, so that it can be said why they are out.
pub const RUNNERS_UP: usize = 5;

/// The best candidates, up to `active_set_size` in each order.
#[derive(Debug, Clone, Default)]
pub struct Ratings {
    /// The best of all, best first; up to [`RUNNERS_UP`] more of them.
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
        may_serve: impl Fn(&Rated) -> bool,
    ) -> Self {
        let confirmed = u16::try_from(confirmed).unwrap_or(u16::MAX);
        let floor = mean_of_members(current);
        let is_member = |addr: &SocketAddr| current.iter().any(|member| member.rated.addr == *addr);
        let is_proven =
            |rated: &Rated| (rated.successes >= confirmed || is_member(&rated.addr)) && may_serve(rated);
        let is_no_worse = |rated: &Rated| rated.is_trusted() && rated.score >= floor && is_proven(rated);
        Self {
            ranked: best(size + RUNNERS_UP, all(), by_rank, &may_serve),
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
    /// It is listed, and somebody has taken it out by hand.
    Withdrawn,
    /// It is listed, and a tier that goes before its own serves.
    Behind,
}

/// Why a candidate does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its connects are not believed.
    Distrusted(Distrust),
    /// Its score is under the threshold.
    BelowThreshold,
}

/// A set that was weighed against the present one.
#[derive(Debug, Clone, PartialEq)]
pub struct Contest {
    /// Who would be its members, best first.
    pub contenders: Vec<Rated>,
    /// How much higher its mean score is.
    pub gain: f64,
    /// How much lower its mean latency is, as a share of the present one; none where that is not known of all.
    pub sooner: Option<f64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of weighing a set against the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It takes the place of the present one.
    Wins,
    /// It is the present one.
    Same,
    /// It has fewer members.
    TooFew,
    /// It gains less than the margins ask for.
    TooLittle,
    /// It would win, and the set has changed just before: not until then.
    TooSoon(Instant),
}

/// What an evaluation comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The new set; `None` keeps the present one.
    pub switch: Option<Switch>,
    /// What the set stands on from now on.
    pub footing: Footing,
    /// What was weighed against the present set, at most one by each order: nothing where that had to be mended first.
    pub contests: Vec<Contest>,
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
    b.is_trusted()
        .cmp(&a.is_trusted())
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
    let mut contests = Vec::new();
    let switch = if situation.current.is_empty() {
        Some(Switch {
            members: passing,
            reason: SwitchReason::Initial,
        })
    } else {
        // Who is confirmed comes first; better one who is not than nobody.
        let proven = of(&situation.ratings.proven);
        let newcomers = proven.iter().chain(&passing);
        let mut improve = |best: Vec<Rated>| {
            let contest = weigh(situation, best, rules);
            let switch = improved(&contest);
            contests.push(contest);
            switch
        };
        mend(situation, newcomers, rules)
            .or_else(|| improve(proven))
            .or_else(|| improve(of(&situation.ratings.soonest)))
    };
    Decision {
        switch,
        footing: Footing::Good,
        contests,
    }
}

/// Why a candidate does not pass, if it does not.
#[must_use]
pub fn fault(rated: &Rated, rules: &config::Selector) -> Option<Fault> {
    match rated {
        Rated {
            distrust: Some(why), ..
        } => Some(Fault::Distrusted(*why)),
        Rated { score, .. } if *score < rules.min_score_threshold => Some(Fault::BelowThreshold),
        Rated { .. } => None,
    }
}

/// Whether a candidate passes.
#[must_use]
pub fn passes(rated: &Rated, rules: &config::Selector) -> bool {
    fault(rated, rules).is_none()
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
    // Who has no place any more, or is not to have one, is no loss, unless somebody else is.
    let is_out = |member: &Member, why: Listed| member.listed == why && passes(&member.rated, rules);
    let any_out = |why| current.iter().any(|member| is_out(member, why));
    let failed = current.iter().any(|member| {
        let no_losses = [Listed::Surplus, Listed::Withdrawn, Listed::Behind];
        !stays(&member) && !no_losses.into_iter().any(|why| is_out(member, why))
    });
    for newcomer in newcomers {
        if members.len() < rules.active_set_size && !contains(&members, &newcomer.addr) {
            members.push(*newcomer);
        }
    }
    let reason = if failed {
        SwitchReason::Emergency
    } else if any_out(Listed::Withdrawn) {
        SwitchReason::Withdrawn
    } else if any_out(Listed::Behind) {
        SwitchReason::Tier
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

/// Weighs the best ones against the present ones: they win outside the debounce interval, and if their mean score beats the
/// present mean by the margin, or is no lower and their mean latency is lower by a share of the present one.
fn weigh(situation: &Situation<'_>, best: Vec<Rated>, rules: &config::Selector) -> Contest {
    let rested_at = situation.last_switch.map(|at| at + rules.debounce_interval);
    let gain = mean(&best) - mean_of_members(situation.current);
    // A margin of 0 still asks for a gain, or two equal sets would take turns.
    let better = gain > 0.0 && gain >= rules.score_improvement_threshold;
    let latencies = mean_latencies(&best, situation.current);
    let sooner = gain >= 0.0
        && latencies.is_some_and(|latencies| is_sooner(latencies, rules.latency_improvement_ratio));
    let outcome = match rested_at {
        // Of fewer the mean may be better, and the set is not.
        _ if best.len() < situation.current.len() => Outcome::TooFew,
        _ if best.iter().all(|one| is_member(situation, &one.addr)) => Outcome::Same,
        _ if !better && !sooner => Outcome::TooLittle,
        Some(at) if at > situation.now => Outcome::TooSoon(at),
        Some(_) | None => Outcome::Wins,
    };
    Contest {
        contenders: best,
        gain,
        sooner: latencies.map(|(next, present)| 1.0 - next.as_secs_f64() / present.as_secs_f64().max(1e-9)),
        outcome,
    }
}

fn is_member(situation: &Situation<'_>, addr: &SocketAddr) -> bool {
    situation.current.iter().any(|member| member.rated.addr == *addr)
}

/// What follows from a contest.
fn improved(contest: &Contest) -> Option<Switch> {
    (contest.outcome == Outcome::Wins).then(|| Switch {
        members: contest.contenders.clone(),
        reason: SwitchReason::Better,
    })
}

/// The mean latencies of a set and of the present one, if all of them were measured.
fn mean_latencies(best: &[Rated], current: &[Member]) -> Option<(Duration, Duration)> {
    let sum = |latencies: &mut dyn Iterator<Item = Option<Duration>>| latencies.sum::<Option<Duration>>();
    let next = sum(&mut best.iter().map(|rated| rated.latency))?;
    let present = sum(&mut current.iter().map(|member| member.rated.latency))?;
    let count = |members: usize| u32::try_from(members.max(1)).ok();
    Some((next / count(best.len())?, present / count(current.len())?))
}

/// Whether one mean latency is lower than the other by this share, and by what a client can tell.
fn is_sooner((next, present): (Duration, Duration), ratio: f64) -> bool {
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
            contests: Vec::new(),
        };
    }
    let footing = match situation.footing {
        Footing::Good | Footing::LastGood => Footing::LastGood,
        Footing::BestScored => Footing::BestScored,
    };
    let mut contests = Vec::new();
    let switch = if listed.len() < situation.current.len() {
        fallback(listed)
    } else if footing == Footing::BestScored {
        let contest = weigh(situation, best(), rules);
        let switch = improved(&contest);
        contests.push(contest);
        switch.map(|switch| Switch {
            reason: SwitchReason::Fallback,
            ..switch
        })
    } else {
        None
    };
    Decision {
        switch,
        footing,
        contests,
    }
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
