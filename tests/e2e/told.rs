//! What a running process tells: its log and its metrics.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Files, Forwarder, echo_on, ping, settings, sum, wait_for};

/// A list of one echoing backend.
fn echo_list() -> String {
    format!("{}\n", echo_on(Ipv4Addr::LOCALHOST))
}

#[test]
fn json_logs_are_one_object_a_line() {
    let changes = json!({ "logging": { "format": "json", "level": "trace" } });
    let forwarder = Forwarder::start(&changes, &echo_list());
    for _ in 0..3 {
        ping(&mut forwarder.connect(), b"x");
    }
    wait_for("connections are logged", || {
        forwarder.log().matches("connection closed").count() == 3
    });
    let ended = forwarder.stop();
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        for key in ["time", "level", "target", "message"] {
            assert!(line[key].is_string(), "{key} in {line}");
        }
    }
    let closed = |line: &&Value| line["message"] == "connection closed";
    let closed = lines.iter().find(closed).unwrap();
    assert_eq!(closed["target"], "tcp_forwarder::relay");
    assert_eq!(
        (&closed["reason"], &closed["bytes_to_backend"]),
        (&json!("finished"), &json!(1))
    );
    assert!(
        closed["client"].is_string() && closed["backend"].is_string(),
        "{closed}"
    );
}

/// Every target that the documentation promises, with the least severe level at which it speaks.
const TARGETS: [(&str, &str); 6] = [
    ("probing", "debug"),
    ("scorer", "trace"),
    ("selector", "info"),
    ("pools", "debug"),
    ("loadbalancer", "trace"),
    ("relay", "debug"),
];

#[test]
fn every_promised_target_speaks() {
    // The second candidate refuses; pools start at one connection, so that the first target moves.
    let files = Files::new(
        &settings(&json!({
            "logging": { "format": "json" },
            "pools": { "strategy": { "type": "dynamic", "dynamic": { "min_size": 1 } } },
        })),
        &format!("{}127.0.0.2:1\n", echo_list()),
    );
    let mut command = files.command();
    let filter = TARGETS.map(|(target, level)| format!("tcp_forwarder::{target}={level}"));
    command.env(
        "RUST_LOG",
        format!("tcp_forwarder::app=info,{}", filter.join(",")),
    );
    let forwarder = Forwarder::spawn(files, command).listening();
    let mut relays: Vec<_> = (0..3).map(|_| forwarder.connect()).collect();
    for relay in &mut relays {
        ping(relay, b"x");
    }
    drop(relays);
    for (target, _) in TARGETS {
        let target = format!("\"target\":\"tcp_forwarder::{target}\"");
        let target = target.as_str();
        let parent = target.trim_end_matches('"');
        wait_for(parent, || {
            let log = forwarder.log();
            log.contains(target) || log.contains(&format!("{parent}::"))
        });
    }
    forwarder.stop();
}

#[test]
fn rust_log_overrides_the_level() {
    let changes = json!({ "logging": { "level": "trace" } });
    let files = Files::new(&settings(&changes), &echo_list());
    let mut command = files.command();
    command.env("RUST_LOG", "tcp_forwarder::app=info,tcp_forwarder::relay=debug");
    let forwarder = Forwarder::spawn(files, command).listening();
    ping(&mut forwarder.connect(), b"x");
    wait_for("the relay is logged", || {
        forwarder.log().contains("connection closed")
    });
    let ended = forwarder.stop();
    assert!(!ended.stdout.contains("[TRACE]"), "{}", ended.stdout);
    for line in ended.stdout.lines() {
        let expected = line.contains("tcp_forwarder::app") || line.contains("tcp_forwarder::relay");
        assert!(expected, "{line}");
    }
}

#[test]
fn metrics_move_with_traffic() {
    let forwarder = Forwarder::start(&json!({}), &echo_list());
    let before = forwarder.scrape();
    assert_eq!(sum(&before, "new_connections_total"), 0.0);
    assert_eq!(sum(&before, "lb_backend_connections"), 0.0);
    let mut relay = forwarder.connect();
    ping(&mut relay, &[7; 1000]);
    // Bytes count while they flow, not at the close.
    wait_for("bytes are counted", || {
        let seen = forwarder.scrape();
        let bytes = sum(&seen, "bytes_transferred_total");
        (bytes, sum(&seen, "active_connections")) == (2000.0, 1.0)
    });
    drop(relay);
    wait_for("the close is counted", || {
        let seen = forwarder.scrape();
        let closed = sum(&seen, "connections_closed_total{reason=\"finished\"}");
        (closed, sum(&seen, "active_connections")) == (1.0, 0.0)
    });
    let after = forwarder.scrape();
    for counted in [
        "new_connections_total",
        "connection_duration_seconds_count",
        "lb_requests_total",
    ] {
        assert_eq!(sum(&after, counted), 1.0, "{counted}");
    }
    assert!(sum(&after, "server_probe_success_total") >= 1.0);
    assert!(sum(&after, "uptime_seconds") > 0.0);
    assert_eq!(
        sum(&after, "pool_hits_total") + sum(&after, "pool_misses_total"),
        1.0
    );
}

#[test]
fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let files = Files::new(
        &settings(&json!({ "logging": { "level": "debug", "output": "stderr" } })),
        &echo_list(),
    );
    let mut command = files.command();
    let mut child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut log = child.stderr.take().unwrap();
    let mut seen = Vec::new();
    let listening = b"listening on ";
    let at = loop {
        let mut byte = [0];
        log.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
        if byte == *b"\n"
            && let Some(at) = seen.windows(listening.len()).position(|words| words == listening)
        {
            break at + listening.len();
        }
    };
    let addr: SocketAddr = std::str::from_utf8(&seen[at..]).unwrap().trim().parse().unwrap();
    drop(log);
    for _ in 0..20 {
        ping(
            &mut crate::support::patient(TcpStream::connect(addr).unwrap()),
            b"still there",
        );
    }
    let still_runs = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(still_runs);
}
