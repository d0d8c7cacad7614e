//! What is asked of DNS for all providers: which records, when, and what the answers come to. Pure.
//!
//! Owns one entry for each record that anybody wants, however many do. Knows no sockets and no messages on their way.
//!
//! A name whose servers fail, or say that there is no such name, keeps the addresses that it had last: what is gone from DNS
//! for a moment is not gone. A name that has addresses of one family still has none of the other if its servers say so.
//!
//! A service that is asleep has nothing looked up but at the times of its looks; what is due until then waits for that, or for
//! the service to wake.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::{Answer, Failure};
use super::message::{Data, DnsName, RecordType, Target, name_of, shown};
use crate::base::grid::Grid;
use crate::candidates::{CandidateSet, Stated};
use crate::config::{Dns, Family};
use crate::providers::backoff::pause_after;
use crate::providers::slumber::{self, Asleep};
use crate::service::provided::{Ask, Place, Question, Said, Standing};

/// First and longest pause after a failure; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long the first answers to a question are collected before what is known is told.
const COLLECTING: Duration = Duration::from_millis(500);

/// Hosts of one provider that are looked up.
pub const MOST_HOSTS: usize = 10_000;

/// Places of a service that count.
const MOST_TARGETS: usize = 1000;

/// One record that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Of whom.
    pub name: DnsName,
    /// What.
    pub kind: RecordType,
    /// How it is asked for.
    pub dns: Arc<Dns>,
}

impl Wanted {
    /// What of whom, in words.
    pub(in crate::providers) fn shown(&self) -> String {
        format!("{} {}", self.kind.name(), shown(&self.name))
    }
}

/// How the last look at a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unasked,
    Good,
    /// There is none.
    Nothing {
        exists: bool,
    },
    Failed,
}

/// What is known of a record.
#[derive(Debug)]
struct Record {
    outcome: Outcome,
    /// The last good answer.
    data: Vec<Data>,
    answered_at: Option<Instant>,
    error: Option<String>,
    /// Looks in a row that brought nothing.
    in_vain: u32,
    /// When it is asked for; none while it is.
    due: Option<Instant>,
    /// The questions that it is for.
    for_whom: Vec<usize>,
}

/// A question, and what was told of it.
#[derive(Debug)]
struct Asked {
    question: Arc<Question>,
    told: Option<Arc<CandidateSet>>,
    /// What was said to a process before this one, or by other servers, until each part of the answer is known anew.
    recalled: Option<Arc<CandidateSet>>,
    /// When its service has its looks, while that is asleep.
    looks: Option<Grid>,
    errors: u64,
    /// Since when something new has not been told.
    news_since: Option<Instant>,
}

/// All records that anybody wants.
#[derive(Debug, Default)]
pub struct Book {
    questions: Vec<Asked>,
    records: BTreeMap<Arc<Wanted>, Record>,
    agenda: BTreeSet<(Instant, Arc<Wanted>)>,
    /// What was said to a process before this one, until the first questions are asked.
    recalled: Vec<Said>,
    /// The services that are asleep, and when they have their looks.
    asleep: Asleep,
}

impl Book {
    /// Knows what was said to a process before this one: to the next questions that are asked that is what was said last.
    pub fn recall(&mut self, said: Vec<Said>) {
        self.recalled.extend(said);
    }

    /// Asks these questions from now on, and no others; what is known already is not asked again before its time.
    pub fn follow(&mut self, questions: &[Arc<Question>], now: Instant) {
        let mut before = std::mem::take(&mut self.questions);
        let is_known = |question: &Arc<Question>| before.iter().any(|asked| asked.question == *question);
        let new = questions.iter().filter(|question| !is_known(question));
        let new: Vec<Asked> = new
            .map(|question| self.new_question(question, &before, now))
            .collect();
        let mut new = new.into_iter();
        for question in questions {
            let known = before.iter().position(|asked| asked.question == *question);
            let known = known.map(|known| before.swap_remove(known));
            self.questions.extend(known.or_else(|| new.next()));
        }
        debug_assert!(self.questions.len() == questions.len(), "each question once");
        if !questions.is_empty() {
            self.recalled = Vec::new();
        }
        self.link(now);
    }

    fn new_question(&self, question: &Arc<Question>, before: &[Asked], now: Instant) -> Asked {
        let recalled = self.recalled.iter().find(|said| said.question == *question);
        let recalled = recalled.map(|said| Arc::clone(&said.set));
        Asked {
            question: Arc::clone(question),
            told: recalled.clone(),
            recalled: recalled.or_else(|| self.carried(question, before)),
            looks: self.asleep.get(&question.place.0).copied(),
            errors: 0,
            news_since: Some(now),
        }
    }

    /// These services are asleep now, and no others.
    pub fn rest(&mut self, asleep: &Asleep) {
        if *asleep == self.asleep {
            return;
        }
        self.asleep.clone_from(asleep);
        for asked in &mut self.questions {
            asked.looks = self.asleep.get(&asked.question.place.0).copied();
        }
        self.plan();
    }

    /// Works out anew what is asked for when.
    fn plan(&mut self) {
        let planned =
            |(wanted, record): (&Arc<Wanted>, &Record)| Some((self.planned_at(record)?, Arc::clone(wanted)));
        self.agenda = self.records.iter().filter_map(planned).collect();
    }

    /// When a record is asked for: when it is due, or if all whom it is for are asleep, at the next of their looks. What nobody
    /// has asked for yet does not wait.
    fn planned_at(&self, record: &Record) -> Option<Instant> {
        let due = record.due?;
        if record.outcome == Outcome::Unasked {
            return Some(due);
        }
        let for_whom = record.for_whom.iter();
        Some(slumber::planned_at(
            due,
            for_whom.map(|at| self.questions.get(*at)?.looks),
        ))
    }

    fn plan_of(&self, wanted: &Wanted) -> Option<Instant> {
        self.planned_at(self.records.get(wanted)?)
    }

    /// Which records are for which questions; forgets those that are for none, and wants those that are new.
    fn link(&mut self, now: Instant) {
        for record in self.records.values_mut() {
            record.for_whom.clear();
        }
        for at in 0..self.questions.len() {
            for wanted in self.wanted_by(at) {
                let record = self.records.entry(Arc::new(wanted)).or_insert_with(|| Record {
                    outcome: Outcome::Unasked,
                    data: Vec::new(),
                    answered_at: None,
                    error: None,
                    in_vain: 0,
                    due: Some(now),
                    for_whom: Vec::new(),
                });
                if record.for_whom.last() != Some(&at) {
                    record.for_whom.push(at);
                }
            }
        }
        self.records.retain(|_, record| !record.for_whom.is_empty());
        self.plan();
    }

    /// The records that a question needs, as far as that is known.
    fn wanted_by(&self, at: usize) -> Vec<Wanted> {
        let Some(Asked { question, .. }) = self.questions.get(at) else {
            return Vec::new();
        };
        let dns = &question.dns;
        match &question.ask {
            Ask::Hosts(hosts, family) => {
                let names = hosts
                    .iter()
                    .take(MOST_HOSTS)
                    .filter_map(|host| name_of(&host.name));
                names.flat_map(|name| addresses_of(name, *family, dns)).collect()
            }
            Ask::Service(name, family) => {
                let Some(name) = name_of(name) else {
                    return Vec::new();
                };
                let mut all: Vec<Wanted> = self
                    .targets(&name, dns)
                    .flat_map(|target| addresses_of(target.name.clone(), *family, dns))
                    .collect();
                let kind = RecordType::Srv;
                let dns = Arc::clone(dns);
                all.push(Wanted { name, kind, dns });
                all
            }
            // Asked for by HTTP.
            Ask::List(_) => Vec::new(),
        }
    }

    fn record(&self, name: &DnsName, kind: RecordType, dns: &Arc<Dns>) -> Option<&Record> {
        let (name, dns) = (name.clone(), Arc::clone(dns));
        self.records.get(&Wanted { name, kind, dns })
    }

    /// The places of a service that were named last.
    fn targets(&self, name: &DnsName, dns: &Arc<Dns>) -> impl Iterator<Item = &Target> {
        let record = self.record(name, RecordType::Srv, dns);
        let data = record.map_or(&[][..], |record| &record.data);
        let targets = data.iter().filter_map(|data| match data {
            Data::Service(target) => Some(target),
            Data::Address(_) => None,
        });
        targets.take(MOST_TARGETS)
    }

    /// When the next record is due.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// When something is to be told whether or not more comes until then.
    #[must_use]
    pub fn news_at(&self) -> Option<Instant> {
        let news = self.questions.iter().filter_map(|asked| asked.news_since);
        news.min().map(|since| since + COLLECTING)
    }

    /// Takes a record that is due; it is asked for until its end is told.
    pub fn take(&mut self, now: Instant) -> Option<Arc<Wanted>> {
        if self.agenda.first()?.0 > now {
            return None;
        }
        let (_, wanted) = self.agenda.pop_first()?;
        if let Some(record) = self.records.get_mut(&wanted) {
            record.due = None;
        }
        Some(wanted)
    }

    /// How it ended that a record was asked for; `jitter` is from 0 to 1.
    pub fn end(&mut self, wanted: &Arc<Wanted>, result: Result<Answer, Failure>, now: Instant, jitter: f64) {
        let planned = self.plan_of(wanted);
        // It may have been forgotten and wanted again meanwhile.
        if let Some(planned) = planned {
            self.agenda.remove(&(planned, Arc::clone(wanted)));
        }
        // Nobody wants it any more.
        let Some(record) = self.records.get_mut(wanted) else {
            return;
        };
        let has_succeeded = matches!(result, Ok(Answer::Records(..)));
        record.in_vain = if has_succeeded {
            0
        } else {
            record.in_vain.saturating_add(1)
        };
        let pause = pause_after(record.in_vain.max(1) - 1, (FIRST_PAUSE, LONGEST_PAUSE), jitter);
        let Dns { min_ttl, max_ttl, .. } = *wanted.dns;
        let within = |ttl: Duration| ttl.clamp(min_ttl, max_ttl.max(min_ttl));
        let has_failed = result.is_err();
        let mut has_changed = false;
        let (outcome, error, pause) = match result {
            Ok(Answer::Records(data, ttl)) => {
                has_changed = record.data != data;
                record.data = data;
                record.answered_at = Some(now);
                (Outcome::Good, None, within(ttl))
            }
            Ok(Answer::Nothing { exists, ttl }) => {
                let what = if exists {
                    format!("{} has no record {}", shown(&wanted.name), wanted.kind.name())
                } else {
                    format!("there is no {}", shown(&wanted.name))
                };
                let pause = ttl.map_or(pause, |ttl| within(ttl).max(pause));
                (Outcome::Nothing { exists }, Some(what), pause)
            }
            Err(failure) => {
                let what = format!("{}: {failure}", wanted.shown());
                (Outcome::Failed, Some(what), pause)
            }
        };
        record.outcome = outcome;
        record.error = error;
        record.due = Some(now + pause);
        let for_whom = record.for_whom.clone();
        let planned = self.plan_of(wanted);
        self.agenda
            .extend(planned.map(|planned| (planned, Arc::clone(wanted))));
        for at in for_whom {
            if let Some(asked) = self.questions.get_mut(at) {
                asked.errors += u64::from(has_failed || outcome == Outcome::Nothing { exists: false });
                asked.news_since.get_or_insert(now);
            }
        }
        if wanted.kind == RecordType::Srv && has_changed {
            self.link(now);
        }
    }

    /// What is to be told now: answers that are other ones than before, once all of their parts are there or have been waited
    /// for.
    pub fn news(&mut self, now: Instant) -> Vec<Said> {
        let mut news = Vec::new();
        for at in 0..self.questions.len() {
            let Some(since) = self.questions.get(at).and_then(|asked| asked.news_since) else {
                continue;
            };
            let is_known = |wanted: &Wanted| {
                let record = self.records.get(wanted);
                record.is_some_and(|record| record.outcome != Outcome::Unasked)
            };
            let is_complete = self.wanted_by(at).iter().all(is_known);
            if !is_complete && now < since + COLLECTING {
                continue;
            }
            // A part of which nobody has said anything yet is what it was before.
            let was_told = |wanted: &Wanted| {
                let record = self.records.get(wanted);
                record.is_some_and(|record| {
                    record.answered_at.is_some() || matches!(record.outcome, Outcome::Nothing { .. })
                })
            };
            let is_known_anew = self.wanted_by(at).iter().all(was_told);
            let set = self.set(at);
            let Some(asked) = self.questions.get_mut(at) else {
                continue;
            };
            asked.news_since = None;
            asked.recalled = asked.recalled.take().filter(|_| !is_known_anew);
            let set = match &asked.recalled {
                Some(recalled) => CandidateSet::union([&**recalled, &set]),
                None => set,
            };
            let is_told = asked.told.as_ref().is_some_and(|told| **told == set);
            if set.is_empty() || is_told {
                continue;
            }
            let set = Arc::new(set);
            asked.told = Some(Arc::clone(&set));
            let question = Arc::clone(&asked.question);
            let hosts = Arc::from([]);
            news.push(Said { question, set, hosts });
        }
        news
    }

    /// What all that is known of a question comes to.
    fn set(&self, at: usize) -> CandidateSet {
        let asked = self.questions.get(at);
        asked.map_or_else(CandidateSet::nobody, |asked| self.set_of(&asked.question))
    }

    /// What of questions of before holds for a new one, and is not known by its records: other servers have said it, or those of a
    /// process before this one.
    fn carried(&self, question: &Question, before: &[Asked]) -> Option<Arc<CandidateSet>> {
        let of = |asked: &Asked| {
            let old = &asked.question;
            let recalled = asked.recalled.as_ref();
            let recalled = recalled.and_then(|set| question.carried(old, set));
            let said = if old.dns == question.dns {
                None
            } else if let Some(common) = question.common(old) {
                // By the records of each name: of what was told, an address of two names has but one of them.
                Some(self.set_of(&common))
                    .filter(|set| !set.is_empty())
                    .map(Arc::new)
            } else {
                asked.told.as_ref().and_then(|set| question.carried(old, set))
            };
            [recalled, said].into_iter().flatten()
        };
        let all: Vec<_> = before.iter().flat_map(of).collect();
        let union = || Arc::new(CandidateSet::union(all.iter().map(|set| &**set)));
        (!all.is_empty()).then(union)
    }

    /// What the records of a question come to.
    fn set_of(&self, question: &Question) -> CandidateSet {
        let dns = &question.dns;
        let mut entries: Vec<(SocketAddr, Stated, String)> = Vec::new();
        match &question.ask {
            Ask::Hosts(hosts, family) => {
                for host in hosts.iter().take(MOST_HOSTS) {
                    let Some(name) = name_of(&host.name) else { continue };
                    let addresses = self.addresses(&name, *family, dns, host.port);
                    entries.extend(addresses.map(|addr| (addr, host.stated, host.called().to_owned())));
                }
            }
            Ask::Service(name, family) => {
                let targets = name_of(name).map(|name| self.targets(&name, dns).collect::<Vec<_>>());
                for target in targets.unwrap_or_default() {
                    let stated = Stated {
                        weight: Some(target.weight.try_into().unwrap_or(std::num::NonZeroU16::MIN)),
                        tier: Some(target.priority),
                        max_connections: None,
                    };
                    let called = shown(&target.name);
                    let addresses = self.addresses(&target.name, *family, dns, target.port);
                    entries.extend(addresses.map(|addr| (addr, stated, called.clone())));
                }
            }
            Ask::List(_) => {}
        }
        // Whatever the order of answers, a set says the same.
        entries.sort_by_key(|(addr, ..)| *addr);
        CandidateSet::of_entries(
            entries
                .iter()
                .map(|(addr, stated, name)| (*addr, *stated, Some(name.as_str()))),
        )
    }

    fn addresses(
        &self,
        name: &DnsName,
        family: Family,
        dns: &Arc<Dns>,
        port: u16,
    ) -> impl Iterator<Item = SocketAddr> {
        let records = kinds(family)
            .iter()
            .filter_map(|kind| self.record(name, *kind, dns));
        let records: Vec<&Record> = records.collect();
        let has_any = records.iter().any(|record| record.outcome == Outcome::Good);
        let counts = move |record: &&Record| !(has_any && matches!(record.outcome, Outcome::Nothing { .. }));
        let data = records.into_iter().filter(counts).flat_map(|record| &record.data);
        data.filter_map(move |data| match data {
            Data::Address(ip) => Some(SocketAddr::new(*ip, port)),
            Data::Service(_) => None,
        })
    }

    /// How all providers fare.
    #[must_use]
    pub fn standings(&self) -> BTreeMap<Place, Standing> {
        let standing = |(at, asked): (usize, &Asked)| {
            let mut error = None;
            let mut oldest: Option<Instant> = None;
            let all = self.wanted_by(at);
            // The records of one name stand side by side.
            for of_name in all.chunk_by(|a, b| a.name == b.name && is_address(a.kind) && is_address(b.kind)) {
                let records = of_name.iter().filter_map(|wanted| self.records.get(wanted));
                let records: Vec<&Record> = records.collect();
                let has_any = records.iter().any(|record| record.outcome == Outcome::Good);
                let is_bad = |record: &&&Record| match record.outcome {
                    Outcome::Failed => true,
                    Outcome::Nothing { .. } => !has_any,
                    Outcome::Unasked | Outcome::Good => false,
                };
                let bad = records
                    .iter()
                    .find(is_bad)
                    .and_then(|record| record.error.clone());
                error = error.or(bad);
                let newest = records.iter().filter_map(|record| record.answered_at).max();
                oldest = oldest.into_iter().chain(newest).min();
            }
            let standing = Standing {
                kind: asked.question.kind,
                candidates: asked.told.as_ref().map_or(0, |told| told.len()),
                answered_at: oldest,
                next_at: all.iter().map(|wanted| self.plan_of(wanted)).min().flatten(),
                error,
                errors: asked.errors,
            };
            (asked.question.place.clone(), standing)
        };
        self.questions.iter().enumerate().map(standing).collect()
    }
}

fn is_address(kind: RecordType) -> bool {
    kind != RecordType::Srv
}

fn kinds(family: Family) -> &'static [RecordType] {
    match family {
        Family::Any => &[RecordType::A, RecordType::Aaaa],
        Family::Ipv4 => &[RecordType::A],
        Family::Ipv6 => &[RecordType::Aaaa],
    }
}

/// The records of addresses of a name.
pub(in crate::providers) fn addresses_of(
    name: DnsName,
    family: Family,
    dns: &Arc<Dns>,
) -> impl Iterator<Item = Wanted> {
    kinds(family).iter().map(move |kind| Wanted {
        name: name.clone(),
        kind: *kind,
        dns: Arc::clone(dns),
    })
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
