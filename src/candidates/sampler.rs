//! An even sample of a candidate set, of any length, without a list of what was taken.
//!
//! Every range comes first in turn with one address from its middle, and between them addresses come from
//! all ranges in proportion to their size, up to a bound ([`MOST_CELLS_OF_A_RANGE`]). So a sample cut off
//! anywhere covers single addresses as well as large networks, and no network takes all of it.
//!
//! Both orders are golden-ratio walks: steps of 0.618 of the length, made coprime to it, visit every number
//! once and fill the gaps evenly at any time (three-distance theorem).
//!
//! [`MOST_CELLS_OF_A_RANGE`]: super::ranges::MOST_CELLS_OF_A_RANGE

use std::net::SocketAddr;
use std::sync::Arc;

use super::ranges::{Address, Cell};
use super::set::CandidateSet;

/// 2^64 / golden ratio.
const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15;

/// Walks once over a candidate set, evenly.
///
/// A set whose ranges have up to 65,536 addresses each is visited completely and every candidate once. Of a
/// larger range 65,536 addresses are visited, spread over all of it; the next walk picks others.
#[derive(Debug, Clone)]
pub struct Sampler {
    set: Arc<CandidateSet>,
    ranges: Walk,
    cells: Walk,
    turn: Turn,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Range,
    Cell,
}

impl Sampler {
    /// Begins a walk at a random place.
    pub fn new(set: Arc<CandidateSet>, rng: &mut fastrand::Rng) -> Self {
        let ranges = u64::try_from(set.range_count()).unwrap_or(u64::MAX);
        Self {
            ranges: Walk::new(ranges, rng),
            cells: Walk::new(set.v4.cells().saturating_add(set.v6.cells()), rng),
            turn: Turn::Range,
            set,
        }
    }

    /// The set that is walked over.
    pub fn set(&self) -> &Arc<CandidateSet> {
        &self.set
    }

    /// The next candidate; none at the end of the walk.
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        loop {
            if let Turn::Range = self.turn {
                self.turn = Turn::Cell;
                if let Some(range) = self.ranges.next() {
                    return self.middle_of(range, rng);
                }
            }
            self.turn = Turn::Range;
            match self.cells.next() {
                // The middle cell of a range has its turn with the ranges.
                Some(number) => {
                    if let Some(addr) = self.unless_middle(number, rng) {
                        return Some(addr);
                    }
                }
                None if self.ranges.left == 0 => return None,
                None => {}
            }
        }
    }

    fn middle_of(&self, range: u64, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        let range = usize::try_from(range).ok()?;
        match range.checked_sub(self.set.v4.range_count()) {
            None => self.set.v4.middle_cell(range).map(|cell| pick(&cell, rng)),
            Some(range) => self.set.v6.middle_cell(range).map(|cell| pick(&cell, rng)),
        }
    }

    fn unless_middle(&self, number: u64, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        match number.checked_sub(self.set.v4.cells()) {
            None => {
                let cell = self.set.v4.cell(number)?;
                (!cell.is_middle).then(|| pick(&cell, rng))
            }
            Some(number) => {
                let cell = self.set.v6.cell(number)?;
                (!cell.is_middle).then(|| pick(&cell, rng))
            }
        }
    }
}

fn pick<A: Address + Into<std::net::IpAddr>>(cell: &Cell<A>, rng: &mut fastrand::Rng) -> SocketAddr {
    SocketAddr::new(cell.pick(rng).into(), cell.range.port)
}

/// Visits each number below `len` once.
#[derive(Debug, Clone)]
struct Walk {
    len: u64,
    step: u64,
    at: u64,
    left: u64,
}

impl Walk {
    fn new(len: u64, rng: &mut fastrand::Rng) -> Self {
        let golden = (u128::from(len) * GOLDEN) >> 64;
        let mut step = u64::try_from(golden).unwrap_or(1).max(1);
        while gcd(step, len) > 1 {
            step += 1;
        }
        Self {
            len,
            step,
            at: if len == 0 { 0 } else { rng.u64(0..len) },
            left: len,
        }
    }

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let visited = self.at;
        let until_end = self.len - visited;
        self.at = if self.step >= until_end {
            self.step - until_end
        } else {
            visited + self.step
        };
        Some(visited)
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn sampler(list: &str, rng: &mut fastrand::Rng) -> Sampler {
        let set = CandidateSet::parse(list, 80).expect("a good list");
        Sampler::new(Arc::new(set), rng)
    }

    fn take(sampler: &mut Sampler, count: usize, rng: &mut fastrand::Rng) -> Vec<SocketAddr> {
        std::iter::from_fn(|| sampler.next(rng)).take(count).collect()
    }

    #[test]
    fn every_prefix_of_a_walk_is_even() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut walk = Walk::new(1 << 20, &mut rng);
        let mut tenths = [0_u32; 10];
        for taken in 1..=5000_u32 {
            let number = walk.next().expect("far from the end");
            tenths[usize::try_from((number * 10) >> 20).expect("small")] += 1;
            for tenth in tenths {
                assert!(tenth.abs_diff(taken / 10) <= 4, "{tenth} of {taken}");
            }
        }
    }

    #[test]
    fn a_single_address_is_found_beside_huge_networks() {
        let mut rng = fastrand::Rng::with_seed(3);
        let list = "2001:db8::/32\n10.0.0.0/8\n192.0.2.7\n[2001:db8::1]:443\n0.0.0.0/0:8080";
        let mut sampler = sampler(list, &mut rng);
        let sample = take(&mut sampler, 10, &mut rng);
        for single in ["192.0.2.7:80", "[2001:db8::1]:443"] {
            assert!(
                sample.contains(&single.parse().expect("address")),
                "{single} in {sample:?}"
            );
        }
        let rest = take(&mut sampler, 3000, &mut rng);
        for family in [SocketAddr::is_ipv4, SocketAddr::is_ipv6] {
            assert!(rest.iter().filter(|addr| family(addr)).count() >= 900);
        }
        let set = Arc::clone(sampler.set());
        assert!(rest.iter().all(|addr| set.contains(addr)));
        let distinct: HashSet<SocketAddr> = rest.iter().copied().collect();
        assert!(
            distinct.len() >= 2999,
            "at random, two cells hardly pick one address"
        );
    }

    #[test]
    fn networks_of_one_size_have_equal_parts_in_any_prefix() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut sampler = sampler("10.1.0.0/16\n10.5.0.0/16\n10.9.0.0/16\n10.200.0.0/16", &mut rng);
        let mut parts: HashMap<[u8; 2], u32> = HashMap::new();
        for taken in 1..=4000_u32 {
            let addr = sampler.next(&mut rng).expect("far from the end");
            let std::net::IpAddr::V4(ip) = addr.ip() else {
                panic!("only IPv4 is listed")
            };
            *parts.entry([ip.octets()[0], ip.octets()[1]]).or_default() += 1;
            if taken >= 8 {
                assert_eq!(parts.len(), 4);
                assert!(
                    parts.values().all(|part| part.abs_diff(taken / 4) <= 5),
                    "{parts:?} of {taken}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn a_small_set_is_visited_once_and_completely(
            prefixes in prop::collection::vec((0_u8..8, 22_u8..=32, 1_u16..3), 1..20),
            seed: u64,
        ) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let lines: Vec<String> =
                prefixes.iter().map(|(net, prefix, port)| format!("10.0.{}.77/{prefix}:{port}", net * 4)).collect();
            let mut sampler = sampler(&lines.join("\n"), &mut rng);
            let visited = take(&mut sampler, usize::MAX, &mut rng);
            let distinct: HashSet<SocketAddr> = visited.iter().copied().collect();
            prop_assert_eq!(visited.len(), distinct.len());
            prop_assert_eq!(visited.len() as u128, sampler.set().len());
            prop_assert!(visited.iter().all(|addr| sampler.set().contains(addr)));
            prop_assert_eq!(sampler.next(&mut rng), None);
        }
    }
}
