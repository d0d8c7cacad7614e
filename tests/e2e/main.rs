//! The program end to end, over real sockets on loopback; every port is chosen by the system.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline"
)]

mod relay;
mod rig;
