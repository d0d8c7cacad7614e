//! How near the best of many the active set comes, and after how many probes.
//!
//! The control side of a process runs in virtual time in worlds of 131,072 and of 16.7 million hosts. A few seeds are
//! looked at by default; `TCP_FORWARDER_LONG=1` looks at ten of each world, compares with the ways of others, and prints
//! the table of `docs/SEARCH.md` (of the worlds that `TCP_FORWARDER_WORLDS=from..to` names). Seeds and numbers that were used in building the search are not those that it is shown
//! on.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and numbers are small"
)]

mod lab;
mod plot;
#[path = "../simulation/process.rs"]
mod process;
mod rivals;
mod worlds;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use lab::{Lab, spec};
use worlds::{Kind, Size, World};

/// The first seed of what is shown.
const SEED: u64 = 2_000;

fn is_long() -> bool {
    std::env::var("TCP_FORWARDER_LONG").is_ok_and(|value| value == "1")
}

fn seeds(few: u64) -> u64 {
    if is_long() { 10 } else { few }
}

/// What the active set is worth after so many probes in all, as a multiple of the optimum: means over seeds.
fn figures<const N: usize>(kind: Kind, size: Size, seeds: u64, probes: [usize; N]) -> [f64; N] {
    let mut means = [0.0; N];
    for seed in SEED..SEED + seeds {
        let world = World::new(kind, size, seed);
        let optimum = world.optimum();
        let mut lab = Lab::new(world, spec(), seed);
        for (mean, probes) in means.iter_mut().zip(probes) {
            lab.run(probes);
            *mean += world.ratio(&lab.members(), optimum) / seeds as f64;
        }
    }
    println!("{size:?} {kind:?}, seeds from {SEED}: {means:.2?} after {probes:?} probes");
    means
}

#[test]
fn of_131_072_clustered_candidates_the_best_are_used() {
    let [after_1500, after_3000] = figures(Kind::Clustered, Size::Large, seeds(3), [1_500, 3_000]);
    assert!(after_1500 <= 1.15, "{after_1500}");
    assert!(
        after_3000 <= 1.05 + if is_long() { 0.0 } else { 0.05 },
        "{after_3000}"
    );
}

#[test]
fn of_16_7_million_clustered_candidates_the_best_are_used() {
    let [after_1500, after_6000] = figures(Kind::Clustered, Size::Huge, seeds(2), [1_500, 6_000]);
    // Of two worlds one may be unlucky.
    let slack = if is_long() { 1.0 } else { 1.2 };
    assert!(after_1500 <= 1.6 * slack, "{after_1500}");
    assert!(after_6000 <= 1.25 * slack, "{after_6000}");
}

#[test]
fn where_all_are_alike_any_set_does() {
    let [after] = figures(Kind::Equal, Size::Large, 1, [1_500]);
    assert!(after <= 1.001, "{after}");
}

#[test]
fn a_world_that_changes_at_once_is_found_out() {
    let mut sum = 0.0;
    let count = seeds(2);
    for seed in SEED..SEED + count {
        let world = World::new(Kind::Clustered, Size::Large, seed);
        let mut lab = Lab::new(world, spec(), seed);
        lab.run(3_000);
        let changed = World::new(Kind::Clustered, Size::Large, seed + 500);
        lab.change(changed);
        lab.run(6_000);
        sum += changed.ratio(&lab.members(), changed.optimum());
    }
    let mean = sum / count as f64;
    println!("a changed world, seeds from {SEED}: {mean:.2} after 3,000 further probes");
    assert!(mean <= 1.5, "{mean}");
}

#[test]
fn probing_stays_within_its_budget() {
    let spec = spec();
    let (interval, count) = (
        spec.remotes.probing.interval,
        spec.remotes.probing.probe_candidate_count,
    );
    let mut lab = Lab::new(World::new(Kind::Clustered, Size::Huge, SEED), spec, SEED);
    lab.run(1_000);
    let (began, before, wakes) = (lab.now(), lab.probes, lab.wakes());
    lab.run(3_000);
    let rounds = (lab.now() - began).as_secs_f64() / interval.as_secs_f64();
    let probes = (lab.probes - before) as f64;
    assert!(
        probes <= (rounds + 1.0) * count as f64,
        "{probes} in {rounds} rounds"
    );
    let wakes = lab.wakes() - wakes;
    assert!(
        wakes <= 3 * (lab.probes - before),
        "woken {wakes} times: for beginnings, ends and little else"
    );
    assert!(
        lab.widest_burst() <= 20,
        "{} within a tenth of a second",
        lab.widest_burst()
    );
}

#[test]
fn nothing_is_searched_where_it_is_off() {
    let mut spec = spec();
    spec.remotes.probing.search.enabled = false;
    let world = World::new(Kind::Clustered, Size::Large, SEED);
    let mut off = Lab::new(world, spec, SEED);
    off.run(3_000);
    let without = world.ratio(&off.members(), world.optimum());
    let [with] = figures(Kind::Clustered, Size::Large, 1, [3_000]);
    assert!(without > with, "{without} without, {with} with");
}

#[test]
fn others_are_not_nearer() {
    if !is_long() {
        println!("skipped: TCP_FORWARDER_LONG=1 compares with the ways of others");
        return;
    }
    let seeds = worlds();
    println!("seeds {seeds:?}: means, and their standard errors");
    println!(
        "| candidates | world | probes | set | found | three stages | one of each /24 | random | set against three stages |"
    );
    for size in [Size::Large, Size::Huge] {
        for kind in Kind::ALL {
            compare(kind, size, seeds.clone());
        }
    }
}

/// The seeds of worlds in which all ways are compared: `TCP_FORWARDER_WORLDS=from..to`, or those that are shown.
fn worlds() -> Range<u64> {
    let Ok(text) = std::env::var("TCP_FORWARDER_WORLDS") else {
        return SEED..SEED + 10;
    };
    let parts = text.split_once("..").expect("from..to");
    let [from, to] = [parts.0, parts.1].map(|part| part.parse().expect("a number"));
    assert!(from < to, "{from} to {to} are no seeds");
    from..to
}

/// Prints what each way is worth in worlds of a kind, in the form of `docs/SEARCH.md`.
fn compare(kind: Kind, size: Size, seeds: Range<u64>) {
    const PROBES: [usize; 3] = [1_500, 3_000, 6_000];
    const RIVALS: [Way; 3] = [rivals::three_stages, rivals::one_of_each_network, rivals::random];
    let mut tables = [const { Vec::new() }; PROBES.len()];
    for seed in seeds {
        let world = World::new(kind, size, seed);
        let optimum = world.optimum();
        let mut lab = Lab::new(world, spec(), seed);
        for (table, probes) in tables.iter_mut().zip(PROBES) {
            lab.run(probes);
            let [set, found] = [lab.members(), lab.notes.best(3)].map(|hosts| world.ratio(&hosts, optimum));
            let rivals = RIVALS.map(|way| {
                let notes = way(world, probes, &mut fastrand::Rng::with_seed(seed));
                world.ratio(&notes.best(3), optimum)
            });
            table.push([set, found, rivals[0], rivals[1], rivals[2]]);
        }
    }
    for (table, probes) in tables.iter().zip(PROBES) {
        let [set, found, three, each, random] =
            [0, 1, 2, 3, 4].map(|way| Mean::of(table.iter().map(|row| row[way])));
        let against = (set.value / three.value - 1.0) * 100.0;
        println!(
            "| {size:?} | {kind:?} | {probes} | {set} | {found} | {three} | {each} | {random} | {against:+.0} % |"
        );
    }
}

/// A mean and its standard error.
struct Mean {
    value: f64,
    error: f64,
}

impl Mean {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count() as f64;
        let value = values.clone().sum::<f64>() / count;
        let squares: f64 = values.map(|one| (one - value).powi(2)).sum();
        Self {
            value,
            error: (squares / (count - 1.0).max(1.0) / count).sqrt(),
        }
    }
}

impl fmt::Display for Mean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ± {:.2}", self.value, self.error)
    }
}

/// Means over ten seeds of what another way has found after so many probes.
fn of_way(way: Way, kind: Kind, size: Size, probes: usize) -> f64 {
    let one = |seed| {
        let world = World::new(kind, size, seed);
        let notes = way(world, probes, &mut fastrand::Rng::with_seed(seed));
        world.ratio(&notes.best(3), world.optimum())
    };
    (SEED..SEED + 10).map(one).sum::<f64>() / 10.0
}

/// How others search.
type Way = fn(World, usize, &mut fastrand::Rng) -> rivals::Notes;

#[test]
fn the_plot_of_the_documents() {
    const PROBES: [usize; 8] = [500, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000];
    let Ok(path) = std::env::var("TCP_FORWARDER_PLOT") else {
        println!("skipped: TCP_FORWARDER_PLOT=docs/search.svg draws it");
        return;
    };
    let plots = [
        (Size::Large, "131,072 candidates"),
        (Size::Huge, "16.7 million candidates"),
    ]
    .map(|(size, title)| {
        let ways: [(&'static str, Way); 3] = [
            ("three stages", rivals::three_stages),
            ("one of each /24", rivals::one_of_each_network),
            ("random", rivals::random),
        ];
        let ours = figures(Kind::Clustered, size, 10, PROBES).to_vec();
        let theirs = ways.map(|(name, way)| {
            let values = PROBES.map(|probes| of_way(way, Kind::Clustered, size, probes));
            (name, values.to_vec())
        });
        plot::Plot {
            title: format!("{title}, clustered: latency of the set, as a multiple of the best"),
            curves: std::iter::once(("search", ours)).chain(theirs).collect(),
        }
    });
    std::fs::write(path, plot::svg(&PROBES, 5.0, &plots)).expect("a file");
}

#[test]
fn a_round_of_a_long_list_is_planned_in_no_time() {
    let mut lab = Lab::new(World::new(Kind::Clustered, Size::Huge, SEED), spec(), SEED);
    lab.run(4_000);
    // In debug builds this is twenty times what it is in others.
    let began = tcp_forwarder::base::clock::now();
    lab.run(4_500);
    let each = began.elapsed() / 500;
    println!("{each:?} a probe, the world and all threads included");
    assert!(each < Duration::from_millis(2), "{each:?}");
}
