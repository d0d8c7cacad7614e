//! What is logged once a burst, over all reactors.
//!
//! Knows when something last happened, not what it was.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Times further apart than this belong to different bursts.
const GAP: Duration = Duration::from_secs(10);

/// The time at which something last happened to any reactor; nobody waits for anybody but by the first time.
#[derive(Debug, Default)]
pub struct Burst {
    /// What times are counted from: when it first happened.
    origin: OnceLock<Instant>,
    /// Milliseconds since the origin, plus one; 0 is never.
    last: AtomicU64,
}

impl Burst {
    /// Notes that it happens now; whether that begins a burst, of which one caller alone is told.
    pub fn begins(&self, now: Instant) -> bool {
        let since = now
            .saturating_duration_since(*self.origin.get_or_init(|| now))
            .as_millis();
        let at = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1);
        let last = self.last.fetch_max(at, Ordering::Relaxed);
        last == 0 || Duration::from_millis(at.saturating_sub(last)) > GAP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_burst_begins_once_however_many_are_in_it() {
        let origin = clock::now();
        let burst = Burst::default();
        let begun = (0..1_000_u64)
            .filter(|i| burst.begins(origin + Duration::from_millis(i / 4)))
            .count();
        assert_eq!(begun, 1);
        let later = origin + 2 * GAP;
        assert!(burst.begins(later));
        assert!(!burst.begins(later), "another reactor, the same moment");
        assert!(
            !burst.begins(origin + GAP),
            "a reactor whose clock reading is older"
        );
        assert!(!burst.begins(later + GAP), "the gap is no longer than that");
    }
}
