//! How others look for the best: written from what their documents say, for comparison.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tcp_forwarder::candidates::CandidateSet;

use super::worlds::{Size, World};

/// Samples by host: how many answered, and the sum of their latencies.
#[derive(Debug, Default)]
pub struct Notes(HashMap<SocketAddr, (u32, f64)>);

impl Notes {
    pub fn ask(&mut self, world: World, addr: SocketAddr, rng: &mut fastrand::Rng) {
        self.note(addr, world.ask(&addr, rng));
    }

    pub fn note(&mut self, addr: SocketAddr, latency: Option<Duration>) {
        if let Some(latency) = latency {
            let note = self.0.entry(addr).or_default();
            *note = (note.0 + 1, note.1 + latency.as_secs_f64());
        }
    }

    /// The best `count` by mean latency.
    pub fn best(&self, count: usize) -> Vec<SocketAddr> {
        let mut all: Vec<(f64, SocketAddr)> = (self.0.iter())
            .map(|(addr, (count, sum))| (sum / f64::from(*count), *addr))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.into_iter().take(count).map(|(_, addr)| addr).collect()
    }
}

/// Any candidate, again and again.
pub fn random(world: World, probes: usize, rng: &mut fastrand::Rng) -> Notes {
    let set = world.size.set();
    let mut notes = Notes::default();
    for _ in 0..probes {
        let addr = set.at(rng.u128(0..set.len())).expect("a member");
        notes.ask(world, addr, rng);
    }
    notes
}

/// A random address of each /24, four connects to each, the best by mean; a list of more networks than there are probes
/// for is cut at random.
pub fn one_of_each_network(world: World, probes: usize, rng: &mut fastrand::Rng) -> Notes {
    let set = world.size.set();
    let networks: u128 = set.len().div_ceil(256);
    let count = (probes / 4).min(usize::try_from(networks).expect("small"));
    let mut notes = Notes::default();
    for place in 0..count {
        let network = if (count as u128) < networks {
            rng.u128(0..networks)
        } else {
            place as u128
        };
        let from = network * 256;
        let addr = set
            .at(rng.u128(from..(from + 256).min(set.len())))
            .expect("a member");
        for _ in 0..4 {
            notes.ask(world, addr, rng);
        }
    }
    notes
}

/// A sparse look at everything, a closer one at the blocks that looked best, and a fine one at the best of those.
pub fn three_stages(world: World, probes: usize, rng: &mut fastrand::Rng) -> Notes {
    let set = world.size.set();
    let mut notes = Notes::default();
    let hosts = 1_u128 << world.size.bits();
    // Half of the probes: as many even parts.
    let parts = (probes / 2) as u128;
    for part in 0..parts {
        let addr = member(&set, hosts * part / parts..hosts * (part + 1) / parts, rng);
        notes.ask(world, addr, rng);
    }
    let block = match world.size {
        Size::Large => 256,
        Size::Huge => 4096,
    };
    let closer = probes * 3 / 10;
    for (block, count, probes) in [(block, 12, closer), (16, 6, probes - probes / 2 - closer)] {
        let blocks = best_blocks(&notes, &set, block, count);
        for turn in 0..probes {
            if let Some(number) = blocks.get(turn % blocks.len().max(1)) {
                let addr = member(&set, number * block..(number + 1) * block, rng);
                notes.ask(world, addr, rng);
            }
        }
    }
    notes
}

/// The numbers of the blocks of so many hosts in which the best are.
fn best_blocks(notes: &Notes, set: &CandidateSet, block: u128, count: usize) -> Vec<u128> {
    let mut blocks: Vec<u128> = Vec::new();
    for addr in notes.best(200) {
        let number = set.index_of(&addr).expect("a member") / block;
        if !blocks.contains(&number) && blocks.len() < count {
            blocks.push(number);
        }
    }
    blocks
}

fn member(set: &CandidateSet, part: std::ops::Range<u128>, rng: &mut fastrand::Rng) -> SocketAddr {
    let end = part.end.min(set.len());
    set.at(rng.u128(part.start.min(end - 1)..end)).expect("a member")
}
