//! Backends are judged by what clients get: those that accept and do not serve, and those that warm connections harm.
//!
//! The built program with its own settings, over servers of the test that misbehave in the ways of real ones.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline, and metrics count in whole numbers"
)]

mod bulk;
mod checks;
#[cfg(target_os = "linux")]
mod logins;
#[cfg(target_os = "linux")]
#[path = "../faults/namespace.rs"]
mod namespace;
mod passive;
#[path = "../support/server.rs"]
mod programs;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod warm;
