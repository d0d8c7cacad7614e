//! `remotes.bind`: what dials, probes and warm connections leave from, and that nothing else does.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Files, Forwarder, ping, settings, wait_for};

/// Echoes, and notes whom it has accepted.
fn noting(ip: IpAddr) -> (SocketAddr, Arc<Mutex<Vec<IpAddr>>>) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let peers = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&peers);
    std::thread::spawn(move || {
        while let Ok((stream, peer)) = listener.accept() {
            noted.lock().unwrap().push(peer.ip());
            std::thread::spawn(move || {
                let mut reader = &stream;
                let _ = std::io::copy(&mut reader, &mut &stream);
            });
        }
    });
    (addr, peers)
}

fn all(peers: &Mutex<Vec<IpAddr>>) -> BTreeSet<IpAddr> {
    peers.lock().unwrap().iter().copied().collect()
}

fn bound(bind: &Value) -> Value {
    json!({ "remotes": { "bind": bind }, "pools": { "strategy": { "static": { "size_per_remote": 2 } } } })
}

#[test]
fn each_family_leaves_from_its_own_address() {
    let four = IpAddr::from([127, 9, 8, 7]);
    let (backend, peers) = noting(Ipv4Addr::LOCALHOST.into());
    let (backend6, peers6) = noting("::1".parse().unwrap());
    let list = format!("{backend}\n{backend6}\n");
    let forwarder = Forwarder::start(&bound(&json!({ "address": [four, "::1"] })), &list);
    for _ in 0..20 {
        ping(&mut forwarder.connect(), b"hello");
    }
    wait_for("both are probed and dialled", || {
        peers.lock().unwrap().len() > 8 && peers6.lock().unwrap().len() > 8
    });
    assert_eq!(all(&peers), BTreeSet::from([four]));
    assert_eq!(all(&peers6), BTreeSet::from(["::1".parse().unwrap()]));
    assert_eq!(forwarder.stop().status, Some(0));
}

#[test]
fn a_family_without_an_address_is_not_reached_and_that_is_told() {
    let (backend, _) = noting(Ipv4Addr::LOCALHOST.into());
    let (backend6, peers6) = noting("::1".parse().unwrap());
    let list = format!("{backend}\n{backend6}\n");
    let changes = bound(&json!({ "address": "127.9.8.6" }));
    let files = Files::new(&settings(&changes), &list);
    let checked = files.command().arg("check").output().unwrap();
    let checked = String::from_utf8(checked.stdout).unwrap();
    let told = "source: 127.9.8.6; no candidate of IPv6 is reached, for it has no address of that\n";
    assert!(checked.contains(told), "{checked}");
    let forwarder = Forwarder::start(&changes, &list);
    for _ in 0..10 {
        ping(&mut forwarder.connect(), b"hello");
    }
    assert!(
        forwarder.log().contains("no candidate of IPv6 is reached"),
        "{}",
        forwarder.log()
    );
    wait_for("its probe has failed", || {
        forwarder.metric("health_checks_total{result=\"failure\"}") > 0.0
    });
    assert!(peers6.lock().unwrap().is_empty());
}

#[test]
fn a_reload_that_changes_it_takes_no_old_warm_connection() {
    let (old, new) = (IpAddr::from([127, 9, 8, 5]), IpAddr::from([127, 9, 8, 4]));
    let (backend, peers) = noting(Ipv4Addr::LOCALHOST.into());
    let forwarder = Forwarder::start(&bound(&json!({ "address": old })), &format!("{backend}\n"));
    wait_for("it is warm", || {
        forwarder.metric("pool_available_connections") >= 2.0
    });
    let mut held = forwarder.connect();
    ping(&mut held, b"before");
    let changed = settings(&bound(&json!({ "address": new })));
    std::fs::write(
        forwarder.files().path("config.yaml"),
        serde_json::to_string(&changed).unwrap(),
    )
    .unwrap();
    forwarder.signal(Signal::HUP);
    wait_for("warm connections from the new address", || {
        peers.lock().unwrap().iter().filter(|peer| **peer == new).count() >= 2
            && forwarder.metric("pool_available_connections") >= 2.0
    });
    let before = peers.lock().unwrap().len();
    for _ in 0..10 {
        ping(&mut forwarder.connect(), b"after");
    }
    ping(&mut held, b"still");
    assert!(peers.lock().unwrap()[before..].iter().all(|peer| *peer == new));
}

#[test]
#[cfg(target_os = "linux")]
fn an_interface_is_the_way_out_and_one_that_is_not_there_is_told() {
    let (backend, peers) = noting(Ipv4Addr::LOCALHOST.into());
    let list = format!("{backend}\n");
    let forwarder = Forwarder::start(&bound(&json!({ "interface": "lo" })), &list);
    ping(&mut forwarder.connect(), b"hello");
    assert!(!peers.lock().unwrap().is_empty());
    assert_eq!(forwarder.stop().status, Some(0));

    let forwarder = Forwarder::start(&bound(&json!({ "interface": "nowhere0" })), &list);
    wait_for("it is told", || {
        let log = forwarder.log();
        log.contains("probes are left out: cannot leave from nowhere0: No such device")
    });
    // It gets no backend, and is told so.
    let mut client = forwarder.connect();
    assert!(matches!(
        std::io::Read::read(&mut client, &mut [0; 8]),
        Ok(0) | Err(_)
    ));
    wait_for("it is counted", || {
        forwarder.metric("connections_closed_total{reason=\"dial_failed\"}") == 1.0
    });
    assert_eq!(forwarder.metric("server_consecutive_failures"), 0.0);
    assert_eq!(forwarder.metric("health_checks_total{result=\"failure\"}"), 0.0);
    assert_eq!(forwarder.metric("link_down"), 0.0, "our own fault is no outage");
}
