//! Samples become scores.
//!
//! Owns the score board; its thread is the board's only writer. It must not know sockets: samples come in
//! through the [`SampleInbox`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub mod inbox;

pub use inbox::SampleInbox;

/// What one connect to a candidate told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Whom it was about.
    pub addr: SocketAddr,
    /// How it went.
    pub outcome: Outcome,
    /// Who made the connect.
    pub source: Source,
    /// When it ended.
    pub at: Instant,
}

/// How a connect went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was established after this long.
    Success(Duration),
    /// Refused, unreachable or timed out.
    Failure,
}

/// Who made a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A probe.
    Probe,
    /// A dial for a client or for a pool.
    Dial,
}
