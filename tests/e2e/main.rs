//! The program end to end, over real sockets on loopback; every port is chosen by the system.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::float_cmp,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline, and metrics count in whole numbers"
)]

mod access_log;
mod admission;
mod adversary;
mod balance;
mod bandwidth;
mod bind;
mod ends;
#[cfg(target_os = "linux")]
mod fickle;
mod limits;
mod listeners;
mod places;
mod process;
mod proxy;
mod race_rig;
mod races;
mod races_retiring;
mod relay;
#[cfg(target_os = "linux")]
mod rescue;
#[cfg(target_os = "linux")]
mod rescue_many;
mod retirement;
mod rig;
mod routes;
mod services;
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod tiers;
mod told;
mod warm;
