//! How many clients there are in all reactors, so that there is never one more than may be.
//!
//! A reactor counts a client before it accepts one: two that look first, and count after that, both let one in for the
//! last place.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Clients of all reactors, and those that are about to be accepted; on a cache line of its own, since all reactors change it.
#[derive(Debug, Default)]
#[repr(align(128))]
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
    use std::time::Duration;

    use super::*;
    use crate::base::clock;

    #[test]
    fn of_all_that_come_and_go_at_once_there_are_never_more_than_may_be() {
        let (clients, inside) = (Headcount::default(), AtomicUsize::new(0));
        let end = clock::now() + Duration::from_millis(200);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while clock::now() < end {
                        if clients.admit(1) {
                            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "one more was let in");
                            inside.fetch_sub(1, Ordering::Relaxed);
                            clients.leave();
                        }
                    }
                });
            }
        });
        assert_eq!(clients.count(), 0);
    }

    #[test]
    fn a_limit_that_falls_sends_nobody_away() {
        let clients = Headcount::default();
        assert_eq!((0..9).filter(|_| clients.admit(5)).count(), 5);
        assert!(!clients.admit(3), "who is there stays");
        (0..3).for_each(|_| clients.leave());
        assert!(clients.admit(3) && !clients.admit(3));
    }
}
