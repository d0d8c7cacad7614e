//! Events as they are written: as rows, or as a stream of server-sent events.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::services::footing;
use super::shapes::{rounded, seconds, time};
use crate::candidates::CandidateSet;
use crate::service::events::{Event, Switched, What};
use crate::service::{Directory, ProbeRequest};

/// An event, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    number: u64,
    time: String,
    service: Option<String>,
    kind: &'static str,
    text: String,
    details: Value,
}

impl Written {
    /// An event; names are those that the lists have now.
    pub(super) fn of(event: &Event, directory: &Directory) -> Self {
        let service = event.service.as_ref();
        let service = service.and_then(|name| directory.service(name.as_str()));
        let list = service.map(|service| service.live.candidates.load());
        let names = Names(list.as_deref());
        Self {
            number: event.number,
            time: time(event.at),
            service: event.service.as_ref().map(ToString::to_string),
            kind: kind(&event.what),
            text: text(&event.what, names),
            details: details(&event.what, names),
        }
    }
}

/// The names of addresses, as far as a list has them.
#[derive(Debug, Clone, Copy)]
struct Names<'l>(Option<&'l CandidateSet>);

impl<'l> Names<'l> {
    fn of(self, addr: &SocketAddr) -> Option<&'l str> {
        self.0?.name_of(addr)
    }

    /// An address with its name behind it.
    fn shown(self, addr: &SocketAddr) -> String {
        let name = self.0.map_or_else(String::new, |list| list.name_behind(addr));
        format!("{addr}{name}")
    }
}

/// The same for those who follow: number, kind, and the whole of it.
pub(super) fn stream(events: &[Arc<Event>], directory: &Directory) -> String {
    let mut stream = String::new();
    for event in events {
        let written = Written::of(event, directory);
        // Neither a text nor its escapes have a line feed in JSON.
        let data = serde_json::to_string(&written).unwrap_or_default();
        // Writing to memory cannot fail.
        let _written = write!(
            stream,
            "id: {}\nevent: {}\ndata: {data}\n\n",
            written.number, written.kind
        );
    }
    stream
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Switch(_) => "switch",
        What::Footing(_) => "footing",
        What::Slumber { .. } => "sleep",
        What::LinkDown { .. } => "link_down",
        What::LinkBack { .. } => "link_back",
        What::Uplink => "uplink",
        What::Reloaded { .. } => "reload",
        What::ReloadRefused { .. } => "reload_refused",
        What::Admin { .. } => "admin_state",
        What::Probe(_) => "probe",
        What::ProviderSaid { .. } => "provider",
        What::ProviderFails { .. } => "provider_fails",
        What::ProviderBack { .. } => "provider_back",
        What::LogLevel(_) => "log_level",
    }
}

fn text(what: &What, names: Names<'_>) -> String {
    match what {
        What::Switch(switched) => switch_text(switched, names),
        What::Footing(on) => match footing(*on) {
            "good" => "candidates pass the threshold again".to_owned(),
            "last_good" => "no candidate passes the threshold; the last good set stays".to_owned(),
            _ => "no candidate passes the threshold; the best there are serve".to_owned(),
        },
        What::Slumber { is_asleep: true } => "asleep: nobody has used it for long".to_owned(),
        What::Slumber { is_asleep: false } => "awake".to_owned(),
        What::LinkDown { failed } => {
            format!("our own link seems to be down: {failed} that used to answer fail")
        }
        What::LinkBack { after } => format!("our own link is back after {:.1} s", after.as_secs_f64()),
        What::Uplink => {
            "another way to the network, or the machine has slept: all are looked at anew".to_owned()
        }
        What::Reloaded { changes } if changes.is_empty() => "reloaded: nothing has changed".to_owned(),
        What::Reloaded { changes } => format!("reloaded: {}", changes.join("; ")),
        What::ReloadRefused { faults } => format!("not reloaded: {}", faults.join("; ")),
        What::Admin { backend, state } => format!("{} is {} by hand", names.shown(backend), state.label()),
        What::Probe(ProbeRequest::One(backend)) => format!("{} is probed by hand", names.shown(backend)),
        What::Probe(ProbeRequest::All) => "all are probed anew by hand".to_owned(),
        What::ProviderSaid { provider, candidates } => {
            format!("provider {provider} names {candidates} candidates now")
        }
        What::ProviderFails { provider, why } => {
            format!("provider {provider} fails, what it said last stays in force: {why}")
        }
        What::ProviderBack { provider } => format!("provider {provider} answers again"),
        What::LogLevel(level) => format!("the log is at level {}", level.as_str().to_lowercase()),
    }
}

fn switch_text(switched: &Switched, names: Names<'_>) -> String {
    let shown = |addrs: &[SocketAddr]| {
        let all: Vec<String> = addrs.iter().map(|addr| names.shown(addr)).collect();
        if all.is_empty() {
            "nobody".to_owned()
        } else {
            all.join(", ")
        }
    };
    let (before, after) = switched.means;
    format!(
        "active set changed ({}): in {}; out {}; mean score {before:.1} -> {after:.1}",
        switched.reason.label(),
        shown(&switched.joined),
        shown(&switched.left)
    )
}

fn details(what: &What, names: Names<'_>) -> Value {
    match what {
        What::Switch(switched) => json!({
            "names": named(switched.joined.iter().chain(&switched.left), names),
            "reason": switched.reason.label(),
            "joined": switched.joined,
            "left": switched.left,
            "mean_before": rounded(switched.means.0),
            "mean_after": rounded(switched.means.1),
        }),
        What::Footing(on) => json!({ "footing": footing(*on) }),
        What::Slumber { is_asleep } => json!({ "is_asleep": is_asleep }),
        What::LinkDown { failed } => json!({ "failed": failed }),
        What::LinkBack { after } => json!({ "after_seconds": seconds(*after) }),
        What::Uplink => json!({}),
        What::Reloaded { changes } => json!({ "changes": changes }),
        What::ReloadRefused { faults } => json!({ "faults": faults }),
        What::Admin { backend, state } => {
            json!({ "backend": backend, "name": names.of(backend), "state": state.label() })
        }
        What::Probe(ProbeRequest::One(backend)) => json!({ "backend": backend, "name": names.of(backend) }),
        What::Probe(ProbeRequest::All) => json!({ "backend": null, "name": null }),
        What::ProviderSaid { provider, candidates } => {
            let candidates = u64::try_from(*candidates).unwrap_or(u64::MAX);
            json!({ "provider": provider, "candidates": candidates })
        }
        What::ProviderFails { provider, why } => json!({ "provider": provider, "why": why }),
        What::ProviderBack { provider } => json!({ "provider": provider }),
        What::LogLevel(level) => json!({ "level": level.as_str().to_lowercase() }),
    }
}

/// The names of those who have one.
fn named<'a, 'n>(
    addrs: impl Iterator<Item = &'a SocketAddr>,
    names: Names<'n>,
) -> BTreeMap<SocketAddr, &'n str> {
    addrs.filter_map(|addr| Some((*addr, names.of(addr)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::decide::SwitchReason;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_stream_has_one_frame_an_event_whatever_is_in_it() {
        let what = What::ReloadRefused {
            faults: vec!["a\nb\r\n\n\"c\"".to_owned()],
        };
        let event = |number, what| {
            Arc::new(Event {
                number,
                at: UNIX_EPOCH,
                service: None,
                what,
            })
        };
        let switched = Switched {
            reason: SwitchReason::Fill,
            joined: Vec::new(),
            left: Vec::new(),
            means: (1.0, 2.0),
        };
        let nobody = Directory::empty(crate::reactor::limits::Limits::NONE);
        let stream = stream(&[event(7, what), event(8, What::Switch(switched))], &nobody);
        let frames: Vec<&str> = stream.trim_end().split("\n\n").collect();
        assert_eq!(frames.len(), 2, "{stream}");
        let lines: Vec<&str> = frames[0].lines().collect();
        assert_eq!((lines[0], lines[1]), ("id: 7", "event: reload_refused"));
        let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(data["details"]["faults"][0], "a\nb\r\n\n\"c\"");
        assert!(
            frames[1].contains("in nobody; out nobody; mean score 1.0 -> 2.0"),
            "{stream}"
        );
    }
}
