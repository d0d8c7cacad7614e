//! What is due: while one round of it is worked off, the next one gathers.
//!
//! Knows nothing of what it holds. Two buffers take turns, so that a round allocates nothing once they have grown.

/// Things that are due, in their order.
#[derive(Debug)]
pub(super) struct Queue<T> {
    next: Vec<T>,
    spare: Vec<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            next: Vec::new(),
            spare: Vec::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Adds one to the next round.
    pub(super) fn push(&mut self, one: T) {
        self.next.push(one);
    }

    /// Whether nothing is due.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Takes out the round that has gathered, to be given back when it is worked off; none while nothing is due, which is
    /// so in nearly every turn.
    pub(super) fn take(&mut self) -> Option<Vec<T>> {
        debug_assert!(self.spare.is_empty(), "one round at a time");
        (!self.is_empty()).then(|| std::mem::replace(&mut self.next, std::mem::take(&mut self.spare)))
    }

    /// Takes back the buffer of a round.
    pub(super) fn give_back(&mut self, mut round: Vec<T>) {
        round.clear();
        self.spare = round;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_during_a_round_is_for_the_next() {
        let mut queue = Queue::default();
        queue.push(1);
        queue.push(2);
        let round = queue.take().expect("a round");
        assert!(queue.is_empty() && queue.take().is_none());
        queue.push(3);
        assert_eq!(round, [1, 2]);
        queue.give_back(round);
        assert_eq!(queue.take(), Some(vec![3]));
    }

    #[test]
    fn rounds_take_turns_with_two_buffers() {
        let mut bytes: Queue<u8> = Queue::default();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            bytes.push(7);
            let round = bytes.take().expect("a round");
            seen.insert(round.as_ptr());
            bytes.give_back(round);
        }
        assert_eq!(seen.len(), 2, "nothing is allocated any more");
    }
}
