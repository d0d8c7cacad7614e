//! When evaluations are due: at multiples of the interval since the process started. Pure.
//!
//! So all services with the same interval are due together, and the thread wakes once for them.

use std::time::{Duration, Instant};

/// The first multiple of `interval` after `origin` that lies behind `now`.
pub(super) fn next(origin: Instant, interval: Duration, now: Instant) -> Instant {
    debug_assert!(!interval.is_zero(), "an interval is checked to have a length");
    let since = now.saturating_duration_since(origin).as_nanos();
    let past = since % interval.as_nanos().max(1);
    // An interval has fewer nanoseconds than 64 bits can count.
    let past = Duration::from_nanos(u64::try_from(past).unwrap_or(u64::MAX));
    let next = now.max(origin) + interval.saturating_sub(past);
    debug_assert!(next > now, "it lies behind now");
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn it_is_the_same_for_whoever_asks_within_an_interval() {
        let origin = clock::now();
        let interval = Duration::from_secs(30);
        let at = |seconds| origin + Duration::from_secs_f64(seconds);
        for (now, next_at) in [
            (0.0, 30.0),
            (0.1, 30.0),
            (29.9, 30.0),
            (30.0, 60.0),
            (94.5, 120.0),
        ] {
            assert_eq!(next(origin, interval, at(now)), at(next_at), "at {now}");
        }
        let day = 86_400.0 * 400.0;
        assert_eq!(next(origin, interval, at(day + 1.0)), at(day + 30.0));
    }

    #[test]
    fn before_the_origin_it_is_the_first_multiple() {
        let now = clock::now();
        let origin = now + Duration::from_secs(5);
        let interval = Duration::from_secs(2);
        assert_eq!(next(origin, interval, now), origin + interval);
    }
}
