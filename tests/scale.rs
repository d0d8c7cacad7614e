//! Many relays, many candidates: the built program at the size it is made for.
//!
//! Its backend is a copy of this program, because client, forwarder and backend each need most of the descriptors
//! that a process may have. One test at a time, so that none measures another.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::float_cmp,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline, and metrics count in whole numbers"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tcp_forwarder::net::raise_descriptor_limit;

mod support;

use support::{Files, Forwarder, patient, settings, sum, wait_for};

/// Set for the copy of this program that is the backend; its value is the address to listen on.
const BACKEND: &str = "TCP_FORWARDER_TEST_BACKEND";

static TURN: Mutex<()> = Mutex::new(());

fn my_turn() -> MutexGuard<'static, ()> {
    assert!(raise_descriptor_limit() >= 12_000, "needs 12,000 descriptors");
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Not a test by itself: the copy of this program that echoes, on one thread, until it is killed.
#[test]
fn backend() {
    let Ok(addrs) = std::env::var(BACKEND) else { return };
    let _limit = raise_descriptor_limit();
    let mut poll = Poll::new().unwrap();
    let listeners: Vec<_> = addrs
        .split(',')
        .map(|addr| listen(addr.parse().unwrap()))
        .collect();
    let mut listeners: HashMap<_, _> = (0..).zip(listeners).collect();
    for (token, listener) in &mut listeners {
        let registry = poll.registry();
        registry
            .register(listener, Token(*token), Interest::READABLE)
            .unwrap();
    }
    let bound = listeners
        .values()
        .map(|listener| listener.local_addr().unwrap().to_string());
    let bound: Vec<_> = bound.collect();
    writeln!(std::io::stderr(), "echoing on {}", bound.join(",")).unwrap();
    let mut connections = HashMap::new();
    let mut next = listeners.len();
    let mut events = Events::with_capacity(4096);
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            let Token(token) = event.token();
            if let Some(listener) = listeners.get(&token) {
                while let Ok((mut stream, _)) = listener.accept() {
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), both).unwrap();
                    connections.insert(next, (stream, Vec::new()));
                    next += 1;
                }
            } else if let Some((stream, held)) = connections.get_mut(&token)
                && !echo(stream, held)
            {
                connections.remove(&token);
            }
        }
    }
}

/// A listener with as long a queue as the system allows: these tests are not about backends that drop connects.
fn listen(addr: SocketAddr) -> mio::net::TcpListener {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket.listen(65_535).unwrap();
    socket.set_nonblocking(true).unwrap();
    mio::net::TcpListener::from_std(socket.into())
}

/// Sends back what has come; false once the connection has ended.
fn echo(stream: &mut mio::net::TcpStream, held: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 * 1024];
    loop {
        while !held.is_empty() {
            match stream.write(held) {
                Ok(count) => drop(held.drain(..count)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => held.extend_from_slice(&buffer[..count]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// The copy of this program that echoes; killed when dropped.
struct Backend {
    child: Child,
    addrs: Vec<SocketAddr>,
}

impl Backend {
    /// With as many addresses as `ips`, each with a port of its own.
    fn on(ips: &[Ipv4Addr]) -> Self {
        let addrs: Vec<_> = ips.iter().map(|ip| format!("{ip}:0")).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "backend", "--nocapture"])
            .env(BACKEND, addrs.join(","))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = said
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("echoing on ").map(str::to_owned))
            .expect("it says where it listens");
        let addrs = said.split(',').map(|addr| addr.parse().unwrap()).collect();
        Self { child, addrs }
    }

    /// Three addresses, so that a burst fits into their queues.
    fn of_three() -> Self {
        Self::on(&[2, 3, 4].map(|last| Ipv4Addr::new(127, 0, 0, last)))
    }

    fn list(&self) -> String {
        lines(&self.addrs)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One a line.
fn lines(entries: &[impl ToString]) -> String {
    let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
    entries.join("\n") + "\n"
}

fn say(words: &str) {
    // Nobody reads it: then it need not be said.
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Bytes that differ from one connection to the next and at every place.
fn message(connection: usize, len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(connection as u64);
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}

fn expect_message(stream: &mut TcpStream, connection: usize, len: usize) {
    let mut reply = vec![0; len];
    stream.read_exact(&mut reply).unwrap();
    assert!(
        reply == message(connection, len),
        "connection {connection} got other bytes"
    );
}

#[test]
fn five_thousand_relays_at_once_with_every_byte_right() {
    const RELAYS: usize = 5_000;
    const LEN: usize = 4_000;
    let _turn = my_turn();
    let began = Instant::now();
    let backend = Backend::of_three();
    let forwarder = Forwarder::start(&json!({}), &backend.list());
    let addr = forwarder.addr();
    let mut relays: Vec<TcpStream> = (0..RELAYS)
        .map(|_| patient(TcpStream::connect(addr).unwrap()))
        .collect();
    for (connection, stream) in relays.iter_mut().enumerate() {
        stream.write_all(&message(connection, LEN)).unwrap();
    }
    for (connection, stream) in relays.iter_mut().enumerate() {
        expect_message(stream, connection, LEN);
    }
    let seen = forwarder.scrape();
    assert_eq!(sum(&seen, "active_connections"), 5_000.0);
    assert_eq!(sum(&seen, "bytes_transferred_total"), 40_000_000.0);
    let resident = forwarder.resident_kb();
    // The other way round, so that no order is the lucky one.
    for (connection, stream) in relays.iter_mut().enumerate().rev() {
        stream.write_all(&message(connection + RELAYS, LEN)).unwrap();
    }
    for (connection, stream) in relays.iter_mut().enumerate().rev() {
        expect_message(stream, connection + RELAYS, LEN);
    }
    drop(relays);
    wait_for("all are gone", || forwarder.metric("active_connections") == 0.0);
    let closed = forwarder.metric("connections_closed_total{reason=\"finished\"}");
    assert_eq!(closed, 5_000.0, "none was closed for another reason");
    say(&format!(
        "  5,000 relays: {resident} kB resident, {:?} in all",
        began.elapsed()
    ));
}

#[test]
fn ten_thousand_connects_in_a_burst_are_all_served() {
    const THREADS: usize = 8;
    const EACH: usize = 1_250;
    let _turn = my_turn();
    let began = Instant::now();
    let backend = Backend::of_three();
    let forwarder = Forwarder::start(&json!({}), &backend.list());
    let addr = forwarder.addr();
    let burst = |thread: usize| {
        let lost = std::cell::Cell::new(0);
        // All are open before the first is served; more than there may be relays at once.
        let mut streams: Vec<TcpStream> = (0..EACH)
            .map(|_| patient(TcpStream::connect(addr).unwrap()))
            .collect();
        for (place, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&message(thread * EACH + place, 64)).unwrap();
        }
        for stream in &streams {
            stream.set_nonblocking(true).unwrap();
        }
        let mut left: Vec<_> = streams.into_iter().enumerate().collect();
        wait_for("all are served", || {
            left.retain_mut(|(place, stream)| {
                match stream.peek(&mut [0; 64]) {
                    Ok(64) => expect_message(stream, thread * EACH + *place, 64),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    _ => lost.set(lost.get() + 1),
                }
                false
            });
            left.is_empty()
        });
        lost.get()
    };
    let lost: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || burst(thread)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let seen = forwarder.scrape();
    let why = |line: &&str| {
        ["closed_total{", "errors_total{", "dial_duration"]
            .iter()
            .any(|word| line.contains(word))
    };
    let why: Vec<_> = seen.lines().filter(why).collect();
    assert_eq!(
        lost,
        0,
        "clients were lost: {}\n{}",
        why.join("\n"),
        forwarder.log()
    );
    wait_for("all are gone", || forwarder.metric("active_connections") == 0.0);
    let seen = forwarder.scrape();
    assert_eq!(sum(&seen, "new_connections_total"), 10_000.0);
    assert_eq!(
        sum(&seen, "connections_closed_total{reason=\"finished\"}"),
        10_000.0
    );
    say(&format!("  10,000 connects: {:?} in all", began.elapsed()));
}

#[test]
fn sixty_five_thousand_candidates_are_small() {
    let _turn = my_turn();
    let backend = Backend::on(&[Ipv4Addr::UNSPECIFIED]);
    let port = backend.addrs[0].port();
    let changes = json!({ "remotes": { "probing": {
        "interval": "1s",
        "probe_candidate_count": 2000,
    } } });
    // A range leaves out its network and broadcast addresses.
    let list = format!("127.5.0.0/16:{port}\n127.5.0.0:{port}\n127.5.255.255:{port}\n");
    let forwarder = Forwarder::start(&changes, &list);
    wait_for("thousands are known", || {
        forwarder.metric("candidates_tracked") > 4_000.0
    });
    let mut client = forwarder.connect();
    support::ping(&mut client, b"and it forwards");
    let metrics = forwarder.scrape();
    let resident = forwarder.resident_kb();
    say(&format!(
        "  65,536 candidates, {} of them known: {resident} kB resident, {} bytes of metrics",
        sum(&metrics, "candidates_tracked"),
        metrics.len()
    ));
    assert_eq!(sum(&metrics, "candidates"), 65_536.0);
    assert!(resident < 20_000, "{resident} kB resident");
    assert!(metrics.len() < 200_000, "{} bytes of metrics", metrics.len());
}

#[test]
fn half_a_million_lines_are_small() {
    let _turn = my_turn();
    let backend = Backend::on(&[Ipv4Addr::LOCALHOST]);
    let few = Forwarder::start(&json!({}), &lines(&backend.addrs));
    let many = (0..500_000_u32).map(|number| {
        // None beside another, so that each is a range of its own; each tenth has a name.
        let ip = Ipv4Addr::from(0x7f40_0000 + 2 * number);
        let name = if number % 10 == 0 { " # hk1" } else { "" };
        format!("{ip}:9{name}")
    });
    let mut many: Vec<_> = many.collect();
    many.push(backend.addrs[0].to_string());
    let forwarder = Forwarder::start(&json!({}), &lines(&many));
    // The most that they ever had, reading included.
    let [less, more] = [&few, &forwarder].map(|one| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", one.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap()
    });
    assert_eq!(forwarder.metric("candidates"), 500_001.0);
    say(&format!("  500,000 lines: {} kB more than one", more - less));
    assert!(more - less < 20_000, "{} kB", more - less);
    few.stop();
    forwarder.stop();
}

#[test]
fn a_list_of_four_billion_addresses_is_checked_at_once() {
    let _turn = my_turn();
    let sixteenths: Vec<_> = (0..16).map(|part| format!("{}.0.0.0/4", part * 16)).collect();
    let sixteenths = lines(&sixteenths);
    for (list, count) in [
        (sixteenths.as_str(), (1_u128 << 32) - 32),
        ("0.0.0.0/0\n", (1 << 32) - 2),
        ("2001:db8::/96\n", 1 << 32),
        ("2001:db8::/32\n0.0.0.0/0\n", (1 << 96) + (1 << 32) - 2),
    ] {
        let files = Files::new(&settings(&json!({})), list);
        let run = || {
            let began = Instant::now();
            let output = files.command().arg("check").output().unwrap();
            (began.elapsed(), output)
        };
        // The best of three: the machine may be busy.
        let (took, output) = (0..3).map(|_| run()).min_by_key(|(took, _)| *took).unwrap();
        assert_eq!(output.status.code(), Some(0));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("candidates: {count} in ")), "{said}");
        let bound = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 100 });
        assert!(took < bound, "{took:?} for {count} candidates");
    }
}
