//! Servers that warm connections harm, or that close them: what the pools learn of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::servers::{Server, ask, ask_often, failed, list};
use crate::support::{Forwarder, comes_true, pause, wait_for};

const PATIENCE: Duration = Duration::from_secs(5);

fn changes() -> Value {
    json!({
        "remotes": { "probing": { "interval": "300ms" } },
        "pools": { "strategy": { "type": "dynamic" } },
    })
}

/// What clients got of a server that handles few connections at once.
fn few(workers: usize, queue: i32) {
    let servers = [Server::of_few(7, workers, queue)];
    let forwarder = Forwarder::start(&changes(), &list(&servers));
    let addr = forwarder.addr();
    let learned = |forwarder: &Forwarder| forwarder.log().contains("it gets none any more");
    let mut lost = 0;
    let is_learned = comes_true(crate::support::PATIENCE, || {
        lost += usize::from(ask(addr, PATIENCE).number.is_none());
        learned(&forwarder)
    });
    assert!(is_learned, "{}", forwarder.log());
    assert!(lost <= 3, "{lost} timed out before");
    wait_for("none is warm", || {
        forwarder.metric("pool_available_connections") == 0.0
    });
    let got = ask_often(&forwarder, 30, PATIENCE, Duration::from_millis(20));
    assert_eq!(failed(&got), 0);
    let slowest = got.iter().map(|one| one.took).max();
    assert!(slowest < Some(Duration::from_millis(900)), "{slowest:?}");
    assert!(forwarder.metric("pool_restrained") == 1.0);
}

#[test]
fn a_server_of_one_connection_at_a_time_gets_no_warm_ones() {
    few(1, 5);
}

#[test]
fn a_server_of_five_connections_at_a_time_gets_no_warm_ones() {
    few(5, 128);
}

#[test]
fn a_lifetime_is_learned_and_refills_rest_with_the_clients() {
    let servers = [Server::impatient(1, Duration::from_millis(2500))];
    let forwarder = Forwarder::start(&changes(), &list(&servers));
    let busy = ask_often(&forwarder, 200, PATIENCE, Duration::from_millis(30));
    assert_eq!(failed(&busy), 0);
    wait_for("its lifetime is known", || {
        forwarder.metric("pool_lifetime_seconds") < 2.5
    });
    wait_for("at rest it is left alone", || {
        let before = servers[0].accepted();
        pause(Duration::from_secs(3));
        // A probe each 300 ms, and eight refills a minute.
        servers[0].accepted() - before <= 11
    });
    let again = ask_often(&forwarder, 50, PATIENCE, Duration::from_millis(30));
    assert_eq!(failed(&again), 0);
    let hits = forwarder.metric("pool_hits_total");
    assert!(
        hits > 100.0,
        "warm connections are used while clients come: {hits}"
    );
}

#[test]
fn a_server_that_counts_unused_logins_is_not_made_to_block_us() {
    let servers = [Server::impatient(1, Duration::from_millis(1200))];
    let mut slower = changes();
    // Its probes are unused logins, too.
    slower["remotes"]["probing"]["interval"] = json!("60s");
    let forwarder = Forwarder::start(&slower, &list(&servers));
    let mut before = 0;
    for _ in 0..6 {
        pause(Duration::from_millis(1500));
        let got = ask(forwarder.addr(), PATIENCE);
        assert_eq!(got.number, Some(1));
        let unasked = servers[0].unasked();
        assert!(
            unasked - before < 100,
            "{} logins in a row were unused",
            unasked - before
        );
        before = unasked;
    }
    let total = servers[0].unasked();
    pause(Duration::from_secs(4));
    assert!(servers[0].unasked() - total < 20, "at rest it is left alone");
}
