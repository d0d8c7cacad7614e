//! What a scrape reads: the shared values of all threads. Owns none of them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::service::Hub;

/// Everything that a scrape reads.
#[derive(Debug, Clone)]
pub struct Sources {
    /// All that the threads share.
    pub hub: Arc<Hub>,
    /// Requests on the admin port that were not answered with what they asked for.
    pub bad_requests: Arc<AtomicU64>,
}
