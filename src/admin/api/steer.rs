//! What changes something: candidates taken out and back in, probes, the level of the log.
//!
//! Nothing here blocks: states are published, and requests left for whoever does them.

use std::net::SocketAddr;
use std::sync::Arc;

use log::LevelFilter;
use serde_json::json;

use crate::admin::page::Page;
use crate::service::admin_state::MAX_WITHDRAWN;
use crate::service::events::What;
use crate::service::{AdminState, Hub, ProbeRequest, Service};

/// Gives a candidate another state.
pub(super) fn set_state(hub: &Hub, service: &Service, backend: SocketAddr, state: AdminState) -> Page {
    let (live, name) = (&service.live, service.name.as_str());
    let states = live.admin.load();
    let was = states.of(&backend);
    let list = live.candidates.load();
    let is_known = list.contains(&backend) || live.active.load().contains(&backend);
    if !is_known && was == AdminState::Ready {
        return Page::error(404, &format!("{backend} is no candidate of service {name}"));
    }
    if state != AdminState::Ready && was == AdminState::Ready {
        let out = states.withdrawn().filter(|(addr, _)| list.contains(addr)).count();
        if list.len() <= out as u128 + 1 {
            let why = format!("{backend} is the last candidate of service {name} that is ready");
            return Page::error(409, &why);
        }
    }
    let Some(next) = states.with(backend, state) else {
        let why = format!("{MAX_WITHDRAWN} candidates of service {name} are out already");
        return Page::error(409, &why);
    };
    if was != state {
        log::info!(
            service = name;
            "{backend}{} of service {name} is set to {} by hand; it was {}",
            list.name_behind(&backend), state.label(), was.label()
        );
        // Before what follows from it is told. This thread is the only one that writes states.
        hub.events
            .tell(Some(&service.name), What::Admin { backend, state });
        live.admin.publish(Arc::new(next));
    }
    let answer = json!({
        "service": name,
        "backend": backend,
        "name": list.name_of(&backend),
        "state": state.label(),
        "was": was.label(),
    });
    Page::json(200, &answer)
}

/// Has a candidate probed next, or everybody anew.
pub(super) fn probe(hub: &Hub, service: &Service, backend: Option<SocketAddr>) -> Page {
    let (live, name) = (&service.live, service.name.as_str());
    if let Some(backend) = backend {
        if !live.candidates.load().contains(&backend) {
            return Page::error(404, &format!("{backend} is no candidate of service {name}"));
        }
        if live.admin.load().is_in_maintenance(&backend) {
            return Page::error(409, &format!("{backend} is in maintenance, and not probed"));
        }
    }
    if live.slumber.load().is_asleep() {
        return Page::error(409, &format!("service {name} is asleep; a client wakes it"));
    }
    let request = backend.map_or(ProbeRequest::All, ProbeRequest::One);
    if !live.probe_requests.ask(request) {
        return Page::error(503, "too many requests wait already").with_header("Retry-After", "1");
    }
    hub.events.tell(Some(&service.name), What::Probe(request));
    Page::json(202, &json!({ "service": name, "backend": backend }))
}

/// The level of the log.
pub(super) fn level() -> Page {
    Page::json(200, &json!({ "level": word(log::max_level()) }))
}

/// Sets the level of the log, until a reload changes the log or the process ends.
pub(super) fn set_level(hub: &Hub, level: LevelFilter) -> Page {
    let was = log::max_level();
    crate::logging::set_level(level);
    if was != level {
        log::info!(
            "the log is set to level {} by hand; it was {}",
            word(level),
            word(was)
        );
        hub.events.tell(None, What::LogLevel(level));
    }
    Page::json(200, &json!({ "level": word(level), "was": word(was) }))
}

fn word(level: LevelFilter) -> String {
    level.as_str().to_lowercase()
}
