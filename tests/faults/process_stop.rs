//! A process that stands still and goes on: what came meanwhile is served, and its own absence is nobody's fault.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::kernel_calls::{Tracer, can_trace, injections};
use crate::peers::backend::Behaviour;
use crate::peers::client::{Conduct, Outcome, Plan};
use crate::peers::rig::{ROOM_KB, Rig, order};
use crate::peers::standing::whole;
use crate::scaled;

/// Injected once: `SIGSTOP` for two seconds (ten in a long run), longer than every time-out of dials and probes and
/// than the idle time-out, with relays that are busy and clients that come while it stands.
#[test]
fn standing_still_costs_nobody_anything() {
    let changes = json!({ "server": { "idle_timeout": "1500ms" } });
    let mut rig = Rig::start(&changes, 3);
    let failures = |rig: &Rig| whole(&rig.forwarder.scrape(), "health_checks_total{result=\"failure\"}");
    let failed = failures(&rig);
    let plans = rig.plans(Conduct::Trickle(Duration::from_millis(20)), 200, 300);
    let mut crowd = rig.crowd(plans);
    crowd.drive_until("some bytes of each", |crowd| {
        crowd.clients().iter().all(|client| client.sent() > 4)
    });
    rig.forwarder.signal(Signal::STOP);
    for plan in rig.healthy(30) {
        crowd.add(plan);
    }
    crowd.drive_for(Duration::from_secs(scaled(2, 10) as u64));
    rig.forwarder.signal(Signal::CONT);
    crowd.finish();
    assert_eq!(crowd.count(Outcome::Whole), 230, "{}", crowd.outcomes());
    let text = rig.forwarder.scrape();
    assert_eq!(failures(&rig), failed, "no probe is blamed for it");
    assert_eq!(
        whole(&text, "connections_closed_total{reason=\"idle_timeout\"}"),
        0
    );
    assert_eq!(whole(&text, "server_consecutive_failures"), 0);
    rig.aftermath(ROOM_KB);
}

/// Injected once: the process stands still for longer than the idle time-out, in the middle of a turn.
///
/// What it reads when it goes on came just now, whatever the clock said when its turn began.
#[test]
fn standing_still_in_the_middle_of_a_turn_makes_nobody_silent() {
    let mut rig = Rig::start(&json!({ "server": { "idle_timeout": "2s", "reactors": 1 } }), 2);
    if !can_trace(&rig) {
        return;
    }
    let mut plan = Plan::new(
        Conduct::Trickle(Duration::from_millis(50)),
        order(&mut rig.rng, 0),
    );
    plan.order.up = 60;
    let trace = rig.forwarder.files().path("trace");
    let tracer = Tracer::delay(&rig, ("recvfrom", Duration::from_secs(3)), "60", &trace);
    let mut crowd = rig.crowd([plan; 4]);
    crowd.finish();
    drop(tracer);
    assert!(injections(&trace) > 0, "it did not stand still");
    assert_eq!(crowd.count(Outcome::Whole), 4, "{}", crowd.outcomes());
    rig.aftermath(ROOM_KB);
}

/// Injected once: the process stands still, for longer than a half-close may last, just when it hands on a finish.
#[test]
fn standing_still_over_a_half_close_leaves_time_for_the_answer() {
    let mut rig = Rig::start(
        &json!({ "server": { "half_close_timeout": "2s", "reactors": 1 } }),
        2,
    );
    if !can_trace(&rig) {
        return;
    }
    let plan = rig.healthy(1).remove(0);
    let plan = Plan {
        conduct: Conduct::FinishFirst,
        ..plan
    };
    for backend in &rig.backends {
        backend.behave(Behaviour::NeverAnswer);
    }
    let trace = rig.forwarder.files().path("trace");
    let tracer = Tracer::delay(&rig, ("shutdown", Duration::from_secs(3)), "1", &trace);
    let mut crowd = rig.crowd([plan]);
    crowd.drive_for(Duration::from_millis(3500));
    assert!(injections(&trace) > 0, "it did not stand still");
    for backend in &rig.backends {
        backend.behave(Behaviour::Serve);
    }
    crowd.finish();
    drop(tracer);
    assert_eq!(crowd.count(Outcome::Whole), 1, "{}", crowd.outcomes());
    rig.aftermath(ROOM_KB);
}

/// Injected once: `SIGSTOP` for longer than `dial_timeout`, while dozens of dials wait for one of two backends, which
/// answers meanwhile.
///
/// Their time is no measure of what is a slow dial: afterwards a dial that hangs is raced as soon as before.
#[test]
fn standing_still_makes_no_dial_slow() {
    const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
    let mut rig = Rig::start(
        &json!({
            "server": { "reactors": 1 },
            "remotes": { "probing": { "interval": "60s" } },
            "pools": {
                "algorithm": "round_robin",
                "common": { "dial_timeout": "2s" },
                "strategy": { "type": "off" },
            },
        }),
        2,
    );
    rig.expect_service(60);
    rig.backends[0].behave(Behaviour::TimeOut);
    let plans = rig.healthy(100);
    let mut crowd = rig.crowd(plans);
    // They come, and half of them wait.
    crowd.drive_for(Duration::from_millis(300));
    rig.forwarder.signal(Signal::STOP);
    rig.backends[0].behave(Behaviour::Serve);
    crowd.drive_for(DIAL_TIMEOUT + Duration::from_millis(500));
    rig.forwarder.signal(Signal::CONT);
    crowd.finish();
    assert_eq!(crowd.count(Outcome::Whole), 100, "{}", crowd.outcomes());
    // They earn second dials.
    rig.expect_service(40);
    rig.backends[0].behave(Behaviour::TimeOut);
    let began = Instant::now();
    rig.expect_service(4);
    assert!(began.elapsed() < DIAL_TIMEOUT / 2, "{:?}", began.elapsed());
    rig.backends[0].behave(Behaviour::Serve);
    rig.aftermath(ROOM_KB);
}
