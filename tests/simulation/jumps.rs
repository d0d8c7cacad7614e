//! Time that jumps a day ahead in one step, as it does for a machine that was suspended or a process that was stopped.
//!
//! What decides takes `now` as an argument and knows no other clock, so this is all that a jump can do to it. The clock
//! that it is read from never goes back. The wall clock may jump as it likes, both ways: it stands in the lines of the
//! log and in `process_start_time_seconds` and is asked for nothing else (`clippy.toml` keeps it out). A process that
//! really stood still is in `tests/faults/process_stop.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tcp_forwarder::admission::Admission;
use tcp_forwarder::base::burst::Burst;
use tcp_forwarder::base::clock;
use tcp_forwarder::base::timers::Timers;
use tcp_forwarder::config::{Dynamic, Server, Strategy};
use tcp_forwarder::pools::demand::{Demand, ReactorReading, Reading};
use tcp_forwarder::pools::sizing;
use tcp_forwarder::scorer::link::Phase;

use super::core::{Core, hold};
use super::world::Weather;
use super::{DAY, for_each_seed, run, scores, seconds};

const A_DAY: Duration = Duration::from_secs(DAY);

#[test]
fn a_day_that_is_missing_is_held_against_nobody() {
    for_each_seed(4, |seed| {
        let mut core = run(seed, Weather::Calm, 20 * 60 + seed)?;
        let (active, before) = (core.one().active.clone(), scores(&core));
        for _ in 0..3 {
            let probes = core.one().probes;
            core.jump(A_DAY);
            core.second()?;
            let at_once = core.one().probes - probes;
            hold!(
                at_once <= 2 * core.one().spec().remotes.probing.probe_candidate_count,
                "{at_once} probes in the first second"
            );
            seconds(&mut core, 120)?;
        }
        hold!(
            core.one().active == active,
            "the set changed:\n{}",
            core.one().trace
        );
        hold!(core.phase() == Phase::Up, "the link is {:?}", core.phase());
        hold!(core.outages() == 0, "{} outages", core.outages());
        for (addr, score) in scores(&core) {
            let before = before.get(&addr).copied().unwrap_or_default();
            hold!(score + 8.0 > before, "{addr} fell from {before} to {score}");
        }
        Ok(())
    });
}

#[test]
fn a_day_that_is_missing_ends_no_outage_and_begins_none() {
    for_each_seed(4, |seed| {
        let mut core = run(seed, Weather::Calm, 20 * 60 + seed)?;
        core.world.silence(core.now(), |_| true);
        // What is under way is still answered.
        seconds(&mut core, 1)?;
        let (active, before) = (core.one().active.clone(), scores(&core));
        // With failures put aside, and with the link known to be down.
        for wait in [0, 10] {
            seconds(&mut core, wait)?;
            core.jump(A_DAY);
        }
        seconds(&mut core, 5)?;
        hold!(core.phase() == Phase::Down, "the link is {:?}", core.phase());
        hold!(core.one().active == active, "the set changed");
        // Nothing tells whose fault those failures were that were waiting for a verdict when the day went by.
        hold!(scores(&core) == before, "a score changed");
        core.world.unsilence(core.now());
        let interval = core.one().spec().remotes.probing.interval.as_secs();
        seconds(&mut core, 2 * interval)?;
        hold!(core.phase() == Phase::Up, "the link is {:?}", core.phase());
        hold!(
            core.one().active == active,
            "the set changed:\n{}",
            core.one().trace
        );
        Ok(())
    });
}

#[test]
fn the_invariants_hold_in_storms_with_gaps() {
    for_each_seed(2, |seed| {
        let mut core = Core::new(seed, Weather::Stormy);
        core.begin()?;
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..20 {
            seconds(&mut core, rng.u64(1..600))?;
            let gap = Duration::from_secs(rng.u64(1..2 * DAY));
            core.jump(gap);
        }
        Ok(())
    });
}

#[test]
fn deadlines_of_a_missing_day_are_all_due_once_and_in_order() {
    let epoch = clock::now();
    let mut timers = Timers::new(epoch);
    for index in 0..1_000 {
        timers.set(
            index,
            epoch + Duration::from_secs(u64::from(index * 7919 % 1_000)),
        );
    }
    let tomorrow = epoch + A_DAY;
    timers.set(1_000, tomorrow + Duration::from_nanos(1));
    let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(tomorrow)).collect();
    assert_eq!(due.len(), 1_000);
    assert!(due.is_sorted_by_key(|index| index * 7919 % 1_000));
    assert_eq!(timers.len(), 1, "what is not due yet stays");
}

#[test]
fn pools_keep_their_size_within_a_step_over_a_missing_day() {
    let rules = Dynamic::default();
    let mut now = clock::now();
    let mut reading = Reading {
        reactors: vec![ReactorReading::default()],
        ..Reading::default()
    };
    let mut demand = Demand::new(now, &reading);
    let mut target = sizing::first_target(&Strategy::Dynamic(rules.clone()));
    let mut step = |now, target| {
        reading.peak = 100;
        reading.reactors[0].peak = 100;
        reading.reactors[0].requests += 100;
        reading.dials += 100;
        reading.dialling += Duration::from_millis(500);
        demand.note(now, &reading);
        let next = sizing::next_target(target, demand.recent_peak(), &rules);
        let shares = sizing::distribute(next, &demand.reactor_peaks());
        assert_eq!(shares, [next]);
        next
    };
    for _ in 0..60 {
        now += rules.interval;
        target = step(now, target);
    }
    let settled = target;
    for _ in 0..60 {
        now += A_DAY;
        target = step(now, target);
    }
    assert!(
        target.abs_diff(settled) <= settled / 10,
        "{settled} before, {target} after"
    );
}

#[test]
fn a_missing_day_fills_a_bucket_once_and_frees_no_seat() {
    let server = Server {
        max_connections_per_ip: 30,
        connection_rate_per_ip: 5.0,
        connection_burst_per_ip: 10,
        ..Server::default()
    };
    let mut now = clock::now();
    let admission = Admission::of(&server).expect("limits");
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut seats = Vec::new();
    for taken in [10, 20, 30, 30] {
        seats.extend((0..50).filter_map(|_| admission.admit(ip, now).ok()));
        assert_eq!(seats.len(), taken);
        now += A_DAY;
    }
    seats.clear();
    let again = (0..50).filter_map(|_| admission.admit(ip, now).ok()).count();
    assert_eq!(again, 10, "those have left at once, and a bucket is a bucket");
}

#[test]
fn a_missing_day_begins_one_burst_of_a_log_line() {
    let origin = clock::now();
    let burst = Burst::default();
    assert!(burst.begins(origin));
    assert!(burst.begins(origin + A_DAY));
    assert!(!burst.begins(origin + A_DAY));
}
