//! Times that are whole numbers of an interval since a common origin.
//!
//! Whatever has the same interval is due at the same times, whenever it began, so a thread that serves many is woken no
//! more often than for one.

use std::time::{Duration, Instant};

/// The multiples of one interval since one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    origin: Instant,
    interval: Duration,
}

impl Grid {
    /// The multiples of `interval` (a nanosecond at least) since `origin`, which lies before all times to come.
    #[must_use]
    pub fn new(origin: Instant, interval: Duration) -> Self {
        Self {
            origin,
            interval: interval.max(Duration::from_nanos(1)),
        }
    }

    /// How far apart its times are.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How many whole intervals have passed by then.
    #[must_use]
    pub fn number(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.origin).as_nanos() / self.interval.as_nanos();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    /// When so many intervals will have passed.
    #[must_use]
    pub fn time(&self, number: u64) -> Instant {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(number));
        self.origin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The first of its times that is later than `now`.
    #[must_use]
    pub fn next(&self, now: Instant) -> Instant {
        let next = self.time(self.number(now) + 1);
        debug_assert!(next > now && next <= now.max(self.origin) + self.interval);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;

    #[test]
    fn what_begins_at_different_times_is_due_together() {
        let origin = clock::now();
        let grid = Grid::new(origin, Duration::from_secs(15));
        assert_eq!(grid.next(origin), origin + Duration::from_secs(15));
        for seconds in [15, 16, 29] {
            let now = origin + Duration::from_secs(seconds);
            assert_eq!(grid.number(now), 1);
            assert_eq!(grid.next(now), origin + Duration::from_secs(30));
        }
    }

    proptest! {
        #[test]
        fn every_time_lies_in_the_interval_of_its_number(nanos in 1_u64..20_000_000_000, after in 0_u64..u64::MAX / 4) {
            let origin = clock::now();
            let grid = Grid::new(origin, Duration::from_nanos(nanos));
            let now = origin + Duration::from_nanos(after);
            let number = grid.number(now);
            prop_assert!(grid.time(number) <= now);
            prop_assert_eq!(grid.next(now), grid.time(number + 1));
            prop_assert_eq!(grid.number(grid.next(now)), number + 1);
        }
    }
}
