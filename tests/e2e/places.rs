//! Backends that take only so many connections at once.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tcp_forwarder::backend::Backend;
use tcp_forwarder::config::{Algorithm, Spec, Strategy};
use tcp_forwarder::net;
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::service::Service;

use crate::rig::{Reactors, Rig, TestBackend, connect, member, publish_set, wait_for};
use crate::support::{pause, ping};

/// Connections that a backend has.
#[derive(Default)]
struct Open {
    streams: Mutex<Vec<(u32, TcpStream)>>,
    next: AtomicU32,
    /// The most that were ever open at once.
    most: AtomicU32,
}

impl Open {
    /// Adds one, and counts those that nobody has finished: what the forwarder has closed is no connection any more, even if
    /// the thread that serves it has not heard of that yet.
    fn add(&self, stream: &TcpStream) -> u32 {
        let name = self.next.fetch_add(1, Ordering::SeqCst);
        let mut streams = self.streams.lock().expect("no panic");
        let clone = stream.try_clone().expect("a descriptor is left");
        streams.push((name, clone));
        let is_open = |(_, stream): &&(u32, TcpStream)| {
            stream.set_nonblocking(true).expect("it can be");
            let seen = stream.peek(&mut [0]);
            stream.set_nonblocking(false).expect("it can be");
            match seen {
                Ok(count) => count > 0,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            }
        };
        let now = u32::try_from(streams.iter().filter(is_open).count()).expect("few");
        self.most.fetch_max(now, Ordering::SeqCst);
        name
    }

    fn remove(&self, name: u32) {
        let mut streams = self.streams.lock().expect("no panic");
        streams.retain(|(other, _)| *other != name);
    }
}

/// A backend that answers one byte and finishes; with what it has open.
fn counting() -> (TestBackend, Arc<Open>) {
    let open = Arc::new(Open::default());
    let seen = Arc::clone(&open);
    let backend = TestBackend::start(move |mut stream| {
        let name = seen.add(&stream);
        // Another one that comes looks at this one without waiting.
        let asked = loop {
            match stream.read(&mut [0]) {
                Ok(count) => break count > 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => break false,
            }
        };
        // Others come meanwhile, if anybody lets them.
        std::thread::yield_now();
        seen.remove(name);
        if asked {
            drop(stream.write_all(b"!"));
        }
    });
    (backend, open)
}

fn spec(queue_timeout: Duration, strategy: Strategy) -> Spec {
    let mut spec = Spec::default();
    spec.pools.algorithm = Algorithm::LeastConnections;
    spec.pools.strategy = strategy;
    spec.pools.queue_timeout = queue_timeout;
    spec
}

/// Starts reactors whose only member takes so many connections.
fn limited(spec: &Spec, backend: &TestBackend, places: u32, reactors: usize) -> (Rig, Arc<Backend>) {
    let rig = Rig::start(spec, &[backend.addr], reactors);
    let before = Arc::downgrade(&rig.set().backends[0]);
    let member = member(&rig.service, backend.addr);
    member.set_max_connections(NonZeroU32::new(places));
    publish_set(&rig.service, vec![Arc::clone(&member)]);
    wait_for("the one without a limit is forgotten", || {
        before.strong_count() == 0
    });
    (rig, member)
}

/// Clients that each ask once, one thread for some of them; how many were answered.
fn crowd(rig: &Rig, clients: usize) -> usize {
    const THREADS: usize = 50;
    let addr = rig.addr;
    let ask = move |_| {
        let mut stream = connect(addr);
        let mut answer = [0];
        stream.write_all(b"?").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"!"
    };
    let threads: Vec<_> = (0..THREADS)
        .map(|_| std::thread::spawn(move || (0..clients / THREADS).filter(|one| ask(*one)).count()))
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .sum()
}

#[test]
fn never_more_are_open_than_the_backend_takes_and_all_are_served() {
    for (places, strategy) in [
        (1, Strategy::Off),
        (3, Strategy::Off),
        (1, Strategy::Static { size_per_remote: 6 }),
        (7, Strategy::Static { size_per_remote: 6 }),
    ] {
        let (backend, open) = counting();
        let (rig, member) = limited(&spec(Duration::from_secs(30), strategy), &backend, places, 3);
        open.most.store(0, Ordering::SeqCst);
        assert_eq!(crowd(&rig, 1_000), 1_000, "{places} places");
        let most = open.most.load(Ordering::SeqCst);
        assert!((1..=places).contains(&most), "{most} of {places}");
        wait_for("all have left", || rig.active() == 0);
        assert_eq!(rig.service.live.queued(), 0);
        assert_eq!(member.live(), 0);
        wait_for("what is open is warm", || member.open() == rig.warm());
    }
}

#[test]
fn who_finds_no_place_in_time_is_closed_and_who_waits_is_served_in_turn() {
    let backend = TestBackend::echo();
    let (rig, member) = limited(&spec(Duration::from_millis(300), Strategy::Off), &backend, 1, 1);
    let mut first = rig.connect();
    ping(&mut first, b"mine");
    let mut second = rig.connect();
    wait_for("it waits", || rig.service.live.queued() == 1);
    assert_eq!(
        second.read(&mut [0]).map_err(|error| error.kind()),
        Ok(0),
        "closed without a word"
    );
    assert_eq!(
        (rig.closed(CloseReason::QueueTimeout), rig.service.live.queued()),
        (1, 0)
    );
    assert_eq!(member.open(), 1);
    // The next one waits, and is served as soon as the place is free.
    let mut third = rig.connect();
    wait_for("it waits", || rig.service.live.queued() == 1);
    drop(first);
    ping(&mut third, b"now mine");
    assert_eq!((rig.closed(CloseReason::QueueTimeout), member.open()), (1, 1));
}

#[test]
fn nobody_waits_where_that_is_not_wanted_and_a_higher_limit_holds_at_once() {
    let backend = TestBackend::echo();
    let (rig, member) = limited(&spec(Duration::ZERO, Strategy::Off), &backend, 1, 2);
    let mut first = rig.connect();
    ping(&mut first, b"mine");
    let closed = |mut stream: TcpStream| match stream.read(&mut [0]) {
        Ok(0) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
        Ok(_) => false,
    };
    assert!(closed(rig.connect()));
    member.set_max_connections(NonZeroU32::new(2));
    publish_set(&rig.service, vec![Arc::clone(&member)]);
    let mut second = rig.connect();
    ping(&mut second, b"mine, too");
    assert!(closed(rig.connect()));
}

#[test]
fn those_who_leave_while_they_wait_leave_nothing_and_a_stop_ends_the_wait() {
    let backend = TestBackend::echo();
    let mut spec = spec(Duration::from_secs(60), Strategy::Off);
    spec.pools.drain_timeout = Duration::from_millis(200);
    let (rig, member) = limited(&spec, &backend, 1, 2);
    let mut first = rig.connect();
    ping(&mut first, b"mine");
    let waiting: Vec<_> = (0..20).map(|_| rig.connect()).collect();
    wait_for("they wait", || rig.service.live.queued() == 20);
    for stream in waiting.into_iter().take(10) {
        tcp_reset(stream);
    }
    wait_for("all but those ten and the other ten are gone", || {
        rig.service.live.queued() < 11
    });
    let mut later = rig.connect();
    wait_for("it waits", || rig.service.live.queued() > 0);
    drop(first);
    ping(&mut later, b"mine");
    assert_eq!(member.open(), 1);
    let _held = rig.connect();
    wait_for("it waits", || rig.service.live.queued() == 1);
    rig.begin_stop();
    wait_for("both are cut", || rig.clients() == 0);
    assert_eq!(rig.service.live.queued(), 0);
    assert_eq!(member.open(), 0);
}

/// Reactors of one service that each have a port of their own; its only member takes so many connections.
struct Apart {
    reactors: Reactors,
    service: Arc<Service>,
    addrs: Vec<SocketAddr>,
}

impl Apart {
    fn start(backend: &TestBackend, places: u32, count: usize) -> Self {
        let limits = Limits::of(net::raise_descriptor_limit(), 0);
        let reactors = Reactors::start(count, limits);
        let service = reactors.service("default", &spec(Duration::from_secs(30), Strategy::Off));
        let member = member(&service, backend.addr);
        member.set_max_connections(NonZeroU32::new(places));
        publish_set(&service, vec![member]);
        let ports = (0..count).map(|owner| {
            let (listening, letters) = reactors.reserve_for(&service);
            let of = |(index, letter)| if index == owner { letter } else { Vec::new() };
            // The others' sockets of the port are closed: the kernel gives all of its clients to the owner.
            reactors.deliver(letters.into_iter().enumerate().map(of).collect());
            listening
        });
        let ports: Vec<_> = ports.collect();
        reactors.publish(&[&service], &ports.iter().collect::<Vec<_>>());
        Self {
            addrs: ports.iter().map(|one| one.bound).collect(),
            reactors,
            service,
        }
    }

    /// Asks once through a reactor; how long that took.
    fn ask(addr: SocketAddr) -> Duration {
        let began_at = Instant::now();
        let mut stream = connect(addr);
        ping(&mut stream, b"?");
        began_at.elapsed()
    }
}

/// The value that so many in a hundred do not exceed.
fn quantile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

#[test]
fn a_place_that_one_reactor_frees_is_at_once_that_of_who_waits_in_another() {
    let backend = TestBackend::echo();
    let apart = Apart::start(&backend, 1, 3);
    let mut waits = Vec::new();
    for round in 0..120 {
        let mut holder = connect(apart.addrs[round % 3]);
        ping(&mut holder, b"mine");
        let mut waiter = connect(apart.addrs[(round + 1 + round % 2) % 3]);
        waiter.write_all(b"?").expect("it is open");
        wait_for("it waits", || apart.service.live.queued() == 1);
        let freed_at = Instant::now();
        drop(holder);
        waiter.read_exact(&mut [0]).expect("it is served");
        waits.push(freed_at.elapsed());
        drop(waiter);
        wait_for("the place is free", || apart.reactors.upstreams() == 0);
    }
    let (half, most) = (quantile(&mut waits, 50), quantile(&mut waits, 99));
    println!("from one reactor to another: p50 {half:?}, p99 {most:?}");
    assert!(most < Duration::from_millis(100), "p99 {most:?}");
}

#[test]
fn a_reactor_with_many_clients_keeps_those_of_another_waiting_no_longer_than_its_own() {
    const GREEDY: usize = 40;
    let backend = TestBackend::start(|mut stream| {
        let mut asked = [0];
        while stream.read_exact(&mut asked).is_ok() {
            pause(Duration::from_millis(1));
            if stream.write_all(&asked).is_err() {
                return;
            }
        }
    });
    let apart = Apart::start(&backend, 2, 2);
    let (greedy, modest) = (apart.addrs[0], apart.addrs[1]);
    let is_over = AtomicBool::new(false);
    let (mut own, mut others) = std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..GREEDY)
            .map(|_| {
                scope.spawn(|| {
                    let mut waits = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        waits.push(Apart::ask(greedy));
                    }
                    waits
                })
            })
            .collect();
        wait_for("a crowd", || apart.service.live.queued() > 20);
        let few: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (0..25).map(|_| Apart::ask(modest)).collect::<Vec<_>>()))
            .collect();
        let others: Vec<_> = few
            .into_iter()
            .flat_map(|one| one.join().expect("no panic"))
            .collect();
        is_over.store(true, Ordering::Relaxed);
        let own: Vec<_> = crowd
            .into_iter()
            .flat_map(|one| one.join().expect("no panic"))
            .collect();
        (own, others)
    });
    let own = [50, 99].map(|percent| quantile(&mut own, percent));
    let others = [50, 99].map(|percent| quantile(&mut others, percent));
    println!("p50 and p99 of the wait: {own:?} with {GREEDY} others, {others:?} with 2");
    assert!(
        others[0] < own[0] * 2 && others[1] < own[1] * 3,
        "{own:?} {others:?}"
    );
}

/// Closes a connection with a reset.
fn tcp_reset(stream: TcpStream) {
    drop(stream.shutdown(Shutdown::Read));
    net::reset_on_close(&mio::net::TcpStream::from_std(stream));
}
