//! The configuration of a running process is changed, rightly and wrongly, while clients are served.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

mod broken;
mod figures;
mod load;
mod office;
#[path = "../support/peers/mod.rs"]
mod peers;
mod stays;
#[path = "../support/mod.rs"]
mod support;
