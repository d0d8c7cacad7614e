//! Every candidate of a list once, in an order that is even at any time. Pure.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::candidates::CandidateSet;

/// 1 over the golden ratio, in parts of 2^64.
const GOLDEN: u128 = 0x9e37_79b9_7f4a_7c15;

/// A walk over a list in steps that fill the gaps evenly (of 0.618 of its length; three-distance theorem).
#[derive(Debug)]
pub(super) struct Walk {
    set: Arc<CandidateSet>,
    at: u128,
    step: u128,
    left: u128,
}

impl Walk {
    /// Begins at a random place.
    pub(super) fn new(set: Arc<CandidateSet>, rng: &mut fastrand::Rng) -> Self {
        let len = set.len();
        // By halves, so that no product overflows.
        let mut step = ((len >> 32).saturating_mul(GOLDEN >> 32) | ((len & 0xffff_ffff) * GOLDEN) >> 64)
            .clamp(1, len.max(1));
        while gcd(step, len) > 1 {
            step -= 1;
        }
        Self {
            at: rng.u128(0..len.max(1)),
            step,
            left: len,
            set,
        }
    }

    /// The next one; none when all were named.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        self.left = self.left.checked_sub(1)?;
        let len = self.set.len();
        let room = len - self.at;
        self.at = if self.step < room {
            self.at + self.step
        } else {
            self.step - room
        };
        self.set.at(self.at)
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_are_named_once_and_evenly() {
        for list in [
            "10.0.0.1",
            "10.0.0.0/30",
            "10.0.0.0/24\n10.9.0.0/25\n[2001:db8::/120]:1",
            "10.0.0.0/16",
        ] {
            let set = Arc::new(CandidateSet::parse(list, 80).expect("a list"));
            let mut walk = Walk::new(Arc::clone(&set), &mut fastrand::Rng::with_seed(9));
            let all: Vec<SocketAddr> = std::iter::from_fn(|| walk.next()).collect();
            assert_eq!(all.len() as u128, set.len());
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
            // Any hundred in a row have about half of them in either half of the list.
            let in_first = |part: &[SocketAddr]| {
                part.iter()
                    .filter(|addr| set.index_of(addr).is_some_and(|index| index < set.len() / 2))
                    .count()
            };
            assert!(
                all.chunks_exact(100)
                    .all(|part| (40..=60).contains(&in_first(part))),
                "{list}"
            );
        }
        let whole = Arc::new(CandidateSet::parse("::/0", 80).expect("a list"));
        let mut walk = Walk::new(whole, &mut fastrand::Rng::with_seed(9));
        assert!((0..1_000).all(|_| walk.next().is_some()));
    }
}
