//! How often threads are woken: what is due together is one wake-up, however many services there are.

use std::time::Duration;

use tcp_forwarder::config::Pools;

use super::core::{Core, hold, spec};
use super::for_each_seed;
use super::process::Thread;
use super::world::Weather;

/// Wake-ups of each thread in five minutes at rest, and the probes.
fn wakes(seed: u64, services: usize) -> Result<(Vec<usize>, usize), String> {
    let mut core = Core::empty(seed, Weather::Still);
    let start = core.now();
    let count = core.world.candidates.len();
    for number in 0..services {
        let list = core.world.list(|i| i == number % count);
        core.open(
            &format!("s{number}"),
            spec(|spec| spec.pools = Pools::default()),
            list,
        );
    }
    core.reload();
    core.advance(start + Duration::from_secs(120))?;
    let look = |core: &Core| -> (Vec<usize>, usize) {
        let wakes = Thread::ALL.map(|thread| core.process.wakes(thread));
        (wakes.to_vec(), core.services.iter().map(|one| one.probes).sum())
    };
    let (before, probes) = look(&core);
    core.advance(start + Duration::from_secs(420))?;
    let (after, all) = look(&core);
    let wakes = after.iter().zip(before).map(|(after, before)| after - before);
    Ok((wakes.collect(), all - probes))
}

#[test]
fn a_thousand_services_of_one_candidate_wake_no_thread_more_often_than_one() {
    for_each_seed(1, |seed| {
        let (one, probes) = wakes(seed, 1)?;
        hold!((19..=21).contains(&probes), "{probes} in five minutes");
        let (thousand, all) = wakes(seed, 1_000)?;
        println!("seed {seed}: wake-ups in five minutes: {one:?} for one, {thousand:?} for a thousand");
        hold!(
            all == probes * 1_000,
            "{all} probes of a thousand, {probes} of one"
        );
        for ((thread, one), thousand) in Thread::ALL.iter().zip(&one).zip(&thousand) {
            hold!(
                thousand <= one,
                "{thread:?}: {thousand} wake-ups for a thousand, {one} for one"
            );
        }
        Ok(())
    });
}
