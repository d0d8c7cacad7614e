//! What providers say that have to be asked, asked once: for whoever needs candidates and runs no service.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::lists::{self, Lists};
use crate::base::clock;
use crate::config::{Config, ServiceName};
use crate::providers::Providers;
use crate::service::Hub;
use crate::service::provided::{Place, Question};
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
    let all = lists::questions(config, lists).into_iter();
    let its_own = all.filter(|question| question.place.0 == *service);
    let questions: Vec<Arc<Question>> = its_own.map(Arc::new).collect();
    if questions.is_empty() {
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
    hub.provided.questions.publish(Arc::new(questions.clone()));
    let is_settled = wait(&hub, lists, &questions, is_over);
    let standings = hub.provided.standings.load();
    for question in &questions {
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
    let answers = lists::answers(&questions, lists).remove(service.as_str());
    Ok(Looked {
        failures,
        answers: answers.unwrap_or_default(),
    })
}

/// Takes in what is said until each provider was asked for all, or the time is over; whose answer is complete.
fn wait(hub: &Hub, lists: &mut Lists, questions: &[Arc<Question>], is_over: &AtomicBool) -> BTreeSet<Place> {
    let until = clock::now() + PATIENCE;
    loop {
        let now = clock::now();
        // What is said is left before anybody is told how a provider fares.
        let standings = hub.provided.standings.load();
        for said in hub.provided.take() {
            let (name, index) = &said.question.place;
            if let Some(listed) = lists.get_mut(name) {
                listed.find(*index, said.set);
            }
        }
        // Who has something to be asked for later, and nothing now, was asked for all.
        let is_settled = |place: &&Place| {
            let next_at = standings.get(*place).and_then(|standing| standing.next_at);
            next_at.is_some_and(|at| at > now)
        };
        let places = questions.iter().map(|question| &question.place);
        let settled: BTreeSet<Place> = places.filter(is_settled).cloned().collect();
        if settled.len() == questions.len() || now >= until || is_over.load(Ordering::Relaxed) {
            return settled;
        }
        hub.bells.worker.wait(Some(now + STEP));
    }
}
