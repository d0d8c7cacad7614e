//! What a reload changes, in words.

use proptest::prelude::{Just, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use super::*;

fn changes(old: &str, new: &str) -> Vec<String> {
    plan(&read(old).expect("valid"), &read(new).expect("valid")).changes
}

#[test]
fn changes_are_said_with_the_key_and_both_values() {
    assert_eq!(
        changes(
            "server: { reactors: 1, idle_timeout: 10m }\nmetrics: { admin_token: one }\n",
            "server: { reactors: 2, idle_timeout: 90s, deny: [ 10.0.0.0/8 ], control_socket: /run/s }\n\
             metrics: { admin_token: other }\npools: { strategy: { type: static } }\n",
        ),
        [
            "server.reactors: from 1 to 2, with the next process",
            "server.control_socket: from \"\" to /run/s",
            "metrics.admin_token: from *** to ***",
            "server.idle_timeout: from 10m to 90s",
            "server.deny: from [] to 10.0.0.0/8",
            "pools.strategy.type: from dynamic to static",
        ]
    );
    assert_eq!(
        changes(
            "services: { a: { listen_addr: 127.0.0.1:1 }, b: { listen_addr: 127.0.0.1:2 } }",
            "services: { b: { listen_addr: 127.0.0.1:3, keepalive: { probes: 9 } }, c: { listen_addr: 127.0.0.1:1 } }",
        ),
        [
            "service a removed",
            "services.b.listen_addr: from 127.0.0.1:2 to 127.0.0.1:3",
            "services.b.keepalive.probes: from 3 to 9",
            "service c added",
        ]
    );
    let (flat, named) = (
        "server: { listen_addr: 127.0.0.1:1 }",
        "services: { default: { listen_addr: 127.0.0.1:1 } }",
    );
    assert_eq!(changes(flat, named), Vec::<String>::new());
}

#[test]
fn a_scoring_changes_by_what_the_weights_come_to() {
    let scoring = "remotes: { scoring: { weights: { latency: 0.5 } } }";
    assert_eq!(
        changes("", scoring),
        ["remotes.scoring.latency.max_score: from 45.0 to 50.0"]
    );
}

#[test]
fn the_parts_of_the_process_are_told_apart() {
    let of = |text: &str| {
        let plan = plan(&defaults(), &read(text).expect("valid"));
        let told = [
            plan.restart_needed,
            plan.logging,
            plan.metrics,
            plan.control_socket,
        ];
        (told, plan.changes.len())
    };
    assert_eq!(of(""), ([false; 4], 0));
    assert_eq!(of("server: { reactors: 7 }"), ([true, false, false, false], 1));
    assert_eq!(of("logging: { level: debug }"), ([false, true, false, false], 1));
    assert_eq!(
        of("metrics: { admin_token: x }"),
        ([false, false, true, false], 1)
    );
    assert_eq!(
        of("server: { control_socket: x }"),
        ([false, false, false, true], 1)
    );
    assert_eq!(of("server: { max_connections: 9 }"), ([false; 4], 1));
    assert_eq!(of("reload: { watch: true }"), ([false; 4], 1));
}

#[test]
fn many_changes_are_counted_and_long_values_cut() {
    use std::fmt::Write as _;
    let mut many = String::from("services:\n");
    for service in 1..=1000 {
        writeln!(many, "  s{service}: {{ listen_addr: 127.0.0.1:{service} }}").expect("a string");
    }
    let found = changes("", &many);
    assert_eq!(found.len(), 51);
    assert_eq!(found.last().map(String::as_str), Some("and 951 more"));

    let networks: Vec<String> = (0..1000)
        .map(|n| format!("10.{}.{}.0/24", n / 256, n % 256))
        .collect();
    let found = changes("", &format!("server: {{ deny: [{}] }}", networks.join(", ")));
    assert!(found[0].len() < 200 && found[0].ends_with("..."), "{found:?}");
}

/// One entry of `server`, or of a service.
fn entry() -> impl proptest::strategy::Strategy<Value = &'static str> {
    prop_oneof![
        Just("idle_timeout: 5m"),
        Just("idle_timeout: 6m"),
        Just("splice: 'off'"),
        Just("keepalive: { idle: 30s, probes: 4 }"),
        Just("keepalive: { probes: 4 }"),
        Just("allow: [192.0.2.0/24]"),
        Just("bandwidth: { total: 1MiB }"),
    ]
}

/// One entry of `pools`.
fn pools() -> impl proptest::strategy::Strategy<Value = &'static str> {
    prop_oneof![
        Just(""),
        Just("algorithm: random"),
        Just("strategy: { type: static }"),
        Just("strategy: { type: static, static: { size_per_remote: 3 } }"),
        Just("strategy: { type: 'off', static: { size_per_remote: 3 } }"),
        Just("strategy: { dynamic: { max_size: 600 } }"),
    ]
}

/// A file of up to four services, which are more or less alike.
fn file() -> impl proptest::strategy::Strategy<Value = String> {
    let service = (0..4_u8, entry(), pools());
    let services = proptest::collection::vec(service, 1..4);
    let process = prop_oneof![
        Just(""),
        Just("metrics: { admin_token: hush1 }\n"),
        Just("metrics: { admin_token: hush2 }\n"),
        Just("logging: { format: json }\n"),
    ];
    (entry(), process, services).prop_map(|(top, process, services)| {
        use std::fmt::Write as _;
        let mut text = format!("{process}server: {{ {top} }}\nservices:\n");
        let mut names = std::collections::BTreeSet::new();
        for (name, entry, pools) in services {
            if names.insert(name) {
                let port = name + 1;
                write!(
                    text,
                    "  s{name}:\n    listen_addr: 127.0.0.1:{port}\n    {entry}\n    pools: {{ {pools} }}\n"
                )
                .expect("a string");
            }
        }
        text
    })
}

proptest! {
    #[test]
    fn whatever_differs_is_said_and_nothing_else(old in file(), new in file()) {
        let (old, new) = (read(&old).expect("valid"), read(&new).expect("valid"));
        let plan = plan(&old, &new);
        let same = old.process == new.process && old.services == new.services;
        prop_assert_eq!(plan.changes.is_empty(), same, "{:?}", plan.changes);
        prop_assert!(!plan.changes.iter().any(|change| change.contains("hush")));
        prop_assert_eq!(plan.metrics, old.process.metrics != new.process.metrics);
        prop_assert_eq!(plan.logging, old.process.logging != new.process.logging);
        for name in old.services.keys().chain(new.services.keys()) {
            let differs = old.services.get(name) != new.services.get(name);
            let said = plan.changes.iter().any(|change| {
                change.starts_with(&format!("services.{name}.")) || change.starts_with(&format!("service {name} "))
            });
            prop_assert_eq!(said, differs, "{} {:?}", name, plan.changes);
        }
        let back = super::super::plan(&new, &old);
        prop_assert_eq!(back.changes.len(), plan.changes.len());
    }

    /// One key, one change; what a service does not use is none.
    #[test]
    fn a_changed_key_is_said_by_its_name(index in proptest::prelude::any::<proptest::sample::Index>()) {
        let known = reference();
        let key = index.get(&known);
        let value = match key.kind {
            "flag" => (key.in_force() != "true").to_string(),
            "choice" => {
                let mut names = key.allowed.split(", ");
                names.find(|name| *name != key.in_force() && *name != "on").unwrap_or("file").to_owned()
            }
            "address" | "address or list" => "127.0.0.9:4321".to_owned(),
            "interface" => "eth1".to_owned(),
            "server or list" | "own address or list" => "192.0.2.1".to_owned(),
            "network or list" => "192.0.2.0/24".to_owned(),
            "text" => "/elsewhere".to_owned(),
            "route or list" => "{ to: default }".to_owned(),
            "service" => "default".to_owned(),
            "status or list" => "204".to_owned(),
            "list of certificates" => "[{ cert: a.pem, key: b.pem }]".to_owned(),
            "list of fields" => "[sni, end]".to_owned(),
            "list of names" => "[h2]".to_owned(),
            "list of entries" => "[127.0.0.9]".to_owned(),
            "section of texts" => "{ a: b }".to_owned(),
            "URL" => "http://127.0.0.9/".to_owned(),
            _ => {
                let (least, most) = ends(&key.allowed).expect("a range");
                // A number may be written with a point, or without.
                let is_most = [&most, &format!("{most}.0")].contains(&&key.in_force().to_owned());
                if is_most { least } else { most }
            }
        };
        let text = given(key, &value);
        // The most is no partner for some of the others.
        let Ok(new) = read(&text) else { return Ok(()); };
        let changes = plan(&defaults(), &new).changes;
        let other_types = ["inline", "dns", "srv", "http"].map(|kind| format!("remotes.provider.{kind}"));
        let is_unused = other_types.iter().any(|other| key.path.starts_with(other.as_str())) || key.path.starts_with("pools.strategy.static");
        let named = key.path.replace(".weights.latency", ".latency.max_score")
            .replace(".weights.jitter", ".jitter.max_score")
            .replace(".weights.success_rate", ".success_rate.max_score");
        prop_assert_eq!(changes.len(), usize::from(!is_unused), "{} {:?}", text, changes);
        for change in changes {
            prop_assert!(change.starts_with(&format!("{named}: from ")), "{change}");
        }
    }
}
