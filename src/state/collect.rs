//! What all services know, as it is to be saved. Reads what each thread has published, and locks each board for as long as its rows
//! are copied.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::snapshot::{MAX_MEMBERS, MAX_ROWS, SavedAnswer, SavedLifetime, ServiceState, State, wall_ms};
use crate::backend::Backend;
use crate::service::directory::Service;
use crate::service::id::ServiceId;

/// How far the services have come since they were made: equal while nothing has changed that would be saved.
pub type Progress = Vec<(ServiceId, u64, u64)>;

/// How far each service has come that has come anywhere.
#[must_use]
pub fn progress(services: &[Arc<Service>]) -> Progress {
    let progress = services.iter().map(|service| {
        let live = &service.live;
        let board = live.board.read().unwrap_or_else(PoisonError::into_inner);
        (live.id, board.changes(), live.active.version())
    });
    // A set that was recalled alone is no news.
    progress.filter(|(_, changes, _)| *changes > 0).collect()
}

/// What providers that are asked have said last, by service.
pub type Answers = BTreeMap<String, Vec<SavedAnswer>>;

/// What is known now.
#[must_use]
pub fn collect(services: &[Arc<Service>], mut answers: Answers, now: Instant, wall: SystemTime) -> State {
    let named = |service: &Arc<Service>| {
        let name = service.name.as_str().to_owned();
        let answers = answers.remove(&name).unwrap_or_default();
        let state = ServiceState {
            answers,
            ..of(service, now)
        };
        (name, state)
    };
    State {
        saved_at_ms: wall_ms(wall),
        services: services.iter().map(named).collect(),
    }
}

fn of(service: &Service, now: Instant) -> ServiceState {
    let live = &service.live;
    let active = live.active.load();
    let members = active.backends.iter().take(MAX_MEMBERS);
    let lifetime = |backend: &Arc<Backend>| {
        let life: Duration = backend.learned.shortened_life()?;
        Some(SavedLifetime {
            addr: backend.addr,
            life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
        })
    };
    let board = live.board.read().unwrap_or_else(PoisonError::into_inner);
    ServiceState {
        rows: board.save(MAX_ROWS, now),
        active: members.clone().map(|backend| backend.addr).collect(),
        lifetimes: members.filter_map(lifetime).collect(),
        answers: Vec::new(),
    }
}
