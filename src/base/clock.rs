//! The only reader of the clock.
//!
//! Decisions take `now: Instant`; threads read it here once per turn. Clock jumps cannot hurt: everything
//! but log timestamps lives on the monotonic clock.

#[cfg(unix)]
use std::time::Duration;
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

/// The monotonic clock as a service manager reads it (`CLOCK_MONOTONIC`), now.
#[cfg(unix)]
#[must_use]
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // It counts from the start of the machine, so it is never before that.
    Duration::try_from(now).unwrap_or_default()
}
