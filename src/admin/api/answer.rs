//! What is answered to whoever may ask: the page of each resource.
//!
//! Reads what others publish; what changes something is left for others, or published.

use std::sync::Arc;
use std::time::Instant;

use log::LevelFilter;
use serde_json::json;

use super::document::DOCUMENT;
use super::explain::{self, Pause, Present};
use super::places::Occupancy;
use super::query::{MOST_ROWS, Query};
use super::resource::Resource;
use super::shapes::no_service;
use super::{candidates, config, connections, events, fleet, services, space, steer};
use crate::admin::page::Page;
use crate::scorer::link::Phase as LinkPhase;
use crate::service::events::Event;
use crate::service::{Hub, Service};

/// What becomes of a request.
pub(in crate::admin) enum Outcome {
    Page(Page),
    /// Events are followed from the one after this number on.
    Follow(u64),
    /// So many connections are told of, by reactors that are asked first.
    Connections(usize),
}

/// How a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Wish {
    /// To be told.
    Look,
    /// To change something.
    Change,
}

/// The answer to whoever may have it.
pub(in crate::admin) fn answer(
    hub: &Hub,
    resource: &Resource,
    wish: Wish,
    (query, last_event): (&str, Option<&str>),
    now: Instant,
) -> Outcome {
    let outcome = Query::parse(query).and_then(|query| tell(hub, resource, wish, (query, last_event), now));
    outcome.unwrap_or_else(|why| Outcome::Page(Page::error(400, &why)))
}

fn tell(
    hub: &Hub,
    resource: &Resource,
    wish: Wish,
    (mut query, last_event): (Query, Option<&str>),
    now: Instant,
) -> Result<Outcome, String> {
    let page = match resource {
        Resource::Document => {
            query.end()?;
            Page::typed("application/json", vec![DOCUMENT.to_owned()])
        }
        Resource::Services => {
            let asked = services::Asked::of(&mut query)?;
            query.end()?;
            Page::json(200, &services::some(&hub.directory.load(), &asked))
        }
        Resource::Service(name) => {
            query.end()?;
            let (directory, standings) = (hub.directory.load(), hub.provided.standings.load());
            of_known(hub, name, |one| {
                Page::json(200, &services::one((&directory, &standings), one, now))
            })
        }
        Resource::Candidates(name) => {
            let asked = candidates::Asked::of(&mut query)?;
            query.end()?;
            of_known(hub, name, |one| {
                Page::json(200, &candidates::page(one, &asked, now))
            })
        }
        Resource::Explain(name) => {
            query.end()?;
            of_known(hub, name, |one| explanation(hub, one, now))
        }
        Resource::Space(name) => {
            query.end()?;
            of_known(hub, name, |one| Page::json(200, &space::page(one, now)))
        }
        Resource::Config => {
            let name = query.take("service");
            query.end()?;
            config::page(hub, name.as_deref())
        }
        Resource::Connections => {
            let limit = query.take_limit(connections::USUAL, connections::MOST)?;
            query.end()?;
            return Ok(Outcome::Connections(limit));
        }
        Resource::Fleet => {
            query.end()?;
            Page::json(200, &fleet::page(hub, now))
        }
        Resource::Events => return happened(hub, query, last_event),
        Resource::Level => match wish {
            Wish::Look => {
                query.end()?;
                steer::level()
            }
            Wish::Change => {
                let level = query.take_name("level", &LEVELS)?.ok_or("level: is missing")?;
                query.end()?;
                steer::set_level(hub, level)
            }
        },
        Resource::State(name, state) => {
            let backend = query.take_backend()?.ok_or("backend: is missing")?;
            query.end()?;
            of_service(hub, name, |one| steer::set_state(hub, one, backend, *state))
        }
        Resource::Probe(name) => {
            let backend = query.take_backend()?;
            query.end()?;
            of_service(hub, name, |one| steer::probe(hub, one, backend))
        }
    };
    Ok(Outcome::Page(page))
}

const LEVELS: [(&str, LevelFilter); 5] = [
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
];

/// Looks at a service, be it one that has left and still has relays.
fn of_known(hub: &Hub, name: &str, page: impl FnOnce(&Service) -> Page) -> Page {
    match hub.directory.load().known(name) {
        Some(service) => page(&service),
        None => no_service(name),
    }
}

/// Changes something of a service that serves.
fn of_service(hub: &Hub, name: &str, page: impl FnOnce(&Service) -> Page) -> Page {
    match hub.directory.load().service(name) {
        Some(service) => page(service),
        None => no_service(name),
    }
}

fn explanation(hub: &Hub, service: &Service, now: Instant) -> Page {
    let pause = if hub.link.load().phase == LinkPhase::Down {
        Some(Pause::LinkDown)
    } else {
        let is_asleep = service.live.slumber.load().is_asleep();
        is_asleep.then_some(Pause::Asleep)
    };
    let record = service.live.record.load();
    let present = Present {
        pause,
        occupancy: Occupancy::of(service),
    };
    let explanation = explain::explain(service.name.as_str(), (*record).as_ref(), &present, now);
    Page::json(200, &explanation)
}

fn happened(hub: &Hub, mut query: Query, last_event: Option<&str>) -> Result<Outcome, String> {
    let follows = query
        .take_name("follow", &[("0", false), ("1", true)])?
        .unwrap_or(false);
    let since = query.take_since()?;
    let limit = query.take_limit(MOST_ROWS, MOST_ROWS)?;
    query.end()?;
    if follows {
        // Whoever comes back goes on where it was, and whoever is new hears what comes.
        let seen = last_event.and_then(|number| number.trim().parse().ok()).or(since);
        return Ok(Outcome::Follow(seen.unwrap_or_else(|| hub.events.told())));
    }
    let events = hub.events.after(since.unwrap_or(0));
    let directory = hub.directory.load();
    let newest = events
        .get(events.len().saturating_sub(limit)..)
        .unwrap_or_default();
    let written: Vec<_> = newest
        .iter()
        .map(|event| events::Written::of(event, &directory))
        .collect();
    Ok(Outcome::Page(Page::json(200, &json!({ "events": written }))))
}

/// What a follower is sent.
pub(in crate::admin) fn stream(hub: &Hub, events: &[Arc<Event>]) -> String {
    events::stream(events, &hub.directory.load())
}
