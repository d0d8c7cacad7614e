//! One listener of a reactor.

use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpListener;

use crate::base::slots::Key;
use crate::service::ListenerId;

/// How long accepting pauses when the process is full.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// A listener, whose it is, and whether connections wait at it.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any of them may hold with any other"
)]
pub(super) struct Listener {
    pub(super) id: ListenerId,
    pub(super) socket: TcpListener,
    /// Where it listens, for the access log.
    pub(super) addr: Option<SocketAddr>,
    /// Whose connections are accepted here; nobody's before a directory has said so.
    pub(super) tenant: Option<Key>,
    /// The version of the directory when it was sent: that one or the next says whose it is.
    pub(super) sent_under: u64,
    /// An event came, and `WouldBlock` has not been seen since.
    pub(super) is_ready: bool,
    /// Accepting pauses until a timer comes.
    pub(super) is_paused: bool,
    /// Accepting waits for somebody else, who is about to take the listener over.
    pub(super) is_held: bool,
    /// Whether it stands in the queue of those that are due.
    pub(super) is_queued: bool,
}

impl Listener {
    pub(super) fn new(id: ListenerId, socket: TcpListener, sent_under: u64) -> Self {
        Self {
            id,
            addr: socket.local_addr().ok(),
            socket,
            tenant: None,
            sent_under,
            is_ready: false,
            is_paused: false,
            is_held: false,
            is_queued: false,
        }
    }

    /// Whether it can be accepted from at once.
    pub(super) fn is_due(&self) -> bool {
        self.is_ready && !self.is_paused && !self.is_held && self.tenant.is_some()
    }
}
