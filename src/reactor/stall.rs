//! Turns of the loop that took long, and what they do to its stamps.
//!
//! A turn reads the clock once, when it begins. A process that is stopped in the middle of a turn, or a machine
//! that is put to sleep, goes on with that turn later: what it then reads, begins and writes is stamped far too
//! early, and every time-out that counts from such a stamp would come too soon. Pure; it is told the time.

use std::time::{Duration, Instant};

/// The last turn that took long.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Stall {
    turn: Option<(Instant, Instant)>,
}

impl Stall {
    /// A shorter turn makes no time-out come too soon by what anybody would notice.
    const SHORTEST: Duration = Duration::from_millis(50);

    /// Takes note of a turn.
    pub(super) fn note(&mut self, began: Instant, ended: Instant) {
        if ended.saturating_duration_since(began) >= Self::SHORTEST {
            self.turn = Some((began, ended));
        }
    }

    /// The latest time at which that may have been which is stamped with `at`.
    pub(super) fn latest(&self, at: Instant) -> Instant {
        match self.turn {
            Some((began, ended)) if began == at => ended,
            Some(_) | None => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_in_a_long_turn_was_done_at_its_end_at_the_latest() {
        let start = crate::clock::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut stall = Stall::default();
        assert_eq!(stall.latest(start), start);
        stall.note(start, after(49));
        assert_eq!(stall.latest(start), start, "a turn like any other");
        stall.note(after(60), after(2060));
        assert_eq!(stall.latest(after(60)), after(2060));
        assert_eq!(stall.latest(after(59)), after(59), "of the turn before");
        stall.note(after(2060), after(2061));
        assert_eq!(stall.latest(after(60)), after(2060), "it is not forgotten");
    }
}
