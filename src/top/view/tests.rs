//! What is shown, at which size.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::answers::Services;
use super::*;
use crate::base::clock;

fn snapshot(at: Instant, requests: [u64; 3]) -> Snapshot {
    // All addresses of IPv6, as a process tells of them.
    let all: Value = serde_json::from_str("340282366920938463463374607431768211455").expect("a number");
    let services = json!({ "services": [
        { "name": "a", "active_set": [], "footing": "good", "is_asleep": true, "connections": 0, "candidates": 1, "withdrawn": 0 },
        {
            "name": "web", "active_set": ["192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443"], "footing": "last_good",
            "is_asleep": false, "connections": 12, "candidates": all, "withdrawn": 1,
        },
    ] });
    let services: Services = serde_json::from_value(services).expect("services");
    let member = |place: usize, score: f64, latency: Option<f64>| {
        json!({
            "addr": format!("192.0.2.{}:443", place + 1), "state": "ready", "score": score, "latency_ms": latency,
            "connections": place, "warm": 1, "target": 2, "requests": requests[place],
        })
    };
    let details = json!({
        "name": "web", "known": 5, "answering": 4,
        "members": [member(0, 80.0, Some(9.0)), member(1, 90.04, None), member(2, 70.0, Some(5.25))],
    });
    Snapshot {
        at,
        services: services.services,
        chosen: Some(serde_json::from_value(details).expect("details")),
    }
}

fn web() -> View {
    View::of(Some("web".to_owned()))
}

fn shown(view: &View, (columns, rows): (usize, usize)) -> Vec<String> {
    let at = clock::now();
    let before = snapshot(at, [0, 10, 50]);
    let now = snapshot(at + Duration::from_secs(2), [1, 10, 20]);
    let scene = Scene {
        now: &now,
        before: Some(&before),
        problem: None,
    };
    let lines = view.lines(&scene, Size { columns, rows });
    lines.into_iter().map(|line| line.text).collect()
}

#[test]
fn one_is_one() {
    let mut one = snapshot(clock::now(), [0; 3]);
    one.services.truncate(1);
    one.services[0].connections = 1;
    let title = |snapshot: &Snapshot| head(snapshot).text;
    assert_eq!(title(&one), "tcp-forwarder: 1 connection, 1 service");
}

#[test]
fn everything_is_shown_where_there_is_room() {
    let lines = shown(&web(), (100, 24));
    assert_eq!(
        lines,
        [
            "tcp-forwarder: 12 connections, 2 services",
            "q quit, s sort, r reverse, j k service",
            "  SERVICE  LIVE  MEMBERS  STATE                                                CANDIDATES",
            "  a           0        0  asleep                                                        1",
            "> web        12        3  below threshold, 1 out  340282366920938463463374607431768211456",
            "",
            "web by score: 5 known, 4 answering",
            "MEMBER         SCORE  LATENCY  LIVE  WARM  REQ/S  STATE",
            "192.0.2.2:443   90.0        -     1   1/2    0.0  ready",
            "192.0.2.1:443   80.0   9.0 ms     0   1/2    0.5  ready",
            "192.0.2.3:443   70.0   5.2 ms     2   1/2      -  ready",
        ]
    );
}

#[test]
fn names_stand_last_as_far_as_the_terminal_shows_them() {
    let at = clock::now();
    let mut now = snapshot(at, [0; 3]);
    if let Some(member) = now.chosen.as_mut().and_then(|chosen| chosen.members.get_mut(0)) {
        member.name = Some("香港 1".to_owned());
    }
    let row = |letters, columns| {
        let scene = Scene {
            now: &now,
            before: None,
            problem: None,
        };
        let view = View { letters, ..web() };
        let lines = view.lines(&scene, Size { columns, rows: 24 });
        lines.into_iter().map(|line| line.text).nth(9).expect("a member")
    };
    assert!(row(Letters::Any, 100).ends_with("  ready  香港 1"));
    assert!(row(Letters::Ascii, 100).ends_with("  ready  ???? 1"));
    assert!(row(Letters::Any, 58).ends_with("  ready"), "no room for names");
}

#[test]
fn forty_columns_show_the_most_important() {
    let lines = shown(&web(), (40, 24));
    assert!(lines.iter().all(|line| line.len() <= 40), "{lines:#?}");
    assert_eq!(lines[7], "MEMBER         SCORE  LATENCY  LIVE");
    assert_eq!(shown(&web(), (40, 9)).len(), 9);
    assert_eq!(shown(&web(), (1, 1)), ["t"]);
}

#[test]
fn keys_sort_turn_and_choose() {
    let services = snapshot(clock::now(), [0; 3]).services;
    let first_of = |view: &View| shown(view, (100, 24))[8].split(' ').next().map(str::to_owned);
    let mut view = web();
    let mut firsts = Vec::new();
    for _ in 0..6 {
        firsts.extend(first_of(&view));
        assert_eq!(view.on_key(Key::Sort, &services), Then::Show);
    }
    let host = |host: u8| format!("192.0.2.{host}:443");
    assert_eq!(firsts, [host(2), host(3), host(3), host(1), host(1), host(2)]);
    let mut view = web();
    assert_eq!(view.on_key(Key::Reverse, &services), Then::Show);
    assert_eq!(first_of(&view), Some(host(3)));
    assert_eq!(
        view.on_key(Key::Down, &services),
        Then::Show,
        "it is the last one"
    );
    assert_eq!(view.on_key(Key::Up, &services), Then::Ask);
    assert_eq!(view.service.as_deref(), Some("a"));
    assert_eq!(view.on_key(Key::Up, &services), Then::Show);
    assert_eq!(view.on_key(Key::Quit, &services), Then::End);
    assert_eq!(View::of(Some("gone".to_owned())).place(&services), 0);
}

#[test]
fn of_a_thousand_services_those_around_the_chosen_one_are_shown() {
    let one = &snapshot(clock::now(), [0; 3]).services[0];
    let named = |number: usize| Service {
        name: format!("s{number}"),
        ..one.clone()
    };
    let now = Snapshot {
        services: (0..1_000).map(named).collect(),
        chosen: None,
        at: clock::now(),
    };
    for chosen in [0, 1, 500, 998, 999] {
        let scene = Scene {
            now: &now,
            before: None,
            problem: Some("no answer"),
        };
        let lines = View::of(Some(format!("s{chosen}"))).lines(&scene, Size::USUAL);
        let marked: Vec<&Line> = lines.iter().filter(|line| line.style == Style::Chosen).collect();
        assert_eq!(marked.len(), 1, "{chosen}");
        assert!(
            marked[0].text.starts_with(&format!("> s{chosen} ")),
            "{:?}",
            marked[0]
        );
        assert_eq!(lines.len(), 3 + 8);
        assert_eq!(lines[1].text, "no answer");
    }
}

proptest! {
    #[test]
    fn the_terminal_holds_what_is_shown(columns in 1..150_usize, rows in 1..40_usize) {
        let lines = shown(&web(), (columns, rows));
        prop_assert!(lines.len() <= rows);
        for line in lines {
            prop_assert!(line.len() <= columns && line.is_ascii(), "{:?}", line);
        }
    }
}

#[test]
fn places_are_shown_where_there_is_a_limit() {
    let mut now = snapshot(clock::now(), [0; 3]);
    let show = |now: &Snapshot| {
        let scene = Scene {
            now,
            before: None,
            problem: None,
        };
        let lines = web().lines(
            &scene,
            Size {
                columns: 120,
                rows: 24,
            },
        );
        lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
    };
    assert!(show(&now).iter().all(|line| !line.contains("OPEN")));
    (now.services[1].queued, now.services[1].full) = (5, 1);
    let members = &mut now.chosen.as_mut().expect("it is chosen").members;
    (members[0].max_connections, members[0].open, members[0].is_full) = (Some(7), 7, true);
    let lines = show(&now);
    let with = |words: &str| lines.iter().find(|line| line.contains(words)).expect("a line");
    assert!(
        with("> web").contains("below threshold, 5 queued, 1 full, 1 out"),
        "{lines:#?}"
    );
    assert!(with("MEMBER ").contains("LIVE  OPEN  WARM"), "{lines:#?}");
    let full = with("192.0.2.1:443");
    assert!(full.contains(" 7/7 ") && full.contains("ready, full"), "{full}");
    assert!(with("192.0.2.2:443").contains(" 0/- "), "{lines:#?}");
}

#[test]
fn a_thousand_members_are_quickly_compared_with_those_of_before() {
    let many = |requests: u64| {
        let mut one = snapshot(clock::now(), [0; 3]);
        let details = one.chosen.as_mut().expect("it is chosen");
        let first = details.members[0].clone();
        details.members = (0..1000_u16)
            .map(|place| Member {
                addr: SocketAddr::from(([192, 0, 2, 1], place + 1)),
                requests: requests * u64::from(place),
                ..first.clone()
            })
            .collect();
        one
    };
    let (before, mut now) = (many(1), many(3));
    now.at = before.at + Duration::from_secs(2);
    let rates = now.rates(Some(&before));
    let all = now.chosen.as_ref().expect("it is chosen").members.iter();
    assert!(all.zip(0_u16..).all(|(one, place)| {
        rates
            .get(&one.addr)
            .is_some_and(|rate| (rate - f64::from(place)).abs() < 1e-9)
    }));
}
