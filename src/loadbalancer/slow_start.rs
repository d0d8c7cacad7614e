//! How much a member counts that has just joined others. Pure.
//!
//! Its weight grows in a straight line, from next to nothing to its own in [`SLOW_START`], whatever the algorithm: it may have
//! to warm up, and where loads are compared it would get every new connection until it had caught up. The exception is
//! `source_hash`: there a member that comes back gets its own clients and nobody else's, so that nothing is gained by sending
//! some of them elsewhere first. Who came together starts together, since only the shares count; so does a set that is new.
//! `HAProxy` (`slowstart`), nginx (`slow_start`) and Envoy (slow start window) do it the same way.

use std::time::{Duration, Instant};

/// How long it takes until a member counts as what it weighs.
pub const SLOW_START: Duration = Duration::from_secs(10);

/// Who joined within this time of the first has joined with it.
const TOGETHER: Duration = Duration::from_secs(1);

/// What [`growth`] comes to.
pub const FULL: u64 = 1 << 10;

/// The share of its weight that a member of this age counts for, of [`FULL`]; never 0.
#[must_use]
pub fn growth(age: Duration) -> u64 {
    let grown = u128::from(FULL) * age.as_micros() / SLOW_START.as_micros();
    u64::try_from(grown).unwrap_or(FULL).clamp(1, FULL)
}

/// Until when members that joined at these times do not all count as what they weigh, if somebody joined others.
pub fn until(joined_at: impl Iterator<Item = Instant> + Clone) -> Option<Instant> {
    let (first, last) = (joined_at.clone().min()?, joined_at.max()?);
    (last > first + TOGETHER).then(|| last + SLOW_START)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn growth_is_a_straight_line() {
        let after = |millis| growth(Duration::from_millis(millis));
        assert_eq!(
            [0, 2_500, 5_000, 10_000, 99_999].map(after),
            [1, FULL / 4, FULL / 2, FULL, FULL]
        );
        assert_eq!(growth(Duration::MAX), FULL);
    }

    #[test]
    fn who_came_together_starts_together() {
        let start = clock::now();
        let of = |millis: &[u64]| {
            let joined = millis.iter().map(|at| start + Duration::from_millis(*at));
            until(joined).map(|until| until - start)
        };
        assert_eq!((of(&[]), of(&[7]), of(&[7, 900, 0])), (None, None, None));
        assert_eq!(of(&[0, 5_000]), Some(Duration::from_secs(15)));
    }
}
