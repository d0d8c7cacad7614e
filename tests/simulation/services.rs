//! Several services in one process: what is one's own, what is shared, and reloads in the middle.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{Dynamic, Strategy};
use tcp_forwarder::scorer::link::Phase;
use tcp_forwarder::service::Live;

use super::core::{Core, dynamic, hold, spec};
use super::watched::Watched;
use super::world::Weather;
use super::{DAY, HOUR, for_each_seed, seconds, setting};

/// A third of the candidates is dead. `good` and `mixed` share half of the others; `bad` has only dead ones.
fn three(seed: u64, weather: Weather) -> Result<Core, String> {
    let mut core = Core::empty(seed, weather);
    core.world.doom(|i| i % 3 == 0);
    let good = core.world.list(|i| i % 3 == 1);
    let bad = core.world.list(|i| i % 3 == 0);
    let mixed = core.world.list(|i| i % 3 == 0 || i % 6 == 1 || i % 6 == 2);
    core.open("good", spec(|_| {}), good);
    core.open("bad", spec(|_| {}), bad);
    core.open("mixed", spec(|_| {}), mixed);
    core.begin()?;
    Ok(core)
}

fn named<'a>(core: &'a Core, name: &str) -> &'a Watched {
    let mut services = core.services.iter();
    services
        .find(|one| one.service.name.as_str() == name)
        .expect("a service")
}

fn place(core: &Core, name: &str) -> usize {
    let mut services = core.services.iter();
    services
        .position(|one| one.service.name.as_str() == name)
        .expect("a service")
}

fn is_fallback(one: &Watched) -> bool {
    one.service.live.active.load().footing.is_fallback()
}

#[test]
fn each_service_has_the_best_of_its_own_whatever_the_others_have() {
    for_each_seed(2, |seed| {
        let mut core = three(seed, Weather::Calm)?;
        seconds(&mut core, 2 * HOUR)?;
        for name in ["good", "mixed"] {
            let one = named(&core, name);
            hold!(!is_fallback(one), "{name} is a fallback");
            let list = one.list();
            let mut ideal: Vec<f64> = core
                .world
                .candidates
                .iter()
                .filter(|truth| list.contains(&truth.addr))
                .map(|truth| if truth.is_down() { 0.0 } else { truth.ideal() })
                .collect();
            ideal.sort_by(|a, b| b.total_cmp(a));
            let best: f64 = ideal.iter().take(one.active.len()).sum();
            let chosen: f64 = one.active.iter().map(|addr| core.ideal(addr)).sum();
            let missing = (best - chosen) / f64::from(u32::try_from(one.active.len()).expect("small"));
            hold!(missing <= 6.0, "{name} misses {missing} points:\n{}", one.trace);
        }
        let bad = named(&core, "bad");
        hold!(is_fallback(bad), "nobody of the bad ones passes");
        hold!(
            bad.active.iter().all(|addr| bad.list().contains(addr)),
            "not its own"
        );
        hold!(core.outages() == 0, "dead candidates are no outage");
        let probes: Vec<usize> = core.services.iter().map(|one| one.probes).collect();
        let (fewest, most) = (probes.iter().min(), probes.iter().max());
        hold!(
            fewest
                .zip(most)
                .is_some_and(|(fewest, most)| most * 4 <= fewest * 5),
            "{probes:?} are not alike"
        );
        Ok(())
    });
}

#[test]
fn one_link_is_judged_by_the_candidates_of_all_services() {
    for_each_seed(3, |seed| {
        let mut core = three(seed, Weather::Calm)?;
        seconds(&mut core, 20 * 60)?;
        // Two thirds of the living: all of `good`, some of `mixed`.
        core.world.silence(core.now(), |i| i % 3 == 1);
        seconds(&mut core, 300)?;
        hold!(core.outages() == 0, "others answered all the time");
        hold!(is_fallback(named(&core, "good")), "it has nobody else");
        let mixed = named(&core, "mixed");
        hold!(
            !is_fallback(mixed) && mixed.active.iter().all(|addr| !core.world.truth(addr).is_down()),
            "the living of another service are used:\n{}",
            mixed.trace
        );
        core.world.silence(core.now(), |_| true);
        let sets: Vec<_> = core.services.iter().map(|one| one.active.clone()).collect();
        seconds(&mut core, 30)?;
        hold!(core.phase() == Phase::Down, "the link is {:?}", core.phase());
        core.world.unsilence(core.now());
        seconds(&mut core, 30)?;
        hold!(core.phase() == Phase::Up, "the link is {:?}", core.phase());
        hold!(core.outages() == 1, "{} outages", core.outages());
        let mixed = place(&core, "mixed");
        hold!(core.services[mixed].active == sets[mixed], "the set changed");
        Ok(())
    });
}

fn weak(core: &Core, name: &str) -> Weak<Live> {
    Arc::downgrade(&named(core, name).service.live)
}

fn targets(one: &Watched) -> Vec<u32> {
    let set = one.service.live.active.load();
    set.backends
        .iter()
        .map(|backend| backend.target.load(Ordering::Relaxed))
        .collect()
}

fn all_in(one: &Watched, list: &CandidateSet) -> bool {
    one.active.iter().all(|addr| list.contains(addr))
}

#[test]
fn a_reload_changes_what_it_says_and_nothing_else() {
    for_each_seed(3, |seed| {
        let mut core = three(seed, Weather::Calm)?;
        seconds(&mut core, 20 * 60 + seed)?;
        let kept: (Vec<SocketAddr>, String) = {
            let good = named(&core, "good");
            (good.active.clone(), good.trace.clone())
        };
        let (left, mixed) = (weak(&core, "bad"), place(&core, "mixed"));
        let list = core.world.list(|i| i % 6 == 2);
        core.services.remove(place(&core, "bad"));
        let mixed = mixed - 1;
        core.relist(mixed, list.clone());
        core.change(mixed, |spec| {
            spec.remotes.selector.active_set_size = 5;
            spec.remotes.probing.interval /= 3;
            spec.pools.strategy = Strategy::Static { size_per_remote: 7 };
        });
        let newcomers = core.world.list(|i| i % 6 == 4);
        core.open("new", spec(|_| {}), newcomers.clone());
        core.reload();
        seconds(&mut core, 1)?;
        let one = &core.services[mixed];
        hold!(
            targets(one).iter().all(|target| *target == 7),
            "a strategy takes effect at once: {:?}",
            targets(one)
        );
        seconds(&mut core, 30)?;
        let one = &core.services[mixed];
        hold!(one.active.len() == 5 && all_in(one, &list), "{:?}", one.active);
        let new = named(&core, "new");
        hold!(
            new.active.len() == 3 && all_in(new, &newcomers) && !is_fallback(new),
            "{:?} of a new service",
            new.active
        );
        let probes = one.probes;
        seconds(&mut core, 300)?;
        let one = &core.services[mixed];
        let probes = one.probes - probes;
        hold!(
            (570..=640).contains(&probes),
            "{probes} in 300 s, at three times the pace"
        );
        hold!(left.upgrade().is_none(), "somebody holds a service that left");
        let good = named(&core, "good");
        hold!(
            (&good.active, &good.trace) == (&kept.0, &kept.1),
            "another service was touched"
        );

        // Nobody reaches such a score; then nobody is good enough for a while.
        core.change(mixed, |spec| spec.remotes.selector.min_score_threshold = 111.0);
        core.reload();
        seconds(&mut core, 1)?;
        hold!(is_fallback(&core.services[mixed]), "nobody passes any more");
        core.change(mixed, |spec| {
            spec.remotes.selector.min_score_threshold = 15.0;
            spec.remotes.selector.active_set_size = 1;
            spec.pools.strategy = Strategy::Off;
        });
        core.reload();
        seconds(&mut core, 1)?;
        let one = &core.services[mixed];
        hold!(!is_fallback(one) && one.active.len() == 1, "{:?}", one.active);
        hold!(targets(one) == [0], "{:?} without pools", targets(one));
        hold!(core.outages() == 0, "a reload is no outage");
        Ok(())
    });
}

/// One thing that a reload may change.
fn change_something(core: &mut Core, rng: &mut fastrand::Rng, number: usize) {
    let place = rng.usize(0..core.services.len());
    let (period, offset) = (rng.usize(1..5), rng.usize(0..5));
    let list = core.world.list(|i| (i + offset) % 5 < period);
    match rng.u8(0..8) {
        0 => core.relist(place, list),
        1 => core.change(place, |spec| {
            spec.remotes.selector.active_set_size = rng.usize(1..6);
        }),
        2 => core.change(place, |spec| {
            spec.remotes.selector.min_score_threshold = rng.f64() * 60.0;
        }),
        3 => core.change(place, |spec| {
            let strategies = [
                Strategy::Off,
                Strategy::Static { size_per_remote: 4 },
                Strategy::Dynamic(dynamic()),
                Strategy::Dynamic(Dynamic {
                    min_size: 1,
                    max_size: 9,
                    ..dynamic()
                }),
            ];
            spec.pools.strategy = rng.choice(strategies).expect("four");
        }),
        4 => core.change(place, |spec| {
            let probing = &mut spec.remotes.probing;
            probing.interval = std::time::Duration::from_secs(rng.u64(5..20));
            probing.probe_candidate_count = rng.usize(8..25);
            probing.initial.enabled = rng.bool();
        }),
        5 if core.services.len() > 1 => drop(core.services.remove(place)),
        _ if core.services.len() < 6 => core.open(&format!("s{number}"), spec(|_| {}), list),
        _ => {}
    }
}

#[test]
fn the_invariants_hold_in_storms_with_reloads() {
    let days = setting("SIM_DAYS").unwrap_or(1);
    for_each_seed(2, |seed| {
        let mut core = three(seed, Weather::Stormy)?;
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut passed, mut reloads) = (0, 0);
        while passed < days * DAY / 2 {
            for _ in 0..rng.usize(1..4) {
                reloads += 1;
                change_something(&mut core, &mut rng, reloads);
            }
            core.reload();
            let span = rng.u64(1..2 * HOUR);
            passed += span;
            seconds(&mut core, span).map_err(|broken| {
                let now = (core.now() - core.process.hub.started_at).as_secs();
                format!("second {now}, after {reloads} changes: {broken}")
            })?;
        }
        println!(
            "seed {seed}: {reloads} changes, {} services at the end, {} outages",
            core.services.len(),
            core.outages()
        );
        Ok(())
    });
}
