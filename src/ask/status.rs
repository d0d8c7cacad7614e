//! How a process and its services stand, in words. Pure.

use std::net::SocketAddr;

use super::answers::{Certificate, Fault, Fleet, Provider, Reload, Standing, Status, Withdrawn};
use super::words::{Layout, Paper, count, name_behind, span};

/// The page on this paper.
pub(super) fn page(status: &Status, paper: Paper) -> String {
    let mut layout = Layout::new(paper);
    layout.say(
        "",
        &format!(
            "tcp-forwarder {}, process {}, up {}",
            status.version,
            status.pid,
            span(status.uptime_seconds)
        ),
    );
    if status.is_stopping {
        layout.say(
            "",
            "it stops: nobody is accepted any more, and what is open may finish",
        );
    }
    if let Some(reload) = &status.last_reload {
        reloaded(&mut layout, reload);
    }
    if status.restart_needed {
        layout.say("", "something of the configuration waits for a new process");
    }
    if let Some(fleet) = &status.fleet {
        shared(&mut layout, fleet);
    }
    for service in &status.services {
        layout.gap();
        standing(&mut layout, service);
    }
    layout.end()
}

fn shared(layout: &mut Layout, fleet: &Fleet) {
    let words = if fleet.is_connected {
        let others = count(fleet.nodes, "other node");
        format!("{others}, {} of this vantage", fleet.near)
    } else {
        let why = fleet.failure.as_deref().unwrap_or("no exchange yet");
        format!("nothing is shared: {why}")
    };
    layout.say("", &format!("fleet {}: {words}", fleet.cluster));
}

fn reloaded(layout: &mut Layout, reload: &Reload) {
    let changes = match reload.changes.as_slice() {
        [] if reload.errors.is_empty() => ": nothing had changed".to_owned(),
        [] => String::new(),
        changes => format!(": {}", changes.join("; ")),
    };
    layout.say(
        "",
        &format!("last reload {} at {}{changes}", reload.result, reload.time),
    );
    for Fault {
        file,
        line,
        key,
        message,
    } in &reload.errors
    {
        let file = file.as_ref().map_or_else(String::new, |file| match line {
            Some(line) => format!("{file}:{line}: "),
            None => format!("{file}: "),
        });
        layout.say("  ", &format!("{file}{key}: {message}"));
    }
}

fn standing(layout: &mut Layout, service: &Standing) {
    let asleep = if service.is_asleep { ", asleep" } else { "" };
    let leaving = if service.is_leaving { ", leaving" } else { "" };
    let fallback = if service.is_fallback {
        ", none of which passes the threshold"
    } else {
        ""
    };
    let members = count(service.active_set.len() as u64, "member");
    let connections = count(service.connections, "connection");
    let queued = of_them(service.queued, "in the queue for a place");
    let full = of_them(service.full, "full");
    layout.say(
        "",
        &format!(
            "{}: {connections}{queued}, {members}{full}{fallback}{asleep}{leaving}",
            service.name
        ),
    );
    layout.say("  listens  ", &list(&service.listen_addrs));
    let named = |addr: &SocketAddr| format!("{addr}{}", name_behind(service.names.get(addr)));
    let members: Vec<String> = service.active_set.iter().map(named).collect();
    layout.say("  members  ", &list(&members));
    if !service.withdrawn.is_empty() {
        let one = |out: &Withdrawn| format!("{}{} ({})", out.addr, name_behind(out.name.as_ref()), out.state);
        let all: Vec<String> = service.withdrawn.iter().map(one).collect();
        layout.say("  taken out ", &list(&all));
    }
    for provider in &service.providers {
        provided(layout, provider);
    }
    for certificate in &service.certificates {
        shown_to_clients(layout, certificate);
    }
}

/// What clients are shown, and how long they will believe it.
fn shown_to_clients(layout: &mut Layout, certificate: &Certificate) {
    let Certificate {
        path,
        names,
        expires,
        expires_in_seconds: left,
    } = certificate;
    let left = match u64::try_from(*left) {
        Ok(left) => format!(", in {}", span(left)),
        Err(_) => format!(", expired {} ago", span(left.unsigned_abs())),
    };
    let names = if names.is_empty() {
        "no names".to_owned()
    } else {
        names.join(" ")
    };
    layout.say(
        "  certificate ",
        &format!("{path} for {names}, until {expires}{left}"),
    );
}

/// How many of those that were just named are so, if any is.
fn of_them(number: u64, how: &str) -> String {
    match number {
        0 => String::new(),
        some => format!(" ({some} of them {how})"),
    }
}

/// What a provider names, and how it fares.
fn provided(layout: &mut Layout, provider: &Provider) {
    let age = provider
        .answered_seconds_ago
        .map_or_else(String::new, |age| format!(", {age:.0} s old"));
    let next = provider
        .next_seconds
        .map_or_else(String::new, |next| format!(", asked again in {next:.0} s"));
    let error = provider
        .error
        .as_ref()
        .map_or_else(String::new, |error| format!("; it fails: {error}"));
    let Provider {
        id,
        source,
        candidates,
        ..
    } = provider;
    let ending = if (*candidates - 1.0).abs() < 0.5 { "" } else { "s" };
    layout.say(
        "  provider ",
        &format!("{id} {source}: {candidates:.0} candidate{ending}{age}{next}{error}"),
    );
}

fn list(all: &[impl ToString]) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Letters;
    use serde_json::json;

    fn shown(width: Option<usize>) -> String {
        let paper = Paper {
            width,
            letters: Letters::Ascii,
        };
        let status = json!({
            "version": "0.1.0", "pid": 7, "started": "x", "uptime_seconds": 3_725, "restart_needed": true,
            "last_reload": {
                "result": "failure", "time": "2026-11-27T00:00:00.000Z", "changes": [],
                "errors": [{ "file": "a.yaml", "line": 3, "key": "server.x", "message": "unknown key" }],
            },
            "services": [
                {
                    "name": "web", "listen_addrs": ["127.0.0.1:1234"], "is_fallback": true, "is_asleep": false,
                    "active_set": ["192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443"], "connections": 1,
                    "names": { "192.0.2.2:443": "hk1" },
                    "providers": [
                        {
                            "provider": "0:file", "source": "a.txt", "candidates": 1, "answered_seconds_ago": null,
                            "next_seconds": null, "error": null,
                        },
                        {
                            "provider": "1:dns", "source": "a.example", "candidates": 3, "answered_seconds_ago": 61.4,
                            "next_seconds": 2.5, "error": "there is no a.example",
                        },
                    ],
                },
                {
                    "name": "db", "listen_addrs": [], "is_fallback": false, "is_asleep": false,
                    "active_set": ["192.0.2.1:443", "192.0.2.2:443"], "connections": 20, "queued": 5, "full": 2,
                    "withdrawn": [
                        { "addr": "192.0.2.3:443", "name": null, "state": "drain" },
                        { "addr": "192.0.2.4:443", "name": "hk2", "state": "maintenance" },
                    ],
                    "certificates": [
                        {
                            "path": "a.pem", "names": ["a.example", "b.example"], "expires": "2027-01-02T00:00:00Z",
                            "expires_in_seconds": 90_061,
                        },
                        { "path": "b.pem", "names": [], "expires": "2026-01-02T00:00:00Z", "expires_in_seconds": -3_661 },
                    ],
                },
                { "name": "old", "listen_addrs": [], "is_fallback": false, "is_asleep": true, "active_set": [], "connections": 0 },
            ],
        });
        page(&serde_json::from_value(status).expect("a status"), paper)
    }

    #[test]
    fn a_line_says_one_thing_where_nothing_breaks_it() {
        assert_eq!(
            shown(None),
            "tcp-forwarder 0.1.0, process 7, up 1h 2m\n\
             last reload failure at 2026-11-27T00:00:00.000Z\n  a.yaml:3: server.x: unknown key\n\
             something of the configuration waits for a new process\n\n\
             web: 1 connection, 3 members, none of which passes the threshold\n  listens  127.0.0.1:1234\n  \
             members  192.0.2.1:443 192.0.2.2:443 (hk1) 192.0.2.3:443\n  provider 0:file a.txt: 1 candidate\n  \
             provider 1:dns a.example: 3 candidates, 61 s old, asked again in 2 s; it fails: there is no a.example\n\n\
             db: 20 connections (5 of them in the queue for a place), 2 members (2 of them full)\n  listens  none\n  \
             members  192.0.2.1:443 192.0.2.2:443\n  taken out 192.0.2.3:443 (drain) 192.0.2.4:443 (hk2) (maintenance)\n  \
             certificate a.pem for a.example b.example, until 2027-01-02T00:00:00Z, in 1day 1h\n  \
             certificate b.pem for no names, until 2026-01-02T00:00:00Z, expired 1h 1m ago\n\n\
             old: 0 connections, 0 members, asleep\n  listens  none\n  members  none\n"
        );
    }

    #[test]
    fn the_fleet_has_a_line() {
        let line = |fleet: serde_json::Value| {
            let status = json!({
                "version": "0.1.0", "pid": 7, "uptime_seconds": 5, "restart_needed": false, "last_reload": null,
                "services": [], "fleet": fleet,
            });
            let paper = Paper {
                width: None,
                letters: Letters::Any,
            };
            let shown = page(&serde_json::from_value(status).expect("a status"), paper);
            shown.lines().nth(1).map(str::to_owned)
        };
        let fleet = |is_connected, failure: Option<&str>| json!({ "cluster": "edges", "is_connected": is_connected, "nodes": 2, "near": 1, "failure": failure });
        assert_eq!(
            line(fleet(true, None)).as_deref(),
            Some("fleet edges: 2 other nodes, 1 of this vantage")
        );
        assert_eq!(
            line(fleet(false, Some("it takes too long"))).as_deref(),
            Some("fleet edges: nothing is shared: it takes too long")
        );
        assert_eq!(line(json!(null)), None);
    }

    #[test]
    fn a_stop_says_what_is_still_open() {
        let status = json!({
            "version": "0.1.0", "pid": 7, "uptime_seconds": 5, "is_stopping": true, "restart_needed": false, "last_reload": null,
            "fleet": null,
            "services": [
                { "name": "web", "listen_addrs": [], "is_fallback": false, "is_asleep": false, "is_leaving": true, "active_set": [], "connections": 2 },
            ],
        });
        let paper = Paper {
            width: None,
            letters: Letters::Any,
        };
        assert_eq!(
            page(&serde_json::from_value(status).expect("a status"), paper),
            "tcp-forwarder 0.1.0, process 7, up 5s\nit stops: nobody is accepted any more, and what is open may finish\n\n\
             web: 2 connections, 0 members, leaving\n  listens  none\n  members  none\n"
        );
    }

    #[test]
    fn forty_columns_are_enough() {
        let shown = shown(Some(40));
        assert!(shown.lines().all(|line| line.len() <= 40), "{shown}");
        assert!(
            shown.contains("\n  members  192.0.2.1:443 192.0.2.2:443\n           (hk1) 192.0.2.3:443\n"),
            "{shown}"
        );
    }
}
