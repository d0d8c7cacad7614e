//! Clients that may not connect are refused at once, touch no backend and keep nobody else out.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

use crate::rig::TestBackend;
use crate::support::{Forwarder, echo_on, patient, ping, sum, wait_for};

const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const MODEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 10);

/// A forwarder with these `server` settings, one echoing backend, and no pool.
fn start(server: &Value) -> Forwarder {
    start_to(server, echo_on(Ipv4Addr::LOCALHOST))
}

fn start_to(server: &Value, backend: SocketAddr) -> Forwarder {
    let changes = json!({ "server": server, "pools": { "strategy": { "type": "off" } } });
    Forwarder::start(&changes, &format!("{backend}\n"))
}

/// A connection whose client has this address; none when it was reset before `connect` came back.
fn connect_from(ip: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    unless_reset(socket.connect(&to.into()))?;
    Some(patient(socket.into()))
}

/// What came, unless it is a reset; no other failure is a refusal.
fn unless_reset<T>(result: std::io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let kind = error.kind();
            let is_reset = matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
            assert!(is_reset, "a refusal is a reset, not {error}");
            None
        }
    }
}

/// The same connection, if a reply comes; otherwise it must have been reset.
fn served(mut stream: TcpStream) -> Option<TcpStream> {
    let asked = stream.write_all(b"ask");
    unless_reset(asked.and_then(|()| stream.read_exact(&mut [0; 3])))?;
    Some(stream)
}

/// Those of `count` connections of one address that are served.
fn served_of(forwarder: &Forwarder, ip: Ipv4Addr, count: usize) -> Vec<TcpStream> {
    let addr = forwarder.addr();
    (0..count)
        .filter_map(|_| connect_from(ip, addr).and_then(served))
        .collect()
}

fn warnings(forwarder: &Forwarder) -> usize {
    forwarder.log().matches("clients are refused").count()
}

#[test]
fn one_greedy_client_keeps_nobody_out() {
    let forwarder = start(&json!({ "max_connections": 16, "max_connections_per_ip": 8, "reactors": 3 }));
    let greedy = served_of(&forwarder, GREEDY, 40);
    assert_eq!(greedy.len(), 8, "over all reactors");
    // It asked for more than `max_connections`, and yet others get in.
    let mut modest = served_of(&forwarder, MODEST, 4);
    assert_eq!(modest.len(), 4);
    for stream in &mut modest {
        ping(stream, b"and are served");
    }
    let metrics = forwarder.scrape();
    assert_eq!(
        sum(
            &metrics,
            "connections_rejected_total{reason=\"connection_limit\"}"
        ),
        32.0
    );
    assert_eq!(sum(&metrics, "connections_rejected_total"), 32.0);
    assert_eq!(sum(&metrics, "new_connections_total"), 12.0);
    assert_eq!(sum(&metrics, "accept_paused_total"), 0.0);
    assert_eq!(warnings(&forwarder), 1, "one line a burst:\n{}", forwarder.log());
}

/// However connections end, what was counted for their client is given back.
#[test]
fn counts_of_a_client_do_not_leak() {
    let forwarder = start(&json!({ "max_connections_per_ip": 4, "half_close_timeout": "50ms" }));
    for way in 0..6 {
        let mut streams = served_of(&forwarder, GREEDY, 5);
        assert_eq!(streams.len(), 4, "before way {way}");
        for stream in &mut streams {
            match way {
                0 => {}
                1 => SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap(),
                2 => stream.shutdown(Shutdown::Write).unwrap(),
                3 => stream.write_all(&vec![0; 100_000]).unwrap(),
                4 => drop(connect_from(GREEDY, forwarder.addr())),
                _ => stream.shutdown(Shutdown::Both).unwrap(),
            }
        }
        drop(streams);
        wait_for("all are closed", || forwarder.metric("active_connections") == 0.0);
    }
    assert_eq!(served_of(&forwarder, GREEDY, 6).len(), 4);
}

#[test]
fn a_client_whose_dials_fail_is_not_counted_any_longer() {
    let refusing = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let forwarder = start_to(&json!({ "max_connections_per_ip": 1 }), refusing);
    for round in 1..=20 {
        drop(connect_from(GREEDY, forwarder.addr()));
        wait_for("it is closed", || {
            forwarder.metric("connections_closed_total") >= f64::from(round)
        });
    }
    assert_eq!(forwarder.metric("connections_rejected_total"), 0.0);
}

#[test]
fn the_denied_reach_no_backend_and_a_flood_of_them_hurts_nobody() {
    const FLOOD: u32 = 3000;
    let (reached, visits) = std::sync::mpsc::channel();
    let backend = TestBackend::start(move |mut stream| {
        reached.send(()).unwrap();
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..count]).unwrap();
        }
    });
    let changes = json!({
        "server": { "allow": ["127.0.0.0/8"], "deny": ["127.0.0.9"] },
        "pools": { "strategy": { "type": "off" } },
        "remotes": { "probing": { "initial": { "enabled": false }, "interval": "1h" } },
    });
    let forwarder = Forwarder::start(&changes, &format!("{}\n", backend.addr));
    let probes = visits.try_iter().count();
    let addr = forwarder.addr();
    let mut established = connect_from(MODEST, addr).unwrap();
    ping(&mut established, b"early");
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| (0..FLOOD).for_each(|_| drop(connect_from(GREEDY, addr))));
        while !flood.is_finished() {
            ping(&mut established, b"goes on");
            assert!(
                connect_from(MODEST, addr).and_then(served).is_some(),
                "newcomers get in"
            );
        }
    });
    assert!(connect_from(GREEDY, addr).and_then(served).is_none());
    let refused = "connections_rejected_total{reason=\"denied\"}";
    wait_for("all were refused", || {
        forwarder.metric(refused) == f64::from(FLOOD + 1)
    });
    let metrics = forwarder.scrape();
    let visits = f64::from(u32::try_from(visits.try_iter().count()).unwrap());
    assert_eq!(
        visits,
        sum(&metrics, "new_connections_total"),
        "after {probes} probes"
    );
    assert_eq!(warnings(&forwarder), 1, "one line a burst:\n{}", forwarder.log());
}

#[test]
fn each_family_has_its_own_networks() {
    let forwarder = start(&json!({ "listen_addr": ["[::1]:0", "127.0.0.1:0"], "allow": "::1" }));
    let log = forwarder.log();
    let addrs = log.lines().filter_map(|line| line.split_once("listening on "));
    let addrs: Vec<SocketAddr> = addrs.map(|(_, addr)| addr.trim().parse().unwrap()).collect();
    for addr in addrs {
        let stream = unless_reset(TcpStream::connect(addr)).map(patient);
        assert_eq!(stream.and_then(served).is_some(), addr.is_ipv6(), "{addr}");
    }
}

#[test]
fn faster_than_its_rate_a_client_is_refused() {
    let forwarder = start(&json!({ "connection_rate_per_ip": 2, "connection_burst_per_ip": 6 }));
    let begun = std::time::Instant::now();
    let count = served_of(&forwarder, GREEDY, 30).len();
    let seconds = begun.elapsed().as_secs();
    assert!(
        count >= 6 && count as u64 <= 6 + 2 * (seconds + 1),
        "{count} in {seconds} s"
    );
    assert!(
        connect_from(MODEST, forwarder.addr()).and_then(served).is_some(),
        "others have a rate of their own"
    );
    assert_eq!(
        forwarder.metric("connections_rejected_total{reason=\"rate_limit\"}"),
        f64::from(u32::try_from(30 - count).unwrap())
    );
    wait_for("tokens come back", || {
        !served_of(&forwarder, GREEDY, 1).is_empty()
    });
}
