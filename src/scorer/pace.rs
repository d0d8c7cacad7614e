//! How long the scorer lets reports gather. Pure.
//!
//! While reports keep coming they are taken in batches [`PACE`] apart; [`URGENT_PACE`] once a client waits for what
//! comes of one. After a rest, the first report is taken at once.

use std::time::{Duration, Instant};

/// Least time between two batches.
pub const PACE: Duration = Duration::from_millis(100);
/// The same once something urgent waits.
pub const URGENT_PACE: Duration = Duration::from_millis(10);

/// What waits to be taken; more urgent is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Waiting {
    /// Nothing.
    #[default]
    Nothing,
    /// Reports that nobody waits for.
    Patient,
    /// Among others a report that clients wait for: a dial failed, or a first set can be chosen.
    Urgent,
}

/// When batches are taken.
#[derive(Debug, Default)]
pub struct Pace {
    taken_at: Option<Instant>,
}

impl Pace {
    /// When what waits is to be taken; none if nothing does.
    #[must_use]
    pub fn due(&self, waiting: Waiting, now: Instant) -> Option<Instant> {
        let pace = match waiting {
            Waiting::Nothing => return None,
            Waiting::Patient => PACE,
            Waiting::Urgent => URGENT_PACE,
        };
        Some(self.taken_at.map_or(now, |at| at + pace))
    }

    /// A batch is taken now.
    pub fn taken(&mut self, now: Instant) {
        debug_assert!(self.taken_at.is_none_or(|at| at <= now), "time does not run back");
        self.taken_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn batches_keep_their_pace_unless_somebody_waits() {
        let start = clock::now();
        let mut pace = Pace::default();
        assert_eq!(pace.due(Waiting::Nothing, start), None);
        assert_eq!(pace.due(Waiting::Patient, start), Some(start));
        pace.taken(start);
        assert_eq!(pace.due(Waiting::Nothing, start), None);
        assert_eq!(pace.due(Waiting::Patient, start), Some(start + PACE));
        assert_eq!(pace.due(Waiting::Urgent, start), Some(start + URGENT_PACE));
        let later = start + 9 * PACE;
        let due = pace.due(Waiting::Patient, later).expect("something waits");
        assert!(due <= later, "after a rest, at once");
    }
}
