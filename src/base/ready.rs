//! A ready list: at which of many things one thread is to look.
//!
//! What the kernel's poll does for sockets, for values: whoever changes one of many things marks it and rings the one thread
//! that follows all of them, which then looks at what is marked and at nothing else. So a ring costs what has changed, however
//! many things there are. It holds names and no values, and knows nothing of what they name.
//!
//! Invariants: a thing stands in the list at most once, so the list is never longer than there are things; what is marked after
//! the thread has taken the list stands in the next one, so no change is ever missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::doorbell::{Doorbell, Ring};

/// The marked things of one thread, in the order in which they were marked.
#[derive(Debug)]
pub struct ReadyList<K> {
    marked: Mutex<Vec<(K, Arc<AtomicBool>)>>,
    bell: Arc<Doorbell>,
}

impl<K: Copy> ReadyList<K> {
    /// Nothing is marked; the thread sleeps at `bell`.
    #[must_use]
    pub fn of(bell: Arc<Doorbell>) -> Self {
        Self {
            marked: Mutex::default(),
            bell,
        }
    }

    /// How the thread hears of one thing. Two marks of one thing are two things.
    #[must_use]
    pub fn mark(self: &Arc<Self>, key: K) -> Mark<K> {
        Mark {
            key,
            is_marked: Arc::default(),
            list: Arc::clone(self),
        }
    }

    /// Takes what is marked into `keys` (emptied first). For the thread alone, which looks at the things after that.
    pub fn take(&self, keys: &mut Vec<K>) {
        keys.clear();
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        // Both read and write: what was changed before it was marked once more is seen from here on.
        keys.extend(marked.drain(..).map(|(key, is_marked)| {
            is_marked.swap(false, Ordering::AcqRel);
            key
        }));
    }
}

/// One of many things, for whoever changes it.
#[derive(Debug)]
pub struct Mark<K> {
    key: K,
    is_marked: Arc<AtomicBool>,
    list: Arc<ReadyList<K>>,
}

impl<K: Copy> Mark<K> {
    /// Has the thread look at it when it is awake the next time, and leaves it asleep.
    pub fn set(&self) {
        // It is marked under the lock only: whoever finds it marked and rings has the thread wait there for whoever is about to
        // put it into the list. A look that writes, so that the thread sees what was changed before.
        let look = self
            .is_marked
            .compare_exchange(true, true, Ordering::AcqRel, Ordering::Acquire);
        if look.is_ok() {
            return;
        }
        let mut marked = self.list.marked.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_marked.swap(true, Ordering::AcqRel) {
            marked.push((self.key, Arc::clone(&self.is_marked)));
        }
    }
}

impl<K: Copy + Send + Sync + std::fmt::Debug> Ring for Mark<K> {
    /// Has the thread look at it, at once.
    fn ring(&self) {
        self.set();
        self.list.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn what_is_marked_is_taken_once_and_what_is_not_is_not() {
        let bell = Arc::new(Doorbell::default());
        let list = Arc::new(ReadyList::of(Arc::clone(&bell)));
        let marks: Vec<Mark<u32>> = (0..9).map(|key| list.mark(key)).collect();
        marks[3].ring();
        assert!(bell.answer());
        marks[7].set();
        marks[3].set();
        assert!(!bell.answer(), "who only sets a mark wakes nobody");
        let mut keys = vec![5; 9];
        list.take(&mut keys);
        assert_eq!(keys, [3, 7]);
        list.take(&mut keys);
        assert!(keys.is_empty());
        marks[3].ring();
        assert!(bell.answer());
        list.take(&mut keys);
        assert_eq!(keys, [3]);
    }

    #[test]
    fn no_change_is_missed_however_threads_meet() {
        const CHANGES: u64 = 20_000;
        const THINGS: usize = 3;
        let list = Arc::new(ReadyList::of(Arc::default()));
        let things: Vec<(Mark<usize>, AtomicU64)> = (0..THINGS)
            .map(|key| (list.mark(key), AtomicU64::new(0)))
            .collect();
        let bell = Arc::clone(&list.bell);
        let mut seen = [0; THINGS];
        let mut longest = 0;
        std::thread::scope(|scope| {
            for (mark, value) in &things {
                scope.spawn(|| {
                    for change in 1..=CHANGES {
                        value.store(change, Ordering::Relaxed);
                        mark.ring();
                    }
                });
            }
            let mut keys = Vec::new();
            while seen != [CHANGES; THINGS] {
                assert!(
                    bell.wait(Some(
                        super::super::clock::now() + std::time::Duration::from_secs(60)
                    )),
                    "the last change of each is heard of: {seen:?}"
                );
                list.take(&mut keys);
                longest = longest.max(keys.len());
                for key in &keys {
                    seen[*key] = things[*key].1.load(Ordering::Relaxed);
                }
            }
        });
        assert!(longest <= THINGS, "each stands there once");
    }
}
