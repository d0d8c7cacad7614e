//! A connection to a backend.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::access_log::Via;
use crate::backend::Place;
use crate::base::slots::Key;
use crate::relay::Peer;
use crate::tls::Channel;

/// Age at which a connection to a backend gets keep-alive. It counts silence from the last packet, so nothing is
/// lost by waiting; and most connections are gone by then, which saves four system calls for each.
pub(super) const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);

/// A connection to a backend.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) peer: Peer<Channel>,
    pub(super) pool: Key,
    pub(super) state: State,
    /// Whether keep-alive is on; see [`KEEPALIVE_AFTER`].
    pub(super) is_kept_alive: bool,
    /// Whether it is in the queue of handshakes.
    pub(super) is_queued: bool,
    /// Its place at the backend, until that has finished it: it is no load of it any more then. Behind the socket, which is
    /// closed before the place is free.
    pub(super) place: Option<Place>,
}

/// Bytes that a reactor keeps of it while it is idle: what stands in its slab.
pub const UPSTREAM_BYTES: usize = size_of::<Upstream>();

impl Upstream {
    /// Whether its backend has finished it.
    pub(super) fn is_unloaded(&self) -> bool {
        self.place.is_none()
    }
}

/// What it is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// For a client, or (`None`) for the pool. Where TLS is spoken to backends, it goes on until the handshake is done, for
    /// which there is a session then.
    Dialling {
        client: Option<Key>,
        since: Instant,
        /// Microseconds that the connect took, where a handshake follows.
        connect_micros: Option<NonZeroU32>,
    },
    Warm {
        since: Instant,
    },
    /// Since it was established for this client, or was warm.
    InUse {
        client: Key,
        since: Instant,
        via: Via,
    },
}
