//! Faults of peers, injected around the real program; what is promised is held to afterwards.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline"
)]

mod backends;
mod kernel_calls;
mod kernel_descriptors;
#[expect(
    clippy::allow_attributes,
    reason = "what is dead differs between test binaries"
)]
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/peers/mod.rs"]
mod peers;
mod process_log;
mod process_panic;
mod process_stop;
#[expect(
    clippy::allow_attributes,
    reason = "what is dead differs between test binaries"
)]
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/mod.rs"]
mod support;

/// `few`, or `many` in a long run (environment variable `TCP_FORWARDER_LONG`).
pub fn scaled(few: usize, many: usize) -> usize {
    if std::env::var_os("TCP_FORWARDER_LONG").is_some() {
        many
    } else {
        few
    }
}
