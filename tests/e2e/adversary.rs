//! Peers that behave as badly as TCP lets them, and what it must not cost anybody.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use socket2::SockRef;
use tcp_forwarder::config::{Config, Splice, Strategy};
use tcp_forwarder::metrics::counters::CloseReason;

use crate::rig::{PATIENCE, Rig, TestBackend, wait_for};

fn config(strategy: Strategy) -> Config {
    let mut config = Config::default();
    config.pools.strategy = strategy;
    config
}

fn cold() -> Config {
    config(Strategy::Off)
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

fn upstreams(rig: &Rig) -> u64 {
    rig.shared.counters.iter().map(|one| one.upstreams.value()).sum()
}

/// Waits until neither relays nor connections to backends are left, but for warm ones.
fn wait_until_quiet(rig: &Rig) {
    wait_for("nothing is left", || {
        rig.active() == 0 && upstreams(rig) == u64::from(rig.warm())
    });
}

#[test]
fn a_warm_connection_that_is_dead_at_birth_does_not_stay() {
    // Dials of one wave are looked at after the backend has closed the first of them: connect and close come
    // as one event.
    let backend = TestBackend::start(drop);
    let config = config(Strategy::Static { size_per_remote: 60 });
    let rig = Rig::start(&config, &[backend.addr], 1);
    let dials = || rig.shared.active_set.load().backends[0].dial_durations.totals().0;
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
        let mut config = cold();
        config.server.splice = splice;
        let rig = Rig::start(&config, &[backend.addr], 1);
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
        rig.shared.counters[0].bytes_to_backend.value() == 8
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
        rig.shared.counters[0].bytes_to_backend.value() == BYTES as u64
    });
    reset(client);
    wait_for("the reset is seen", || rig.closed(CloseReason::ClientReset) == 1);
    release.send(()).unwrap();
    assert_eq!(outcome.recv_timeout(PATIENCE).unwrap().unwrap(), BYTES);
}

#[test]
fn urgent_bytes_stay_in_their_place_and_stop_nothing() {
    let backend = TestBackend::echo();
    for splice in [Splice::Off, Splice::Auto] {
        let mut config = cold();
        config.server.splice = splice;
        let rig = Rig::start(&config, &[backend.addr], 1);
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
