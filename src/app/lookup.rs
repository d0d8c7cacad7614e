//! What providers say that have to be asked, asked once: for whoever needs candidates and runs no service.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::certificates::{self, Certificates};
use super::lists::{self, Lists};
use crate::base::clock;
use crate::config::{Config, Provider, ServiceName};
use crate::providers::Providers;
use crate::service::Hub;
use crate::service::provided::{Ask, Place, Question, Said};
use crate::state::snapshot::SavedAnswer;

/// Longest wait for all that is asked.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two looks at how far it is.
const STEP: Duration = Duration::from_millis(20);

/// What came of it.
#[derive(Debug, Default)]
pub struct Looked {
    /// Which providers have not said all that they were asked for, and why.
    pub failures: Vec<(String, String)>,
    /// What was said, as a state file keeps it.
    pub answers: Vec<SavedAnswer>,
}

/// Asks the providers of a service that have to be asked, each once, and takes what they say into the lists. It ends by itself, or
/// soon after `is_over`.
///
/// # Errors
/// When the system has no poll or thread to give.
pub fn look_up(
    config: &Config,
    lists: &mut Lists,
    service: &ServiceName,
    is_over: &AtomicBool,
) -> io::Result<Looked> {
    let certificates = credentials(config, service)?;
    let questions = |lists: &Lists| -> Vec<Arc<Question>> {
        let all = lists::questions(config, lists, &certificates).into_iter();
        let its_own = all.filter(|question| question.place.0 == *service);
        its_own.map(Arc::new).collect()
    };
    if questions(lists).is_empty() {
        return Ok(Looked::default());
    }
    let mut failures = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "there is no process of threads here")]
    let rng = fastrand::Rng::new();
    let hub = Arc::new(Hub::new(1, clock::now()));
    let providers = Providers::new(Arc::clone(&hub), rng, RandomState::new())?;
    let thread = std::thread::Builder::new()
        .name("providers".to_owned())
        .spawn(move || providers.run())?;
    let is_settled = wait(&hub, lists, questions, is_over);
    let asked = questions(lists);
    let standings = hub.provided.standings.load();
    for question in &asked {
        let (_, index) = question.place;
        let error = standings
            .get(&question.place)
            .and_then(|standing| standing.error.as_ref());
        let provider = question.kind.at(index);
        match error {
            Some(error) => failures.push((provider, error.clone())),
            None if !is_settled.contains(&question.place) => {
                failures.push((provider, format!("not all is known after {PATIENCE:?}")));
            }
            None => {}
        }
    }
    hub.stop();
    if thread.join().is_err() {
        return Err(io::Error::other("the thread that asks providers panicked"));
    }
    let answers = lists::answers(&asked, lists).remove(service.as_str());
    Ok(Looked {
        failures,
        answers: answers.unwrap_or_default(),
    })
}

/// What is needed to ask the providers of a service by TLS.
fn credentials(config: &Config, service: &ServiceName) -> io::Result<Certificates> {
    let spec = config.services.get(service);
    let mut providers = spec.iter().flat_map(|spec| &spec.remotes.providers);
    if providers.any(|supply| matches!(supply.provider, Provider::Http(_))) {
        certificates::load(config).map_err(io::Error::other)
    } else {
        Ok(Certificates::new())
    }
}

/// Takes in what is said until each provider was asked for all, or the time is over; whose answer is complete.
fn wait(
    hub: &Hub,
    lists: &mut Lists,
    questions: impl Fn(&Lists) -> Vec<Arc<Question>>,
    is_over: &AtomicBool,
) -> BTreeSet<Place> {
    let until = clock::now() + PATIENCE;
    let mut asked = questions(lists);
    hub.provided.questions.publish(Arc::new(asked.clone()));
    // The host names of whose lists nobody has said anything about yet.
    let mut unheard = BTreeSet::new();
    loop {
        let now = clock::now();
        // What is said is left before anybody is told how a provider fares.
        let standings = hub.provided.standings.load();
        let said = hub.provided.take();
        let has_lists = said.iter().any(|said| matches!(said.question.ask, Ask::List(_)));
        for said in said {
            take(said, lists, &mut unheard);
        }
        if has_lists {
            asked = questions(lists);
            hub.provided.questions.publish(Arc::new(asked.clone()));
        }
        // Who has something to be asked for later, and nothing now, was asked for all.
        let is_settled = |place: &&Place| {
            standings.get(*place).is_some_and(|standing| {
                let is_heard = !unheard.contains(*place) || standing.error.is_some();
                is_heard && standing.next_at.is_some_and(|at| at > now)
            })
        };
        let places: BTreeSet<&Place> = asked.iter().map(|question| &question.place).collect();
        let settled: BTreeSet<Place> = places.iter().copied().filter(is_settled).cloned().collect();
        if settled.len() == places.len() || now >= until || is_over.load(Ordering::Relaxed) {
            return settled;
        }
        hub.bells.worker.wait(Some(now + STEP));
    }
}

/// Takes in what a provider says.
fn take(said: Said, lists: &mut Lists, unheard: &mut BTreeSet<Place>) {
    let place = said.question.place.clone();
    let Some(listed) = lists.get_mut(&place.0) else {
        return;
    };
    if let Ask::List(_) = said.question.ask {
        if !said.hosts.is_empty() {
            unheard.insert(place.clone());
        }
    } else {
        unheard.remove(&place);
    }
    listed.hear(said);
}
