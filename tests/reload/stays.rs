//! What a reload leaves as it is, and what it says that it cannot change.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::office::{Office, office_settings, start};
use crate::peers::backend::Backend;
use crate::peers::rig::{exchange, healthy, list_of};
use crate::peers::standing::wait_until_quiet;
use crate::support::{Forwarder, PATIENCE, comes_to_rest, echo_on, ping, wait_for};

/// Settings under which nothing happens by itself.
fn still(changes: &Value) -> Value {
    let mut settings = office_settings(&json!({
        "remotes": {
            "probing": { "interval": "1h" },
            "selector": { "evaluation_interval": "1h" },
        },
    }));
    crate::support::merge(&mut settings, changes);
    settings
}

/// Every counter of a scrape.
fn counters(forwarder: &Forwarder) -> BTreeMap<String, f64> {
    let scrape = forwarder.scrape();
    let counted = scrape.lines().filter(|line| !line.starts_with('#'));
    let counter = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next()?;
        let is_counter = ["_total", "_bucket", "_count", "_sum"]
            .iter()
            .any(|end| name.ends_with(end));
        is_counter.then(|| (series.to_owned(), value.parse().unwrap()))
    };
    counted.filter_map(counter).collect()
}

fn never_falls(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    for (series, value) in before {
        let now = after.get(series);
        assert!(
            now.is_some_and(|now| now >= value),
            "{series}: {value}, then {now:?}"
        );
    }
}

/// The gauges of a metric, by series.
fn gauges(forwarder: &Forwarder, name: &str) -> Vec<String> {
    let scrape = forwarder.scrape();
    let full = format!("tcp_forwarder_{name}{{");
    scrape
        .lines()
        .filter(|line| line.starts_with(&full))
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_can_stay_stays() {
    let backends = Backend::several::<4>(1);
    let settings = still(&json!({ "remotes": { "selector": { "active_set_size": 3 } } }));
    let forwarder = start(&settings, &list_of(&backends));
    let office = Office::of(&forwarder);
    exchange(forwarder.addr(), healthy(&mut fastrand::Rng::with_seed(1), 12));
    wait_until_quiet(&forwarder);
    let accepted = || {
        backends
            .iter()
            .map(|backend| backend.tally().accepted.value())
            .collect::<Vec<_>>()
    };
    let rests = comes_to_rest(PATIENCE, Duration::from_millis(500), || {
        (accepted(), gauges(&forwarder, "pool_available_connections"))
    });
    let (dials, warm) = rests.expect("pools are filled");
    let seen = |forwarder: &Forwarder| {
        let set = office.status()["services"][0]["active_set"].clone();
        (
            gauges(forwarder, "server_score"),
            gauges(forwarder, "candidates_tracked"),
            set,
        )
    };
    let (before, counted) = (seen(&forwarder), counters(&forwarder));
    let changes = [
        json!({ "server": { "idle_timeout": "20m", "max_connections": 5000 } }),
        json!({ "server": { "max_connections_per_ip": 900, "deny": ["192.0.2.0/24"] } }),
        json!({ "pools": { "algorithm": "random", "rescue": "off" } }),
        json!({ "remotes": { "selector": { "min_score_threshold": 16 } } }),
        json!({ "remotes": { "probing": { "timeout": "900ms" } }, "logging": { "format": "json" } }),
        json!({ "services": { "default": { "listen_addr": "127.0.0.1:0" }, "guest": { "listen_addr": "127.0.0.1:0", "pools": { "strategy": { "type": "off" } } } } }),
    ];
    for change in &changes {
        let mut next = settings.clone();
        if change.get("services").is_some() {
            next["server"].as_object_mut().unwrap().remove("listen_addr");
        }
        crate::support::merge(&mut next, change);
        office.change(&next);
        // A list that is read again and says the same is the same.
        office.replace("ip_list.txt", &list_of(&backends));
        office.change(&settings);
    }
    let after = seen(&forwarder);
    assert_eq!(before, after);
    never_falls(&counted, &counters(&forwarder));
    // The service that came probed once, and dialled nobody: the rest are the very same connections.
    let probes: u64 = backends.len() as u64;
    let dialled: u64 = accepted().iter().sum::<u64>() - dials.iter().sum::<u64>();
    assert!(dialled <= probes, "{dialled} new connections to backends");
    assert_eq!(gauges(&forwarder, "pool_available_connections"), warm);
    exchange(forwarder.addr(), healthy(&mut fastrand::Rng::with_seed(2), 12));
    assert_eq!(forwarder.stop().status, Some(0));
}

#[test]
fn another_number_of_reactors_waits_for_another_process() {
    let list = format!("{}\n", echo_on(std::net::Ipv4Addr::LOCALHOST));
    let settings = still(&json!({}));
    let forwarder = start(&settings, &list);
    let office = Office::of(&forwarder);
    let needed = || forwarder.metric("config_restart_needed").to_string();
    assert_eq!(needed(), "0");
    let mut next = settings.clone();
    crate::support::merge(
        &mut next,
        &json!({
            "server": { "reactors": 3, "max_connections_per_ip": 1 },
        }),
    );
    let said = office.change(&next);
    assert_eq!(said["restart_needed"], true, "{said}");
    assert!(said["changes"].to_string().contains("server.reactors"), "{said}");
    assert_eq!(
        (needed().as_str(), &office.status()["restart_needed"]),
        ("1", &json!(true))
    );
    // The rest is in force.
    let mut first = forwarder.connect();
    ping(&mut first, b"one");
    drop(forwarder.connect());
    wait_for("the second is refused", || {
        forwarder.metric("connections_rejected_total") > 0.5
    });
    // And stays said, whatever else changes.
    crate::support::merge(&mut next, &json!({ "server": { "max_connections_per_ip": 0 } }));
    assert_eq!(office.change(&next)["restart_needed"], true);
    assert_eq!(office.change(&settings)["restart_needed"], false);
    assert_eq!(needed(), "0");
    ping(&mut first, b"still here");
}

#[test]
fn a_file_that_is_followed_is_read_again() {
    let list = format!("{}\n", echo_on(std::net::Ipv4Addr::LOCALHOST));
    let settings = still(&json!({ "reload": { "watch": true } }));
    let forwarder = start(&settings, &list);
    let office = Office::of(&forwarder);
    let applied = || {
        forwarder
            .metric("config_reloads_total{result=\"success\"}")
            .round()
            .to_string()
    };
    let text = |seconds: u32| {
        let mut next = settings.clone();
        crate::support::merge(
            &mut next,
            &json!({ "server": { "idle_timeout": format!("{seconds}s") } }),
        );
        serde_json::to_string_pretty(&next).unwrap()
    };
    office.replace("config.yaml", &text(100));
    wait_for("a renamed file is seen", || applied() == "1");
    office.overwrite(&text(101));
    wait_for("a file that is written in its place is seen", || applied() == "2");
    office.overwrite("server: { idle_timeout: never }\n");
    wait_for("a broken one is refused", || {
        forwarder.metric("config_reloads_total{result=\"failure\"}") > 0.5
    });
    office.replace("config.yaml", &text(102));
    wait_for("and a good one ends that", || applied() == "3");
    let log = forwarder.log();
    assert!(log.contains("server.idle_timeout"), "{log}");
    assert_eq!(forwarder.stop().status, Some(0));
}
