//! The latency lab measured against itself: what is configured is what TCP sees.
//!
//! Needs root, `/dev/net/tun` and iproute2, and says so where it skips itself.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod lab;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lab::{Jitter, Lab, Link, Load, Program, Responder, Service, pause, say, server, server_v6};
use tcp_forwarder::base::clock;

const HTTP: u16 = 80;
const ECHO: u16 = 7;
const NOBODY: u16 = 81;
const PATIENCE: Duration = Duration::from_secs(3);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How long a connect from the client namespace takes, or how it fails.
fn connect(lab: &Lab, address: IpAddr, port: u16, patience: Duration) -> Result<Duration, ErrorKind> {
    let target = SocketAddr::new(address, port);
    let dial = || {
        let begun = clock::now();
        let outcome = TcpStream::connect_timeout(&target, patience);
        outcome.map(|_| begun.elapsed()).map_err(|error| error.kind())
    };
    lab.client().run(dial).unwrap()
}

/// The quickest of some connects: what the link costs without the noise of a busy machine. Looks no further
/// once one took less than `enough`.
fn quickest(lab: &Lab, address: IpAddr, enough: Duration) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let seen = connect(lab, address, HTTP, PATIENCE).expect("the address answers");
        quickest = quickest.min(seen);
        if quickest < enough {
            break;
        }
    }
    quickest
}

#[test]
fn a_connect_takes_the_configured_round_trip() {
    let Some(lab) = lab::open("a_connect_takes_the_configured_round_trip") else {
        return;
    };
    let _backends = Responder::start(lab.server(), &[(HTTP, Service::Http)]).unwrap();
    let mut addresses = Vec::new();
    for (index, rtt) in (0_u16..).zip([0, 5, 50, 300]) {
        addresses.push((server(300 * index + 7), rtt));
        addresses.push((server_v6(index + 7), rtt));
    }
    for (address, rtt) in addresses {
        lab.links().set(address, Link::millis(rtt));
        let seen = quickest(&lab, address, millis(rtt + 1));
        say(&format!("  {address}: {rtt} ms configured, {seen:?} seen"));
        assert!(seen >= millis(rtt), "{address}: {seen:?} is less than {rtt} ms");
        assert!(seen < millis(rtt + 3), "{address}: {seen:?} instead of {rtt} ms");
    }
    let body = lab.client().run(|| {
        let address = SocketAddr::new(server(307), HTTP);
        lab::http_body(address, "/").unwrap()
    });
    assert_eq!(
        body.unwrap().trim(),
        server(307).to_string(),
        "one process answers as each"
    );
}

#[test]
fn dead_refusing_and_changed_links_are_what_they_say() {
    let Some(lab) = lab::open("dead_refusing_and_changed_links_are_what_they_say") else {
        return;
    };
    let _backends = Responder::start(lab.server(), &[(HTTP, Service::Http)]).unwrap();
    let address = server(1_000);
    let other = server(1_001);
    lab.links().set_fallback(Link::millis(10));

    lab.links().set(address, Link::dead());
    assert_eq!(
        connect(&lab, address, HTTP, millis(300)),
        Err(ErrorKind::TimedOut)
    );
    assert!(
        quickest(&lab, other, millis(12)) < millis(13),
        "its neighbour is well"
    );

    lab.links().set(address, Link::millis(40));
    assert!(
        quickest(&lab, address, millis(42)) >= millis(40),
        "back, and slow"
    );
    lab.links().set(address, Link::millis(5));
    let seen = quickest(&lab, address, millis(7));
    assert!(
        (millis(5)..millis(8)).contains(&seen),
        "{seen:?} after the change"
    );
    assert_eq!(
        connect(&lab, address, NOBODY, PATIENCE),
        Err(ErrorKind::ConnectionRefused)
    );

    lab.links()
        .set_pair(lab::CLIENT.into(), address, Link::millis(60));
    assert!(
        quickest(&lab, address, millis(62)) >= millis(60),
        "by client address, too"
    );

    lab.links().set_uplink(Link::dead());
    assert_eq!(connect(&lab, other, HTTP, millis(300)), Err(ErrorKind::TimedOut));
    lab.links().set_uplink(Link::millis(20));
    let seen = quickest(&lab, other, millis(32));
    assert!(
        (millis(30)..millis(33)).contains(&seen),
        "{seen:?}: line and link add up"
    );
}

#[test]
fn a_panic_leaves_neither_program_nor_namespace_behind() {
    const TEST: &str = "a_panic_leaves_neither_program_nor_namespace_behind";
    if lab::open(TEST).is_none() {
        return;
    }
    let left = Mutex::new((Vec::new(), 0));
    let outcome = std::panic::catch_unwind(|| {
        let lab = lab::open(TEST).unwrap();
        let mut program = Program::start(lab.client().command("sleep").arg("600")).unwrap();
        assert!(program.is_running(), "{}", program.output());
        let names = [lab.client(), lab.server()].map(|namespace| namespace.name().to_owned());
        *left.lock().unwrap() = (names.to_vec(), program.pid());
        std::panic::resume_unwind(Box::new("as a failed assertion does"));
    });
    assert!(outcome.is_err());
    let (names, pid) = left.into_inner().unwrap();
    assert_eq!(names.len(), 2, "the lab was there");
    let gone = |path: String| !std::path::Path::new(&path).exists();
    for name in names {
        assert!(gone(format!("/run/netns/{name}")), "{name} is still there");
    }
    assert!(gone(format!("/proc/{pid}")), "the program still runs");
}

#[test]
fn loss_and_jitter_are_seen_by_tcp() {
    let Some(lab) = lab::open("loss_and_jitter_are_seen_by_tcp") else {
        return;
    };
    let _backends = Responder::start(lab.server(), &[(HTTP, Service::Http)]).unwrap();
    let target = SocketAddr::new(server(5), HTTP);
    let load = Load {
        target,
        per_second: 400,
        duration: Duration::from_secs(1),
        hold: Duration::ZERO,
        patience: millis(500),
    };

    lab.links()
        .set(target.ip(), Link::millis(20).jitter(Jitter::Uniform(millis(40))));
    let report = load.run(lab.client()).unwrap();
    let times = report.percentiles();
    say(&format!("  20 ms + 0..40 ms: {}", report.json()));
    assert_eq!(report.failed(), 0);
    // Two round trips: connect, then request and reply; each 20 to 60 ms, 40 in the mean.
    assert!(
        times.p50 > millis(65) && times.p50 < millis(120),
        "median {:?}",
        times.p50
    );
    assert!(times.max > millis(95), "the slowest took {:?}", times.max);

    lab.links().set(target.ip(), Link::millis(20).loss(0.3));
    let report = load.run(lab.client()).unwrap();
    say(&format!("  30 % loss: {}", report.json()));
    // SYN and SYN-ACK pass at once with probability 0.49; the first repetition comes after a second.
    let refused = report.failed() * 1_000 / report.samples.len();
    assert!(
        (450..850).contains(&refused),
        "{refused} of a thousand went unanswered"
    );
    let lost = lab.report().lost;
    assert!(lost > 150, "{lost} packets lost");
}

#[test]
fn a_capped_link_passes_what_it_should() {
    let Some(lab) = lab::open("a_capped_link_passes_what_it_should") else {
        return;
    };
    let _backends = Responder::start(lab.server(), &[(ECHO, Service::Echo)]).unwrap();
    let address = server(9);
    lab.links().set(address, Link::millis(4).capped(4_000_000));
    let total = 2_000_000;
    let elapsed = lab.client().run(|| {
        let stream = TcpStream::connect((address, ECHO)).unwrap();
        let begun = clock::now();
        std::thread::scope(|scope| {
            scope.spawn(|| (&stream).write_all(&vec![7; total]).unwrap());
            let mut back = vec![0; total];
            (&stream).read_exact(&mut back).unwrap();
            assert!(back.iter().all(|byte| *byte == 7));
        });
        begun.elapsed()
    });
    let elapsed = elapsed.unwrap();
    say(&format!("  2 MB at 4 MB/s each way: {elapsed:?}"));
    assert!(elapsed > millis(490), "{elapsed:?}: faster than the cap");
    assert!(elapsed < millis(1_500), "{elapsed:?}: the cap takes too much");
}

/// Packets of a steady stream leave when they should, and a silent wire costs nothing.
#[test]
fn the_wire_is_punctual_and_silent_at_rest() {
    let Some(lab) = lab::open("the_wire_is_punctual_and_silent_at_rest") else {
        return;
    };
    let address = SocketAddr::new(server(2), ECHO);
    lab.links().set(address.ip(), Link::millis(30));
    let sink = lab.server().run(|| UdpSocket::bind(address).unwrap()).unwrap();
    let source = lab
        .client()
        .run(|| UdpSocket::bind((lab::CLIENT, 0)).unwrap())
        .unwrap();
    for socket in [&sink, &source] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let packets = 4_000_u32;
    let epoch = clock::now();
    let (echoed, mut trips) = std::thread::scope(|scope| {
        let echo = scope.spawn(|| echo_all(&sink, packets));
        let receive = scope.spawn(|| round_trips(&source, epoch, packets));
        send_steadily(&source, address, epoch, packets);
        (echo.join().unwrap(), receive.join().unwrap())
    });
    trips.sort_unstable();
    let report = lab.report();
    say(&format!(
        "  {} round trips of 30 ms at 4000 packets/s (both ways): p50 {:?} p99 {:?} max {:?}",
        trips.len(),
        trips[trips.len() / 2],
        trips[trips.len() * 99 / 100],
        trips[trips.len() - 1],
    ));
    say(&format!(
        "  the wire's own lateness: p50 < {:?} p99 < {:?} p99.9 < {:?} max {:?}",
        report.lateness(500),
        report.lateness(990),
        report.lateness(999),
        report.latest,
    ));
    assert_eq!(echoed, packets, "none is lost on a clean link");
    assert!(trips[0] >= millis(30), "{:?}: nothing is early", trips[0]);
    assert!(
        report.lateness(500) <= millis(1),
        "half of all leave within a millisecond"
    );

    let before = lab.report().delivered;
    pause(millis(300));
    assert_eq!(lab.report().delivered, before, "a silent wire stays silent");
}

fn echo_all(socket: &UdpSocket, packets: u32) -> u32 {
    let mut buffer = [0_u8; 64];
    (0..packets)
        .map_while(|_| {
            let (length, from) = socket.recv_from(&mut buffer).ok()?;
            socket.send_to(&buffer[..length], from).ok()
        })
        .fold(0, |count, _| count + 1)
}

fn round_trips(socket: &UdpSocket, epoch: Instant, packets: u32) -> Vec<Duration> {
    let mut stamp = [0_u8; 8];
    (0..packets)
        .map_while(|_| {
            socket.recv(&mut stamp).ok()?;
            let sent = Duration::from_nanos(u64::from_be_bytes(stamp));
            Some(epoch.elapsed().saturating_sub(sent))
        })
        .collect()
}

/// Two packets a millisecond, each with the time it was sent.
fn send_steadily(socket: &UdpSocket, to: SocketAddr, epoch: Instant, packets: u32) {
    for number in 0..packets {
        let at = Duration::from_micros(500) * number;
        if let Some(early) = at.checked_sub(epoch.elapsed()) {
            pause(early);
        }
        let stamp = u64::try_from(epoch.elapsed().as_nanos()).unwrap();
        socket.send_to(&stamp.to_be_bytes(), to).unwrap();
    }
}
