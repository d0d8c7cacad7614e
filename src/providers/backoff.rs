//! How long whoever has failed is left alone. Pure.

use std::time::Duration;

/// The pause after a failure that so many others in a row were before: the first, doubled for each of those (for the first ten of
/// them), at most the longest, times 0.75 to 1.25 as `jitter` from 0 to 1 says.
pub(super) fn pause_after(before: u32, (first, longest): (Duration, Duration), jitter: f64) -> Duration {
    let doubled = first * 2_u32.saturating_pow(before.min(10));
    doubled.min(longest).mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0)
}
