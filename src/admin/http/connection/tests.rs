//! Time on a connection, with a clock that the test moves.

use super::*;
use crate::clock;
use crate::metrics::Exporter;
use crate::metrics::tests::World;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

struct Pair {
    world: World,
    site: Site,
    client: std::net::TcpStream,
    connection: Connection,
    start: Instant,
}

impl Pair {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (stream, _) = listener.accept().expect("accept");
        stream.set_nonblocking(true).expect("non-blocking");
        let start = clock::now();
        let world = World::new(&[]);
        let exporter = Exporter::new(world.sources.clone()).expect("valid");
        let site = Site::new("/metrics".to_owned(), exporter, Arc::clone(&world.control));
        Self {
            connection: Connection::new(TcpStream::from_std(stream), start),
            world,
            site,
            client,
            start,
        }
    }

    /// Sends bytes and lets the connection work until it has seen them.
    fn send(&mut self, bytes: &[u8], now: Instant) {
        let seen = self.connection.received.len() + bytes.len();
        self.client.write_all(bytes).expect("send");
        let give_up = clock::now() + Duration::from_secs(10);
        while self.connection.received.len() < seen {
            assert!(clock::now() < give_up, "the bytes never arrived");
            assert_eq!(self.connection.advance(&self.site, now), Turn::Waits);
            std::thread::yield_now();
        }
    }

    fn bad(&self) -> u64 {
        self.world.control.bad_metrics_requests.load(Relaxed)
    }
}

#[test]
fn a_byte_now_and_then_does_not_buy_time() {
    let mut pair = Pair::new();
    let second = Duration::from_secs(1);
    pair.send(b"GET ", pair.start);
    let deadline = pair.connection.deadline();
    assert_eq!(deadline, pair.start + HEAD_TIMEOUT);
    pair.send(b"/", pair.start + second);
    pair.send(b"m", pair.start + 3 * second);
    assert_eq!(pair.connection.deadline(), deadline);
    pair.connection.on_timeout(&pair.site);
    assert_eq!(pair.world.control.bad_metrics_requests.load(Relaxed), 1);
}

#[test]
fn silence_is_closed_and_not_counted() {
    let pair = Pair::new();
    assert_eq!(pair.connection.deadline(), pair.start + HEAD_TIMEOUT);
    assert_eq!(pair.bad(), 0);
    pair.connection.on_timeout(&pair.site);
    assert_eq!(pair.world.control.bad_metrics_requests.load(Relaxed), 0);
}

#[test]
fn between_requests_there_is_time_and_no_buffer() {
    let mut pair = Pair::new();
    pair.client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
    let later = pair.start + Duration::from_secs(2);
    let give_up = clock::now() + Duration::from_secs(10);
    while pair.connection.deadline() != later + IDLE_TIMEOUT {
        assert!(clock::now() < give_up, "never answered");
        assert_eq!(pair.connection.advance(&pair.site, later), Turn::Waits);
        std::thread::yield_now();
    }
    assert_eq!(pair.connection.received.capacity(), 0);
    // The next head has the short time again, from its first byte.
    pair.send(b"GET", later + Duration::from_secs(60));
    let deadline = later + Duration::from_secs(60) + HEAD_TIMEOUT;
    assert_eq!(pair.connection.deadline(), deadline);
}

#[test]
fn who_waits_longest_for_a_request_is_worth_least() {
    let mut old = Pair::new();
    let new = Pair::new();
    assert!(old.connection.worth() < new.connection.worth());
    // A reply under way is worth more than any wait.
    let reply = Phase::Replying {
        reply: vec![0],
        written: 0,
        after: After::Close,
    };
    old.connection.enter(reply, old.start, REPLY_TIMEOUT);
    assert!(old.connection.worth() > new.connection.worth());
}
