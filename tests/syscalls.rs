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
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Files, Forwarder, echo_on, ping, settings, tools, wait_for};

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

/// A forwarder under this `strace`, which has a pool of [`WARM`] connections that does not grow.
fn traced(strace: &Path, changes: &Value) -> (Forwarder, PathBuf) {
    let size = json!({ "min_size": WARM, "max_size": WARM });
    let mut all = json!({
        "server": { "reactors": 1 },
        "remotes": { "probing": { "interval": "10m" } },
        "pools": { "strategy": { "type": "dynamic", "dynamic": size } },
    });
    support::merge(&mut all, changes);
    let files = Files::new(&settings(&all), &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)));
    let trace = files.path("trace");
    let traced = files.command_traced(strace, &["-s", "64"]);
    let forwarder = Forwarder::spawn(files, traced).listening();
    wait_for("warm connections", || {
        forwarder.metric("pool_available_connections") == f64::from(WARM)
    });
    (forwarder, trace)
}

/// The trace of a forwarder that relays one client's requests; those of the last [`REQUESTS`] stand between two marks.
fn trace_of_requests(strace: &Path) -> String {
    let (forwarder, trace) = traced(strace, &json!({}));
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

/// A PROXY header costs a client no call of its own: neither that which comes with its first bytes, nor that which goes.
#[test]
fn a_proxy_header_comes_and_goes_with_the_first_bytes() {
    let Some(strace) = tools::wanted("strace", "system calls are counted") else {
        return;
    };
    let proxy = json!({ "accept": "v1", "from": "127.0.0.0/8", "send": "v1" });
    let (forwarder, trace) = traced(&strace, &json!({ "server": { "proxy_protocol": proxy } }));
    let mut client = forwarder.connect();
    let line = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    let first = format!("{line}mark-first");
    client.write_all(first.as_bytes()).unwrap();
    // The backend sends back what it gets, and its header, too.
    let mut reply = vec![0; first.len()];
    std::io::Read::read_exact(&mut client, &mut reply).unwrap();
    assert_eq!(reply, first.as_bytes());
    let read = || std::fs::read_to_string(&trace).unwrap();
    wait_for("the trace is written", || {
        read().matches("mark-first").count() >= 4
    });
    let trace = read();
    let about: Vec<&str> = trace.lines().filter(|line| line.contains("mark-first")).collect();
    let [came, went, ..] = about[..] else {
        panic!("{trace}")
    };
    assert!(
        came.contains("recvfrom") && went.contains("sendto("),
        "{came} {went}"
    );
    for call in [came, went] {
        assert!(call.contains("PROXY TCP4 192.0.2.1"), "in one call: {call}");
    }
}

#[test]
fn a_request_costs_four_data_calls_and_a_pool_hit_costs_none() {
    let Some(strace) = tools::wanted("strace", "system calls are counted") else {
        return;
    };
    let trace = trace_of_requests(&strace);
    let relaying = trace
        .lines()
        .find(|line| line.contains("sendto(") && line.contains("\"mark-begin\""));
    let thread = relaying
        .and_then(|line| line.split(' ').next())
        .expect("bytes were relayed");
    let calls = calls_of(&trace, thread);

    // A listener that comes is looked at once, for it may have a queue already; the client came later.
    let accepts = |turn: &&[String]| turn.iter().any(|call| name(call) == "accept4");
    let turn = calls
        .split(|call| name(call) == "epoll_wait")
        .rfind(accepts)
        .expect("a connection");
    let hit: Vec<&str> = turn.iter().map(|call| name(call)).collect();
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
