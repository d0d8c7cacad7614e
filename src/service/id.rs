//! Which service, and which candidate of it: for what cannot hold a name.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the living state of one service: a number that is never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(u32);

impl ServiceId {
    /// One that nobody has had before.
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A candidate of one service. The same address in two services is two candidates: what is good for one need not be
/// for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// Whose candidate it is.
    pub service: ServiceId,
    /// Its address.
    pub addr: SocketAddr,
}
