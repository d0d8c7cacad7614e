//! Deadlines: at most one for each key, the soonest first.
//!
//! For what a thread visits again when its time has come: a deadline stays until another one, or none, is set. Keys are names
//! that say nothing of how many there are, such as those of services, of which some have left: [`Timers`](super::timers::Timers)
//! finds an entry by its place in a slab, rounds to the microsecond, and leaves open who of those that are due together is
//! first. Here they are in the order of their keys, so that whatever is seeded goes the same way again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Deadlines by key.
#[derive(Debug)]
pub struct Deadlines<K> {
    /// The soonest first, of the same time by key.
    queue: BTreeSet<(Instant, K)>,
    /// Where each key stands in it.
    at: BTreeMap<K, Instant>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            queue: BTreeSet::new(),
            at: BTreeMap::new(),
        }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Sets or moves the deadline of a key; none: takes it back.
    pub fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.at.insert(key, at),
            None => self.at.remove(&key),
        };
        if before != at {
            before.map(|before| self.queue.remove(&(before, key)));
            self.queue.extend(at.map(|at| (at, key)));
        }
        debug_assert_eq!(self.queue.len(), self.at.len(), "each key stands there once");
    }

    /// Whose deadline has come, the first of them, and when that was. It is the first until its deadline is moved.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<(Instant, K)> {
        self.queue.first().copied().filter(|(at, _)| *at <= now)
    }

    /// The soonest.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn those_of_one_time_are_in_the_order_of_their_keys() {
        let now = clock::now();
        let mut deadlines = Deadlines::default();
        for key in [7, 3, 5] {
            deadlines.set(key, Some(now));
        }
        deadlines.set(4, Some(now + Duration::from_nanos(1)));
        let mut order = Vec::new();
        while let Some((at, key)) = deadlines.due(now) {
            assert_eq!((at, deadlines.due(now)), (now, Some((at, key))), "it stays");
            order.push(key);
            deadlines.set(key, None);
        }
        assert_eq!(order, [3, 5, 7]);
        assert_eq!(deadlines.next(), Some(now + Duration::from_nanos(1)));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_that_is_searched(operations in prop::collection::vec((0..40_u32, prop::option::of(0..1000_u64)), 0..500)) {
            let epoch = clock::now();
            let at = |millis| epoch + Duration::from_millis(millis);
            let mut deadlines = Deadlines::default();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for (key, millis) in operations {
                deadlines.set(key, millis.map(at));
                match millis {
                    Some(millis) => model.insert(key, millis),
                    None => model.remove(&key),
                };
                let first = model.iter().map(|(key, millis)| (*millis, *key)).min();
                prop_assert_eq!(deadlines.next(), first.map(|(millis, _)| at(millis)));
                for now in [0, 250, 500, 1000] {
                    let due = first.filter(|(millis, _)| *millis <= now);
                    prop_assert_eq!(deadlines.due(at(now)), due.map(|(millis, key)| (at(millis), key)));
                }
            }
        }
    }
}
