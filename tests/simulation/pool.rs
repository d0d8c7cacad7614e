//! Pool sizing in virtual time: targets under any demand, and a pool that a far backend must not starve.

use std::time::{Duration, Instant};

use tcp_forwarder::base::clock;
use tcp_forwarder::config::{Dynamic, Strategy};
use tcp_forwarder::pools::demand::{Demand, ReactorReading, Reading};
use tcp_forwarder::pools::sizing;

use super::core::hold;

/// A day of sizing under demand that wanders and jumps.
pub(crate) fn targets_hold(seed: u64, turns: u32) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let min_size = rng.usize(0..40);
    let rules = Dynamic {
        min_size,
        max_size: min_size + rng.usize(0..400),
        interval: Duration::from_millis(rng.u64(100..20_000)),
        target_buffer_ratio: 2.0 * rng.f64(),
        scale_up_increment: rng.usize(1..40),
        scale_down_increment: rng.usize(1..40),
    };
    let mut now = clock::now();
    let mut reading = Reading {
        reactors: vec![ReactorReading::default(); rng.usize(1..9)],
        ..Reading::default()
    };
    let mut demand = Demand::new(now, &reading);
    let mut target = sizing::first_target(&Strategy::Dynamic(rules.clone()));
    let (mut level, mut peak, mut steady) = (0_u32, 0_u32, 0_usize);
    for _ in 0..turns {
        now += rules.interval;
        match rng.u8(0..200) {
            0 => level = rng.u32(0..600),
            1..20 => level = (level + rng.u32(0..5)).saturating_sub(2),
            _ => {}
        }
        reading.peak = level;
        for reactor in &mut reading.reactors {
            reactor.peak = rng.u32(0..=level);
            reactor.requests += u64::from(rng.u32(0..=level));
        }
        let dials = u64::from(rng.u32(0..=level));
        reading.dials += dials;
        reading.dialling += Duration::from_micros(dials * rng.u64(100..200_000));
        demand.note(now, &reading);
        let next = sizing::next_target(target, demand.recent_peak(), &rules);
        let sizes = |size: u32| usize::try_from(size).expect("small");
        hold!(
            (rules.min_size..=rules.max_size).contains(&sizes(next)),
            "target {next} outside {rules:?}"
        );
        let allowed = if next > target {
            rules.scale_up_increment
        } else {
            rules.scale_down_increment
        };
        hold!(
            sizes(next.abs_diff(target)) <= allowed,
            "{target} -> {next} in one step"
        );
        let shares = sizing::distribute(next, &demand.reactor_peaks());
        hold!(shares.iter().sum::<u32>() == next, "{shares:?} are not {next}");
        (steady, peak) = (
            if demand.recent_peak() == peak {
                steady + 1
            } else {
                0
            },
            demand.recent_peak(),
        );
        if steady > rules.max_size - rules.min_size {
            let again = sizing::next_target(next, peak, &rules);
            hold!(again == next, "target {next} has not arrived at {again}");
        }
        target = next;
    }
    Ok(())
}

/// Hits and misses of a pool whose backend takes `dial_ms` to connect, in the second of two minutes.
pub(crate) fn far_backend(seed: u64, clients_a_second: f64, dial_ms: u64, use_ms: u64) -> (u32, u32) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let rules = Dynamic::default();
    let start = clock::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut target = sizing::first_target(&Strategy::Dynamic(rules.clone()));
    let mut warm = target;
    let mut arriving: Vec<Instant> = Vec::new();
    let mut leaving: Vec<Instant> = Vec::new();
    let mut reading = Reading {
        reactors: vec![ReactorReading::default()],
        ..Reading::default()
    };
    let mut demand = Demand::new(start, &reading);
    let (mut hits, mut misses) = (0, 0);
    for ms in 1..120_000_u64 {
        let now = at(ms);
        let dialled = arriving.len();
        arriving.retain(|at| *at > now);
        let landed = dialled - arriving.len();
        warm += u32::try_from(landed).expect("small");
        reading.dials += u64::try_from(landed).expect("small");
        reading.dialling += Duration::from_millis(dial_ms) * u32::try_from(landed).expect("small");
        leaving.retain(|at| *at > now);
        // Independent clients: a chance for each tenth of a millisecond.
        for _ in 0..10 {
            if rng.f64() >= clients_a_second / 10_000.0 {
                continue;
            }
            reading.reactors[0].requests += 1;
            let hit = warm > 0;
            warm -= u32::from(hit);
            let wait = if hit { 0 } else { dial_ms };
            leaving.push(at(ms + wait + use_ms));
            if ms > 60_000 {
                (hits, misses) = (hits + u32::from(hit), misses + u32::from(!hit));
            }
        }
        let in_use = u32::try_from(leaving.len()).expect("small");
        reading.peak = reading.peak.max(in_use);
        let held = warm + in_use + u32::try_from(arriving.len()).expect("small");
        arriving.extend((held..target).map(|_| at(ms + dial_ms)));
        if ms % 1_000 == 0 {
            reading.reactors[0].peak = reading.peak;
            demand.note(now, &reading);
            reading.peak = in_use;
            target = sizing::next_target(target, demand.recent_peak(), &rules);
        }
    }
    (hits, misses)
}
