//! When the next probe may begin: never more than so many a second, and never in bursts. Pure.

use std::time::{Duration, Instant};

/// What could not begin within this is not made up for.
const MOST_LATE: Duration = Duration::from_millis(20);

/// A pace of probes.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    /// So many a second (at least 1), from now on.
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self {
            gap: Duration::from_secs(1) / rate.max(1),
            next: now,
        }
    }

    /// So many a second (at least 1) from the next one on.
    pub(super) fn set_rate(&mut self, rate: u32) {
        self.gap = Duration::from_secs(1) / rate.max(1);
    }

    /// When the next may begin.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// One begins.
    pub(super) fn step(&mut self, now: Instant) {
        let earliest = now.checked_sub(MOST_LATE).unwrap_or(now);
        self.next = self.next.max(earliest) + self.gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_never_exceeded() {
        let start = crate::base::clock::now();
        for rate in [1, 7, 1_000, 100_000] {
            let mut pace = Pace::new(rate, start);
            let mut rng = fastrand::Rng::with_seed(rate.into());
            let (mut now, mut begun) = (start, 0_u32);
            let until = start + Duration::from_secs(2);
            while now < until {
                while pace.next() <= now {
                    pace.step(now);
                    begun += 1;
                    let most = f64::from(rate) * (now - start).as_secs_f64() + 2.0;
                    assert!(f64::from(begun) <= most, "{begun} of {most}");
                }
                now += Duration::from_micros(rng.u64(1..2_000));
            }
            assert!(begun >= rate * 19 / 10, "{begun} at {rate} a second");
            // A pause of the machine is not made up for.
            let before = begun;
            now += Duration::from_secs(5);
            while pace.next() <= now {
                pace.step(now);
                begun += 1;
            }
            assert!(begun - before <= rate / 50 + 2, "{}", begun - before);
        }
    }
}
