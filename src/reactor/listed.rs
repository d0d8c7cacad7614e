//! Connections as a reactor tells of them. Plain values.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::access_log::Via;
use crate::service::Service;

/// Some of a reactor's clients, and how many there are.
#[derive(Debug)]
pub struct Listed {
    /// As many as were asked for, in no order.
    pub rows: Vec<Row>,
    /// All clients of the reactor.
    pub clients: usize,
}

/// A client's connection, as it stood at the beginning of a turn.
#[derive(Debug)]
pub struct Row {
    /// Whose it is.
    pub service: Arc<Service>,
    /// Who it is: whom a PROXY header names, if there was one.
    pub client: SocketAddr,
    /// Where it came in; none if it is gone already.
    pub listener: Option<SocketAddr>,
    /// Whom it has, or who is dialled for it.
    pub backend: Option<SocketAddr>,
    /// Which connection to that it has, once it has one.
    pub via: Option<Via>,
    /// How far it has come.
    pub stage: Stage,
    /// For how long it has been here.
    pub age: Duration,
    /// For how long nothing has been moved.
    pub idle: Duration,
    /// Bytes written to its backend.
    pub bytes_to_backend: u64,
    /// Bytes written to it.
    pub bytes_to_client: u64,
}

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It has not said yet what is awaited of it before it gets a backend.
    Opening,
    /// It waits for the first active set, a descriptor or a port.
    Queued,
    /// It is dialled for.
    Dialling,
    /// Bytes move both ways.
    Relaying,
    /// One direction has finished.
    HalfClosed,
    /// Its end is held back while bytes are on their way.
    Closing,
}

impl Stage {
    /// Every stage, in the order in which they come.
    pub const ALL: [Self; 6] = [
        Self::Opening,
        Self::Queued,
        Self::Dialling,
        Self::Relaying,
        Self::HalfClosed,
        Self::Closing,
    ];

    /// In one word.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Queued => "queued",
            Self::Dialling => "dialling",
            Self::Relaying => "relaying",
            Self::HalfClosed => "half_closed",
            Self::Closing => "closing",
        }
    }
}
