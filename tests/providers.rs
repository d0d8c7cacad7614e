//! Providers that are asked by DNS, with the program as a process beside a DNS server of the test: it answers well, wrongly, by
//! halves, or not at all.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::net::Ipv4Addr;

use serde_json::{Value, json};

#[path = "support/dns.rs"]
mod dns;
mod support;

use dns::{Dns, Manner};
use support::{Forwarder, echo_on, ping, wait_for};

fn serves(forwarder: &Forwarder) {
    ping(&mut forwarder.connect(), b"hello");
}

#[test]
fn a_name_is_looked_up_and_followed_and_what_fails_stays_what_it_was() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 41));
    let dns = Dns::start(Manner::Silent, backend.port());
    let provider = json!({ "type": "dns", "dns": { "name": "a.example" } });
    let forwarder = dns.forwarder(&provider, "");
    // A client may come before anybody is known, and is served once somebody is.
    let mut early = forwarder.connect();
    dns.now(Manner::AfterForgeries(41));
    ping(&mut early, b"early");
    drop(early);
    serves(&forwarder);
    for manner in [Manner::Failure, Manner::NoSuchName, Manner::Silent] {
        dns.now(manner);
        wait_for("the failure to be told", || {
            forwarder.log().contains("provider 0:dns fails")
        });
        serves(&forwarder);
        assert!(forwarder.metric("provider_failing{provider=\"0:dns\"}") > 0.5);
        assert!((forwarder.metric("provider_candidates{provider=\"0:dns\"}") - 1.0).abs() < 0.1);
    }
    assert!(forwarder.metric("provider_errors_total{provider=\"0:dns\"}") > 0.0);
    dns.now(Manner::Well(41));
    wait_for("the answer", || {
        forwarder.log().contains("provider 0:dns answers again")
    });
    assert!(forwarder.metric("provider_failing{provider=\"0:dns\"}") < 0.5);
    serves(&forwarder);
    assert!(!forwarder.log().contains("127.0.0.66"), "{}", forwarder.log());
    forwarder.stop();
}

/// The limits of all members, in the order of their addresses.
fn limits(forwarder: &Forwarder) -> Vec<u64> {
    let body = support::http_body(forwarder.metrics_addr(), "/api/v1/services/default").unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let members = body["members"].as_array().unwrap().iter();
    let mut limits: Vec<_> = members
        .map(|one| {
            (
                one["addr"].to_string(),
                one["max_connections"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    limits.sort();
    limits.into_iter().map(|(_, max)| max).collect()
}

#[test]
fn five_hundred_addresses_come_by_tcp() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 42));
    let dns = Dns::start(Manner::ByHalves(42), backend.port());
    let provider = json!({ "type": "dns", "dns": { "name": "a.example", "family": "ipv4" } });
    let forwarder = dns.forwarder(&provider, "");
    wait_for("all of them", || forwarder.log().contains("501 candidates"));
    serves(&forwarder);
    forwarder.stop();
}

#[test]
fn services_and_the_host_names_of_a_list_are_looked_up_beside_addresses() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 43));
    let dns = Dns::start(Manner::Well(43), backend.port());
    let srv = json!({ "type": "srv", "srv": { "name": "_echo._tcp.example", "family": "ipv4" }, "max_connections": 7 });
    let forwarder = dns.forwarder(&srv, "");
    serves(&forwarder);
    assert_eq!(limits(&forwarder), [7], "of the provider");
    forwarder.stop();
    let both = json!([
        { "file": { "path": "ip_list.txt" }, "max_connections": 4 },
        { "type": "inline", "inline": { "entries": ["b.example"] }, "max_connections": 9 },
    ]);
    let other = echo_on(Ipv4Addr::new(127, 0, 0, 44));
    let forwarder = dns.forwarder(
        &both,
        &format!("a.example max_connections=3 # by name\n{other}\n"),
    );
    wait_for("both", || forwarder.log().contains("2 candidates"));
    serves(&forwarder);
    wait_for("their limits", || limits(&forwarder) == [3, 4]);
    forwarder.stop();
}
