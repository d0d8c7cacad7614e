//! What the log hears of a condition that comes and goes. Pure.
//!
//! Invariants: an end is told if its beginning was; one that comes and goes in quick turns is told of once.

use std::time::{Duration, Instant};

/// Least time between two beginnings that are told.
pub const QUIET: Duration = Duration::from_secs(10);

/// What the log said last of one condition.
#[derive(Debug, Default)]
pub struct Told {
    /// A beginning whose end was not told yet.
    is_on: bool,
    /// When a beginning was told last.
    at: Option<Instant>,
}

impl Told {
    /// Whether the log is to be told now whether the condition holds; then it counts as told.
    pub fn is_due(&mut self, is_on: bool, now: Instant) -> bool {
        if is_on == self.is_on {
            return false;
        }
        if is_on {
            let since = self.at.map(|at| now.saturating_duration_since(at));
            if since.is_some_and(|since| since < QUIET) {
                return false;
            }
            self.at = Some(now);
        }
        self.is_on = is_on;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn an_end_is_told_at_once_if_its_beginning_was() {
        let start = clock::now();
        let mut told = Told::default();
        assert!(!told.is_due(false, start), "it begins without");
        assert!(told.is_due(true, start));
        assert!(!told.is_due(true, start));
        assert!(told.is_due(false, start));
        assert!(!told.is_due(false, start));
        assert!(!told.is_due(true, start + QUIET / 2));
        assert!(!told.is_due(false, start + QUIET / 2), "its beginning was not");
    }

    #[test]
    fn what_comes_and_goes_is_told_of_once_until_it_stays() {
        let start = clock::now();
        let mut told = Told::default();
        let at = |i: u32| start + QUIET / 100 * i;
        let lines = (0..100).filter(|i| told.is_due(i % 2 == 0, at(*i))).count();
        assert_eq!(lines, 2, "one beginning, one end");
        assert!(
            told.is_due(true, start + QUIET),
            "it stays, and is asked about again"
        );
    }
}
