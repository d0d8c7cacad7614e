//! Deadlines: one for each place of a slab, exact to the microsecond.
//!
//! A four-ary heap that knows where each of its entries stands, so a deadline can be moved or taken back in
//! O(log n), and the usual case (a deadline later than all others, as equal time-outs give) in O(1). No
//! ticks and no cascades: a thread that sleeps until [`Timers::next`] never wakes for nothing.

use std::time::{Duration, Instant};

/// A heap of deadlines by slab index.
#[derive(Debug)]
pub struct Timers {
    epoch: Instant,
    heap: Vec<Entry>,
    /// Where the entry of an index stands in the heap, or `NOWHERE`.
    places: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    micros: u64,
    index: u32,
}

const NOWHERE: u32 = u32::MAX;
const ARITY: usize = 4;

impl Timers {
    /// No deadlines; none may lie before `epoch`.
    #[must_use]
    pub fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            heap: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Sets or moves the deadline of an index.
    pub fn set(&mut self, index: u32, deadline: Instant) {
        let since = deadline.saturating_duration_since(self.epoch);
        // Rounded up, so that a deadline that popped has really passed.
        let micros = u64::try_from(since.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let slot = index as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NOWHERE);
        }
        let entry = Entry { micros, index };
        let place = self.place(index);
        if let Some(old) = self.heap.get_mut(place) {
            let sooner = micros < old.micros;
            *old = entry;
            if sooner {
                self.rise(place);
            } else {
                self.sink(place);
            }
        } else {
            let place = self.heap.len();
            self.heap.push(entry);
            self.put(place, entry);
            self.rise(place);
        }
    }

    /// Sets the deadline of an index, unless it has an earlier one.
    pub fn bring_forward(&mut self, index: u32, deadline: Instant) {
        let present = self.heap.get(self.place(index));
        let is_earlier =
            present.is_none_or(|entry| deadline < self.epoch + Duration::from_micros(entry.micros));
        if is_earlier {
            self.set(index, deadline);
        }
    }

    /// Takes back the deadline of an index, if it has one.
    pub fn clear(&mut self, index: u32) {
        let place = self.place(index);
        if place >= self.heap.len() {
            return;
        }
        self.heap.swap_remove(place);
        if let Some(slot) = self.places.get_mut(index as usize) {
            *slot = NOWHERE;
        }
        if let Some(moved) = self.heap.get(place).copied() {
            self.put(place, moved);
            self.sink(place);
            self.rise(self.place(moved.index));
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap
            .first()
            .map(|entry| self.epoch + Duration::from_micros(entry.micros))
    }

    /// Takes out one index whose deadline is not after `now`, the earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let first = *self.heap.first()?;
        if self.epoch + Duration::from_micros(first.micros) > now {
            return None;
        }
        self.clear(first.index);
        Some(first.index)
    }

    /// Deadlines that are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    fn place(&self, index: u32) -> usize {
        self.places
            .get(index as usize)
            .map_or(NOWHERE as usize, |place| *place as usize)
    }

    fn put(&mut self, place: usize, entry: Entry) {
        if let Some(slot) = self.heap.get_mut(place) {
            *slot = entry;
        }
        if let Some(slot) = self.places.get_mut(entry.index as usize) {
            // The heap is never longer than the slab, whose indices are 32 bits.
            *slot = u32::try_from(place).unwrap_or(NOWHERE);
        }
    }

    fn rise(&mut self, mut place: usize) {
        let Some(entry) = self.heap.get(place).copied() else {
            return;
        };
        while place > 0 {
            let above = (place - 1) / ARITY;
            match self.heap.get(above).copied() {
                Some(parent) if entry.micros < parent.micros => self.put(place, parent),
                Some(_) | None => break,
            }
            place = above;
        }
        self.put(place, entry);
    }

    fn sink(&mut self, mut place: usize) {
        let Some(entry) = self.heap.get(place).copied() else {
            return;
        };
        loop {
            let first = place * ARITY + 1;
            let children = self
                .heap
                .get(first..self.heap.len().min(first + ARITY))
                .unwrap_or_default();
            let Some((offset, least)) = children
                .iter()
                .copied()
                .enumerate()
                .min_by_key(|(_, child)| child.micros)
            else {
                break;
            };
            if entry.micros <= least.micros {
                break;
            }
            self.put(place, least);
            place = first + offset;
        }
        self.put(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(operations in prop::collection::vec((0..3_u8, 0..40_u32, 0..1000_u64), 0..500)) {
            let epoch = clock::now();
            let at = |millis| epoch + Duration::from_millis(millis);
            let mut timers = Timers::new(epoch);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for (operation, index, millis) in operations {
                match operation {
                    0 => {
                        timers.set(index, at(millis));
                        model.insert(index, millis);
                    }
                    1 => {
                        timers.clear(index);
                        model.remove(&index);
                    }
                    _ => {
                        while let Some(popped) = timers.pop_due(at(millis)) {
                            let deadline = model.remove(&popped).expect("a deadline that was set");
                            prop_assert!(deadline <= millis);
                            prop_assert!(model.values().all(|other| *other >= deadline), "earliest first");
                        }
                        prop_assert!(model.values().all(|other| *other > millis), "none is left behind");
                    }
                }
                prop_assert_eq!(timers.len(), model.len());
                prop_assert_eq!(timers.next(), model.values().min().map(|millis| at(*millis)));
            }
        }
    }
}
