//! Which lists at URLs are asked for, when, and what they say. Pure.
//!
//! Owns one entry for each list that anybody wants, however many do. Knows no sockets. What a list has said last stays in force
//! until it says something else: nothing that fails takes it away.
//!
//! A service that is asleep has nothing fetched but at the times of its looks; what is due until then waits for that, or for the
//! service to wake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Fault, Validators};
use super::document;
use super::request::Known;
use crate::candidates::{CandidateSet, Host};
use crate::config::{Dns, HttpUrl};
use crate::providers::backoff::pause_after;
use crate::providers::slumber::{self, Asleep};
use crate::service::provided::{Ask, Place, Question, RemoteList, Said, Standing};

/// First and longest pause after a failure; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Tells one list from all others of this process.
pub type ListId = u64;

/// A list that is to be asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// Which.
    pub id: ListId,
    /// Where and how.
    pub list: Arc<RemoteList>,
    /// How names are looked up.
    pub dns: Arc<Dns>,
    /// The version that is known.
    pub known: Option<Arc<Known>>,
}

/// What a look at a list has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// What stands at the URL, after all redirects, and what tells it from other versions.
    Document(Vec<u8>, HttpUrl, Validators),
    /// It is what it was.
    Unchanged,
}

/// Why a look at a list has brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub why: String,
    /// When to ask again, where the server says so.
    pub retry: Option<Duration>,
}

impl Trouble {
    /// Anything.
    #[must_use]
    pub fn of(why: String) -> Self {
        Self { why, retry: None }
    }

    /// An answer of this server that is none.
    #[must_use]
    pub fn of_answer(url: &HttpUrl, fault: &Fault) -> Self {
        let retry = if let Fault::Status(_, retry) = fault {
            *retry
        } else {
            None
        };
        let why = format!("{} {fault}", url.authority());
        Self { why, retry }
    }
}

/// What a list has said last.
#[derive(Debug, Clone)]
struct Held {
    set: Arc<CandidateSet>,
    hosts: Arc<[Host]>,
    remarks: Arc<[String]>,
    /// When it was said or confirmed.
    at: Instant,
    known: Option<Arc<Known>>,
    /// Counts what it has said.
    version: u64,
}

/// A list that somebody wants.
#[derive(Debug)]
struct Source {
    id: ListId,
    list: Arc<RemoteList>,
    dns: Arc<Dns>,
    /// Who wants it, and which version they have been told.
    askers: Vec<(Arc<Question>, u64)>,
    /// When it is due; none while it is asked for.
    due: Option<Instant>,
    /// Whether it was ever asked for.
    is_known: bool,
    /// Looks in a row that have failed.
    in_vain: u32,
    error: Option<String>,
    errors: u64,
    held: Option<Held>,
}

/// Something new that a list says.
#[derive(Debug)]
pub struct News {
    /// To whom, and what.
    pub said: Said,
    /// What people should know of it, a line each.
    pub remarks: Arc<[String]>,
}

/// All lists that anybody wants.
#[derive(Debug, Default)]
pub struct Agenda {
    sources: Vec<Source>,
    next: ListId,
    /// The services that are asleep, and when they have their looks.
    asleep: Asleep,
}

impl Agenda {
    /// Asks for these lists from now on, and for no others. One that is asked for otherwise than before is looked at anew, and
    /// says until then what it said.
    pub fn follow(&mut self, questions: &[Arc<Question>], now: Instant) {
        let mut before = std::mem::take(&mut self.sources);
        for question in questions {
            let Ask::List(list) = &question.ask else {
                continue;
            };
            let is_it = |source: &Source| source.list == *list && source.dns == question.dns;
            let at = self.sources.iter().position(is_it).unwrap_or_else(|| {
                let known = before.iter().position(is_it);
                let known = known.map(|known| before.swap_remove(known));
                self.next += 1;
                let source = known.unwrap_or_else(|| {
                    let alike = before.iter().find(|source| source.list.is_same_list(list));
                    Source::new(self.next, (list, &question.dns), alike, now)
                });
                self.sources.push(source);
                self.sources.len() - 1
            });
            if let Some(source) = self.sources.get_mut(at) {
                // Whoever does not want it any more is forgotten below.
                if source.askers.iter().all(|(known, _)| known != question) {
                    source.askers.push((Arc::clone(question), 0));
                }
            }
        }
        for source in &mut self.sources {
            source.askers.retain(|(known, _)| questions.contains(known));
        }
    }

    /// Whether a list is still wanted.
    #[must_use]
    pub fn wants(&self, id: ListId) -> bool {
        self.sources.iter().any(|source| source.id == id)
    }

    /// These services are asleep now, and no others; whether that is news.
    pub fn rest(&mut self, asleep: &Asleep) -> bool {
        let is_news = *asleep != self.asleep;
        if is_news {
            self.asleep.clone_from(asleep);
        }
        is_news
    }

    /// When a list is asked for: when it is due, or if all who want it are asleep, at the next of their looks. What nobody has
    /// asked for yet does not wait.
    fn planned_at(&self, source: &Source) -> Option<Instant> {
        let due = source.due?;
        if !source.is_known {
            return Some(due);
        }
        let looks = |(question, _): &(Arc<Question>, u64)| self.asleep.get(&question.place.0).copied();
        Some(slumber::planned_at(due, source.askers.iter().map(looks)))
    }

    /// When the next list is asked for.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        let planned = self.sources.iter().filter_map(|source| self.planned_at(source));
        planned.min()
    }

    /// Takes the list whose time came first; it is asked for until its end is told.
    pub fn take(&mut self, now: Instant) -> Option<Order> {
        let planned = self.sources.iter().enumerate();
        let planned = planned.filter_map(|(index, source)| Some((self.planned_at(source)?, index)));
        let (_, index) = planned.min().filter(|(at, _)| *at <= now)?;
        let source = self.sources.get_mut(index)?;
        source.due = None;
        Some(Order {
            id: source.id,
            list: Arc::clone(&source.list),
            dns: Arc::clone(&source.dns),
            known: source.held.as_ref().and_then(|held| held.known.clone()),
        })
    }

    /// How it ended that a list was asked for; `jitter` is from 0 to 1.
    pub fn end(&mut self, id: ListId, result: Result<Fetched, Trouble>, now: Instant, jitter: f64) {
        let Some(source) = self.sources.iter_mut().find(|source| source.id == id) else {
            return;
        };
        let result = result.and_then(|fetched| source.take_in(fetched, now).map_err(Trouble::of));
        let jitter = jitter.clamp(0.0, 1.0);
        source.is_known = true;
        let pause = match result {
            Ok(()) => {
                source.in_vain = 0;
                source.error = None;
                source.list.http.interval.mul_f64(0.9 + jitter / 5.0)
            }
            Err(Trouble { why, retry }) => {
                let pause = pause_after(source.in_vain, (FIRST_PAUSE, LONGEST_PAUSE), jitter);
                source.in_vain = source.in_vain.saturating_add(1);
                source.error = Some(why);
                source.errors += 1;
                pause.max(retry.unwrap_or_default())
            }
        };
        source.due = Some(now + pause);
    }

    /// What is to be told now: to each who wants a list, what it says that they have not been told.
    pub fn news(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        for source in &mut self.sources {
            let Some(held) = &source.held else { continue };
            for (question, told) in &mut source.askers {
                if *told == held.version {
                    continue;
                }
                *told = held.version;
                news.push(News {
                    said: Said {
                        question: Arc::clone(question),
                        set: Arc::clone(&held.set),
                        hosts: Arc::clone(&held.hosts),
                    },
                    remarks: Arc::clone(&held.remarks),
                });
            }
        }
        news
    }

    /// How all providers fare that are such lists.
    #[must_use]
    pub fn standings(&self) -> BTreeMap<Place, Standing> {
        let of_source = |source: &Source| {
            let held = source.held.as_ref();
            let standing = |question: &Question| Standing {
                kind: question.kind,
                candidates: held.map_or(0, |held| held.set.len()),
                answered_at: held.map(|held| held.at),
                next_at: self.planned_at(source),
                error: source.error.clone(),
                errors: source.errors,
            };
            let askers = source.askers.iter();
            let all = askers.map(|(question, _)| (question.place.clone(), standing(question)));
            all.collect::<Vec<_>>()
        };
        self.sources.iter().flat_map(of_source).collect()
    }
}

impl Source {
    /// One that is asked for at once; `alike` is the same list as it was asked for before.
    fn new(
        id: ListId,
        (list, dns): (&Arc<RemoteList>, &Arc<Dns>),
        alike: Option<&Self>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            list: Arc::clone(list),
            dns: Arc::clone(dns),
            askers: Vec::new(),
            due: Some(now),
            is_known: false,
            in_vain: 0,
            error: alike.and_then(|source| source.error.clone()),
            errors: alike.map_or(0, |source| source.errors),
            held: alike.and_then(|source| source.held.clone()),
        }
    }

    /// Takes in what a look has brought, or says why it is none.
    fn take_in(&mut self, fetched: Fetched, now: Instant) -> Result<(), String> {
        let (bytes, url, validators) = match fetched {
            Fetched::Document(bytes, url, validators) => (bytes, url, validators),
            Fetched::Unchanged => {
                if let Some(held) = &mut self.held {
                    held.at = now;
                }
                return Ok(());
            }
        };
        let document = document::read(&bytes, &self.list);
        let document = document.map_err(|why| format!("{}: {why}", url.authority()))?;
        let known = Some(Arc::new(Known { url, validators }));
        let before = self.held.as_ref();
        let version = before.map_or(1, |before| {
            let is_same = *before.set == document.list.set && *before.hosts == *document.list.hosts;
            before.version + u64::from(!is_same)
        });
        self.held = Some(Held {
            set: Arc::new(document.list.set),
            hosts: document.list.hosts.into(),
            remarks: document.remarks.into(),
            at: now,
            known,
            version,
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "agenda_tests.rs"]
mod tests;
