//! Out of local ports towards the backends: who needs one waits, the rest go on, and nobody is blamed.
//!
//! In a network namespace of its own, for the range of local ports belongs to the namespace.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use crate::namespace::is_inside;
use crate::peers::client::{Conduct, Outcome, Plan};
use crate::peers::rig::{ROOM_KB, Rig};
use crate::peers::standing::whole;
use crate::scaled;
use crate::support::wait_for;

/// Local ports while they are short; towards each backend so many.
const SHORT: &str = "40000 40005";

/// Local ports while there are enough.
const ENOUGH: &str = "32768 60999";

fn set_local_ports(range: &str) {
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
}

/// These clients, each from an address and a port of its own, so that none takes a port of the range.
fn placed(plans: Vec<Plan>, block: u8) -> impl Iterator<Item = Plan> {
    plans.into_iter().zip(1..).map(move |(mut plan, place)| {
        plan.from = Some(Ipv4Addr::new(127, 200, block, place));
        plan.port = 20_000;
        plan
    })
}

fn failures(rig: &Rig) -> usize {
    whole(&rig.forwarder.scrape(), "health_checks_total{result=\"failure\"}")
}

/// Injected: a range of six local ports, with three times as many clients as they and the warm connections carry;
/// once (five times in a long run).
#[test]
fn out_of_local_ports() {
    if !is_inside("kernel_ports::out_of_local_ports") {
        return;
    }
    let mut rig = Rig::start(&json!({}), 2);
    for round in 0..scaled(1, 5) {
        set_local_ports(ENOUGH);
        wait_for("warm connections", || {
            whole(&rig.forwarder.scrape(), "pool_available_connections") == 16
        });
        let failed = failures(&rig);
        let block = u8::try_from(round * 3).unwrap();
        let served = rig.plans(Conduct::Trickle(Duration::from_millis(20)), 8, 60);
        let mut crowd = rig.crowd(placed(served, block));
        crowd.drive_until("a byte of each", |crowd| {
            crowd.clients().iter().all(|client| client.sent() > 2)
        });
        set_local_ports(SHORT);
        // They keep what they get.
        for plan in placed(rig.plans(Conduct::Silent, 80, 40_000), block + 1) {
            crowd.add(plan);
        }
        crowd.drive_for(Duration::from_millis(500));
        for plan in placed(rig.healthy(20), block + 2) {
            crowd.add(plan);
        }
        // Longer than the interval of probes and of evaluations.
        crowd.drive_for(Duration::from_millis(700));
        let fine = crowd.open() + crowd.count(Outcome::Whole);
        assert_eq!(fine, 108, "nobody was turned away: {}", crowd.outcomes());
        let text = rig.forwarder.scrape();
        let in_use = whole(&text, "pool_active_connections");
        assert!(in_use < 60, "{in_use} have a connection of 108: ports were short");
        assert_eq!(failures(&rig), failed, "no probe counts");
        assert_eq!(whole(&text, "server_consecutive_failures"), 0, "and no dial");
        assert_eq!(
            whole(&text, "connections_closed_total{reason=\"dial_failed\"}"),
            0
        );
        set_local_ports(ENOUGH);
        crowd.release();
        crowd.finish();
        assert_eq!(crowd.count(Outcome::Whole), 108, "{}", crowd.outcomes());
    }
    let log = rig.forwarder.log();
    assert!(log.contains("no socket for a dial: every local port"), "{log}");
    rig.aftermath(ROOM_KB);
}

/// Injected: a candidate of an IP version that this machine does not have. The kernel says the same of it as of ports
/// that have run out, but it is a failure, and nobody waits for it.
#[test]
fn an_address_without_a_way_to_it_is_no_lack_of_ports() {
    if !is_inside("kernel_ports::an_address_without_a_way_to_it_is_no_lack_of_ports") {
        return;
    }
    let switch = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
    if std::fs::write(switch, "1").is_err() {
        // No IPv6 at all: nothing to be mistaken for.
        return;
    }
    let error = tcp_forwarder::net::begin_connect("[::1]:9".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 5000)).unwrap();
    set_local_ports("40000 40000");
    let addr = listener.local_addr().unwrap();
    let _only = tcp_forwarder::net::begin_connect(addr).unwrap();
    let error = tcp_forwarder::net::begin_connect(addr).unwrap_err();
    assert!(tcp_forwarder::net::is_out_of_ports(&error), "{error}");
}
