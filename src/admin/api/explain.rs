//! Why the active set is what it is: the selector's record, as JSON and in words. Pure.
//!
//! Nothing is worked out anew: who is in or out and why stands in the [`Record`]; here it is put into words, with what
//! would change it. Beside that stands how full backends are just now, which no evaluation looks at. The words are plain ASCII, a
//! sentence each; whoever shows them breaks the lines.

use std::net::SocketAddr;
use std::time::Instant;

use serde::Serialize;

use super::places::{Occupancy, Places};
use super::services::footing;
use super::shapes::{Parts, ago, millis, rounded, seconds};
use crate::scorer::sample::Distrust;
use crate::selector::decide::{Contest, Fault, Footing, Outcome, SwitchReason};
use crate::selector::record::{Bar, Course, Record, Row, Verdict};

/// What keeps evaluations from taking place, beyond the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Our own link is down.
    LinkDown,
    /// The service is asleep.
    Asleep,
}

/// What holds just now, beyond the record.
#[derive(Debug)]
pub(super) struct Present {
    /// What keeps evaluations from taking place, if anything does.
    pub(super) pause: Option<Pause>,
    /// How full backends are.
    pub(super) occupancy: Occupancy,
}

/// The explanation, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    service: String,
    /// None: there was no evaluation yet.
    evaluated_seconds_ago: Option<f64>,
    pause: Option<&'static str>,
    /// Clients that wait for a place at a backend.
    queued: u64,
    /// `first_set`, `sweep` or `decided`; none before the first evaluation.
    course: Option<&'static str>,
    footing: Option<&'static str>,
    /// Why this evaluation changed the set, if it did.
    switch: Option<&'static str>,
    rules: Option<Rules>,
    contests: Vec<Weighed>,
    members: Vec<Subject>,
    others: Vec<Subject>,
    text: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Rules {
    active_set_size: usize,
    min_score_threshold: f64,
    confirm_probes: usize,
    debounce_seconds: f64,
    score_improvement_threshold: f64,
    latency_improvement_ratio: f64,
}

/// A set that was weighed against the present one.
#[derive(Debug, Serialize)]
struct Weighed {
    contenders: Vec<SocketAddr>,
    gain: f64,
    sooner: Option<f64>,
    outcome: &'static str,
    /// If it came too soon: how long it is still held back.
    held_seconds: Option<f64>,
    text: String,
}

/// A candidate.
#[derive(Debug, Serialize)]
struct Subject {
    addr: SocketAddr,
    name: Option<String>,
    state: &'static str,
    score: f64,
    parts: Option<Parts>,
    latency_ms: Option<f64>,
    answers: u16,
    is_trusted: bool,
    reason: &'static str,
    #[serde(flatten)]
    places: Places,
    /// Of a member: for how long it has been one.
    member_seconds: Option<f64>,
    /// Of a member of a fallback, or of somebody out: why it does not pass.
    fault: Option<&'static str>,
    /// If it is distrusted: what for.
    distrust: Option<&'static str>,
    text: String,
    /// What would change it.
    change: Option<String>,
}

/// What is known of how a service is chosen for; names are those of its list.
pub(super) fn explain(
    service: &str,
    record: Option<&Record>,
    present: &Present,
    now: Instant,
) -> Explanation {
    let Present { pause, occupancy } = present;
    let pause = *pause;
    let Some(record) = record else {
        return Explanation {
            service: service.to_owned(),
            evaluated_seconds_ago: None,
            pause: pause.map(pause_word),
            queued: occupancy.queued,
            course: None,
            footing: None,
            switch: None,
            rules: None,
            contests: Vec::new(),
            members: Vec::new(),
            others: Vec::new(),
            text: ["Nothing was evaluated yet.".to_owned()]
                .into_iter()
                .chain(pause.map(pause_text))
                .collect(),
        };
    };
    let words = Words {
        record,
        occupancy,
        now,
    };
    let (switch, stands, contests) = match &record.course {
        Course::AwaitsFirstSet | Course::AwaitsSweep => (None, None, [].as_slice()),
        Course::Decided {
            switch,
            footing,
            contests,
        } => (*switch, Some(*footing), contests.as_slice()),
    };
    let is_member = |row: &&Row| matches!(row.verdict, Verdict::In { .. });
    let subjects = |is_in: bool| {
        let rows = record.rows.iter().filter(|row| is_member(row) == is_in);
        rows.map(|row| words.subject(row)).collect()
    };
    Explanation {
        service: service.to_owned(),
        evaluated_seconds_ago: Some(ago(record.at, now)),
        pause: pause.map(pause_word),
        queued: occupancy.queued,
        course: Some(match record.course {
            Course::AwaitsFirstSet => "first_set",
            Course::AwaitsSweep => "sweep",
            Course::Decided { .. } => "decided",
        }),
        footing: stands.map(footing),
        switch: switch.map(SwitchReason::label),
        rules: Some(Rules::of(record)),
        contests: contests.iter().map(|contest| words.weighed(contest)).collect(),
        members: subjects(true),
        others: subjects(false),
        text: words
            .summary()
            .into_iter()
            .chain(pause.map(pause_text))
            .chain(crowding(occupancy))
            .collect(),
    }
}

impl Rules {
    fn of(record: &Record) -> Self {
        let rules = &record.rules;
        Self {
            active_set_size: rules.active_set_size,
            min_score_threshold: rules.min_score_threshold,
            confirm_probes: record.confirmed,
            debounce_seconds: seconds(rules.debounce_interval),
            score_improvement_threshold: rules.score_improvement_threshold,
            latency_improvement_ratio: rules.latency_improvement_ratio,
        }
    }
}

fn pause_word(pause: Pause) -> &'static str {
    match pause {
        Pause::LinkDown => "link_down",
        Pause::Asleep => "asleep",
    }
}

fn pause_text(pause: Pause) -> String {
    match pause {
        Pause::LinkDown => {
            "Our own link is down: nothing is chosen until it is back, for nobody is to blame."
        }
        Pause::Asleep => "The service is asleep: nothing is chosen until a client wakes it.",
    }
    .to_owned()
}

fn fault_word(fault: Fault) -> &'static str {
    match fault {
        Fault::Distrusted(_) => "distrusted",
        Fault::BelowThreshold => "below_threshold",
    }
}

fn distrust_word(fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::Distrusted(Distrust::Clients) => Some("clients"),
        Fault::Distrusted(Distrust::Checks) => Some("checks"),
        Fault::Distrusted(Distrust::Both) => Some("both"),
        Fault::BelowThreshold => None,
    }
}

/// How full the members are, in words, if any is.
fn crowding(occupancy: &Occupancy) -> impl Iterator<Item = String> {
    let (full, members, queued) = (occupancy.full, occupancy.members, occupancy.queued);
    let passed = (full > 0).then(|| {
        let (verb, them) = if full == 1 { ("is", "it") } else { ("are", "them") };
        format!("{full} of {members} members {verb} full (max_connections): clients pass {them} over.")
    });
    let waiting = (queued > 0).then(|| {
        let (clients, verb) = if queued == 1 {
            ("client", "waits")
        } else {
            ("clients", "wait")
        };
        format!(
            "{queued} {clients} {verb} for a place, each for up to {} s (queue_timeout).",
            occupancy.queue_timeout.as_secs_f64()
        )
    });
    passed.into_iter().chain(waiting)
}

/// The words for one record, at one time.
struct Words<'a> {
    record: &'a Record,
    occupancy: &'a Occupancy,
    now: Instant,
}

impl Words<'_> {
    fn summary(&self) -> Vec<String> {
        let rules = &self.record.rules;
        let mut text = Vec::new();
        match &self.record.course {
            Course::AwaitsFirstSet => text.push(format!(
                "There is no set yet: initial probing goes on, and fewer than {} candidates answer.",
                rules.active_set_size
            )),
            Course::AwaitsSweep => text.push(
                "The way to the network has changed: the set of before serves until enough is known there."
                    .to_owned(),
            ),
            Course::Decided {
                switch,
                footing,
                contests,
            } => {
                text.push(self.footing(*footing));
                if let Some(reason) = switch {
                    text.push(format!(
                        "The set was changed by this evaluation: {}.",
                        because(*reason)
                    ));
                }
                for said in contests.iter().map(|contest| self.contest(contest)) {
                    // Two contests may end alike.
                    if !text.contains(&said) {
                        text.push(said);
                    }
                }
            }
        }
        text
    }

    fn footing(&self, footing: Footing) -> String {
        let threshold = self.record.rules.min_score_threshold;
        match footing {
            Footing::Good => format!("All members pass the threshold of {threshold} points."),
            Footing::LastGood => format!(
                "No candidate passes the threshold of {threshold} points: the last good set stays, for it may recover."
            ),
            Footing::BestScored => format!(
                "No candidate passes the threshold of {threshold} points, and none ever did: the best there are serve."
            ),
        }
    }

    /// How much better a set is, against what is asked for, and what came of it.
    fn contest(&self, contest: &Contest) -> String {
        let rules = &self.record.rules;
        let least = rules.score_improvement_threshold;
        let gain = format!(
            "mean score {:+.1} of the {least:+.1} that are asked for",
            contest.gain
        );
        let ratio = rules.latency_improvement_ratio;
        let sooner = match contest.sooner {
            Some(_) if ratio <= 0.0 => String::new(),
            Some(sooner) => format!(
                ", or at no lower score mean latency {:+.0} % of the {:+.0} % that are asked for",
                -sooner * 100.0,
                -ratio * 100.0
            ),
            None => String::new(),
        };
        match contest.outcome {
            Outcome::Same => "The best candidates are the members.".to_owned(),
            Outcome::Wins => format!("A better set took over: {gain}{sooner}."),
            Outcome::TooFew => format!(
                "The set stays: only {} confirmed candidates could take its place.",
                contest.contenders.len()
            ),
            Outcome::TooLittle => format!("The set stays: the best challengers offer {gain}{sooner}."),
            Outcome::TooSoon(until) => format!(
                "The set stays: a better one ({gain}{sooner}) has to wait for {:.0} s more, since the set changed a \
                 short time ago (debounce_interval {:.0} s).",
                self.left(until),
                rules.debounce_interval.as_secs_f64()
            ),
        }
    }

    fn weighed(&self, contest: &Contest) -> Weighed {
        let (outcome, held) = match contest.outcome {
            Outcome::Wins => ("wins", None),
            Outcome::Same => ("same", None),
            Outcome::TooFew => ("too_few", None),
            Outcome::TooLittle => ("too_little", None),
            Outcome::TooSoon(until) => ("too_soon", Some(until)),
        };
        Weighed {
            contenders: contest.contenders.iter().map(|rated| rated.addr).collect(),
            gain: rounded(contest.gain),
            sooner: contest.sooner.map(rounded),
            outcome,
            held_seconds: held.map(|until| rounded(self.left(until))),
            text: self.contest(contest),
        }
    }

    fn left(&self, until: Instant) -> f64 {
        until.saturating_duration_since(self.now).as_secs_f64()
    }

    fn subject(&self, row: &Row) -> Subject {
        let rated = &row.rated;
        let (reason, since, fault) = match row.verdict {
            Verdict::In { by, since, fault } => (by.label(), Some(since), fault),
            Verdict::Out(Bar::Fault(fault)) => (fault_word(fault), None, Some(fault)),
            Verdict::Out(bar) => (bar_word(bar), None, None),
        };
        let places = self.occupancy.at(&rated.addr);
        let (text, change) = match row.verdict {
            Verdict::In { by, since, fault } => {
                (self.why_in(row, by, since, fault) + &passed_over(places), None)
            }
            Verdict::Out(bar) => {
                let (text, change) = self.why_out(row, bar);
                (text, Some(change))
            }
        };
        Subject {
            addr: rated.addr,
            name: self.occupancy.list().name_of(&rated.addr).map(str::to_owned),
            state: row.admin.label(),
            score: rounded(rated.score),
            parts: row.score.as_ref().map(Parts::of),
            latency_ms: rated.latency.map(millis),
            answers: rated.successes,
            is_trusted: rated.is_trusted(),
            reason,
            places,
            member_seconds: since.map(|since| ago(since, self.now)),
            fault: fault.map(fault_word),
            distrust: fault.and_then(distrust_word),
            text,
            change,
        }
    }

    fn why_in(&self, row: &Row, by: SwitchReason, since: Instant, fault: Option<Fault>) -> String {
        let age = self.now.saturating_duration_since(since).as_secs_f64();
        let came = format!("In for {age:.0} s: {}.", because(by));
        match fault {
            None => came,
            Some(fault) => format!(
                "{came} It does not pass ({}), and nobody else does.",
                self.fault(row, fault)
            ),
        }
    }

    fn fault(&self, row: &Row, fault: Fault) -> String {
        match fault {
            Fault::Distrusted(why) => {
                let conduct = match why {
                    Distrust::Clients => "it fails clients",
                    Distrust::Checks => "it answers checks wrongly",
                    Distrust::Both => "it fails clients, and it answers checks wrongly",
                };
                format!("its connects are not believed: {conduct}")
            }
            Fault::BelowThreshold => format!(
                "{:.1} points, under the threshold of {}",
                row.rated.score, self.record.rules.min_score_threshold
            ),
        }
    }

    /// Why somebody is out, and what would change it.
    fn why_out(&self, row: &Row, bar: Bar) -> (String, String) {
        let rules = &self.record.rules;
        let rated = &row.rated;
        match bar {
            Bar::Withdrawn => (
                format!("Out: taken out by hand ({}).", row.admin.label()),
                "Somebody makes it ready again.".to_owned(),
            ),
            Bar::Delisted => (
                "Out: the candidate list does not have it any more.".to_owned(),
                "The list names it again.".to_owned(),
            ),
            Bar::Fault(fault @ Fault::Distrusted(why)) => (
                format!("Out: {}.", self.fault(row, fault)),
                match why {
                    Distrust::Clients => "Its time is up and it connects.",
                    Distrust::Checks => "It answers a check rightly.",
                    Distrust::Both => "Its time is up and it connects, and it answers a check rightly.",
                }
                .to_owned(),
            ),
            Bar::Fault(fault @ Fault::BelowThreshold) => (
                format!("Out: {}.", self.fault(row, fault)),
                format!("{:.1} points more.", rules.min_score_threshold - rated.score),
            ),
            Bar::Surplus => (
                format!("Out: the set was made smaller, to {}.", rules.active_set_size),
                "A place becomes free, or active_set_size grows.".to_owned(),
            ),
            Bar::Behind => (
                "Out: a tier that goes before its own serves.".to_owned(),
                "Nobody passes in the tiers before its own.".to_owned(),
            ),
            Bar::Recalled => (
                "Out: known only from before, and not asked since.".to_owned(),
                "It answers a probe.".to_owned(),
            ),
            Bar::Unconfirmed => {
                let (given, asked) = (usize::from(rated.successes), self.record.confirmed);
                (
                    format!("Out: it has given {given} of the {asked} answers that confirm it."),
                    format!("{} more answers.", asked.saturating_sub(given)),
                )
            }
            Bar::Lost(contest) => {
                let text = match &self.record.course {
                    Course::Decided { contests, .. } => {
                        contests.get(contest).map(|contest| self.contest(contest))
                    }
                    Course::AwaitsFirstSet | Course::AwaitsSweep => None,
                };
                debug_assert!(text.is_some(), "a contest that was lost is in the record");
                (
                    "Out, though it is among the best.".to_owned(),
                    text.unwrap_or_default(),
                )
            }
            Bar::Outranked => (
                format!(
                    "Out: all {} places go to others, who are ranked higher.",
                    rules.active_set_size
                ),
                self.what_outranks(row),
            ),
        }
    }

    /// What somebody lacks who passes and is confirmed.
    fn what_outranks(&self, row: &Row) -> String {
        let mut members = self
            .record
            .rows
            .iter()
            .filter(|one| matches!(one.verdict, Verdict::In { .. }));
        match members.next_back() {
            Some(last) if last.rated.score > row.rated.score => format!(
                "More than the {:.1} points of {}{}, and by enough.",
                last.rated.score,
                last.rated.addr,
                self.occupancy.list().name_behind(&last.rated.addr)
            ),
            Some(_) | None => "A higher rank, by enough.".to_owned(),
        }
    }
}

/// Why clients pass a member over, if they do.
fn passed_over(places: Places) -> String {
    match (places.max_connections, places.open) {
        (Some(max), Some(open)) if places.is_full => {
            format!(" It is full ({open} of {max} connections): clients pass it over until one ends.")
        }
        _ => String::new(),
    }
}

/// How a member came, in words.
fn because(reason: SwitchReason) -> &'static str {
    match reason {
        SwitchReason::Initial => "chosen for the first set",
        SwitchReason::Better => "chosen with a better set",
        SwitchReason::Emergency => "chosen when a member fell under the threshold or left the list",
        SwitchReason::Fill => "chosen when the set was too small",
        SwitchReason::Fallback => "chosen while nobody passes",
        SwitchReason::Resize => "chosen when the set was made smaller",
        SwitchReason::Withdrawn => "chosen when a member was taken out by hand",
        SwitchReason::Tier => "chosen when its tier passed again, which goes before the one of the set",
    }
}

fn bar_word(bar: Bar) -> &'static str {
    match bar {
        Bar::Withdrawn => "withdrawn",
        Bar::Delisted => "delisted",
        Bar::Fault(fault) => fault_word(fault),
        Bar::Surplus => "surplus",
        Bar::Behind => "behind",
        Bar::Recalled => "recalled",
        Bar::Unconfirmed => "unconfirmed",
        Bar::Lost(_) => "lost",
        Bar::Outranked => "outranked",
    }
}

#[cfg(test)]
mod tests;
