//! What connections are to leave from goes away: nobody is blamed, and it is used again once it is there.
//!
//! In a network namespace of its own, for addresses come and go there.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tcp_forwarder::config::Bind;
use tcp_forwarder::net::{begin_connect_from, is_of_our_own, is_out_of_ports};

use crate::namespace::is_inside;
use crate::peers::client::Conduct;
use crate::peers::rig::{ROOM_KB, Rig};
use crate::peers::standing::whole;
use crate::support::wait_for;

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

/// Injected: the address of `remotes.bind` is taken away for a second, under clients that come and go.
#[test]
fn the_address_to_leave_from_goes_away() {
    if !is_inside("kernel_source::the_address_to_leave_from_goes_away") {
        return;
    }
    ip("address add 192.0.2.7/32 dev lo");
    let mut rig = Rig::start(&json!({ "remotes": { "bind": { "address": "192.0.2.7" } } }), 2);
    let failed = |rig: &Rig| whole(&rig.forwarder.scrape(), "health_checks_total{result=\"failure\"}");
    let before = failed(&rig);
    ip("address del 192.0.2.7/32 dev lo");
    let plans = rig.plans(Conduct::Trickle(Duration::from_millis(20)), 40, 60);
    let mut crowd = rig.crowd(plans);
    // Longer than the interval of probes and of evaluations.
    crowd.drive_for(Duration::from_millis(900));
    let log = || rig.forwarder.log();
    wait_for("both tell", || {
        log().contains("no socket for a dial: cannot leave from 192.0.2.7: ")
            && log().contains("probes are left out: cannot leave from 192.0.2.7: ")
    });
    assert_eq!(failed(&rig), before, "no probe counts");
    assert_eq!(
        whole(&rig.forwarder.scrape(), "server_consecutive_failures"),
        0,
        "and no dial"
    );
    ip("address add 192.0.2.7/32 dev lo");
    // Those that were on a connection go on with it.
    crowd.finish();
    rig.wait_for_service();
    rig.expect_service(20);
    rig.aftermath(ROOM_KB);
}

/// Injected: one local port in all. It is chosen for each peer when it is connected to, not when the address is bound.
#[test]
fn one_port_is_enough_for_a_connection_to_each() {
    if !is_inside("kernel_source::one_port_is_enough_for_a_connection_to_each") {
        return;
    }
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
    let listeners = [5001, 5002].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
    let bind = Bind {
        addresses: vec![Ipv4Addr::new(127, 9, 9, 9).into()],
        interface: None,
    };
    let connect = |listener: &TcpListener| begin_connect_from(&bind, listener.local_addr().unwrap());
    let streams = listeners.each_ref().map(|listener| connect(listener).unwrap());
    for stream in &streams {
        assert_eq!(stream.local_addr().unwrap().to_string(), "127.9.9.9:40000");
    }
    let error = connect(&listeners[0]).unwrap_err();
    assert!(is_out_of_ports(&error) && is_of_our_own(&error), "{error}");
}
