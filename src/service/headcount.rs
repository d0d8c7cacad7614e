//! How many clients there are in all reactors, so that there is never one more than may be.
//!
//! A reactor counts a client before it accepts one: two that look first, and count after that, both let one in for the
//! last place.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Clients of all reactors, and those that are about to be accepted.
#[derive(Debug, Default)]
pub struct Headcount(AtomicUsize);

impl Headcount {
    /// Counts one more, unless there are `most`; whether it may come. Whoever does not come after that has [left](Self::leave).
    pub fn admit(&self, most: usize) -> bool {
        let one_more = |count: usize| (count < most).then(|| count + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// One that was counted is there no more.
    pub fn leave(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "who leaves was counted");
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_that_come_at_once_no_more_are_admitted_than_may_be() {
        let (clients, admitted) = (Headcount::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let count = (0..1_000).filter(|_| clients.admit(100)).count();
                    admitted.fetch_add(count, Ordering::Relaxed);
                });
            }
        });
        assert_eq!((admitted.into_inner(), clients.count()), (100, 100));
        clients.leave();
        assert!(clients.admit(100) && !clients.admit(100));
        assert!(!clients.admit(50), "who is there stays");
    }
}
