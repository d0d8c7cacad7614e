//! More clients than may be served at once, most of them of one address.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::peers::client::{Client, Conduct, Outcome, Plan};
use crate::peers::rig::{ROOM_KB, Rig, counted};
use crate::scaled;
use crate::support::wait_for;

const MOST: usize = 40;

/// Where the greedy one is.
const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 8, 1);

fn from_greedy(plans: Vec<Plan>) -> impl Iterator<Item = Plan> {
    plans.into_iter().map(|plan| Plan {
        from: Some(GREEDY),
        ..plan
    })
}

fn rig() -> Rig {
    Rig::start(&json!({ "server": { "max_connections": MOST } }), 2)
}

#[test]
fn a_greedy_address_that_holds_every_place() {
    let mut rig = rig();
    for _ in 0..scaled(2, 20) {
        let plans = rig.plans(Conduct::Silent, MOST, 1000);
        let mut greedy = rig.crowd(from_greedy(plans));
        greedy.drive_until("it holds every place", |_| {
            counted(&rig.forwarder, "active_connections") == MOST
        });
        let plans = rig.healthy(20);
        let mut others = rig.crowd(plans);
        others.drive_until("they are queued", |crowd| {
            crowd.clients().iter().all(Client::is_connected)
        });
        others.drive_for(Duration::from_millis(300));
        // They wait: nobody is sent away, and nobody gets in.
        assert_eq!(others.count(Outcome::Open), 20, "{}", others.outcomes());
        assert_eq!(counted(&rig.forwarder, "active_connections"), MOST);
        // Relays that are there go on.
        greedy.release();
        greedy.finish();
        assert_eq!(greedy.count(Outcome::Whole), MOST, "{}", greedy.outcomes());
        others.finish();
        assert_eq!(others.count(Outcome::Whole), 20, "{}", others.outcomes());
    }
    assert!(counted(&rig.forwarder, "accept_paused_total") > 0);
    let log = rig.forwarder.log();
    let told = log
        .lines()
        .filter(|line| line.contains("accepting pauses"))
        .count();
    assert_eq!(told, 1, "once a burst:\n{log}");
    rig.aftermath(ROOM_KB);
}

#[test]
fn a_greedy_address_that_comes_back_at_once() {
    let mut rig = rig();
    let mut crowd = rig.crowd([]);
    let (mut greedy, mut others) = (0, Vec::new());
    while others.len() < scaled(60, 1000) {
        // It has four times the places in the queue, all the time.
        let missing = (4 * MOST).saturating_sub(crowd.open());
        let plans = rig.plans(Conduct::FinishFirst, missing, 2000);
        for plan in from_greedy(plans) {
            crowd.add(plan);
            greedy += 1;
        }
        for plan in rig.healthy(1) {
            others.push((crowd.add(plan), Instant::now()));
        }
        crowd.drive_for(Duration::from_millis(20));
    }
    crowd.finish();
    assert_eq!(
        crowd.count(Outcome::Whole),
        greedy + others.len(),
        "{}",
        crowd.outcomes()
    );
    assert!(greedy > 8 * MOST, "it came back {greedy} times");
    // First come, first served: whoever waits is behind those who came before, and before those who come.
    let waited = others.iter().filter_map(|(place, came)| {
        let ended = crowd.client(*place).ended_at?;
        Some(ended.saturating_duration_since(*came))
    });
    let longest = waited.max().unwrap();
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    wait_for("its places were full", || {
        counted(&rig.forwarder, "accept_paused_total") > 0
    });
    rig.aftermath(ROOM_KB);
}
