//! What has to be asked of others for candidates, what they say, and how they fare.
//!
//! The worker says what is to be asked and takes what was said; the thread of the providers asks. Neither waits for the
//! other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::doorbell::{Doorbell, listeners};
use crate::base::published::Published;
use crate::candidates::{CandidateSet, Host};
use crate::config::{Dns, Family, ProviderKind, ServiceName};

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

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The addresses of hosts.
    Hosts(Arc<[Host]>, Family),
    /// The places of a service, and their addresses.
    Service(String, Family),
}

/// What one provider says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What was asked; it may not be asked any more.
    pub question: Arc<Question>,
    /// The answer.
    pub set: Arc<CandidateSet>,
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
}

/// What worker and providers have to tell each other.
#[derive(Debug)]
pub struct Provided {
    /// What is to be asked. Written by the worker; the providers listen.
    pub questions: Arc<Published<Vec<Arc<Question>>>>,
    /// How all providers fare that are asked. Written by the providers.
    pub standings: Published<BTreeMap<Place, Standing>>,
    said: Mutex<BTreeMap<Place, Said>>,
    worker: Arc<Doorbell>,
}

impl Provided {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(worker: Arc<Doorbell>, providers: Arc<Doorbell>) -> Self {
        Self {
            questions: Arc::new(Published::heard_by(listeners([&providers]), Vec::new())),
            standings: Published::new(BTreeMap::new()),
            said: Mutex::default(),
            worker,
        }
    }

    /// A provider says something else than before; of what the worker has not taken yet, only the last counts.
    pub fn say(&self, said: Said) {
        self.lock().insert(said.question.place.clone(), said);
        self.worker.ring();
    }

    /// Takes what was said since the last call.
    pub fn take(&self) -> Vec<Said> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
