//! Clients of one service, in one reactor, that wait for a place at a backend, in the order in which they came. Pure.
//!
//! Who leaves is not looked for: the entry stays until it is the first, or until most entries are such. So a queue of any
//! length costs a client that leaves nothing but what it cost to come.

use std::collections::VecDeque;

use crate::base::slots::Key;

/// Entries of those who left that are kept beside as many as wait.
const SLACK: usize = 64;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct PlaceQueue {
    /// By their stamps, the lowest first; some have left.
    entries: VecDeque<(u64, Key)>,
    waiting: usize,
}

impl PlaceQueue {
    /// Those who wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Somebody comes: behind all who came before, in front of those who came later.
    pub(super) fn enter(&mut self, stamp: u64, key: Key) {
        let place = self.entries.partition_point(|(other, _)| *other <= stamp);
        self.entries.insert(place, (stamp, key));
        self.waiting += 1;
    }

    /// Somebody has left, who is among those that `waits` does not know any more.
    pub(super) fn left(&mut self, waits: impl Fn(Key) -> bool) {
        debug_assert!(self.waiting > 0, "who leaves has come");
        self.waiting = self.waiting.saturating_sub(1);
        if self.entries.len() > 2 * self.waiting + SLACK {
            self.entries.retain(|(_, key)| waits(*key));
        }
        self.prune(waits);
    }

    /// Takes out who is first.
    pub(super) fn take(&mut self, waits: impl Fn(Key) -> bool) -> Option<Key> {
        self.prune(&waits);
        let (_, key) = self.entries.pop_front()?;
        self.waiting = self.waiting.saturating_sub(1);
        self.prune(waits);
        Some(key)
    }

    /// When the first of them came.
    pub(super) fn head(&self) -> Option<u64> {
        self.entries.front().map(|(stamp, _)| *stamp)
    }

    /// Everybody, those who left included.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.entries.iter().map(|(_, key)| *key)
    }

    /// Has somebody first who waits.
    fn prune(&mut self, waits: impl Fn(Key) -> bool) {
        while self.entries.front().is_some_and(|(_, key)| !waits(*key)) {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::Slots;
    use std::collections::HashSet;

    fn keys(count: usize) -> Vec<Key> {
        let mut slots = Slots::default();
        (0..count).map(|_| slots.insert(()).expect("room")).collect()
    }

    #[test]
    fn who_came_first_is_first_and_who_comes_back_is_where_it_was() {
        let keys = keys(4);
        let mut queue = PlaceQueue::default();
        queue.enter(5, keys[0]);
        queue.enter(7, keys[1]);
        queue.enter(7, keys[2]);
        queue.enter(6, keys[3]);
        assert_eq!(queue.head(), Some(5));
        let all = |_| true;
        assert_eq!(queue.take(all), Some(keys[0]));
        queue.enter(5, keys[0]);
        let order: Vec<_> = std::iter::from_fn(|| queue.take(all)).collect();
        assert_eq!(order, [keys[0], keys[3], keys[1], keys[2]]);
        assert_eq!((queue.waiting(), queue.head()), (0, None));
    }

    #[test]
    fn those_who_leave_are_never_served_and_never_many() {
        let mut rng = fastrand::Rng::with_seed(11);
        let keys = keys(2_000);
        let mut here: HashSet<Key> = HashSet::new();
        let mut order = VecDeque::new();
        let mut queue = PlaceQueue::default();
        for (stamp, key) in (0_u64..).zip(&keys) {
            queue.enter(stamp, *key);
            here.insert(*key);
            order.push_back(*key);
            while rng.u8(..4) == 0 && !here.is_empty() {
                let who = order[rng.usize(..order.len())];
                here.remove(&who);
                order.retain(|one| *one != who);
                queue.left(|key| here.contains(&key));
            }
            if rng.u8(..3) == 0 {
                let first = queue.take(|key| here.contains(&key));
                assert_eq!(first, order.pop_front());
                if let Some(first) = first {
                    here.remove(&first);
                }
            }
            assert_eq!(queue.waiting(), here.len());
            assert!(queue.keys().count() <= 2 * here.len() + SLACK);
            assert_eq!(queue.head().is_some(), !here.is_empty());
        }
    }
}
