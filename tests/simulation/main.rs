//! The control side through virtual days in a seeded world: the real services, the real steps of prober, scorer, selector
//! and pools, and what they tell each other; only the clock and the network are simulated.
//!
//! A failing seed is printed; `SIM_SEED=n cargo test --test simulation` replays it alone. `SIM_RUNS=n` runs
//! more seeds, `SIM_DAYS=n` longer ones.
#![expect(clippy::expect_used, clippy::panic, reason = "tests")]

mod core;
mod crowd;
mod edge;
mod edges;
mod judged;
mod jumps;
mod line;
mod manners;
mod pool;
mod process;
mod services;
mod wakes;
mod watched;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::{Core, hold};
use tcp_forwarder::scorer::link::Phase;
use world::{Candidate, Weather};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text}")),
    )
}

/// Runs a test with each seed, and tells which one fails.
fn for_each_seed(runs: u64, mut test: impl FnMut(u64) -> Result<(), String>) {
    let seeds = match setting("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SIM_RUNS").unwrap_or(runs),
    };
    for seed in seeds {
        if let Err(broken) = test(seed) {
            panic!("seed {seed}: {broken}\nreplay with SIM_SEED={seed} cargo test --test simulation");
        }
    }
}

fn run(seed: u64, weather: Weather, seconds: u64) -> Result<Core, String> {
    let mut core = Core::new(seed, weather);
    core.begin()?;
    for second in 1..=seconds {
        core.second()
            .map_err(|broken| format!("day {} second {}: {broken}", second / DAY, second % DAY))?;
    }
    Ok(core)
}

#[test]
fn the_invariants_hold_in_storms() {
    let days = setting("SIM_DAYS").unwrap_or(1);
    for_each_seed(2, |seed| {
        let core = run(seed, Weather::Stormy, days * DAY)?;
        println!(
            "seed {seed}: {} candidates, {:?} switches, {} fallbacks, {} probes, {} outages",
            core.world.candidates.len(),
            core.one().switches(),
            core.one().fallbacks,
            core.one().probes,
            core.outages()
        );
        Ok(())
    });
}

#[test]
fn a_seed_replays() {
    for_each_seed(1, |seed| {
        let (one, other) = (
            run(seed, Weather::Stormy, 3 * HOUR)?,
            run(seed, Weather::Stormy, 3 * HOUR)?,
        );
        let seen = |core: &Core| {
            let one = core.one();
            (
                one.trace.clone(),
                one.probes,
                one.fallbacks,
                core.outages(),
                scores(core),
            )
        };
        if seen(&one) == seen(&other) {
            Ok(())
        } else {
            Err(format!("{}\nis not\n{}", one.one().trace, other.one().trace))
        }
    });
}

/// The active set of a calm world after so many seconds, against the best there is by the truth.
fn shortfall(core: &Core) -> f64 {
    let mut ideal: Vec<_> = core.world.candidates.iter().map(Candidate::ideal).collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let size = core.one().active.len();
    let best: f64 = ideal.iter().take(size).sum();
    let chosen: f64 = core.one().active.iter().map(|addr| core.ideal(addr)).sum();
    (best - chosen) / f64::from(u32::try_from(size).expect("small"))
}

#[test]
fn in_a_calm_world_the_best_are_chosen_and_stay() {
    for_each_seed(3, |seed| {
        let core = run(seed, Weather::Calm, 5 * 60)?;
        let early = shortfall(&core);
        hold!(
            early <= 6.0,
            "after five minutes {early} points are missing, more than the margin and noise"
        );
        let before = core.one().trace.clone();
        let core = run(seed, Weather::Calm, 4 * HOUR)?;
        let late = core.one().trace.lines().count() - before.lines().count();
        hold!(
            late <= 3,
            "{late} switches in a world where nothing changes:\n{}",
            core.one().trace
        );
        let settled = shortfall(&core);
        hold!(settled <= 6.0, "after four hours {settled} points are missing");
        Ok(())
    });
}

#[test]
fn equals_do_not_take_turns() {
    for_each_seed(2, |seed| {
        let core = run(seed, Weather::Equal, 4 * HOUR)?;
        let switches = core.one().trace.lines().count();
        hold!(
            switches <= 1,
            "{switches} sets, and all candidates are alike:\n{}",
            core.one().trace
        );
        Ok(())
    });
}

fn scores(core: &Core) -> BTreeMap<SocketAddr, f64> {
    let board = core.one().board();
    board.rated().map(|rated| (rated.addr, rated.score)).collect()
}

fn seconds(core: &mut Core, count: u64) -> Result<(), String> {
    (0..count).try_for_each(|_| core.second())
}

#[test]
fn a_minute_in_which_nobody_answers_changes_nothing() {
    for_each_seed(4, |seed| {
        let mut core = run(seed, Weather::Calm, 20 * 60 + seed)?;
        core.world.silence(core.now(), |_| true);
        // What is under way is still answered.
        seconds(&mut core, 1)?;
        let (active, before) = (core.one().active.clone(), scores(&core));
        seconds(&mut core, 4)?;
        hold!(
            core.phase() == Phase::Down,
            "after five seconds it is {:?}",
            core.phase()
        );
        let probes = core.one().probes;
        seconds(&mut core, 55)?;
        let probes = core.one().probes - probes;
        hold!(
            (1..=30).contains(&probes),
            "{probes} probes in 55 s, 37 are usual"
        );
        hold!(core.one().active == active, "the set changed");
        hold!(scores(&core) == before, "a score changed");

        core.world.unsilence(core.now());
        let interval = core.one().spec().remotes.probing.interval.as_secs();
        seconds(&mut core, interval)?;
        hold!(
            core.phase() == Phase::Up,
            "an interval later it is {:?}",
            core.phase()
        );
        hold!(core.one().active == active, "the set changed");
        for (addr, score) in scores(&core) {
            let before = before.get(&addr).copied().unwrap_or_default();
            hold!(score + 5.0 > before, "{addr} fell from {before} to {score}");
        }
        hold!(core.outages() == 1, "{} outages", core.outages());
        Ok(())
    });
}

#[test]
fn a_link_that_flaps_changes_nothing_either() {
    for_each_seed(3, |seed| {
        let mut core = run(seed, Weather::Calm, 20 * 60)?;
        let active = core.one().active.clone();
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..100 {
            core.world.silence(core.now(), |_| true);
            seconds(&mut core, rng.u64(1..8))?;
            core.world.unsilence(core.now());
            seconds(&mut core, rng.u64(1..8))?;
        }
        hold!(
            core.one().active == active,
            "the set changed:\n{}",
            core.one().trace
        );
        Ok(())
    });
}

#[test]
fn when_nineteen_of_twenty_really_die_the_living_are_chosen() {
    for_each_seed(4, |seed| {
        let mut core = run(seed, Weather::Calm, 20 * 60)?;
        core.world.silence(core.now(), |i| i % 20 != 7);
        let mut took = 0;
        while core
            .one()
            .active
            .iter()
            .any(|addr| core.world.truth(addr).is_down())
        {
            took += 1;
            hold!(
                took < 180,
                "after three minutes dead ones are active:\n{}",
                core.one().trace
            );
            seconds(&mut core, 1)?;
        }
        println!(
            "seed {seed}: the living of {} after {took} s, {} outages",
            core.world.candidates.len(),
            core.outages()
        );
        Ok(())
    });
}

#[test]
fn pool_targets_stay_within_their_limits() {
    for_each_seed(40, |seed| pool::targets_hold(seed, 3_000));
}

#[test]
fn a_far_backend_does_not_starve_the_pool() {
    for_each_seed(3, |seed| {
        for (clients, dial_ms, use_ms) in [(300.0, 50, 20), (300.0, 50, 1), (100.0, 200, 5), (50.0, 5, 500)] {
            let (hits, misses) = pool::far_backend(seed, clients, dial_ms, use_ms);
            hold!(hits > 1_000, "only {hits} hits");
            let misses = f64::from(misses) / f64::from(hits);
            hold!(
                misses < 0.01,
                "{misses:.3} missed: {clients}/s, dials of {dial_ms} ms, {use_ms} ms of use"
            );
        }
        Ok(())
    });
}
