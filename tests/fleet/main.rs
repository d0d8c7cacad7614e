//! A fleet: programs as processes around one Redis, and around what is none.
#![cfg(all(unix, feature = "cluster"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

mod access;
mod clients;
mod clock;
mod cost;
mod cuts;
mod faults;
mod gate;
mod node;
mod poison;
mod redis;
#[cfg(target_os = "linux")]
mod rest;
mod routers;
#[path = "../support/server.rs"]
mod server;
mod sharing;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use redis::Redis;
use support::{Forwarder, echo_on, patient, pause, wait_for};

/// What the log says when nothing can be shared, when it can be again, and when somebody writes nonsense.
const ALONE: &str = "this forwarder goes on by itself";
const AGAIN: &str = "the fleet is heard of again";
const NONSENSE: &str = "no forwarder of this version says";

fn of_fleet(url: &str, node: &str, vantage: &str) -> Value {
    json!({
        "cluster": { "url": url, "node": node, "vantage": vantage, "interval": "500ms" },
        "remotes": {
            "probing": { "interval": "1s" },
            // On a busy machine one candidate of loopback seems better than another.
            "selector": {
                "active_set_size": 2,
                "switching": { "score_improvement_threshold": 1000.0, "latency_improvement_ratio": 0 },
            },
        },
    })
}

fn probes(forwarder: &Forwarder) -> f64 {
    forwarder.metric("health_checks_total{result=\"success\"}")
}

/// Samples of others that counted for something, and those that were refused.
fn heard(forwarder: &Forwarder) -> f64 {
    forwarder.metric("cluster_samples_total{result=\"heard\"}")
}

fn refused(forwarder: &Forwarder) -> f64 {
    forwarder.metric("cluster_samples_total{result=\"refused\"}")
}

/// One more connection of a client, which stays open; none if it is refused.
fn one_more(forwarder: &Forwarder) -> Option<TcpStream> {
    let mut stream = patient(TcpStream::connect(forwarder.addr()).ok()?);
    // Who is refused is reset.
    stream.write_all(b"x").ok()?;
    stream.read_exact(&mut [0]).ok()?;
    Some(stream)
}

/// The active set.
fn members(forwarder: &Forwarder) -> BTreeSet<String> {
    let text = forwarder.scrape();
    let rows = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("tcp_forwarder_lb_backend_connections{server=\"")?;
        rest.split_once('"').map(|(server, _)| server.to_owned())
    });
    rows.collect()
}

/// So many candidates on addresses of this machine.
fn candidates(count: u8) -> String {
    let lines = (1..=count).map(|last| echo_on(Ipv4Addr::new(127, 0, 9, last)).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

/// A file of the project.
fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Whether there is time (environment variable `TCP_FORWARDER_LONG`).
fn is_long() -> bool {
    std::env::var_os("TCP_FORWARDER_LONG").is_some()
}

/// Runs cases side by side: they wait for most of their time. Says which failed.
fn together(cases: &[(&'static str, fn())]) {
    std::thread::scope(|scope| {
        let start = |(name, case): &(&'static str, fn())| {
            let thread = std::thread::Builder::new().name((*name).to_owned());
            (*name, thread.spawn_scoped(scope, *case).unwrap())
        };
        let threads: Vec<_> = cases.iter().map(start).collect();
        let ends = threads.into_iter().map(|(name, thread)| (name, thread.join()));
        let failed: Vec<&str> = ends.filter_map(|(name, end)| end.err().map(|_| name)).collect();
        assert!(failed.is_empty(), "{failed:?}");
    });
}

#[test]
fn nodes_of_a_vantage_divide_their_probes_and_others_do_not() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let url = redis.url();
    let list = candidates(5);
    let start = |node: &str, vantage: &str| {
        let mut config = of_fleet(&url, node, vantage);
        config["remotes"]["probing"]["interval"] = "500ms".into();
        Forwarder::start(&config, &list)
    };
    let (a, b, other) = (start("a", "here"), start("b", "here"), start("c", "there"));
    for one in [&a, &b, &other] {
        wait_for("a fleet of three", || {
            (one.metric("cluster_nodes") - 2.0).abs() < 0.1
        });
    }
    pause(Duration::from_secs(2));
    let before = (probes(&a) + probes(&b), probes(&other));
    let bytes = a.metric("cluster_bytes_total{direction=\"sent\"}")
        + a.metric("cluster_bytes_total{direction=\"received\"}");
    pause(Duration::from_secs(6));
    let (both, alone) = (probes(&a) + probes(&b) - before.0, probes(&other) - before.1);
    let bytes = a.metric("cluster_bytes_total{direction=\"sent\"}")
        + a.metric("cluster_bytes_total{direction=\"received\"}")
        - bytes;
    println!("two that share: {both} probes, one alone: {alone}; {bytes} bytes in 12 exchanges");
    assert!(
        both <= alone * 1.25 && both >= alone * 0.5,
        "{both} probes of two, {alone} of one"
    );
    assert!(heard(&a) > 0.0);
}
