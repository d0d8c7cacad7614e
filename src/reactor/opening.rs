//! What a client has said before it gets a backend, and what is known of it by that.

use std::net::SocketAddr;

use crate::admission::Seat;
use crate::preface::client_hello;
use crate::preface::proxy::{self, Facts};

/// Bytes that are kept at most while a client says what it has to say first: the longest preface.
pub(super) const MOST_BYTES: usize = client_hello::MOST_BYTES;
const _: () = assert!(MOST_BYTES >= proxy::MOST_BYTES);

/// The prefaces of a client.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// What has been read, and belongs to no preface that is over: at most [`MOST_BYTES`].
    pub(super) bytes: Vec<u8>,
    /// What its client connected to, if that was not us.
    pub(super) destination: Option<SocketAddr>,
    /// What else is known of its connection.
    pub(super) facts: Facts,
    /// Counts it for its client at the service that it came to, if a route led it to another one.
    pub(super) outer_seat: Option<Box<Seat>>,
}

impl Opening {
    /// Whether there is anything in it that outlasts the last preface.
    pub(super) fn is_to_be_kept(&self) -> bool {
        self.destination.is_some() || !self.facts.is_empty() || self.outer_seat.is_some()
    }
}
