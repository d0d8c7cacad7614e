//! A slab whose keys are generational.
//!
//! A key of something that was removed never finds what took its place, so a late event or timer for it falls on
//! nothing.

/// Bits of a word for the index; the rest, less one for what else is to be told, holds the generation.
pub const INDEX_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };

/// The most entries of a slab. The highest indices are left free, for words that are to name something else.
pub const MAX_SLOTS: usize = 1 << (if usize::BITS >= 64 { 31 } else { INDEX_BITS - 1 });

const GENERATION_BITS: u32 = usize::BITS - INDEX_BITS - 1;
/// The highest generation.
pub const GENERATION_MASK: u32 = u32::MAX >> (32 - GENERATION_BITS);

/// Names one entry for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The place of the entry; another entry may take it later.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// Which of those that had its place it is.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// The key with this index and generation, if there is or was one.
    #[must_use]
    pub fn of(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }
}

#[derive(Debug)]
enum Slot<T> {
    Free { next: u32 },
    Taken(T),
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    slot: Slot<T>,
}

/// A slab of entries.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

/// End of the list of free slots.
const NIL: u32 = u32::MAX;

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: NIL,
            len: 0,
        }
    }
}

impl<T> Slots<T> {
    /// Entries now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places that entries have or had: every index is below.
    #[must_use]
    pub fn places(&self) -> u32 {
        // There are at most as many as an index can tell apart.
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Adds an entry; gives it back when [`MAX_SLOTS`] are taken.
    ///
    /// # Errors
    /// The entry itself, when there is no room.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if let Some(entry) = self.entries.get_mut(self.free as usize)
            && let Slot::Free { next } = entry.slot
        {
            let index = self.free;
            self.free = next;
            entry.slot = Slot::Taken(value);
            self.len += 1;
            return Ok(Key {
                index,
                generation: entry.generation,
            });
        }
        match u32::try_from(self.entries.len()) {
            Ok(index) if self.entries.len() < MAX_SLOTS => {
                self.entries.push(Entry {
                    generation: 0,
                    slot: Slot::Taken(value),
                });
                self.len += 1;
                Ok(Key { index, generation: 0 })
            }
            Ok(_) | Err(_) => Err(value),
        }
    }

    /// The entry of a key, if it still lives.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        match &entry.slot {
            Slot::Taken(value) if entry.generation == key.generation => Some(value),
            Slot::Taken(_) | Slot::Free { .. } => None,
        }
    }

    /// The entry of a key, if it still lives.
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        match &mut entry.slot {
            Slot::Taken(value) if entry.generation == key.generation => Some(value),
            Slot::Taken(_) | Slot::Free { .. } => None,
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let entry = self.entries.get_mut(key.index as usize)?;
        entry.generation = entry.generation.wrapping_add(1) & GENERATION_MASK;
        let slot = std::mem::replace(&mut entry.slot, Slot::Free { next: self.free });
        self.free = key.index;
        self.len -= 1;
        match slot {
            Slot::Taken(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    /// The key of whatever is at an index now.
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let entry = self.entries.get(index as usize)?;
        match entry.slot {
            Slot::Taken(_) => Some(Key {
                index,
                generation: entry.generation,
            }),
            Slot::Free { .. } => None,
        }
    }

    /// The keys of all entries, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        (0..)
            .zip(&self.entries)
            .filter_map(|(index, entry)| match entry.slot {
                Slot::Taken(_) => Some(Key {
                    index,
                    generation: entry.generation,
                }),
                Slot::Free { .. } => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_removed_key_never_finds_its_successor() {
        let mut slots = Slots::default();
        let first = slots.insert('a').expect("room");
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b').expect("room");
        assert_eq!(first.index(), second.index(), "the place is used again");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(operations in prop::collection::vec((any::<bool>(), any::<u16>()), 0..400)) {
            let mut slots = Slots::default();
            let mut model: HashMap<Key, u16> = HashMap::new();
            let mut dead = Vec::new();
            for (insert, value) in operations {
                if insert || model.is_empty() {
                    let key = slots.insert(value).expect("room");
                    prop_assert!(model.insert(key, value).is_none(), "a live key was given out twice");
                } else {
                    let key = *model.keys().nth(usize::from(value) % model.len()).expect("not empty");
                    prop_assert_eq!(slots.remove(key), model.remove(&key));
                    dead.push(key);
                }
                prop_assert_eq!(slots.len(), model.len());
                prop_assert!(model.iter().all(|(key, value)| slots.get(*key) == Some(value)));
                prop_assert!(dead.iter().all(|key| slots.get(*key).is_none()));
            }
            prop_assert_eq!(slots.keys().count(), model.len());
        }
    }
}
