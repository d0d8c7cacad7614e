//! What the data path costs in system calls, counted by `strace`: this does not drift with the machine.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::json;
use support::{Files, Forwarder, echo_on, ping, settings, wait_for};

const REQUESTS: usize = 50;
const WARM: u32 = 2;

/// The calls of one thread, in order, as `strace` writes them: `name(arguments) = result`.
fn calls_of(trace: &str, thread: &str) -> Vec<String> {
    trace
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(id, call)| *id == thread && !call.trim_start().starts_with("<..."))
        .map(|(_, call)| call.trim_start().to_owned())
        .collect()
}

fn name(call: &str) -> &str {
    call.split('(').next().unwrap_or(call)
}

/// The trace of a forwarder that relays one client's requests, from a pool of [`WARM`] connections that does
/// not grow; the requests of the last [`REQUESTS`] stand between two marks.
fn trace_of_requests() -> String {
    let size = json!({ "min_size": WARM, "max_size": WARM });
    let changes = json!({
        "server": { "reactors": 1 },
        "remotes": { "probing": { "interval": "10m" } },
        "pools": { "strategy": { "type": "dynamic", "dynamic": size } },
    });
    let files = Files::new(
        &settings(&changes),
        &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)),
    );
    let plain = files.command();
    let trace = files.path("trace");
    let mut traced = Command::new("strace");
    // As a grandchild, so that the process is the forwarder.
    traced
        .args(["-D", "-f", "-s", "64", "-o"])
        .arg(&trace)
        .arg(plain.get_program())
        .args(plain.get_args());
    traced.env_remove("RUST_LOG");
    let forwarder = Forwarder::spawn(files, traced).listening();
    wait_for("warm connections", || {
        forwarder.metric("pool_available_connections") == f64::from(WARM)
    });

    let mut client = forwarder.connect();
    ping(&mut client, b"first");
    ping(&mut client, b"mark-begin");
    for _ in 0..REQUESTS {
        ping(&mut client, b"request");
    }
    ping(&mut client, b"mark-end");
    let read = || std::fs::read_to_string(&trace).unwrap();
    wait_for("the trace is written", || {
        read().matches("\"mark-end\"").count() >= 4
    });
    read()
}

#[test]
fn a_request_costs_four_data_calls_and_a_pool_hit_costs_none() {
    if Command::new("strace").arg("-V").output().is_err() {
        drop(writeln!(
            std::io::stderr(),
            "skipped: system calls are not counted: strace is not installed"
        ));
        return;
    }
    let trace = trace_of_requests();
    let relaying = trace
        .lines()
        .find(|line| line.contains("sendto(") && line.contains("\"mark-begin\""));
    let thread = relaying
        .and_then(|line| line.split(' ').next())
        .expect("bytes were relayed");
    let calls = calls_of(&trace, thread);

    let said = calls.iter().position(|call| call.contains("\"first\""));
    // A listener that is new has been looked at once before, when nobody had come.
    let hit: Vec<&str> = calls[..said.expect("the first bytes")]
        .split(|call| name(call) == "epoll_wait")
        .rfind(|turn| turn.iter().any(|call| name(call) == "accept4"))
        .expect("a connection")
        .iter()
        .map(|call| name(call))
        .collect();
    assert_eq!(hit, ["accept4", "epoll_ctl", "accept4"], "the turn that accepts");

    let marked = |mark: &str| {
        let mark = format!("\"{mark}\"");
        calls
            .iter()
            .rposition(|call| name(call) == "sendto" && call.contains(&mark))
            .expect("a mark")
    };
    let between = &calls[marked("mark-begin") + 1..=marked("mark-end")];
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in between {
        *counts.entry(name(call)).or_default() += 1;
    }
    let polls = counts.remove("epoll_wait").unwrap_or(0);
    let requests = REQUESTS + 1;
    let expected = BTreeMap::from([("recvfrom", 2 * requests), ("sendto", 2 * requests)]);
    assert_eq!(
        counts, expected,
        "two reads and two writes a request, and nothing but polls beside them"
    );
    assert!(polls <= 2 * requests, "{polls} polls for {requests} requests");
}
