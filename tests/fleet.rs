//! A fleet: programs as processes around one Redis, and around what is none.
#![cfg(all(unix, feature = "cluster"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{Server, free_addr, programs};
use support::{Forwarder, comes_true, echo_on, pause, ping, wait_for};

fn redis(program: &Path, folder: &Path, words: &[&str]) -> Server {
    let addr = free_addr(1);
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .args(words);
    Server::start(command, addr, folder)
}

fn of_fleet(url: &str, node: &str, vantage: &str) -> Value {
    json!({
        "cluster": { "url": url, "node": node, "vantage": vantage, "interval": "500ms" },
        "remotes": { "probing": { "interval": "1s" }, "selector": { "active_set_size": 2 } },
    })
}

fn probes(forwarder: &Forwarder) -> f64 {
    forwarder.metric("health_checks_total{result=\"success\"}")
}

/// Five candidates on addresses of this machine.
fn list() -> String {
    let lines = (1..=5).map(|last| echo_on(Ipv4Addr::new(127, 0, 9, last)).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn nodes_of_a_vantage_divide_their_probes_and_others_do_not() {
    let Some([program]) = programs("fleet", ["redis-server"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let redis = redis(&program, folder.path(), &[]);
    let url = format!("redis://{}", redis.addr);
    let list = list();
    let start = |node: &str, vantage: &str| Forwarder::start(&of_fleet(&url, node, vantage), &list);
    let (a, b, other) = (start("a", "here"), start("b", "here"), start("c", "there"));
    for one in [&a, &b, &other] {
        wait_for("a fleet of three", || {
            (one.metric("cluster_nodes") - 2.0).abs() < 0.1
        });
    }
    pause(Duration::from_secs(4));
    let before = (probes(&a) + probes(&b), probes(&other));
    let bytes = a.metric("cluster_bytes_total{direction=\"sent\"}")
        + a.metric("cluster_bytes_total{direction=\"received\"}");
    pause(Duration::from_secs(10));
    let (both, alone) = (probes(&a) + probes(&b) - before.0, probes(&other) - before.1);
    let bytes = a.metric("cluster_bytes_total{direction=\"sent\"}")
        + a.metric("cluster_bytes_total{direction=\"received\"}")
        - bytes;
    println!("two that share: {both} probes, one alone: {alone}; {bytes} bytes in 20 exchanges");
    assert!(
        both <= alone * 1.25 && both >= alone * 0.5,
        "{both} probes of two, {alone} of one"
    );
    assert!(a.metric("cluster_samples_total{result=\"heard\"}") > 0.0);
}

/// The line of the document that makes a user of the Redis gives it enough, and it is told by its name and password.
#[test]
fn a_user_needs_no_more_than_the_document_says() {
    let Some([program]) = programs("fleet", ["redis-server"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let redis = redis(&program, folder.path(), &[]);
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FLEET.md")).unwrap();
    let rule = document
        .lines()
        .find(|line| line.starts_with("ACL SETUSER "))
        .unwrap();
    let mut admin = TcpStream::connect(redis.addr).unwrap();
    admin.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    admin.write_all(format!("{rule}\r\n").as_bytes()).unwrap();
    let mut reply = [0; 5];
    admin.read_exact(&mut reply).unwrap();
    assert_eq!(reply, *b"+OK\r\n");

    let list = list();
    let start = |node: &str| {
        let mut config = of_fleet(&format!("redis://fleet:secret@{}", redis.addr), node, "here");
        config["cluster"]["name"] = "edges".into();
        Forwarder::start(&config, &list)
    };
    let (a, b) = (start("a"), start("b"));
    let heard = "cluster_samples_total{result=\"heard\"}";
    wait_for("both hear", || a.metric(heard) > 0.0 && b.metric(heard) > 0.0);
    assert!(a.metric("cluster_failures_total") + b.metric("cluster_failures_total") < 0.5);
}

#[test]
fn a_redis_that_stands_still_or_goes_harms_nobody() {
    let Some([program]) = programs("fleet", ["redis-server"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let redis = redis(&program, folder.path(), &[]);
    let list = list();
    let one = Forwarder::start(&of_fleet(&format!("redis://{}", redis.addr), "a", "here"), &list);
    wait_for("the fleet", || one.metric("cluster_up") > 0.5);
    drop(redis);
    wait_for("it is missed", || one.metric("cluster_up") < 0.5);
    ping(&mut one.connect(), b"forwarding goes on");
    let before = probes(&one);
    wait_for("probing goes on", || probes(&one) > before);
    wait_for("the log says so", || {
        one.log().contains("this forwarder goes on by itself")
    });
}

#[test]
fn whatever_answers_in_place_of_a_redis_harms_nobody() {
    let list = list();
    let huge = b"$999999999999\r\n".to_vec();
    let endless = b"*1\r\n".repeat(100);
    for words in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        huge,
        endless,
        Vec::new(),
        b"-NOAUTH\r\n".to_vec(),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().take(100) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 512]);
                while !words.is_empty() && stream.write_all(&words).is_ok() {}
                let _ = stream.read(&mut [0; 512]);
            }
        });
        let one = Forwarder::start(&of_fleet(&url, "a", "here"), &list);
        wait_for("a failure", || one.metric("cluster_failures_total") > 0.0);
        ping(&mut one.connect(), b"forwarding goes on");
        assert!(one.metric("cluster_up") < 0.5);
    }
}

#[test]
fn a_redis_that_stops_in_the_middle_is_given_up() {
    let Some([program]) = programs("fleet", ["redis-server"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let redis = redis(&program, folder.path(), &["--requirepass", "hush"]);
    let list = list();
    let wrong = Forwarder::start(
        &of_fleet(&format!("redis://:no@{}", redis.addr), "w", "here"),
        &list,
    );
    let right = Forwarder::start(
        &of_fleet(&format!("redis://:hush@{}", redis.addr), "r", "here"),
        &list,
    );
    wait_for("the right password", || right.metric("cluster_up") > 0.5);
    wait_for("the wrong one", || wrong.metric("cluster_failures_total") > 0.0);
    assert!(wrong.metric("cluster_up") < 0.5 && !wrong.log().contains("redis://"));
    redis.signal(Signal::STOP);
    assert!(comes_true(Duration::from_secs(10), || right.metric("cluster_up") < 0.5));
    ping(&mut right.connect(), b"forwarding goes on");
    redis.signal(Signal::CONT);
    wait_for("it is back", || right.metric("cluster_up") > 0.5);
}
