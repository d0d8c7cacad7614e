//! A bounded table by address that forgets what was not touched for longest.
//!
//! Owns the storage of the score board, not its meaning. Everything is O(1): a chained hash index over a
//! slab of entries, which are also links of a list from newest to oldest. Pinned entries are not in that
//! list, so they cannot be forgotten.
//!
//! Invariants: every slot of the slab holds an entry; every entry is in exactly one hash chain; the list
//! holds exactly the entries that are not pinned; at most `bound` entries, or one more than were pinned at once.
//! Memory follows what was touched, not the bound.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

/// The end of a chain or list.
const NONE: u32 = u32::MAX;
const FIRST_BUCKETS: usize = 16;

/// A bounded, least-recently-touched table.
#[derive(Debug)]
pub(super) struct Table<T> {
    bound: usize,
    entries: Vec<Entry<T>>,
    /// Heads of the hash chains; a power of two, at least as many as there are entries.
    buckets: Vec<u32>,
    hashing: RandomState,
    newest: u32,
    oldest: u32,
    pinned: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Entry<T> {
    addr: SocketAddr,
    value: T,
    newer: u32,
    older: u32,
    /// The next entry of the same hash bucket.
    chained: u32,
    pinned: bool,
}

impl<T: Default> Table<T> {
    /// An empty table that holds at most so many entries (at least 1) besides pinned ones that need more.
    #[must_use]
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound: bound.max(1),
            entries: Vec::new(),
            buckets: Vec::new(),
            hashing: RandomState::new(),
            newest: NONE,
            oldest: NONE,
            pinned: Vec::new(),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The value of an address.
    #[must_use]
    pub(super) fn value(&self, addr: &SocketAddr) -> Option<&T> {
        self.find(addr).map(|slot| &self.entries[slot].value)
    }

    /// Every entry, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SocketAddr, &T)> {
        self.entries.iter().map(|entry| (entry.addr, &entry.value))
    }

    /// The value of an address, now the newest; made if there is none, in the place of the oldest if full.
    pub(super) fn touch(&mut self, addr: SocketAddr) -> &mut T {
        let slot = match self.find(&addr) {
            Some(slot) => {
                self.unlist(slot);
                slot
            }
            None => self.insert(addr),
        };
        self.enlist(slot);
        &mut self.entries[slot].value
    }

    /// Pins these addresses, present or still to come, and no others.
    pub(super) fn pin(&mut self, addrs: &[SocketAddr]) {
        let released = std::mem::replace(&mut self.pinned, addrs.to_vec());
        for addr in released.iter().filter(|addr| !addrs.contains(addr)) {
            if let Some(slot) = self.find(addr) {
                // A list that names an address twice must not enlist it twice.
                if std::mem::take(&mut self.entries[slot].pinned) {
                    self.enlist(slot);
                }
            }
        }
        for addr in addrs {
            if let Some(slot) = self.find(addr) {
                self.unlist(slot);
                self.entries[slot].pinned = true;
            }
        }
    }

    /// Forgets every entry, pinned or not, whose address does not pass.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&SocketAddr) -> bool) {
        // Rare (a new candidate list), so simply built anew, oldest first.
        let mut order = Vec::with_capacity(self.entries.len());
        let mut slot = self.oldest;
        while slot != NONE {
            order.push(slot);
            slot = self.entries[at(slot)].newer;
        }
        order.extend((0..self.next_slot()).filter(|slot| self.entries[at(*slot)].pinned));
        let mut values: Vec<_> = self
            .entries
            .drain(..)
            .map(|entry| Some((entry.addr, entry.value)))
            .collect();
        self.buckets.clear();
        (self.newest, self.oldest) = (NONE, NONE);
        for slot in order {
            if let Some((addr, value)) = values[at(slot)].take()
                && keep(&addr)
            {
                let slot = self.push(addr, value);
                self.enlist(slot);
            }
        }
        self.entries.shrink_to_fit();
    }

    fn next_slot(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(NONE)
    }

    fn find(&self, addr: &SocketAddr) -> Option<usize> {
        let mut slot = *self.buckets.get(self.bucket(addr))?;
        while slot != NONE {
            let entry = &self.entries[at(slot)];
            if entry.addr == *addr {
                return Some(at(slot));
            }
            slot = entry.chained;
        }
        None
    }

    /// A slot for an address that is not in the table; in a chain, not in the list.
    fn insert(&mut self, addr: SocketAddr) -> usize {
        if self.entries.len() < self.bound || self.oldest == NONE {
            return self.push(addr, T::default());
        }
        let slot = at(self.oldest);
        self.unlist(slot);
        self.unchain(slot);
        self.entries[slot] = self.entry(addr, T::default());
        self.chain(slot);
        slot
    }

    fn push(&mut self, addr: SocketAddr, value: T) -> usize {
        let slot = self.entries.len();
        self.entries.push(self.entry(addr, value));
        if self.entries.len() > self.buckets.len() {
            self.rehash();
        } else {
            self.chain(slot);
        }
        slot
    }

    fn entry(&self, addr: SocketAddr, value: T) -> Entry<T> {
        Entry {
            addr,
            value,
            newer: NONE,
            older: NONE,
            chained: NONE,
            pinned: self.pinned.contains(&addr),
        }
    }

    fn bucket(&self, addr: &SocketAddr) -> usize {
        let hash = self.hashing.hash_one(addr);
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
        let bucket = self.bucket(&self.entries[slot].addr);
        self.entries[slot].chained = self.buckets[bucket];
        self.buckets[bucket] = link(slot);
    }

    fn unchain(&mut self, slot: usize) {
        let bucket = self.bucket(&self.entries[slot].addr);
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
        let second = std::mem::replace(&mut self.newest, link(slot));
        self.entries[slot].newer = NONE;
        self.entries[slot].older = second;
        match second {
            NONE => self.oldest = link(slot),
            second => self.entries[at(second)].newer = link(slot),
        }
    }

    fn unlist(&mut self, slot: usize) {
        let Entry {
            newer, older, pinned, ..
        } = self.entries[slot];
        if pinned {
            return;
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[at(newer)].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[at(older)].newer = newer,
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

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], n))
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut table = Table::<u32>::new(3);
        for n in 1..=3 {
            *table.touch(addr(n)) = u32::from(n);
        }
        table.touch(addr(1));
        table.touch(addr(4));
        assert_eq!(table.len(), 3);
        assert_eq!(table.value(&addr(2)), None);
        assert_eq!(table.value(&addr(1)), Some(&1));
        assert_eq!(table.value(&addr(4)), Some(&0), "a newcomer inherits nothing");
    }

    #[test]
    fn pinned_ones_never_leave_even_when_they_outnumber_the_bound() {
        let mut table = Table::<u32>::new(2);
        let pinned: Vec<_> = (1..=4).map(addr).collect();
        table.pin(&pinned);
        for n in (1..=4).chain(100..200) {
            table.touch(addr(n));
        }
        assert!(pinned.iter().all(|addr| table.value(addr).is_some()));
        assert_eq!(table.len(), 5, "four pinned ones and the newest other");
        table.pin(&[]);
        table.touch(addr(9));
        assert!(table.value(&addr(9)).is_some());
        assert_eq!(table.len(), 5);
    }

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry<[u64; 8]>>() <= 112);
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

    proptest! {
        /// Against a model: pairs in the order of touching, pinned ones skipped when one has to go.
        #[test]
        fn it_remembers_like_a_model(bound in 1_usize..40, steps in steps()) {
            let mut table = Table::<u64>::new(bound);
            let mut model: Vec<(SocketAddr, u64)> = Vec::new();
            let mut pinned: Vec<SocketAddr> = Vec::new();
            for (time, step) in (1_u64..).zip(steps) {
                match step {
                    Step::Touch(n) => {
                        let known = model.iter().position(|(known, _)| *known == addr(n));
                        let leaving = known.or_else(|| {
                            let full = model.len() >= bound;
                            full.then(|| model.iter().position(|(known, _)| !pinned.contains(known)))?
                        });
                        if let Some(leaving) = leaving {
                            model.remove(leaving);
                        }
                        model.push((addr(n), time));
                        *table.touch(addr(n)) = time;
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
                    }
                    Step::RetainOdd => {
                        table.retain(|addr| addr.port() % 2 == 1);
                        model.retain(|(addr, _)| addr.port() % 2 == 1);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.len(), table.iter().count());
                for (addr, time) in &model {
                    prop_assert_eq!(table.value(addr), Some(time));
                }
            }
        }
    }
}
