//! Whole relays under virtual time, between clients and backends in memory, in worlds that seeds make up.
//!
//! What a world is and what must hold in it stands in `fuzz/src/relay_world`. A failing seed is printed with what happened
//! in its world; `SIM_SEED=n cargo test --test relay_simulation` replays it alone, `SIM_RUNS=n` runs more, and
//! `TCP_FORWARDER_LONG=1` many more.

#![expect(clippy::panic, reason = "tests")]

#[path = "../../fuzz/src/choices.rs"]
#[expect(dead_code, reason = "other fuzz targets use the rest of it")]
#[expect(unreachable_pub, reason = "it is of a crate of its own, too")]
mod choices;
#[path = "../../fuzz/src/relay_world/mod.rs"]
#[expect(unreachable_pub, reason = "it is of a crate of its own, too")]
mod relay_world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use relay_world::{Story, Tally};

/// Worlds of a usual run, and of a long one.
const RUNS: [u64; 2] = [1_000, 100_000];

/// Bytes of an input: enough for the choices of most worlds.
const INPUT_BYTES: usize = 600;

/// What must happen in some world, or the others prove little.
const HAPPENS: [&str; 16] = [
    "bytes",
    "finished",
    "client_reset",
    "backend_reset",
    "error",
    "dial_failed",
    "stale",
    "rescued",
    "doubts",
    "pauses",
    "turns_again",
    "half_closes",
    "held_back",
    "introduced",
    "introduced_again",
    "rescued_introduced",
];

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text}")),
    )
}

fn input(seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(INPUT_BYTES).collect()
}

/// The world of a seed.
fn world(seed: u64) -> Tally {
    let story = Story::default();
    catch_unwind(AssertUnwindSafe(|| relay_world::run(&input(seed), &story))).unwrap_or_else(|_| {
        let lines = story.0.borrow().join("\n");
        panic!("{lines}\nseed {seed}; replay with SIM_SEED={seed} cargo test --test relay_simulation")
    })
}

#[test]
fn relays_keep_their_promises_in_every_world() {
    let is_long = std::env::var_os("TCP_FORWARDER_LONG").is_some();
    let seeds = match setting("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SIM_RUNS").unwrap_or(RUNS[usize::from(is_long)]),
    };
    let is_one = seeds.end - seeds.start == 1;
    let mut sum = Tally::new();
    for seed in seeds {
        for (what, times) in world(seed) {
            *sum.entry(what).or_default() += times;
        }
    }
    println!("{sum:?}");
    for what in HAPPENS {
        assert!(is_one || sum.contains_key(what), "in no world: {what}");
    }
}

#[test]
fn a_seed_replays() {
    for seed in 0..20 {
        assert_eq!(world(seed), world(seed), "seed {seed}");
    }
}
