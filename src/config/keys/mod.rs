//! One row per key: its path, its scope, its type and range, its field, what it means.
//!
//! The table is what the reader reads by and what the documentation is checked against.

mod access_log;
mod key;
mod pools;
mod process;
mod providers;
mod remotes;
mod server;
mod sleep;

pub(super) use key::{Field, Key};

/// Every row, in the order of the shipped file.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [
        server::SERVER,
        process::LOGGING,
        process::METRICS,
        process::RELOAD,
        process::STATE,
        process::CLUSTER,
        remotes::REMOTES,
        providers::PROVIDERS,
        remotes::PROBING,
        remotes::SCORING,
        remotes::SELECTOR,
        pools::POOLS,
        sleep::SLEEP,
        access_log::ACCESS_LOG,
    ]
    .into_iter()
    .flatten()
}
