//! What has to be asked of others for candidates, what they say, and how they fare.
//!
//! The worker says what is to be asked and takes what was said; the thread of the providers asks. Neither waits for the
//! other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::doorbell::{Doorbell, listeners};
use crate::base::hash;
use crate::base::published::Published;
use crate::candidates::{CandidateSet, Host, Rules};
use crate::config::{Dns, Family, HttpProvider, HttpUrl, ProviderKind, ServiceName};
use crate::tls::Origination;

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
