//! Backends that move much slowly, and clients that do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;

use crate::support::{Forwarder, PATIENCE, pause, sum, wait_for};

/// What a server sends: more than all buffers on the way take.
const BYTES: usize = 20_000_000;

/// What is moved at once.
const PIECE: usize = 250_000;

/// Moves a piece after the other; a slow one is at five megabytes a second.
fn each_piece(is_slow: bool, mut one: impl FnMut()) {
    for _ in 0..BYTES / PIECE {
        one();
        if is_slow {
            pause(Duration::from_millis(50));
        }
    }
}

fn server(is_slow: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut question = [0];
                if stream.read_exact(&mut question).is_ok() {
                    // Whoever has gone need not hear it.
                    let piece = vec![7; PIECE];
                    each_piece(is_slow, || drop(stream.write_all(&piece)));
                }
            });
        }
    });
    addr
}

/// Takes what a server sends.
fn download(forwarder: &Forwarder, is_slow: bool) {
    let mut stream = forwarder.connect();
    SockRef::from(&stream).set_recv_buffer_size(65_536).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"?").unwrap();
    let mut piece = vec![0; PIECE];
    each_piece(is_slow, || stream.read_exact(&mut piece).unwrap());
}

fn changes(bandwidth: &Value) -> Value {
    json!({
        "server": { "bandwidth": bandwidth },
        "remotes": {
            "probing": { "interval": "300ms" },
            "selector": { "active_set_size": 2, "evaluation_interval": "300ms" },
            "scoring": { "throughput": { "max_score": 100, "good": "200Mbit", "floor": "8Mbit" } },
        },
        "pools": { "algorithm": "round_robin" },
    })
}

fn start(servers: &[SocketAddr], bandwidth: &Value) -> Forwarder {
    let list: Vec<_> = servers.iter().map(ToString::to_string).collect();
    Forwarder::start(&changes(bandwidth), &list.join("\n"))
}

fn score(forwarder: &Forwarder, server: &SocketAddr) -> f64 {
    let text = forwarder.scrape();
    let lines = text
        .lines()
        .filter(|line| line.contains(&format!("server=\"{server}\"")));
    sum(&lines.collect::<Vec<_>>().join("\n"), "server_score")
}

#[test]
fn a_backend_that_moves_much_slowly_loses_points_for_it() {
    let servers = [server(true), server(false)];
    let forwarder = start(&servers, &json!({}));
    wait_for("both are in the set", || {
        servers.iter().all(|server| score(&forwarder, server) > 150.0)
    });
    (0..2).for_each(|_| download(&forwarder, false));
    wait_for("the slow one is told from the other", || {
        let [slow, fast] = servers.map(|server| score(&forwarder, &server));
        slow < fast - 30.0
    });
    assert!(score(&forwarder, &servers[1]) > 150.0);
}

#[test]
fn a_slow_client_or_a_limit_of_ours_costs_a_backend_no_points() {
    let servers = [server(false), server(false)];
    for (is_slow, bandwidth) in [(true, json!({})), (false, json!({ "per_connection": "40Mbit" }))] {
        let forwarder = start(&servers, &bandwidth);
        wait_for("both are in the set", || {
            servers.iter().all(|server| score(&forwarder, server) > 150.0)
        });
        (0..2).for_each(|_| download(&forwarder, is_slow));
        // The next looks of the scorer have both downloads.
        pause(Duration::from_secs(1));
        for server in &servers {
            let score = score(&forwarder, server);
            assert!(score > 150.0, "{is_slow}, {bandwidth}: {score}");
        }
    }
}
