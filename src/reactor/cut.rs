//! A pool that has retired, and whose relays are looked for, to be ended.

use std::time::Instant;

use crate::base::slots::Key;

/// How far that has come.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) pool: Key,
    pub(super) retired_at: Instant,
    /// The place of the client that is looked at next.
    pub(super) place: u32,
    /// When the first of those ends who may go on for a while.
    pub(super) next: Option<Instant>,
}
