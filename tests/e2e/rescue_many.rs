//! Backends that drop warm connections at random times, many times over: no client of a `safe` forwarder notices,
//! and nothing is executed twice.
//!
//! A round: every waiting connection of a backend draws its fate; those that are to be dropped go deaf, as if
//! what comes were still on its way; then a burst of clients takes them all and speaks, each after a pause of its
//! own, while the doomed connections are closed, each at a time of its own. With `TCP_FORWARDER_LONG=1` it is
//! 100,000 connections of each kind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tcp_forwarder::config::{Dynamic, Rescue, Spec, Strategy};

use crate::fickle::{
    Executed, Fickle, HELLO_BYTES, Order, REQUEST_BYTES, SPREAD, Speech, client_hello, http_reply,
    server_hello,
};
use crate::rig::{Rig, wait_for};

/// Connections of one round.
const BURST: usize = 500;
const BACKENDS: usize = 2;

/// One client, from connect to the end; whether all went as it would have without a forwarder.
fn is_served(addr: SocketAddr, speech: Speech, id: usize, pause: Duration) -> bool {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(crate::rig::PATIENCE)).unwrap();
    crate::support::pause(pause);
    let mut heard = Vec::new();
    match speech {
        Speech::Http => {
            let request = format!("GET /{id:016x}\r\n\r\n");
            assert_eq!(request.len(), REQUEST_BYTES);
            let is_whole =
                stream.write_all(request.as_bytes()).is_ok() && stream.read_to_end(&mut heard).is_ok();
            is_whole && heard == http_reply(id)
        }
        Speech::Tls => {
            let mut hello = client_hello(0);
            assert_eq!(hello.len(), HELLO_BYTES);
            hello[11..19].copy_from_slice(&(id as u64).to_be_bytes());
            let expected = server_hello(&hello);
            heard.resize(expected.len(), 0);
            if stream.write_all(&hello).is_err()
                || stream.read_exact(&mut heard).is_err()
                || heard != expected
            {
                return false;
            }
            let mut secret = vec![23, 3, 3, 0, 8];
            secret.extend((id as u64).to_be_bytes());
            heard.clear();
            let is_whole = stream.write_all(&secret).is_ok() && stream.read_to_end(&mut heard).is_ok();
            is_whole && heard == secret
        }
    }
}

#[derive(Debug)]
struct Tally {
    failed: usize,
    rescued: u64,
    /// Requests that were executed more than once.
    repeated: usize,
}

/// Lets `rounds` bursts of clients meet fickle backends.
fn run(rescue: Rescue, speech: Speech, rounds: usize, seed: u64) -> Tally {
    let executed: Executed = Arc::new((0..rounds * BURST).map(|_| AtomicU8::new(0)).collect());
    let backends: Vec<Fickle> = (0..BACKENDS as u64)
        .map(|place| Fickle::start(speech, seed + place, &executed))
        .collect();
    let addrs: Vec<SocketAddr> = backends.iter().map(|backend| backend.addr).collect();
    let mut spec = Spec::default();
    spec.pools.rescue = rescue;
    // A pool that counts what is in use is not refilled under the clients.
    spec.pools.strategy = Strategy::Dynamic(Dynamic {
        min_size: BURST / BACKENDS,
        max_size: BURST / BACKENDS,
        ..Dynamic::default()
    });
    let rig = Rig::start(&spec, &addrs, 2);
    let mut rng = fastrand::Rng::with_seed(seed + 10);
    let mut failed = 0;
    for round in 0..rounds {
        let settled = || {
            backends
                .iter()
                .map(|backend| backend.settled.load(Ordering::Relaxed))
                .sum::<usize>()
        };
        wait_for("every waiting connection has drawn its fate", || {
            rig.warm() as usize >= BURST && settled() >= BURST
        });
        for backend in &backends {
            backend.order(Order::Hold);
        }
        wait_for("who comes from now on is not doomed", || settled() == 0);
        let clients: Vec<_> = (0..BURST)
            .map(|client| {
                let (addr, id) = (rig.addr, round * BURST + client);
                let pause = SPREAD.mul_f64(rng.f64());
                std::thread::spawn(move || is_served(addr, speech, id, pause))
            })
            .collect();
        for backend in &backends {
            backend.order(Order::End);
        }
        failed += clients
            .into_iter()
            .map(|client| usize::from(!client.join().unwrap()))
            .sum::<usize>();
        wait_for("the round is over", || rig.active() == 0);
        for backend in &backends {
            backend.order(Order::Draw);
        }
    }
    let times = |least: u8| {
        executed
            .iter()
            .filter(|times| times.load(Ordering::Relaxed) >= least)
            .count()
    };
    assert_eq!(
        times(1) + failed,
        rounds * BURST,
        "served or failed (seed {seed})"
    );
    Tally {
        failed,
        rescued: rig.sum_counters(|counters| &counters.rescued),
        repeated: times(2),
    }
}

fn nobody_notices(speech: Speech, seed: u64) {
    let is_long = std::env::var("TCP_FORWARDER_LONG").is_ok_and(|value| value == "1");
    let rounds = if is_long { 100_000 / BURST } else { 2 };
    let began = Instant::now();
    let safe = run(Rescue::Safe, speech, rounds, seed);
    let tell = |mode: &str, rounds: usize, tally: &Tally| {
        drop(writeln!(
            std::io::stderr(),
            "{speech:?}, {mode}: {} connections, {} failed, {} rescued, {} repeated, {:?}",
            rounds * BURST,
            tally.failed,
            tally.rescued,
            tally.repeated,
            began.elapsed()
        ));
    };
    if is_long {
        tell("safe", rounds, &safe);
    }
    assert_eq!((safe.failed, safe.repeated), (0, 0), "seed {seed}: {safe:?}");
    let connections = (rounds * BURST) as u64;
    assert!(safe.rescued > connections / 100, "seed {seed}: {safe:?}");
    let rounds = if is_long { rounds / 10 } else { 1 };
    let off = run(Rescue::Off, speech, rounds, seed + 20);
    if is_long {
        tell("off", rounds, &off);
    }
    assert!(
        off.failed > rounds * BURST / 100,
        "without a rescue it is noticed (seed {seed}): {off:?}"
    );
}

#[test]
fn no_client_of_http_notices_backends_that_close() {
    nobody_notices(Speech::Http, 71_000);
}

#[test]
fn no_client_of_tls_notices_backends_that_close_or_reset() {
    nobody_notices(Speech::Tls, 72_000);
}
