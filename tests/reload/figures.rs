//! What a large reload costs: those who asked for it, and those who have nothing to do with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::office::{Office, note, office_settings};
use crate::support::{Forwarder, echo_on, pause, ping, wait_for};

const SERVICES: usize = 100;
const LINES: usize = 1_000;

/// Promised, of a release build on a machine that does nothing else; a debug build among other tests gets more.
const RELOAD: Duration = Duration::from_millis(200);
const DELAY: Duration = Duration::from_millis(5);
const PATIENT: u32 = if cfg!(debug_assertions) { 20 } else { 3 };

/// For how long the client is watched, and how often it asks.
const WATCHED: Duration = Duration::from_secs(4);
const PACE: Duration = Duration::from_millis(1);
const EVERY: Duration = Duration::from_millis(200);

/// A list of so many lines, of which the first is alive; another one each turn.
fn list(alive: &str, place: usize, turn: usize) -> String {
    let line = |i: usize| format!("127.{}.{}.{}:{}\n", 1 + place, i / 250, i % 250 + 1, 2 + turn);
    let rest: String = (1..LINES).map(line).collect();
    format!("{alive}\n{rest}")
}

fn settings() -> Value {
    let service = |place: usize| {
        let listen_addr = "127.0.0.1:0";
        let list = format!("list-{place}.txt");
        (
            format!("s{place:03}"),
            json!({ "listen_addr": listen_addr, "remotes": { "provider": { "file": { "path": list } } } }),
        )
    };
    let services: Map<_, _> = (0..SERVICES).map(service).collect();
    let mut settings = office_settings(&json!({
        "services": services,
        "remotes": {
            "probing": { "interval": "15s", "initial": { "enabled": false }, "timeout": "1s" },
            "selector": { "evaluation_interval": "30s" },
        },
        "pools": { "strategy": { "type": "off" } },
    }));
    settings["server"].as_object_mut().unwrap().remove("listen_addr");
    settings
}

fn write(office: &Office, alive: &str, turn: usize) {
    for place in 0..SERVICES {
        office.replace(&format!("list-{place}.txt"), &list(alive, place, turn));
    }
}

/// The answer time that one in a hundred exceeds, of a client that keeps its connection.
fn p99(forwarder: &Forwarder) -> Duration {
    let mut client = forwarder.connect();
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < WATCHED {
        let asked = Instant::now();
        ping(&mut client, b"a request of a client that keeps its connection");
        times.push(asked.elapsed());
        pause(PACE);
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
fn a_large_reload_is_quick_and_delays_nobody() {
    let alive = echo_on(std::net::Ipv4Addr::LOCALHOST).to_string();
    let config = settings();
    // The lists stand beside the configuration before the process starts.
    let files = crate::support::Files::new(&config, &alive);
    for place in 0..SERVICES {
        std::fs::write(files.path(&format!("list-{place}.txt")), format!("{alive}\n")).unwrap();
    }
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command).listening();
    wait_for("it listens", || {
        forwarder.log().matches("listening on ").count() == SERVICES
    });
    let office = Office::of(&forwarder);
    let quiet = p99(&forwarder);
    let ends = AtomicBool::new(false);
    let (busy, mut times) = std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let mut times = Vec::new();
            let mut turn = 0;
            while !ends.load(Ordering::Relaxed) {
                turn += 1;
                write(&office, &alive, turn);
                let asked = Instant::now();
                office.change(&config);
                times.push(asked.elapsed());
                pause(EVERY.saturating_sub(asked.elapsed()));
            }
            times
        });
        let busy = p99(&forwarder);
        ends.store(true, Ordering::Relaxed);
        (busy, reloads.join().unwrap())
    });
    times.sort_unstable();
    let median = times[times.len() / 2];
    note(&format!(
        "reload of {SERVICES} services with {LINES} lines each: median {median:?}, longest {:?}, {} reloads; p99 {quiet:?} without, {busy:?} beside them",
        times[times.len() - 1],
        times.len(),
    ));
    assert!(median < RELOAD * PATIENT, "{times:?}");
    assert!(
        busy < quiet + DELAY * PATIENT,
        "p99 {quiet:?} without reloads, {busy:?} with"
    );
    assert_eq!(forwarder.stop().status, Some(0));
}
