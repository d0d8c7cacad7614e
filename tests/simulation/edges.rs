//! Backends that close what is idle: what clients and backends notice of it, under each pace of clients.

use std::time::Duration;

use tcp_forwarder::config::{Dynamic, Spec, Strategy};

use super::core::{hold, spec};
use super::edge::{Clients, Count, Edge, Manners};
use super::for_each_seed;

/// An edge that closes what is idle after 15 seconds, and is up to half a second late with it.
const EDGE: Manners = Manners {
    closes_after: Duration::from_secs(15),
    or_later: Duration::from_millis(500),
    round_trip: Duration::from_millis(200),
};

const HOUR: Duration = Duration::from_secs(3_600);

fn dynamic() -> Spec {
    spec(|spec| spec.pools.strategy = Strategy::Dynamic(Dynamic::default()))
}

fn paces() -> [Clients; 5] {
    [(1, 2_000), (1, 20_000), (5, 1_000), (40, 60_000), (200, 300_000)].map(|(at_once, millis)| Clients {
        at_once,
        every: Duration::from_millis(millis),
    })
}

#[test]
fn hardly_a_client_meets_a_stale_connection_once_a_lifetime_is_known() {
    let few_seconds = Manners {
        closes_after: Duration::from_secs(4),
        ..EDGE
    };
    for (manners, clients) in [EDGE, few_seconds]
        .into_iter()
        .flat_map(|edge| paces().map(|pace| (edge, pace)))
    {
        let mut sum = Count::default();
        for_each_seed(2, |seed| {
            let mut edge = Edge::new(seed, manners, dynamic());
            edge.pass(Duration::from_secs(120), Some(clients));
            hold!(edge.is_learned(), "{clients:?}: not learned in two minutes");
            edge.count = Count::default();
            edge.pass(HOUR, Some(clients));
            sum.add(edge.count);
            Ok(())
        });
        // Of those who got a warm one.
        assert!(sum.stale * 100 <= sum.hits, "{manners:?}, {clients:?}: {sum:?}");
    }
}

/// The count counts: where connections are kept until their end comes, some clients meet it on its way.
#[test]
fn who_keeps_connections_until_they_are_closed_meets_stale_ones() {
    let mut sum = Count::default();
    for_each_seed(4, |seed| {
        let mut spec = dynamic();
        spec.pools.idle_timeout = Some(Duration::from_secs(600));
        let mut edge = Edge::new(seed, EDGE, spec);
        edge.pass(HOUR, Some(paces()[3]));
        sum.add(edge.count);
        Ok(())
    });
    assert!(sum.stale >= 10, "{sum:?}");
}

#[test]
fn at_rest_a_backend_is_dialled_a_few_times_a_minute() {
    for pace in paces() {
        for_each_seed(2, |seed| {
            let mut edge = Edge::new(seed, EDGE, dynamic());
            edge.pass(Duration::from_secs(600), Some(pace));
            edge.count = Count::default();
            edge.pass(HOUR, None);
            hold!(edge.count.refills < 8 * 60, "{pace:?}: {:?}", edge.count);
            Ok(())
        });
    }
}
