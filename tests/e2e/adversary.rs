//! Peers that behave as badly as TCP lets them, and what it must not cost anybody.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use socket2::SockRef;
use tcp_forwarder::config::{Spec, Splice, Strategy};
use tcp_forwarder::relay::close::{CloseReason, RESET_GRACE};

use crate::rig::{PATIENCE, Rig, TestBackend, wait_for};
use crate::support::comes_true;

fn spec(strategy: Strategy) -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = strategy;
    spec
}

fn cold() -> Spec {
    spec(Strategy::Off)
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Waits until neither relays nor connections to backends are left, but for warm ones.
fn wait_until_quiet(rig: &Rig) {
    wait_for("nothing is left", || {
        rig.active() == 0 && rig.upstreams() == u64::from(rig.warm())
    });
}

#[test]
fn a_warm_connection_that_is_dead_at_birth_does_not_stay() {
    // Dials of one wave are looked at after the backend has closed the first of them: connect and close come
    // as one event.
    let backend = TestBackend::start(drop);
    let spec = spec(Strategy::Static { size_per_remote: 60 });
    let rig = Rig::start(&spec, &[backend.addr], 1);
    let dials = || rig.set().backends[0].dial_durations.totals().0;
    wait_for("a few waves of dials", || dials() > 150);
    wait_for("none is left of what the backend has closed", || rig.warm() == 0);
    wait_until_quiet(&rig);
}

#[test]
fn a_client_that_resets_behind_a_stuck_upload_is_noticed() {
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = TestBackend::start(move |stream| {
        // Never reads.
        let _ = held.lock().unwrap().recv_timeout(PATIENCE);
        drop(stream);
    });
    for splice in [Splice::Off, Splice::Auto] {
        let mut spec = cold();
        spec.server.splice = splice;
        let rig = Rig::start(&spec, &[backend.addr], 1);
        let mut client = rig.connect();
        client.set_nonblocking(true).unwrap();
        let chunk = vec![1; 256 * 1024];
        let mut still = 0;
        wait_for("the upload is stuck", || match client.write(&chunk) {
            Ok(_) => {
                still = 0;
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                still += 1;
                still > 100
            }
        });
        reset(client);
        wait_for("the reset is seen", || rig.closed(CloseReason::ClientReset) == 1);
        wait_until_quiet(&rig);
        release.send(()).unwrap();
    }
}

#[test]
fn a_reset_after_a_half_close_is_noticed() {
    // The client finishes, waits for an answer, and is killed.
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = TestBackend::start(move |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let _ = held.lock().unwrap().recv_timeout(PATIENCE);
    });
    let rig = Rig::start(&cold(), &[backend.addr], 1);
    let mut client = rig.connect();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_for("the question is through", || {
        rig.traffic(0).bytes_to_backend.value() == 8
    });
    reset(client);
    wait_for("the reset is seen", || rig.closed(CloseReason::ClientReset) == 1);
    wait_until_quiet(&rig);
    release.send(()).unwrap();

    // The backend finishes, goes on reading, and is killed.
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = TestBackend::start(move |stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        held.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        reset(stream);
    });
    let rig = Rig::start(&cold(), &[backend.addr], 1);
    let mut client = rig.connect();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the finish of the backend");
    release.send(()).unwrap();
    wait_for("the reset is seen", || rig.closed(CloseReason::BackendReset) == 1);
    let error = client.write_all(&[0; 10]).and_then(|()| client.read(&mut [0]));
    assert!(error.is_err() || client.write_all(&[0; 10]).is_err(), "passed on");
    wait_until_quiet(&rig);
}

#[test]
fn a_reset_takes_nothing_back_of_a_stream_that_had_finished() {
    const BYTES: usize = 400 * 1024;
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (told, outcome) = mpsc::channel();
    let backend = TestBackend::start(move |mut stream| {
        SockRef::from(&stream).set_recv_buffer_size(16 * 1024).unwrap();
        held.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let mut all = Vec::new();
        told.send(stream.read_to_end(&mut all).map(|_| all.len()))
            .unwrap();
    });
    let rig = Rig::start(&cold(), &[backend.addr], 1);
    let mut client = rig.connect();
    client.write_all(&vec![1; BYTES]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_for("all is written", || {
        rig.traffic(0).bytes_to_backend.value() == BYTES as u64
    });
    reset(client);
    wait_for("the reset is seen", || rig.closed(CloseReason::ClientReset) == 1);
    release.send(()).unwrap();
    assert_eq!(outcome.recv_timeout(PATIENCE).unwrap().unwrap(), BYTES);
}

#[test]
fn a_client_that_reads_late_gets_all_that_came_before_a_reset() {
    const BYTES: usize = 700_000;
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let backend = TestBackend::start(move |mut stream| {
        stream.write_all(&vec![1; BYTES]).unwrap();
        held.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        reset(stream);
    });
    let rig = Rig::start(&cold(), &[backend.addr], 1);
    let mut client = rig.connect();
    wait_for("all is written", || {
        rig.traffic(0).bytes_to_client.value() == BYTES as u64
    });
    release.send(()).unwrap();
    // A client twice as late as a reset is held back for those that are not.
    let ends = comes_true(2 * RESET_GRACE, || rig.active() == 0);
    assert!(!ends, "what the client has not got yet is thrown away");
    let mut all = vec![0; BYTES];
    client.read_exact(&mut all).unwrap();
    let error = client.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    wait_for("it is counted", || rig.closed(CloseReason::BackendReset) == 1);
    wait_until_quiet(&rig);
}

#[test]
fn a_client_that_never_reads_holds_a_reset_back_for_as_long_as_a_half_close() {
    let backend = TestBackend::start(move |mut stream| {
        stream.write_all(&vec![1; 700_000]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        reset(stream);
    });
    let mut spec = cold();
    spec.server.half_close_timeout = Duration::from_millis(500);
    let rig = Rig::start(&spec, &[backend.addr], 1);
    let mut client = rig.connect();
    wait_for("all is written", || {
        rig.traffic(0).bytes_to_client.value() == 700_000
    });
    client.write_all(b"x").unwrap();
    wait_for("it ends", || rig.closed(CloseReason::BackendReset) == 1);
    wait_until_quiet(&rig);
}

#[test]
fn urgent_bytes_stay_in_their_place_and_stop_nothing() {
    let backend = TestBackend::echo();
    for splice in [Splice::Off, Splice::Auto] {
        let mut spec = cold();
        spec.server.splice = splice;
        let rig = Rig::start(&spec, &[backend.addr], 1);
        let mut client = rig.connect();
        let mut rng = fastrand::Rng::with_seed(5);
        for round in 0..300 {
            // The first one is bulk, and so is one later.
            let size = if round % 150 == 0 {
                3_000_000
            } else {
                rng.usize(1..2000)
            };
            let mut sent = vec![b'a'; size];
            let mut writer = client.try_clone().unwrap();
            let writing = std::thread::spawn(move || {
                writer.write_all(&vec![b'a'; size]).unwrap();
                SockRef::from(&writer).send_out_of_band(b"!").unwrap();
                writer.write_all(b"end").unwrap();
            });
            sent.extend(b"!end");
            let mut reply = vec![0; sent.len()];
            client
                .read_exact(&mut reply)
                .unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert!(reply == sent, "round {round}");
            writing.join().unwrap();
        }
    }
}

/// A backend that closes or resets one connection in eight before it says anything, and does with the others
/// what their first byte asks for.
pub fn fickle_backend(seed: u64) -> TestBackend {
    let rng = std::sync::Mutex::new(fastrand::Rng::with_seed(seed));
    TestBackend::start(move |mut stream| {
        let (whim, pause) = {
            let mut rng = rng.lock().unwrap();
            (rng.u8(0..16), rng.u64(0..3))
        };
        crate::support::pause(Duration::from_millis(pause));
        match whim {
            0 => return drop(stream),
            1 => return reset(stream),
            _ => {}
        }
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut order = [0];
        if !matches!(stream.read(&mut order), Ok(1)) {
            return;
        }
        let mut buffer = vec![0; 30_000];
        match order[0] {
            b'r' => return reset(stream),
            b'c' => return drop(stream),
            b'h' => drop(stream.shutdown(Shutdown::Write)),
            b's' => crate::support::pause(Duration::from_millis(20)),
            _ => {}
        }
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 || (order[0] != b'h' && stream.write_all(&buffer[..count]).is_err()) {
                return;
            }
        }
    })
}

/// What a client sees is a beginning of what it sent, and all of it if the connection ended well.
pub fn fickle_client(mut client: TcpStream, rng: &mut fastrand::Rng) -> bool {
    let order = b"eeeercsh"[rng.usize(..8)];
    let size = [0, 1, 1000, 100_000, 1_500_000][rng.usize(..5)];
    let mut sent = vec![0; size];
    rng.fill(&mut sent);
    if rng.u8(..10) == 0 {
        return false;
    }
    if rng.u8(..6) == 0 {
        client.set_write_timeout(Some(Duration::from_millis(30))).unwrap();
        drop(client.write_all(&[order]).and_then(|()| client.write_all(&sent)));
        reset(client);
        return false;
    }
    let mut writer = client.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        let written = writer.write_all(&[order]).and_then(|()| writer.write_all(&bytes));
        drop(written.and_then(|()| writer.shutdown(Shutdown::Write)));
    });
    let mut received = Vec::new();
    let outcome = client.read_to_end(&mut received);
    assert!(
        sent.starts_with(&received),
        "order {}, {} bytes",
        char::from(order),
        size
    );
    writing.join().unwrap();
    let is_lost = outcome
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    assert!(!is_lost, "nobody came for it, nor said so");
    outcome.is_ok() && received == sent
}

#[test]
fn all_counts_return_to_nothing_whatever_peers_do() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut spec = spec(Strategy::Static { size_per_remote: 6 });
    spec.pools.reset_on_removal = rng.bool();
    spec.pools.drain_timeout = Duration::from_millis(50);
    spec.server.splice = if rng.bool() { Splice::Auto } else { Splice::Off };
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let backends: Vec<_> = (0..3)
        .map(|_| fickle_backend(rng.u64(..)).addr)
        .chain([nowhere])
        .collect();
    let rig = Rig::start(&spec, &backends, 2);
    let mut sets = vec![rig.set()];
    let whole = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut rng = rng.fork();
            let (rig, whole) = (&rig, &whole);
            scope.spawn(move || {
                for _ in 0..40 {
                    whole.fetch_add(
                        usize::from(fickle_client(rig.connect(), &mut rng)),
                        Ordering::Relaxed,
                    );
                }
            });
        }
        for _ in 0..20 {
            crate::support::pause(Duration::from_millis(rng.u64(1..60)));
            let members: Vec<_> = backends.iter().copied().filter(|_| rng.bool()).collect();
            rig.activate(if members.is_empty() { &backends } else { &members });
            sets.push(rig.set());
        }
    });
    assert!(whole.load(Ordering::Relaxed) > 20, "{whole:?} were served whole");
    rig.activate(&backends[..1]);
    // Also those who left while they were still queued: each of them is a relay for a moment.
    let accepted = || rig.sum_counters(|one| &one.accepted);
    wait_for("every client is accepted", || accepted() == 8 * 40);
    wait_for("relays end", || rig.active() == 0);
    for backend in sets.iter().flat_map(|set| &set.backends) {
        wait_for("a backend that left is left alone", || {
            let of = |field: fn(&tcp_forwarder::backend::ReactorShare) -> u32| {
                backend.shares.iter().map(field).sum::<u32>()
            };
            let shares = of(|share| share.warm.load(Ordering::Relaxed))
                + of(|share| share.dialling.load(Ordering::Relaxed))
                + of(|share| share.in_use.load(Ordering::Relaxed));
            backend.live() == 0 && shares == 0
        });
    }
    let present = rig.set();
    wait_for("sockets are those of the present set", || {
        let of: u32 = present.backends[0]
            .shares
            .iter()
            .map(|share| share.warm.load(Ordering::Relaxed) + share.dialling.load(Ordering::Relaxed))
            .sum();
        rig.upstreams() == u64::from(of)
    });
    assert_eq!(rig.stop().cut, 0);
}

#[test]
fn warm_connections_that_live_short_by_configuration_are_replaced_at_once() {
    let backend = TestBackend::echo();
    let mut spec = spec(Strategy::Static { size_per_remote: 3 });
    spec.pools.idle_timeout = Some(Duration::from_millis(50));
    let rig = Rig::start(&spec, &[backend.addr], 1);
    let dials = || rig.set().backends[0].dial_durations.totals().0;
    wait_for("twenty generations", || dials() >= 60);
}
