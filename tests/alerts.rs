//! The alerts of `contrib/prometheus/`: each fires when it should, and asks for series that a running process has.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{programs, run};
use support::Forwarder;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib/prometheus")
        .join(name)
}

#[test]
fn each_alert_fires_when_it_should() {
    let Some([promtool]) = programs("each_alert_fires_when_it_should", ["promtool"]) else {
        return;
    };
    run(
        Command::new(&promtool)
            .args(["check", "rules"])
            .arg(file("alerts.yml")),
        b"",
    );
    run(
        Command::new(&promtool)
            .args(["test", "rules"])
            .arg(file("alerts_test.yml")),
        b"",
    );
    let tests = std::fs::read_to_string(file("alerts_test.yml")).unwrap();
    let rules = std::fs::read_to_string(file("alerts.yml")).unwrap();
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untested: Vec<&str> = names
        .filter(|name| !tests.contains(&format!("alertname: {name}\n")))
        .collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn alerts_ask_for_what_a_process_tells() {
    let backend = support::echo_on(std::net::Ipv4Addr::LOCALHOST);
    let forwarder = Forwarder::start(&json!({}), &format!("{backend}\n"));
    let scrape = forwarder.scrape();
    let rules = std::fs::read_to_string(file("alerts.yml")).unwrap();
    let is_of_a_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut names = 0;
    for (at, _) in rules.match_indices("tcp_forwarder_") {
        let name: String = rules[at..].chars().take_while(|c| is_of_a_name(*c)).collect();
        assert!(
            scrape.contains(&format!("\n# TYPE {name} ")),
            "{name} is not told"
        );
        names += 1;
    }
    assert!(names >= 6, "{names}");
}
