//! What a client has said before it gets a backend, and what is known of it by that.

use std::net::SocketAddr;

use crate::preface::proxy::{self, Facts};

/// Bytes that are kept at most while a client says what it has to say first: the longest preface.
pub(super) const MOST_BYTES: usize = proxy::MOST_BYTES;

/// The prefaces of a client.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// What has been read, and belongs to no preface that is over: at most [`MOST_BYTES`].
    pub(super) bytes: Vec<u8>,
    /// What its client connected to, if that was not us.
    pub(super) destination: Option<SocketAddr>,
    /// What else is known of its connection.
    pub(super) facts: Facts,
}

impl Opening {
    /// Whether anything is known that a backend may be told.
    pub(super) fn has_news(&self) -> bool {
        self.destination.is_some() || !self.facts.is_empty()
    }
}
