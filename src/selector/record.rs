//! What an evaluation came to, candidate by candidate: the record that explanations are made of. Pure.
//!
//! Made at each evaluation from what that looked at and decided, and published as a whole; whoever explains reads it and
//! works nothing out anew. Bounded: the members before and after, those that were weighed against them, a few runners-up,
//! and a few of those that were taken out by hand.

use std::net::SocketAddr;
use std::time::Instant;

use super::decide::{
    Contest, Decision, Fault, Footing, Listed, Member, RUNNERS_UP, Ratings, Situation, Switch, SwitchReason,
    fault,
};
use super::tiers::Place;
use crate::config;
use crate::scorer::sample::Rated;
use crate::scorer::score::Score;
use crate::service::admin_state::AdminState;

/// The most rows about candidates that were taken out by hand.
pub const MAX_WITHDRAWN_ROWS: usize = 16;

/// What the last evaluation of a service came to.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it was.
    pub at: Instant,
    /// The rules it went by.
    pub rules: config::Selector,
    /// Answers that confirm a candidate: fewer than the rule says just after a sweep of a list that is looked at whole.
    pub confirmed: usize,
    /// What it came to.
    pub course: Course,
    /// The last switch that holds others back, if there was one.
    pub last_switch: Option<Instant>,
    /// Members, best first, then others, best first.
    pub rows: Vec<Row>,
}

/// How far an evaluation got.
#[derive(Debug, Clone, PartialEq)]
pub enum Course {
    /// There is no set yet: too few answer, and initial probing goes on.
    AwaitsFirstSet,
    /// The way to the network is another one: the set of before stays until enough is known.
    AwaitsSweep,
    /// It was decided.
    Decided {
        /// Why the set changed, if it did.
        switch: Option<SwitchReason>,
        /// What the set stands on.
        footing: Footing,
        /// What was weighed against the set of before.
        contests: Vec<Contest>,
    },
}

/// One candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it was ranked by.
    pub rated: Rated,
    /// What its score is made of; none if it was never touched.
    pub score: Option<Score>,
    /// What it is allowed to do.
    pub admin: AdminState,
    /// Whether it is in, and why.
    pub verdict: Verdict,
}

/// Whether a candidate is in the set, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// It is.
    In {
        /// By which switch it came.
        by: SwitchReason,
        /// When that was.
        since: Instant,
        /// Why it would not pass, if the set is a fallback.
        fault: Option<Fault>,
    },
    /// It is not.
    Out(Bar),
}

/// What keeps a candidate out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// Somebody took it out by hand.
    Withdrawn,
    /// It is on the candidate list no more.
    Delisted,
    /// It does not pass.
    Fault(Fault),
    /// It passes, and the set has become too small for it.
    Surplus,
    /// It is in a tier that is used only while nobody passes in the one that serves.
    Behind,
    /// It is known from before this process, or before something happened, and was not asked since.
    Recalled,
    /// It has not given the answers yet that confirm it.
    Unconfirmed,
    /// It was weighed among others against the present set, which stayed: the contest with this index says why.
    Lost(usize),
    /// It passes, and all places are taken by others that are ranked higher, or that it does not beat by enough.
    Outranked,
}

/// What is known of a candidate besides what it is ranked by, as it was when it was ranked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Detail {
    /// What its score is made of; none if it was never touched.
    pub score: Option<Score>,
    /// Whether it was touched since the process started, and is not in doubt.
    pub is_fresh: bool,
    /// What it is allowed to do.
    pub admin: AdminState,
    /// Where it stands by its tier.
    pub place: Place,
}

/// How a member came in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Who.
    pub addr: SocketAddr,
    /// By which switch.
    pub by: SwitchReason,
    /// When.
    pub since: Instant,
}

/// Everybody of whom a record is to have a row, in their order but for the members, who come first.
///
/// Each is looked for among those before it: with the 1,000 members that a set has at most some milliseconds of the selector's
/// thread, at evaluations of that service alone; with the usual few nothing.
pub fn subjects(ratings: &Ratings, current: &[Member], reserve: &[Rated]) -> Vec<Rated> {
    let members = current.iter().map(|member| member.rated);
    let others = ratings
        .ranked
        .iter()
        .chain(&ratings.proven)
        .chain(&ratings.soonest)
        .chain(reserve.iter().take(RUNNERS_UP));
    let mut subjects: Vec<Rated> = Vec::new();
    for rated in members.chain(others.copied()) {
        if subjects.iter().all(|known| known.addr != rated.addr) {
            subjects.push(rated);
        }
    }
    subjects
}

/// The members of a set with how they came in: who was in before keeps that.
#[must_use]
pub fn entries(before: &[Entry], switch: &Switch, now: Instant) -> Vec<Entry> {
    let entry = |rated: &Rated| {
        let known = before.iter().find(|entry| entry.addr == rated.addr);
        known.copied().unwrap_or(Entry {
            addr: rated.addr,
            by: switch.reason,
            since: now,
        })
    };
    switch.members.iter().map(entry).collect()
}

/// The verdicts on all `subjects`, of whom these details are known; members first.
#[must_use]
pub fn rows(
    situation: &Situation<'_>,
    decision: &Decision,
    subjects: &[(Rated, Detail)],
    entries: &[Entry],
    (rules, confirmed): (&config::Selector, usize),
) -> Vec<Row> {
    let row = |(rated, detail): &(Rated, Detail)| {
        let entry = entries.iter().find(|entry| entry.addr == rated.addr);
        let verdict = match entry {
            Some(entry) => Verdict::In {
                by: entry.by,
                since: entry.since,
                fault: fault(rated, rules),
            },
            None => Verdict::Out(bar(situation, decision, (rated, detail), (rules, confirmed))),
        };
        Row {
            rated: *rated,
            score: detail.score,
            admin: detail.admin,
            verdict,
        }
    };
    let mut rows: Vec<Row> = subjects.iter().map(row).collect();
    rows.sort_by(|a, b| {
        let is_out = |row: &Row| matches!(row.verdict, Verdict::Out(_));
        is_out(a)
            .cmp(&is_out(b))
            .then_with(|| super::decide::by_rank(&a.rated, &b.rated))
    });
    rows
}

/// What keeps somebody out, the greatest hindrance first.
fn bar(
    situation: &Situation<'_>,
    decision: &Decision,
    (rated, detail): (&Rated, &Detail),
    (rules, confirmed): (&config::Selector, usize),
) -> Bar {
    let member = situation.current.iter().find(|one| one.rated.addr == rated.addr);
    let is_contender = |contest: &Contest| contest.contenders.iter().any(|one| one.addr == rated.addr);
    if detail.admin != AdminState::Ready {
        return Bar::Withdrawn;
    }
    match (member.map(|member| member.listed), fault(rated, rules)) {
        (Some(Listed::No), _) => Bar::Delisted,
        (_, Some(fault)) => Bar::Fault(fault),
        (Some(Listed::Surplus), None) => Bar::Surplus,
        (Some(Listed::Yes | Listed::Withdrawn | Listed::Behind) | None, None) => {
            if detail.place == Place::Behind {
                Bar::Behind
            } else if let Some(lost) = decision.contests.iter().position(is_contender) {
                Bar::Lost(lost)
            } else if !detail.is_fresh {
                Bar::Recalled
            } else if usize::from(rated.successes) < confirmed {
                Bar::Unconfirmed
            } else {
                Bar::Outranked
            }
        }
    }
}
