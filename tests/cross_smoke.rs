//! One build of the program on its own, be it for this machine or for another one behind an emulator: it starts,
//! forwards, counts and stops; and it gets by on a small machine, where it sleeps when nothing happens.
//!
//! `TCP_FORWARDER_BIN` names the build, see [`support::program`]; `scripts/cross test TARGET` sets it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and waiting has a deadline"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::json;

mod support;

use support::{Files, Forwarder, comes_to_rest, echo_on, ping, settings, sum, wait_for};

/// Bytes of one body: more than every buffer on the way together.
const BODY_BYTES: usize = 8 * 1024 * 1024;

/// Descriptors of the small machine.
const DESCRIPTORS: u32 = 256;

/// Memory of the small machine, in kB.
const MEMORY_KB: u64 = 64 * 1024;

/// Whether the build under test runs behind an emulator, whose memory and wake-ups are its own.
fn is_emulated() -> bool {
    std::env::var("TCP_FORWARDER_BIN").is_ok_and(|words| words.split_whitespace().count() > 1)
}

/// Body number `seed`: no two blocks of it are the same, so that a lost or doubled one shows.
fn body(seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; BODY_BYTES];
    rng.fill(&mut bytes);
    bytes
}

/// A server that reads a request to its end, and answers `response` if it was `request`.
fn http_server(request: Vec<u8>, response: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, request, response) = (stream.unwrap(), request.clone(), response.clone());
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                // Probes and warm connections end without a byte.
                if stream.read_to_end(&mut seen).is_ok() && seen == request {
                    drop(stream.write_all(&response));
                }
            });
        }
    });
    addr
}

#[test]
fn it_starts_forwards_counts_and_stops() {
    let mut request = format!("POST / HTTP/1.0\r\nContent-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
    request.extend(body(1));
    let mut response = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
    response.extend(body(2));
    let list = format!("{}\n", http_server(request.clone(), response.clone()));
    for splice in ["auto", "off"] {
        let forwarder = Forwarder::start(&json!({ "server": { "splice": splice } }), &list);
        let mut client = forwarder.connect();
        client.write_all(&request).unwrap();
        // Half-close: the server answers only once it has seen the end.
        client.shutdown(Shutdown::Write).unwrap();
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).unwrap();
        assert!(
            seen == response,
            "{} of {} bytes, splice {splice}",
            seen.len(),
            response.len()
        );
        let bytes = (request.len() + response.len()).to_string();
        wait_for("every byte is counted", || {
            sum(&forwarder.scrape(), "bytes_transferred_total").to_string() == bytes
        });
        wait_for("the close is counted", || {
            forwarder.metric("connections_closed_total{reason=\"finished\"}") > 0.5
        });
        forwarder.signal(rustix::process::Signal::INT);
        let ended = forwarder.ended();
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stdout.contains("stopped: "), "{}", ended.stdout);
    }
}

#[test]
fn it_gets_by_on_a_small_machine() {
    let echo: Vec<_> = (1..=3)
        .map(|host| echo_on(Ipv4Addr::new(127, 0, 0, host)))
        .collect();
    let list = echo
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    let changes = json!({
        "server": { "reactors": 1 },
        "pools": { "strategy": { "type": "dynamic" } },
    });
    let files = Files::new(&settings(&changes), &list);
    let command = files.command_with_descriptors(DESCRIPTORS);
    let forwarder = Forwarder::spawn(files, command).listening();
    let log = forwarder.log();
    let (_, rest) = log.split_once("up to ").expect("it says how many");
    let most: usize = rest.split(' ').next().unwrap().parse().unwrap();
    assert!((80..=100).contains(&most), "{most} connections");
    wait_for("pools are filled", || {
        forwarder.metric("pool_available_connections") > 30.5
    });

    // As many clients as there may be: dials for them come before warm connections and probes.
    let mut clients: Vec<_> = (0..most).map(|_| forwarder.connect()).collect();
    for client in &mut clients {
        ping(client, b"every client has a backend");
    }
    // One more waits, and is served when another one goes.
    let mut late = forwarder.connect();
    late.write_all(b"late").unwrap();
    late.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = late.peek(&mut [0]).expect_err("it waits");
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    for client in &mut clients {
        ping(client, b"established relays do not suffer");
    }
    drop(clients.pop());
    late.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut reply = [0; 4];
    late.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"late");
    // Probing goes on meanwhile.
    let probes = forwarder.metric("server_probe_success_total");
    wait_for("probes succeed", || {
        forwarder.metric("server_probe_success_total") > probes
    });
    if is_emulated() {
        skipped("memory of the small machine: the emulator's is its own");
    } else if let Some(peak) = peak_memory_kb(&forwarder) {
        assert!(peak < MEMORY_KB / 2, "{peak} kB");
    }
    drop((clients, late));
    let ended = forwarder.stop();
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn it_sleeps_when_nothing_happens() {
    if is_emulated() {
        skipped("wake-ups at rest: the emulator has threads of its own");
        return;
    }
    let list = format!("{}\n", echo_on(Ipv4Addr::LOCALHOST));
    let changes = json!({
        "remotes": {
            "probing": { "interval": "1h" },
            "selector": { "evaluation_interval": "1h" },
        },
        "pools": { "strategy": { "type": "dynamic", "dynamic": { "min_size": 5, "scaling": { "interval": "1h" } } } },
    });
    let forwarder = Forwarder::start(&changes, &list);
    ping(&mut forwarder.connect(), b"some traffic");
    // A second of quiet must be found once: filling pools and the end of the relay may take a while.
    let quiet = comes_to_rest(support::PATIENCE, Duration::from_secs(1), || wake_ups(&forwarder));
    assert!(
        quiet.is_some(),
        "threads that wake up: {:?}",
        wake_ups(&forwarder)
    );
}

/// How often each thread went to sleep so far, by name.
fn wake_ups(forwarder: &Forwarder) -> Vec<(String, u64)> {
    let mut threads = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{}/task", forwarder.pid())).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let switches = field(&status, "voluntary_ctxt_switches:").unwrap();
        let name = status.lines().next().unwrap_or_default().to_owned();
        threads.push((name, switches));
    }
    threads.sort();
    threads
}

/// The most memory that was resident at once.
fn peak_memory_kb(forwarder: &Forwarder) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", forwarder.pid())).ok()?;
    field(&status, "VmHWM:")
}

/// A number of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Says what was not tested; not through the macros, whose output the test harness keeps.
fn skipped(what: &str) {
    drop(writeln!(std::io::stderr(), "skipped: {what}"));
}
