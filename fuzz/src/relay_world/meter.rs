//! Whether a limit of bandwidth was kept, over any time: a bucket that may never run over.

use std::time::Duration;

/// A bucket that what is moved runs into, and that empties at the rate.
#[derive(Debug)]
pub(super) struct Meter {
    bytes_per_second: u64,
    /// What may be on top of the rate.
    slack: u64,
    /// Bytes in the bucket, times a million, when it was last looked at.
    level: u128,
    at: Duration,
}

impl Meter {
    /// A meter of a limit for so many halves, each of which may go beyond it by what one turn moves and what it
    /// holds.
    pub(super) fn of(bytes_per_second: u64, halves: u64, held: u64) -> Self {
        let in_millis = |millis: u64| bytes_per_second * millis / 1000;
        let quantum = in_millis(5).clamp(1024, 256 * 1024);
        Self {
            bytes_per_second,
            slack: in_millis(100).max(quantum) + halves * (2 * quantum + held),
            level: 0,
            at: Duration::ZERO,
        }
    }

    /// Takes what was moved.
    pub(super) fn take(&mut self, bytes: u64, now: Duration) {
        let drained = now.saturating_sub(self.at).as_micros() * u128::from(self.bytes_per_second);
        self.level = self.level.saturating_sub(drained) + u128::from(bytes) * 1_000_000;
        self.at = now;
        assert!(
            self.level <= u128::from(self.slack) * 1_000_000,
            "{} bytes above a limit of {} a second, where {} may be",
            self.level / 1_000_000,
            self.bytes_per_second,
            self.slack
        );
    }
}
