//! The only reader of the clock.
//!
//! Decisions take `now: Instant`; threads read it here once per turn. Clock jumps cannot hurt: everything
//! but log timestamps lives on the monotonic clock.

use std::time::{Instant, SystemTime};

/// The monotonic clock, now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, now; for what people read and for file ages only.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
