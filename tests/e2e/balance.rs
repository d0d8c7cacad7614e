//! Who gets a connection, and what becomes of it when that one cannot or may not have it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tcp_forwarder::backend::ActiveSet;
use tcp_forwarder::config::{Algorithm, Spec, Strategy};
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::selector::decide::Footing;
use tcp_forwarder::service::traffic;

use crate::rig::{Rig, TestBackend, member, own_ip, publish_set, wait_for};
use crate::support::{Silent, comes_true, ping};

fn spec(algorithm: Algorithm, strategy: Strategy) -> Spec {
    let mut spec = Spec::default();
    spec.pools.algorithm = algorithm;
    spec.pools.strategy = strategy;
    spec
}

fn backends(count: usize) -> Vec<SocketAddr> {
    (0..count).map(|_| TestBackend::echo().addr).collect()
}

/// Connections that each backend was sent.
fn sent(rig: &Rig) -> Vec<u64> {
    let set = rig.set();
    let of_backend = |backend: &Arc<tcp_forwarder::backend::Backend>| {
        let shares = backend.shares.iter();
        shares.map(|share| share.requests.load(Ordering::Relaxed)).sum()
    };
    set.backends.iter().map(of_backend).collect()
}

/// Opens connections one after the other, each answered before the next.
fn open(rig: &Rig, count: usize) -> Vec<TcpStream> {
    let open_one = |_| {
        let mut stream = rig.connect();
        ping(&mut stream, b"who are you");
        stream
    };
    (0..count).map(open_one).collect()
}

#[test]
fn round_robin_is_exact_over_all_reactors() {
    for strategy in [Strategy::Off, Strategy::Static { size_per_remote: 6 }] {
        let rig = Rig::start(&spec(Algorithm::RoundRobin, strategy), &backends(4), 3);
        drop(open(&rig, 120));
        assert_eq!(sent(&rig), [30; 4]);
    }
}

#[test]
fn least_connections_is_exact_over_all_reactors() {
    let rig = Rig::start(&spec(Algorithm::LeastConnections, Strategy::Off), &backends(4), 2);
    let mut held = open(&rig, 100);
    let live = || -> Vec<u32> {
        let set = rig.set();
        set.backends.iter().map(|backend| backend.live()).collect()
    };
    assert_eq!(live(), [25; 4]);
    // Whoever loses relays gets the next ones, until all are even again.
    held.drain(..40);
    wait_for("they have left", || live().iter().sum::<u32>() == 60);
    held.extend(open(&rig, 40));
    assert_eq!(live(), [25; 4]);
    drop(held);
    wait_for("all have left", || live() == [0; 4]);
}

#[test]
fn random_is_even_in_the_long_run() {
    let rig = Rig::start(&spec(Algorithm::Random, Strategy::Off), &backends(4), 2);
    drop(open(&rig, 400));
    let sent = sent(&rig);
    assert_eq!(sent.iter().sum::<u64>(), 400);
    // Five standard deviations of a binomial with n = 400, p = 1/4.
    assert!(sent.iter().all(|count| count.abs_diff(100) < 44), "{sent:?}");
}

#[test]
fn a_dial_that_takes_too_long_moves_on_to_the_next_backend() {
    let silent = Silent::on(Ipv4Addr::LOCALHOST);
    let mut spec = spec(Algorithm::RoundRobin, Strategy::Off);
    spec.pools.dial_timeout = Duration::from_millis(200);
    let rig = Rig::start(&spec, &[silent.addr, TestBackend::echo().addr], 1);
    let mut waited = 0;
    for _ in 0..4 {
        let began = Instant::now();
        ping(&mut rig.connect(), b"anybody");
        waited += u32::from(began.elapsed() >= Duration::from_millis(200));
    }
    // A dial that moves on takes a turn as well.
    assert!(waited >= 1, "nobody was sent to the silent one");
    let timeouts = rig.traffic(0).errors[traffic::ErrorKind::DialTimeout as usize].value();
    assert_eq!(timeouts, u64::from(waited));
    assert_eq!(rig.closed(CloseReason::DialFailed), 0);
}

#[test]
fn clients_whom_all_members_fail_are_served_by_the_reserve() {
    let mut spec = spec(Algorithm::RoundRobin, Strategy::Static { size_per_remote: 2 });
    // Fewer tries than members.
    spec.pools.dial_attempts = 2;
    let rig = Rig::start(&spec, &backends(1), 2);
    let dead = |_| SocketAddr::from((own_ip(), 9));
    let members = (0..3).map(|n| member(&rig.service, dead(n))).collect();
    let behind: Vec<_> = backends(2)
        .iter()
        .map(|addr| member(&rig.service, *addr))
        .collect();
    let set =
        ActiveSet::new(members, Footing::Good).with_reserve(ActiveSet::new(behind.clone(), Footing::Good));
    rig.service.live.active.publish(Arc::new(set));
    let held = open(&rig, 20);
    assert_eq!(rig.closed(CloseReason::DialFailed), 0);
    assert_eq!(behind.iter().map(|one| one.live()).sum::<u32>(), 20);
    let warm = || -> u32 {
        let shares = behind.iter().flat_map(|one| one.shares.iter());
        shares.map(|share| share.warm.load(Ordering::Relaxed)).sum()
    };
    assert_eq!(warm(), 0, "nothing is kept warm to who is in reserve");
    // It becomes the set: the same backends, with what they have.
    publish_set(&rig.service, behind.clone());
    wait_for("pools of members", || warm() >= 4);
    assert_eq!(behind.iter().map(|one| one.live()).sum::<u32>(), 20);
    drop(held);
    wait_for("all have left", || behind.iter().all(|one| one.live() == 0));
}

#[test]
fn a_relay_whose_backend_has_finished_is_no_load_of_it() {
    let finishes = TestBackend::start(|mut stream| {
        drop(stream.write_all(b"goodbye"));
        drop(stream.shutdown(Shutdown::Write));
        // It has done its part, and hears what its client still says.
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let rig = Rig::start(
        &spec(Algorithm::LeastConnections, Strategy::Off),
        &[finishes.addr],
        2,
    );
    let mut held: Vec<TcpStream> = (0..6).map(|_| rig.connect()).collect();
    for client in &mut held {
        let mut said = String::new();
        client.read_to_string(&mut said).expect("up to its end");
        assert_eq!(said, "goodbye");
    }
    let live = || rig.set().backends[0].live();
    wait_for("none is load any more", || live() == 0);
    assert_eq!((rig.in_use(), rig.active()), (6, 6), "all are there still");
    // The client may say something, finish, or reset: none is taken off twice.
    for (turn, client) in held.iter_mut().enumerate() {
        match turn % 3 {
            0 => client.write_all(b"and to you").expect("its half is open"),
            1 => client.shutdown(Shutdown::Write).expect("it was open"),
            _ => {}
        }
    }
    drop(held);
    wait_for("all have left", || rig.in_use() == 0 && rig.active() == 0);
    assert_eq!(live(), 0);
}

#[test]
fn a_backend_that_has_finished_is_free_though_its_client_reads_nothing() {
    const CHUNK: usize = 16 * 1024;
    let (tell, told) = std::sync::mpsc::channel::<usize>();
    let told = std::sync::Mutex::new(told);
    let finishes = TestBackend::start(move |mut stream| {
        let told = told.lock().expect("one connection");
        while let Ok(count) = told.recv() {
            stream.write_all(&vec![7; count]).expect("it is read, or fits");
            if count != CHUNK {
                drop(stream.shutdown(Shutdown::Write));
            }
        }
        // It hears what its client still says.
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let spec = spec(Algorithm::LeastConnections, Strategy::Off);
    let rig = Rig::start(&spec, &[finishes.addr], 1);
    let mut client = rig.connect();
    let mut said = 0;
    // As much as has room on the way to a client that reads nothing.
    loop {
        tell.send(CHUNK).expect("it listens");
        said += CHUNK;
        let moved = || rig.traffic(0).bytes_to_client.value() == said as u64;
        // A busy machine may take long to move what has room.
        if !comes_true(Duration::from_secs(1), moved) {
            break;
        }
        assert!(said < 64 << 20, "somebody reads");
    }
    let live = || rig.set().backends[0].live();
    assert_eq!(live(), 1);
    tell.send(5).expect("it listens");
    wait_for("it is no load any more", || live() == 0);
    assert!(
        rig.traffic(0).bytes_to_client.value() < (said + 5) as u64,
        "the end has not been read"
    );
    assert_eq!((rig.in_use(), rig.active()), (1, 1));
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).expect("up to its end");
    assert_eq!(heard.len(), said + 5);
    assert_eq!(live(), 0, "it is taken off once");
    drop(client);
    drop(tell);
    wait_for("all have left", || rig.in_use() == 0 && rig.active() == 0);
}

#[test]
fn relays_of_a_backend_that_left_end_when_asked_for() {
    let mut spec = spec(Algorithm::RoundRobin, Strategy::Static { size_per_remote: 2 });
    spec.pools.reset_on_removal = true;
    spec.pools.drain_timeout = Duration::from_millis(400);
    let rig = Rig::start(&spec, &backends(1), 1);
    let mut staying = open(&rig, 2);
    let began = Instant::now();
    rig.activate(&backends(1));
    let mut client = staying.pop().unwrap();
    ping(&mut client, b"it has time to finish");
    let error = client.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(began.elapsed() >= Duration::from_millis(400));
    wait_for("both are counted", || {
        rig.closed(CloseReason::BackendRemoved) == 2
    });
    ping(&mut rig.connect(), b"the new one serves");
}
