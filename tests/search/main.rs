//! How near the best of many a search comes, and after how many probes.
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

mod rivals;
mod worlds;

use std::sync::Arc;
use std::time::Duration;

use rivals::Notes;
use tcp_forwarder::base::clock;
use tcp_forwarder::search::{Model, NODES};
use worlds::{Kind, Size, World};

fn by_model(world: World, probes: usize, rng: &mut fastrand::Rng) -> Notes {
    let now = clock::now();
    let mut model = Model::new(Arc::new(world.size.set()), NODES, Duration::from_secs(1800), now, rng);
    let mut notes = Notes::default();
    for _ in 0..probes {
        let Some(addr) = model.next(rng) else { break };
        let latency = world.ask(&addr, rng);
        model.learn(&addr, latency, now, rng);
        notes.note(addr, latency);
    }
    notes
}

#[test]
fn figures() {
    let seeds = std::env::var("SEEDS").map_or(3, |text| text.parse().expect("a number"));
    let short = std::env::var("SHORT").is_ok();
    for size in [Size::Large, Size::Huge] {
        let mut line = String::new();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Equal) {
            let mut sums = vec![[0.0; 4]; 3];
            for seed in 0..seeds {
                let world = World::new(kind, size, 1000 + seed);
                let optimum = world.optimum();
                for (row, probes) in [1000, 1500, 6000].into_iter().enumerate() {
                    let mut rng = fastrand::Rng::with_seed(seed);
                    for (column, strategy) in [rivals::random, rivals::one_of_each_network, rivals::three_stages, by_model].into_iter().enumerate() {
                        if short && column < 3 { continue; }
                        let notes = strategy(world, probes, &mut rng);
                        sums[row][column] += world.ratio(&notes.best(3), optimum) / seeds as f64;
                    }
                }
            }
            for (row, probes) in [1000, 1500, 6000].into_iter().enumerate() {
                let [random, each, stages, model] = sums[row];
                line += &format!(" {model:.2}");
                if row == 2 { line += &format!(" ({kind:?})"); }
                if !short { println!("{size:?} {kind:?} {probes}: random {random:.2}, each {each:.2}, stages {stages:.2}, model {model:.2}"); }
            }
        }
        println!("{size:?}:{line}");
    }
}
