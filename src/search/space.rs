//! What is known of a list, prefix by prefix: the searched space as people look at it. Pure.
//!
//! The list is divided where most is known, until there are enough parts: a prefix of which nothing is known stays one,
//! however large it is. Every candidate is in exactly one part. It knows nothing of how a model guesses.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Instant;

use ipnet::IpNet;

use super::key::{self, Key, Span};
use super::model::Leaf;
use crate::candidates::CandidateSet;

/// The most parts of a list.
pub const MOST_PARTS: usize = 256;

/// A list in parts, as it was known at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    /// When.
    pub at: Instant,
    /// The parts, in the order of the list; none of an empty one.
    pub parts: Vec<Part>,
}

/// A run of candidates that have a prefix in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The first candidate.
    pub first: SocketAddr,
    /// The last one.
    pub last: SocketAddr,
    /// The network that holds them, if they have one port.
    pub network: Option<IpNet>,
    /// How many there are.
    pub candidates: u128,
    /// Of how many something is known; those that are remembered together count once.
    pub known: usize,
    /// What their answers count for.
    pub answers: f64,
    /// What their failures count for.
    pub failures: f64,
    /// The lowest latency of one of them that answers, in seconds.
    pub best: Option<f64>,
}

impl Space {
    /// Divides a list into at most `most` parts (at least 1), by what is known of its candidates.
    #[must_use]
    pub fn of(set: &CandidateSet, leaves: impl IntoIterator<Item = Leaf>, most: usize, at: Instant) -> Self {
        let listed = leaves.into_iter().filter(|leaf| set.contains(&leaf.addr));
        let mut known: Vec<(u128, Leaf)> = listed.map(|leaf| (set.rank(&leaf.addr), leaf)).collect();
        known.sort_unstable_by_key(|(rank, _)| *rank);
        Self {
            at,
            parts: divide(set, &known, most)
                .iter()
                .filter_map(|run| part(set, run))
                .collect(),
        }
    }
}

/// Candidates from one index to below another, and what is known of them.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    from: u128,
    to: u128,
    known: &'a [(u128, Leaf)],
}

impl Run<'_> {
    /// First and last candidate, and how many bits they have in common.
    fn ends(&self, set: &CandidateSet) -> Option<(SocketAddr, SocketAddr, u32)> {
        let (first, last) = (set.at(self.from)?, set.at(self.to.checked_sub(1)?)?);
        Some((first, last, Key::of(&first).common(Key::of(&last))))
    }

    /// The two halves in which its candidates part; none of a single one.
    fn halves(&self, set: &CandidateSet) -> Option<[Self; 2]> {
        let (first, _, common) = self.ends(set)?;
        let key = Key::of(&first);
        if common >= key.depth() {
            return None;
        }
        let middle = Span::of(set, key, common + 1).end();
        let (before, behind) = self
            .known
            .split_at(self.known.partition_point(|(rank, _)| *rank < middle));
        Some([
            Self {
                to: middle,
                known: before,
                ..*self
            },
            Self {
                from: middle,
                known: behind,
                ..*self
            },
        ])
    }
}

/// The runs in order.
fn divide<'a>(set: &CandidateSet, known: &'a [(u128, Leaf)], most: usize) -> Vec<Run<'a>> {
    // Of those of which as much is known the first one, so that the same knowledge gives the same parts.
    let mut open = BinaryHeap::from([(known.len(), Reverse(0))]);
    let mut runs = vec![Run {
        from: 0,
        to: set.len(),
        known,
    }];
    while let Some((count, Reverse(place))) = open.pop() {
        let run = runs[place];
        // The others know no more.
        let halves = (count > 1 && runs.len() < most)
            .then(|| run.halves(set))
            .flatten();
        let Some([before, behind]) = halves else { continue };
        runs[place] = before;
        open.push((before.known.len(), Reverse(place)));
        open.push((behind.known.len(), Reverse(runs.len())));
        runs.push(behind);
    }
    runs.sort_unstable_by_key(|run| run.from);
    runs
}

fn part(set: &CandidateSet, run: &Run<'_>) -> Option<Part> {
    let (first, last, common) = run.ends(set)?;
    let leaves = || run.known.iter().map(|(_, leaf)| leaf);
    let answering = leaves().filter(|leaf| leaf.answers > 0.0);
    Some(Part {
        first,
        last,
        network: key::network(first, common),
        candidates: run.to - run.from,
        known: run.known.len(),
        answers: leaves().map(|leaf| f64::from(leaf.answers)).sum(),
        failures: leaves().map(|leaf| f64::from(leaf.failures)).sum(),
        best: answering.map(|leaf| leaf.latency).min_by(f64::total_cmp),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::clock;

    fn leaf(addr: SocketAddr, millis: f64) -> Leaf {
        let answers = if millis > 0.0 { 1.0 } else { 0.0 };
        Leaf {
            addr,
            latency: millis / 1e3,
            answers,
            failures: 1.0 - answers,
        }
    }

    fn list(text: &str) -> CandidateSet {
        CandidateSet::parse(text, 80).expect("a list")
    }

    #[test]
    fn a_list_is_divided_where_most_is_known() {
        let set = list("10.0.0.0/16");
        let near = |last: u8| leaf(SocketAddr::from(([10, 0, 3, last], 80)), f64::from(last));
        let mut leaves: Vec<Leaf> = (10..=17).map(near).collect();
        leaves.push(leaf("10.0.200.1:80".parse().expect("an address"), 0.0));
        leaves.push(leaf("192.0.2.1:80".parse().expect("an address"), 1.0));
        let space = Space::of(&set, leaves, 8, clock::now());
        let around = space
            .parts
            .iter()
            .find(|part| part.known == 8)
            .expect("they are near each other");
        let network = around.network.expect("one port");
        assert!(
            network.prefix_len() > 20 && network.contains(&space_addr(10)),
            "{network}"
        );
        assert_eq!(around.best, Some(0.010));
        assert!(
            space
                .parts
                .iter()
                .any(|part| part.known == 1 && part.best.is_none()),
            "who does not answer"
        );
        assert_eq!(
            space.parts.iter().map(|part| part.known).sum::<usize>(),
            9,
            "who is not listed is not told of"
        );
    }

    fn space_addr(last: u8) -> std::net::IpAddr {
        std::net::IpAddr::from([10, 0, 3, last])
    }

    #[test]
    fn several_ports_have_no_network() {
        let set = list("10.0.0.1:80\n10.0.0.1:81");
        let parts = Space::of(&set, [], 9, clock::now()).parts;
        assert_eq!((parts.len(), parts[0].network, parts[0].candidates), (1, None, 2));
    }

    proptest! {
        #[test]
        fn every_candidate_is_in_one_part_and_nothing_that_is_known_is_lost(seed: u64, most in 1..40_usize) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let set = list("10.0.0.0/24\n10.0.9.0/28:82\n[2001:db8::/124]:80");
            let count = rng.usize(0..60);
            let mut any = || Some(leaf(set.at(rng.u128(0..set.len()))?, rng.f64() * 9.0));
            let leaves: Vec<Leaf> = (0..count).filter_map(|_| any()).collect();
            let parts = Space::of(&set, leaves.iter().copied(), most, clock::now()).parts;
            prop_assert!(parts.len() <= most);
            prop_assert_eq!(parts.iter().map(|part| part.candidates).sum::<u128>(), set.len());
            prop_assert_eq!(parts.iter().map(|part| part.known).sum::<usize>(), leaves.len());
            for pair in parts.windows(2) {
                prop_assert_eq!(set.rank_after(&pair[0].last), set.rank(&pair[1].first));
            }
            for part in &parts {
                if let Some(network) = &part.network {
                    prop_assert!(network.contains(&part.first.ip()) && network.contains(&part.last.ip()));
                }
            }
        }
    }
}
