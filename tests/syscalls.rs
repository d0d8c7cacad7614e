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
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
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

fn can_count() -> bool {
    let is_there = Command::new("strace").arg("-V").output().is_ok();
    if !is_there {
        drop(writeln!(
            std::io::stderr(),
            "skipped: system calls are not counted: strace is not installed"
        ));
    }
    is_there
}

/// A forwarder in front of an echo, traced from its start, with [`WARM`] connections that do not become more; and
/// the trace.
fn traced() -> (Forwarder, PathBuf) {
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
    (forwarder, trace)
}

/// The trace of a forwarder that relays one client's requests; the last [`REQUESTS`] stand between two marks.
fn trace_of_requests() -> String {
    let (forwarder, trace) = traced();
    let mut client = forwarder.connect();
    ping(&mut client, b"first");
    ping(&mut client, b"mark-begin");
    for _ in 0..REQUESTS {
        ping(&mut client, b"request");
    }
    ping(&mut client, b"mark-end");
    when_written(&trace)
}

/// The trace, as soon as the last mark is in it: read and written, there and back.
fn when_written(trace: &Path) -> String {
    let read = || std::fs::read_to_string(trace).unwrap();
    wait_for("the trace is written", || {
        read().matches("\"mark-end\"").count() >= 4
    });
    read()
}

#[test]
fn a_request_costs_four_data_calls_and_a_pool_hit_costs_none() {
    if !can_count() {
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

    let accepted = calls
        .iter()
        .position(|call| name(call) == "accept4")
        .expect("a connection");
    let hit: Vec<&str> = calls[accepted..]
        .iter()
        .map(|call| name(call))
        .take_while(|name| *name != "epoll_wait")
        .collect();
    assert_eq!(
        hit,
        ["accept4", "epoll_ctl", "accept4"],
        "from accept to the next poll"
    );

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

#[test]
fn bulk_within_the_machine_is_tuned_once_a_direction_and_nothing_else_is() {
    const BLOCK: usize = 1024 * 1024;
    if !can_count() {
        return;
    }
    let (forwarder, trace) = traced();
    let mut client = forwarder.connect();
    for _ in 0..REQUESTS {
        ping(&mut client, b"request");
    }
    ping(&mut client, b"mark-begin");
    for _ in 0..8 {
        let mut writing = client.try_clone().unwrap();
        let writer = std::thread::spawn(move || writing.write_all(&vec![7; BLOCK]));
        client.read_exact(&mut vec![0; BLOCK]).unwrap();
        writer.join().unwrap().unwrap();
    }
    // What follows bulk is spliced as well, and unseen: another connection says it.
    ping(&mut forwarder.connect(), b"mark-end");
    let trace = when_written(&trace);
    let (requests, bulk) = trace.rsplit_once("\"mark-begin\"").expect("a mark");
    let tuned = |part: &str, what: &str| {
        let calls = part.lines().filter(|line| line.contains("setsockopt("));
        calls.filter(|call| call.contains(what)).count()
    };
    for what in ["TCP_CONGESTION", "SO_SNDBUF"] {
        assert_eq!(tuned(requests, what), 0, "{what}: requests are no bulk");
        assert_eq!(tuned(bulk, what), 2, "{what}: to the backend and to the client");
    }
}
