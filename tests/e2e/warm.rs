//! Warm connections that their backend closes: they cost clients nothing, and nobody dials in a tight loop.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tcp_forwarder::config::{Dynamic, Spec, Strategy};

use crate::rig::{Rig, TestBackend, wait_for};
use crate::support::ping;

fn warm(size_per_remote: usize) -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = Strategy::Static { size_per_remote };
    spec
}

/// Clients that got another connection for one that had turned out dead.
fn replaced(rig: &Rig) -> u64 {
    rig.sum_counters(|counters| &counters.rescued)
}

#[derive(Default)]
struct Tally {
    /// Connections that the backend closed because no request came in time.
    closed_idle: AtomicU64,
    /// Of these, those on which a request crossed the close.
    crossed: AtomicU64,
}

/// A server that closes a connection whose request does not come within a while of its own choosing. No client
/// that connects by itself and speaks within 900 ms ever meets that.
fn impatient(seed: u64, tally: &Arc<Tally>) -> TestBackend {
    let rng = Mutex::new(fastrand::Rng::with_seed(seed));
    let tally = Arc::clone(tally);
    TestBackend::start(move |mut stream| {
        let patience = Duration::from_millis(rng.lock().unwrap().u64(1000..1600));
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut request = [0; 8];
        match stream.read_exact(&mut request) {
            Ok(()) => {
                // Replies and closes first, as HTTP servers do.
                let _ = stream.write_all(&request);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                tally.closed_idle.fetch_add(1, Ordering::Relaxed);
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.set_read_timeout(Some(crate::rig::PATIENCE));
                if matches!(stream.read(&mut request), Ok(1..)) {
                    tally.crossed.fetch_add(1, Ordering::Relaxed);
                }
            }
            // Closed by the other side: given up by the pool.
            Err(_) => {}
        }
    })
}

/// Connects, speaks after `pause`, and says whether the reply is whole and followed by a proper end.
fn exchange(mut stream: TcpStream, pause: Duration, request: [u8; 8]) -> bool {
    crate::support::pause(pause);
    let mut reply = Vec::new();
    stream.write_all(&request).is_ok() && stream.read_to_end(&mut reply).is_ok() && reply == request
}

#[test]
fn stale_warm_connections_cost_clients_nothing() {
    const CLIENTS: u64 = 500;
    const ROUNDS: u64 = 4;
    let seed = 20_260;
    let tally = Arc::new(Tally::default());
    let backends = [impatient(seed, &tally), impatient(seed + 1, &tally)];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    // A pool that counts what is in use is not refilled under the clients: they get the old ones too.
    let mut spec = Spec::default();
    spec.pools.strategy = Strategy::Dynamic(Dynamic {
        min_size: 250,
        max_size: 250,
        ..Dynamic::default()
    });
    let rig = Rig::start(&spec, &addrs, 2);
    let mut rng = fastrand::Rng::with_seed(seed + 2);
    let mut failures = 0;
    for round in 0..ROUNDS {
        wait_for("a full pool", || rig.warm() >= 400);
        // So that they grow old: the more, the later the round.
        crate::support::pause(Duration::from_millis(300 * round));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let stream = rig.connect();
                let pause = Duration::from_millis(rng.u64(0..800));
                let request = (round * CLIENTS + client).to_be_bytes();
                std::thread::spawn(move || exchange(stream, pause, request))
            })
            .collect();
        for client in clients {
            failures += u64::from(!client.join().unwrap());
        }
    }
    let replaced = replaced(&rig);
    assert_eq!(
        rig.requests(),
        ROUNDS * CLIENTS,
        "a replacement is no further request"
    );
    assert_eq!(
        rig.hits() + rig.misses(),
        ROUNDS * CLIENTS,
        "nor a further checkout"
    );
    let crossed = tally.crossed.load(Ordering::Relaxed);
    assert!(
        replaced > 100,
        "only {replaced} clients met a stale connection (seed {seed})"
    );
    assert!(rig.hits() > ROUNDS * CLIENTS / 4);
    // A request that is on its way when the backend closes cannot be saved: nobody knows whether it counted.
    assert!(
        failures <= crossed,
        "{failures} of {} clients failed, {crossed} crossed a close, {replaced} were replaced (seed {seed})",
        ROUNDS * CLIENTS
    );
    assert!(
        crossed <= 4,
        "{crossed} requests crossed a close: too late a look (seed {seed})"
    );
}

#[test]
fn a_warm_connection_that_is_reset_under_a_silent_client_is_replaced() {
    let (held, connections) = mpsc::channel();
    let held = Mutex::new(held);
    let is_first = AtomicBool::new(true);
    let backend = TestBackend::start(move |mut stream| {
        if is_first.swap(false, Ordering::Relaxed) {
            held.lock().unwrap().send(stream).unwrap();
            return;
        }
        let mut request = [0; 8];
        if stream.read_exact(&mut request).is_ok() {
            stream.write_all(&request).unwrap();
        }
    });
    let rig = Rig::start(&warm(1), &[backend.addr], 1);
    let first: TcpStream = connections.recv_timeout(crate::rig::PATIENCE).unwrap();
    wait_for("it is warm", || rig.warm() == 1);
    let mut client = rig.connect();
    wait_for("it is the client's", || rig.hits() == 1);
    SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
    drop(first);
    wait_for("it is replaced", || replaced(&rig) == 1);
    ping(&mut client, b"12345678");
}

#[test]
fn a_backend_that_accepts_and_closes_is_not_dialled_in_a_tight_loop() {
    let accepted = Arc::new(AtomicU64::new(0));
    let is_good = Arc::new(AtomicBool::new(false));
    let (count, good) = (Arc::clone(&accepted), Arc::clone(&is_good));
    let backend = TestBackend::start(move |mut stream| {
        count.fetch_add(1, Ordering::Relaxed);
        if good.load(Ordering::Relaxed) {
            let mut request = [0; 8];
            while stream.read_exact(&mut request).is_ok() && stream.write_all(&request).is_ok() {}
        }
    });
    let rig = Rig::start(&warm(20), &[backend.addr], 1);
    wait_for("the first wave", || accepted.load(Ordering::Relaxed) >= 20);
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        // Clients are told at once, as they would be without a forwarder.
        let mut client = rig.connect();
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        crate::support::pause(Duration::from_millis(100));
    }
    // Pauses of 0.1, 0.2, 0.4, 0.8 s (give or take half) between waves of 20, and a dial or two per client.
    let dials = accepted.load(Ordering::Relaxed);
    assert!(dials <= 250, "{dials} dials in two seconds");
    is_good.store(true, Ordering::Relaxed);
    wait_for("the pool fills once the backend is well", || rig.warm() == 20);
    ping(&mut rig.connect(), b"12345678");
}
