//! Backends that misbehave, one of three or all of them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::peers::backend::Behaviour;
use crate::peers::client::{Client, Conduct, Outcome, Plan};
use crate::peers::crowd::Crowd;
use crate::peers::rig::{ROOM_KB, Rig, counted};
use crate::peers::stream::{BANNER, Order};
use crate::scaled;
use crate::support::wait_for;

/// Outcomes that tell a client the truth about a backend that has said nothing: served by another one, or an
/// end before anything came.
fn is_told_at_once(crowd: &Crowd) -> bool {
    crowd.clients().iter().all(|client| match client.outcome {
        Outcome::Whole => true,
        Outcome::Empty | Outcome::Reset => client.received == 0,
        Outcome::Open | Outcome::Left | Outcome::Cut | Outcome::Corrupt | Outcome::Unconnected(_) => false,
    })
}

#[test]
fn refusing() {
    let mut rig = Rig::start(&json!({}), 3);
    for _ in 0..scaled(3, 30) {
        rig.backends[0].behave(Behaviour::Refuse);
        rig.expect_service(60);
        rig.backends[0].behave(Behaviour::Serve);
    }
    assert!(
        counted(&rig.forwarder, "errors_total{kind=\"dial\"}") > 0,
        "it was not met"
    );
    rig.aftermath(ROOM_KB);
}

#[test]
fn timing_out() {
    let mut rig = Rig::start(&json!({}), 3);
    for _ in 0..scaled(2, 10) {
        rig.backends[0].behave(Behaviour::TimeOut);
        rig.expect_service(60);
        rig.backends[0].behave(Behaviour::Serve);
        rig.expect_service(20);
    }
    let met = counted(&rig.forwarder, "errors_total{kind=\"dial_timeout\"}");
    assert!(met > 0, "it was not met");
    rig.aftermath(ROOM_KB);
}

#[test]
fn hanging_two_at_a_time_under_races() {
    let mut rig = Rig::start(
        &json!({
            "pools": {
                "common": { "dial_timeout": "10s", "race": { "delay": "20ms" } },
                "strategy": { "type": "off" },
            },
        }),
        3,
    );
    for _ in 0..scaled(2, 20) {
        // They earn second dials.
        rig.expect_service(60);
        for backend in &rig.backends[..2] {
            backend.behave(Behaviour::TimeOut);
        }
        let mut crowd = rig.crowd([]);
        for plan in rig.healthy(30) {
            crowd.add(plan);
        }
        for plan in rig.plans(Conduct::ResetAfter(10), 30, 1000) {
            crowd.add(plan);
        }
        crowd.drive_for(Duration::from_millis(300));
        for backend in &rig.backends[..2] {
            backend.behave(Behaviour::Serve);
        }
        crowd.finish();
        assert_eq!(crowd.count(Outcome::Whole), 30, "{}", crowd.outcomes());
    }
    let raced = counted(&rig.forwarder, "race_dials_total");
    let clients = counted(&rig.forwarder, "new_connections_total");
    // Each of two reactors has one to begin with.
    assert!(
        raced > 0 && raced <= 2 + clients * 7 / 100,
        "{raced} second dials for {clients} clients"
    );
    rig.aftermath(ROOM_KB);
}

#[test]
fn accepting_and_ending_at_once() {
    for fault in [Behaviour::AcceptAndClose, Behaviour::AcceptAndReset] {
        let mut rig = Rig::start(&json!({}), 3);
        rig.backends[0].behave(fault);
        let mut served = 0;
        for _ in 0..scaled(8, 100) {
            let plans = rig.healthy(30);
            let mut crowd = rig.crowd(plans);
            crowd.finish();
            assert!(is_told_at_once(&crowd), "{fault:?}: {}", crowd.outcomes());
            served += crowd.count(Outcome::Whole);
        }
        assert!(served >= scaled(8, 100) * 5, "{fault:?}: {served} served");
        rig.backends[0].behave(Behaviour::Serve);
        rig.aftermath(ROOM_KB);
    }
}

#[test]
fn closing_warm_connections_at_random() {
    let mut rig = Rig::start(&json!({}), 3);
    let within = Duration::from_millis(400);
    for backend in &rig.backends {
        backend.behave(Behaviour::CloseWarm { within });
    }
    let (mut lost, mut served, mut closed, mut waves) = (0, 0, 0, 0);
    // How many are closed in a wave depends on how long it lasts.
    while waves < scaled(40, 2000) || (closed <= 50 && waves < 400) {
        waves += 1;
        // Those of one wave speak at once, and so do those of the next, at another age of the pool.
        let plans = rig.healthy(15);
        let mut crowd = rig.crowd(plans);
        crowd.finish();
        assert!(is_told_at_once(&crowd), "{}", crowd.outcomes());
        served += crowd.count(Outcome::Whole);
        lost += crowd.clients().len() - crowd.count(Outcome::Whole);
        crowd.drive_for(Duration::from_millis(rig.rng.u64(0..60)));
        closed = rig.sum_of(|tally| tally.closed_warm.value());
    }
    assert!(closed > 50, "only {closed} were closed");
    // A request that is on its way when the backend closes cannot be saved: nobody knows whether it counted.
    let crossed = rig.sum_of(|tally| tally.crossed.value());
    assert!(
        lost as u64 <= crossed,
        "{lost} lost of {served} served, {crossed} requests crossed a close, {closed} were closed"
    );
    for backend in &rig.backends {
        backend.behave(Behaviour::Serve);
    }
    rig.aftermath(ROOM_KB);
}

#[test]
fn speaking_first() {
    let mut rig = Rig::start(&json!({}), 2);
    // Another server in the place of each: none of its connections is left.
    for behaviour in [Behaviour::Gone, Behaviour::SpeakFirst] {
        for backend in &rig.backends {
            backend.behave(behaviour);
        }
    }
    let accepted = rig.sum_of(|tally| tally.accepted.value());
    wait_for("warm connections to it", || {
        rig.sum_of(|tally| tally.accepted.value()) > accepted
            && counted(&rig.forwarder, "pool_available_connections") == 16
    });
    let warm = counted(&rig.forwarder, "pool_hits_total");
    for _ in 0..scaled(6, 100) {
        let mut plans = rig.healthy(40);
        for plan in &mut plans {
            plan.banner = BANNER;
        }
        let mut crowd = rig.crowd(plans);
        crowd.finish();
        assert_eq!(crowd.count(Outcome::Whole), 40, "{}", crowd.outcomes());
    }
    assert!(
        counted(&rig.forwarder, "pool_hits_total") > warm,
        "some were warm"
    );
    for behaviour in [Behaviour::Gone, Behaviour::Serve] {
        for backend in &rig.backends {
            backend.behave(behaviour);
        }
    }
    rig.wait_for_service();
    rig.aftermath(ROOM_KB);
}

#[test]
fn never_reading_until_later() {
    const STUCK: usize = 8;
    let rig = Rig::start(&json!({}), 2);
    for backend in &rig.backends {
        backend.behave(Behaviour::NeverRead);
    }
    // More than all buffers on the way hold.
    let order = |seed| Order {
        seed,
        up: 12_000_000,
        down: 1000,
    };
    let plans = (0..STUCK as u64).map(|seed| Plan::new(Conduct::FinishFirst, order(seed)));
    let mut stuck = rig.crowd(plans);
    let mut last = (0, Instant::now());
    stuck.drive_until("they are stuck", |crowd| {
        let sent = crowd.clients().iter().map(Client::sent).sum();
        if sent != last.0 {
            last = (sent, Instant::now());
        }
        sent > 0 && last.1.elapsed() > Duration::from_millis(400)
    });
    assert_eq!(stuck.open(), STUCK);
    // A half that is stuck holds one read, or a pipe that is the kernel's.
    let grown = rig.forwarder.resident_kb().saturating_sub(rig.before.resident_kb);
    assert!(
        grown < ROOM_KB + 128 * STUCK as u64,
        "{grown} kB for {STUCK} stuck relays"
    );
    // One of the two is well again: newcomers to it are served beside those that are stuck.
    rig.backends[0].behave(Behaviour::Serve);
    stuck.drive_until("half of them go on", |crowd| {
        crowd.count(Outcome::Whole) >= STUCK / 2 - 2
    });
    assert!(stuck.open() > 0);
    rig.backends[1].behave(Behaviour::Serve);
    stuck.finish();
    assert_eq!(stuck.count(Outcome::Whole), STUCK, "{}", stuck.outcomes());
    rig.aftermath(ROOM_KB + 128 * STUCK as u64);
}

#[test]
fn never_answering() {
    let changes = json!({ "server": { "half_close_timeout": "700ms" } });
    let mut rig = Rig::start(&changes, 2);
    rig.backends[0].behave(Behaviour::NeverAnswer);
    let plans = rig.plans(Conduct::FinishFirst, scaled(40, 2000), 30_000);
    let count = plans.len();
    let mut crowd = rig.crowd(plans);
    crowd.finish();
    let (whole_ones, unanswered) = (crowd.count(Outcome::Whole), crowd.count(Outcome::Empty));
    assert_eq!(whole_ones + unanswered, count, "{}", crowd.outcomes());
    assert!(unanswered > 0 && whole_ones > 0, "{}", crowd.outcomes());
    let timed_out = counted(
        &rig.forwarder,
        "connections_closed_total{reason=\"half_close_timeout\"}",
    );
    assert_eq!(timed_out, unanswered);
    rig.backends[0].behave(Behaviour::Serve);
    rig.aftermath(ROOM_KB);
}

#[test]
fn answering_after_a_half_close() {
    let mut rig = Rig::start(&json!({}), 2);
    for backend in &rig.backends {
        backend.behave(Behaviour::AnswerAfterHalfClose);
    }
    for most in [0, 100, 100_000, 2_000_000] {
        let plans = rig.plans(Conduct::FinishFirst, scaled(20, 200), most);
        let count = plans.len();
        let mut crowd = rig.crowd(plans);
        crowd.finish();
        assert_eq!(crowd.count(Outcome::Whole), count, "{}", crowd.outcomes());
    }
    for backend in &rig.backends {
        backend.behave(Behaviour::Serve);
    }
    rig.aftermath(ROOM_KB);
}

#[test]
fn resetting_in_the_middle_of_a_stream() {
    let mut rig = Rig::start(&json!({}), 2);
    let mut total = 0;
    for round in 0..scaled(6, 60) {
        let bytes = [1, 1000, 16_384, 65_537, 300_000, 900_000][round % 6];
        for backend in &rig.backends {
            backend.behave(Behaviour::ResetAfter { bytes });
        }
        let conduct = [Conduct::FinishLast, Conduct::FinishFirst][round % 2];
        let mut plans = rig.plans(conduct, 20, 20_000);
        for plan in &mut plans {
            plan.order.down = bytes + rig.rng.u64(1..100_000);
        }
        total += plans.len();
        let mut crowd = rig.crowd(plans);
        crowd.finish();
        for client in crowd.clients() {
            // All that was sent before it, then the reset: never a proper end after a part.
            assert_eq!(
                (client.outcome, client.received),
                (Outcome::Reset, bytes),
                "reset behind {bytes} bytes; {conduct:?}, {:?}: {}",
                client.plan.order,
                crowd.outcomes()
            );
        }
    }
    for backend in &rig.backends {
        backend.behave(Behaviour::Serve);
    }
    let reset = counted(
        &rig.forwarder,
        "connections_closed_total{reason=\"backend_reset\"}",
    );
    assert_eq!(reset, total);
    rig.aftermath(ROOM_KB);
}

#[test]
fn flapping() {
    let mut rig = Rig::start(&json!({}), 3);
    let every = Duration::from_millis(if scaled(0, 1) == 0 { 150 } else { 1000 });
    rig.backends[0].behave(Behaviour::Flap { every });
    let mut crowd = rig.crowd([]);
    let until = Instant::now() + every * u32::try_from(scaled(16, 60)).unwrap();
    while Instant::now() < until {
        for plan in rig.healthy(4) {
            crowd.add(plan);
        }
        crowd.drive_for(Duration::from_millis(10));
    }
    crowd.finish();
    let (whole_ones, reset) = (crowd.count(Outcome::Whole), crowd.count(Outcome::Reset));
    assert_eq!(whole_ones + reset, crowd.clients().len(), "{}", crowd.outcomes());
    // Only those can be hurt that were on the backend when it died.
    let tally = rig.backends[0].tally();
    let (deaths, resets) = (tally.deaths.value(), tally.reset.value());
    assert!(deaths >= 5, "{deaths} deaths");
    assert!(
        reset as u64 <= resets,
        "{reset} clients were reset, {resets} connections"
    );
    assert_eq!(
        counted(&rig.forwarder, "connections_closed_total{reason=\"dial_failed\"}"),
        0
    );
    rig.backends[0].behave(Behaviour::Serve);
    rig.aftermath(ROOM_KB);
}

#[test]
fn leaving_and_returning() {
    let changes = json!({ "remotes": { "probing": { "interval": "100ms" } } });
    let mut rig = Rig::start(&changes, 3);
    let series = format!("lb_backend_connections{{server=\"{}\"}}", rig.backends[0].addr);
    let full = format!("tcp_forwarder_{series}");
    for _ in 0..scaled(1, 5) {
        rig.backends[0].behave(Behaviour::Gone);
        wait_for("it is out of the active set", || {
            !rig.forwarder.scrape().contains(&full)
        });
        rig.expect_service(40);
        let served = rig.backends[0].tally().served.value();
        rig.backends[0].behave(Behaviour::Serve);
        wait_for("it is in the active set", || {
            rig.forwarder.scrape().contains(&full)
        });
        rig.expect_service(60);
        assert!(rig.backends[0].tally().served.value() > served, "it serves again");
    }
    rig.aftermath(ROOM_KB);
}

#[test]
fn all_of_them_dying_and_coming_back() {
    let mut rig = Rig::start(&json!({}), 3);
    for _ in 0..scaled(2, 20) {
        let plans = rig.plans(Conduct::NeverRead, 12, 3_000_000);
        let mut caught = rig.crowd(plans);
        caught.drive_until("they are connected", |crowd| {
            crowd.clients().iter().all(Client::is_connected)
        });
        for backend in &rig.backends {
            backend.behave(Behaviour::Gone);
        }
        caught.release();
        caught.finish();
        assert_eq!(caught.count(Outcome::Cut), 0, "{}", caught.outcomes());
        assert_eq!(caught.count(Outcome::Corrupt), 0, "{}", caught.outcomes());
        // Whoever comes now is told, and does not wait for ever.
        let plans = rig.healthy(30);
        let mut crowd = rig.crowd(plans);
        crowd.finish();
        assert!(is_told_at_once(&crowd), "{}", crowd.outcomes());
        assert_eq!(crowd.count(Outcome::Whole), 0, "{}", crowd.outcomes());
        for backend in &rig.backends {
            backend.behave(Behaviour::Serve);
        }
        let began = Instant::now();
        rig.wait_for_service();
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "served again after {:?}",
            began.elapsed()
        );
    }
    rig.aftermath(ROOM_KB);
}
