//! A full process: accepting pauses and resumes by itself, relays go on, nothing leaks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::json;
use tcp_forwarder::config::{Spec, Strategy};

use crate::rig::{Rig, TestBackend, wait_for};
use crate::support::{Files, Forwarder, comes_true, echo_on, ping, settings};

/// How long nothing may happen before it counts as not happening.
const QUIET: Duration = Duration::from_millis(300);

/// Whether a reply comes within [`QUIET`].
fn is_answered(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let answered = stream.peek(&mut [0]).is_ok_and(|count| count > 0);
    stream.set_read_timeout(Some(crate::rig::PATIENCE)).unwrap();
    answered
}

/// Connects and asks, without waiting for the reply.
fn ask(mut stream: TcpStream) -> TcpStream {
    stream.write_all(b"ask").unwrap();
    stream
}

fn expect_reply(stream: &mut TcpStream) {
    let mut reply = [0; 3];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"ask");
}

#[test]
fn over_max_connections_accepting_pauses_and_resumes() {
    let mut spec = Spec::default();
    spec.pools.strategy = Strategy::Off;
    let rig = Rig::start_with(&spec, &[TestBackend::echo().addr], 2, 5);
    let mut established: Vec<_> = (0..5).map(|_| rig.connect()).collect();
    for stream in &mut established {
        ping(stream, b"one of five");
    }
    let mut waiting: Vec<_> = (0..3).map(|_| ask(rig.connect())).collect();
    assert!(!waiting.iter_mut().any(is_answered), "five are all");
    assert_eq!(rig.active(), 5);
    for stream in &mut established {
        ping(stream, b"relays go on");
    }
    // Each that goes lets one in, though nothing else happens.
    for left in (0..3).rev() {
        drop(established.remove(0));
        wait_for("one is let in", || {
            established.extend(waiting.extract_if(.., is_answered));
            waiting.len() <= left
        });
        assert_eq!((waiting.len(), rig.active()), (left, 5));
    }
    assert!(rig.sum_counters(|one| &one.accept_paused) > 0);
}

#[test]
fn few_descriptors_mean_waiting_and_never_a_lost_client() {
    let files = Files::new(
        &settings(&json!({})),
        &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)),
    );
    let command = files.command_with_descriptors(128);
    let forwarder = Forwarder::spawn(files, command).listening();
    let mut clients: Vec<_> = (0..150).map(|_| ask(forwarder.connect())).collect();
    wait_for("it is full", || forwarder.log().contains("accepting pauses"));
    // Whoever is served goes, which lets others in; at last all have been served.
    for client in &clients {
        client.set_nonblocking(true).unwrap();
    }
    wait_for("all are served", || {
        clients.retain_mut(|client| match client.peek(&mut [0]) {
            Ok(_) => {
                expect_reply(client);
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                true
            }
        });
        clients.is_empty()
    });
    assert!(forwarder.metric("accept_paused_total") >= 1.0);
    assert_eq!(
        forwarder.metric("connections_closed_total{reason=\"dial_failed\"}"),
        0.0
    );
    let log = forwarder.log();
    let told = log
        .lines()
        .filter(|line| line.contains("accepting pauses"))
        .count();
    assert_eq!(told, 1, "once a burst, not once a reactor:\n{log}");
}

#[test]
fn descriptors_that_run_out_all_the_same_end_nothing() {
    let forwarder = Forwarder::start(&json!({}), &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)));
    let mut established: Vec<_> = (0..4).map(|_| forwarder.connect()).collect();
    for stream in &mut established {
        ping(stream, b"early");
    }
    // Somebody takes its descriptors away while it runs: the limit it knows is no longer true.
    let before = u64::try_from(forwarder.descriptors()).unwrap();
    let room = |current| Rlimit {
        current: Some(current),
        maximum: Some(20_000),
    };
    let old = prlimit(Some(forwarder.process()), Resource::Nofile, room(before + 6)).unwrap();
    let mut crowd: Vec<_> = (0..60).map(|_| ask(forwarder.connect())).collect();
    wait_for("it is full", || forwarder.log().contains("accepting pauses"));
    for stream in &mut established {
        ping(stream, b"relays go on");
    }
    prlimit(Some(forwarder.process()), Resource::Nofile, old).unwrap();
    for client in &mut crowd {
        expect_reply(client);
    }
    let log = forwarder.log();
    let warnings = log.lines().filter(|line| line.contains("[WARN]")).count();
    assert!(
        warnings <= 6,
        "a burst is told once by each that meets it:\n{log}"
    );
}

#[test]
fn churn_leaks_no_descriptor() {
    let changes = json!({
        "pools": { "strategy": { "type": "static", "static": { "size_per_remote": 4 } } },
        "remotes": { "probing": { "interval": "1h" } },
    });
    let good = echo_on(Ipv4Addr::LOCALHOST);
    let forwarder = Forwarder::start(&changes, &format!("{good}\n"));
    let settled = || {
        forwarder.metric("active_connections") == 0.0 && forwarder.metric("pool_available_connections") == 4.0
    };
    wait_for("a full pool", settled);
    ping(&mut forwarder.connect(), b"the first one makes what is made once");
    wait_for("it is gone", settled);
    let before = forwarder.descriptors();
    let churn = |seed: u64| {
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..150 {
            let mut stream = forwarder.connect();
            match rng.u8(0..5) {
                0 => {}
                1 => ping(&mut stream, &vec![1; 200_000]),
                2 => stream.write_all(&[2; 5000]).unwrap(),
                3 => {
                    stream.write_all(&[3; 5000]).unwrap();
                    let linger = Some(Duration::ZERO);
                    socket2::SockRef::from(&stream).set_linger(linger).unwrap();
                }
                _ => {
                    stream.write_all(b"end").unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut reply = Vec::new();
                    stream.read_to_end(&mut reply).unwrap();
                    assert_eq!(reply, b"end");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            scope.spawn(move || churn(seed));
        }
    });
    wait_for("all are gone", settled);
    // The scrape itself has one open for a moment.
    let leaked = !comes_true(crate::rig::PATIENCE, || forwarder.descriptors() <= before + 1);
    assert!(
        !leaked,
        "{before} descriptors before, {} after",
        forwarder.descriptors()
    );
    assert_eq!(forwarder.metric("new_connections_total"), 601.0);
}

/// Whatever comes to the metrics port: clients feel nothing, and the process grows by the port's bound at most.
#[test]
fn a_crowd_at_the_metrics_port_does_no_harm_to_forwarding() {
    let forwarder = Forwarder::start(&json!({}), &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)));
    let threads = || {
        let folder = format!("/proc/{}/task", forwarder.pid());
        std::fs::read_dir(folder).unwrap().count()
    };
    let mut established = forwarder.connect();
    ping(&mut established, b"early");
    let (threads_before, descriptors_before) = (threads(), forwarder.descriptors());
    let addr = forwarder.metrics_addr();
    let crowd: Vec<TcpStream> = (0..1000)
        .map(|i| {
            let mut stream = TcpStream::connect(addr).unwrap();
            let bytes: &[u8] = match i % 4 {
                0 => b"",
                1 => b"GET /metrics HTTP/1.1\r\nHost: slow",
                2 => b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n",
                _ => &[0xff; 64],
            };
            // May fail: the port is free to have closed it already.
            drop(stream.write_all(bytes));
            if i % 50 == 0 {
                ping(&mut established, b"goes on");
                ping(&mut forwarder.connect(), b"a newcomer");
            }
            stream
        })
        .collect();
    assert!(threads() <= threads_before, "{} threads", threads());
    // 32 of the port, the pool's four, and what newcomers leave for a moment.
    let descriptors = forwarder.descriptors();
    assert!(
        descriptors <= descriptors_before + 64,
        "{descriptors} descriptors"
    );
    assert!(forwarder.metric("errors_total{kind=\"metrics_request\"}") >= 1.0);
    ping(&mut established, b"to the end");
    drop(crowd);
}
