//! What has to be asked of others for candidates, what they say, and how they fare.
//!
//! The worker says what is to be asked and takes what was said; the thread of the providers asks. Neither waits for the
//! other.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::doorbell::{Doorbell, listeners};
use crate::base::hash;
use crate::base::published::Published;
use crate::candidates::{CandidateSet, Host, Rules};
use crate::config::{Dns, Family, HttpProvider, HttpUrl, ProviderKind, ServiceName};
use crate::tls::Origination;

/// Addresses of one answer that are gone through one by one; who names more is asked anew.
const MOST_FOUND: u128 = 1_000_000;

/// One provider of one service: which service, and the place of the provider in its list.
pub type Place = (ServiceName, usize);

/// What is to be asked for one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// For whom.
    pub place: Place,
    /// Of which type the provider is.
    pub kind: ProviderKind,
    /// What.
    pub ask: Ask,
    /// How DNS is asked.
    pub dns: Arc<Dns>,
}

impl Question {
    /// What tells its answers from those to other questions, beyond this process: a hash of the type of the provider and of
    /// what is asked, whichever place and servers it has.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let asked = match &self.ask {
            // As `is_same_list` has it.
            Ask::List(list) => {
                let (format, pointer) = (list.http.format, &list.http.pointer);
                let HttpUrl {
                    tls,
                    host,
                    port,
                    target,
                } = &list.url;
                format!(
                    "{tls} {host} {port} {target} {format:?} {pointer:?} {:?}",
                    list.rules
                )
            }
            Ask::Hosts(..) | Ask::Service(..) => format!("{:?}", self.ask),
        };
        hash::fnv1a(format!("{:?} {asked}", self.kind).bytes())
    }

    /// The hosts that this question asks for and another one of the same service did, as they were there; none where something
    /// else is asked.
    fn shared(&self, before: &Self) -> Vec<Host> {
        let (Ask::Hosts(hosts, family), Ask::Hosts(known, known_family)) = (&self.ask, &before.ask) else {
            return Vec::new();
        };
        if self.place.0 != before.place.0 || family != known_family {
            return Vec::new();
        }
        let same = |host: &Host| (host.name.to_ascii_lowercase(), host.port);
        let asked: HashSet<_> = hosts.iter().map(same).collect();
        let shared = known.iter().filter(|host| asked.contains(&same(host)));
        shared.cloned().collect()
    }

    /// Whether it asks for some of the hosts that another one of the same service did.
    #[must_use]
    pub fn shares_hosts(&self, before: &Self) -> bool {
        !self.shared(before).is_empty()
    }

    /// Another question of the same service, as far as this one asks for the same hosts; none if it asks for none of them.
    #[must_use]
    pub fn common(&self, before: &Self) -> Option<Self> {
        let Ask::Hosts(_, family) = before.ask else {
            return None;
        };
        let shared = self.shared(before);
        (!shared.is_empty()).then(|| Self {
            ask: Ask::Hosts(shared.into(), family),
            ..before.clone()
        })
    }

    /// What of the answer to another question of the same service, whichever servers and place that had, holds for this one: all
    /// of it, if the same is asked; of hosts, what those have said that both ask for, by their names. None: nothing.
    #[must_use]
    pub fn carried(&self, before: &Self, said: &Arc<CandidateSet>) -> Option<Arc<CandidateSet>> {
        let is_same = self.place.0 == before.place.0 && self.kind == before.kind;
        if is_same && self.ask.is_alike(&before.ask) {
            return Some(Arc::clone(said));
        }
        let shared = self.shared(before);
        // A state file may hold whatever somebody has written there.
        if shared.is_empty() || said.len() > MOST_FOUND {
            return None;
        }
        let called: HashSet<_> = shared.iter().map(|host| (host.called(), host.port)).collect();
        let kept = said.only(|addr, name| name.is_some_and(|name| called.contains(&(name, addr.port()))));
        (!kept.is_empty()).then(|| Arc::new(kept))
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The addresses of hosts.
    Hosts(Arc<[Host]>, Family),
    /// The places of a service, and their addresses.
    Service(String, Family),
    /// A list that stands at a URL.
    List(Arc<RemoteList>),
}

/// A list that stands at a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteList {
    /// Where.
    pub url: HttpUrl,
    /// How it is asked for, when, and what stands there.
    pub http: HttpProvider,
    /// How it is read.
    pub rules: Rules,
    /// How TLS is spoken, if it is.
    pub origination: Option<Arc<Origination>>,
}

impl RemoteList {
    /// Whether two are the same list, however they are asked for: what one has said last is what the other would.
    #[must_use]
    pub fn is_same_list(&self, other: &Self) -> bool {
        let of = |list: &Self| (list.http.format, list.rules);
        self.url == other.url && self.http.pointer == other.http.pointer && of(self) == of(other)
    }
}

impl Ask {
    /// Whether what one has been told holds for the other.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(one), Self::List(other)) => one.is_same_list(other),
            (Self::Hosts(..) | Self::Service(..) | Self::List(_), _) => self == other,
        }
    }
}

/// What one provider says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What was asked; it may not be asked any more.
    pub question: Arc<Question>,
    /// The answer.
    pub set: Arc<CandidateSet>,
    /// The host names in a list, whose addresses are to be looked up; none in what was looked up.
    pub hosts: Arc<[Host]>,
}

/// How one provider fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Of which type it is.
    pub kind: ProviderKind,
    /// Candidates that it has named; those of a list only as far as they were looked up.
    pub candidates: u128,
    /// When the oldest part of what it has said was said or confirmed; none: it has said nothing yet.
    pub answered_at: Option<Instant>,
    /// When the next of its parts is asked for again; none while one is.
    pub next_at: Option<Instant>,
    /// What is wrong with it now; none: all is well, or nothing is known yet.
    pub error: Option<String>,
    /// Looks that have failed, of all its parts.
    pub errors: u64,
}

impl Standing {
    /// The provider in one word, for log, metrics and API: its place in the list and its type.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        self.kind.at(index)
    }

    /// How a provider fares that is asked in two ways: for its list, and for the host names in that.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            kind: self.kind,
            candidates: self.candidates.saturating_add(other.candidates),
            answered_at: self.answered_at.into_iter().chain(other.answered_at).min(),
            next_at: self.next_at.zip(other.next_at).map(|(one, other)| one.min(other)),
            error: self.error.or(other.error),
            errors: self.errors + other.errors,
        }
    }
}

/// Which part of what a provider says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    /// Its list.
    Own,
    /// What was looked up.
    Found,
}

impl Said {
    fn share(&self) -> Share {
        match self.question.ask {
            Ask::List(_) => Share::Own,
            Ask::Hosts(..) | Ask::Service(..) => Share::Found,
        }
    }
}

/// What worker and providers have to tell each other.
#[derive(Debug)]
pub struct Provided {
    /// What is to be asked. Written by the worker; the providers listen.
    pub questions: Arc<Published<Vec<Arc<Question>>>>,
    /// How all providers fare that are asked. Written by the providers.
    pub standings: Published<BTreeMap<Place, Standing>>,
    /// By provider; what was looked up of the host names of its list stands beside the list.
    said: Mutex<BTreeMap<(Place, Share), Said>>,
    /// What providers have said to a process before this one. Written by `app` at the start, taken by the providers.
    recalled: Mutex<Vec<Said>>,
    worker: Arc<Doorbell>,
}

impl Provided {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(worker: Arc<Doorbell>, providers: &Arc<Doorbell>) -> Self {
        Self {
            questions: Arc::new(Published::heard_by(listeners([providers]), Vec::new())),
            standings: Published::new(BTreeMap::new()),
            said: Mutex::default(),
            recalled: Mutex::default(),
            worker,
        }
    }

    /// A provider says something else than before; of what the worker has not taken yet, only the last counts.
    pub fn say(&self, said: Said) {
        let place = (said.question.place.clone(), said.share());
        self.lock().insert(place, said);
        self.worker.ring();
    }

    /// Takes what was said since the last call.
    pub fn take(&self) -> Vec<Said> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    /// Leaves word of what was said to a process before this one; before the first question is asked.
    pub fn recall(&self, said: Vec<Said>) {
        *self.recalled.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    /// Takes that.
    pub fn take_recalled(&self) -> Vec<Said> {
        std::mem::take(&mut *self.recalled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Place, Share), Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(place: usize, names: &[&str], family: Family) -> Question {
        let host = |name: &&str| {
            let (name, remark) = name.split_once('#').unwrap_or((name, ""));
            let remark = (!remark.is_empty()).then(|| remark.to_owned());
            let host = Host::of(name.to_owned(), 80);
            Host { remark, ..host }
        };
        let all: Vec<Host> = names.iter().map(host).collect();
        Question {
            place: (ServiceName::default_service(), place),
            kind: ProviderKind::File,
            ask: Ask::Hosts(all.into(), family),
            dns: Arc::default(),
        }
    }

    #[test]
    fn what_names_have_said_that_stay_holds_for_another_list_of_names() {
        let text = "192.0.2.1:80 weight=3 # a.example\n192.0.2.2:80 # bee\n192.0.2.3:80 # c.example";
        let said = Arc::new(CandidateSet::parse(text, 80).expect("a list"));
        let before = hosts(0, &["a.example", "b.example#bee", "c.example"], Family::Any);
        let carried = |to: &Question| to.carried(&before, &said).map(|set| set.to_lines(9));
        let lines = |text: &[&str]| Some(Some(text.iter().map(|line| (*line).to_owned()).collect()));
        assert_eq!(carried(&before), Some(said.to_lines(9)), "the same question");
        // In another place, in another order, by another remark, in other letters, beside others.
        let two = hosts(1, &["d.example", "B.example#two", "a.example"], Family::Any);
        assert_eq!(
            carried(&two),
            lines(&[
                "192.0.2.1-192.0.2.2:80",
                "192.0.2.1:80 weight=3",
                "192.0.2.1:80 # a.example",
                "192.0.2.2:80 # bee"
            ])
        );
        assert_eq!(
            carried(&hosts(0, &["d.example"], Family::Any)),
            None,
            "none stays"
        );
        assert!(two.shares_hosts(&before) && !hosts(0, &["d.example"], Family::Any).shares_hosts(&before));
        assert_eq!(
            carried(&hosts(0, &["a.example"], Family::Ipv4)),
            None,
            "less is asked"
        );
        let mut other = hosts(0, &["a.example"], Family::Any);
        other.place.0 = ServiceName::parse("other").expect("a name");
        assert_eq!(carried(&other), None, "of another service");
        other.place.0 = ServiceName::default_service();
        other.ask = Ask::Service("a.example".to_owned(), Family::Any);
        assert_eq!(carried(&other), None, "something else is asked");
        let endless = Arc::new(CandidateSet::parse("2001:db8::/64", 80).expect("a list"));
        assert_eq!(two.carried(&before, &endless), None, "nobody has found so many");
    }
}
