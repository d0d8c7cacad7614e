//! Clients that misbehave, a few or very many of them.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::peers::backend::Behaviour;
use crate::peers::client::{Client, Conduct, Outcome, Plan};
use crate::peers::crowd::Crowd;
use crate::peers::rig::{ROOM_KB, Rig, counted};
use crate::peers::stream::Order;
use crate::support::wait_for;
use crate::{my_turn, scaled};

/// Longest wait for thousands of connections, on a machine that has other things to do.
const A_LOT: Duration = Duration::from_secs(90);

/// Drives a crowd until nothing has moved for a while in what `seen` looks at, though something had before.
fn drive_until_stuck(crowd: &mut Crowd, what: &str, seen: impl Fn(&Crowd) -> u64) {
    let mut last = (0, Instant::now());
    crowd.drive_until(what, |crowd| {
        let now = seen(crowd);
        if now != last.0 {
            last = (now, Instant::now());
        }
        now > 0 && last.1.elapsed() > Duration::from_millis(400)
    });
}

#[test]
fn leaving_at_once() {
    let mut rig = Rig::start(&json!({}), 3);
    let accepted = counted(&rig.forwarder, "new_connections_total");
    let count = scaled(600, 20_000);
    for _ in 0..count / 100 {
        let mut plans = rig.plans(Conduct::LeaveAtOnce, 50, 1000);
        // By a reset, before a byte or in the middle of the order.
        for sent in [0, 10] {
            plans.extend(rig.plans(Conduct::ResetAfter(sent), 25, 1000));
        }
        let mut crowd = rig.crowd(plans);
        crowd.finish();
        assert_eq!(crowd.count(Outcome::Left), 100, "{}", crowd.outcomes());
    }
    wait_for("each has been accepted", || {
        counted(&rig.forwarder, "new_connections_total") == accepted + count
    });
    rig.aftermath(ROOM_KB);
}

#[test]
fn sending_before_the_dial_is_done() {
    // The kernel asks a full queue again after a second.
    let changes = json!({ "pools": { "common": { "dial_timeout": "10s" }, "strategy": { "type": "off" } } });
    let mut rig = Rig::start(&changes, 1);
    rig.backends[0].behave(Behaviour::TimeOut);
    let mut plans = rig.plans(Conduct::FinishFirst, scaled(60, 500), 60_000);
    let served = plans.len();
    // And some who do not wait for it.
    plans.extend(
        rig.plans(Conduct::ResetAfter(500), 20, 60_000)
            .into_iter()
            .map(|plan| Plan {
                order: Order {
                    up: 60_000,
                    ..plan.order
                },
                ..plan
            }),
    );
    let mut crowd = rig.crowd(plans);
    crowd.drive_until("all of it has been sent", |crowd| {
        (0..served).all(|place| crowd.client(place).has_sent_all()) && crowd.open() == served
    });
    let waiting = counted(&rig.forwarder, "pool_active_connections");
    assert!(waiting >= served, "{waiting} wait for a dial");
    rig.backends[0].behave(Behaviour::Serve);
    crowd.finish();
    assert_eq!(crowd.count(Outcome::Whole), served, "{}", crowd.outcomes());
    rig.aftermath(ROOM_KB);
}

#[test]
fn one_byte_at_a_time_from_thousands() {
    let _turn = my_turn();
    let mut rig = Rig::start(&json!({}), 3);
    let (count, pause, most) = if scaled(0, 1) == 0 {
        (1500, Duration::from_millis(150), 4)
    } else {
        (6000, Duration::from_secs(1), 30)
    };
    let plans = rig.plans(Conduct::Trickle(pause), count, most);
    let mut crowd = rig.crowd(plans);
    crowd.drive_until("all are connected and have begun", |crowd| {
        crowd.clients().iter().all(|client| client.sent() > 0)
    });
    let places: Vec<_> = rig.healthy(20).into_iter().map(|plan| crowd.add(plan)).collect();
    crowd.drive_until("others are served beside them", |crowd| {
        places
            .iter()
            .all(|place| crowd.client(*place).outcome == Outcome::Whole)
    });
    assert!(crowd.open() > count / 2, "{} are still at it", crowd.open());
    crowd.finish_within(A_LOT);
    assert_eq!(crowd.count(Outcome::Whole), count + 20, "{}", crowd.outcomes());
    // What the slots of that many connections take, and the kernel's share in it.
    rig.aftermath(ROOM_KB + 4 * count as u64);
}

#[test]
fn finishing_before_anything_is_heard() {
    let mut rig = Rig::start(&json!({}), 2);
    for (up, down) in [(0, 0), (0, 700_000), (300_000, 0), (0, 1)] {
        let mut plans = rig.plans(Conduct::FinishFirst, scaled(25, 300), 0);
        for plan in &mut plans {
            (plan.order.up, plan.order.down) = (up, down);
        }
        let count = plans.len();
        let mut crowd = rig.crowd(plans);
        crowd.finish();
        assert_eq!(crowd.count(Outcome::Whole), count, "{}", crowd.outcomes());
    }
    rig.aftermath(ROOM_KB);
}

#[test]
fn resetting_in_the_middle_of_an_upload() {
    let mut rig = Rig::start(&json!({}), 3);
    let rounds = scaled(4, 100);
    for _ in 0..rounds {
        let mut plans = Vec::new();
        for _ in 0..40 {
            let sent = [1, 24, 1000, 100_000, 700_000][rig.rng.usize(..5)];
            let order = Order {
                seed: rig.rng.u64(..),
                up: sent + 1000,
                down: rig.rng.u64(..100_000),
            };
            plans.push(Plan::new(Conduct::ResetAfter(sent), order));
        }
        let mut crowd = rig.crowd(plans);
        crowd.finish();
        assert_eq!(crowd.count(Outcome::Left), 40, "{}", crowd.outcomes());
    }
    wait_for("each is counted as what it was", || {
        counted(
            &rig.forwarder,
            "connections_closed_total{reason=\"client_reset\"}",
        ) == rounds * 40
    });
    // That no backend took one for a finished upload is part of it.
    rig.aftermath(ROOM_KB);
}

#[test]
fn never_reading() {
    const STUCK: u64 = 8;
    let rig = Rig::start(&json!({}), 2);
    let order = |seed| Order {
        seed,
        up: 1000,
        down: 14_000_000,
    };
    let mut crowd = rig.crowd((0..STUCK).map(|seed| Plan::new(Conduct::NeverRead, order(seed))));
    drive_until_stuck(&mut crowd, "they are stuck", |_| {
        counted(&rig.forwarder, "bytes_transferred_total{direction=\"to_client\"}") as u64
    });
    assert!(
        rig.sum_of(|tally| tally.served.value()) < 12 + STUCK,
        "the backends wait, too"
    );
    let grown = rig.forwarder.resident_kb().saturating_sub(rig.before.resident_kb);
    assert!(
        grown < ROOM_KB + 128 * STUCK,
        "{grown} kB for {STUCK} stuck relays"
    );
    let mut rig = rig;
    rig.expect_service(24);
    // Some come to their senses, others are killed.
    let mut killed = rig.crowd((0..STUCK / 2).map(|seed| Plan::new(Conduct::NeverRead, order(seed))));
    killed.drive_until("they have begun", |crowd| {
        crowd.clients().iter().all(|client| client.sent() > 1000)
    });
    killed.reset();
    crowd.release();
    crowd.finish();
    assert_eq!(crowd.count(Outcome::Whole) as u64, STUCK, "{}", crowd.outcomes());
    rig.aftermath(ROOM_KB + 128 * STUCK);
}

#[test]
fn ten_thousand_connects_in_a_burst() {
    const COUNT: usize = 10_000;
    let _turn = my_turn();
    // Four addresses to connect from: one alone has 28,000 ports, and others need some.
    let sources = [1, 2, 3, 4].map(|last| Ipv4Addr::new(127, 0, 9, last));
    let changes = json!({ "server": { "max_connections": 2500 } });
    let mut rig = Rig::start(&changes, 3);
    for _ in 0..scaled(1, 5) {
        let accepted = counted(&rig.forwarder, "new_connections_total");
        let mut plans = rig.plans(Conduct::FinishFirst, COUNT, 200);
        for (place, plan) in plans.iter_mut().enumerate() {
            plan.from = Some(sources[place % 4]);
            plan.conduct = match place % 10 {
                0 => Conduct::LeaveAtOnce,
                1 => Conduct::ResetAfter(10),
                2..5 => Conduct::FinishLast,
                _ => Conduct::FinishFirst,
            };
        }
        let mut crowd = rig.crowd(plans);
        crowd.finish_within(A_LOT);
        let (whole, left) = (crowd.count(Outcome::Whole), crowd.count(Outcome::Left));
        assert_eq!((whole, left), (8000, 2000), "{}", crowd.outcomes());
        // Those as well that had left while they were still queued.
        wait_for("each has been accepted", || {
            counted(&rig.forwarder, "new_connections_total") == accepted + COUNT
        });
    }
    assert_eq!(
        counted(&rig.forwarder, "connections_closed_total{reason=\"dial_failed\"}"),
        0
    );
    rig.aftermath(ROOM_KB + 4 * 2500);
}

#[test]
fn all_closing_in_one_instant() {
    let _turn = my_turn();
    let mut rig = Rig::start(&json!({}), 3);
    let count = scaled(2000, 5000);
    // The last of them in the middle of the order.
    let dawdle = Conduct::Trickle(Duration::from_secs(60));
    for (round, conduct) in [Conduct::Silent, Conduct::Silent, dawdle].into_iter().enumerate() {
        let plans = rig.plans(conduct, count, 1000);
        let mut crowd = rig.crowd(plans);
        crowd.drive_until("all are relayed", |crowd| {
            crowd.clients().iter().all(Client::is_connected)
                && counted(&rig.forwarder, "active_connections") == count
        });
        if round == 0 {
            crowd.leave();
        } else {
            crowd.reset();
        }
        let began = Instant::now();
        wait_for("all are gone", || {
            counted(&rig.forwarder, "active_connections") == 0
        });
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        rig.expect_service(24);
    }
    rig.aftermath(ROOM_KB + 4 * count as u64);
}
