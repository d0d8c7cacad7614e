//! A node whose services sleep.

use std::time::Duration;

use serde_json::json;

use crate::redis::Redis;
use crate::support::{Forwarder, pause, ping, wait_for};
use crate::{candidates, of_fleet};

fn is_alone(forwarder: &Forwarder) -> bool {
    forwarder.metric("cluster_nodes") < 0.5
}

fn sent(forwarder: &Forwarder) -> f64 {
    forwarder.metric("cluster_bytes_total{direction=\"sent\"}")
}

/// How often the thread that shares went to sleep so far.
fn wake_ups(forwarder: &Forwarder) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", forwarder.pid())).unwrap();
    let switches = threads.filter_map(|thread| {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let of_fleet = status
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("\tfleet"));
        let count = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .unwrap();
        of_fleet.then(|| count.trim().parse::<u64>().unwrap())
    });
    switches.sum()
}

/// While nobody uses it a node speaks at the times of its looks alone: the others go on without it, and its thread sleeps. With its first
/// client it is back.
#[test]
fn who_sleeps_says_nothing_between_its_looks_and_is_back_with_its_first_client() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let list = candidates(3);
    let awake = Forwarder::start(&of_fleet(&redis.url(), "awake", "here"), &list);
    let sleepy = |node: &str, interval: &str| {
        let mut config = of_fleet(&redis.url(), node, "there");
        config["sleep"] = json!({ "after": "1s", "interval": interval });
        Forwarder::start(&config, &list)
    };
    let sleeper = sleepy("sleeper", "1h");
    wait_for("two that know each other", || {
        !is_alone(&awake) && !is_alone(&sleeper)
    });
    wait_for("it falls asleep", || sleeper.metric("service_asleep") > 0.5);
    wait_for("it is dropped", || is_alone(&awake));
    let before = (wake_ups(&sleeper), sent(&sleeper));
    assert!(before.0 > 0, "there is such a thread");
    pause(Duration::from_secs(3));
    let after = (wake_ups(&sleeper), sent(&sleeper));
    assert!(
        after.0 <= before.0 + 1 && (after.1 - before.1).abs() < 0.1,
        "{before:?}, {after:?}"
    );
    assert!(sleeper.metric("cluster_up") > 0.5, "nothing has failed");
    ping(&mut sleeper.connect(), b"the first one");
    wait_for("it is back", || !is_alone(&awake) && !is_alone(&sleeper));
    assert!(
        sleeper.metric("cluster_failures_total") < 0.5,
        "{}",
        sleeper.log()
    );
    drop(sleeper);

    let looks = sleepy("looks", "2s");
    wait_for("it falls asleep", || looks.metric("service_asleep") > 0.5);
    pause(Duration::from_millis(700));
    let before = sent(&looks);
    wait_for("it speaks at its looks", || sent(&looks) > before);
    assert!(looks.metric("service_asleep") > 0.5);
}
