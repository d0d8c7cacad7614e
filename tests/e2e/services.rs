//! Services that come, change and go while their clients are here.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tcp_forwarder::config::{Spec, Strategy};
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::service::Service;

use crate::rig::{Reactors, Rig, TestBackend, activate, connect, sum_counters, wait_for, warm};
use crate::support::{comes_true, ping};

/// How long nothing may happen before it counts as not happening.
const QUIET: Duration = Duration::from_millis(300);

fn spec(size_per_remote: usize) -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = Strategy::Static { size_per_remote };
    spec
}

fn reactors(count: usize) -> Reactors {
    Reactors::start(count, Limits::of(20_000, 0))
}

/// Who serves this connection; fails the test if nobody does.
fn asked(stream: &mut TcpStream) -> u8 {
    let mut name = [0];
    stream.write_all(b"?").unwrap();
    stream.read_exact(&mut name).unwrap();
    name[0]
}

fn closed(service: &Service, reason: CloseReason) -> u64 {
    sum_counters(service, |one| &one.closed[reason as usize])
}

fn active(service: &Service) -> u64 {
    sum_counters(service, |one| &one.active)
}

/// Waits until no reactor and no directory knows the service any more: the test alone has it.
fn wait_until_gone(service: &Arc<Service>) {
    wait_for("nothing is left of it", || {
        Arc::strong_count(service) == 1 && Arc::strong_count(&service.live) == 1
    });
    for backend in &service.live.active.load().backends {
        wait_for("no pool of it is left", || Arc::strong_count(backend) == 1);
        assert_eq!(backend.live(), 0);
    }
    assert_eq!(active(service), 0);
}

/// The rig's service under another spec.
fn change(rig: &Rig, spec: &Spec) {
    let service = Arc::new(rig.service.under(Arc::new(spec.clone()), Instant::now()));
    rig.succeed(&service);
}

fn dials(rig: &Rig) -> u64 {
    rig.set().backends[0].dial_durations.totals().0
}

#[test]
fn clients_end_under_the_spec_that_they_began_with() {
    let backend = TestBackend::echo();
    let mut old = spec(2);
    old.server.idle_timeout = Duration::from_millis(1500);
    let rig = Rig::start(&old, &[backend.addr], 1);
    wait_for("warm connections", || rig.warm() == 2);
    let mut first = rig.connect();
    ping(&mut first, b"under the old one");
    let began = Instant::now();
    let mut new = old.clone();
    new.server.idle_timeout = Duration::from_millis(300);
    change(&rig, &new);
    let mut second = rig.connect();
    ping(&mut second, b"under the new one");
    assert_eq!(second.read(&mut [0]).unwrap(), 0, "an idle time-out is an end");
    assert!(
        began.elapsed() < Duration::from_millis(1400),
        "the first one is still here"
    );
    let spoke = Instant::now();
    ping(&mut first, b"still");
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
    assert!(
        spoke.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        spoke.elapsed()
    );
    wait_for("the old tenant is forgotten", || {
        Arc::strong_count(&rig.service) == 1
    });
}

#[test]
fn warm_connections_stay_warm_under_another_spec() {
    let backend = TestBackend::echo();
    let mut next = spec(4);
    let rig = Rig::start(&next, &[backend.addr], 1);
    wait_for("warm connections", || rig.warm() == 4);
    for round in 1..=20 {
        next.server.idle_timeout = Duration::from_secs(round);
        change(&rig, &next);
        assert_eq!(rig.warm(), 4);
    }
    wait_for("the last one is in force", || {
        Arc::strong_count(&rig.service) == 1
    });
    assert_eq!((rig.warm(), dials(&rig)), (4, 4));
    ping(&mut rig.connect(), b"and are used");
    assert_eq!(rig.hits(), 1);
}

#[test]
fn another_keepalive_replaces_what_is_warm_and_nothing_else() {
    let backend = TestBackend::echo();
    let mut next = spec(150);
    let rig = Rig::start(&next, &[backend.addr], 1);
    wait_for("warm connections", || rig.warm() == 150);
    let mut client = rig.connect();
    ping(&mut client, b"before");
    wait_for("and one more", || rig.warm() == 150);
    assert_eq!(dials(&rig), 151);
    next.server.keepalive.idle *= 2;
    change(&rig, &next);
    wait_for("each is replaced", || dials(&rig) == 301 && rig.warm() == 150);
    wait_for("and closed", || rig.upstreams() == 151);
    ping(&mut client, b"after");
    assert!(!comes_true(QUIET, || dials(&rig) != 301), "once");
}

#[test]
fn a_service_that_leaves_serves_its_relays_to_their_end_and_is_forgotten() {
    let backend = TestBackend::echo();
    let reactors = reactors(2);
    let (leaves, stays) = (
        reactors.service("leaves", &spec(4)),
        reactors.service("stays", &spec(4)),
    );
    activate(&leaves, &[backend.addr]);
    activate(&stays, &[backend.addr]);
    let (port, other) = (reactors.open_for(&leaves), reactors.open_for(&stays));
    reactors.publish(&[&leaves, &stays], &[&port, &other]);
    wait_for("warm connections", || warm(&leaves) == 4 && warm(&stays) == 4);
    let mut clients: Vec<_> = (0..6).map(|_| connect(port.bound)).collect();
    for client in &mut clients {
        ping(client, b"before");
    }
    // These are queued at the latest when it leaves.
    let mut queued: Vec<_> = (0..50).map(|_| connect(port.bound)).collect();
    let address = port.bound;
    reactors.publish(&[&stays], &[&other]);
    drop(port);
    for client in &mut queued {
        ping(client, b"queued");
    }
    wait_for("its listeners close", || TcpStream::connect(address).is_err());
    wait_for("its warm connections close", || warm(&leaves) == 0);
    for client in &mut clients {
        ping(client, b"after");
    }
    assert_eq!(active(&leaves), 56);
    drop(queued);
    wait_for("those have gone", || active(&leaves) == 6);
    assert!(Arc::strong_count(&leaves) > 1, "it is still needed");
    drop(clients);
    wait_until_gone(&leaves);
    assert_eq!(closed(&leaves, CloseReason::Finished), 56);
    wait_for("what is left is the other's", || reactors.upstreams() == 4);
    ping(&mut connect(other.bound), b"the other one goes on");
}

#[test]
fn a_service_that_nobody_uses_is_gone_at_once() {
    let backend = TestBackend::echo();
    let reactors = reactors(2);
    for round in 0..20 {
        let service = reactors.service("short", &spec(300));
        activate(&service, &[backend.addr]);
        let port = reactors.open_for(&service);
        reactors.publish(&[&service], &[&port]);
        if round % 2 == 0 {
            // Otherwise its first dials are under way.
            wait_for("it is in force", || warm(&service) > 100);
        }
        reactors.publish(&[], &[]);
        drop(port);
        wait_until_gone(&service);
        wait_for("no socket is left", || reactors.upstreams() == 0);
    }
}

#[test]
fn a_listener_changes_hands_without_losing_a_client() {
    let backends = [TestBackend::named(b'a'), TestBackend::named(b'b')];
    let reactors = reactors(2);
    let services = [b"a", b"b"].map(|name| reactors.service(std::str::from_utf8(name).unwrap(), &spec(2)));
    for (service, backend) in services.iter().zip(&backends) {
        activate(service, &[backend.addr]);
    }
    let mut port = reactors.open_for(&services[0]);
    // They wait at a listener that is nobody's yet.
    let mut queued: Vec<_> = (0..20).map(|_| connect(port.bound)).collect();
    let all = [&services[0], &services[1]];
    reactors.publish(&all, &[&port]);
    assert!(queued.iter_mut().all(|client| asked(client) == b'a'));
    let is_over = AtomicBool::new(false);
    let bound = port.bound;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = [0, 0];
                    while !is_over.load(Ordering::Relaxed) {
                        served[usize::from(asked(&mut connect(bound)) - b'a')] += 1;
                    }
                    served
                })
            })
            .collect();
        for turn in 1..=60 {
            port.service = Arc::clone(&services[turn % 2]);
            reactors.publish(&all, &[&port]);
            crate::support::pause(Duration::from_millis(5));
        }
        is_over.store(true, Ordering::Relaxed);
        let served = clients.into_iter().map(|client| client.join().unwrap());
        let served = served.fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
        assert!(served[0] > 10 && served[1] > 10, "{served:?}");
    });
    assert!(
        queued.iter_mut().all(|client| asked(client) == b'a'),
        "they stay where they are"
    );
    port.service = Arc::clone(&services[1]);
    reactors.publish(&all, &[&port]);
    wait_for("b has it", || asked(&mut connect(bound)) == b'b');
}

/// A service that has no active set yet, and a client that waits for it.
fn waiting(reactors: &Reactors, spec: &Spec) -> (Arc<Service>, TcpStream, SocketAddr) {
    let service = reactors.service("new", spec);
    let port = reactors.open_for(&service);
    reactors.publish(&[&service], &[&port]);
    let mut client = connect(port.bound);
    client.write_all(b"?").unwrap();
    wait_for("it is accepted", || active(&service) == 1);
    (service, client, port.bound)
}

#[test]
fn clients_of_a_new_service_wait_for_its_first_set() {
    let reactors = reactors(2);
    let (service, mut client, bound) = waiting(&reactors, &spec(2));
    client.set_read_timeout(Some(QUIET)).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut client = crate::support::patient(client);
    let mut others: Vec<_> = (0..10).map(|_| connect(bound)).collect();
    // One that gives up meanwhile is nobody's business any more.
    let impatient = connect(bound);
    socket2::SockRef::from(&impatient)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(impatient);
    activate(&service, &[TestBackend::named(b'n').addr]);
    let mut name = [0];
    client.read_exact(&mut name).unwrap();
    assert_eq!(name, *b"n");
    assert!(others.iter_mut().all(|client| asked(client) == b'n'));
}

#[test]
fn clients_that_wait_for_a_first_set_end_with_their_service() {
    let reactors = reactors(1);
    let (service, mut client, _) = waiting(&reactors, &spec(2));
    let began = Instant::now();
    reactors.publish(&[], &[]);
    let _ended = client.read(&mut [0]);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(closed(&service, CloseReason::DialFailed), 1);
    wait_until_gone(&service);
}

#[test]
fn clients_that_wait_go_on_waiting_under_another_spec() {
    for is_served in [true, false] {
        let reactors = reactors(1);
        let (old, mut client, _) = waiting(&reactors, &spec(2));
        let mut next = spec(2);
        next.server.idle_timeout = Duration::from_secs(900);
        let new = Arc::new(old.under(Arc::new(next), Instant::now()));
        reactors.publish(&[&new], &[]);
        let began = Instant::now();
        if is_served {
            activate(&new, &[TestBackend::named(b'n').addr]);
            let mut name = [0];
            client.read_exact(&mut name).unwrap();
            assert_eq!(name, *b"n");
        } else {
            wait_for("the new one is in force", || Arc::strong_count(&new) > 2);
            reactors.publish(&[], &[]);
            assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
            assert_eq!(closed(&old, CloseReason::DialFailed), 1);
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        reactors.publish(&[], &[]);
        drop(client);
        wait_for("nothing is left", || {
            Arc::strong_count(&old) == 1 && Arc::strong_count(&new) == 1
        });
    }
}
