//! A bounded table that forgets what was not touched for longest.
//!
//! Owns keys and values, not their meaning. Touching is O(1): a chained hash index over a slab of entries, which are
//! also links of a list from newest to oldest. Pinned entries are not in that list, so they cannot be forgotten.
//!
//! Invariants: every slot of the slab holds an entry; every entry is in exactly one hash chain; the list
//! holds exactly the entries that are not pinned, at most `bound` of them. Memory follows what was touched, not the
//! bound.

use std::hash::{BuildHasher, Hash, RandomState};

/// The end of a chain or list.
const NONE: u32 = u32::MAX;
const FIRST_BUCKETS: usize = 16;

/// A bounded, least-recently-touched table.
#[derive(Debug)]
pub struct Lru<K, T> {
    bound: usize,
    entries: Vec<Entry<K, T>>,
    /// Heads of the hash chains; a power of two, at least as many as there are entries.
    buckets: Vec<u32>,
    hashing: RandomState,
    newest: u32,
    oldest: u32,
    /// Entries in the list.
    listed: usize,
    pinned: Vec<K>,
}

#[derive(Debug)]
struct Entry<K, T> {
    key: K,
    value: T,
    newer: u32,
    older: u32,
    /// The next entry of the same hash bucket.
    chained: u32,
    pinned: bool,
}

impl<K: Copy + Eq + Hash, T: Default> Lru<K, T> {
    /// An empty table that holds at most so many entries (at least 1) besides pinned ones.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound: bound.max(1),
            entries: Vec::new(),
            buckets: Vec::new(),
            hashing: RandomState::new(),
            newest: NONE,
            oldest: NONE,
            listed: 0,
            pinned: Vec::new(),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &K) -> Option<&T> {
        self.find(key).map(|slot| &self.entries[slot].value)
    }

    /// Every entry, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.entries.iter().map(|entry| (entry.key, &entry.value))
    }

    /// The value of a key, now the newest, and the value that had to go for it: the oldest, if the key is new to a full
    /// table.
    pub fn touch(&mut self, key: K) -> (&mut T, Option<T>) {
        let mut forgotten = None;
        let slot = if let Some(slot) = self.find(&key) {
            self.unlist(slot);
            slot
        } else {
            if !self.pinned.contains(&key) {
                forgotten = self.make_room(self.bound - 1);
            }
            self.push(key)
        };
        self.enlist(slot);
        debug_assert!(self.listed <= self.bound, "the table is bounded");
        (&mut self.entries[slot].value, forgotten)
    }

    /// Changes the value of a key that is there, which is not touched by that; what the change comes to.
    pub fn change<R>(&mut self, key: &K, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.find(key).map(|slot| change(&mut self.entries[slot].value))
    }

    /// Changes every value.
    pub fn change_all(&mut self, mut change: impl FnMut(&mut T)) {
        self.entries.iter_mut().for_each(|entry| change(&mut entry.value));
    }

    /// Pins these keys, present or still to come, and no others. Those that are released count as touched.
    pub fn pin(&mut self, keys: &[K]) {
        let released = std::mem::replace(&mut self.pinned, keys.to_vec());
        for key in released.iter().filter(|key| !keys.contains(key)) {
            if let Some(slot) = self.find(key) {
                // A list that names a key twice must not enlist it twice.
                if std::mem::take(&mut self.entries[slot].pinned) {
                    self.enlist(slot);
                }
            }
        }
        for key in keys {
            if let Some(slot) = self.find(key) {
                self.unlist(slot);
                self.entries[slot].pinned = true;
            }
        }
        while self.make_room(self.bound).is_some() {}
    }

    /// Forgets every entry, pinned or not, whose key does not pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        let before = self.entries.len();
        // From the end: what takes the place of a removed entry was looked at already.
        for slot in (0..before).rev() {
            if !keep(&self.entries[slot].key) {
                self.remove(slot);
            }
        }
        if self.entries.len() < before {
            self.entries.shrink_to_fit();
            self.rehash();
        }
    }

    /// Forgets the oldest entry if more than so many are in the list.
    fn make_room(&mut self, most: usize) -> Option<T> {
        (self.listed > most).then(|| self.remove(at(self.oldest)))
    }

    fn find(&self, key: &K) -> Option<usize> {
        let mut slot = *self.buckets.get(self.bucket(key))?;
        while slot != NONE {
            let entry = &self.entries[at(slot)];
            if entry.key == *key {
                return Some(at(slot));
            }
            slot = entry.chained;
        }
        None
    }

    /// A slot for a key that is not in the table; in a chain, not in the list.
    fn push(&mut self, key: K) -> usize {
        debug_assert!(self.find(&key).is_none(), "a key has one entry");
        let slot = self.entries.len();
        self.entries.push(Entry {
            key,
            value: T::default(),
            newer: NONE,
            older: NONE,
            chained: NONE,
            pinned: self.pinned.contains(&key),
        });
        if self.entries.len() > self.buckets.len() {
            self.rehash();
        } else {
            self.chain(slot);
        }
        slot
    }

    /// Takes an entry out; the last one takes its slot.
    fn remove(&mut self, slot: usize) -> T {
        self.unlist(slot);
        self.unchain(slot);
        let last = self.entries.len() - 1;
        if slot != last {
            self.unchain(last);
            let moved = &self.entries[last];
            if !moved.pinned {
                let (newer, older) = (moved.newer, moved.older);
                *self.below(newer) = link(slot);
                *self.above(older) = link(slot);
            }
        }
        let removed = self.entries.swap_remove(slot);
        if slot != last {
            self.chain(slot);
        }
        removed.value
    }

    fn bucket(&self, key: &K) -> usize {
        let hash = self.hashing.hash_one(key);
        // Only the low bits count, and only as many as there are buckets.
        usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & self.buckets.len().saturating_sub(1)
    }

    fn rehash(&mut self) {
        let buckets = self.entries.len().next_power_of_two().max(FIRST_BUCKETS);
        self.buckets = vec![NONE; buckets];
        for slot in 0..self.entries.len() {
            self.chain(slot);
        }
    }

    fn chain(&mut self, slot: usize) {
        let bucket = self.bucket(&self.entries[slot].key);
        self.entries[slot].chained = self.buckets[bucket];
        self.buckets[bucket] = link(slot);
    }

    fn unchain(&mut self, slot: usize) {
        let bucket = self.bucket(&self.entries[slot].key);
        let after = self.entries[slot].chained;
        let mut before = self.buckets[bucket];
        if before == link(slot) {
            self.buckets[bucket] = after;
            return;
        }
        while self.entries[at(before)].chained != link(slot) {
            before = self.entries[at(before)].chained;
        }
        self.entries[at(before)].chained = after;
    }

    /// Makes an entry the newest of the list; a pinned one stays out of it.
    fn enlist(&mut self, slot: usize) {
        if self.entries[slot].pinned {
            return;
        }
        let second = self.newest;
        self.entries[slot].newer = NONE;
        self.entries[slot].older = second;
        self.newest = link(slot);
        *self.above(second) = link(slot);
        self.listed += 1;
    }

    fn unlist(&mut self, slot: usize) {
        let Entry {
            newer, older, pinned, ..
        } = self.entries[slot];
        if pinned {
            return;
        }
        *self.below(newer) = older;
        *self.above(older) = newer;
        self.listed -= 1;
    }

    /// What points from an entry to the next older one; of none, the beginning of the list.
    fn below(&mut self, slot: u32) -> &mut u32 {
        match slot {
            NONE => &mut self.newest,
            slot => &mut self.entries[at(slot)].older,
        }
    }

    /// What points from an entry to the next newer one; of none, the end of the list.
    fn above(&mut self, slot: u32) -> &mut u32 {
        match slot {
            NONE => &mut self.oldest,
            slot => &mut self.entries[at(slot)].newer,
        }
    }
}

fn at(slot: u32) -> usize {
    slot as usize
}

/// Slots fit: the table is bounded far below `u32::MAX`.
fn link(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::net::SocketAddr;

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], n))
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut table = Lru::<SocketAddr, u32>::new(3);
        for n in 1..=3 {
            *table.touch(addr(n)).0 = u32::from(n);
        }
        assert_eq!(table.touch(addr(1)).1, None);
        assert_eq!(table.touch(addr(4)).1, Some(2), "what had to go is told of");
        assert_eq!(table.len(), 3);
        assert_eq!(table.value(&addr(2)), None);
        assert_eq!(table.value(&addr(1)), Some(&1));
        assert_eq!(table.value(&addr(4)), Some(&0), "a newcomer inherits nothing");
    }

    #[test]
    fn pinned_ones_never_leave_even_when_they_outnumber_the_bound() {
        let mut table = Lru::<SocketAddr, u32>::new(2);
        let pinned: Vec<_> = (1..=4).map(addr).collect();
        table.pin(&pinned);
        for n in (1..=4).chain(100..200) {
            table.touch(addr(n));
        }
        assert!(pinned.iter().all(|addr| table.value(addr).is_some()));
        assert_eq!(table.len(), 6, "four pinned ones and the two newest others");
        table.pin(&[addr(2)]);
        assert_eq!(table.len(), 3, "who is released is one of the others");
        table.touch(addr(9));
        assert!(table.value(&addr(9)).is_some() && table.value(&addr(2)).is_some());
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry<SocketAddr, [u64; 8]>>() <= 112);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Touch(u16),
        Pin(Vec<u16>),
        RetainOdd,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            40 => (0_u16..60).prop_map(Step::Touch),
            3 => prop::collection::vec(0_u16..60, 0..6).prop_map(Step::Pin),
            1 => Just(Step::RetainOdd),
        ];
        prop::collection::vec(step, 0..400)
    }

    /// Forgets the oldest of the model that are too many; their values.
    fn trim(model: &mut Vec<(SocketAddr, u64)>, pinned: &[SocketAddr], bound: usize) -> Vec<u64> {
        let is_other = |(addr, _): &(SocketAddr, u64)| !pinned.contains(addr);
        let mut surplus = model
            .iter()
            .filter(|row| is_other(row))
            .count()
            .saturating_sub(bound);
        let leaves = |row: &mut (SocketAddr, u64)| {
            let leaves = surplus > 0 && is_other(row);
            surplus -= usize::from(leaves);
            leaves
        };
        model.extract_if(.., leaves).map(|(_, time)| time).collect()
    }

    proptest! {
        /// Against a model: pairs in the order of touching, pinned ones skipped when one has to go.
        #[test]
        fn it_remembers_like_a_model(bound in 1_usize..40, steps in steps()) {
            let mut table = Lru::<SocketAddr, u64>::new(bound);
            let mut model: Vec<(SocketAddr, u64)> = Vec::new();
            let mut pinned: Vec<SocketAddr> = Vec::new();
            for (time, step) in (1_u64..).zip(steps) {
                match step {
                    Step::Touch(n) => {
                        let known = model.iter().position(|(known, _)| *known == addr(n));
                        if let Some(known) = known {
                            model.remove(known);
                        }
                        model.push((addr(n), time));
                        let forgotten = trim(&mut model, &pinned, bound);
                        let (value, gone) = table.touch(addr(n));
                        *value = time;
                        prop_assert_eq!(gone, forgotten.first().copied());
                    }
                    Step::Pin(ports) => {
                        let now: Vec<_> = ports.into_iter().map(addr).collect();
                        table.pin(&now);
                        // What is released counts as touched.
                        for was in pinned.iter().filter(|was| !now.contains(was)) {
                            if let Some(at) = model.iter().position(|(known, _)| known == was) {
                                let row = model.remove(at);
                                model.push(row);
                            }
                        }
                        pinned = now;
                        let mut seen = HashSet::new();
                        pinned.retain(|addr| seen.insert(*addr));
                        trim(&mut model, &pinned, bound);
                    }
                    Step::RetainOdd => {
                        table.retain(|addr| addr.port() % 2 == 1);
                        model.retain(|(addr, _)| addr.port() % 2 == 1);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.len(), table.iter().count());
                let listed = model.iter().filter(|(addr, _)| !pinned.contains(addr)).count();
                prop_assert_eq!(table.listed, listed);
                for (addr, time) in &model {
                    prop_assert_eq!(table.value(addr), Some(time));
                }
            }
        }
    }
}
