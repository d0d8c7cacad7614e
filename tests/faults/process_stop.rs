//! A process that stands still and goes on: what came meanwhile is served, and its own absence is nobody's fault.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::peers::client::{Conduct, Outcome};
use crate::peers::rig::{ROOM_KB, Rig};
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

/// Injected five times: `SIGSTOP` for longer than the idle time-out, at any point of a busy reactor's turn.
///
/// What it has read when it goes on came just now, whatever the clock said when its turn began.
#[test]
fn standing_still_in_the_middle_of_a_turn_makes_nobody_silent() {
    let changes = json!({ "server": { "idle_timeout": "1200ms", "reactors": 1 } });
    let mut rig = Rig::start(&changes, 3);
    let pause = Duration::from_millis(25);
    let plans = rig.plans(Conduct::Trickle(pause), 200, 240);
    let mut crowd = rig.crowd(plans);
    crowd.drive_until("some bytes of each", |crowd| {
        crowd.clients().iter().all(|client| client.sent() > 4)
    });
    for _ in 0..5 {
        rig.forwarder.signal(Signal::STOP);
        crowd.drive_for(Duration::from_millis(1300));
        rig.forwarder.signal(Signal::CONT);
        crowd.drive_for(8 * pause);
    }
    crowd.finish();
    let text = rig.forwarder.scrape();
    assert_eq!(
        whole(&text, "connections_closed_total{reason=\"idle_timeout\"}"),
        0,
        "{}",
        crowd.outcomes()
    );
    assert_eq!(crowd.count(Outcome::Whole), 200, "{}", crowd.outcomes());
    rig.aftermath(ROOM_KB);
}
