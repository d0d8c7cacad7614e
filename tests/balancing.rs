//! Who gets a connection where backends are not alike: the program as a process, between clients that ask once each and backends of
//! which one is ten times slower.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::tests_outside_test_module,
    clippy::cast_precision_loss,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, what is measured is time, and counts are small"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::scope;
use std::time::{Duration, Instant};

use serde_json::json;

mod support;

use support::{Forwarder, pause, wait_for};

/// What the fast ones take for an answer.
const FAST: Duration = Duration::from_millis(20);

/// Connections at once.
const CLIENTS: usize = 10;

/// A backend that answers each connection with this byte, after this time.
fn backend(name: u8, takes: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                if stream.read_exact(&mut [0]).is_ok() {
                    pause(takes);
                    // The client may be a probe.
                    drop(stream.write_all(&[name]));
                }
            });
        }
    });
    addr
}

/// What came of a round: how long the slowest hundredth waited at least, and the slow backend's share of the answers.
#[derive(Debug, Clone, Copy)]
struct Round {
    p99: Duration,
    share: f64,
}

/// Asks so many times, over a new connection each.
fn round(forwarder: &Forwarder, times: usize) -> Round {
    let ask = || {
        let (began, mut answer) = (Instant::now(), [0]);
        let mut stream = forwarder.connect();
        stream.write_all(b"?").unwrap();
        stream.read_exact(&mut answer).unwrap();
        (began.elapsed(), answer == *b"s")
    };
    let asked: Vec<_> = scope(|scope| {
        let one = || (0..times / CLIENTS).map(|_| ask()).collect::<Vec<_>>();
        let all: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let slow = asked.iter().filter(|(_, is_slow)| *is_slow).count();
    let mut waits: Vec<_> = asked.iter().map(|(wait, _)| *wait).collect();
    waits.sort();
    Round {
        p99: waits[waits.len() * 99 / 100],
        share: slow as f64 / waits.len() as f64,
    }
}

#[test]
fn with_one_backend_ten_times_slower_the_slowest_hundredth_waits_less_by_time() {
    let fast = (0..4).map(|_| backend(b'f', FAST));
    let all = fast.chain([backend(b's', 10 * FAST)]);
    let list = all.map(|addr| addr.to_string()).collect::<Vec<_>>().join("\n");
    // The best of some rounds: a machine that is busy elsewhere makes some of all answers late.
    let best = |algorithm: &str| {
        let settings = json!({
            "remotes": {
                "selector": { "active_set_size": 5, "min_score_threshold": 0 },
                "probing": { "search": { "enabled": false } },
            },
            "pools": { "algorithm": algorithm, "strategy": { "type": "off" } },
        });
        let forwarder = Forwarder::start(&settings, &list);
        wait_for("all members", || {
            forwarder.api("services/default")["members"]
                .as_array()
                .unwrap()
                .len()
                == 5
        });
        // By time once it is known how soon each answers.
        if algorithm != "least_connections" {
            wait_for("times to be known", || round(&forwarder, 100).share < 0.01);
        }
        let rounds = [0; 2].map(|_| round(&forwarder, 300));
        forwarder.stop();
        Round {
            p99: rounds.iter().map(|round| round.p99).min().unwrap(),
            share: rounds.iter().map(|round| round.share).sum::<f64>() / 2.0,
        }
    };
    // At the same time: all that they do is wait.
    let algorithms = ["least_connections", "two_choices", "least_time"];
    let [by_connections, two_choices, least_time] = scope(|scope| {
        let best = &best;
        let all = algorithms.map(|algorithm| scope.spawn(move || best(algorithm)));
        all.map(|one| one.join().unwrap())
    });
    let is_met = by_connections.p99 >= 10 * FAST && by_connections.share > 0.01;
    assert!(is_met, "the slow one has its share: {by_connections:?}");
    for (algorithm, by_time) in [("two_choices", two_choices), ("least_time", least_time)] {
        let told = format!("{algorithm}: {by_time:?}; least_connections: {by_connections:?}");
        support::tools::say(&told);
        assert!(
            by_time.p99.mul_f64(1.5) < by_connections.p99 && by_time.share < 0.01,
            "{told}"
        );
    }
}
