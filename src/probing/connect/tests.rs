//! Probes over real sockets on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream as StdStream};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};

use super::super::probe::Errand;
use super::*;
use crate::service::id::ServiceId;

const LONG: Duration = Duration::from_secs(20);

fn connector() -> Connector {
    Connector::new(&Doorbell::default()).expect("a connector")
}

fn probe(addr: SocketAddr, timeout: Duration) -> Probe {
    Probe {
        candidate: Candidate {
            service: ServiceId::fresh(),
            addr,
        },
        timeout,
        errand: Errand::Sentinel,
        port: 0,
        asks: true,
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let addr = listener.local_addr().expect("an address");
    (listener, addr)
}

/// Turns until `count` samples are there.
fn wait_for(connector: &mut Connector, ended: &mut Vec<Sample>, count: usize) {
    let deadline = clock::now() + LONG;
    while ended.len() < count {
        assert!(clock::now() < deadline, "{} of {count} samples", ended.len());
        connector.turn(Some(deadline), ended).expect("a turn");
    }
}

#[test]
fn accepting_candidates_succeed_and_refusing_ones_fail_together() {
    let mut connector = connector();
    let (listener, open) = listener();
    // Bound but not listening: refuses, and nobody else can come to listen there.
    let closed = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    closed
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .expect("a free port");
    let refusing = closed
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IPv4");

    let mut ended = Vec::new();
    for addr in [open, refusing].repeat(20) {
        match connector.start(None, &probe(addr, LONG), None, &Bind::default()) {
            Start::Begun => {}
            Start::Ended(sample) => ended.push(sample),
            Start::Exhausted | Start::NoSource(_) => panic!("40 sockets are to be had"),
        }
    }
    wait_for(&mut connector, &mut ended, 40);
    assert_eq!((ended.len(), connector.in_flight()), (40, 0));
    for sample in &ended {
        match sample.outcome {
            Outcome::Success(took) => {
                assert!(sample.candidate.addr == open && took > Duration::ZERO && took < LONG);
            }
            Outcome::Refused => assert_eq!(sample.candidate.addr, refusing),
            Outcome::NoRoute | Outcome::Failure => panic!("{sample:?}"),
        }
        assert_eq!(sample.source, Source::Probe);
    }
    assert_eq!(
        ended
            .iter()
            .filter(|sample| sample.candidate.addr == open)
            .count(),
        20
    );
    drop(listener);
}

#[test]
fn an_established_probe_is_reset() {
    let mut connector = connector();
    let (listener, open) = listener();
    assert!(matches!(
        connector.start(None, &probe(open, LONG), None, &Bind::default()),
        Start::Begun
    ));
    let (mut accepted, _) = listener.accept().expect("the connect");
    let mut ended = Vec::new();
    wait_for(&mut connector, &mut ended, 1);
    let error = accepted.read(&mut [0; 8]).expect_err("no end of stream");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn another_port_is_connected_to_and_named_and_the_answer_is_timed() {
    let mut connector = connector();
    let (listener, open) = listener();
    let named = SocketAddr::new(open.ip(), 9);
    let check = crate::config::Check {
        kind: crate::config::CheckKind::Http,
        ..crate::config::Check::default()
    };
    let mut probe = probe(named, LONG);
    probe.port = open.port();
    let plan = Plan::of(&check).map(Arc::new);
    assert!(matches!(
        connector.start(None, &probe, plan, &Bind::default()),
        Start::Begun
    ));
    let late = Duration::from_millis(50);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the connect");
        let mut request = [0; 1024];
        let count = stream.read(&mut request).expect("the request");
        std::thread::park_timeout(late);
        stream
            .write_all(b"HTTP/1.0 204 Fine\r\n\r\n")
            .expect("it listens");
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let mut ended = Vec::new();
    wait_for(&mut connector, &mut ended, 1);
    let request = server.join().expect("no panic");
    assert!(request.contains(&format!("Host: {open}\r\n")), "{request}");
    assert_eq!(ended[0].candidate.addr, named, "the sample is the candidate's");
    let Heard::Answer(took) = ended[0].heard else {
        panic!("{:?}", ended[0])
    };
    assert!(took >= late / 2 && took < LONG, "{took:?}");
    assert!(ended[0].outcome.latency().is_some_and(|connect| connect < took));
}

#[test]
fn one_that_says_nothing_is_wrong_at_its_deadline_and_keeps_its_connect() {
    let mut connector = connector();
    let (_listener, mute) = listener();
    let check = crate::config::Check {
        kind: crate::config::CheckKind::Http,
        ..crate::config::Check::default()
    };
    let short = Duration::from_millis(80);
    let plan = Plan::of(&check).map(Arc::new);
    assert!(matches!(
        connector.start(None, &probe(mute, short), plan, &Bind::default()),
        Start::Begun
    ));
    let mut ended = Vec::new();
    wait_for(&mut connector, &mut ended, 1);
    assert!(matches!(ended[0].heard, Heard::Wrong("it does not come in time")));
    assert!(ended[0].outcome.is_success(), "{:?}", ended[0]);
    assert_eq!(connector.in_flight(), 0);
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_silent_candidate_fails_at_its_deadline() {
    // A listener whose queue is full drops further connects without a word.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .expect("a free port");
    socket.listen(0).expect("a listener");
    let silent = socket
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IPv4");
    let mut queued = Vec::new();
    while let Ok(stream) = StdStream::connect_timeout(&silent, Duration::from_millis(100)) {
        queued.push(stream);
    }
    assert!(!queued.is_empty());

    let mut connector = connector();
    let (_listener, open) = listener();
    let (short, began_at) = (Duration::from_millis(80), clock::now());
    assert!(matches!(
        connector.start(None, &probe(silent, LONG), None, &Bind::default()),
        Start::Begun
    ));
    assert!(matches!(
        connector.start(None, &probe(silent, short), None, &Bind::default()),
        Start::Begun
    ));
    assert!(matches!(
        connector.start(None, &probe(open, LONG), None, &Bind::default()),
        Start::Begun
    ));
    let mut ended = Vec::new();
    wait_for(&mut connector, &mut ended, 2);
    assert_eq!(ended[0].candidate.addr, open);
    assert_eq!(
        (ended[1].candidate.addr, ended[1].outcome),
        (silent, Outcome::Failure)
    );
    let took = ended[1].at - began_at;
    assert!(took >= short && took < LONG, "{took:?}");
    assert_eq!(connector.in_flight(), 1, "each has its own deadline");
}

#[test]
fn answers_that_came_in_time_count_though_the_turn_is_late() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .expect("a free port");
    socket.listen(4096).expect("a listener");
    let open = socket
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("of IPv4");
    // More than one turn takes from the poll.
    let count = EVENTS + 50;
    let timeout = Duration::from_millis(50);
    let mut connector = connector();
    for _ in 0..count {
        assert!(matches!(
            connector.start(None, &probe(open, timeout), None, &Bind::default()),
            Start::Begun
        ));
    }
    std::thread::park_timeout(timeout * 2);
    let mut ended = Vec::new();
    wait_for(&mut connector, &mut ended, count);
    for sample in ended {
        assert!(matches!(sample.outcome, Outcome::Success(took) if took <= timeout));
    }
}

#[test]
fn slots_are_used_again() {
    let mut connector = connector();
    let (_listener, open) = listener();
    let mut ended = Vec::new();
    for round in 1..=10 {
        for _ in 0..3 {
            assert!(matches!(
                connector.start(None, &probe(open, LONG), None, &Bind::default()),
                Start::Begun
            ));
        }
        wait_for(&mut connector, &mut ended, round * 3);
    }
    assert_eq!(connector.slots.len(), 3);
    assert!(
        ended
            .iter()
            .all(|sample| matches!(sample.outcome, Outcome::Success(_)))
    );
}

#[test]
fn an_address_without_a_route_fails_at_once() {
    let mut connector = connector();
    let nowhere = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
    let Start::Ended(sample) = connector.start(None, &probe(nowhere, LONG), None, &Bind::default()) else {
        panic!("no connect to everybody")
    };
    assert_eq!(sample.candidate.addr, nowhere);
    assert!(!sample.outcome.is_answer());
    assert_eq!(connector.in_flight(), 0);
}

#[test]
fn a_ring_ends_a_turn() {
    let bell = Arc::new(Doorbell::default());
    let mut connector = Connector::new(&bell).expect("a connector");
    let ringing = {
        let bell = Arc::clone(&bell);
        std::thread::spawn(move || bell.ring())
    };
    connector.turn(None, &mut Vec::new()).expect("a turn");
    ringing.join().expect("no panic");
    assert!(bell.answer());
}
