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
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

#[path = "support/dns.rs"]
mod dns;
mod support;

use dns::{Dns, Manner};
use support::{Files, Forwarder, comes_true, echo_on, merge, ping, wait_for};

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
    let service = forwarder.api("services/default");
    let members = service["members"].as_array().unwrap().iter();
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

#[test]
fn who_is_asleep_looks_nothing_up_until_somebody_comes() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 45));
    let dns = Dns::start(Manner::Well(45), backend.port());
    let provider = json!({ "type": "dns", "dns": { "name": "a.example", "family": "ipv4" } });
    let mut settings = dns.settings(&provider);
    settings["sleep"] = json!({ "after": "1s", "interval": "1h" });
    let forwarder = Forwarder::start(&settings, "");
    serves(&forwarder);
    wait_for("it falls asleep", || forwarder.log().contains("falls asleep"));
    // One may be on its way; awake there would be one a second.
    wait_for("nobody asks", || {
        let before = dns.queries();
        !comes_true(Duration::from_millis(1_600), || dns.queries() > before)
    });
    let before = dns.queries();
    serves(&forwarder);
    wait_for("somebody asks", || dns.queries() > before);
    forwarder.stop();
}

#[test]
fn names_that_stay_in_a_changed_list_stay_in_force_over_a_reload_while_nobody_answers() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 49));
    let dns = Dns::start(Manner::Well(49), backend.port());
    let provider = json!({ "file": { "path": "ip_list.txt", "watch": false } });
    let other = echo_on(Ipv4Addr::new(127, 0, 0, 50));
    let forwarder = dns.forwarder(&provider, &format!("{other}\na.example\nb.example\n"));
    let members = || {
        let told = forwarder.api("services/default");
        told["members"].as_array().unwrap().len()
    };
    // The log is written a moment after the set is in force.
    let named = format!("127.0.0.49:{}", backend.port());
    wait_for("both", || members() == 2 && forwarder.log().contains(&named));
    let switches = || forwarder.log().matches("active set changed").count();
    let before = switches();
    let path = forwarder.files().path("ip_list.txt");
    let of_provider = |what: &str| forwarder.metric(&format!("{what}{{provider=\"0:file\"}}"));
    for (turn, list) in ["a.example\nc.example\n", "d.example\na.example weight=2 # one\n"]
        .iter()
        .enumerate()
    {
        std::fs::write(&path, format!("{other}\n{list}")).unwrap();
        dns.now(Manner::Silent);
        forwarder.signal(Signal::HUP);
        wait_for("the reload", || {
            forwarder.log().matches("reloaded: ").count() == turn + 1
        });
        // At once, and after those have failed that are new.
        serves(&forwarder);
        wait_for("what stays to be told, and the failure", || {
            of_provider("provider_candidates") > 0.5 && of_provider("provider_failing") > 0.5
        });
        serves(&forwarder);
        dns.now(Manner::Well(49));
        wait_for("an answer", || of_provider("provider_failing") < 0.5);
    }
    dns.now(Manner::Silent);
    // Not even for a moment has anybody left.
    assert_eq!((members(), switches()), (2, before), "{}", forwarder.log());
    // Whose name leaves the list leaves with it.
    std::fs::write(&path, format!("{other}\n")).unwrap();
    forwarder.signal(Signal::HUP);
    wait_for("the other one alone", || members() == 1);
    serves(&forwarder);
    forwarder.stop();
}

#[test]
fn a_restart_while_nobody_answers_begins_with_what_was_said_last() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 46));
    let dns = Dns::start(Manner::Well(46), backend.port());
    let folder = tempfile::TempDir::new().unwrap();
    let state = json!({ "state": { "path": folder.path().join("state") } });
    let named = json!({ "type": "dns", "dns": { "name": "a.example" } });
    let listed = json!({ "type": "inline", "inline": { "entries": ["b.example # twice"] } });
    let settings = |providers: &Value| {
        let mut settings = dns.settings(providers);
        merge(&mut settings, &state);
        settings
    };
    let before = Forwarder::start(&settings(&json!([named, listed])), "");
    wait_for("both", || {
        let named = |provider| before.metric(&format!("provider_candidates{{provider=\"{provider}\"}}"));
        named("0:dns") + named("1:inline") > 1.5
    });
    serves(&before);
    before.stop();
    let age = |provider| format!("provider_answer_age_seconds{{provider=\"{provider}\"}}");
    for manner in [Manner::Silent, Manner::Failure, Manner::NoSuchName] {
        dns.now(manner);
        // In another order, and beside one that says nothing yet.
        let other = json!({ "type": "dns", "dns": { "name": "c.example" } });
        let after = Forwarder::start(&settings(&json!([other, listed, named])), "");
        serves(&after);
        let log = after.log();
        assert!(
            log.contains("recalled what provider 2:dns said last: 1 candidates"),
            "{log}"
        );
        assert!(log.contains("recalled what provider 1:inline said last"), "{log}");
        assert!((after.metric("provider_candidates{provider=\"2:dns\"}") - 1.0).abs() < 0.1);
        wait_for("the failure to be told", || {
            after
                .log()
                .contains("provider 2:dns fails, what it said last stays in force")
        });
        serves(&after);
        assert!(
            !after.scrape().contains(&age("2:dns")),
            "nobody has said that to this process"
        );
        after.stop();
    }
    // What is recalled only stands in for an answer.
    dns.now(Manner::Well(46));
    let after = Forwarder::start(&settings(&json!([named])), "");
    wait_for("an answer", || after.scrape().contains(&age("0:dns")));
    serves(&after);
    after.stop();
}

/// Runs a scan of a configuration; its status, result and what else it says.
fn scan(settings: &Value, words: &[&str]) -> (Option<i32>, String, String) {
    let files = Files::new(&support::settings(settings), "127.0.0.66#8443");
    let mut command = support::program();
    command.arg("scan").args(words).args(["--top", "2", "--config"]);
    let output = command.arg(files.path("config.yaml")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_scan_looks_names_up_once_and_says_what_it_cannot_find() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 48));
    let dns = Dns::start(Manner::Well(48), backend.port());
    let named = json!({ "type": "dns", "dns": { "name": "a.example", "family": "ipv4" } });
    let listed = json!({ "file": { "path": "ip_list.txt" } });
    let settings = dns.settings(&json!([named, listed]));
    let (status, list, said) = scan(&settings, &["--output", "list"]);
    assert_eq!(
        (status, list),
        (Some(0), format!("{backend} # a.example\n")),
        "{said}"
    );
    assert!(said.contains("ip_list.txt: line 1: `127.0.0.66#8443`"), "{said}");
    assert_eq!(dns.queries(), 1, "once");
    // A service that starts with what the scan has left needs nobody who answers.
    let folder = tempfile::TempDir::new().unwrap();
    let only = dns.settings(&json!([named]));
    let (status, state, said) = scan(&only, &["--output", "state"]);
    assert_eq!(status, Some(0), "{said}");
    std::fs::write(folder.path().join("state"), state).unwrap();
    dns.now(Manner::NoSuchName);
    let mut settings = only.clone();
    merge(
        &mut settings,
        &json!({ "state": { "path": folder.path().join("state") } }),
    );
    let forwarder = Forwarder::start(&settings, "");
    serves(&forwarder);
    forwarder.stop();
    let (status, list, said) = scan(&only, &["--output", "list"]);
    let words = "there is nobody to scan: there is no a.example";
    assert_eq!((status, list.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains(words), "{said}");
    dns.now(Manner::Silent);
    let both = json!([named, { "type": "inline", "inline": { "entries": [backend.to_string()] } }]);
    let (status, list, said) = scan(&dns.settings(&both), &["--output", "list"]);
    assert_eq!((status, list), (Some(0), format!("{backend}\n")), "{said}");
    assert!(
        said.contains("not all names are known, and the others are scanned: A a.example"),
        "{said}"
    );
}
