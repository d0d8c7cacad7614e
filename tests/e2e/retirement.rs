//! What retires while it is in use: backends, services and their specs, the process.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tcp_forwarder::config::{Algorithm, Spec, Strategy};
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::relay::close::CloseReason;

use crate::rig::{Reactors, Rig, TestBackend, activate, connect, member, publish_set, wait_for};
use crate::support::{Silent, patient, ping};

fn spec(strategy: Strategy) -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = strategy;
    spec
}

/// A client whose dial is not answered turns to another backend though its spec is an old one and its service has left.
#[test]
fn whoever_still_seeks_a_backend_finds_one_of_a_service_that_has_left() {
    for has_another_spec in [false, true] {
        let mut spec = spec(Strategy::Off);
        spec.pools.algorithm = Algorithm::RoundRobin;
        spec.pools.dial_timeout = Duration::from_millis(700);
        let silent = Silent::on(Ipv4Addr::LOCALHOST);
        let rig = Rig::start(&spec, &[silent.addr, TestBackend::named(b'n').addr], 1);
        let mut clients: Vec<_> = (0..2).map(|_| rig.connect()).collect();
        wait_for("one relays and one dials", || rig.in_use() == 2);
        let set = rig.set();
        if has_another_spec {
            spec.server.idle_timeout = Duration::from_secs(500);
            rig.succeed(&Arc::new(rig.service.under(Arc::new(spec), Instant::now())));
        }
        rig.publish(&[], &[]);
        for client in &mut clients {
            client.write_all(b"?").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        assert!(rig.active() == 2);
        drop(clients);
        wait_for("nothing is left of it", || {
            Arc::strong_count(&rig.service) == 1 && set.backends.iter().all(|one| Arc::strong_count(one) == 1)
        });
    }
}

#[test]
fn a_backend_that_returns_while_its_pool_is_being_emptied_is_filled_again() {
    const SIZE: usize = 200;
    let backend = TestBackend::echo();
    let other = TestBackend::echo();
    let spec = spec(Strategy::Static {
        size_per_remote: SIZE,
    });
    let rig = Rig::start(&spec, &[], 1);
    let [returning, staying] = [backend.addr, other.addr].map(|addr| member(&rig.service, addr));
    let share = |backend: &tcp_forwarder::backend::Backend| {
        backend.shares[0].warm.load(std::sync::atomic::Ordering::Relaxed) as usize
    };
    publish_set(&rig.service, vec![Arc::clone(&returning), Arc::clone(&staying)]);
    wait_for("full pools", || {
        share(&returning) == SIZE && share(&staying) == SIZE
    });
    let mut client = rig.connect();
    ping(&mut client, b"early");
    let seed = 11;
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..30 {
        publish_set(&rig.service, vec![Arc::clone(&staying)]);
        // Closing takes a few turns: now and then it is cut short, now and then refilling is.
        crate::support::pause(Duration::from_micros(rng.u64(0..3000)));
        publish_set(&rig.service, vec![Arc::clone(&returning), Arc::clone(&staying)]);
        crate::support::pause(Duration::from_micros(rng.u64(0..3000)));
    }
    wait_for("full pools again", || {
        let sockets = usize::try_from(rig.upstreams()).expect("few");
        share(&returning) == SIZE && share(&staying) == SIZE && sockets == 2 * SIZE + 1
    });
    ping(&mut client, b"late");
    ping(&mut rig.connect(), b"and the next");
    publish_set(&rig.service, vec![staying]);
    drop(client);
    wait_for("it is forgotten", || Arc::strong_count(&returning) == 1);
}

/// One service each, with a client in every stage that can be held for as long as a test likes.
#[test]
fn a_stop_ends_clients_in_whichever_stage_they_are() {
    const SAID: usize = 60_000;
    let reactors = Reactors::start(1, Limits::of(20_000, 0));
    let mut spec = spec(Strategy::Off);
    spec.pools.drain_timeout = Duration::from_millis(800);
    spec.pools.dial_timeout = Duration::from_secs(10);
    let silent = Silent::on(Ipv4Addr::LOCALHOST);
    // Says much, and resets when that has left it.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let resetting = TestBackend::start(move |mut stream| {
        stream.write_all(&vec![7; SAID]).unwrap();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        let _released = held.lock().unwrap().recv();
    });
    let backends = [
        None,
        Some(silent.addr),
        Some(TestBackend::echo().addr),
        Some(resetting.addr),
    ];
    let services = backends.map(|_| reactors.service("one", &spec));
    for (service, backend) in services.iter().zip(backends) {
        if let Some(backend) = backend {
            activate(service, &[backend]);
        }
    }
    let ports: Vec<_> = services
        .iter()
        .map(|service| reactors.open_for(service))
        .collect();
    reactors.publish(
        &services.iter().collect::<Vec<_>>(),
        &ports.iter().collect::<Vec<_>>(),
    );
    let [mut waiting, mut dialling, mut relaying] = std::array::from_fn(|place| connect(ports[place].bound));
    ping(&mut relaying, b"relaying");
    // It takes little, and reads nothing.
    let leaving = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    leaving.set_recv_buffer_size(4096).unwrap();
    leaving.connect(&ports[3].bound.into()).unwrap();
    let mut leaving = patient(leaving.into());
    let traffic = |place: usize| &services[place].live.traffic[0];
    wait_for("all that it said is on its way", || {
        traffic(3).bytes_to_client.value() == SAID as u64
    });
    release.send(()).unwrap();
    wait_for("all have come", || reactors.clients() == 4);
    let began = Instant::now();
    reactors.begin_stop();
    assert_eq!(waiting.read(&mut [0]).unwrap_or(0), 0, "no set will come");
    assert!(began.elapsed() < Duration::from_millis(600));
    let error = relaying.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(began.elapsed() >= Duration::from_millis(800), "it had its time");
    let error = dialling.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // What it has not taken by now is lost with the reset that it is told of.
    assert!(
        leaving.read_to_end(&mut Vec::new()).is_err(),
        "a reset, not an end"
    );
    let ends = |reason: CloseReason| {
        (0..4)
            .map(|place| traffic(place).closed[reason as usize].value())
            .collect()
    };
    let (failed, drained): (Vec<_>, Vec<_>) = (ends(CloseReason::DialFailed), ends(CloseReason::Drained));
    let hub = Arc::clone(&reactors.hub);
    let farewell = reactors.stop();
    assert_eq!((failed, drained), (vec![1, 0, 0, 0], vec![0, 1, 1, 1]));
    assert_eq!((farewell.finished, farewell.cut), (1, 3));
    assert_eq!(hub.clients.count(), 0);
    assert!(ports.iter().all(|port| TcpStream::connect(port.bound).is_err()));
}

/// Each service drains for as long as its own spec says.
#[test]
fn services_drain_for_as_long_as_each_of_them_says() {
    let reactors = Reactors::start(2, Limits::of(20_000, 0));
    let backend = TestBackend::echo();
    let services = [300, 900].map(|millis| {
        let mut spec = spec(Strategy::Static { size_per_remote: 2 });
        spec.pools.drain_timeout = Duration::from_millis(millis);
        let service = reactors.service("one", &spec);
        activate(&service, &[backend.addr]);
        service
    });
    let ports = services.each_ref().map(|service| reactors.open_for(service));
    reactors.publish(&services.each_ref(), &ports.each_ref());
    let mut clients = ports.map(|port| connect(port.bound));
    for client in &mut clients {
        ping(client, b"relaying");
    }
    // One that left before drains at the stop as the others do.
    reactors.publish(&[&services[0]], &[]);
    ping(&mut clients[1], b"goes on");
    let began = Instant::now();
    reactors.begin_stop();
    for (client, millis) in clients.iter_mut().zip([300, 900]) {
        assert!(client.read(&mut [0]).is_err(), "a reset, not an end");
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(millis) && took < Duration::from_millis(millis + 500),
            "{took:?}"
        );
    }
    assert_eq!(reactors.stop().cut, 2);
}

/// The time that relays of a backend that left have is not begun again by another spec, nor forgotten.
#[test]
fn relays_of_a_backend_that_left_end_under_another_spec_too() {
    let mut spec = spec(Strategy::Static { size_per_remote: 1 });
    spec.pools.reset_on_removal = true;
    spec.pools.drain_timeout = Duration::from_millis(600);
    let rig = Rig::start(&spec, &[TestBackend::echo().addr], 1);
    let mut client = rig.connect();
    ping(&mut client, b"early");
    let began = Instant::now();
    rig.activate(&[TestBackend::echo().addr]);
    crate::support::pause(Duration::from_millis(200));
    spec.server.idle_timeout = Duration::from_secs(400);
    rig.succeed(&Arc::new(rig.service.under(Arc::new(spec), Instant::now())));
    ping(&mut client, b"it has its time");
    let error = client.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(600) && took < Duration::from_millis(1100),
        "{took:?}"
    );
    wait_for("the old tenant is forgotten", || {
        Arc::strong_count(&rig.service) == 1
    });
    ping(&mut rig.connect(), b"the new one serves");
}

/// A backend that refuses is given up by its pool's dials when it leaves, too.
#[test]
fn a_pool_that_could_not_be_filled_goes_with_its_backend() {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Silent::on(Ipv4Addr::LOCALHOST);
    let rig = Rig::start(
        &spec(Strategy::Static { size_per_remote: 8 }),
        &[refusing, silent.addr],
        1,
    );
    let set = rig.set();
    wait_for("dials are under way", || rig.upstreams() == 8);
    rig.activate(&[]);
    wait_for("both are forgotten", || {
        rig.upstreams() == 0 && set.backends.iter().all(|one| Arc::strong_count(one) == 1)
    });
}

/// Whether relays of a backend that left are cut, and when, is what the spec says under which each of them began.
#[test]
fn relays_of_a_backend_that_left_end_as_their_own_spec_says() {
    let graces = [None, Some(800), Some(300), None];
    let specs = graces.map(|grace: Option<u64>| {
        let mut spec = spec(Strategy::Static { size_per_remote: 1 });
        spec.pools.reset_on_removal = grace.is_some();
        spec.pools.drain_timeout = Duration::from_millis(grace.unwrap_or(100));
        spec
    });
    let rig = Rig::start(&specs[0], &[TestBackend::echo().addr], 1);
    let mut service = Arc::clone(&rig.service);
    let mut clients = Vec::new();
    for spec in specs {
        service = Arc::new(service.under(Arc::new(spec), Instant::now()));
        rig.succeed(&service);
        let mut client = rig.connect();
        ping(&mut client, b"early");
        clients.push(client);
    }
    rig.activate(&[TestBackend::echo().addr]);
    let left_at = Instant::now();
    for (place, millis) in [(2, 300), (1, 800)] {
        let error = clients[place].read(&mut [0]).expect_err("a reset, not an end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(left_at.elapsed() >= Duration::from_millis(millis));
    }
    assert_eq!(rig.closed(CloseReason::BackendRemoved), 2);
    for place in [0, 3] {
        ping(&mut clients[place], b"goes on");
    }
}
