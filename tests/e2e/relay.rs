//! What a relay does with bytes, finishes and resets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tcp_forwarder::config::{Spec, Splice, Strategy};
use tcp_forwarder::relay::close::CloseReason;

use crate::rig::{Rig, TestBackend, wait_for};

fn spec(strategy: Strategy) -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = strategy;
    spec
}

fn warm(size_per_remote: usize) -> Spec {
    spec(Strategy::Static { size_per_remote })
}

fn cold() -> Spec {
    spec(Strategy::Off)
}

/// Bytes that differ at every place, so that any loss or swap is seen.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

fn echo_through(spec: &Spec, len: usize) {
    let backend = TestBackend::echo();
    let rig = Rig::start(spec, &[backend.addr], 1);
    let sent = pattern(len, 11);
    let mut client = rig.connect();
    let mut reader = client.try_clone().unwrap();
    let received = std::thread::spawn(move || read_all(&mut reader));
    client.write_all(&sent).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(
        received.join().unwrap() == sent,
        "every byte comes back, in order"
    );
    wait_for("the relay ends", || rig.closed(CloseReason::Finished) == 1);
    let counters = rig.traffic(0);
    assert_eq!(counters.bytes_to_backend.value(), len as u64);
    assert_eq!(counters.bytes_to_client.value(), len as u64);
}

#[test]
fn bytes_pass_whole_over_a_dial() {
    echo_through(&cold(), 3 * 1024 * 1024 + 17);
}

#[test]
fn bytes_pass_whole_over_a_warm_connection() {
    echo_through(&warm(2), 3 * 1024 * 1024 + 17);
}

#[test]
fn bytes_pass_whole_without_splice() {
    let mut spec = warm(2);
    spec.server.splice = Splice::Off;
    echo_through(&spec, 20 * 1024 * 1024 + 17);
}

#[test]
fn bulk_passes_whole_through_pipes() {
    echo_through(&cold(), 40 * 1024 * 1024 + 5);
}

#[test]
fn a_connection_without_bytes_finishes() {
    echo_through(&warm(1), 0);
}

#[test]
fn the_pool_is_filled_and_used() {
    let backend = TestBackend::echo();
    let rig = Rig::start(&warm(4), &[backend.addr], 1);
    wait_for("four warm connections", || rig.warm() == 4);
    let mut client = rig.connect();
    client.write_all(b"ping").unwrap();
    let mut reply = [0; 4];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"ping");
    assert_eq!(rig.hits(), 1);
    wait_for("the pool is refilled", || rig.warm() == 4);
}

#[test]
fn a_backend_that_speaks_first_is_heard() {
    let backend = TestBackend::start(|mut stream| {
        stream.write_all(b"220 ready\r\n").unwrap();
        let mut line = [0; 4];
        stream.read_exact(&mut line).unwrap();
        stream.write_all(b"bye").unwrap();
    });
    let rig = Rig::start(&warm(3), &[backend.addr], 1);
    wait_for("warm connections", || rig.warm() == 3);
    for _ in 0..6 {
        let mut client = rig.connect();
        let mut greeting = [0; 11];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 ready\r\n");
        client.write_all(b"QUIT").unwrap();
        assert_eq!(read_all(&mut client), b"bye");
    }
}

#[test]
fn half_close_passes_in_both_directions() {
    // The backend answers only after the client has finished, then finishes itself.
    let backend = TestBackend::start(|mut stream| {
        let request = read_all(&mut stream);
        stream
            .write_all(format!("{} bytes", request.len()).as_bytes())
            .unwrap();
    });
    let rig = Rig::start(&warm(1), &[backend.addr], 1);
    let mut client = rig.connect();
    client.write_all(&[7; 1000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"1000 bytes");

    // The other way round: the backend finishes first and goes on reading.
    let backend = TestBackend::start(|mut stream| {
        stream.write_all(b"done").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let rest = read_all(&mut stream);
        assert_eq!(rest.len(), 5000);
    });
    let rig = Rig::start(&cold(), &[backend.addr], 1);
    let mut client = rig.connect();
    assert_eq!(read_all(&mut client), b"done");
    client.write_all(&[1; 5000]).unwrap();
    drop(client);
    wait_for("the relay ends", || rig.closed(CloseReason::Finished) == 1);
}

#[test]
fn a_reset_of_the_backend_reaches_the_client_after_its_last_bytes() {
    let backend = TestBackend::start(|mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"last words").unwrap();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        // Reset only once the words are out of this process: the client's second byte says so.
        stream.read_exact(&mut [0]).unwrap();
    });
    let rig = Rig::start(&cold(), &[backend.addr], 1);
    let mut client = rig.connect();
    client.write_all(b"x").unwrap();
    let mut words = [0; 10];
    client.read_exact(&mut words).unwrap();
    assert_eq!(&words, b"last words");
    client.write_all(b"y").unwrap();
    let error = client.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    wait_for("it is counted", || rig.closed(CloseReason::BackendReset) == 1);
}

#[test]
fn a_reset_of_the_client_reaches_the_backend() {
    let (told, outcome) = std::sync::mpsc::channel();
    let backend = TestBackend::start(move |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        told.send(stream.read(&mut [0]).map_err(|error| error.kind()))
            .unwrap();
    });
    let rig = Rig::start(&cold(), &[backend.addr], 1);
    let mut client = rig.connect();
    client.write_all(b"x").unwrap();
    wait_for("the byte is through", || {
        rig.traffic(0).bytes_to_backend.value() == 1
    });
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let outcome = outcome.recv_timeout(crate::rig::PATIENCE).unwrap();
    assert_eq!(outcome, Err(ErrorKind::ConnectionReset));
    wait_for("it is counted", || rig.closed(CloseReason::ClientReset) == 1);
}

#[test]
fn a_slow_reader_pushes_back() {
    let backend = TestBackend::start(|mut stream| {
        let chunk = vec![5; 64 * 1024];
        for _ in 0..16 * 64 {
            if stream.write_all(&chunk).is_err() {
                return;
            }
        }
    });
    let mut spec = cold();
    spec.server.splice = Splice::Off;
    let rig = Rig::start(&spec, &[backend.addr], 1);
    let mut client = rig.connect();
    let mut still = (0, Instant::now());
    wait_for("the flow stands still while nobody reads", || {
        let moved = rig.traffic(0).bytes_to_client.value();
        if moved != still.0 {
            still = (moved, Instant::now());
        }
        moved > 0 && still.1.elapsed() > Duration::from_millis(300)
    });
    assert!(
        still.0 < 32 * 1024 * 1024,
        "{} bytes left for a reader that reads nothing",
        still.0
    );
    assert_eq!(read_all(&mut client).len(), 64 * 1024 * 1024);
}

#[test]
fn idle_and_half_closed_relays_end() {
    let backend = TestBackend::start(|mut stream| {
        let _ = stream.read(&mut [0]);
        let _ = stream.read(&mut [0]);
        std::thread::park_timeout(crate::rig::PATIENCE);
    });
    let mut spec = cold();
    spec.server.idle_timeout = Duration::from_millis(300);
    spec.server.half_close_timeout = Duration::from_millis(100);
    let rig = Rig::start(&spec, &[backend.addr], 1);
    let mut idle = rig.connect();
    let began = Instant::now();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "closed");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(rig.closed(CloseReason::IdleTimeout), 1);
    let mut half = rig.connect();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.read(&mut [0]).unwrap(), 0, "closed");
    wait_for("it is counted", || rig.closed(CloseReason::HalfCloseTimeout) == 1);
}

#[test]
fn a_dead_backend_costs_the_client_nothing_while_another_lives() {
    let dead = unused_port();
    let backend = TestBackend::echo();
    let rig = Rig::start(&cold(), &[dead, backend.addr], 1);
    for _ in 0..10 {
        let mut client = rig.connect();
        client.write_all(b"ping").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), b"ping");
    }
}

#[test]
fn when_every_backend_is_dead_the_client_is_closed() {
    let rig = Rig::start(&cold(), &[unused_port(), unused_port()], 1);
    let mut client = rig.connect();
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    wait_for("it is counted", || rig.closed(CloseReason::DialFailed) == 1);
    assert_eq!(rig.active(), 0);
}

#[test]
fn a_backend_that_leaves_keeps_its_relays_and_loses_its_warm_connections() {
    let old = TestBackend::echo();
    let new = TestBackend::echo();
    let spec = warm(3);
    let rig = Rig::start(&spec, &[old.addr], 1);
    wait_for("warm connections", || rig.warm() == 3);
    let mut client = rig.connect();
    client.write_all(b"a").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let before = rig.set();
    rig.activate(&[new.addr]);
    wait_for("the old ones close", || {
        before.backends[0].shares[0]
            .warm
            .load(std::sync::atomic::Ordering::Relaxed)
            == 0
    });
    wait_for("new ones come", || rig.warm() == 3);
    client.write_all(b"b").unwrap();
    client.read_exact(&mut [0]).unwrap();
    assert_eq!(before.backends[0].live(), 1);
}

#[test]
fn a_stop_lets_relays_finish_and_cuts_the_rest() {
    let (told, ends) = std::sync::mpsc::channel();
    let backend = TestBackend::start(move |mut stream| {
        let mut byte = [0];
        let end = loop {
            match stream.read(&mut byte) {
                Ok(1..) => stream.write_all(&byte).unwrap(),
                Ok(0) => break Ok(()),
                Err(error) => break Err(error.kind()),
            }
        };
        let _nobody_asks_any_more = told.send(end);
    });
    let mut spec = warm(2);
    spec.pools.drain_timeout = Duration::from_millis(400);
    let rig = Rig::start(&spec, &[backend.addr], 2);
    let mut finishing = rig.connect();
    let mut staying = rig.connect();
    for client in [&mut finishing, &mut staying] {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    rig.begin_stop();
    finishing.write_all(b"y").unwrap();
    finishing.read_exact(&mut [0]).unwrap();
    drop(finishing);
    let addr = rig.addr;
    let farewell = rig.stop();
    assert_eq!((farewell.finished, farewell.cut), (1, 1));
    // A cut must not look like an end, to neither side.
    let error = staying.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    wait_for("the backend has heard of it", || {
        ends.try_iter().any(|end| end == Err(ErrorKind::ConnectionReset))
    });
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
}

/// An address where nobody listens.
fn unused_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Keep-alive timers of this machine's connections to an IPv4 address: the kernel's table says `02` for them.
#[cfg(target_os = "linux")]
fn keepalive_timers_to(addr: SocketAddr) -> usize {
    let SocketAddr::V4(addr) = addr else { return 0 };
    let remote = format!(
        "{:08X}:{:04X}",
        u32::from_le_bytes(addr.ip().octets()),
        addr.port()
    );
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(2) == Some(&remote.as_str()) && row[5].starts_with("02:"))
        .count()
}

#[test]
#[cfg(target_os = "linux")]
fn connections_to_a_backend_get_keepalive_once_they_last() {
    let backend = TestBackend::echo();
    let rig = Rig::start(&warm(2), &[backend.addr], 1);
    wait_for("warm connections", || rig.warm() == 2);
    let mut client = rig.connect();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    wait_for("one in use and two warm ones", || rig.warm() == 2);
    wait_for("all have keep-alive", || keepalive_timers_to(backend.addr) == 3);
}
