//! Whose handshake can go on: a client's or a backend's.

use crate::base::slots::Key;

/// Whose handshake can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A client's.
    Client(Key),
    /// A backend's.
    Upstream(Key),
}
